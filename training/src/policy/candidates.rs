//! Policies that are judged by a log: learned from its first part, proposed for the rows of the second.
//!
//! Invariant: a policy's probabilities are those that it would have given before the judged rows were seen.

use anyhow::{bail, ensure};

use super::log::Log;
use crate::models::{
    mix,
    policy::{
        learn::{Decisions, Learning, reinforce},
        net::softmax,
        outcome::{self, Fitted, Rows},
    },
};

/// A policy by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What it is called.
    pub name: String,
    /// Its probabilities for the judged rows, n × k, row after row, each row's those of its position.
    pub probabilities: Vec<f64>,
}

/// Parts a log: what is learned from, and what judges. By time, the first half of the rows; without times, about half of the
/// members, by a hash.
///
/// # Errors
/// When one part would have no row.
pub fn split(log: &Log) -> anyhow::Result<(Log, Log)> {
    let (learned, judged): (Vec<usize>, Vec<usize>) = match &log.times {
        Some(times) => {
            let mut order: Vec<usize> = (0..log.len()).collect();
            order.sort_by_key(|at| times[*at]);
            let judged = order.split_off(order.len() / 2);
            (order, judged)
        }
        // Other bits than those that deal members to an outcome model's folds.
        None => (0..log.len()).partition(|at| mix(!log.members[*at]) >> 63 == 0),
    };
    ensure!(
        !learned.is_empty() && !judged.is_empty(),
        "{} rows do not make two parts, one to learn from and one to judge by; log more",
        log.len()
    );
    Ok((log.select(&learned), log.select(&judged)))
}

/// The policies that every log is asked about.
///
/// # Errors
/// When a position is in one part of the log alone, or a temperature is not above 0.
pub fn all(learned: &Log, judged: &Log, temperature: f64, seed: u64) -> anyhow::Result<Vec<Candidate>> {
    Ok(vec![
        uniform(judged),
        best_arm(learned, judged),
        greedy(learned, judged, temperature)?,
        reinforced(learned, judged, seed)?,
    ])
}

/// Every arm alike.
fn uniform(judged: &Log) -> Candidate {
    let arms = judged.arms.len();
    Candidate { name: "uniform".into(), probabilities: vec![1.0 / arms as f64; judged.len() * arms] }
}

/// Always the arm that earned most on the first part, by its self-normalised mean; the first of equals.
fn best_arm(learned: &Log, judged: &Log) -> Candidate {
    let (arms, best) = (learned.arms.len(), learned.best_arm());
    let mut probabilities = vec![0.0; judged.len() * arms];
    probabilities.iter_mut().skip(best).step_by(arms).for_each(|chance| *chance = 1.0);
    Candidate { name: format!("best arm ({})", learned.arms[best]), probabilities }
}

/// The arms that an outcome model of the first part expects most of, by a softmax.
fn greedy(learned: &Log, judged: &Log, temperature: f64) -> anyhow::Result<Candidate> {
    ensure!(temperature > 0.0 && temperature.is_finite(), "temperature {temperature}; it is above 0");
    by_position("greedy", learned, judged, |part, asked, found| {
        let arms = part.arms.len();
        let model = Fitted::fit(&rows(part, &part.earned()))?;
        let unit = temperature * spread(&model.apply(&part.contexts, part.len())?, arms);
        for expected in model.apply(&asked.contexts, asked.len())?.chunks(arms) {
            found.push(chances(expected, unit));
        }
        Ok(())
    })
}

/// Folds of the members by which REINFORCE's baseline is made.
const FOLDS: usize = 5;

/// What `tiercast policy train` would learn of the first part: a linear policy by REINFORCE.
fn reinforced(learned: &Log, judged: &Log, seed: u64) -> anyhow::Result<Candidate> {
    by_position("reinforce", learned, judged, |part, asked, found| {
        let (width, earned) = (part.context_names.len(), part.earned());
        let units = Units::of(&part.contexts, width);
        let contexts = units.scaled(&part.contexts);
        let decisions = Decisions {
            width,
            contexts: &contexts,
            arms: part.arms.len(),
            actions: &part.actions,
            rewards: &earned,
            costs: &vec![0.0; part.len()],
            propensities: &part.propensities,
            members: &part.members,
        };
        let estimates = outcome::estimates(&rows(part, &earned), FOLDS)?;
        let nothing = vec![0.0; estimates.len()];
        let net = reinforce(&decisions, &estimates, &nothing, None, &Learning::default(), seed);
        let asked_of = units.scaled(&asked.contexts);
        found.extend((0..asked.len()).map(|at| softmax(&net.run(&asked_of[at * width..(at + 1) * width]))));
        Ok(())
    })
}

/// Where contexts lie and how far they spread, by the rows that are learned from.
struct Units(Vec<[f32; 2]>);

impl Units {
    fn of(contexts: &[f32], width: usize) -> Self {
        let unit = |at: usize| {
            let values = || contexts.iter().skip(at).step_by(width).map(|x| f64::from(*x));
            let n = values().count().max(1) as f64;
            let mean = values().sum::<f64>() / n;
            let deviation = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            [mean as f32, if deviation > 0.0 { deviation as f32 } else { 1.0 }]
        };
        Self((0..width).map(unit).collect())
    }

