//! `tiercast policy train`: a policy learned from a log, and judged on the decisions of later periods.
//!
//! Invariant: what is judged is what is handed over. Chances come from the plan that goes into the bundle, through core's own
//! rules, for contexts that core computed as of the start of each decision's period; no judged row has a say in anything.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, btree_map::Entry},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tiercast_core::{
    Action, Bundle, Choice, LowerOptions, MemberState, Period, Policy, Task, Timestamp, Transform, lower,
};

use super::{
    log::{Columns, Log, Others},
    record::{self, ActionRecord, PolicyRecord, Span},
};
use crate::{
    dataset::{Dataset, RowKey},
    export,
    features::{BuildOptions, known::known},
    fit,
    models::{
        Activation, Network,
        policy::{
            learn::{Budget, Decisions, Learning, q_learning, reinforce},
            ope::{self, Evaluation, Logged, Options, Target},
            outcome::{self, Fitted},
        },
        threads,
    },
    progress,
    project::Project,
};

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
/// Periods of a log at most: each is a pass of features.
const MOST_PERIODS: usize = 240;

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
    let learner = args.learner.unwrap_or(match task {
        Task::Reward => Learner::Reinforce,
        Task::Assign => Learner::QLearning,
    });
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
        train: train.span(&rows)?,
        test: test.span(&rows)?,
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
            self.budget.is_none() || self.learner != Some(Learner::QLearning),
            "Q-learning keeps no budget; leave --budget out, or learn by --learner reinforce"
        );
        ensure!(self.hidden <= 256, "--hidden is at most 256 units");
        Ok(())
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

/// A log with what was known of each of its rows.
struct Rows {
    log: Log,
    /// The start of each row's period.
    starts: Vec<Timestamp>,
    /// Raw features of each row.
    known: Dataset,
    /// Where each row of the log is among the known ones.
    places: Vec<usize>,
    /// The points of each action.
    points: Vec<u64>,
    /// The tier that the rules promise at the start of each row's period.
    promised: Vec<u8>,
    /// What each action would have brought and cost on average, where a simulated log says so.
    truth: Option<Vec<[f64; 2]>>,
}

impl Rows {
    fn read(args: &Args, project: &Project, bundle: &Bundle, period: Period) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
        let columns = Columns {
            action: args.action.clone(),
            reward: args.reward.clone(),
            propensity: args.propensity.clone(),
            cost: Some(args.cost.clone()),
            member: Some(args.member.clone()),
            time: Some(args.time.clone()),
            ..Columns::default()
        };
        let task = Task::from(args.task);
        let (mut log, others) = runtime.block_on(async {
            let log = Log::read(&args.log, &columns).await?;
            let points = (task == Task::Reward).then_some(args.points.as_str());
            let others = Others::read(&args.log, &args.member, points, &log.arms).await?;
            anyhow::Ok((log, others))
        })?;
        if task == Task::Assign {
            as_tiers(&mut log, bundle)?;
        }
        let points = match &others.points {
            Some(column) => points_of(&log, column, &args.points)?,
            None => vec![0; log.arms.len()],
        };
        let times = log.times.clone().unwrap_or_default();
        let starts = times
            .iter()
            .map(|time| Ok(period.around(Timestamp::from_ms(*time)?).0))
            .collect::<anyhow::Result<Vec<_>>>()
            .with_context(|| format!("column {:?} of the log", args.time))?;
        let (known, places) = contexts(project, &others.members, &starts)?;
        let promised = places.iter().map(|at| match task {
            Task::Assign => bundle.rules().tier_of(known.current_spend[*at]),
            Task::Reward => 0,
        });
        let promised = promised.collect();
        Ok(Self { starts, places, points, promised, truth: others.truth, log, known })
    }

    /// The rows that are learned from, and those that judge.
    fn split(&self, args: &Args) -> anyhow::Result<(Vec<usize>, Vec<usize>)> {
        let mut periods = self.starts.clone();
        periods.sort_unstable();
        periods.dedup();
        let test = match &args.test {
            Some(date) => Timestamp::parse(date).context("--test")?,
            None => {
                let judged = periods.len().div_ceil(3);
                ensure!(
                    periods.len() > 1,
                    "the log is of one period; a policy is judged on later decisions than it was learned from: log at least \
                     another period"
                );
                periods[periods.len() - judged]
            }
        };
        let (train, test): (Vec<_>, Vec<_>) =
            (0..self.starts.len()).partition(|row| self.starts[*row] < test);
        ensure!(!train.is_empty(), "no decision is before the test's date; choose a later one with --test");
        ensure!(
            !test.is_empty(),
            "no decision is at or after the test's date; choose an earlier one with --test"
        );
        Ok((train, test))
    }

    fn features(&self, row: usize) -> &[f32] {
        self.known.row(self.places[row])
    }

    fn raw(&self, rows: &[usize]) -> Vec<f32> {
        rows.iter().flat_map(|row| self.features(*row)).copied().collect()
    }
}

