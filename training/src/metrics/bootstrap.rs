//! Percentile intervals by resampling members (Efron 1979), the same resamples for every model.
//!
//! Members are drawn, not rows: rows of one member are not independent. Because all models see the same resamples,
//! the difference of two models is resampled in pairs.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::{Judged, Measures};

/// Resamples drawn for each interval.
pub const RESAMPLES: usize = 1000;

/// A value and the range in which 95 % of the resamples fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// On the rows as they are.
    pub value: f64,
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

impl Estimate {
    /// One standard error, read off the interval as if it were a normal one.
    pub fn standard_error(&self) -> f64 {
        (self.high - self.low) / (2.0 * 1.96)
    }
}

/// The measures of one model on every resample.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    value: Measures,
    resamples: Vec<[f64; 8]>,
}

impl Bootstrap {
    /// Resamples members `resamples` times; `member[i]` says whose row `i` is, as an index below `members`.
    pub fn new(judged: &Judged, member: &[u32], members: usize, resamples: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut times = vec![0_u32; members];
        let resamples = (0..resamples)
            .map(|_| {
                times.fill(0);
                (0..members).for_each(|_| times[rng.random_range(0..members)] += 1);
                judged.weighted(|row| f64::from(times[member[row] as usize])).to_array()
            })
            .collect();
        Self { value: judged.measures(), resamples }
    }

    /// Each measure with its interval.
    pub fn estimates(&self) -> Measures<Estimate> {
        self.intervals(self.value.to_array(), |resample, measure| self.resamples[resample][measure])
    }

    /// This model minus another one on the same rows, resample by resample.
    pub fn minus(&self, other: &Self) -> Measures<Estimate> {
        let (ours, theirs) = (self.value.to_array(), other.value.to_array());
        let value = std::array::from_fn(|measure| ours[measure] - theirs[measure]);
        self.intervals(value, |resample, measure| {
            self.resamples[resample][measure] - other.resamples[resample][measure]
        })
    }

    fn intervals(&self, value: [f64; 8], resampled: impl Fn(usize, usize) -> f64) -> Measures<Estimate> {
        Measures::from_array(std::array::from_fn(|measure| {
            let mut values: Vec<f64> = (0..self.resamples.len()).map(|at| resampled(at, measure)).collect();
            values.sort_unstable_by(f64::total_cmp);
            let value = value[measure];
            Estimate {
                value,
                low: percentile(&values, 0.025, value),
                high: percentile(&values, 0.975, value),
            }
        }))
    }
}

/// Linear between order statistics; `otherwise` where there are none.
pub fn percentile(sorted: &[f64], share: f64, otherwise: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return otherwise };
    let at = share * last as f64;
    let below = at as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}
