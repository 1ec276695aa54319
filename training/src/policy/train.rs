//! `tiercast policy train`: a policy learned from a log, and judged on the decisions of later periods.
//!
//! Invariant: what is judged is what is handed over. Chances come from the plan that goes into the bundle, through core's own
//! rules, for contexts that core computed as of the start of each decision's period; no judged row has a say in anything.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tiercast_core::{Action, Bundle, Choice, Period, Policy, Task, Transform};

use super::record::{self, PolicyRecord};
use crate::{
    export, fit,
    models::{
        Activation, Network,
        policy::{
            learn::{Budget, Learning, q_learning, reinforce},
            outcome,
        },
        threads,
    },
    progress,
    project::Project,
};

mod judge;
mod rows;
#[cfg(test)]
pub(crate) mod tests;

use judge::{Judge, chances};
use rows::{Part, Rows};

/// Learn a policy from logged decisions, and judge it on later ones.
///
/// A log is a table with one row for each decision: whom it was for, when, which action was taken, with which chance, what
/// came of it, and what it cost. What was known of the member comes from the project's own tables, as of the start of the
/// period of the decision, by the bundle's features: the policy sees in the browser what it was trained on.
///
///   --task reward   an offer of points; the actions are those of the log, and --points names the column of their points
///   --task assign   a tier of service; the actions are the bundle's tiers, by name
///
/// Decisions from --test on judge the policy by off-policy evaluation and are not learned from. The folder holds policy.onnx,
/// policy.json with all figures, and report.html. `tiercast bundle` puts the policy into a bundle if it is proven.
///
/// Example: tiercast policy simulate -p tiercast.toml -o decisions.parquet
///          tiercast policy train run/bundle.tcb decisions.parquet -p tiercast.toml --budget 0.2 -o policy
///          tiercast bundle run/bundle.tcb policy -o shop.tcb
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The bundle that the policy is for: its features and tiers.
    pub bundle: PathBuf,
    /// The log.
    pub log: PathBuf,
    /// The project file, whose tables say what was known of members.
    #[arg(short, long, default_value = "tiercast.toml")]
    pub project: PathBuf,
    /// Where to write the policy.
    #[arg(short, long, default_value = "policy", value_name = "DIR")]
    pub output: PathBuf,
    /// What is decided.
    #[arg(long, value_enum, default_value = "reward")]
    pub task: TaskArg,
    /// How it is learned; REINFORCE for offers and Q-learning for tiers if left out.
    #[arg(long, value_enum)]
    pub learner: Option<Learner>,
    /// What the shop calls the policy; the output's name if left out.
    #[arg(long)]
    pub name: Option<String>,
    /// Whose decision a row is.
    #[arg(long, default_value = "member", value_name = "COL")]
    pub member: String,
    /// When it was taken.
    #[arg(long, default_value = "time", value_name = "COL")]
    pub time: String,
    /// The action that was taken.
    #[arg(long, default_value = "offer", value_name = "COL")]
    pub action: String,
    /// The chance with which it was taken, above 0 and at most 1.
    #[arg(long, default_value = "propensity", value_name = "COL")]
    pub propensity: String,
    /// What came of it, before its cost.
    #[arg(long, default_value = "reward", value_name = "COL")]
    pub reward: String,
    /// What it cost, in the reward's unit.
    #[arg(long, default_value = "cost", value_name = "COL")]
    pub cost: String,
    /// The points that the action offered; for --task reward.
    #[arg(long, default_value = "points", value_name = "COL")]
    pub points: String,
    /// The stretch of time that a decision holds for; for --task assign that of the tiers.
    #[arg(long, value_enum, default_value = "month")]
    pub period: PeriodArg,
    /// Decisions from this date on judge; by default those of the last third of the periods.
    #[arg(long, value_name = "DATE")]
    pub test: Option<String>,
    /// Mean cost of a decision at most, in the reward's unit.
    #[arg(long, value_name = "COST")]
    pub budget: Option<f64>,
    /// Points that a member is given in a period at most.
    #[arg(long, default_value_t = 0, value_name = "POINTS", hide_default_value = true)]
    pub cap: u64,
    /// Tiers above what the rules promise that a member is lifted at most; for --task assign.
    #[arg(long, default_value_t = 1)]
    pub lift: u8,
    /// By how much a better tier must be worth more than the member's own, in the reward's unit; for --task assign.
    #[arg(long, default_value_t = 0.0)]
    pub margin: f32,
    /// Share of the decisions that is spread evenly over all actions, so that the next log can judge the next policy.
    #[arg(long, default_value_t = 0.05)]
    pub explore: f32,
    /// Units of the hidden layer; 0 is a linear policy.
    #[arg(long, default_value_t = 0)]
    pub hidden: usize,
    /// How much a member's next decision counts, 0 to below 1; for Q-learning.
    #[arg(long, default_value_t = 0.0)]
    pub discount: f64,
    /// Decides all that is drawn.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskArg {
    /// An offer of points.
    Reward,
    /// A tier of service.
    Assign,
}