/// Puts the log's actions in the order of the bundle's tiers.
fn as_tiers(log: &mut Log, bundle: &Bundle) -> anyhow::Result<()> {
    let tiers: Vec<String> = bundle.rules().tiers.iter().map(|tier| tier.name.clone()).collect();
    let place = |arm: &String| {
        tiers.iter().position(|tier| tier == arm).with_context(|| {
            format!(
                "the log has the action {arm:?}, which is no tier of the bundle; there are {}",
                tiers.join(", ")
            )
        })
    };
    let places = log.arms.iter().map(place).collect::<anyhow::Result<Vec<_>>>()?;
    for action in &mut log.actions {
        *action = places[*action as usize] as u32;
    }
    log.arms = tiers;
    Ok(())
}

/// The points of each action, which are the same wherever it was taken.
fn points_of(log: &Log, column: &[u64], name: &str) -> anyhow::Result<Vec<u64>> {
    let mut points: Vec<Option<u64>> = vec![None; log.arms.len()];
    for (row, (action, here)) in log.actions.iter().zip(column).enumerate() {
        let known = points[*action as usize].get_or_insert(*here);
        ensure!(
            known == here,
            "row {}: {:?} has {here} in column {name:?}, and {known} before; an action offers the same points each time",
            row + 1,
            log.arms[*action as usize]
        );
    }
    Ok(points.into_iter().map(Option::unwrap_or_default).collect())
}

/// What was known of the members at the starts of the periods, and where each row's is. A member of whom nothing was known then
/// has the features of an empty history, as core would decide on.
fn contexts(
    project: &Project,
    members: &[String],
    starts: &[Timestamp],
) -> anyhow::Result<(Dataset, Vec<usize>)> {
    let mut dates = starts.to_vec();
    dates.sort_unstable();
    dates.dedup();
    if dates.len() > MOST_PERIODS {
        bail!("the log is of {} periods; at most {MOST_PERIODS} are read", dates.len());
    }
    let key = |(member, start): (&String, &Timestamp)| RowKey { member: member.clone(), as_of: *start };
    let wanted: BTreeSet<RowKey> = members.iter().zip(starts).map(key).collect();
    let reading = progress::spinner("rows read");
    let mut known = known(project, &dates, &BuildOptions::default(), &reading, |key| wanted.contains(key))?;
    reading.finish_and_clear();
    let at: BTreeMap<&RowKey, usize> = known.rows.iter().zip(0..).collect();
    let found: Vec<Option<usize>> = members.iter().zip(starts).map(|of| at.get(&key(of)).copied()).collect();
    let unknown = found.iter().filter(|at| at.is_none()).count();
    ensure!(
        2 * unknown <= found.len(),
        "of {unknown} of the log's {} decisions the tables know nothing of the member before the period; check that the log \
         names members as the tables do, and that these begin before it",
        found.len()
    );
    let nobody = MemberState::new(&known.schema);
    let mut empty = BTreeMap::new();
    for (start, _) in starts.iter().zip(&found).filter(|(_, at)| at.is_none()) {
        if let Entry::Vacant(place) = empty.entry(*start) {
            place.insert(known.rows.len());
            known.features.extend(known.schema.features_at(&nobody, Timestamp::from_ms(start.ms() - 1)?)?);
            known.current_spend.push(0);
            known.rows.push(RowKey { member: String::new(), as_of: *start });
        }
    }
    let places = found.into_iter().zip(starts).map(|(at, start)| at.unwrap_or_else(|| empty[start]));
    let places = places.collect();
    Ok((known, places))
}

/// Rows that are learned from, or that judge.
struct Part {
    rows: Vec<usize>,
    log: Log,
    costs: Vec<f64>,
    width: usize,
    contexts: Vec<f32>,
    promised: Vec<u8>,
    truth: Option<Vec<[f64; 2]>>,
}

