//! What a bundle's training rows were distributed like, and how far members scored since have drifted from that.
//!
//! Drift is the population stability index (Siddiqi 2006, "Credit Risk Scorecards"; before that Jeffreys' divergence, 1946):
//! Σ (q − p) · ln(q / p) over bins, p a bin's share of the training rows and q of those counted since. Core counts and compares;
//! where values are cut is training's business. Nothing here changes a score.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, bail},
    features::FeatureSchema,
    math::{log, round},
};

/// What an empty bin counts as, in rows; with nothing, its logarithm would be infinite.
const EMPTY: f64 = 0.5;

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

impl Drift {
    /// The index between the rows that each bin had in training and those that it has had since, given as pairs; none
    /// where all bins of a side are empty. A bin that is empty on both sides is none, on one side it counts as half a row.
    pub fn between(bins: &[(f64, f64)]) -> Option<Self> {
        let (n, m) = bins.iter().fold((0.0, 0.0), |(n, m), (p, q)| (n + p, m + q));
        if !(n > 0.0 && m > 0.0) {
            return None;
        }
        let (mut psi, mut filled) = (0.0, 0);
        for (p, q) in bins.iter().filter(|(p, q)| p + q > 0.0) {
            let (p, q) = (p.max(EMPTY), q.max(EMPTY));
            psi += (q / m - p / n) * log((q / m) / (p / n));
            filled += 1;
        }
        Some(Self { psi, chance: f64::from(filled - 1) * (1.0 / n + 1.0 / m) })
    }
}

/// Where a feature's values are counted. After the bins named here comes one for all other values, then one for those that
/// are missing.
#[derive(Clone, Debug, PartialEq)]
pub enum Bins {
    /// Numbers up to and with each cut, ascending.
    Cuts(Vec<f32>),
    /// Codes, each the bits of its value.
    Codes(Vec<u32>),
}

crate::wire::variants!(Bins { Cuts(cuts), Codes(codes) });

impl Bins {
    /// The most cuts, or codes, of a feature.
    pub const MOST: usize = 10;

    /// How many there are, with the two for other and for missing values.
    pub fn slots(&self) -> usize {
        2 + match self {
            Self::Cuts(cuts) => cuts.len(),
            Self::Codes(codes) => codes.len(),
        }
    }

    /// The bin of a value, from 0; NaN is missing.
    pub fn of(&self, value: f32) -> usize {
        let named = self.slots() - 2;
        let place = match self {
            _ if value.is_nan() => return named + 1,
            Self::Cuts(cuts) => cuts.iter().position(|cut| value <= *cut),
            Self::Codes(codes) => codes.iter().position(|bits| *bits == value.to_bits()),
        };
        place.unwrap_or(named)
    }

    fn are_sound(&self) -> bool {
        let rise = match self {
            Self::Cuts(cuts) => {
                !cuts.iter().any(|cut| cut.is_nan()) && cuts.is_sorted_by(|low, high| low < high)
            }
            Self::Codes(_) => true,
        };
        rise && self.slots() <= Self::MOST + 2
    }
}

/// A feature that is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// Its index in the schema.
    pub feature: u32,
    /// Where its values are counted.
    pub bins: Bins,
    /// Each bin's share of the training rows.
    pub shares: Vec<f32>,
}

crate::wire::fields!(Watched { feature, bins, shares });

/// What the training rows' features and predicted tiers were distributed like.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Training rows that the shares are of; at least one.
    pub rows: u64,
    /// The watched features, in the order of the schema.
    pub features: Vec<Watched>,
    /// Each tier's share of the training rows, by the tier that the bundle's model gives them, tier 1 first; empty where the
    /// bundle's model is not the one that was trained on these rows.
    pub tiers: Vec<f32>,
}

crate::wire::fields!(Reference { rows, features, tiers });

/// How far a feature, or the predicted tiers, have drifted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Psi<'s> {
    /// The feature; of the predicted tiers, which come last, `tier`.
    pub name: &'s str,
    /// [`Drift::psi`].
    pub psi: f64,
    /// [`Drift::chance`].
    pub chance: f64,
    /// Members counted.
    pub rows: u64,
}

impl Reference {
    /// How many counts it takes: one for each bin of each watched feature, in the order of [`features`](Self::features), then
    /// one for each of [`tiers`](Self::tiers).
    pub fn bins(&self) -> usize {
        self.features.iter().map(|watched| watched.bins.slots()).sum::<usize>() + self.tiers.len()
    }

