//! What the features' values are like: missing, outlying, and shifted between the training and the test period.
//!
//! Drift is core's ([`Drift`], the population stability index), between the training rows and the test rows. Bins are cut at
//! the training deciles, equal cuts once, and missing is a bin of its own; the bundle gets them, so that drift can be measured
//! where members are scored. Nothing here changes the training.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
pub use tiercast_core::Drift;
use tiercast_core::{Bins, FeatureDecl, Reference, Watched};

use crate::{dataset::Dataset, fit::CLIP_SHARES, models::cuts::quantile};

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

/// Looks at every feature, in the order of the schema, but of the sequence at the latest step alone: the others' values are
/// those that it had before. With each goes what the bundle is to watch of it, which costs one pass over the training rows
/// where there is no test, and with one nothing, as drift takes it anyway.
pub fn survey(dataset: &Dataset, train: &[usize], test: &[usize]) -> (Vec<FeatureQuality>, Vec<Watched>) {
    let column = |rows: &[usize], at: usize| rows.iter().map(|row| dataset.row(*row)[at]).collect::<Vec<_>>();
    let features = dataset.schema.spec().features.iter().enumerate();
    let features = features.filter(|(_, decl)| decl.lag.is_none_or(|lag| lag == 1));
    let look = |(at, decl): (usize, &FeatureDecl)| {
        let (quality, bins, counts) = of(&decl.name, decl.is_code(), &column(train, at), &column(test, at));
        (quality, Watched { feature: at as u32, bins, shares: shares(&counts) })
    };
    features.map(look).unzip()
}

/// What the bundle keeps of the training rows: the features that it is to watch, and how many of all the rows its model gives
/// each of the tiers.
pub fn reference(features: Vec<Watched>, tiers: usize, of_rows: impl Iterator<Item = u8>) -> Reference {
    let mut counts = vec![0; tiers];
    of_rows.for_each(|tier| counts[usize::from(tier) - 1] += 1);
    Reference { rows: counts.iter().sum::<usize>() as u64, features, tiers: shares(&counts) }
}

fn shares(counts: &[usize]) -> Vec<f32> {
    let rows = counts.iter().sum::<usize>().max(1) as f64;
    counts.iter().map(|count| (*count as f64 / rows) as f32).collect()
}

/// A feature's quality, the bins that its training values make, and how many of them are in each.
fn of(name: &str, is_code: bool, train: &[f32], test: &[f32]) -> (FeatureQuality, Bins, Vec<usize>) {
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
    let bins = if is_code { of_codes(train) } else { of_numbers(&known) };
    let counts = count(&bins, train);
    let quality = FeatureQuality {
        feature: name.to_owned(),
        limits,
        train: side(train),
        test: (!test.is_empty()).then(|| side(test)),
        drift: drift(&counts, &count(&bins, test)),
    };
    (quality, bins, counts)
}

fn sorted(values: &[f32]) -> Vec<f64> {
    let mut known: Vec<f64> = values.iter().filter(|x| !x.is_nan()).map(|x| f64::from(*x)).collect();
    known.sort_unstable_by(f64::total_cmp);
    known
}

/// The drift between the rows of each bin in training and in the test; none where one of them has none.
fn drift(train: &[usize], test: &[usize]) -> Option<Drift> {
    Drift::between(&train.iter().zip(test).map(|(p, q)| (*p as f64, *q as f64)).collect::<Vec<_>>())
}

fn of_numbers(known: &[f64]) -> Bins {
    let (Some(low), Some(high)) = (known.first(), known.last()) else { return Bins::Cuts(Vec::new()) };
    let mut cuts: Vec<f32> = match low == high {
        // A value that never varied in training: what is below it, what is it, what is above it.
        true => vec![floor(low.next_down()), floor(*low)],
        false => (1..Bins::MOST).map(|at| floor(quantile(known, at as f64 / Bins::MOST as f64))).collect(),
    };
    cuts.dedup_by(|next, last| *next <= *last);
    Bins::Cuts(cuts)
}

/// The largest 32-bit number that is not above `x`: no 32-bit value lies between the two.
fn floor(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) > x { near.next_down() } else { near }
}

fn of_codes(train: &[f32]) -> Bins {
    let mut times = BTreeMap::<u32, usize>::new();
    train.iter().filter(|x| !x.is_nan()).for_each(|x| *times.entry(x.to_bits()).or_default() += 1);
    let mut codes: Vec<(u32, usize)> = times.into_iter().collect();
    codes.sort_by_key(|(bits, n)| (std::cmp::Reverse(*n), *bits));
    Bins::Codes(codes.into_iter().take(Bins::MOST).map(|(bits, _)| bits).collect())
}

fn count(bins: &Bins, values: &[f32]) -> Vec<usize> {
    let mut counts = vec![0; bins.slots()];
    values.iter().for_each(|value| counts[bins.of(*value)] += 1);
    counts
}

#[cfg(test)]
mod tests;
