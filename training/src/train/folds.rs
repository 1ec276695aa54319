//! Which rows train and which are held out, and the training of every model on every such split.
//!
//! A member's rows are all in one fold. What is fitted to data — tiers, transform, model — is fitted to the training
//! rows of its own split and to nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::anyhow;
use indicatif::ProgressBar;
use serde_json::json;
use tiercast_core::{TierRules, Timestamp, Transform};

use crate::{
    dataset::Dataset,
    device::Device,
    features::store::Store,
    fit::{self, sequence::Layout},
    log,
    models::{self, Fitted, Fitting, Kind, Params, Reads, Rows, Stream, mix},
    project::TierPlan,
};

use super::{stream::OfSplit, unfinished::Unfinished};

/// Rows that train and rows held out, as places in the dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// From 1; none for the final fit.
    pub fold: Option<i32>,
    /// Rows to fit to.
    pub train: Vec<usize>,
    /// Rows to judge on.
    pub held_out: Vec<usize>,
}

/// Each member as a number, in the order of the names.
pub fn member_numbers(dataset: &Dataset) -> Vec<u32> {
    let mut numbers: BTreeMap<&str, u32> = dataset.rows.iter().map(|row| (row.member.as_str(), 0)).collect();
    numbers.values_mut().zip(0..).for_each(|(number, at)| *number = at);
    dataset.rows.iter().map(|row| numbers[row.member.as_str()]).collect()
}

/// Deals the members of the given rows into folds of equal size, and gives each fold as a split.
pub fn cross_validation(rows: &[usize], member: &[u32], folds: usize, seed: u64) -> Vec<Split> {
    let mut dealt: Vec<u32> = rows.iter().map(|row| member[*row]).collect();
    dealt.sort_unstable();
    dealt.dedup();
    dealt.sort_by_key(|member| (mix(seed ^ u64::from(*member)), *member));
    let fold: BTreeMap<u32, usize> =
        dealt.into_iter().enumerate().map(|(at, member)| (member, at % folds)).collect();
    let split = |k: usize| {
        let (held_out, train) = rows.iter().copied().partition(|row| fold[&member[*row]] == k);
        Split { fold: Some(k as i32 + 1), train, held_out }
    };
    (0..folds).map(split).filter(|split| !split.train.is_empty() && !split.held_out.is_empty()).collect()
}

/// A split with what was fitted to its training rows.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The split.
    pub split: Split,
    /// Tiers cut on the training targets.
    pub rules: TierRules,
    /// Transform to the dense inputs, fitted to the training rows.
    pub dense: Transform,
    /// Transform to the plain inputs.
    pub plain: Transform,
    /// Transform to the steps of the sequence; without columns where there is none.
    pub sequence: Transform,
    /// Each feature's typical value in the training rows.
    pub typical: Vec<f32>,
    /// The training rows.
    pub train: Rows,
    /// The rows held out.
    pub held_out: Rows,
}

impl Prepared {
    /// Other rows as the split's networks see them: without what trees and the rule look at.
    pub(super) fn networks_see(
        &self,
        raw: &[f32],
        target_spend: &[i64],
        next_purchase: &[f32],
        member: Vec<u32>,
    ) -> Rows {
        let features = self.typical.len();
        Rows {
            width: self.dense.width(),
            inputs: fit::apply(&self.dense, features, raw),
            steps: self.train.steps,
            channels: self.train.channels,
            sequence: fit::apply(&self.sequence, features, raw),
            next_purchase: next_purchase.to_vec(),
            current_spend: vec![0; member.len()],
            targets: target_spend.iter().map(|spend| self.rules.tier_of(*spend)).collect(),
            target_spend: target_spend.to_vec(),
            thresholds: self.train.thresholds.clone(),
            member,
            ..Rows::default()
        }
    }

