//! What the features' values are like: missing, outlying, and shifted between the training and the test period.
//!
//! Drift is the population stability index (Siddiqi 2006, "Credit Risk Scorecards"; before that Jeffreys' divergence, 1946):
//! Σ (q − p) · ln(q / p) over bins, p a bin's share of the training rows and q of the test rows. Bins are cut at the training
//! deciles, equal cuts once, and missing is a bin of its own. Nothing here changes the training.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{dataset::Dataset, fit::CLIP_SHARES, models::cuts::quantile};

/// Bins of a feature's known values at most.
const BINS: usize = 10;
/// What an empty bin counts as, in rows; with nothing, its logarithm would be infinite.
const EMPTY: f64 = 0.5;

/// A feature's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeatureQuality {
    /// The feature.
    pub feature: String,
    /// The training values between which all but 1 % lie; none for a code, and where all are missing.
    pub limits: Option<(f64, f64)>,
    /// The training rows.
    pub train: Side,
    /// The test rows; none where there is no test.
    pub test: Option<Side>,
    /// How far the test rows have drifted from the training rows.
    pub drift: Option<Drift>,
}

/// The values of one period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// Share of the rows without a value.
    pub missing: f64,
    /// Share of the rows beyond the limits; about 1 % in training, unless many values are equal.
    pub outliers: f64,
    /// The middle value; none for a code, and where all are missing.
    pub median: Option<f64>,
}

/// The population stability index.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// The index: 0 where the shares are equal; by custom little below 0.1 and much from 0.25.
    pub psi: f64,
    /// What chance alone gives on average between two samples of these sizes: (bins − 1)(1/n + 1/m), as the index is
    /// then a scaled χ² (Yurdakul and Naranjo 2020).
    pub chance: f64,
}

/// Looks at every feature, in the order of the schema, but of the sequence at the latest step alone: the others' values are
/// those that it had before.
pub fn survey(dataset: &Dataset, train: &[usize], test: &[usize]) -> Vec<FeatureQuality> {
    let column = |rows: &[usize], at: usize| rows.iter().map(|row| dataset.row(*row)[at]).collect::<Vec<_>>();
    let features = dataset.schema.spec().features.iter().enumerate();
    let features = features.filter(|(_, decl)| decl.lag.is_none_or(|lag| lag == 1));
    features.map(|(at, decl)| of(&decl.name, decl.is_code(), &column(train, at), &column(test, at))).collect()
}

fn of(name: &str, is_code: bool, train: &[f32], test: &[f32]) -> FeatureQuality {
    let known = sorted(train);
    let numeric = !is_code && !known.is_empty();
    let limits = numeric.then(|| (quantile(&known, CLIP_SHARES.0), quantile(&known, CLIP_SHARES.1)));
    let side = |values: &[f32]| {
        let known = sorted(values);
        let share = |n: usize| n as f64 / values.len().max(1) as f64;
        let beyond = |(low, high): (f64, f64)| known.iter().filter(|x| **x < low || **x > high).count();
        Side {
            missing: share(values.len() - known.len()),
            outliers: share(limits.map_or(0, beyond)),
            median: (!is_code && !known.is_empty()).then(|| quantile(&known, 0.5)),
        }
    };
    let bins = if is_code { Bins::of_codes(train) } else { Bins::of_numbers(&known) };
    FeatureQuality {
        feature: name.to_owned(),
        limits,
        train: side(train),
        test: (!test.is_empty()).then(|| side(test)),
        drift: (!test.is_empty() && !train.is_empty()).then(|| drift(&bins.count(train), &bins.count(test))),
    }
}

fn sorted(values: &[f32]) -> Vec<f64> {
    let mut known: Vec<f64> = values.iter().filter(|x| !x.is_nan()).map(|x| f64::from(*x)).collect();
    known.sort_unstable_by(f64::total_cmp);
    known
}

/// The index between the rows of each bin in training and in the test.
fn drift(train: &[usize], test: &[usize]) -> Drift {
    let pairs: Vec<(f64, f64)> = train
        .iter()
        .zip(test)
        .filter(|(p, q)| **p + **q > 0)
        .map(|(p, q)| ((*p as f64).max(EMPTY), (*q as f64).max(EMPTY)))
        .collect();
    let (n, m) = (train.iter().sum::<usize>() as f64, test.iter().sum::<usize>() as f64);
    let part = |(p, q): &(f64, f64)| (q / m - p / n) * ((q / m) / (p / n)).ln();
    Drift {
        psi: pairs.iter().map(part).sum(),
        chance: (pairs.len().saturating_sub(1)) as f64 * (1.0 / n + 1.0 / m),
    }
}

/// Where a value is counted; the last bin is for those that are missing.
enum Bins {
    /// Values up to and with each cut.
    Cuts(Vec<f64>),
    /// The commonest codes; all others share a bin.
    Codes(Vec<u32>),
}

impl Bins {
    fn of_numbers(known: &[f64]) -> Self {
        let (Some(low), Some(high)) = (known.first(), known.last()) else { return Self::Cuts(Vec::new()) };
        if low == high {
            // A value that never varied in training: what is below it, what is it, what is above it.
            return Self::Cuts(vec![low.next_down(), *low]);
        }
        let mut cuts: Vec<f64> = (1..BINS).map(|at| quantile(known, at as f64 / BINS as f64)).collect();
        cuts.dedup();
        Self::Cuts(cuts)
    }

    fn of_codes(train: &[f32]) -> Self {
        let mut times = BTreeMap::<u32, usize>::new();
        train.iter().filter(|x| !x.is_nan()).for_each(|x| *times.entry(x.to_bits()).or_default() += 1);
        let mut codes: Vec<(u32, usize)> = times.into_iter().collect();
        codes.sort_by_key(|(bits, n)| (std::cmp::Reverse(*n), *bits));
        Self::Codes(codes.into_iter().take(BINS).map(|(bits, _)| bits).collect())
    }

    fn count(&self, values: &[f32]) -> Vec<usize> {
        let known = match self {
            Self::Cuts(cuts) => cuts.len() + 1,
            Self::Codes(codes) => codes.len() + 1,
        };
        let mut counts = vec![0; known + 1];
        for value in values {
            let bin = match self {
                _ if value.is_nan() => known,
                Self::Cuts(cuts) => cuts.partition_point(|cut| *cut < f64::from(*value)),
                Self::Codes(codes) => {
                    codes.iter().position(|bits| *bits == value.to_bits()).unwrap_or(known - 1)
                }
            };
            counts[bin] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests;