impl Part {
    fn of(rows: &Rows, at: &[usize], transform: &Transform) -> Self {
        let log = rows.log.select(at);
        let mut contexts = Vec::new();
        at.iter().for_each(|row| transform.apply(rows.features(*row), &mut contexts));
        let arms = rows.log.arms.len();
        let truth = rows.truth.as_ref();
        Self {
            costs: log.costs.clone().unwrap_or_else(|| vec![0.0; log.len()]),
            width: transform.width(),
            contexts,
            promised: at.iter().map(|row| rows.promised[*row]).collect(),
            truth: truth.map(|truth| {
                at.iter().flat_map(|row| &truth[row * arms..(row + 1) * arms]).copied().collect()
            }),
            log,
            rows: at.to_vec(),
        }
    }

    fn arms(&self) -> usize {
        self.log.arms.len()
    }

    fn decisions(&self) -> Decisions<'_> {
        Decisions {
            width: self.width,
            contexts: &self.contexts,
            arms: self.arms(),
            actions: &self.log.actions,
            rewards: &self.log.rewards,
            costs: &self.costs,
            propensities: &self.log.propensities,
            members: &self.log.members,
        }
    }

    /// What an outcome model reads to expect `outcomes`.
    fn outcome<'p>(&'p self, outcomes: &'p [f64]) -> outcome::Rows<'p> {
        outcome::Rows {
            width: self.width,
            contexts: &self.contexts,
            actions: &self.log.actions,
            rewards: outcomes,
            members: &self.log.members,
            arms: self.arms(),
        }
    }

    /// For each row the same member's next one.
    fn next(&self) -> Vec<Option<usize>> {
        let times = self.log.times.as_deref().unwrap_or_default();
        let mut order: Vec<usize> = (0..self.log.len()).collect();
        order.sort_by_key(|row| (self.log.members[*row], times.get(*row).copied()));
        let mut next = vec![None; order.len()];
        for pair in order.windows(2).filter(|pair| self.log.members[pair[0]] == self.log.members[pair[1]]) {
            next[pair[0]] = Some(pair[1]);
        }
        next
    }

    fn span(&self, rows: &Rows) -> anyhow::Result<Span> {
        let starts = || self.rows.iter().map(|row| rows.starts[*row]);
        let members: HashSet<u64> = self.log.members.iter().copied().collect();
        Ok(Span {
            from: starts().min().context("there is no row")?.date(),
            to: starts().max().context("there is no row")?.date(),
            rows: self.log.len(),
            members: members.len(),
        })
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
            let budget = args.budget.map(|mean| Budget { mean, explore: args.explore.into() });
            reinforce(&train.decisions(), &rewards, &costs, budget, &how, args.seed)
                .network(Activation::Softmax)
        }
    };
    learning.finish_and_clear();
    Ok(network)
}

/// The chances that the policy gives to each row's actions, as core decides.
fn chances(policy: &Policy, task: Task, onnx: &[u8], part: &Part) -> anyhow::Result<Vec<f64>> {
    let plan = lower(onnx, &LowerOptions::default())?;
    let mut scores = Vec::new();
    plan.run_rows(&mut plan.workspace(1024), &part.contexts, &mut scores)?;
    decided(policy, task, &scores, part)
}

fn decided(policy: &Policy, task: Task, scores: &[f32], part: &Part) -> anyhow::Result<Vec<f64>> {
    let mut all = Vec::with_capacity(scores.len());
    for (scores, promised) in scores.chunks(part.arms()).zip(&part.promised) {
        let allowed = policy.allowed(*promised, 0);
        let current = (task == Task::Assign).then(|| usize::from(promised.saturating_sub(1)));
        all.extend(policy.chances(scores, &allowed, current)?.into_iter().map(f64::from));
    }
    Ok(all)
}

/// What policies are held against.
struct Judge<'p> {
    test: &'p Part,
    /// What each action earns after its cost, and what it costs, by a model of the rows that were learned from.
    earned: Vec<f64>,
    costs: Vec<f64>,
    net: Vec<f64>,
    /// The action that earned most in the rows that were learned from.
    best: usize,
}

impl<'p> Judge<'p> {
    fn new(train: &Part, test: &'p Part) -> anyhow::Result<Self> {
        let apply =
            |outcomes: &[f64]| Fitted::fit(&train.outcome(outcomes))?.apply(&test.contexts, test.log.len());
        let mut sums = vec![[0.0; 2]; train.arms()];
        let rows = train.log.actions.iter().zip(&train.log.propensities).zip(train.log.earned());
        for ((action, propensity), earned) in rows {
            let [earnings, weight] = &mut sums[*action as usize];
            *earnings += earned / propensity;
            *weight += 1.0 / propensity;
        }
        let mean = |arm: &usize| if sums[*arm][1] > 0.0 { sums[*arm][0] / sums[*arm][1] } else { f64::MIN };
        Ok(Self {
            earned: apply(&train.log.earned())?,
            costs: apply(&train.costs)?,
            net: test.log.earned(),
            best: (0..train.arms()).rev().max_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap_or_default(),
            test,
        })
    }