    /// The transform to what a model reads.
    pub fn transform(&self, reads: Reads) -> Transform {
        let Reads { dense, sequence, plain } = reads;
        let parts = [(dense, &self.dense), (sequence, &self.sequence), (plain, &self.plain)];
        let columns = parts.into_iter().filter(|(read, _)| *read).flat_map(|(_, part)| part.columns.clone());
        Transform { columns: columns.collect() }
    }
}

/// Fits tiers and transforms to a split's training rows and applies them to all its rows.
///
/// # Errors
/// When the tiers cannot be cut.
pub fn prepare(dataset: &Dataset, member: &[u32], plan: &TierPlan, split: Split) -> anyhow::Result<Prepared> {
    let spend: Vec<i64> = split.train.iter().map(|row| dataset.target_spend[*row]).collect();
    let rules = fit::tiers::rules(plan, &spend)?;
    let train = raw(dataset, &split.train);
    let dense = fit::transform(&dataset.schema, &train);
    let targets: Vec<u8> = spend.iter().map(|spend| rules.tier_of(*spend)).collect();
    let plain = fit::plain(&dataset.schema, &train, &targets);
    let typical = fit::typical(&dataset.schema, &train);
    let layout = Layout::of(&dataset.schema);
    let sequence = layout.as_ref().map_or_else(Transform::default, |l| l.transform(&dataset.schema, &train));
    let steps = layout.map_or(0, |layout| layout.steps);
    let rows = |at: &[usize]| {
        let raw = raw(dataset, at);
        Rows {
            width: dense.width(),
            inputs: fit::apply(&dense, dataset.schema.len(), &raw),
            plain_width: plain.width(),
            plain: fit::apply(&plain, dataset.schema.len(), &raw),
            steps,
            channels: sequence.width() / steps.max(1),
            sequence: fit::apply(&sequence, dataset.schema.len(), &raw),
            next_purchase: at.iter().map(|row| dataset.next_purchase[*row]).collect(),
            current_spend: at.iter().map(|row| dataset.current_spend[*row]).collect(),
            targets: at.iter().map(|row| rules.tier_of(dataset.target_spend[*row])).collect(),
            target_spend: at.iter().map(|row| dataset.target_spend[*row]).collect(),
            thresholds: rules.thresholds().collect(),
            member: at.iter().map(|row| member[*row]).collect(),
        }
    };
    let (train, held_out) = (rows(&split.train), rows(&split.held_out));
    Ok(Prepared { split, rules, dense, plain, sequence, typical, train, held_out })
}

/// The raw features of some rows.
pub fn raw(dataset: &Dataset, rows: &[usize]) -> Vec<f32> {
    rows.iter().flat_map(|row| dataset.row(*row)).copied().collect()
}

/// Rows of which those at hand are a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beyond<'a> {
    /// All of them.
    pub(super) store: &'a Store,
    /// When training rows are.
    pub(super) dates: &'a [Timestamp],
    /// The sample's members by name, with their numbers.
    pub(super) members: &'a HashMap<&'a str, u32>,
}

/// How every kind is trained on every split.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Settings, where they are not the defaults.
    pub settings: &'a BTreeMap<Kind, Params>,
    /// Seeds every random choice.
    pub seed: u64,
    /// Where networks are trained.
    pub device: &'a Device,
    /// The rows beyond memory, if there are some.
    pub(super) beyond: Option<Beyond<'a>>,
    /// Models trained at the same time.
    pub threads: usize,
    /// Where fits are kept until the run is whole.
    pub unfinished: &'a Unfinished,
}

