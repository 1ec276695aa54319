//! Membership tiers: where a member stands by the shop's own rules, and which tier a model expects next.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, bail},
    event::{Event, EventKind},
    features::MemberState,
    money::{Currency, MAX_SUM},
    time::{DAY_MS, Period, Timestamp},
};

/// The most tiers a shop can have.
pub const MAX_TIERS: usize = 32;

/// A tier and the net spend in one period that earns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// What the shop calls it.
    pub name: String,
    /// Net spend from which a member has it, minor units; 0 for the first tier.
    pub at_least: i64,
}

crate::wire::fields!(Tier { name, at_least });

/// The shop's rules: tiers 1…K in ascending order, earned by net spend in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierRules {
    /// Tier 1 first.
    pub tiers: Vec<Tier>,
    /// The stretch of time over which spend is counted.
    pub period: Period,
}

crate::wire::fields!(TierRules { tiers, period });

/// Where a member stands at a moment, by spend so far in the current period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The tier that the spend so far earns, 1…K.
    pub tier: u8,
    /// Its name.
    pub tier_name: String,
    /// Net spend so far as a decimal, never below 0.
    pub spend: String,
    /// The same in minor units.
    pub spend_minor: i64,
    /// False if events of this period may have been forgotten, so that the spend may be incomplete.
    pub exact: bool,
    /// First day of the period.
    pub period_start: String,
    /// Last day of the period.
    pub period_end: String,
    /// What is missing to the next tier; absent in the highest.
    pub next: Option<NextTier>,
}

/// The distance to the next tier: "42.00 more by 2017-03-31".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NextTier {
    /// The next tier, 2…K.
    pub tier: u8,
    /// Its name.
    pub tier_name: String,
    /// Net spend that is missing, as a decimal.
    pub amount: String,
    /// The same in minor units.
    pub amount_minor: i64,
    /// The last day on which it counts.
    pub by: String,
}

/// How one tier is chosen from probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    /// The most probable tier, the lower one on a tie: best for accuracy.
    Argmax,
    /// The lowest tier k with P(tier ≤ k) ≥ ½: best for absolute error.
    Median,
    /// The expected tier, rounded half down: best for squared error.
    Expected,
    /// The expected tier, cut where training found that as many members fall into each tier as truly do: best for
    /// agreement that counts near misses (kappa).
    Ranks,
}

crate::wire::variants!(Decode { Argmax, Median, Expected, Ranks });

impl TierRules {
    /// Checks the rules.
    ///
    /// # Errors
    /// `invalid_spec` when there are fewer than 2 or more than 32 tiers, when the first does not start at 0, or
    /// when a later one does not ask for more than the one before it.
    pub fn check(&self) -> Result<()> {
        if !(2..=MAX_TIERS).contains(&self.tiers.len()) {
            bail!(InvalidSpec, "{} tiers; give 2 to {MAX_TIERS}", self.tiers.len());
        }
        let starts_at_zero = self.tiers.first().is_some_and(|tier| tier.at_least == 0);
        if !starts_at_zero || !self.tiers.is_sorted_by(|a, b| a.at_least < b.at_least) {
            bail!(InvalidSpec, "the tiers' thresholds must start at 0 and rise from each to the next");
        }
        if self.thresholds().any(|threshold| threshold > MAX_SUM) {
            bail!(InvalidSpec, "a tier threshold is over {MAX_SUM} minor units");
        }
        if let Period::Days { length, anchor } = self.period
            && (length == 0 || anchor.ms() % DAY_MS != 0)
        {
            bail!(InvalidSpec, "a period of days needs at least one day and an anchor at 00:00 UTC");
        }
        Ok(())
    }

    /// How many tiers there are.
    pub fn len(&self) -> usize {
        self.tiers.len()
    }

    /// Never true for checked rules.
    pub fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// The thresholds in minor units, ascending from 0.
    pub fn thresholds(&self) -> impl Iterator<Item = i64> {
        self.tiers.iter().map(|tier| tier.at_least)
    }

    /// The tier that a net spend earns, 1…K.
    pub fn tier_of(&self, spend: i64) -> u8 {
        self.thresholds().skip(1).take_while(|threshold| *threshold <= spend).count() as u8 + 1
    }

    /// A tier's name; empty for a number that is not a tier.
    pub fn name(&self, tier: u8) -> &str {
        let at = usize::from(tier).wrapping_sub(1);
        self.tiers.get(at).map_or("", |tier| tier.name.as_str())
    }

