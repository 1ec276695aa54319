//! Where the tiers are cut: from the spend in training targets, or as the shop says.

use tiercast_core::{Tier, TierRules};

use crate::{
    models::cuts::cuts,
    project::{TierCut, TierPlan},
};

/// Fits the thresholds to the net spend (minor units) of the training rows' target periods.
///
/// # Errors
/// When there are no rows to cut, or core refuses the rules.
pub fn rules(plan: &TierPlan, target_spend: &[i64]) -> anyhow::Result<TierRules> {
    let thresholds = match &plan.cut {
        TierCut::Thresholds(thresholds) => thresholds.clone(),
        TierCut::Shares(shares) => rising(cuts(&sorted(target_spend), shares)?),
        TierCut::ZeroThenShares(shares) => {
            let spenders: Vec<i64> = target_spend.iter().copied().filter(|spend| *spend > 0).collect();
            // The first share of the spenders starts at their smallest spend: one minor unit.
            rising([vec![1.0], cuts(&sorted(&spenders), shares)?].concat())
        }
    };
    let tiers =
        plan.names.iter().zip(thresholds).map(|(name, at_least)| Tier { name: name.clone(), at_least });
    let rules = TierRules { tiers: tiers.collect(), period: plan.period };
    rules.check()?;
    Ok(rules)
}

/// The tier of each spend.
pub fn of(rules: &TierRules, spend: &[i64]) -> Vec<u8> {
    spend.iter().map(|spend| rules.tier_of(*spend)).collect()
}

fn sorted(spend: &[i64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = spend.iter().map(|spend| *spend as f64).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// Whole minor units from 0, each above the one before it even where many rows spend the same.
fn rising(cuts: Vec<f64>) -> Vec<i64> {
    let mut thresholds = vec![0_i64];
    for cut in cuts {
        let before = thresholds.last().copied().unwrap_or(0);
        thresholds.push((cut.ceil() as i64).max(before + 1));
    }
    thresholds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::cuts::shares;
    use tiercast_core::Period;

    fn plan(cut: TierCut, tiers: usize) -> TierPlan {
        TierPlan { names: (1..=tiers).map(|k| format!("T{k}")).collect(), period: Period::Quarter, cut }
    }

    fn thresholds(cut: TierCut, tiers: usize, spend: &[i64]) -> Vec<i64> {
        rules(&plan(cut, tiers), spend).unwrap().thresholds().collect()
    }

    #[test]
    fn a_pyramid_has_the_asked_shares() {
        let spend: Vec<i64> = (1..=1000).map(|i| i * 10).collect();
        let cut = TierCut::Shares(vec![0.4, 0.25, 0.2, 0.1, 0.05]);
        let rules = rules(&plan(cut, 5), &spend).unwrap();
        let found = shares(5, &of(&rules, &spend));
        for (found, asked) in found.iter().zip([0.4, 0.25, 0.2, 0.1, 0.05]) {
            assert!((found - asked).abs() < 0.002, "{found} {asked}");
        }
    }

    #[test]
    fn the_zero_tier_holds_those_who_spend_nothing() {
        let spend = [0, 0, 0, -5, 0, 10, 20, 30, 40];
        let cut = TierCut::ZeroThenShares(vec![0.25; 4]);
        // numpy 2.4.6: np.quantile([10, 20, 30, 40], [.25, .5, .75]) = 17.5, 25, 32.5
        assert_eq!(thresholds(cut, 5, &spend), [0, 1, 18, 25, 33]);
    }

    #[test]
    fn ties_still_give_rising_thresholds() {
        assert_eq!(thresholds(TierCut::Shares(vec![0.5, 0.25, 0.25]), 3, &[0; 50]), [0, 1, 2]);
    }

    #[test]
    fn the_shops_own_thresholds_stay() {
        assert_eq!(thresholds(TierCut::Thresholds(vec![0, 10_000]), 2, &[]), [0, 10_000]);
    }

    #[test]
    fn nobody_to_cut_is_an_error_that_says_where_to_look() {
        let error = rules(&plan(TierCut::ZeroThenShares(vec![0.5, 0.5]), 3), &[0, 0]).unwrap_err();
        assert!(error.to_string().contains("[split]"), "{error}");
    }
}