/// Trains every kind on every split: `result[split][kind]`. What an earlier run has left is taken over.
///
/// # Errors
/// When a training thread dies, a model has no finite loss, rows cannot be read again, or a fit cannot be kept.
pub fn train_all(
    prepared: &[Prepared],
    kinds: &[Kind],
    plan: &Plan<'_>,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<Vec<Fitted>>> {
    // The networks take longest; started first, no thread waits for the last one.
    let of_job = |job: usize| (job % prepared.len(), kinds.len() - 1 - job / prepared.len());
    let defaults = Params::default();
    let train = |job: usize| {
        let (split, kind) = of_job(job);
        let (split, kind) = (&prepared[split], kinds[kind]);
        let params = plan.settings.get(&kind).unwrap_or(&defaults);
        let began = Instant::now();
        let known = plan.unfinished.find(kind, split, params);
        let taken_over = known.is_some();
        let fitted = match known {
            Some(fitted) => fitted,
            None => {
                let beyond = plan.beyond.filter(|_| kind.is_network());
                let stream =
                    beyond.map(|Beyond { store, dates, members }| OfSplit::new(store, split, dates, members));
                let fitting = Fitting {
                    params,
                    seed: seed_of(plan.seed, kind, split),
                    device: plan.device,
                    stream: stream.as_ref().map(|stream| stream as &dyn Stream),
                };
                let fitted = models::fit_with(kind, &fitting, split.rules.len(), &split.train)?;
                plan.unfinished.keep(kind, split, params, &fitted)?;
                fitted
            }
        };
        progress.inc(1);
        let best = fitted.curve.iter().min_by(|a, b| a.validation.total_cmp(&b.validation));
        log::event(
            "fit",
            json!({
                "model": kind.name(),
                "fold": split.split.fold,
                "takenOver": taken_over,
                "seconds": began.elapsed().as_secs_f64(),
                "best": best,
                "done": progress.position(),
                "of": progress.length(),
            }),
        );
        Ok((fitted, taken_over))
    };
    let jobs = prepared.len() * kinds.len();
    let done = side_by_side(jobs, plan.threads, train)?;
    let taken_over = done.iter().filter(|fit| matches!(fit, Ok((_, true)))).count();
    if taken_over > 0 {
        log::note(&format!("{taken_over} of {jobs} fits are taken over from a run that was stopped"));
    }
    let done = done.into_iter().map(|fit: anyhow::Result<_>| fit.map(|(fitted, _)| fitted));
    let mut done: BTreeMap<_, _> = (0..jobs).map(of_job).zip(done).collect();
    let mut model = |s, k| done.remove(&(s, k)).unwrap_or_else(|| Err(anyhow!("a model was not trained")));
    (0..prepared.len()).map(|s| (0..kinds.len()).map(|k| model(s, k)).collect()).collect()
}

/// The seed of a model on a split.
pub(super) fn seed_of(seed: u64, kind: Kind, split: &Prepared) -> u64 {
    mix(seed ^ mix(kind as u64 * 1000 + split.split.fold.unwrap_or(0) as u64))
}

