//! The rule that every shop already has: a member keeps the tier that the current period's spend earns.
//!
//! Spend is cut where the training rows' own spend has the training targets' shares, so that seasons with other spend
//! give the same pyramid. The rule decides its own tier; for the measures that need probabilities it gives how often
//! each tier followed in training.

use serde::{Deserialize, Serialize};

use crate::{SMALLEST, cuts};

/// The fitted rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SameTier {
    /// Spend from which tiers 2…K begin, minor units.
    cuts: Vec<i64>,
    /// `K × K`: how often tier t followed where the rule says r.
    followed: Vec<f32>,
}

impl SameTier {
    pub(super) fn fit(tiers: usize, current_spend: &[i64], targets: &[u8]) -> Self {
        let shares = cuts::shares(tiers, targets);
        let mut sorted: Vec<f64> = current_spend.iter().map(|spend| *spend as f64).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let cuts = cuts::cuts(&sorted, &shares).unwrap_or_default();
        let cuts = cuts.into_iter().map(|cut| cut.ceil() as i64).collect();
        let mut rule = Self { cuts, followed: Vec::new() };
        rule.followed = rule.frequencies(&shares, current_spend, targets);
        rule
    }

    /// Frequencies of the targets for each of the rule's tiers. The overall shares count as one more row, so that
    /// what never followed in training is still possible.
    fn frequencies(&self, shares: &[f64], current_spend: &[i64], targets: &[u8]) -> Vec<f32> {
        let tiers = shares.len();
        let mut counts: Vec<f64> = shares.repeat(tiers);
        for (tier, target) in self.tiers(current_spend).into_iter().zip(targets) {
            counts[usize::from(tier - 1) * tiers + usize::from(*target - 1)] += 1.0;
        }
        let row = |row: &[f64]| row.iter().map(|n| n / row.iter().sum::<f64>()).collect::<Vec<_>>();
        counts.chunks(tiers).flat_map(row).map(|p| p as f32).collect()
    }

    /// The spend at which tiers 2…K begin.
    pub(super) fn cuts(&self) -> &[i64] {
        &self.cuts
    }

    /// For each of the rule's tiers, the logarithm of how often this tier (from 0) followed.
    pub(super) fn log_frequencies(&self, tier: usize) -> Vec<f32> {
        let tiers = self.cuts.len() + 1;
        self.followed.iter().skip(tier).step_by(tiers).map(|p| p.max(SMALLEST).ln()).collect()
    }

    /// The rule's tier for each spend.
    pub fn tiers(&self, current_spend: &[i64]) -> Vec<u8> {
        current_spend.iter().map(|spend| self.cuts.partition_point(|cut| cut <= spend) as u8 + 1).collect()
    }

    /// How often each tier followed in training, row after row.
    pub fn probabilities(&self, current_spend: &[i64]) -> Vec<f32> {
        let tiers = self.cuts.len() + 1;
        let row = |tier: u8| &self.followed[usize::from(tier - 1) * tiers..usize::from(tier) * tiers];
        self.tiers(current_spend).into_iter().flat_map(row).copied().collect()
    }
}
