//! Ridge regression on the square root of the next period's spend, in closed form (Hoerl & Kennard 1970), with normal
//! errors around it; the tiers follow from their thresholds.
//!
//! It learns from how much was spent where the other models see only the tier. The square root makes the errors of large
//! and small spenders about alike. The penalty has the least squared error in an inner cross-validation over members, and
//! the errors' spread is measured there too.

use super::{CurvePoint, Fitted, Model, Network, Rows, cholesky, mix};

/// Penalties tried: λ in `mean squared error + λ · Σ w²`, weights of inputs as they are.
const PENALTIES: [f64; 9] = [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0];
/// Folds of members in the inner cross-validation.
const FOLDS: u64 = 5;

/// Fits the regression; `rows` must hold the spend and the thresholds.
pub(super) fn fit(tiers: usize, rows: &Rows, seed: u64) -> Fitted {
    let parts = parts(rows, seed);
    let all = parts.iter().fold(Moments::new(rows.width), |sum, part| sum.plus(part, 1.0));
    let error = |penalty: f64| -> f64 {
        let of = |part: &Moments| part.error(&all.plus(part, -1.0).solve(penalty));
        parts.iter().map(of).sum::<f64>() / all.rows().max(1.0)
    };
    let (penalty, squared) = PENALTIES
        .map(|penalty| (penalty, error(penalty)))
        .into_iter()
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((1.0, 1.0));
    let solution = all.solve(penalty);
    let weight: Vec<f32> = solution.weight.iter().map(|w| *w as f32).collect();
    let boundaries: Vec<f64> =
        rows.thresholds.iter().skip(1).take(tiers - 1).map(|spend| root(*spend)).collect();
    let network = Network::normal(&weight, solution.bias, squared.sqrt().max(SMALLEST_SPREAD), &boundaries);
    Fitted { model: Model::Network(network), curve: Vec::<CurvePoint>::new(), l2: Some(penalty) }
}

/// Keeps the distribution proper where every row is hit exactly.
const SMALLEST_SPREAD: f64 = 1e-3;

/// What is predicted: money brought back in excess counts as none.
fn root(spend: i64) -> f64 {
    (spend.max(0) as f64).sqrt()
}

/// The sums of each fold of members.
fn parts(rows: &Rows, seed: u64) -> Vec<Moments> {
    let mut parts = vec![Moments::new(rows.width); FOLDS as usize];
    for at in 0..rows.len() {
        let fold = mix(seed ^ u64::from(rows.member[at])) % FOLDS;
        parts[fold as usize].add(rows.row(at), root(rows.target_spend[at]));
    }
    parts
}

/// Sums of products of the row (1, inputs, target): all that least squares needs, and what errors follow from.
#[derive(Clone)]
struct Moments {
    /// Inputs.
    width: usize,
    /// `(width + 2)²`, of which the part on and below the diagonal is kept.
    sums: Vec<f64>,
    row: Vec<f64>,
}

struct Solution {
    bias: f64,
    weight: Vec<f64>,
}

impl Moments {
    fn new(width: usize) -> Self {
        let size = width + 2;
        Self { width, sums: vec![0.0; size * size], row: vec![0.0; size] }
    }

    fn add(&mut self, inputs: &[f32], target: f64) {
        let size = self.width + 2;
        self.row[0] = 1.0;
        self.row[1..=self.width].iter_mut().zip(inputs).for_each(|(to, x)| *to = f64::from(*x));
        self.row[size - 1] = target;
        for i in 0..size {
            let x = self.row[i];
            let sums = &mut self.sums[i * size..=i * size + i];
            sums.iter_mut().zip(&self.row).for_each(|(sum, y)| *sum += x * y);
        }
    }

    fn plus(&self, other: &Self, times: f64) -> Self {
        let mut sum = self.clone();
        sum.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += times * more);
        sum
    }

    fn rows(&self) -> f64 {
        self.sums[0]
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.sums[i.max(j) * (self.width + 2) + i.min(j)]
    }

    /// The weights of the least penalised error; the mean of the target where nothing varies.
    fn solve(&self, penalty: f64) -> Solution {
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
    fn error(&self, solution: &Solution) -> f64 {
        let by: Vec<f64> =
            [-solution.bias].into_iter().chain(solution.weight.iter().map(|w| -w)).chain([1.0]).collect();
        let of = |i: usize| (0..by.len()).map(|j| by[i] * by[j] * self.at(i, j)).sum::<f64>();
        (0..by.len()).map(of).sum::<f64>().max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::tests::ladder;

    #[test]
    fn the_error_is_what_the_rows_say_and_the_solution_its_least() {
        let rows = ladder(300, 3);
        let parts = parts(&rows, 1);
        let all = parts.iter().fold(Moments::new(2), |sum, part| sum.plus(part, 1.0));
        let by_rows = |solution: &Solution, penalty: f64| {
            let predict = |at: usize| {
                solution.bias
                    + rows.row(at).iter().zip(&solution.weight).map(|(x, w)| f64::from(*x) * w).sum::<f64>()
            };
            let squared =
                (0..rows.len()).map(|at| (root(rows.target_spend[at]) - predict(at)).powi(2)).sum::<f64>();
            (squared, squared / 300.0 + penalty * solution.weight.iter().map(|w| w * w).sum::<f64>())
        };
        let penalty = 0.05;
        let found = all.solve(penalty);
        let (squared, least) = by_rows(&found, penalty);
        assert!((all.error(&found) / squared - 1.0).abs() < 1e-6);
        for step in [-1e-3, 1e-3] {
            for at in 0..3 {
                let mut other = Solution { bias: found.bias, weight: found.weight.clone() };
                *[&mut other.bias].into_iter().chain(&mut other.weight).nth(at).unwrap() += step;
                assert!(by_rows(&other, penalty).1 > least, "{at} {step}");
            }
        }
    }

    #[test]
    fn tiers_begin_at_their_thresholds() {
        // Spend is the square of the one input, without any error: the median is right for every row.
        let mut rows = Rows { width: 1, thresholds: vec![0, 100, 2500], ..Rows::default() };
        for i in 0..100_u32 {
            rows.inputs.push(i as f32 + 0.25);
            rows.target_spend.push((f64::from(i) + 0.25).powi(2).round() as i64);
            rows.targets.push(if i < 10 {
                1
            } else if i < 50 {
                2
            } else {
                3
            });
            rows.member.push(i);
        }
        let probabilities = fit(3, &rows, 1).model.probabilities(&rows);
        for (p, target) in probabilities.chunks(3).zip(&rows.targets) {
            assert_eq!(tiercast_core::Decode::Median.decode(p, &[]), *target, "{p:?}");
        }
    }
}