/// Does so many jobs, begun in their order, and gives what each gave, in the same order. Threads change how long it takes
/// and nothing else.
///
/// # Errors
/// When a thread dies.
pub(super) fn side_by_side<T: Send>(
    jobs: usize,
    threads: usize,
    job: impl Fn(usize) -> T + Sync,
) -> anyhow::Result<Vec<T>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let workers = threads.clamp(1, jobs.max(1));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= jobs {
                return;
            }
            // Where there are fewer jobs than threads, a job may use more than one.
            let result = models::threads::allow(threads / workers, || job(at));
            if let Ok(mut done) = done.lock() {
                done.insert(at, result);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a training thread died")))
    })?;
    let done = done.into_inner().map_err(|_| anyhow!("a training thread died"))?;
    Ok(done.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_part_members_evenly_and_hold_each_row_out_once() {
        let member: Vec<u32> = (0..103).flat_map(|m| [m, m]).collect();
        let rows: Vec<usize> = (0..206).collect();
        let splits = cross_validation(&rows, &member, 5, 7);
        assert_eq!(splits.len(), 5);
        let mut held_out: Vec<usize> = splits.iter().flat_map(|split| split.held_out.clone()).collect();
        held_out.sort_unstable();
        assert_eq!(held_out, rows);
        for split in &splits {
            assert!((40..=42).contains(&split.held_out.len()));
            let inside = |rows: &[usize]| {
                rows.iter().map(|row| member[*row]).collect::<std::collections::BTreeSet<_>>()
            };
            assert!(inside(&split.train).is_disjoint(&inside(&split.held_out)));
        }
        assert_eq!(splits, cross_validation(&rows, &member, 5, 7));
        assert_ne!(splits, cross_validation(&rows, &member, 5, 8));
    }

    #[test]
    fn more_folds_than_members_leave_none_empty() {
        let splits = cross_validation(&[0, 1, 2], &[0, 1, 2], 5, 1);
        assert_eq!(splits.len(), 3);
    }

    fn dataset() -> Dataset {
        let spec = r#"{"events":{"currency":{"code":"USD","exponent":2}},"capacity":64,
            "features":[{"name":"spend","op":"sum","of":"amount"},{"name":"recency","op":"recency"},
            {"name":"l1","op":"lag","each":"day","lag":1,"of":"amount"},{"name":"l2","op":"lag","each":"day","lag":2,"of":"amount"},
            {"name":"l3","op":"lag","each":"day","lag":3,"of":"amount"},{"name":"l4","op":"lag","each":"day","lag":4,"of":"amount"}]}"#;
        let schema = tiercast_core::FeatureSchema::compile(serde_json::from_str(spec).unwrap()).unwrap();
        let row = |i: u64| crate::dataset::RowKey { member: format!("m{i:03}"), as_of: Default::default() };
        let noise = |i: u64| (mix(i) % 1000) as f32;
        Dataset {
            schema,
            rows: (0..100).map(row).collect(),
            features: (0..100)
                .flat_map(|i| {
                    let may_miss = |salt| if i % 9 == 0 { f32::NAN } else { noise(i + salt) };
                    [
                        noise(i),
                        may_miss(1000),
                        noise(i + 4000),
                        noise(i + 5000),
                        noise(i + 6000),
                        may_miss(7000),
                    ]
                })
                .collect(),
            current_spend: (0..100).map(|i| noise(i) as i64).collect(),
            target_spend: (0..100).map(|i| (noise(i) + noise(i + 2000)) as i64).collect(),
            next_purchase: (0..100).map(|i| noise(i + 3000) / 11.0).collect(),
            categories: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn nothing_is_fitted_to_rows_held_out() {
        let plan = TierPlan {
            names: ["A", "B", "C"].map(String::from).to_vec(),
            period: tiercast_core::Period::Quarter,
            cut: crate::project::TierCut::Shares(vec![0.5, 0.3, 0.2]),
        };
        let split = Split { fold: Some(1), train: (0..60).collect(), held_out: (60..100).collect() };
        let mut data = dataset();
        let member = member_numbers(&data);
        let fitted = |data: &Dataset| {
            let prepared = prepare(data, &member, &plan, split.clone()).unwrap();
            let models: Vec<Vec<u32>> = Kind::ALL
                .into_iter()
                .map(|(_, kind)| kind)
                .filter(|kind| *kind != Kind::Blend)
                .map(|kind| {
                    models::fit(kind, 3, &prepared.train, 1).unwrap().model.probabilities(&prepared.train)
                })
                .map(|p| p.into_iter().map(f32::to_bits).collect())
                .collect();
            (prepared.rules, prepared.dense, prepared.plain, prepared.sequence, models)
        };
        let before = fitted(&data);
        for row in 60..100 {
            data.features[row * 6] = 1e9;
            data.features[row * 6 + 1] = f32::NAN;
            data.features[row * 6 + 2..row * 6 + 6].fill(1e9);
            data.next_purchase[row] = 1e9;
            data.current_spend[row] = 1_000_000_000;
            data.target_spend[row] = -5;
        }
        assert!(before == fitted(&data));
    }
}
