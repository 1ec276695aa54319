//! Linear models: one layer, a convex loss with an L2 penalty, solved with all rows at once, by L-BFGS from a guess at the
//! second derivatives ([`problem`]), or in closed form where the loss is a squared error.

use super::{Activation, CurvePoint, Fitted, Layer, Model, Network, Rows, mix, moments, ordinal::Link};

mod blocks;
mod lbfgs;
mod losses;
mod problem;

use problem::Problem;

/// Penalties tried: λ in `mean loss + λ/2 · Σ w²`.
const PENALTIES: [f64; 4] = [1e-4, 1e-3, 1e-2, 3e-2];
/// Share of the training members on which penalties are compared.
const ASIDE: f64 = 0.2;
/// Rows on which penalties are compared at most; beyond that the choice hardly moves.
const MOST_COMPARED: usize = 20_000;
/// Keeps the regression's distribution proper where every row is hit exactly.
const SMALLEST_SPREAD: f64 = 1e-3;

/// What is minimised, a mean over rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Objective {
    /// ½ (x·w + b − tier)².
    SquaredError,
    /// −ln softmax(x·W + b) at the true tier.
    CrossEntropy,
    /// ½ Σ over tiers of max(0, 1 ∓ (x·W + b))².
    SquaredHinge,
    /// −ln of the true tier's probability where P(tier > k) = σ(x·w + bₖ) with falling bₖ.
    ProportionalOdds,
}

/// Chooses the penalty on members set aside, or in an inner cross-validation, then trains on all rows.
pub(super) fn fit(objective: Objective, tiers: usize, rows: &Rows, seed: u64) -> Fitted {
    let solved = solve(objective, tiers, rows, seed);
    Fitted { model: Model::Network(solved.network), curve: solved.curve, l2: Some(solved.penalty) }
}

/// The network, and how the penalty was chosen.
pub(super) struct Solved {
    pub(super) network: Network,
    pub(super) curve: Vec<CurvePoint>,
    pub(super) penalty: f64,
}

/// The same as [`fit`] for who joins networks.
pub(super) fn solve(objective: Objective, tiers: usize, rows: &Rows, seed: u64) -> Solved {
    if objective == Objective::SquaredError {
        return least_squares(tiers, rows, seed);
    }
    let compared = rows.sample(MOST_COMPARED, seed);
    let (aside, inner) = compared.part(ASIDE, mix(seed));
    let (inner, aside) = (Problem::new(objective, tiers, &inner), Problem::new(objective, tiers, &aside));
    let mut best: Option<(f64, f64, Vec<Vec<f64>>)> = None;
    for penalty in PENALTIES {
        let path = inner.minimise(penalty, inner.start());
        let loss = path.last().map_or(f64::INFINITY, |x| aside.loss(x));
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, penalty, path));
        }
    }
    let (_, penalty, path) = best.unwrap_or((0.0, PENALTIES[0], Vec::new()));
    let point = |(step, x): (usize, &Vec<f64>)| CurvePoint {
        step: step as u32,
        train: inner.loss(x),
        validation: aside.loss(x),
    };
    let curve = path.iter().enumerate().skip(1).map(point).collect();
    let problem = Problem::new(objective, tiers, rows);
    // What some of the rows gave is near to what all of them give.
    let start = path.last().cloned().unwrap_or_else(|| problem.start());
    let solution = problem.minimise(penalty, start).pop().unwrap_or_else(|| problem.start());
    Solved { network: network(&problem, &solution), curve, penalty }
}

/// The cross-entropy's minimum at a penalty that was chosen elsewhere: a linear layer into a softmax.
pub(super) fn logistic(tiers: usize, rows: &Rows, penalty: f64) -> Network {
    let problem = Problem::new(Objective::CrossEntropy, tiers, rows);
    let solution = problem.minimise(penalty, problem.start()).pop().unwrap_or_else(|| problem.start());
    network(&problem, &solution)
}

/// The squared error, whose minimum has a closed form and no curve on the way. Its penalty is chosen as [`super::ridge`]
/// does: several folds cost no more than one, and say more.
fn least_squares(tiers: usize, rows: &Rows, seed: u64) -> Solved {
    let target = |at: usize| f64::from(rows.targets[at]);
    let (all, penalty, _) = moments::cross_validated(rows, seed, &PENALTIES, target);
    let solution = all.solve(penalty);
    let freedom = rows.len().saturating_sub(rows.width + 1).max(1);
    let spread = (all.error(&solution) / freedom as f64).sqrt().max(SMALLEST_SPREAD);
    let weight: Vec<f32> = solution.weight.iter().map(|w| *w as f32).collect();
    let halves: Vec<f64> = (1..tiers).map(|k| k as f64 + 0.5).collect();
    Solved { network: Network::normal(&weight, solution.bias, spread, &halves), curve: Vec::new(), penalty }
}

/// The solution's layer with what turns its sums into probabilities.
fn network(problem: &Problem, solution: &[f64]) -> Network {
    let weight = problem.weight(solution);
    let bias = problem.bias(solution);
    match problem.objective {
        Objective::ProportionalOdds => {
            let [logarithms, tiers] = Link::Cumulative.layers(&vec![1.0; bias.len()], &bias);
            let inputs = weight.len();
            let score = Layer { inputs, outputs: 1, weight, bias: vec![0.0], activation: Activation::None };
            Network { layers: vec![score, logarithms, tiers] }
        }
        _ => {
            let scale =
                if problem.objective == Objective::SquaredHinge { problem.scale(solution) } else { 1.0 };
            let scaled = |numbers: Vec<f32>| numbers.into_iter().map(|x| x * scale).collect();
            Network {
                layers: vec![Layer {
                    inputs: weight.len() / problem.tiers,
                    outputs: problem.tiers,
                    weight: scaled(weight),
                    bias: scaled(bias),
                    activation: Activation::Softmax,
                }],
            }
        }
    }
}

#[cfg(test)]
mod tests;
