//! Figures against scikit-learn's and by hand, and what must hold of any order.

use serde::Deserialize;

use super::{
    curve::{at, figures, points},
    *,
};
use crate::{mix, uplift::qini::Order};

/// A number in 0…1 that depends on the seed alone.
pub(super) fn uniform(seed: u64) -> f64 {
    (mix(seed) >> 11) as f64 / (1_u64 << 53) as f64
}

/// About a standard normal number: the sum of twelve uniform ones, less six.
pub(super) fn normal(seed: u64) -> f64 {
    (0..12).map(|part| uniform(seed * 12 + part)).sum::<f64>() - 6.0
}

/// Normal numbers.
pub(super) fn rows(n: u64, width: u64, seed: u64) -> Inputs {
    let numbers = (0..n * width).map(|at| normal(seed * 1_000_003 + at) as f32);
    Inputs::new(width as usize, numbers.collect()).unwrap()
}

/// What scikit-learn says; tests/conformance/risk.py writes the file.
#[derive(Deserialize)]
struct Theirs {
    curves: Vec<Drawn>,
    /// Rows of a node and c of them.
    paths: Vec<(usize, f64)>,
}

#[derive(Deserialize)]
struct Drawn {
    name: String,
    scores: Vec<f64>,
    fraud: Vec<bool>,
    times: Vec<f64>,
    auc: f64,
    average_precision: f64,
    weighted_auc: f64,
    weighted_average_precision: f64,
    /// From the highest score on.
    precision: Vec<f64>,
    recall: Vec<f64>,
}

#[test]
fn figures_are_those_of_scikit_learn() {
    let Theirs { curves, paths } =
        serde_json::from_str(include_str!("../../../../tests/conformance/risk.json")).unwrap();
    assert!(curves.len() >= 6 && paths.len() >= 7);
    for (rows, path) in paths {
        assert!((isolation::path(rows) - path).abs() < 1e-9, "{rows}: {path}");
    }
    for case in curves {
        let order = Order::new(&case.scores);
        let near = |found: f64, theirs: f64| {
            assert!((found - theirs).abs() < 1e-9, "{}: {found} {theirs}", case.name);
        };
        let plain = figures(&order, &case.fraud, |_| 1.0).unwrap();
        near(plain.auc, case.auc);
        near(plain.average_precision, case.average_precision);
        let weighted = figures(&order, &case.fraud, |at| case.times[at]).unwrap();
        near(weighted.auc, case.weighted_auc);
        near(weighted.average_precision, case.weighted_average_precision);
        let found = points(&order, &case.fraud);
        assert_eq!(found.len(), case.recall.len(), "{}", case.name);
        for (point, (precision, recall)) in found.iter().zip(case.precision.iter().zip(&case.recall)) {
            near(point.precision, *precision);
            near(point.recall, *recall);
        }
    }
}

#[test]
fn figures_are_counted_by_hand() {
    // Falling: a fraud; a fraud and another tied; another; a fraud.
    let scores = [0.9, 0.7, 0.7, 0.4, 0.1];
    let fraud = [true, true, false, false, true];
    let found = figures(&Order::new(&scores), &fraud, |_| 1.0).unwrap();
    // Of six pairs the first fraud wins two, the second one and a half, the third none.
    assert!((found.auc - 3.5 / 6.0).abs() < 1e-12, "{found:?}");
    // A third each of precision 1, 2/3 and 3/5.
    assert!((found.average_precision - (1.0 + 2.0 / 3.0 + 0.6) / 3.0).abs() < 1e-12, "{found:?}");
    // Two rows are the first and half of the tied ones: one fraud and half a fraud.
    let two = at(&Order::new(&scores), &fraud, 2.0);
    assert!((two.recall - 0.5).abs() < 1e-12 && (two.precision - 0.75).abs() < 1e-12, "{two:?}");
    let all = at(&Order::new(&scores), &fraud, 99.0);
    assert_eq!((all.taken, all.recall, all.precision), (5.0, 1.0, 0.6));
    assert_eq!(figures(&Order::new(&scores), &[true; 5], |_| 1.0), None);
    assert_eq!(figures(&Order::new(&scores), &[false; 5], |_| 1.0), None);
    assert!(points(&Order::new(&scores), &[false; 5]).is_empty());
}

