//! Which features moved a score, and by how much.
//!
//! A feature's effect is the difference of the expected tier between the member as it is and the same member with
//! that one feature at its typical value, the median of the training rows (occlusion; Robnik-Šikonja and Kononenko,
//! "Explaining classifications for individual instances", 2008). Effects of features that act together do not add up
//! to the whole difference, and an effect is about the model, not about causes.

use alloc::vec::Vec;
use core::cmp::Reverse;

use serde::Serialize;

use crate::{
    error::{Result, bail},
    order,
    scorer::{Scorer, Scratch},
    tasks::tier::expected_tier,
    transform::Transform,
};

/// A feature's part in a score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// Its index in the schema.
    pub feature: u32,
    /// The member's value; NaN is missing.
    pub value: f32,
    /// The median of the training rows; NaN if it is mostly missing.
    pub typical: f32,
    /// By how many tiers the member's value, against the typical one, raises the expected tier; negative lowers it.
    pub effect: f32,
}

impl Scorer {
    /// Why features give the score they give: every feature that the model sees, the strongest first.
    ///
    /// # Errors
    /// `invalid_input` when these are not the features of one member; `model_failed` as in [`Scorer::assess`].
    pub fn explain_in(&self, scratch: &mut Scratch, features: &[f32]) -> Result<Vec<Reason>> {
        let typical = self.bundle().typical();
        if features.len() != self.bundle().schema().len() {
            bail!(InvalidInput, "{} values are not the features of one member", features.len());
        }
        let (features_of, rows) = occluded(self.bundle().transform(), features, typical);
        let mut probabilities = Vec::new();
        self.run_inputs(scratch, &rows, &mut probabilities)?;
        let mut tiers = probabilities.chunks(self.bundle().rules().len()).map(expected_tier);
        let whole = tiers.next().unwrap_or(f64::NAN);
        let at = |values: &[f32], index: u32| values.get(index as usize).copied().unwrap_or(f32::NAN);
        let reason = |(feature, without): (u32, f64)| Reason {
            feature,
            value: at(features, feature),
            typical: at(typical, feature),
            effect: (whole - without) as f32,
        };
        let mut reasons: Vec<Reason> = features_of.into_iter().zip(tiers).map(reason).collect();
        // Not a number would be neither more nor less than another; of two alike, the first feature comes first.
        let key = |r: &Reason| (Reverse(r.effect.abs().to_bits()), r.feature);
        order::sort_by(&mut reasons, |a, b| key(a) < key(b));
        Ok(reasons)
    }
}

/// The features with the largest effects above 0, at most so many.
pub(crate) fn strongest(
    effects: impl Iterator<Item = (u32, f32)>,
    most: u8,
) -> impl Iterator<Item = (u32, f32)> {
    let mut effects: Vec<(u32, f32)> = effects.filter(|(_, effect)| *effect > 0.0).collect();
    order::sort_by(&mut effects, |a, b| (b.1, a.0) < (a.1, b.0));
    effects.into_iter().take(usize::from(most))
}

/// A model's inputs for a member as it is, then once for each feature that it sees with that one at its typical value; and
/// which features these are.
pub(crate) fn occluded(transform: &Transform, features: &[f32], typical: &[f32]) -> (Vec<u32>, Vec<f32>) {
    let (mut own, mut usual) = (Vec::new(), Vec::new());
    transform.apply(features, &mut own);
    transform.apply(typical, &mut usual);
    let mut spans = transform.spans();
    order::sort_by(&mut spans, |a, b| (a.0, a.1.start) < (b.0, b.1.start));
    let of_features = || spans.chunk_by(|a, b| a.0 == b.0);
    let mut rows = own.repeat(of_features().count() + 1);
    for (row, spans) in rows.chunks_mut(own.len().max(1)).skip(1).zip(of_features()) {
        for (_, span) in spans {
            if let (Some(to), Some(usual)) = (row.get_mut(span.clone()), usual.get(span.clone())) {
                to.copy_from_slice(usual);
            }
        }
    }
    (of_features().filter_map(|spans| spans.first()).map(|(feature, _)| *feature).collect(), rows)
}
