//! Decisions against the formula in 64 bits, coupling against probabilities that are known, and lengths that must be refused.

use alloc::{vec, vec::Vec};

use super::*;
use crate::engine::kernels::{
    Kernel,
    product::pack,
    trial::{Trial, noise},
};

const FEATURES: usize = 5;

/// A machine with noise for numbers; constants are vectors, coefficients, rho, A and B.
fn machine(likeness: Likeness, per_class: &[u32], probabilities: bool) -> (Svm, Trial, Vec<f32>, Vec<f32>) {
    let count = per_class.iter().sum::<u32>() as usize;
    let rows = (per_class.len() - 1).max(1);
    let vectors = noise(count * FEATURES);
    let coefficients = noise(count * (rows + 1)).split_off(count);
    let mut transposed = vec![0.0; vectors.len()];
    for (i, value) in vectors.iter().enumerate() {
        transposed[i % FEATURES * count + i / FEATURES] = *value;
    }
    let mut floats = pack(&transposed, FEATURES, count);
    let at = floats.len();
    floats.extend(&coefficients);
    let mut svm = Svm {
        x: 0,
        out: 1,
        label: Some(2),
        repeat: 1,
        features: FEATURES as u32,
        likeness,
        per_class: per_class.to_vec(),
        vectors: 0,
        coefficients: at as u32,
        rho: floats.len() as u32,
        sigmoids: None,
        one_class: false,
    };
    let pairs = svm.pairs();
    floats.extend((0..pairs).map(|i| i as f32 - 1.5));
    if probabilities {
        svm.sigmoids = Some(floats.len() as u32);
        floats.extend((0..pairs).map(|i| -0.5 - i as f32 / 8.0));
        floats.extend((0..pairs).map(|i| 0.25 - i as f32 / 8.0));
    }
    let made = vec![svm.width() as u32, 1];
    (
        svm.clone(),
        Trial { kernel: Kernel::Svm(svm), floats, fed: vec![FEATURES as u32], made },
        vectors,
        coefficients,
    )
}

#[allow(clippy::disallowed_methods)] // The measure may be the platform's.
fn alike(likeness: Likeness, xs: &[f32], vector: &[f32]) -> f64 {
    let both = || xs.iter().zip(vector).map(|(x, v)| (f64::from(*x), f64::from(*v)));
    let dot: f64 = both().map(|(x, v)| x * v).sum();
    match likeness {
        Likeness::Linear => dot,
        Likeness::Poly { gamma, coef0, degree } => {
            (f64::from(gamma) * dot + f64::from(coef0)).powf(f64::from(degree))
        }
        Likeness::Rbf { gamma } => {
            (-f64::from(gamma) * both().map(|(x, v)| (x - v).powi(2)).sum::<f64>()).exp()
        }
        Likeness::Sigmoid { gamma, coef0 } => (f64::from(gamma) * dot + f64::from(coef0)).tanh(),
    }
}

const ALL: [Likeness; 5] = [
    Likeness::Linear,
    Likeness::Poly { gamma: 0.1, coef0: 1.0, degree: 2.0 },
    Likeness::Poly { gamma: 0.05, coef0: 0.5, degree: 5.0 },
    Likeness::Rbf { gamma: 0.1 },
    Likeness::Sigmoid { gamma: 0.01, coef0: -0.5 },
];

#[test]
fn decisions_and_votes_are_the_formula_s() {
    for likeness in ALL {
        for per_class in [&[3, 4][..], &[9, 2, 8], &[1, 0, 5, 20]] {
            let (svm, trial, vectors, coefficients) = machine(likeness, per_class, false);
            let (classes, count) = (per_class.len(), vectors.len() / FEATURES);
            let class_of: Vec<usize> =
                per_class.iter().enumerate().flat_map(|(class, n)| vec![class; *n as usize]).collect();
            let xs = noise(11 * FEATURES);
            let (scores, labels) = (trial.run(11, &[&xs], 1), trial.run(11, &[&xs], 2));
            for ((xs, scores), label) in xs.chunks(FEATURES).zip(scores.chunks(svm.pairs())).zip(labels) {
                let mut votes = vec![0; classes];
                let mut scores = scores.iter();
                for i in 0..classes {
                    for j in i + 1..classes {
                        let mut sum = f64::from(trial.floats[svm.rho as usize + pair(classes, i, j)]);
                        let mut scale = sum.abs();
                        for v in 0..count {
                            let row = if class_of[v] == i { j - 1 } else { i };
                            if [i, j].contains(&class_of[v]) {
                                let alike = alike(likeness, xs, &vectors[v * FEATURES..][..FEATURES]);
                                sum += f64::from(coefficients[row * count + v]) * alike;
                                scale += f64::from(coefficients[row * count + v]).abs() * alike.abs();
                            }
                        }
                        let score = f64::from(*scores.next().unwrap());
                        assert!((score - sum).abs() <= 2e-6 * scale, "{likeness:?}: {score}, expected {sum}");
                        votes[if sum > 0.0 { i } else { j }] += 1;
                    }
                }
                let most = votes.iter().max().unwrap();
                assert_eq!(label as usize, votes.iter().position(|n| n == most).unwrap());
            }
        }
    }
}