#[test]
fn figures_know_nothing_but_the_order() {
    for seed in 0..20 {
        // With many ties.
        let scores: Vec<f64> = (0..80).map(|at| (normal(seed * 100 + at) * 3.0).round()).collect();
        let fraud: Vec<bool> = (0..80).map(|at| uniform(seed * 1000 + at + 5_000_000) < 0.2).collect();
        let of = |scores: &[f64]| figures(&Order::new(scores), &fraud, |_| 1.0);
        let transformed: Vec<f64> = scores.iter().map(|x| (x / 7.0).exp() * 3.0 - 40.0).collect();
        assert_eq!(of(&scores), of(&transformed));
        // In the other direction frauds win where they lost.
        let turned: Vec<f64> = scores.iter().map(|x| -x).collect();
        let (there, back) = (of(&scores).unwrap(), of(&turned).unwrap());
        assert!((there.auc + back.auc - 1.0).abs() < 1e-12);
        // Rows in another order are the same rows.
        let places: Vec<usize> = (0..80).map(|at| at * 37 % 80).collect();
        let moved: Vec<f64> = places.iter().map(|at| scores[*at]).collect();
        let moved_fraud: Vec<bool> = places.iter().map(|at| fraud[*at]).collect();
        let found = figures(&Order::new(&moved), &moved_fraud, |_| 1.0).unwrap();
        assert!((found.average_precision - there.average_precision).abs() < 1e-12);
        // Without any order, they are what chance gives.
        let none = of(&[1.0; 80]).unwrap();
        let share = fraud.iter().filter(|fraud| **fraud).count() as f64 / 80.0;
        assert!((none.auc - 0.5).abs() < 1e-12 && (none.average_precision - share).abs() < 1e-12);
    }
}

#[test]
fn a_row_that_counts_twice_is_two_rows() {
    let scores: Vec<f64> = (0..60).map(|at| (normal(at) * 4.0).round()).collect();
    let fraud: Vec<bool> = (0..60).map(|at| uniform(at + 777) < 0.3).collect();
    let times = |at: usize| [0.0, 1.0, 2.0][at % 3];
    let weighted = figures(&Order::new(&scores), &fraud, times).unwrap();
    let places: Vec<usize> = (0..60).flat_map(|at| vec![at; times(at) as usize]).collect();
    let scores: Vec<f64> = places.iter().map(|at| scores[*at]).collect();
    let fraud: Vec<bool> = places.iter().map(|at| fraud[*at]).collect();
    let repeated = figures(&Order::new(&scores), &fraud, |_| 1.0).unwrap();
    assert!((weighted.auc - repeated.auc).abs() < 1e-12);
    assert!((weighted.average_precision - repeated.average_precision).abs() < 1e-12);
}

#[test]
fn inputs_are_whole_and_finite() {
    assert!(Inputs::new(0, Vec::new()).is_err() && Inputs::new(2, vec![1.0; 3]).is_err());
    let infinite = Inputs::new(2, vec![1.0, 2.0, 3.0, f32::INFINITY]).unwrap_err().to_string();
    assert!(infinite.contains("row 2: input 2"), "{infinite}");
    let inputs = Inputs::new(2, vec![1.0, f32::NAN, 5.0, 2.0, 3.0, 4.0, 9.0, f32::NAN]).unwrap();
    assert_eq!(inputs.medians(), [3.0, 2.0]);
    assert_eq!(inputs.select(&[2, 0]).row(0), [3.0, 4.0]);
    let more = inputs.beside(&[&[0.5, 1.5, 2.5, 3.5]]);
    assert_eq!((more.width(), more.row(2)), (3, &[3.0, 4.0, 2.5][..]));
}
