//! Sums of products of rows: all that least squares needs, and what its errors follow from.

use super::{Rows, cholesky, mix, threads};

/// Rows that are added at the same time, so that a sum is read and written once for all of them.
const ABREAST: usize = 4;
/// Rows that one thread adds up together.
const TOGETHER: usize = 4096;

/// Folds of members in the inner cross-validation.
const FOLDS: u64 = 5;

/// The sums of all rows, and the penalty that has the least squared error in a cross-validation over members, with that
/// error a row. Of several as good it is the first.
pub(super) fn cross_validated(
    rows: &Rows,
    seed: u64,
    penalties: &[f64],
    target: impl Fn(usize) -> f64 + Sync,
) -> (Moments, f64, f64) {
    let mut folds = vec![Vec::new(); FOLDS as usize];
    (0..rows.len()).for_each(|at| folds[(mix(seed ^ u64::from(rows.member[at])) % FOLDS) as usize].push(at));
    let parts: Vec<Moments> = folds.iter().map(|at| Moments::of(rows, at, &target)).collect();
    let all = parts.iter().fold(Moments::new(rows.width), |sum, part| sum.plus(part, 1.0));
    let error = |penalty: f64| -> f64 {
        let of = |part: &Moments| part.error(&all.plus(part, -1.0).solve(penalty));
        parts.iter().map(of).sum::<f64>() / all.rows().max(1.0)
    };
    let errors = penalties.iter().map(|penalty| (*penalty, error(*penalty)));
    let (penalty, least) = errors.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((1.0, 1.0));
    (all, penalty, least)
}

/// Sums of products of the row (1, inputs, target).
#[derive(Clone)]
pub(super) struct Moments {
    /// Inputs.
    width: usize,
    /// `(width + 2)²`, of which the part on and below the diagonal is kept.
    sums: Vec<f64>,
}

/// A linear prediction.
pub(super) struct Solution {
    pub(super) bias: f64,
    pub(super) weight: Vec<f64>,
}

impl Moments {
    /// Of no rows.
    pub(super) fn new(width: usize) -> Self {
        Self { width, sums: vec![0.0; (width + 2) * (width + 2)] }
    }

    /// Of the rows at these places.
    pub(super) fn of(rows: &Rows, at: &[usize], target: impl Fn(usize) -> f64 + Sync) -> Self {
        let parts = threads::map(at.chunks(TOGETHER).collect(), |at| {
            let mut part = Self::new(rows.width);
            let mut abreast = vec![[0.0; ABREAST]; rows.width + 2];
            for at in at.chunks(ABREAST) {
                // Where there are fewer, the others are rows of zeros.
                abreast.fill([0.0; ABREAST]);
                for (lane, at) in at.iter().enumerate() {
                    let row = rows.row(*at).iter().copied().map(f64::from);
                    let row = [1.0].into_iter().chain(row).chain([target(*at)]);
                    abreast.iter_mut().zip(row).for_each(|(to, x)| to[lane] = x);
                }
                part.add(&abreast);
            }
            part
        });
        parts.iter().fold(Self::new(rows.width), |sum, part| sum.plus(part, 1.0))
    }

    fn add(&mut self, rows: &[[f64; ABREAST]]) {
        let size = self.width + 2;
        for (i, a) in rows.iter().enumerate() {
            let sums = &mut self.sums[i * size..=i * size + i];
            for (sum, b) in sums.iter_mut().zip(rows) {
                *sum += (a[0] * b[0] + a[1] * b[1]) + (a[2] * b[2] + a[3] * b[3]);
            }
        }
    }

    /// These rows, and `times` the others.
    pub(super) fn plus(&self, other: &Self, times: f64) -> Self {
        let mut sum = self.clone();
        sum.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += times * more);
        sum
    }

    /// How many rows.
    pub(super) fn rows(&self) -> f64 {
        self.sums[0]
    }

    /// The sum of products of two of (1, inputs, target).
    pub(super) fn at(&self, i: usize, j: usize) -> f64 {
        self.sums[i.max(j) * (self.width + 2) + i.min(j)]
    }

    /// The weights of the least `mean squared error + penalty · Σ w²`; the mean of the target where nothing varies.
    pub(super) fn solve(&self, penalty: f64) -> Solution {
        let (n, width, target) = (self.rows().max(1.0), self.width, self.width + 1);
        let mean = |i: usize| self.at(i, 0) / n;
        let covariance = |i: usize, j: usize| self.at(i, j) / n - mean(i) * mean(j);
        let mut matrix = vec![0.0; width * width];
        for i in 0..width {
            for j in 0..=i {
                matrix[i * width + j] = covariance(i + 1, j + 1) + if i == j { penalty } else { 0.0 };
            }
        }
        let weight = cholesky::solve(&mut matrix, (0..width).map(|i| covariance(target, i + 1)).collect());
        let bias = mean(target) - weight.iter().enumerate().map(|(i, w)| w * mean(i + 1)).sum::<f64>();
        Solution { bias, weight }
    }

    /// Σ (target − prediction)² over these rows.
    pub(super) fn error(&self, solution: &Solution) -> f64 {
        let by: Vec<f64> =
            [-solution.bias].into_iter().chain(solution.weight.iter().map(|w| -w)).chain([1.0]).collect();
        let of = |i: usize| (0..by.len()).map(|j| by[i] * by[j] * self.at(i, j)).sum::<f64>();
        (0..by.len()).map(of).sum::<f64>().max(0.0)
    }
}
