//! `tiercast policy evaluate`: what other policies would have earned, from a log of decisions that were drawn.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::Serialize;

use super::{
    candidates::{self, Candidate},
    log::{Columns, Log},
    words,
};
use crate::models::{
    policy::ope::{self, Evaluation, Gate, Kind, Logged, Options, Refusal, Target},
    threads,
};

/// Judge ways to decide by a log of decisions, without trying them on anybody.
///
/// LOG is a table (.parquet, .csv, a folder of them) with a row for each decision: the action, what came of it, and the
/// probability with which that action was drawn then. Without true probabilities nothing can be said.
///
/// The first half of the log (by --time, else about half of the members) is learned from, the rest judges four policies:
/// `uniform`; `best arm`, the action that earned most; `greedy`, which prefers what a model expects most of in a context; and
/// `reinforce`, which `tiercast policy train` would learn.
/// For each: estimates by inverse propensities (IPS, SNIPS), by a model (DM), by both (DR and its relatives), with intervals
/// over members; how far the log reaches; and whether it proves the policy better than the one in force, or what is missing.
///
/// With --weight, the probabilities of a policy of your own are judged instead, on all rows, by IPS, SNIPS and clipped IPS.
///
/// Example, on data of a fashion shop that chose at random which items to show:
///   tiercast data fetch open-bandit
///   cd ~/.cache/tiercast/data/open-bandit
///   tiercast policy evaluate random/all/all.csv --action item_id --reward click --propensity propensity_score \
///     --position position --time timestamp --context user_feature_0,user_feature_1,user_feature_2,user_feature_3
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The table of decisions.
    pub log: PathBuf,
    /// Its columns.
    #[command(flatten)]
    pub columns: Columns,
    /// The probability that another policy gives to the logged action: judges that policy and no other.
    #[arg(long, value_name = "COL", conflicts_with = "context")]
    pub weight: Option<String>,
    /// How decided `greedy` is: how far arms are apart as a rule, times this, multiplies a probability by 2.7.
    #[arg(long, default_value_t = 1.0, value_name = "T")]
    pub temperature: f64,
    /// The interval that must lie above the policy in force.
    #[arg(long, value_enum, default_value = "bootstrap")]
    pub interval: Bound,
    /// Resamples of members behind an interval.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub rounds: usize,
    /// Decides which members are drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The largest weight that clipped estimates give a row; by default the square root of the rows.
    #[arg(long, value_name = "WEIGHT")]
    pub clip: Option<f64>,
    /// The weight from which Switch-DR trusts the model alone; by default the same.
    #[arg(long, value_name = "WEIGHT")]
    pub switch: Option<f64>,
    /// Write everything as JSON too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Which interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bound {
    /// Percentiles over resampled members.
    Bootstrap,
    /// The empirical Bernstein bound: right for few members, and wide.
    Bernstein,
}

/// What a log says of some policies.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Rows of the log.
    pub rows: usize,
    /// Rows that policies were learned from; the others judge.
    pub learned: usize,
    /// How many arms there are.
    pub arms: usize,
    /// How many positions there are; 1 where no column says so.
    pub positions: usize,
    /// What is asked of a policy.
    pub gate: Gate,
    /// The policies in the order in which they were proposed.
    pub policies: Vec<Judged>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// What it is called.
    pub name: String,
    /// Whether the log proves it better than the policy in force.
    pub proven: bool,
    /// Why not.
    pub refusals: Vec<Refusal>,
    /// All figures.
    pub evaluation: Evaluation,
}

/// Folds of the members by which expectations of the judged rows are made.
const FOLDS: usize = 5;
/// Rows times arms: two matrices of so many numbers take a gigabyte each.
const MOST_CELLS: usize = 1 << 27;

/// Runs the command.
///
/// # Errors
/// When the log cannot be read or a value in it cannot be.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let report = report(&args)?;
    say!("{}", words::report(&args.log.display().to_string(), &report).trim_end());
    if let Some(path) = &args.json {
        write(path, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, report: &Report) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a log and judges policies by it.
///
/// # Errors
/// As [`run`].
pub fn report(args: &Args) -> anyhow::Result<Report> {
    let columns = Columns { chance: args.weight.clone(), ..args.columns.clone() };
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let log = runtime.block_on(Log::read(&args.log, &columns))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    threads::allow(threads, || judge(&log, args))
}

fn judge(log: &Log, args: &Args) -> anyhow::Result<Report> {
    let (learned, policies) = match &log.chances {
        Some(chances) => {
            let evaluation =
                with_logged(log, |logged| ope::evaluate_chances(logged, chances, &args.options()))?;
            (0, vec![args.verdict(args.weight.clone().unwrap_or_default(), evaluation)])
        }
        None => propose(log, args)?,
    };
    Ok(Report {
        rows: log.len(),
        learned,
        arms: log.arms.len(),
        positions: log.position_names.len().max(1),
        gate: args.gate(),
        policies,
    })
}

/// How many rows were learned from, and the policies judged by the others.
fn propose(log: &Log, args: &Args) -> anyhow::Result<(usize, Vec<Judged>)> {
    let arms = log.arms.len();
    ensure!(
        log.len().saturating_mul(arms) <= MOST_CELLS,
        "{} rows of {arms} arms are more than memory should hold; take some of the rows, or group the arms",
        log.len()
    );
    let (learned, judged) = candidates::split(log)?;
    let estimates = candidates::estimates(&judged, FOLDS)?;
    let evaluate = |Candidate { name, probabilities }: Candidate| {
        let target = Target { arms, probabilities: &probabilities, estimates: &estimates };
        let evaluation = with_logged(&judged, |logged| ope::evaluate(logged, &target, &args.options()))?;
        Ok(args.verdict(name, evaluation))
    };
    let policies = candidates::all(&learned, &judged, args.temperature, args.seed)?;
    Ok((learned.len(), policies.into_iter().map(evaluate).collect::<anyhow::Result<_>>()?))
}

fn with_logged<T>(log: &Log, evaluate: impl FnOnce(&Logged<'_>) -> T) -> T {
    evaluate(&Logged {
        actions: &log.actions,
        rewards: &log.earned(),
        propensities: &log.propensities,
        members: &log.members,
    })
}

impl Args {
    fn options(&self) -> Options {
        let &Self { seed, rounds, switch, clip, .. } = self;
        Options { seed, rounds, switch, clip, ..Options::default() }
    }

    fn gate(&self) -> Gate {
        let interval = match self.interval {
            Bound::Bootstrap => Kind::Bootstrap,
            Bound::Bernstein => Kind::Bernstein,
        };
        Gate { interval, ..Gate::default() }
    }

    fn verdict(&self, name: String, evaluation: Evaluation) -> Judged {
        let refusals = evaluation.proven(&self.gate()).err().unwrap_or_default();
        Judged { name, proven: refusals.is_empty(), refusals, evaluation }
    }
}

#[cfg(test)]
mod tests;
