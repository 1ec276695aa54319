//! Scores as probabilities, and how far these are from what came.
//!
//! Platt's method (Platt 1999) on rows later than those that a model learned from: ln p/(1 − p) = a·s + b, the [`Pool`] of one model.
//! Isotonic regression (Zadrozny & Elkan 2002) needs many frauds at each height; with the dozens that a validation slice has it ties
//! most rows, and an order with ties is no order of alerts.

use serde::{Deserialize, Serialize};

use crate::Pool;

/// A line from a score to the logarithm of the odds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// a, never negative.
    pub weight: f64,
    /// b.
    pub bias: f64,
}

impl Platt {
    /// The line under which rows are likeliest, drawn by ten rows' worth to what changes nothing.
    ///
    /// Scores should be logarithms of odds already, at least about; they are finite.
    pub fn fit(scores: &[f64], fraud: &[bool]) -> Self {
        let pairs = scores.iter().flat_map(|score| [0.0, *score as f32]).collect();
        let targets: Vec<u8> = fraud.iter().map(|fraud| 1 + u8::from(*fraud)).collect();
        let pool = Pool::fit(2, &[pairs], &targets, true);
        let bias = |tier: usize| pool.bias.get(tier).copied().unwrap_or_default();
        Self { weight: pool.weights.first().copied().unwrap_or(1.0), bias: bias(1) - bias(0) }
    }

    /// The probability of a fraud.
    pub fn probability(&self, score: f64) -> f64 {
        logistic(self.weight * score + self.bias)
    }
}

/// 1 / (1 + exp(−x)).
pub fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The mean −ln of what was said of what came, each probability held 1e-15 away from 0 and 1.
pub fn log_loss(probabilities: &[f64], fraud: &[bool]) -> f64 {
    let of = |(p, fraud): (&f64, &bool)| -(if *fraud { *p } else { 1.0 - p }).max(1e-15).ln();
    probabilities.iter().zip(fraud).map(of).sum::<f64>() / fraud.len().max(1) as f64
}

/// Where bins of probabilities begin. Frauds are few, so bins are narrow below.
pub const BINS: [f64; 9] = [0.0, 1e-3, 1e-2, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8];

/// Rows whose probabilities are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// How many.
    pub rows: usize,
    /// The mean of their probabilities.
    pub said: f64,
    /// The share of them that are frauds.
    pub came: f64,
}

/// What probabilities said and what came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// The bins that hold rows, lowest first.
    pub bins: Vec<Bin>,
    /// Expected calibration error: the mean of |said − came| over rows (Guo et al. 2017).
    pub error: f64,
    /// The sum of all probabilities: the frauds that were expected.
    pub expected: f64,
    /// The frauds that came.
    pub came: usize,
}

/// Puts rows in bins.
pub fn reliability(probabilities: &[f64], fraud: &[bool]) -> Reliability {
    let mut sums = [(0_usize, 0.0, 0_usize); BINS.len()];
    for (p, fraud) in probabilities.iter().zip(fraud) {
        let bin = BINS.partition_point(|from| from <= p).max(1) - 1;
        sums[bin].0 += 1;
        sums[bin].1 += p;
        sums[bin].2 += usize::from(*fraud);
    }
    let off = |(_, said, came): &(usize, f64, usize)| (said - *came as f64).abs();
    let bin = |(rows, said, came): &(usize, f64, usize)| Bin {
        rows: *rows,
        said: said / *rows as f64,
        came: *came as f64 / *rows as f64,
    };
    Reliability {
        bins: sums.iter().filter(|sum| sum.0 > 0).map(bin).collect(),
        error: sums.iter().map(off).sum::<f64>() / fraud.len().max(1) as f64,
        expected: probabilities.iter().sum(),
        came: fraud.iter().filter(|fraud| **fraud).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::tests::{normal, uniform};

    #[test]
    fn a_line_that_was_bent_is_straightened() {
        let rows = 40_000_u64;
        let truth: Vec<f64> = (0..rows).map(|at| 1.5 * normal(at) - 3.0).collect();
        let fraud: Vec<bool> =
            truth.iter().zip(0..).map(|(x, at)| uniform(at + 900_000) < logistic(*x)).collect();
        // The scores are the truth times two and three more.
        let scores: Vec<f64> = truth.iter().map(|x| 2.0 * x + 3.0).collect();
        let found = Platt::fit(&scores, &fraud);
        assert!((found.weight - 0.5).abs() < 0.03 && (found.bias + 1.5).abs() < 0.08, "{found:?}");
        let said: Vec<f64> = scores.iter().map(|score| found.probability(*score)).collect();
        let sum = reliability(&said, &fraud);
        assert!((sum.expected / sum.came as f64 - 1.0).abs() < 0.02 && sum.error < 0.01, "{sum:?}");
        let wrong: Vec<f64> = scores.iter().map(|score| logistic(*score)).collect();
        assert!(reliability(&wrong, &fraud).error > 0.1);
        assert!(log_loss(&said, &fraud) < log_loss(&wrong, &fraud));
    }

    #[test]
    fn bins_are_counted_by_hand() {
        let said = [0.0, 0.0005, 0.03, 0.05, 1.0, 0.8];
        let fraud = [false, false, true, false, true, true];
        let found = reliability(&said, &fraud);
        let bins: Vec<_> = found.bins.iter().map(|bin| (bin.rows, bin.came)).collect();
        assert_eq!(bins, [(2, 0.0), (1, 1.0), (1, 0.0), (2, 1.0)]);
        // |0.0005 − 0| + |0.03 − 1| + |0.05 − 0| + |1.8 − 2| over six rows.
        assert!((found.error - (0.0005 + 0.97 + 0.05 + 0.2) / 6.0).abs() < 1e-12, "{}", found.error);
        assert!((found.expected - 1.8805).abs() < 1e-12);
        assert_eq!(found.came, 3);
    }

    #[test]
    fn the_log_loss_is_the_mean_surprise() {
        let found = log_loss(&[0.5, 0.25], &[true, false]);
        assert!((found - (2.0_f64.ln() + (4.0_f64 / 3.0).ln()) / 2.0).abs() < 1e-12, "{found}");
        assert!(log_loss(&[0.0], &[true]) < 35.0);
    }
}
