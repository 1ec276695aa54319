//! Who reaches the top: cumulative gains and lift, when members are taken in the order of the probability given to them.
//!
//! Members with the same probability are in no order: each of them counts as their mean.

use serde::Serialize;

use crate::train::predictions::Predictions;

/// The steps of a curve: every hundredth of the rows.
const STEPS: usize = 100;
/// Shares of the rows for which the lift is told.
const DEPTHS: [f64; 4] = [0.05, 0.1, 0.2, 0.3];

/// How early those who reach a tier come in the order.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gains {
    /// The tier to be reached, from 1.
    pub at_least: u8,
    /// All rows.
    pub rows: usize,
    /// Rows that reached it, or a higher one.
    pub reached: usize,
    /// Of those who reached it, the share among the first 0, 1, 2 … 100 % by the model.
    pub model: Vec<f64>,
    /// The same by the rule, which gives all members of a tier the same probability.
    pub rule: Vec<f64>,
    /// The same read off at a few depths.
    pub depths: Vec<Depth>,
}

/// What taking the first members gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Depth {
    /// The share of all rows that is taken.
    pub taken: f64,
    /// Of those who reached the tier, the share among them, by the model.
    pub found: f64,
    /// How many times as many as a random choice would find.
    pub lift: f64,
    /// The same by the rule.
    pub rule_found: f64,
    /// The same by the rule.
    pub rule_lift: f64,
}

impl Gains {
    /// For the top tier, and from four tiers on for the two highest; none that nobody or everybody reached.
    pub fn all(predictions: &Predictions, model: &str, rule: &str, split: &str) -> Vec<Self> {
        let top = predictions.tiers as u8;
        let asked = if top >= 4 { vec![top, top - 1] } else { vec![top] };
        asked.into_iter().filter_map(|tier| Self::new(predictions, model, rule, split, tier)).collect()
    }

    fn new(predictions: &Predictions, model: &str, rule: &str, split: &str, at_least: u8) -> Option<Self> {
        let rows = predictions.of(model, split);
        let reached: Vec<bool> = rows.iter().map(|row| predictions.target[*row] >= at_least).collect();
        let times = reached.iter().filter(|reached| **reached).count();
        if at_least < 2 || times == 0 || times == rows.len() {
            return None;
        }
        let by = |name: &str| {
            let rows = predictions.of(name, split);
            let score = |row: &usize| -> f64 {
                predictions.row(*row)[usize::from(at_least) - 1..].iter().map(|p| f64::from(*p)).sum()
            };
            curve(&rows.iter().map(score).collect::<Vec<_>>(), &reached)
        };
        let (model, rule) = (by(model), by(rule));
        let depth = |taken: f64| {
            let at = (taken * STEPS as f64).round() as usize;
            let (found, rule_found) = (model[at], rule[at]);
            Depth { taken, found, lift: found / taken, rule_found, rule_lift: rule_found / taken }
        };
        let depths = DEPTHS.map(depth).to_vec();
        Some(Self { at_least, rows: rows.len(), reached: times, model, rule, depths })
    }

    /// Times as many as at random, in each tenth of the order.
    pub fn lift_by_tenth(curve: &[f64]) -> Vec<f64> {
        (0..10).map(|tenth| (curve[(tenth + 1) * STEPS / 10] - curve[tenth * STEPS / 10]) * 10.0).collect()
    }
}

/// The share of the reached rows that is found among each hundredth of the rows, highest score first.
fn curve(scores: &[f64], reached: &[bool]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let all = reached.iter().filter(|reached| **reached).count() as f64;
    // Corners of the curve: after each group of equal scores.
    let (mut corners, mut taken, mut found) = (vec![(0.0, 0.0)], 0, 0);
    for group in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        taken += group.len();
        found += group.iter().filter(|row| reached[**row]).count();
        corners.push((taken as f64, found as f64 / all));
    }
    let at = |step: usize| {
        let x = step as f64 * scores.len() as f64 / STEPS as f64;
        let after = corners.partition_point(|corner| corner.0 < x).min(corners.len() - 1);
        let (from, to) = (corners[after.saturating_sub(1)], corners[after]);
        if to.0 > from.0 { from.1 + (to.1 - from.1) * (x - from.0) / (to.0 - from.0) } else { to.1 }
    };
    (0..=STEPS).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::predictions::TEST;

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    #[test]
    fn a_perfect_order_finds_all_as_early_as_can_be() {
        let scores: Vec<f64> = (0..10).map(f64::from).collect();
        let reached: Vec<bool> = (0..10).map(|i| i >= 8).collect();
        let found = curve(&scores, &reached);
        assert!(near(found[0], 0.0) && near(found[5], 0.25) && near(found[10], 0.5));
        assert!(near(found[20], 1.0) && near(found[100], 1.0));
        let lift = Gains::lift_by_tenth(&found);
        assert!(near(lift[0], 5.0) && near(lift[1], 5.0) && near(lift[2], 0.0), "{lift:?}");
    }

    #[test]
    fn equal_scores_are_a_straight_line() {
        let found = curve(&[0.5; 8], &[true, false, false, true, false, false, false, false]);
        assert!((0..=100).all(|at| near(found[at], at as f64 / 100.0)), "{found:?}");
        // Two groups of four: the first holds both, however they are written down.
        let found = curve(
            &[0.9, 0.1, 0.1, 0.9, 0.9, 0.1, 0.9, 0.1],
            &[true, false, false, true, false, false, false, false],
        );
        assert!(near(found[25], 0.5) && near(found[50], 1.0));
    }

    #[test]
    fn depths_say_how_many_times_as_many_as_at_random() {
        let mut all = Predictions { tiers: 2, ..Predictions::default() };
        for model in ["rule", "ours"] {
            for row in 0..20_u8 {
                let upper = f32::from(row) / 20.0;
                all.model.push(model.into());
                all.split.push(TEST.into());
                all.fold.push(None);
                all.member.push(row.to_string());
                all.as_of.push(0);
                all.target.push(if row >= 15 { 2 } else { 1 });
                all.target_spend.push(0);
                all.probabilities.extend(if model == "ours" { [1.0 - upper, upper] } else { [0.5; 2] });
                all.decoded.push(1);
            }
        }
        let found = Gains::all(&all, "ours", "rule", TEST);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].at_least, found[0].rows, found[0].reached), (2, 20, 5));
        let tenth = found[0].depths[1];
        assert!(near(tenth.found, 0.4) && near(tenth.lift, 4.0) && near(tenth.rule_lift, 1.0), "{tenth:?}");
        all.target.fill(1);
        assert!(Gains::all(&all, "ours", "rule", TEST).is_empty(), "nobody reached it");
    }
}