    fn logged<'a>(&'a self, outcomes: &'a [f64]) -> Logged<'a> {
        Logged {
            actions: &self.test.log.actions,
            rewards: outcomes,
            propensities: &self.test.log.propensities,
            members: &self.test.log.members,
        }
    }

    fn evaluate(&self, chances: &[f64], seed: u64) -> anyhow::Result<Evaluation> {
        let target = Target { arms: self.test.arms(), probabilities: chances, estimates: &self.earned };
        ope::evaluate(&self.logged(&self.net), &target, &Options { seed, ..Options::default() })
    }

    /// The mean cost of a decision, by the same estimator.
    fn cost(&self, chances: &[f64], seed: u64) -> anyhow::Result<ope::Estimate> {
        let target = Target { arms: self.test.arms(), probabilities: chances, estimates: &self.costs };
        let found =
            ope::evaluate(&self.logged(&self.test.costs), &target, &Options { seed, ..Options::default() })?;
        Ok(*found.judged())
    }

    /// What a policy's decisions would truly have brought, cost, and what the log's own and the best ones would have brought,
    /// where a simulator said so.
    fn truth(&self, chances: &[f64]) -> Option<record::Truth> {
        let (truth, arms) = (self.test.truth.as_ref()?, self.test.arms());
        let rows = self.test.log.len() as f64;
        let of = |pick: fn(&[f64; 2]) -> f64| {
            chances.iter().zip(truth).map(|(p, both)| p * pick(both)).sum::<f64>() / rows
        };
        let net = |[reward, cost]: &[f64; 2]| reward - cost;
        let best: f64 = truth.chunks(arms).map(|row| row.iter().map(net).fold(f64::MIN, f64::max)).sum();
        let logged: f64 = self
            .test
            .log
            .actions
            .iter()
            .zip(truth.chunks(arms))
            .map(|(at, row)| net(&row[*at as usize]))
            .sum();
        Some(record::Truth {
            value: of(|[reward, cost]| reward - cost),
            cost: of(|[_, cost]| *cost),
            incumbent: logged / rows,
            best: best / rows,
        })
    }

    /// Policies that anybody would try first.
    fn simple(&self, policy: &Policy, task: Task) -> anyhow::Result<Vec<(String, Vec<f64>)>> {
        let (rows, arms) = (self.test.log.len(), self.test.arms());
        let plain = Policy { learned: None, ..policy.clone() };
        let of = |scores: Vec<f32>| decided(&plain, task, &scores, self.test);
        let mut always = vec![0.0; rows * arms];
        always.iter_mut().skip(self.best).step_by(arms).for_each(|chance| *chance = 1.0);
        let highest = |row: &[f64]| {
            let best = (0..arms).rev().max_by(|a, b| row[*a].total_cmp(&row[*b]));
            (0..arms).map(|arm| if Some(arm) == best { 1.0 } else { 0.0 }).collect::<Vec<f32>>()
        };
        let greedy = self.earned.chunks(arms).flat_map(highest).collect();
        Ok(vec![
            ("uniform".into(), of(vec![1.0 / arms as f32; rows * arms])?),
            (format!("always {}", self.test.log.arms[self.best]), of(always)?),
            ("greedy, by expected earnings".into(), of(greedy)?),
        ])
    }

    /// The policy's actions with how often they are taken, and how often the log took them.
    fn actions(&self, policy: &Policy, chances: &[f64]) -> Vec<ActionRecord> {
        let (rows, arms) = (self.test.log.len() as f64, self.test.arms());
        let mut logged = BTreeMap::<u32, usize>::new();
        self.test.log.actions.iter().for_each(|action| *logged.entry(*action).or_default() += 1);
        let action = |(at, action): (usize, &Action)| ActionRecord {
            name: action.name.clone(),
            points: action.points,
            share: chances.iter().skip(at).step_by(arms).sum::<f64>() / rows,
            logged: logged.get(&(at as u32)).map_or(0.0, |count| *count as f64 / rows),
        };
        policy.actions.iter().enumerate().map(action).collect()
    }
}

/// How core reads what a learner's net gives.
pub(super) fn choice(learner: Learner, margin: f32) -> Choice {
    match learner {
        Learner::Reinforce => Choice::Sample,
        Learner::QLearning => Choice::Best { margin },
    }
}
