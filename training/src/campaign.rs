//! `tiercast campaign`: whom an offer changes, and whom to treat at a budget.
//!
//! Features are core's, as known just before each decision. Whatever is said of a member was learned from other members, and
//! what a way of choosing brings is measured on the log, with the chances that its decisions had. It lacks a way to mend a log
//! whose chances are wrong.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use tiercast_core::{DAY_MS, Timestamp};

use crate::{
    cores,
    dataset::{Dataset, RowKey},
    features::{BuildOptions, known::known},
    fit,
    models::{
        boosting, threads,
        uplift::{CrossFitted, Learner, Prediction, Trial},
    },
    progress,
    project::{Project, count},
    whole,
};

mod judge;
mod log;
mod page;
mod record;
mod targets;
#[cfg(test)]
mod tests;
mod ways;

use log::Log;
pub use record::Record;

/// Learn from a log of offers whom an offer changes, and choose whom to treat at a budget.
///
/// Compares one offer with none. The log has a row for each decision: member, time, what was offered, the chance that this had
/// (propensity), what came of it and what it cost. Each decision is joined to the project's features as known just before its
/// time; a T- and an X-learner on boosted trees say by how much the offer changes the outcome, of each member from what others
/// did. The folder gets campaign.json, report.html (Qini curves, ways of choosing at the budget) and targets.parquet: every member
/// known at the log's last time with uplift, expected cost, expected gain and whether to treat.
///
/// The budget is for one round of offers to these members; costs and outcomes are in units of the currency.
///
/// No log yet:  tiercast policy simulate --arms 0,100 --truth -o decisions.parquet
/// Then:        tiercast campaign --log decisions.parquet --offer points_100 --budget 300 -o campaign/
/// Offers by lot, in a table of one's own:
///   tiercast campaign --log mailing.csv --treated mailed --outcome margin --cost postage --propensity 0.5 --budget 900
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The project file.
    #[arg(short, long, default_value = "tiercast.toml")]
    pub project: PathBuf,
    /// The log of decisions: a Parquet or CSV file, or a folder of them.
    #[arg(long, value_name = "TABLE")]
    pub log: PathBuf,
    /// The offer to look at, as the log's offer column names it.
    #[arg(long, value_name = "NAME", required_unless_present = "treated")]
    pub offer: Option<String>,
    /// Instead of an offer: a column that is 1 or true where the member was treated and 0 or false where not.
    #[arg(long, value_name = "COL", conflicts_with = "offer")]
    pub treated: Option<String>,
    /// The column of offers.
    #[arg(long, default_value = "offer", value_name = "COL")]
    pub offer_column: String,
    /// The name of no offer.
    #[arg(long, default_value = "none", value_name = "NAME")]
    pub control: String,
    /// The column of members, as the project's tables name them.
    #[arg(long, default_value = "member", value_name = "COL")]
    pub member: String,
    /// The column of the times of decisions.
    #[arg(long, default_value = "time", value_name = "COL")]
    pub time: String,
    /// The column of what came of a decision, before what it cost.
    #[arg(long, default_value = "reward", value_name = "COL")]
    pub outcome: String,
    /// The column of what a decision cost.
    #[arg(long, default_value = "cost", value_name = "COL")]
    pub cost: String,
    /// The column of the chance that a decision had, or one number: everybody's chance to be treated.
    #[arg(long, default_value = "propensity", value_name = "COL|P")]
    pub propensity: String,
    /// What one unit of the outcome is worth, in units of the currency.
    #[arg(long, default_value_t = 1.0, value_name = "MONEY")]
    pub value: f64,
    /// What the offers of one round may be expected to cost.
    #[arg(long, value_name = "MONEY")]
    pub budget: f64,
    /// Whose uplift the list is made by.
    #[arg(long, value_enum, default_value_t = By::X)]
    pub learner: By,
    /// Folds of members.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=20))]
    pub folds: u8,
    /// Decides the folds and what trees try.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// The folder to write.
    #[arg(short, long, default_value = "campaign", value_name = "DIR")]
    pub output: PathBuf,
}

/// Whose uplift the list is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The T-learner's.
    T,
    /// The X-learner's.
    X,
}

impl From<By> for Learner {
    fn from(by: By) -> Self {
        match by {
            By::T => Self::T,
            By::X => Self::X,
        }
    }
}

