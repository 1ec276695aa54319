//! What a policy is learned from and judged by: a log's rows with what core knew of their members.
//!
//! Invariant: a row's context is that of the start of its period, as core will decide; nothing later is in it.

use std::collections::{BTreeMap, BTreeSet, HashSet, btree_map::Entry};

use anyhow::{Context, bail, ensure};
use tiercast_core::{Bundle, MemberState, Period, Task, Timestamp, Transform};

use super::Args;
use crate::{
    dataset::{Dataset, RowKey},
    features::{BuildOptions, known::known},
    models::policy::{learn::Decisions, outcome},
    policy::{
        log::{Columns, Log, Others, Source},
        record::Span,
    },
    progress,
    project::Project,
};

/// Periods of a log at most: each is a pass of features.
const MOST_PERIODS: usize = 240;

/// A log with what was known of each of its rows.
pub(super) struct Rows {
    pub(super) log: Log,
    /// The start of each row's period.
    pub(super) starts: Vec<Timestamp>,
    /// Raw features of each row.
    pub(super) known: Dataset,
    /// Where each row of the log is among the known ones.
    pub(super) places: Vec<usize>,
    /// The points of each action.
    pub(super) points: Vec<u64>,
    /// The tier that the rules promise at the start of each row's period.
    pub(super) promised: Vec<u8>,
    /// What each action would have brought and cost on average, where a simulated log says so.
    pub(super) truth: Option<Vec<[f64; 2]>>,
}

impl Rows {
    pub(super) fn read(
        args: &Args,
        project: &Project,
        bundle: &Bundle,
        period: Period,
    ) -> anyhow::Result<Self> {
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
        let read = async {
            let source = Source::find(&args.log).await?;
            let mut log = Log::of(&source, &columns).await?;
            if task == Task::Assign {
                as_tiers(&mut log, bundle)?;
            }
            let points = (task == Task::Reward).then_some(&args.points);
            let others = Others::of(&source, &args.member, points, &log.arms).await?;
            anyhow::Ok((log, others))
        };
        let (log, others) = runtime.block_on(read).with_context(|| args.log.display().to_string())?;
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
    pub(super) fn split(&self, args: &Args) -> anyhow::Result<(Vec<usize>, Vec<usize>)> {
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

    pub(super) fn raw(&self, rows: &[usize]) -> Vec<f32> {
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
pub(super) struct Part {
    /// The start of each row's period.
    pub(super) starts: Vec<Timestamp>,
    pub(super) log: Log,
    pub(super) costs: Vec<f64>,
    pub(super) width: usize,
    pub(super) contexts: Vec<f32>,
    pub(super) promised: Vec<u8>,
    pub(super) truth: Option<Vec<[f64; 2]>>,
}

impl Part {
    pub(super) fn of(rows: &Rows, at: &[usize], transform: &Transform) -> Self {
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
            starts: at.iter().map(|row| rows.starts[*row]).collect(),
        }
    }

    pub(super) fn arms(&self) -> usize {
        self.log.arms.len()
    }

    pub(super) fn decisions(&self) -> Decisions<'_> {
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
    pub(super) fn outcome<'p>(&'p self, outcomes: &'p [f64]) -> outcome::Rows<'p> {
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
    pub(super) fn next(&self) -> Vec<Option<usize>> {
        let times = self.log.times.as_deref().unwrap_or_default();
        let mut order: Vec<usize> = (0..self.log.len()).collect();
        order.sort_by_key(|row| (self.log.members[*row], times.get(*row).copied()));
        let mut next = vec![None; order.len()];
        for pair in order.windows(2).filter(|pair| self.log.members[pair[0]] == self.log.members[pair[1]]) {
            next[pair[0]] = Some(pair[1]);
        }
        next
    }

    /// The rows of the last period.
    pub(super) fn latest(&self) -> Vec<usize> {
        let last = self.starts.iter().max();
        (0..self.starts.len()).filter(|row| self.starts.get(*row) == last).collect()
    }

    pub(super) fn span(&self) -> anyhow::Result<Span> {
        let members: HashSet<u64> = self.log.members.iter().copied().collect();
        Ok(Span {
            from: self.starts.iter().min().context("there is no row")?.date(),
            to: self.starts.iter().max().context("there is no row")?.date(),
            rows: self.log.len(),
            members: members.len(),
        })
    }
}