    fn scaled(&self, contexts: &[f32]) -> Vec<f32> {
        contexts
            .iter()
            .zip(self.0.iter().cycle())
            .map(|(x, [mean, deviation])| (x - mean) / deviation)
            .collect()
    }
}

/// A policy with a part of its own for each position: `of` gives the chances of the judged rows of one, in their order.
fn by_position(
    name: &str,
    learned: &Log,
    judged: &Log,
    of: impl Fn(&Log, &Log, &mut Vec<Vec<f64>>) -> anyhow::Result<()>,
) -> anyhow::Result<Candidate> {
    let arms = judged.arms.len();
    let mut probabilities = vec![0.0; judged.len() * arms];
    for (position, [first, second]) in positions(learned, judged) {
        let (part, asked) = (learned.select(&first), judged.select(&second));
        if part.is_empty() && !asked.is_empty() {
            bail!(
                "position {position} is in the judged part of the log alone; log more, or leave --position out"
            );
        }
        if asked.is_empty() {
            continue;
        }
        let mut found = Vec::with_capacity(asked.len());
        of(&part, &asked, &mut found)?;
        for (at, chances) in second.iter().zip(found) {
            probabilities[at * arms..(at + 1) * arms].copy_from_slice(&chances);
        }
    }
    Ok(Candidate { name: name.into(), probabilities })
}

/// Rows of each position in both parts; all of them where there is none.
fn positions<'l>(learned: &'l Log, judged: &'l Log) -> Vec<(&'l str, [Vec<usize>; 2])> {
    let of = |log: &Log, position: usize| match &log.positions {
        Some(positions) => (0..log.len()).filter(|at| positions[*at] as usize == position).collect(),
        None => (0..log.len()).collect(),
    };
    let names = if judged.positions.is_some() { &judged.position_names[..] } else { &[] };
    let names = if names.is_empty() { vec![""] } else { names.iter().map(String::as_str).collect() };
    names.into_iter().enumerate().map(|(at, name)| (name, [of(learned, at), of(judged, at)])).collect()
}

/// What an outcome model reads of a log.
fn rows<'l>(log: &'l Log, earned: &'l [f64]) -> Rows<'l> {
    Rows {
        width: log.context_names.len(),
        contexts: &log.contexts,
        actions: &log.actions,
        rewards: earned,
        members: &log.members,
        arms: log.arms.len(),
    }
}

/// Expected earnings of each arm, n × k: for each row from a model of its position that has not seen the row's member.
///
/// # Errors
/// When a position has too few members.
pub fn estimates(log: &Log, folds: usize) -> anyhow::Result<Vec<f64>> {
    let arms = log.arms.len();
    let mut found = vec![0.0; log.len() * arms];
    for (_, [places, _]) in positions(log, log) {
        let part = log.select(&places);
        if part.is_empty() {
            continue;
        }
        let estimates = outcome::estimates(&rows(&part, &part.earned()), folds)?;
        for (at, estimates) in places.iter().zip(estimates.chunks(arms)) {
            found[at * arms..(at + 1) * arms].copy_from_slice(estimates);
        }
    }
    Ok(found)
}

/// How far arms are apart in a row: the root of the mean squared difference to the row's mean.
fn spread(expected: &[f64], arms: usize) -> f64 {
    let row = |row: &[f64]| {
        let mean = row.iter().sum::<f64>() / arms as f64;
        row.iter().map(|x| (x - mean).powi(2)).sum::<f64>()
    };
    (expected.chunks(arms).map(row).sum::<f64>() / expected.len() as f64).sqrt()
}

/// A softmax in units; arms that are all alike, by a unit of 0, are as likely.
fn chances(expected: &[f64], unit: f64) -> Vec<f64> {
    let scaled = |x: &f64| if unit > 0.0 { x / unit } else { 0.0 };
    softmax(&expected.iter().map(scaled).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_softmax_prefers_what_is_expected_most_and_cools_to_it() {
        let chances = |unit: f64| chances(&[1.0, 2.0, 1.0], unit);
        assert_eq!(chances(0.0), [1.0 / 3.0; 3]);
        assert!((chances(1.0)[1] - 1.0 / (1.0 + 2.0 * (-1.0_f64).exp())).abs() < 1e-12);
        assert!(chances(0.01)[1] > 0.999_999);
        assert_eq!(spread(&[1.0, 3.0, 5.0, 5.0], 2), 0.5_f64.sqrt());
    }

    #[test]
    fn logs_are_parted_by_time_or_by_member() {
        let log = Log {
            rewards: vec![0.0; 40],
            actions: vec![0; 40],
            propensities: vec![1.0; 40],
            members: (0..40).map(|at| at / 4).collect(),
            times: Some((0..40).rev().collect()),
            ..Log::default()
        };
        let (learned, judged) = split(&log).unwrap();
        assert_eq!((learned.len(), judged.len()), (20, 20));
        assert!(learned.times.unwrap().iter().max() < judged.times.unwrap().iter().min());
        let (learned, judged) = split(&Log { times: None, ..log.clone() }).unwrap();
        assert!(learned.members.iter().all(|member| !judged.members.contains(member)));
        assert!(split(&Log { times: None, ..log.select(&[0, 1]) }).is_err());
    }
}