impl Args {
    /// What the log calls the offer, and no offer.
    fn sides(&self) -> (&str, &str) {
        match &self.offer {
            Some(offer) => (offer, &self.control),
            None => ("1", "0"),
        }
    }

    /// What people call the offer.
    fn title(&self) -> &str {
        self.offer.as_deref().or(self.treated.as_deref()).unwrap_or_default()
    }

    /// Everybody's chance to be treated, where --propensity is a number.
    fn constant(&self) -> Option<f64> {
        self.propensity.parse().ok()
    }

    fn check(&self) -> anyhow::Result<()> {
        if let Some(p) = self.constant() {
            ensure!(p > 0.0 && p < 1.0, "--propensity {p} is not above 0 and below 1");
        }
        ensure!(self.budget.is_finite() && self.budget > 0.0, "--budget should be above 0");
        ensure!(self.value.is_finite() && self.value > 0.0, "--value should be above 0");
        ensure!(self.offer.as_ref() != Some(&self.control), "--offer and --control are the same");
        Ok(())
    }
}

/// Different times of a log up to which features are computed at each; with more of them, at the start of each day.
const MOST_TIMES: usize = 64;
/// Different days that a log may have.
const MOST_DAYS: usize = 800;

/// The log beside what was known.
struct Joined {
    log: Log,
    rows: Dataset,
    /// Where a decision's features are among the rows.
    places: Vec<usize>,
    /// The rows of all members known at the last time.
    last: Vec<usize>,
    /// Members' numbers.
    numbers: HashMap<String, u32>,
    /// Decisions about whom nothing was known.
    unknown: usize,
    /// Whether features are those of the start of a decision's day.
    by_day: bool,
}

/// Runs the command.
///
/// # Errors
/// When the project, its tables or the log cannot be read, the log has no controls, no propensities or too few rows, or the
/// folder cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.check()?;
    let project = Project::load(&args.project)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let log = runtime.block_on(log::read(&args))?;
    drop(runtime);
    let outputs = ["campaign.json", "report.html", "targets.parquet"].map(|name| args.output.join(name));
    for output in &outputs {
        whole::refuse_inputs(output, log.files.iter().chain([&args.project]))?;
    }
    let joined = join(&project, log)?;
    let trial = trial(&joined);
    let learning = progress::spinner("learning from the log");
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let trees = boosting::Params::default();
    let fitted = threads::allow(cores, || CrossFitted::fit(&trees, &trial, args.folds.into(), args.seed))?;
    let said = predict(&fitted, &joined, &trial, &joined.places)?;
    learning.finish_and_clear();
    let targets = targets::choose(&args, &joined, &predict(&fitted, &joined, &trial, &joined.last)?);
    let ways = ways::all(&project, &args, &joined, &said);
    let judged = judge::judge(&args, &joined, &trial, &said, ways, targets.len())?;
    let record = Record::new(&project, &args, &joined, judged, &targets);
    fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make the folder {}", args.output.display()))?;
    targets::write(&outputs[2], &targets)?;
    whole::write(&outputs[0], format!("{}\n", serde_json::to_string_pretty(&record)?).as_bytes())?;
    whole::write(&outputs[1], page::html(&record)?.as_bytes())?;
    record.tell();
    say!("\n{}", outputs[1].display());
    Ok(ExitCode::SUCCESS)
}

