//! Whom to treat at a budget.
//!
//! Rows come by falling score and are treated while the sum of their expected costs stays within the budget. It is the greedy
//! rule: an exact solution of the knapsack differs by at most one row's worth when scores are worth a unit of cost, and costs of one
//! offer differ little.

/// Which rows are treated: those with the highest scores above `floor`, until one no longer fits in the budget; ties by place.
///
/// Scores are what rows are worth, costs what they are expected to cost; a cost below 0 or NaN counts as 0, a NaN score is none.
pub fn choose(scores: &[f64], costs: &[f64], budget: f64, floor: f64) -> Vec<bool> {
    let mut rows: Vec<usize> = (0..scores.len()).filter(|at| scores[*at] > floor).collect();
    rows.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let (mut chosen, mut spent) = (vec![false; scores.len()], 0.0);
    for at in rows {
        spent += costs[at].max(0.0);
        if spent > budget {
            break;
        }
        chosen[at] = true;
    }
    chosen
}

/// The sum of the chosen rows' numbers.
pub fn sum(chosen: &[bool], numbers: &[f64]) -> f64 {
    chosen.iter().zip(numbers).filter(|(chosen, _)| **chosen).map(|(_, number)| number).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix;

    #[test]
    fn the_budget_is_never_exceeded_and_the_best_come_first() {
        for seed in 0..50 {
            let number = |at: u64| (mix(seed * 1000 + at) % 1000) as f64 / 100.0 - 3.0;
            let scores: Vec<f64> = (0..200).map(number).collect();
            let costs: Vec<f64> = (200..400).map(|at| number(at).abs()).collect();
            let chosen = choose(&scores, &costs, 50.0, 0.0);
            assert!(sum(&chosen, &costs) <= 50.0);
            let least = (0..200).filter(|at| chosen[*at]).map(|at| scores[at]).fold(f64::INFINITY, f64::min);
            let better = (0..200).filter(|at| !chosen[*at] && scores[*at] > least).count();
            assert_eq!(better, 0);
            assert!((0..200).all(|at| !chosen[at] || scores[at] > 0.0));
        }
    }

    #[test]
    fn nobody_is_treated_for_nothing() {
        assert_eq!(choose(&[-1.0, 0.0, f64::NAN], &[0.0; 3], 9.0, 0.0), [false; 3]);
        assert_eq!(choose(&[1.0, 2.0], &[1.0, f64::NAN], 0.5, 0.0), [false, true]);
        assert_eq!(choose(&[1.0, 2.0], &[0.1, 3.0], 0.5, 0.0), [false, false]);
        assert!(choose(&[], &[], 1.0, 0.0).is_empty());
    }
}