    /// Adds a member to [`bins`](Self::bins) counts, which begin at 0: the raw features in the order of the schema, NaN
    /// where missing, and the tier decided on, 1…K. A full count stays full.
    ///
    /// # Errors
    /// `invalid_input` when these are not this reference's counts, not its features, or there is no such tier; then nothing is
    /// counted.
    pub fn count(&self, features: &[f32], tier: u8, counts: &mut [u32]) -> Result<()> {
        self.check_counts(counts)?;
        let (width, tier) =
            (self.features.last().map_or(0, |last| last.feature as usize + 1), usize::from(tier));
        if features.len() < width || !(self.tiers.is_empty() || (1..=self.tiers.len()).contains(&tier)) {
            bail!(
                InvalidInput,
                "{} features and tier {tier} are none of this bundle's; give those of an assessment",
                features.len()
            );
        }
        let mut rest = counts;
        let mut add = |slots: usize, bin: usize| {
            let (own, others) = core::mem::take(&mut rest).split_at_mut_checked(slots).unwrap_or_default();
            if let Some(count) = own.get_mut(bin) {
                *count = count.saturating_add(1);
            }
            rest = others;
        };
        for Watched { feature, bins, .. } in &self.features {
            let value = features.get(*feature as usize).copied().unwrap_or(f32::NAN);
            add(bins.slots(), bins.of(value));
        }
        add(self.tiers.len(), tier.wrapping_sub(1));
        Ok(())
    }

    /// How far those counted have drifted from the training rows: every watched feature, then the predicted tiers; nothing
    /// while nobody is counted. `schema` is the bundle's.
    ///
    /// # Errors
    /// `invalid_input` when these are not this reference's counts.
    pub fn psi<'s>(&self, schema: &'s FeatureSchema, counts: &[u32]) -> Result<Vec<Psi<'s>>> {
        self.check_counts(counts)?;
        let names: Vec<&str> = schema.names().collect();
        let name = |watched: &Watched| names.get(watched.feature as usize).copied().unwrap_or_default();
        let features = self.features.iter().map(|watched| (name(watched), &watched.shares));
        let mut rest = counts;
        let mut found = Vec::new();
        for (name, shares) in features.chain([("tier", &self.tiers)]) {
            let (own, others) = rest.split_at_checked(shares.len()).unwrap_or_default();
            rest = others;
            // Shares have 24 bits: up to 8 million rows are told exactly.
            let rows = |share: &f32| round(f64::from(*share) * self.rows as f64);
            let bins: Vec<(f64, f64)> =
                shares.iter().zip(own).map(|(share, count)| (rows(share), f64::from(*count))).collect();
            let rows = own.iter().map(|count| u64::from(*count)).sum();
            found.extend(Drift::between(&bins).map(|Drift { psi, chance }| Psi { name, psi, chance, rows }));
        }
        Ok(found)
    }

    fn check_counts(&self, counts: &[u32]) -> Result<()> {
        if counts.len() != self.bins() {
            bail!(
                InvalidInput,
                "{} counts for {} bins; begin anew with as many zeros for each bundle",
                counts.len(),
                self.bins()
            );
        }
        Ok(())
    }

    /// Checks it against the bundle that it is in.
    pub(crate) fn check(&self, features: usize, tiers: usize) -> Result<()> {
        let whole = |shares: &[f32]| {
            let sum: f64 = shares.iter().map(|share| f64::from(*share)).sum();
            shares.iter().all(|share| (0.0..=1.0).contains(share)) && (0.999..=1.001).contains(&sum)
        };
        let sound = |watched: &Watched| {
            let shares = &watched.shares;
            watched.bins.are_sound() && shares.len() == watched.bins.slots() && whole(shares)
        };
        let ascending = self.features.is_sorted_by(|a, b| a.feature < b.feature);
        let known = self.features.last().is_none_or(|last| (last.feature as usize) < features);
        let of_tiers = self.tiers.is_empty() || self.tiers.len() == tiers && whole(&self.tiers);
        if self.rows == 0 || !ascending || !known || !of_tiers || !self.features.iter().all(sound) {
            bail!(InvalidSpec, "what drift is measured by does not fit the bundle; train again");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