impl From<TaskArg> for Task {
    fn from(task: TaskArg) -> Self {
        match task {
            TaskArg::Reward => Self::Reward,
            TaskArg::Assign => Self::Assign,
        }
    }
}

/// How a policy is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learner {
    /// Chances, by the slope of their doubly robust value, within the budget.
    Reinforce,
    /// The value of each action; the best one is taken.
    QLearning,
}

impl Learner {
    /// Its name in records and pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reinforce => "reinforce",
            Self::QLearning => "q-learning",
        }
    }
}

/// The stretch of time that a decision holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeriodArg {
    /// Calendar months.
    Month,
    /// Calendar quarters.
    Quarter,
    /// Calendar halves.
    Half,
    /// Calendar years.
    Year,
}

impl From<PeriodArg> for Period {
    fn from(period: PeriodArg) -> Self {
        match period {
            PeriodArg::Month => Self::Month,
            PeriodArg::Quarter => Self::Quarter,
            PeriodArg::Half => Self::Half,
            PeriodArg::Year => Self::Year,
        }
    }
}

/// Folds of an outcome model.
const FOLDS: usize = 5;

/// Runs the command.
///
/// # Errors
/// When the log, the bundle or the tables cannot be read or do not belong together, and when nothing can be learned.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let project = Project::load(&args.project)?;
    let bytes =
        std::fs::read(&args.bundle).with_context(|| format!("cannot read {}", args.bundle.display()))?;
    let bundle = Bundle::parse(&bytes).with_context(|| args.bundle.display().to_string())?;
    ensure!(
        project.schema()?.hash_hex() == bundle.manifest().schema_hash,
        "{} was trained for other features than {} declares; train the bundle again with `tiercast train`",
        args.bundle.display(),
        args.project.display()
    );
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let learned = threads::allow(threads, || learn(&args, &project, &bundle))?;
    say!("{}", learned.record.words().trim_end());
    record::write(&args.output, &learned.record, &learned.onnx)?;
    say!("{}: put it into a bundle with `tiercast bundle`", args.output.display());
    Ok(ExitCode::SUCCESS)
}

/// A policy that was learned, and what is known of it.
#[derive(Debug)]
pub struct Made {
    /// What goes into policy.json.
    pub record: PolicyRecord,
    /// The net as an ONNX file.
    pub onnx: Vec<u8>,
}

