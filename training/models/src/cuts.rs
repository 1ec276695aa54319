//! Quantiles, and where values are cut so that the tiers have given shares.

use anyhow::bail;

/// Linear between order statistics, as numpy's default; `sorted` must not be empty.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let below = at as usize;
    sorted[below] + (sorted[(below + 1).min(last)] - sorted[below]) * (at - below as f64)
}

/// The share of rows in each tier.
pub fn shares(tiers: usize, of_rows: &[u8]) -> Vec<f64> {
    let mut shares = vec![0.0; tiers];
    of_rows.iter().for_each(|tier| shares[usize::from(*tier) - 1] += 1.0 / of_rows.len() as f64);
    shares
}

/// Where values of rows are cut so that the tiers have the shares that `targets` have; a cut on a tie leaves it below.
pub fn rank_cuts(tiers: usize, mut values: Vec<f64>, targets: &[u8]) -> Vec<f32> {
    values.sort_unstable_by(f64::total_cmp);
    let cuts = cuts(&values, &shares(tiers, targets)).unwrap_or_else(|_| vec![0.0; tiers - 1]);
    cuts.into_iter().map(|cut| cut as f32).collect()
}

/// The spend at each boundary between shares.
pub fn cuts(sorted: &[f64], shares: &[f64]) -> anyhow::Result<Vec<f64>> {
    if sorted.is_empty() {
        bail!(
            "no training row has spend in its target period, so that tiers cannot be cut; check [split] and [tiers]"
        );
    }
    let mut reached = 0.0;
    let boundaries = shares.iter().take(shares.len().saturating_sub(1));
    Ok(boundaries
        .map(|share| {
            reached += share;
            quantile(sorted, reached)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        // numpy 2.4.6: np.quantile([1, 2, 4, 8, 16], [0.1, 0.5, 0.9])
        let sorted = [1.0, 2.0, 4.0, 8.0, 16.0];
        for (share, expected) in [(0.1, 1.4), (0.5, 4.0), (0.9, 12.8)] {
            assert!((quantile(&sorted, share) - expected).abs() < 1e-12);
        }
    }
}
