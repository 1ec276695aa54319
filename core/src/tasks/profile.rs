//! A member's profile: a behaviour embedding and what is read from it.
//!
//! The model is a network over the member's sequence, trained on the next tier, on whether the member buys in the next period
//! and on when; the layer before those answers is the embedding. Members whose embeddings point the same way behave alike.
//! Segments are the centres of a k-means (Lloyd 1982) over the training members' embeddings. Interests are no part of the
//! network: they are the member's own purchases, each counting the less the older it is.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use crate::{
    engine::{Engine, EngineKind, Workspace},
    error::{Result, bail},
    event::short_hash,
    features::{FeatureSchema, MemberState, interests},
    held::Held,
    math, order,
    time::{Duration, Timestamp},
    transform::Transform,
    wire::{Reader, Wire, Writer},
};

/// Whether this build can make profiles: their networks need kernels that the small one leaves out, and with them it leaves
/// out all that only profiles use.
pub(crate) const PROFILES: bool = cfg!(feature = "all-kernels");

/// What a model of profiles gives after the embedding: the chance of no purchase and the days to the next one.
pub(crate) const BEYOND: usize = 2;
/// Interests that a profile names at most.
const MOST_INTERESTS: usize = 5;

/// What a profile is made by, beside its model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileSpec {
    /// Kind of model, for example `gru`.
    pub model: String,
    /// The fitted steps between raw features and the model.
    pub transform: Transform,
    /// Numbers of an embedding.
    pub embedding: u32,
    /// The segments, the largest first; at least one.
    pub segments: Vec<Segment>,
    /// After how long a purchase counts half in the interests, milliseconds.
    pub half_life: i64,
    /// The categories that interests may name.
    pub categories: Vec<String>,
}

crate::wire::fields!(ProfileSpec { model, transform, embedding, segments, half_life, categories });

/// A specification where a bundle may have one; read only by a build that can make profiles.
#[derive(Clone, Debug)]
pub(crate) struct Stored(pub(crate) Held<ProfileSpec>);

impl Wire for Stored {
    fn write(&self, writer: &mut Writer) {
        self.0.get().cloned().write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let spec = match PROFILES {
            true => Wire::read(reader)?,
            false if reader.byte()? == 0 => None,
            false => return None,
        };
        Held::new(|| Ok(spec)).ok().map(Self)
    }
}

/// Members who behave alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    /// A name made of what sets it apart.
    pub name: String,
    /// Share of the training rows.
    pub share: f32,
    /// The centre of its embeddings.
    pub centre: Vec<f32>,
}

crate::wire::fields!(Segment { name, share, centre });

/// What a bundle says of how a member behaves.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Each between −1 and 1; not written where somebody has emptied it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embedding: Vec<f32>,
    /// Probability that the member buys nothing in the period that starts at the moment asked about.
    pub churn: f32,
    /// Expected days to the next purchase, given that it is within the period.
    pub next_purchase: f32,
    /// Index of the segment with the nearest centre.
    pub segment: u32,
    /// Its name.
    pub segment_name: String,
    /// The categories that recent spend went to, most first; none without categories.
    pub interests: Vec<Interest>,
}

/// A category's part in a member's recent spend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Interest {
    /// Index of the category in [`ProfileSpec::categories`].
    #[serde(skip)]
    pub index: u32,
    /// The category.
    pub category: String,
    /// Σ amount · 2^(−age / half-life) of the category / the same of all purchases.
    pub share: f32,
}

/// What there is to know of a bundle's profiles, without the numbers behind them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileInfo<'s> {
    /// Kind of model, for example `gru`.
    pub model: &'s str,
    /// Numbers of an embedding.
    pub embedding: u32,
    /// The segments, the largest first.
    pub segments: Vec<SegmentInfo<'s>>,
    /// The categories that interests may name.
    pub categories: &'s [String],
}

/// A segment's name and size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SegmentInfo<'s> {
    /// Its name.
    pub name: &'s str,
    /// Share of the training rows.
    pub share: f32,
}

impl ProfileSpec {
    /// Says what there is to know, for reports and pages.
    pub fn describe(&self) -> ProfileInfo<'_> {
        ProfileInfo {
            model: &self.model,
            embedding: self.embedding,
            segments: self.segments.iter().map(|s| SegmentInfo { name: &s.name, share: s.share }).collect(),
            categories: &self.categories,
        }
    }

    /// Checks the parts against each other.
    ///
    /// # Errors
    /// `invalid_spec`.
    pub(crate) fn check(&self, features: usize) -> Result<()> {
        self.transform.check(features)?;
        let width = self.embedding as usize;
        let sound =
            |segment: &Segment| segment.centre.len() == width && segment.centre.iter().all(|x| x.is_finite());
        if !(1..=4096).contains(&width) || self.segments.is_empty() || !self.segments.iter().all(sound) {
            bail!(InvalidSpec, "the profile's segments have no centres of {width} numbers");
        }
        Duration::from_ms(self.half_life)?;
        Ok(())
    }

    /// The segment with the nearest centre; of two as near, the larger one.
    pub fn segment_of(&self, embedding: &[f32]) -> usize {
        let away = |segment: &Segment| -> f64 {
            segment.centre.iter().zip(embedding).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum()
        };
        let (mut nearest, mut least) = (0, f64::INFINITY);
        for (at, segment) in self.segments.iter().enumerate() {
            let away = away(segment);
            if away < least {
                (nearest, least) = (at, away);
            }
        }
        nearest
    }
}