/// Learns a policy and judges it.
///
/// # Errors
/// As [`run`].
pub fn learn(args: &Args, project: &Project, bundle: &Bundle) -> anyhow::Result<Made> {
    args.check()?;
    let task = Task::from(args.task);
    let period = match task {
        Task::Assign => bundle.rules().period,
        Task::Reward => args.period.into(),
    };
    let rows = Rows::read(args, project, bundle, period)?;
    let (train, test) = rows.split(args)?;
    let transform = fit::transform(bundle.schema(), &rows.raw(&train));
    let part = |at: &[usize]| Part::of(&rows, at, &transform);
    let (train, test) = (part(&train), part(&test));
    let learner = args.learner();
    let network = network(args, learner, &train)?;
    let metadata = [("project", project.name.clone()), ("inputs", transform.names().join(","))];
    let onnx = export::onnx("policy", &network, &metadata);
    let judge = Judge::new(&train, &test)?;
    let policy = args.policy(&rows, period, learner, &transform);
    let chances = chances(&policy, task, &onnx, &test)?;
    let mut others = Vec::new();
    for (name, chances) in judge.simple(&policy, task)? {
        others.push((name, judge.evaluate(&chances, args.seed)?));
    }
    let evaluation = judge.evaluate(&chances, args.seed)?;
    let record = PolicyRecord {
        format: record::FORMAT,
        producer: concat!("tiercast ", env!("CARGO_PKG_VERSION")).into(),
        project: project.name.clone(),
        schema_hash: bundle.manifest().schema_hash.clone(),
        task: args.task,
        name: policy.name.clone(),
        learner,
        hidden: args.hidden,
        discount: args.discount,
        explore: args.explore,
        margin: args.margin,
        lift: args.lift,
        cap: args.cap,
        budget: args.budget,
        period,
        seed: args.seed,
        currency: bundle.schema().spec().events.currency.code.clone(),
        actions: judge.actions(&policy, &chances),
        onnx: record::digest(&onnx),
        transform,
        train: train.span()?,
        test: test.span()?,
        cost: judge.cost(&chances, args.seed)?,
        truth: judge.truth(&chances),
        evaluation,
        others,
    };
    Ok(Made { record, onnx })
}

impl Args {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (0.0..=1.0).contains(&self.explore),
            "--explore is a share from 0 to 1, not {}",
            self.explore
        );
        ensure!(
            (0.0..1.0).contains(&self.discount),
            "--discount is from 0 to below 1, not {}",
            self.discount
        );
        ensure!(self.margin >= 0.0 && self.margin.is_finite(), "--margin is not negative");
        ensure!(
            self.budget.is_none_or(|budget| budget > 0.0 && budget.is_finite()),
            "--budget is the mean cost of a decision, above 0"
        );
        ensure!(
            self.budget.is_none() || self.learner() != Learner::QLearning,
            "Q-learning keeps no budget; leave --budget out, or learn by --learner reinforce"
        );
        ensure!(self.hidden <= 256, "--hidden is at most 256 units");
        Ok(())
    }

    /// How it is learned.
    fn learner(&self) -> Learner {
        self.learner.unwrap_or(match self.task {
            TaskArg::Reward => Learner::Reinforce,
            TaskArg::Assign => Learner::QLearning,
        })
    }

    /// The policy without its evidence.
    fn policy(&self, rows: &Rows, period: Period, learner: Learner, transform: &Transform) -> Policy {
        let name =
            self.name.clone().or_else(|| Some(self.output.file_name()?.to_string_lossy().into_owned()));
        let action =
            |(name, points): (&String, &u64)| Action { name: name.clone(), points: *points, share: 0.0 };
        Policy {
            name: name.unwrap_or_else(|| "policy".into()),
            actions: rows.log.arms.iter().zip(&rows.points).map(action).collect(),
            period,
            salt: self.seed,
            cap: self.cap,
            lift: self.lift,
            learned: Some(record::learned(learner, transform.clone(), self.explore, self.margin)),
        }
    }
}

/// Learns the net.
fn network(args: &Args, learner: Learner, train: &Part) -> anyhow::Result<Network> {
    let how = Learning { hidden: args.hidden, discount: args.discount, ..Learning::default() };
    let learning = progress::spinner(format!("{}: learning", learner.name()));
    let network = match learner {
        Learner::QLearning => {
            q_learning(&train.decisions(), &train.next(), &how, args.seed).network(Activation::None)
        }
        Learner::Reinforce => {
            let rewards = outcome::estimates(&train.outcome(&train.log.rewards), FOLDS)?;
            let costs = outcome::estimates(&train.outcome(&train.costs), FOLDS)?;
            let latest = train.latest();
            let budget = args.budget.map(|mean| Budget { mean, explore: args.explore.into(), rows: &latest });
            reinforce(&train.decisions(), &rewards, &costs, budget, &how, args.seed)
                .network(Activation::Softmax)
        }
    };
    learning.finish_and_clear();
    Ok(network)
}

/// How core reads what a learner's net gives.
pub(super) fn choice(learner: Learner, margin: f32) -> Choice {
    match learner {
        Learner::Reinforce => Choice::Sample,
        Learner::QLearning => Choice::Best { margin },
    }
}
