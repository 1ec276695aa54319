//! How the selected model answers to a feature: partial dependence (Friedman 2001, "Greedy function approximation").
//!
//! Rows are those that the model was not trained on. A feature is set to one value in all of them, and the mean expected tier
//! is taken; that is repeated for values over the feature's range in training. What features do together is averaged away,
//! and a value may be set where no member would have it.

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::{Deserialize, Serialize};
use tiercast_core::expected_tier;

use super::{
    folds::{Prepared, raw},
    record::Importance,
};
use crate::{
    dataset::Dataset,
    fit,
    models::{Fitted, Model, Rows},
};

/// Features shown.
const MOST_FEATURES: usize = 6;
/// Rows averaged over.
const MOST_ROWS: usize = 1000;
/// Values of a feature are taken at this many training quantiles, from the lowest share to its mirror image.
const GRID: usize = 21;
const LOWEST_SHARE: f64 = 0.02;

/// The mean expected tier for values of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// The feature.
    pub feature: String,
    /// Rows averaged over.
    pub rows: usize,
    /// Ascending by value.
    pub points: Vec<EffectPoint>,
    /// The mean expected tier where the feature is missing; none where no training row lacks it.
    pub missing: Option<f64>,
}

/// One value of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectPoint {
    /// The value, which occurs in training.
    pub value: f32,
    /// The mean expected tier, 1…K.
    pub expected_tier: f64,
}

/// The effects of the most important features; codes are left out, as their numbers say nothing to people.
///
/// `splits` are the models with the rows they are judged on, `train` the rows whose quantiles make the grid.
pub fn partial_dependence(
    dataset: &Dataset,
    splits: &[(&Prepared, &Fitted)],
    train: &[usize],
    importance: &[Importance],
    seed: u64,
) -> Vec<Effect> {
    let samples = samples(dataset, splits, seed);
    let place = |name: &str| dataset.schema.names().position(|known| known == name);
    let is_number = |at: &usize| !dataset.schema.spec().features[*at].is_code();
    let features = importance.iter().filter(|feature| feature.worsening > 0.0);
    features
        .filter_map(|feature| place(&feature.feature).filter(is_number))
        .map(|at| effect(dataset, &samples, train, at))
        .filter(|effect| effect.rows > 0 && effect.points.len() > 1)
        .take(MOST_FEATURES)
        .collect()
}

/// A model with the sampled rows that it did not see.
struct Sample<'a> {
    split: &'a Prepared,
    model: &'a Model,
    rows: Rows,
    raw: Vec<f32>,
}

/// The same share of each split's held-out rows.
fn samples<'a>(dataset: &Dataset, splits: &[(&'a Prepared, &'a Fitted)], seed: u64) -> Vec<Sample<'a>> {
    let all: Vec<(usize, usize)> = splits
        .iter()
        .enumerate()
        .flat_map(|(split, (prepared, _))| (0..prepared.held_out.len()).map(move |row| (split, row)))
        .collect();
    let mut chosen = all;
    chosen.shuffle(&mut StdRng::seed_from_u64(seed));
    chosen.truncate(MOST_ROWS);
    chosen.sort_unstable();
    let sample = |(at, (split, fitted)): (usize, &(&'a Prepared, &'a Fitted))| {
        let rows: Vec<usize> = chosen.iter().filter(|(split, _)| *split == at).map(|(_, row)| *row).collect();
        let places: Vec<usize> = rows.iter().map(|row| split.split.held_out[*row]).collect();
        Sample { split, model: &fitted.model, rows: split.held_out.select(&rows), raw: raw(dataset, &places) }
    };
    splits.iter().enumerate().map(sample).collect()
}

fn effect(dataset: &Dataset, samples: &[Sample<'_>], train: &[usize], feature: usize) -> Effect {
    let values: Vec<f32> = train.iter().map(|row| dataset.row(*row)[feature]).collect();
    let known = grid(&values);
    let rows = samples.iter().map(|sample| sample.rows.len()).sum();
    let mean = |value: f32| {
        let width = dataset.schema.len();
        let total: f64 = samples.iter().map(|sample| sample.total(width, feature, value)).sum();
        total / rows as f64
    };
    let point = |value: &f32| EffectPoint { value: *value, expected_tier: mean(*value) };
    Effect {
        feature: dataset.schema.names().nth(feature).unwrap_or_default().to_owned(),
        rows,
        points: if rows == 0 { Vec::new() } else { known.iter().map(point).collect() },
        missing: (rows > 0 && values.iter().any(|x| x.is_nan())).then(|| mean(f32::NAN)),
    }
}

impl Sample<'_> {
    /// The sum of the expected tiers when the feature has this value in every row.
    fn total(&self, width: usize, feature: usize, value: f32) -> f64 {
        let mut raw = self.raw.clone();
        raw.iter_mut().skip(feature).step_by(width).for_each(|slot| *slot = value);
        let mut rows = self.rows.clone();
        rows.inputs = fit::apply(&self.split.dense, width, &raw);
        rows.plain = fit::apply(&self.split.plain, width, &raw);
        rows.sequence = fit::apply(&self.split.sequence, width, &raw);
        self.model.probabilities(&rows).chunks(self.split.rules.len()).map(expected_tier).sum()
    }
}

/// Values at the quantiles of those that are known, each an existing value and each once.
fn grid(values: &[f32]) -> Vec<f32> {
    let mut known: Vec<f32> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    known.sort_unstable_by(f32::total_cmp);
    let Some(last) = known.len().checked_sub(1) else { return Vec::new() };
    let share = |at: usize| LOWEST_SHARE + (1.0 - 2.0 * LOWEST_SHARE) * at as f64 / (GRID - 1) as f64;
    let mut grid: Vec<f32> = (0..GRID).map(|at| known[(share(at) * last as f64).round() as usize]).collect();
    grid.dedup();
    grid
}

#[cfg(test)]
mod tests;
