//! What boosting must find on made-up rows.

use super::*;
use crate::mix;

/// A number in 0…1 that depends on the seed alone.
pub(super) fn number(seed: u64) -> f64 {
    (mix(seed) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Rows of three inputs, some missing. The tier rises where exactly one of the first two is positive, and where the
/// third is missing.
pub(super) fn patchy(n: usize, tiers: usize) -> Rows {
    let mut rows = Rows { plain_width: 3, ..Rows::default() };
    for at in 0..n as u64 {
        let [a, b, c, luck] = [0, 1, 2, 3].map(|i| number(at * 4 + i));
        let missing = c < 0.2;
        let level = f64::from(u8::from((a > 0.5) != (b > 0.5)) + u8::from(missing)) + 1.6 * (luck - 0.5);
        rows.plain.extend([a as f32 - 0.5, b as f32 - 0.5, if missing { f32::NAN } else { c as f32 }]);
        rows.targets.push((level.round().clamp(0.0, tiers as f64 - 1.0)) as u8 + 1);
        rows.member.push(at as u32);
    }
    rows.current_spend = vec![0; n];
    rows
}

fn log_loss(forest: &Forest, rows: &Rows) -> f64 {
    let p = forest.probabilities(&rows.plain);
    let losses =
        p.chunks(forest.tiers).zip(&rows.targets).map(|(p, y)| -f64::from(p[usize::from(*y) - 1]).ln());
    losses.sum::<f64>() / rows.len() as f64
}

fn forest(params: Params, tiers: usize, rows: &Rows) -> Forest {
    let Model::Trees(forest) = fit(&params, tiers, rows, 1).model else { panic!("not trees") };
    forest
}

#[test]
fn trees_find_what_no_single_test_does() {
    let rows = patchy(3000, 3);
    let (train, held_out) =
        (rows.select(&(0..2000).collect::<Vec<_>>()), rows.select(&(2000..3000).collect::<Vec<_>>()));
    let stumps = Params { leaves: 2, depth: 1, ..Params::default() };
    let [deep, shallow] =
        [Params::default(), stumps].map(|params| log_loss(&forest(params, 3, &train), &held_out));
    let base = Forest { inputs: 3, tiers: 3, base: Goal::Tiers(3, &train.targets).base(), trees: Vec::new() };
    let nothing = log_loss(&base, &held_out);
    assert!(deep < 0.9 * shallow && shallow < 0.95 * nothing, "{deep} {shallow} {nothing}");
}

#[test]
fn missing_values_go_where_they_belong() {
    for sign in [1.0, -1.0] {
        let mut rows = Rows { plain_width: 1, ..Rows::default() };
        for at in 0..900_u32 {
            let missing = at % 3 == 0;
            let x = sign * (number(u64::from(at)) as f32 - 0.5);
            rows.plain.push(if missing { f32::NAN } else { x });
            // Missing values behave as those beyond zero do.
            let high = (missing || x * sign > 0.0) != (at % 10 == 9);
            rows.targets.push(if high { 2 } else { 1 });
            rows.member.push(at);
            rows.current_spend.push(0);
        }
        let found = forest(Params::default(), 2, &rows).probabilities(&[f32::NAN, sign * 0.4, sign * -0.4]);
        assert!(found[1] > 0.8 && found[3] > 0.8 && found[5] < 0.2, "{sign} {found:?}");
    }
}

#[test]
fn what_was_never_missing_goes_with_most_rows() {
    let mut rows = Rows { plain_width: 1, ..Rows::default() };
    for at in 0..400_u32 {
        rows.plain.push((at % 4) as f32);
        rows.targets.push(if at % 4 == 3 { 2 } else { 1 });
        rows.member.push(at);
        rows.current_spend.push(0);
    }
    let forest = forest(Params::default(), 2, &rows);
    assert_eq!(forest.probabilities(&[f32::NAN]), forest.probabilities(&[0.0]));
}

#[test]
fn the_first_leaves_are_newtons() {
    // Half of the rows with x = 1 and none of those with x = 0 have tier 2: shares are ¾ and ¼.
    let mut rows = Rows { plain_width: 1, ..Rows::default() };
    for at in 0..80_u32 {
        rows.plain.push((at % 2) as f32);
        rows.targets.push(if at % 4 == 1 { 2 } else { 1 });
        rows.member.push(at);
        rows.current_spend.push(0);
    }
    let params = Params { rate: 0.5, l2: 2.0, ..Params::default() };
    let (forest, _) = boost(&params, 1, &Goal::Tiers(2, &rows.targets), &rows, 1, None);
    assert_eq!(forest.base, [0.75_f32.ln(), 0.25_f32.ln()]);
    // Tier 2: Σ (p − y) is 40 · ¼ = 10 where x = 0 and 10 − 20 where x = 1; Σ p (1 − p) is 40 · 3/16 = 7.5 on each side.
    let leaf = 0.5 * 10.0 / (7.5 + 2.0);
    let [first, second] =
        [&forest.trees[0], &forest.trees[1]].map(|tree| [0.0, 1.0].map(|x| tree.value(&[x])));
    for (found, expected) in [(first, [leaf, -leaf]), (second, [-leaf, leaf])] {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
    }
}

#[test]
fn it_stops_when_members_set_aside_no_longer_gain() {
    let fitted = fit(&Params::default(), 3, &patchy(1500, 3), 1);
    let Model::Trees(forest) = &fitted.model else { panic!("not trees") };
    let best = fitted.curve.iter().min_by(|a, b| a.validation.total_cmp(&b.validation)).unwrap();
    assert_eq!(forest.trees.len(), 3 * best.step as usize);
    let last = fitted.curve.last().unwrap();
    assert!(last.step < ROUNDS && last.step - best.step <= PATIENCE, "{}", last.step);
    assert!(fitted.curve.windows(2).all(|pair| pair[1].train < pair[0].train));
}
