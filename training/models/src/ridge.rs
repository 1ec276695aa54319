//! Ridge regression on the square root of the next period's spend, in closed form (Hoerl & Kennard 1970), with normal
//! errors around it; the tiers follow from their thresholds.
//!
//! It learns from how much was spent where the other models see only the tier. The square root makes the errors of large
//! and small spenders about alike. The penalty has the least squared error in an inner cross-validation over members, and
//! the errors' spread is measured there too.

use super::{CurvePoint, Fitted, Model, Network, Rows, moments};

/// Penalties tried: λ in `mean squared error + λ · Σ w²`, weights of inputs as they are.
const PENALTIES: [f64; 9] = [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0];
/// Fits the regression; `rows` must hold the spend and the thresholds.
pub(super) fn fit(tiers: usize, rows: &Rows, seed: u64) -> Fitted {
    let target = |at: usize| root(rows.target_spend[at]);
    let (all, penalty, squared) = moments::cross_validated(rows, seed, &PENALTIES, target);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        moments::{Moments, Solution},
        tests::ladder,
    };

    #[test]
    fn the_error_is_what_the_rows_say_and_the_solution_its_least() {
        let rows = ladder(300, 3);
        let at: Vec<usize> = (0..rows.len()).collect();
        let all = Moments::of(&rows, &at, |at| root(rows.target_spend[at]));
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
