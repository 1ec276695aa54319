//! What is fitted to predictions on rows held out: each model's calibration, and the blend of all models.
//!
//! Nobody judges himself: in the figures of a fold stands what was fitted to the other folds, and only the final fit, which
//! is judged on the test or not at all, learns from every fold. (Models of other folds have learnt from a fold's rows, as in
//! every stack on one cross-validation; a pool has too few numbers to carry that back.) Whether a
//! calibration or its biases are kept is one choice by the log-loss of all folds, as the choice of the bundle's model is.

use serde::{Deserialize, Serialize};
use tiercast_core::{FeatureSpec, Of, Op, Period, Timestamp};

use super::folds::Prepared;
use crate::{
    metrics::Judged,
    models::{Blend, Fitted, Kind, Model, Pool, rule},
};

/// How far a feature's window may be from the period, as a share of it, for the rule to look at it.
const NEAR: f64 = 0.05;

/// A model's calibration: the softmax of its scores times `weight` plus `bias`.
///
/// Biases are 0 where the log-loss in cross-validation is lower without them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Calibration {
    /// Whether the model has it: only if it lowers the log-loss in cross-validation.
    pub kept: bool,
    /// 1 / temperature, of the final fit: below 1 the model was too sure of itself.
    pub weight: f64,
    /// What is added to each tier's score, of the final fit.
    pub bias: Vec<f64>,
    /// Cross-validation without it.
    pub before: Quality,
    /// Cross-validation with it, in each fold the one of the other folds.
    pub after: Quality,
}

/// How good probabilities are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quality {
    /// Expected calibration error.
    pub ece: f64,
    /// Mean −ln of the true tier's probability.
    pub log_loss: f64,
}

/// A model's part in the blend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The model.
    pub model: String,
    /// What its scores count, in the final fit; the weights need not sum to 1.
    pub weight: f64,
}

/// What one model gives for the rows that each fold held out.
struct OutOfFold(Vec<Vec<f32>>);

impl OutOfFold {
    fn new<'a>(splits: &[Prepared], models: impl IntoIterator<Item = &'a Model>) -> Self {
        let folds = folds(splits).zip(models);
        Self(folds.map(|(split, model)| model.scores(&split.held_out)).collect())
    }
}

/// The splits of the cross-validation; the last one is the final fit.
fn folds(splits: &[Prepared]) -> impl Iterator<Item = &Prepared> {
    splits.iter().filter(|split| split.split.fold.is_some())
}

/// The pool for each split: for a fold it is fitted to the rows that the other folds held out, for the final fit to all.
fn pools(splits: &[Prepared], models: &[OutOfFold], biased: bool) -> Vec<Pool> {
    let pool = |without: &Prepared| {
        let others: Vec<(usize, &Prepared)> =
            folds(splits).enumerate().filter(|(_, split)| split.split.fold != without.split.fold).collect();
        let of_others =
            |model: &OutOfFold| others.iter().flat_map(|(at, _)| &model.0[*at]).copied().collect();
        let scores: Vec<Vec<f32>> = models.iter().map(of_others).collect();
        let targets: Vec<u8> =
            others.iter().flat_map(|(_, split)| &split.held_out.targets).copied().collect();
        Pool::fit(without.rules.len(), &scores, &targets, biased)
    };
    splits.iter().map(pool).collect()
}

/// Pools for each split with what comes of them, and how good that is in cross-validation.
struct Pooled {
    last: Pool,
    models: Vec<Model>,
    quality: Quality,
}

impl Pooled {
    /// With biases or without, whichever has the lower log-loss in cross-validation.
    fn best(splits: &[Prepared], scores: &[OutOfFold], model: impl Fn(usize, &Pool) -> Model) -> Self {
        let [without, with] = [false, true].map(|biased| {
            let mut pools = pools(splits, scores, biased);
            let models: Vec<Model> =
                pools.iter().enumerate().map(|(split, pool)| model(split, pool)).collect();
            let quality = quality(splits, &models);
            Self { last: pools.pop().unwrap_or_else(|| Pool::identity(0)), models, quality }
        });
        if with.quality.log_loss < without.quality.log_loss { with } else { without }
    }
}

/// Calibrates the `kind`-th model of every split, if that lowers the log-loss in cross-validation.
pub(super) fn calibrate(splits: &[Prepared], fitted: &mut [Vec<Fitted>], kind: usize) -> Calibration {
    let out = OutOfFold::new(splits, fitted.iter().map(|fitted| &fitted[kind].model));
    let before = quality(splits, fitted.iter().map(|fitted| &fitted[kind].model));
    let pooled = Pooled::best(splits, &[out], |split, pool| fitted[split][kind].model.calibrated(pool));
    let kept = pooled.quality.log_loss < before.log_loss;
    if kept {
        fitted.iter_mut().zip(pooled.models).for_each(|(fitted, model)| fitted[kind].model = model);
    }
    let weight = pooled.last.weights.first().copied().unwrap_or(1.0);
    Calibration { kept, weight, bias: pooled.last.bias, before, after: pooled.quality }
}

