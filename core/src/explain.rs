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
        let transform = self.bundle().transform();
        let (mut own, mut usual) = (Vec::new(), Vec::new());
        transform.apply(features, &mut own);
        transform.apply(typical, &mut usual);
        let spans = transform.spans();
        let mut seen: Vec<u32> = spans.iter().map(|(source, _)| *source).collect();
        order::sort(&mut seen);
        seen.dedup();
        // One row as it is, then one row for each feature with its inputs at their usual values.
        let mut rows = Vec::with_capacity(own.len() * (seen.len() + 1));
        rows.extend_from_slice(&own);
        for source in &seen {
            let from = rows.len();
            rows.extend_from_slice(&own);
            for (_, span) in spans.iter().filter(|(of, _)| of == source) {
                if let (Some(to), Some(usual)) =
                    (rows.get_mut(from + span.start..from + span.end), usual.get(span.clone()))
                {
                    to.copy_from_slice(usual);
                }
            }
        }
        let mut probabilities = Vec::new();
        self.run_inputs(scratch, &rows, &mut probabilities)?;
        let mut tiers = probabilities.chunks(self.bundle().rules().len()).map(expected_tier);
        let whole = tiers.next().unwrap_or(f64::NAN);
        let at = |values: &[f32], index: u32| values.get(index as usize).copied().unwrap_or(f32::NAN);
        let reason = |(feature, without): (&u32, f64)| Reason {
            feature: *feature,
            value: at(features, *feature),
            typical: at(typical, *feature),
            effect: (whole - without) as f32,
        };
        let mut reasons: Vec<Reason> = seen.iter().zip(tiers).map(reason).collect();
        // Not a number would be neither more nor less than another; of two alike, the first feature comes first.
        let key = |r: &Reason| (Reverse(r.effect.abs().to_bits()), r.feature);
        order::sort_by(&mut reasons, |a, b| key(a) < key(b));
        Ok(reasons)
    }
}
