//! That derivatives are those of the losses, losses those of what is kept, and minima minima.

use super::{problem::Problem, *};
use crate::tests::ladder;

const OBJECTIVES: [Objective; 3] =
    [Objective::CrossEntropy, Objective::SquaredHinge, Objective::ProportionalOdds];

/// Some point that is not the start.
fn somewhere(problem: &Problem) -> Vec<f64> {
    problem.start().into_iter().enumerate().map(|(at, x)| x + 0.3 * (at as f64 * 1.7).sin()).collect()
}

#[test]
fn derivatives_are_what_differences_say() {
    for objective in OBJECTIVES {
        let problem = Problem::new(objective, 4, &ladder(600, 4));
        let x = somewhere(&problem);
        let mut gradient = vec![0.0; x.len()];
        problem.slope(&x, &mut gradient);
        for at in 0..x.len() {
            let moved = |by: f64| {
                let mut moved = x.clone();
                moved[at] += by;
                problem.loss(&moved)
            };
            let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!(
                (gradient[at] - difference).abs() < 2e-4,
                "{objective:?} {at}: {gradient:?} {difference}"
            );
        }
    }
}

#[test]
fn the_loss_is_that_of_the_network_that_is_kept() {
    let rows = ladder(700, 4);
    for objective in [Objective::CrossEntropy, Objective::ProportionalOdds] {
        let problem = Problem::new(objective, 4, &rows);
        for x in [problem.start(), somewhere(&problem)] {
            let p = network(&problem, &x).probabilities(&rows.inputs);
            let losses =
                p.chunks(4).zip(&rows.targets).map(|(p, tier)| -f64::from(p[usize::from(*tier) - 1]).ln());
            let loss = losses.sum::<f64>() / 700.0;
            assert!((problem.loss(&x) - loss).abs() < 1e-5, "{objective:?}: {} {loss}", problem.loss(&x));
        }
    }
}

#[test]
fn it_starts_at_the_shares() {
    let mut rows = ladder(400, 4);
    rows.targets.iter_mut().enumerate().for_each(|(at, tier)| *tier = [1, 1, 1, 3, 4][at % 5]);
    for objective in [Objective::CrossEntropy, Objective::ProportionalOdds] {
        let problem = Problem::new(objective, 4, &rows);
        let p = network(&problem, &problem.start()).probabilities(rows.row(0));
        let shares = [0.6, 0.0, 0.2, 0.2];
        assert!(p.iter().zip(shares).all(|(p, share)| (p - share).abs() < 0.003), "{objective:?} {p:?}");
    }
}

#[test]
fn at_the_minimum_the_loss_rises_with_the_penalty_alone() {
    let rows = ladder(900, 3);
    for objective in OBJECTIVES {
        let problem = Problem::new(objective, 3, &rows);
        let penalty = 0.01;
        let x = problem.minimise(penalty, problem.start()).pop().unwrap();
        let mut gradient = vec![0.0; x.len()];
        problem.slope(&x, &mut gradient);
        for (at, (g, x)) in gradient.iter().zip(&x).enumerate() {
            // Each output has a bias and two weights; what comes after them is not penalised.
            let outputs = if objective == Objective::ProportionalOdds { 3 } else { 9 };
            let weighed = if at % 3 > 0 && at < outputs { penalty * x } else { 0.0 };
            assert!((g + weighed).abs() < 3e-4, "{objective:?} {at}: {g} {weighed}");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let rows = ladder(9000, 3);
    for objective in OBJECTIVES {
        let fit = |threads| super::super::threads::allow(threads, || solve(objective, 3, &rows, 1).network);
        assert!(fit(1) == fit(3), "{objective:?}");
    }
}

#[test]
fn margins_are_scaled_to_the_least_loss() {
    let rows = ladder(900, 3);
    let problem = Problem::new(Objective::SquaredHinge, 3, &rows);
    let x = problem.minimise(1e-3, problem.start()).pop().unwrap();
    let found = network(&problem, &x);
    let loss = |scale: f32| {
        let mut network = found.clone();
        let layer = &mut network.layers[0];
        layer.weight.iter_mut().chain(&mut layer.bias).for_each(|x| *x *= scale);
        let p = network.probabilities(&rows.inputs);
        p.chunks(3).zip(&rows.targets).map(|(p, tier)| -p[usize::from(*tier) - 1].ln()).sum::<f32>()
    };
    assert!(
        loss(1.0) <= loss(1.02) && loss(1.0) <= loss(0.98),
        "{} {} {}",
        loss(0.98),
        loss(1.0),
        loss(1.02)
    );
}
