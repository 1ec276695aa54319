//! `tiercast evaluate`: recomputes a run's figures from its predictions, and reports them on the terminal, as JSON and
//! as one HTML file.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};

pub mod attributes;
pub mod board;
pub mod gains;
pub mod slices;
pub mod words;

use attributes::Attributes;
use board::{Board, Verdict, decode_name};

use crate::{
    metrics::Measure,
    report::{Report, reference::Comparison},
    train::{predictions::Predictions, record::RunRecord},
};

/// Report on a training run: figures on the terminal, report.json and report.html in the run's folder.
///
/// Everything is recomputed from the run's predictions. Intervals are from 1,000 resamples of members; every model is
/// held against the same-tier rule on the same resamples. report.html is one file without scripts that can be mailed.
///
/// The figures are also told for slices of the members: by tier, date and fold, and with --slices by the columns of a
/// table with one row a member. Slices of fewer than 30 members are put together.
///
/// Example: tiercast evaluate run
///          tiercast evaluate run --slices members.csv --member id --by age,city
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The run's folder, as written by `tiercast train`.
    #[arg(default_value = "run")]
    pub run: PathBuf,
    /// A .csv or .parquet table with one row a member, whose columns tell slices apart; no model learns from it.
    #[arg(long, value_name = "TABLE")]
    pub slices: Option<PathBuf>,
    /// Its column with the members' identifiers, as the event tables have them.
    #[arg(long, value_name = "COLUMN", default_value = "member", requires = "slices")]
    pub member: String,
    /// Which of its other columns; all by default.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', requires = "slices")]
    pub by: Vec<String>,
    /// Print report.json on stdout instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the folder is not a run, or the reports cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let record = RunRecord::read(&args.run)?;
    let predictions = Predictions::read(&args.run.join("predictions.parquet"))?;
    if predictions.tiers != record.tiers.len() {
        bail!(
            "run.json has {} tiers and predictions.parquet {}; train again",
            record.tiers.len(),
            predictions.tiers
        );
    }
    let attributes = attributes(&args, &predictions)?;
    let report = Report::new(record, &predictions, &attributes);
    let json = serde_json::to_string_pretty(&report)? + "\n";
    let html = report.html(&predictions)?;
    for (name, text) in [("report.json", &json), ("report.html", &html)] {
        let path = args.run.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        print!("{json}");
        return Ok(ExitCode::SUCCESS);
    }
    for board in &report.boards.0 {
        say!("{}", table(board, &report.run));
    }
    say!("{}. {}", report.headline, report.finding);
    if let Some(reference) = &report.reference {
        say!("\n{}", beside(reference));
    }
    say!("\n{}", args.run.join("report.html").display());
    Ok(ExitCode::SUCCESS)
}

/// The user's table of members; an empty one where none was given.
fn attributes(args: &Args, predictions: &Predictions) -> anyhow::Result<Attributes> {
    let Some(path) = &args.slices else { return Ok(Attributes::default()) };
    let attributes = Attributes::read(path, &args.member, &args.by)?;
    if !attributes.knows_any(&predictions.member) {
        let example = predictions.member.first().map_or("", String::as_str);
        bail!(
            "no member of the run is in column {:?} of {}; identifiers are compared exactly, and one of the run is {example:?}",
            args.member,
            path.display()
        );
    }
    Ok(attributes)
}

/// The board for a terminal.
fn table(board: &Board, run: &RunRecord) -> String {
    let mut lines = vec![format!("{}: {}", board.split, words::rows(board))];
    let head: String = Measure::ALL.iter().map(|measure| format!("{:>10}", measure.label())).collect();
    lines.push(format!("  {:<10} {:<9}{head}", "model", "decoder"));
    for entry in &board.entries {
        let cell = |measure: Measure| {
            let mark = match entry.versus_rule.map(|_| words::versus(entry, measure).0) {
                Some(Verdict::Better) => '+',
                Some(Verdict::Worse) => '-',
                _ => ' ',
            };
            format!("{:>9.3}{mark}", entry.measures.get(measure).value)
        };
        let values: String = Measure::ALL.into_iter().map(cell).collect();
        let mark = if entry.model == run.selected && entry.decode == Some(run.decode) { '*' } else { ' ' };
        lines.push(format!("{mark} {:<10} {:<9}{values}", entry.model, decode_name(entry.decode)));
    }
    lines.push(
        "* in the bundle; + better and - worse than the rule, where the paired 95 % interval leaves out 0"
            .into(),
    );
    lines.join("\n") + "\n"
}

/// Reference figures and ours for a terminal.
fn beside(reference: &Comparison) -> String {
    let cells = |cells: [f64; 4]| cells.map(|x| format!("{x:.3}")).join(" / ");
    let mut lines = vec![
        "reference figures (scikit-learn, the project's own study on the same protocol)".to_owned(),
        format!("  {}", reference.protocol),
        "  accuracy / macro-F1 / MAE / kappa".to_owned(),
    ];
    for line in &reference.lines {
        let ours = line.ours.map_or_else(String::new, |ours| format!("   ours {}", cells(ours)));
        let short = if line.falls_short { "  FALLS SHORT" } else { "" };
        lines.push(format!("  {:<40} {}{ours}{short}", line.name, cells(line.reference)));
    }
    lines.join("\n")
}