/// Finds what was known when each decision was made.
fn join(project: &Project, mut log: Log) -> anyhow::Result<Joined> {
    let (dates, by_day) = dates(&log)?;
    let date = |time: Timestamp| if by_day { day(time) } else { Ok(time) };
    let last = *dates.last().context("the log is empty")?;
    let mut wanted: HashMap<String, BTreeSet<Timestamp>> = HashMap::new();
    for decision in &log.decisions {
        wanted.entry(decision.member.clone()).or_default().insert(date(decision.time)?);
    }
    let bar = progress::spinner("rows read");
    let rows =
        known(project, &dates.into_iter().collect::<Vec<_>>(), &BuildOptions::default(), &bar, |key| {
            key.as_of == last || wanted.get(&key.member).is_some_and(|dates| dates.contains(&key.as_of))
        })?;
    bar.finish_and_clear();
    let found: BTreeMap<&RowKey, usize> = rows.rows.iter().zip(0..).collect();
    let (before, mut places, mut kept) = (log.decisions.len(), Vec::new(), Vec::new());
    for decision in std::mem::take(&mut log.decisions) {
        let key = RowKey { member: decision.member.clone(), as_of: date(decision.time)? };
        if let Some(place) = found.get(&key) {
            places.push(*place);
            kept.push(decision);
        }
    }
    let unknown = before - kept.len();
    ensure!(
        !kept.is_empty(),
        "the project's tables know none of the log's members before their decisions; are members named alike in both?"
    );
    let names: BTreeMap<&str, ()> = rows.rows.iter().map(|key| (key.member.as_str(), ())).collect();
    let numbers = names.keys().map(|name| (*name).to_owned()).zip(0..).collect();
    let last = (0..rows.len()).filter(|row| rows.rows[*row].as_of == last).collect();
    Ok(Joined { log: Log { decisions: kept, ..log }, places, last, numbers, unknown, by_day, rows })
}

/// When features are computed, and whether that is at the starts of days.
fn dates(log: &Log) -> anyhow::Result<(BTreeSet<Timestamp>, bool)> {
    let times: BTreeSet<Timestamp> = log.decisions.iter().map(|decision| decision.time).collect();
    if times.len() <= MOST_TIMES {
        return Ok((times, false));
    }
    let days: BTreeSet<Timestamp> = times.into_iter().map(day).collect::<anyhow::Result<_>>()?;
    ensure!(days.len() <= MOST_DAYS, "the log is of {} days; give at most {MOST_DAYS} of them", days.len());
    Ok((days, true))
}

fn day(time: Timestamp) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_ms(time.ms().div_euclid(DAY_MS) * DAY_MS)?)
}

/// Decisions as the learners see them.
fn trial(joined: &Joined) -> Trial {
    let Joined { rows, places, log, .. } = joined;
    // Nothing of what came of the decisions goes into the inputs.
    let transform = fit::plain(&rows.schema, &rows.features, &vec![1; rows.len()]);
    let mut inputs = Vec::with_capacity(places.len() * transform.width());
    places.iter().for_each(|place| transform.apply(rows.row(*place), &mut inputs));
    let decisions = &log.decisions;
    Trial {
        width: transform.width(),
        inputs,
        treated: decisions.iter().map(|decision| decision.treated).collect(),
        outcome: decisions.iter().map(|decision| decision.outcome).collect(),
        cost: decisions.iter().map(|decision| decision.cost).collect(),
        chance: decisions.iter().map(|decision| decision.chance).collect(),
        member: places.iter().map(|place| joined.number(*place)).collect(),
    }
}

impl Joined {
    /// The number of a row's member.
    fn number(&self, row: usize) -> u32 {
        self.numbers.get(&self.rows.rows[row].member).copied().unwrap_or_default()
    }
}

/// What is said of some rows.
fn predict(
    fitted: &CrossFitted,
    joined: &Joined,
    trial: &Trial,
    places: &[usize],
) -> anyhow::Result<Vec<Prediction>> {
    let rows = &joined.rows;
    let transform = fit::plain(&rows.schema, &rows.features, &vec![1; rows.len()]);
    debug_assert_eq!(transform.width(), trial.width);
    let parts = places.chunks(PART).collect();
    let said = cores::each(parts, |part: &[usize]| {
        let mut row = Vec::with_capacity(trial.width);
        let one = |place: &usize| {
            row.clear();
            transform.apply(rows.row(*place), &mut row);
            fitted.predict(joined.number(*place), &row)
        };
        Ok(part.iter().map(one).collect::<Vec<_>>())
    })?;
    Ok(said.concat())
}

/// Rows that are told of together.
const PART: usize = 4096;

impl Record {
    /// Says on stdout what was found.
    fn tell(&self) {
        let decisions = count(self.rows, "decision");
        say!(
            "{}: {decisions} ({} with the offer) about {}",
            self.offer,
            self.treated,
            count(self.members, "member")
        );
        say!("{}", self.finding);
        self.lines().iter().for_each(|line| say!("{line}"));
        self.notes.iter().for_each(|note| say!("note: {note}"));
    }
}
