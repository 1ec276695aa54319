//! `tiercast risk evaluate`: how well frauds can be told, on rows later than those that anything was learned from.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use clap::ValueEnum;

use super::{judge, learn, page, record::Report, rows::Rows, words};
use crate::{models::threads, whole};

/// Say how well frauds can be told from a table of transactions, by later ones than those that were learned from.
///
/// TABLE (.parquet, .csv, a folder of them) has a row for each transaction: a time, numbers and texts known when it happened, and
/// whether it was a fraud (0 or 1). Every column that is not named by an option is an input; a missing number is a missing input.
///
/// Rows are sorted by time. The last --test of them judge; nothing of them is looked at before. Of the others the last quarter says how
/// many rounds and which settings do best, calibrates probabilities, and chooses thresholds and which model is ours; then all of them are
/// learned from. Compared are logistic regression, boosted trees, the same trees with the scores of the two that know no labels
/// (isolation forest, autoencoder), these two, and the best one and two thresholds that somebody would write from the same rows: the rule
/// to beat. For each: average precision, AUC, and what the alerts of a day find, with intervals over rows; cost; calibration.
///
/// With --no-labels only the two that know no labels are fitted, and the rows that they find oddest are listed.
///
/// A rule of --rules is a line of TOML, a name and thresholds on number columns:
///   "large and new" = "amount >= 500 and account_days <= 3"
///
/// Example, card payments of two days at a bank:
///   tiercast data fetch ulb
///   tiercast risk evaluate ~/.cache/tiercast/data/ulb/creditcard.csv --label Class --time Time --amount Amount --page risk.html
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The table of transactions.
    pub table: PathBuf,
    /// The column that is 1 or true for a fraud and 0 or false for none.
    #[arg(long, value_name = "COL", required_unless_present = "no_labels", conflicts_with = "no_labels")]
    pub label: Option<String>,
    /// The column of times: a date, a time, an ISO text, or numbers.
    #[arg(long, value_name = "COL")]
    pub time: String,
    /// What numbers in the time column count; by default seconds, or milliseconds where they are as large as those since 1970.
    #[arg(long, value_enum, value_name = "UNIT")]
    pub time_unit: Option<Unit>,
    /// The column of amounts, which stays an input: what a missed fraud costs.
    #[arg(long, value_name = "COL")]
    pub amount: Option<String>,
    /// The column by which rows are named in lists and in --feedback; it is no input.
    #[arg(long, value_name = "COL")]
    pub id: Option<String>,
    /// Columns that are no inputs, such as what became known only later.
    #[arg(long, value_name = "COL,COL", value_delimiter = ',')]
    pub exclude: Vec<String>,
    /// The share of the rows, the last ones by time, that judge.
    #[arg(long, default_value_t = 0.2, value_name = "SHARE")]
    pub test: f64,
    /// How many transactions can be looked at in a day of 24 hours; parts of days have parts of them.
    #[arg(long, default_value_t = 100.0, value_name = "N")]
    pub alerts_per_day: f64,
    /// What looking at an alert costs.
    #[arg(long, default_value_t = 5.0, value_name = "MONEY")]
    pub review_cost: f64,
    /// What a missed fraud costs: a number, or `amount`; by default the amount where --amount names it, else 100.
    #[arg(long, value_name = "MONEY|amount")]
    pub missed_cost: Option<String>,
    /// A TOML file of rules of one's own to hold against the models.
    #[arg(long, value_name = "FILE", conflicts_with = "no_labels")]
    pub rules: Option<PathBuf>,
    /// A table with the columns id and label: what analysts found, which overrides the label of these rows.
    #[arg(long, value_name = "FILE", requires = "id", conflicts_with = "no_labels")]
    pub feedback: Option<PathBuf>,
    /// There are no labels: list what is odd.
    #[arg(long)]
    pub no_labels: bool,
    /// Decides all draws.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Resamples of rows behind an interval.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub rounds: usize,
    /// Threads; they change how long it takes and no figure. By default one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Write everything as JSON too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a page with the curves too.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
}

/// What numbers in a time column count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Unit {
    /// Since any moment.
    Seconds,
    /// Likewise.
    Milliseconds,
    /// Likewise.
    Days,
}

/// What a fraud costs that was missed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Missed {
    /// Its amount, without its sign.
    Amount,
    /// So much.
    Money(f64),
}

impl Args {
    pub(super) fn missed(&self) -> anyhow::Result<Missed> {
        match (self.missed_cost.as_deref(), &self.amount) {
            (Some("amount") | None, Some(_)) => Ok(Missed::Amount),
            (Some("amount"), None) => {
                anyhow::bail!("--missed-cost amount needs --amount COL, the column of amounts")
            }
            (None, None) => Ok(Missed::Money(100.0)),
            (Some(text), _) => {
                let money: f64 = text
                    .parse()
                    .with_context(|| format!("--missed-cost {text:?} is neither a number nor `amount`"))?;
                ensure!(money.is_finite() && money > 0.0, "--missed-cost should be above 0");
                Ok(Missed::Money(money))
            }
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.test > 0.0 && self.test < 1.0, "--test {} is not above 0 and below 1", self.test);
        ensure!(
            self.alerts_per_day.is_finite() && self.alerts_per_day > 0.0,
            "--alerts-per-day should be above 0"
        );
        ensure!(
            self.review_cost.is_finite() && self.review_cost >= 0.0,
            "--review-cost should not be below 0"
        );
        self.missed().map(drop)
    }

    /// Files that are read.
    fn inputs(&self) -> Vec<PathBuf> {
        let given = [Some(&self.table), self.rules.as_ref(), self.feedback.as_ref()];
        given.into_iter().flatten().cloned().collect()
    }
}

/// Runs the command.
///
/// # Errors
/// When the table cannot be read, lacks a column, has a label or a time that cannot be one, has no frauds to learn from or to judge by,
/// or a file cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    for output in [&args.json, &args.page].into_iter().flatten() {
        whole::refuse_inputs(output, &args.inputs())?;
    }
    let report = report(&args)?;
    say!("{}", words::report(&report).trim_end());
    if let Some(path) = &args.json {
        whole::write(path, (serde_json::to_string_pretty(&report)? + "\n").as_bytes())?;
    }
    if let Some(path) = &args.page {
        whole::write(path, page::html(&report)?.as_bytes())?;
        say!("\n{}", fs::canonicalize(path).unwrap_or_else(|_| path.clone()).display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the table, learns and judges.
///
/// # Errors
/// As [`run`].
pub(super) fn report(args: &Args) -> anyhow::Result<Report> {
    args.check()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let rows = runtime.block_on(Rows::read(args))?;
    drop(runtime);
    let threads =
        args.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    threads::allow(threads, || {
        let learned = learn::learn(args, &rows)?;
        judge::judge(args, &rows, &learned)
    })
}