    /// The tier that the rules promise a member at `now`: that of the spend of the period before, or of this period so far if
    /// that is higher. Only what is known counts.
    pub fn promised(&self, state: &MemberState, now: Timestamp) -> u8 {
        let known = || state.events().filter(|event| event.time <= now);
        let (from, start) = self.period.before(now);
        let before = net_spend(known(), from, start);
        let (_, end) = self.period.around(now);
        self.tier_of(before.max(net_spend(known(), start, end)))
    }

    /// Where a member stands at `now`, counting events from the start of the period up to `now`.
    pub fn standing(&self, state: &MemberState, now: Timestamp, currency: &Currency) -> Standing {
        let (start, end) = self.period.around(now);
        let kept = net_spend(state.events().filter(|event| event.time <= now), start, end);
        let (forgotten, exact) = state.forgotten_spend(start);
        let spend = kept.saturating_add(forgotten).clamp(0, MAX_SUM);
        let tier = self.tier_of(spend);
        let last_day = Timestamp::from_ms(end.ms() - 1).unwrap_or(now).date();
        Standing {
            tier,
            tier_name: self.name(tier).into(),
            spend: currency.format(spend),
            spend_minor: spend,
            exact: exact && state.knows(now),
            period_start: start.date(),
            period_end: last_day.clone(),
            next: self.tiers.get(usize::from(tier)).map(|next| NextTier {
                tier: tier + 1,
                tier_name: next.name.clone(),
                amount: currency.format(next.at_least - spend),
                amount_minor: next.at_least - spend,
                by: last_day,
            }),
        }
    }
}

/// Purchases minus returns in [from, to), minor units. The one definition of spend, for targets and for standings.
pub fn net_spend<'e>(events: impl IntoIterator<Item = &'e Event>, from: Timestamp, to: Timestamp) -> i64 {
    events.into_iter().filter(|event| (from..to).contains(&event.time)).fold(
        0_i64,
        |spend, event| match event.kind {
            EventKind::Purchase => spend.saturating_add(event.amount),
            EventKind::Return => spend.saturating_sub(event.amount),
            _ => spend,
        },
    )
}

impl Decode {
    /// Chooses a tier, 1…K, from K probabilities. `cuts` are for [`Decode::Ranks`]: the expected tiers above which tiers
    /// 2…K begin, rising; the others do not look at them.
    ///
    /// Probabilities within 1e-5 of a tie count as tied, and the lower tier wins: engines that order their sums
    /// differently must not decide differently.
    pub fn decode(self, probabilities: &[f32], cuts: &[f32]) -> u8 {
        const TIE: f64 = 1e-5;
        let tier = match self {
            Self::Argmax => {
                let mut best = (0, f64::NEG_INFINITY);
                for (i, p) in probabilities.iter().map(|p| f64::from(*p)).enumerate() {
                    if p > best.1 + TIE {
                        best = (i, p);
                    }
                }
                best.0 + 1
            }
            Self::Median => {
                let mut reached = 0.0;
                1 + probabilities
                    .iter()
                    .take_while(|p| {
                        reached += f64::from(**p);
                        reached < 0.5 - TIE
                    })
                    .count()
            }
            Self::Expected => crate::math::floor(expected_tier(probabilities) + 0.5 - TIE) as usize,
            Self::Ranks => {
                let expected = expected_tier(probabilities) - TIE;
                1 + cuts.iter().take_while(|cut| expected > f64::from(**cut)).count()
            }
        };
        tier.clamp(1, probabilities.len().clamp(1, MAX_TIERS)) as u8
    }

    /// Checks that there are cuts for `tiers` tiers where they are needed, and none elsewhere.
    pub(crate) fn check(self, cuts: &[f32], tiers: usize) -> Result<()> {
        let needed = if self == Self::Ranks { tiers.saturating_sub(1) } else { 0 };
        if cuts.len() != needed || !cuts.iter().all(|cut| cut.is_finite()) || !cuts.is_sorted() {
            bail!(
                InvalidSpec,
                "{} cuts for {tiers} tiers; decoding by ranks has one fewer than tiers, finite and rising, the others none",
                cuts.len()
            );
        }
        Ok(())
    }
}

