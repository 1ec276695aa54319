//! Reference values from scikit-learn 1.9.1 and numpy 2.4.6 on the ten rows below: `f1_score(average="macro")`,
//! `cohen_kappa_score(weights="quadratic")`, `log_loss`; RPS and ECE by their definitions.

use super::*;

const TARGETS: [u8; 10] = [1, 1, 1, 2, 2, 3, 3, 4, 5, 5];
const DECIDED: [u8; 10] = [1, 2, 1, 2, 1, 3, 5, 4, 4, 5];
#[rustfmt::skip]
const PROBABILITIES: [f32; 50] = [
    0.72, 0.08, 0.10, 0.05, 0.05,
    0.28, 0.42, 0.20, 0.05, 0.05,
    0.52, 0.18, 0.10, 0.10, 0.10,
    0.08, 0.62, 0.10, 0.10, 0.10,
    0.45, 0.35, 0.10, 0.05, 0.05,
    0.10, 0.18, 0.42, 0.20, 0.10,
    0.05, 0.05, 0.10, 0.18, 0.62,
    0.10, 0.10, 0.18, 0.52, 0.10,
    0.00, 0.05, 0.05, 0.55, 0.35,
    0.00, 0.00, 0.08, 0.10, 0.82,
];

fn ten_rows() -> Judged {
    Judged::new(5, &TARGETS, &DECIDED, &PROBABILITIES)
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn measures_agree_with_scikit_learn() {
    let found = ten_rows().measures();
    close(found.mse, 0.7);
    close(found.mae, 0.5);
    close(found.accuracy, 0.6);
    close(found.macro_f1, 0.6);
    close(found.kappa, 0.8471615720524017);
    close(found.rps, 0.0856775);
    close(found.log_loss, 0.8855539326961214);
    close(found.ece, 0.14);
}

#[test]
fn a_weight_is_a_repetition() {
    let weights = [2.0, 0.0, 1.0, 1.0, 3.0, 0.0, 1.0, 1.0, 1.0, 2.0];
    let found = ten_rows().weighted(|row| weights[row]);
    close(found.mse, 0.6666666666666666);
    close(found.macro_f1, 0.48);
    close(found.kappa, 0.8778625954198473);
    close(found.log_loss, 0.7784726948447359);
}

#[test]
fn a_tier_that_never_occurs_does_not_lower_macro_f1() {
    let without_four = |tiers: [u8; 10]| tiers.map(|tier| if tier == 4 { 3 } else { tier });
    let judged = Judged::new(5, &without_four(TARGETS), &without_four(DECIDED), &PROBABILITIES);
    close(judged.measures().macro_f1, 0.5833333333333333);
}

#[test]
fn perfect_certainty_is_perfect() {
    let judged = Judged::new(2, &[1, 2], &[1, 2], &[1.0, 0.0, 0.0, 1.0]);
    let expected = Measures {
        mse: 0.0,
        mae: 0.0,
        accuracy: 1.0,
        macro_f1: 1.0,
        kappa: 1.0,
        rps: 0.0,
        ece: 0.0,
        log_loss: 0.0,
    };
    assert_eq!(judged.measures(), expected);
}

#[test]
fn a_single_tier_leaves_nothing_to_agree_on_by_chance() {
    let judged = Judged::new(2, &[1, 1], &[1, 1], &[0.9, 0.1, 0.9, 0.1]);
    assert_eq!(judged.measures().kappa, 0.0);
    assert_eq!(judged.measures().accuracy, 1.0);
}

#[test]
fn a_certain_miss_has_a_finite_log_loss() {
    let judged = Judged::new(2, &[2], &[1], &[1.0, 0.0]);
    close(judged.measures().log_loss, -(1e-7_f64).ln());
    close(judged.measures().rps, 1.0);
}

#[test]
fn the_confusion_matrix_has_truths_in_rows() {
    let confusion = ten_rows().confusion();
    assert_eq!(confusion[0], [2, 1, 0, 0, 0]);
    assert_eq!(confusion[2], [0, 0, 1, 0, 1]);
    assert_eq!(confusion.iter().flatten().sum::<u64>(), 10);
}

#[test]
fn the_same_seed_gives_the_same_interval_and_it_holds_the_value() {
    let judged = ten_rows();
    let member: Vec<u32> = (0..10).map(|row| row / 2).collect();
    let bootstrap = |seed| Bootstrap::new(&judged, &member, 5, 200, seed);
    let (a, b) = (bootstrap(7).estimates(), bootstrap(7).estimates());
    assert_eq!(a, b);
    assert_ne!(a, bootstrap(8).estimates());
    for estimate in a.to_array() {
        assert!(estimate.low <= estimate.high);
    }
    assert!(a.accuracy.low < 0.6 && 0.6 < a.accuracy.high);
}

#[test]
fn a_model_does_not_differ_from_itself() {
    let judged = ten_rows();
    let member: Vec<u32> = (0..10).collect();
    let bootstrap = Bootstrap::new(&judged, &member, 10, 50, 1);
    for difference in bootstrap.minus(&bootstrap).to_array() {
        assert_eq!((difference.value, difference.low, difference.high), (0.0, 0.0, 0.0));
    }
}