/// How alike two members behave: the cosine of the angle between their embeddings, −1 to 1; 0 if one has no length.
pub fn similarity(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let length = math::sqrt(dot(a, a)) * math::sqrt(dot(b, b));
    if length > 0.0 { (dot(a, b) / length) as f32 } else { 0.0 }
}

/// A specification with its model loaded.
#[derive(Debug)]
pub(crate) struct Profiler {
    pub(crate) spec: ProfileSpec,
    engine: Engine,
    /// Hashes of the categories, ascending, each with its index.
    hashes: Vec<(u32, u32)>,
}

impl Profiler {
    pub(crate) fn load(spec: ProfileSpec, model: &[u8]) -> Result<Self> {
        let outputs = spec.embedding as usize + BEYOND;
        let engine = Engine::load(EngineKind::Plan, model, spec.transform.width(), outputs)?;
        let categories = spec.categories.iter().zip(0..);
        let mut hashes: Vec<(u32, u32)> = categories.map(|(name, at)| (short_hash(name), at)).collect();
        order::sort(&mut hashes);
        Ok(Self { spec, engine, hashes })
    }

    pub(crate) fn workspace(&self) -> Workspace {
        self.engine.workspace(1)
    }

    /// A profile of a member as known at `now`.
    pub(crate) fn profile(
        &self,
        schema: &FeatureSchema,
        workspace: &mut Workspace,
        state: &MemberState,
        now: Timestamp,
    ) -> Result<Profile> {
        let features = schema.features_at(state, now)?;
        let (mut inputs, mut out) = (Vec::new(), Vec::new());
        self.spec.transform.apply(&features, &mut inputs);
        self.engine.run(workspace, &inputs, &mut out)?;
        let [embedding @ .., churn, next_purchase] = out.as_slice() else {
            bail!(ModelFailed, "the profile's model gave nothing");
        };
        if !out.iter().all(|x| x.is_finite()) || !(0.0..=1.0).contains(churn) {
            bail!(
                ModelFailed,
                "what the profile's model gave is no embedding, probability and number of days"
            );
        }
        let segment = self.spec.segment_of(embedding);
        let name = self.spec.segments.get(segment).map(|segment| segment.name.clone());
        Ok(Profile {
            embedding: embedding.into(),
            churn: *churn,
            next_purchase: *next_purchase,
            segment: segment as u32,
            segment_name: name.unwrap_or_default(),
            interests: self.interests(state, now),
        })
    }

    fn interests(&self, state: &MemberState, now: Timestamp) -> Vec<Interest> {
        let index = |hash: u32| {
            let at = self.hashes.binary_search_by_key(&hash, |(hash, _)| *hash).ok()?;
            self.hashes.get(at).map(|(_, index)| *index as usize)
        };
        let (all, weights) = interests(state, now, self.spec.half_life, self.spec.categories.len(), index);
        let bought = weights.iter().zip(0_u32..).filter(|(weight, _)| **weight > 0.0);
        let mut found: Vec<(f64, u32)> = bought.map(|(weight, at)| (*weight, at)).collect();
        order::sort_by(&mut found, |a, b| (b.0, a.1) < (a.0, b.1));
        let interest = |(weight, index): &(f64, u32)| Interest {
            index: *index,
            category: self.spec.categories.get(*index as usize).cloned().unwrap_or_default(),
            share: (weight / all) as f32,
        };
        found.iter().take(MOST_INTERESTS).map(interest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn spec() -> ProfileSpec {
        let segment =
            |name: &str, centre: [f32; 2]| Segment { name: name.into(), share: 0.5, centre: centre.into() };
        ProfileSpec {
            model: "gru".into(),
            transform: Transform::default(),
            embedding: 2,
            segments: vec![segment("a", [1.0, 0.0]), segment("b", [0.0, 1.0])],
            half_life: 1000,
            categories: Vec::new(),
        }
    }

    #[test]
    fn a_segment_is_the_nearest_and_of_two_as_near_the_larger() {
        let spec = spec();
        assert_eq!(spec.segment_of(&[0.9, 0.1]), 0);
        assert_eq!(spec.segment_of(&[-0.5, 0.4]), 1);
        assert_eq!(spec.segment_of(&[0.3, 0.3]), 0);
    }

    #[test]
    fn alike_is_the_angle_and_not_the_length() {
        assert_eq!(similarity(&[1.0, 0.0], &[0.5, 0.0]), 1.0);
        assert_eq!(similarity(&[1.0, 0.0], &[0.0, 3.0]), 0.0);
        assert_eq!(similarity(&[1.0, 0.0], &[-2.0, 0.0]), -1.0);
        assert_eq!(similarity(&[0.0, 0.0], &[1.0, 1.0]), 0.0);
    }

    #[test]
    fn centres_of_another_width_are_refused() {
        let column = crate::transform::Column { name: "x".into(), source: 0, steps: Vec::new() };
        let mut spec = ProfileSpec { transform: Transform { columns: vec![column] }, ..spec() };
        spec.check(1).unwrap();
        spec.embedding = 3;
        assert_eq!(spec.check(1).unwrap_err().code(), "invalid_spec");
        let spec = ProfileSpec { embedding: 2, segments: Vec::new(), ..spec };
        assert_eq!(spec.check(1).unwrap_err().code(), "invalid_spec");
    }
}