/// Σ k · p(k), for tiers numbered from 1.
pub fn expected_tier(probabilities: &[f32]) -> f64 {
    let mut weighted = 0.0;
    let mut total = 0.0;
    for (i, p) in probabilities.iter().map(|p| f64::from(*p)).enumerate() {
        weighted += p * (i + 1) as f64;
        total += p;
    }
    if total > 0.0 { weighted / total } else { 1.0 }
}

/// Whether these are K probabilities: each from 0 to 1, all together 1.
pub(crate) fn are_probabilities(row: &[f32], k: usize) -> bool {
    let sum: f32 = row.iter().sum();
    row.len() == k && row.iter().all(|p| (-1e-6..=1.0 + 1e-6).contains(p)) && (0.999..=1.001).contains(&sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn rules() -> TierRules {
        let tiers = [("Basic", 0), ("Silver", 10_000), ("Gold", 50_000)];
        TierRules {
            tiers: tiers.iter().map(|&(name, at_least)| Tier { name: name.into(), at_least }).collect(),
            period: Period::Quarter,
        }
    }

    #[test]
    fn thresholds_are_inclusive() {
        for (spend, tier) in [(0, 1), (9_999, 1), (10_000, 2), (49_999, 2), (50_000, 3), (i64::MAX, 3)] {
            assert_eq!(rules().tier_of(spend), tier);
        }
    }

    #[test]
    fn decoders_choose_by_their_own_goal() {
        let p = [0.4, 0.05, 0.05, 0.2, 0.3];
        assert_eq!(Decode::Argmax.decode(&p, &[]), 1);
        assert_eq!(Decode::Median.decode(&p, &[]), 3);
        assert_eq!(Decode::Expected.decode(&p, &[]), 3);
        assert_eq!(Decode::Argmax.decode(&[0.5, 0.5], &[]), 1);
        assert_eq!(Decode::Median.decode(&[0.5, 0.5], &[]), 1);
        assert_eq!(Decode::Median.decode(&[0.2, 0.2], &[]), 2);
        for decode in [Decode::Argmax, Decode::Median, Decode::Expected, Decode::Ranks] {
            let decode = |p: &[f32]| decode.decode(p, &[1.5]);
            let (under, over) = (decode(&[0.5 - 1e-6, 0.5 + 1e-6]), decode(&[0.5 + 1e-6, 0.5 - 1e-6]));
            assert_eq!((under, over), (1, 1));
            assert!((1..=32).contains(&decode(&[1.0 / 300.0; 300])));
        }
        assert_eq!(expected_tier(&[0.0, 1.0]), 2.0);
    }

    #[test]
    fn ranks_are_cut_in_the_expected_tier() {
        let decode = |p: &[f32]| Decode::Ranks.decode(p, &[1.2, 1.2, 2.5, 4.0]);
        assert_eq!(decode(&[0.8, 0.2, 0.0, 0.0, 0.0]), 1, "on a cut, the lower tier");
        assert_eq!(decode(&[0.7, 0.3, 0.0, 0.0, 0.0]), 3, "equal cuts leave a tier empty");
        assert_eq!(decode(&[0.0, 0.0, 1.0, 0.0, 0.0]), 4);
        assert_eq!(decode(&[0.0, 0.0, 0.0, 0.0, 1.0]), 5);
    }

    #[test]
    fn cuts_are_there_where_they_are_needed() {
        Decode::Ranks.check(&[1.5, 1.5], 3).unwrap();
        Decode::Median.check(&[], 3).unwrap();
        let bad: [(Decode, &[f32]); 5] = [
            (Decode::Ranks, &[]),
            (Decode::Ranks, &[1.5]),
            (Decode::Ranks, &[2.0, 1.0]),
            (Decode::Ranks, &[1.0, f32::NAN]),
            (Decode::Median, &[1.0, 2.0]),
        ];
        for (decode, cuts) in bad {
            assert_eq!(decode.check(cuts, 3).unwrap_err().code(), "invalid_spec", "{decode:?} {cuts:?}");
        }
    }

    #[test]
    fn impossible_rules_are_refused() {
        let mut bad = vec![rules(), rules(), rules()];
        bad[0].tiers.truncate(1);
        bad[1].tiers[0].at_least = 5;
        bad[2].tiers[2].at_least = 10_000;
        for rules in bad {
            assert_eq!(rules.check().unwrap_err().code(), "invalid_spec");
        }
    }
}
