//! Trees that predict a number of each row: least squares.

use anyhow::ensure;

use super::{ASIDE, Goal, Params, ROUNDS, best, boost};
use crate::{Forest, Rows};

/// A row's second derivative is 1, four times the most that a softmax's can be; what a leaf must hold counts likewise.
const HEAVIER: f64 = 4.0;

/// Fits trees whose one score is the expected number of a row. The number of rounds is found on members set aside, whom `member`
/// tells apart; then all rows are used.
///
/// `inputs` are `width` numbers a row, NaN where missing. What is learned does not depend on the unit of `targets`, but for
/// rounding.
///
/// # Errors
/// When there is no row, a length does not fit or a target is not finite.
pub fn regress(
    params: &Params,
    (width, inputs): (usize, &[f32]),
    targets: &[f64],
    member: &[u32],
    seed: u64,
) -> anyhow::Result<Forest> {
    let n = targets.len();
    ensure!(n > 0, "there is no row to learn from");
    ensure!(
        width > 0 && inputs.len() == n * width && member.len() == n,
        "rows and their inputs differ in number"
    );
    ensure!(targets.iter().all(|target| target.is_finite()), "a number to learn is not finite");
    let rows = Rows {
        plain_width: width,
        plain: inputs.to_vec(),
        member: member.to_vec(),
        targets: vec![1; n],
        current_spend: vec![0; n],
        ..Rows::default()
    };
    let mean = targets.iter().sum::<f64>() / n as f64;
    let deviation = (targets.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
    let unit = if deviation > 0.0 { deviation } else { 1.0 };
    let numbers: Vec<f32> = targets.iter().map(|x| ((x - mean) / unit) as f32).collect();
    let params = Params { weight: HEAVIER * params.weight, l2: HEAVIER * params.l2, ..*params };
    let rounds = params.rounds.unwrap_or_else(|| rounds(&params, &rows, &numbers, seed));
    let (forest, _) = boost(&params, rounds, &Goal::Numbers(&numbers), &rows, seed, None);
    Ok(forest.scaled(unit, &[mean]))
}

/// The round with the least loss on members set aside; none where the mean alone does better than any.
fn rounds(params: &Params, rows: &Rows, numbers: &[f32], seed: u64) -> u32 {
    let (aside, inner) = rows.places(ASIDE, seed);
    let of = |places: &[usize]| -> Vec<f32> { places.iter().map(|at| numbers[*at]).collect() };
    let (learned, judged) = (of(&inner), of(&aside));
    let goal = Goal::Numbers(&learned);
    let mean = f64::from(goal.base()[0]);
    let alone =
        judged.iter().map(|x| 0.5 * (f64::from(*x) - mean).powi(2)).sum::<f64>() / judged.len() as f64;
    let (aside, inner) = (rows.select(&aside), rows.select(&inner));
    let (_, curve) = boost(params, ROUNDS, &goal, &inner, seed, Some((&aside, Goal::Numbers(&judged))));
    let least = curve.iter().map(|point| point.validation).fold(f64::INFINITY, f64::min);
    if least < alone { best(&curve) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boosting::tests::number;

    fn rows(n: u64) -> (Vec<f32>, Vec<f64>, Vec<u32>) {
        let at = |row: u64, which: u64| number(row * 3 + which);
        let inputs = (0..n).flat_map(|row| [at(row, 0) as f32, at(row, 1) as f32]).collect();
        let targets = (0..n).map(|row| 300.0 * at(row, 0).powi(2) + 20.0 * at(row, 2) - 70.0).collect();
        (inputs, targets, (0..n as u32).collect())
    }

    #[test]
    fn trees_follow_a_curve_whatever_its_unit() {
        let (inputs, targets, member) = rows(3000);
        let forest = regress(&Params::default(), (2, &inputs), &targets, &member, 1).unwrap();
        let cents: Vec<f64> = targets.iter().map(|x| x * 128.0).collect();
        let in_cents = regress(&Params::default(), (2, &inputs), &cents, &member, 1).unwrap();
        for x in [0.2_f32, 0.5, 0.8] {
            let found = f64::from(forest.scores(&[x, 0.5])[0]);
            let truth = 300.0 * f64::from(x).powi(2) - 60.0;
            assert!((found - truth).abs() < 6.0, "{x}: {found} {truth}");
            let cents = f64::from(in_cents.scores(&[x, 0.5])[0]) / 128.0;
            assert!((cents - found).abs() < 1e-3, "{cents} {found}");
        }
    }

    #[test]
    fn noise_alone_gives_about_the_mean() {
        let (inputs, _, member) = rows(2000);
        let targets: Vec<f64> = (0..2000).map(|row| number(90_000 + row)).collect();
        let forest = regress(&Params::default(), (2, &inputs), &targets, &member, 1).unwrap();
        assert!(forest.scores(&inputs).iter().all(|x| (x - 0.5).abs() < 0.1));
    }

    #[test]
    fn bad_rows_are_refused() {
        let fit = |inputs: &[f32], targets: &[f64], member: &[u32]| {
            regress(&Params::default(), (1, inputs), targets, member, 1).is_err()
        };
        assert!(fit(&[], &[], &[]));
        assert!(fit(&[1.0], &[1.0, 2.0], &[1, 2]));
        assert!(fit(&[1.0, 2.0], &[1.0, f64::NAN], &[1, 2]));
        assert!(!fit(&[1.0, f32::NAN], &[1.0, 1.0], &[1, 1]));
    }
}