#[test]
fn a_regression_is_one_sum_and_one_class_its_sign() {
    let (mut svm, mut trial, vectors, coefficients) = machine(Likeness::Rbf { gamma: 0.1 }, &[13], false);
    let xs = noise(4 * FEATURES);
    let found = trial.run(4, &[&xs], 1);
    for (xs, found) in xs.chunks(FEATURES).zip(&found) {
        let terms = vectors.chunks(FEATURES).zip(&coefficients);
        let sum = terms.fold(-1.5, |sum, (v, c)| sum + f64::from(*c) * alike(svm.likeness, xs, v));
        assert!((f64::from(*found) - sum).abs() < 1e-5, "{found}, expected {sum}");
    }
    svm.one_class = true;
    trial.kernel = Kernel::Svm(svm);
    let signs: Vec<f32> = found.iter().map(|x| if *x > 0.0 { 1.0 } else { -1.0 }).collect();
    assert_eq!(trial.run(4, &[&xs], 1), signs);
}

/// Sets decisions, by rho alone, to what probabilities p say of each pair.
fn coupled(p: &[f32]) -> Vec<f32> {
    let (svm, mut trial, ..) = machine(Likeness::Linear, &vec![1; p.len()], true);
    let [coefficients, rho, sigmoids] =
        [svm.coefficients, svm.rho, svm.sigmoids.unwrap()].map(|at| at as usize);
    trial.floats[coefficients..rho].fill(0.0);
    trial.floats[sigmoids..sigmoids + svm.pairs()].fill(-1.0);
    trial.floats[sigmoids + svm.pairs()..].fill(0.0);
    for i in 0..p.len() {
        for j in i + 1..p.len() {
            trial.floats[rho + pair(p.len(), i, j)] = (p[i] / p[j]).ln();
        }
    }
    trial.run(1, &[&[0.0; FEATURES]], 1)
}

#[test]
fn coupling_recovers_probabilities_that_their_pairs_agree_on() {
    for p in [&[0.7_f32, 0.3][..], &[0.2, 0.5, 0.3], &[0.05, 0.6, 0.1, 0.25]] {
        let found = coupled(p);
        assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        for (found, p) in found.iter().zip(p) {
            assert!((found - p).abs() < 0.005, "{found}, expected {p}");
        }
    }
}

#[test]
fn probabilities_of_anything_are_probabilities() {
    let (svm, trial, ..) = machine(Likeness::Sigmoid { gamma: 0.1, coef0: 0.0 }, &[3, 1, 5, 2], true);
    let mut xs = noise(9 * FEATURES);
    xs[7] = f32::NAN;
    xs[13] = f32::INFINITY;
    for row in trial.run(9, &[&xs], 1).chunks(svm.classes()) {
        assert!(row.iter().all(|p| (0.0..=1.0).contains(p)), "{row:?}");
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{row:?}");
    }
}

#[test]
fn lengths_that_reach_out_of_bounds_are_refused() {
    let (svm, mut trial, ..) = machine(Likeness::Linear, &[3, 4, 5], true);
    trial.plan().unwrap();
    let changes: [&dyn Fn(&mut Svm); 10] = [
        &|svm| svm.features = 6,
        &|svm| svm.features = 0,
        &|svm| svm.per_class.push(1),
        &|svm| svm.per_class = vec![],
        &|svm| svm.per_class = vec![1; MAX_CLASSES + 1],
        &|svm| svm.per_class = vec![u32::MAX; 3],
        &|svm| svm.rho += 100,
        &|svm| svm.sigmoids = Some(u32::MAX),
        &|svm| svm.out = 0,
        &|svm| svm.label = Some(1),
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut changed = svm.clone();
        change(&mut changed);
        trial.kernel = Kernel::Svm(changed);
        assert!(trial.plan().is_err(), "change {i}");
    }
}