/// How good the probabilities are on the rows that each fold held out.
/// How good models, one of each split, are on the rows that folds held out.
pub(super) fn quality<'a>(splits: &[Prepared], models: impl IntoIterator<Item = &'a Model>) -> Quality {
    let (mut targets, mut probabilities) = (Vec::new(), Vec::new());
    for (split, model) in folds(splits).zip(models) {
        targets.extend(&split.held_out.targets);
        probabilities.extend(model.probabilities(&split.held_out));
    }
    let tiers = splits.first().map_or(0, |split| split.rules.len());
    let measures = Judged::new(tiers, &targets, &targets, &probabilities).measures();
    Quality { ece: measures.ece, log_loss: measures.log_loss }
}

/// Blends the models of every split, which are not calibrated yet, and gives each split's blend and the final weights.
///
/// `spend` is the feature that the rule looks at; without one, or where it never varies, the rule is no part.
pub(super) fn blend(
    splits: &[Prepared],
    fitted: &[Vec<Fitted>],
    kinds: &[Kind],
    spend: Option<usize>,
) -> (Vec<Fitted>, Vec<Part>) {
    let rules: Option<Vec<Model>> =
        spend.and_then(|feature| splits.iter().map(|s| rule_of(s, feature)).collect());
    let models = |split: usize| -> Vec<&Model> {
        let trained = kinds.iter().zip(&fitted[split]).filter(|(kind, _)| **kind != Kind::SameTier);
        rules.iter().map(|rules| &rules[split]).chain(trained.map(|(_, fitted)| &fitted.model)).collect()
    };
    let by_split: Vec<Vec<&Model>> = (0..splits.len()).map(models).collect();
    let count = by_split.first().map_or(0, Vec::len);
    let out: Vec<OutOfFold> =
        (0..count).map(|at| OutOfFold::new(splits, by_split.iter().map(|models| models[at]))).collect();
    let pooled = Pooled::best(splits, &out, |split, pool| Model::Blend(Blend::new(&by_split[split], pool)));
    let blended = pooled.models.into_iter().map(|model| Fitted { model, curve: Vec::new(), l2: None });
    let named = kinds.iter().filter(|kind| **kind != Kind::SameTier || rules.is_some());
    let part = |(kind, weight): (&Kind, f64)| Part { model: kind.name().into(), weight };
    (blended.collect(), named.zip(pooled.last.weights).map(part).collect())
}

/// The rule on the plain input of a feature; none if that is no input.
fn rule_of(split: &Prepared, feature: usize) -> Option<Model> {
    let columns = split.plain.columns.iter();
    let input = columns
        .enumerate()
        .find(|(_, column)| column.source as usize == feature && column.steps.is_empty())?;
    Some(Model::Trees(rule(split.rules.len(), &split.train, input.0)))
}

/// The declared feature that is nearest to the net spend of the period before an as-of date: `net_spend`, or the sum of
/// purchases, over a window of about the period's length. Of two alike, the first.
pub(super) fn spend_feature(spec: &FeatureSpec, period: Period, as_ofs: &[Timestamp]) -> Option<usize> {
    let length = mean_length(period, as_ofs);
    let away = |at: usize| {
        let decl = &spec.features[at];
        let sums = match decl.op {
            Op::NetSpend => true,
            Op::Sum => {
                decl.of == Some(Of::Amount)
                    && matches!(decl.events.as_slice(), [] | [_])
                    && decl.events.iter().all(|kind| kind == "purchase")
            }
            _ => false,
        };
        let window = decl.window.filter(|_| sums && decl.skip.is_none())?;
        Some((window.ms() as f64 / length - 1.0).abs()).filter(|away| *away <= NEAR)
    };
    let near = (0..spec.features.len()).filter_map(|at| Some((at, away(at)?)));
    // Returns count as they do in a tier's spend, so that `net_spend` is the better of two windows alike.
    near.min_by(|a, b| {
        let key = |(at, away): &(usize, f64)| (*away, spec.features[*at].op != Op::NetSpend);
        key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal)
    })
    .map(|(at, _)| at)
}

/// Milliseconds of the periods before these dates, on average: one window has to do for long months and short ones.
fn mean_length(period: Period, as_ofs: &[Timestamp]) -> f64 {
    let length = |as_of: &Timestamp| {
        let (start, end) = period.before(*as_of);
        (end.ms() - start.ms()) as f64
    };
    as_ofs.iter().map(length).sum::<f64>() / as_ofs.len() as f64
}

/// What to say where the rule is no part of the blend, `spend` being what [`spend_feature`] has found.
pub(super) fn without_rule(
    spec: &FeatureSpec,
    period: Period,
    as_ofs: &[Timestamp],
    spend: Option<usize>,
) -> String {
    if let Some(feature) = spend {
        return format!(
            "the blend is without the same-tier rule, because {}, the spend of a period, is the same in all training rows \
             of a fold; take more members or fewer folds, or check its window",
            spec.features[feature].name
        );
    }
    let days = (mean_length(period, as_ofs) / tiercast_core::DAY_MS as f64).round();
    format!(
        "the blend is without the same-tier rule, because no declared feature is the spend of a period; declare one: \
         name = \"net_spend\", op = \"net_spend\", window = \"{days}d\""
    )
}

#[cfg(test)]
mod tests;
