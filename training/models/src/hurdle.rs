//! A hurdle (Mullahy 1986), for shops where most members lapse: one model says how likely a member goes beyond the first
//! tier, and another, which learns from the rows beyond it alone, which tier that is.
//!
//! ln P(1) = ln(1 − h) and ln P(k) = ln h + ln P(k | beyond). Both models end in sums of ln(1 + exp), and so the product is
//! one such network.

use anyhow::ensure;

use super::{
    Fitted, Layer, Model, Network, Rows,
    convex::{self, Objective},
};

/// Logistic regression, and ordered logistic regression. The curve and the penalty that are kept are those of the first.
///
/// # Errors
/// When no row is beyond the first tier.
pub(super) fn fit(tiers: usize, rows: &Rows, seed: u64) -> anyhow::Result<Fitted> {
    let mut whether = rows.clone();
    whether.targets.iter_mut().for_each(|tier| *tier = (*tier).min(2));
    let whether = convex::solve(Objective::ProportionalOdds, 2, &whether, seed);
    let network = if tiers == 2 {
        whether.network
    } else {
        let beyond: Vec<usize> = (0..rows.len()).filter(|at| rows.targets[*at] > 1).collect();
        ensure!(
            !beyond.is_empty(),
            "every training row is in the first tier, so the hurdle has nothing to learn about the others; \
             take \"hurdle\" out of [train] models, or look at [tiers]"
        );
        let mut which = rows.select(&beyond);
        which.targets.iter_mut().for_each(|tier| *tier -= 1);
        let which = convex::solve(Objective::ProportionalOdds, tiers - 1, &which, seed);
        product(&whether.network.layers, &which.network.layers)
    };
    Ok(Fitted { model: Model::Network(network), curve: whether.curve, l2: Some(whether.penalty) })
}

/// The two as one: their scores and the logarithms of them side by side, and those of going beyond added to each tier
/// there.
fn product(whether: &[Layer], which: &[Layer]) -> Network {
    let (a, b) = (&whether[0], &which[0]);
    let pairs = a.weight.chunks(a.outputs).zip(b.weight.chunks(b.outputs));
    let weight = pairs.flat_map(|(a, b)| [a, b].concat()).collect();
    let scores = Layer { inputs: a.inputs, ..beside(a, b, weight) };
    let (a, b) = (&whether[1], &which[1]);
    let of_whether = a.weight.chunks(a.outputs).flat_map(|w| [w, &vec![0.0; b.outputs]].concat());
    let of_which = b.weight.chunks(b.outputs).flat_map(|w| [&vec![0.0; a.outputs], w].concat());
    let logarithms = beside(a, b, of_whether.chain(of_which).collect());
    let (a, b) = (&whether[2], &which[2]);
    let of_whether = a.weight.chunks(2).flat_map(|w| [vec![w[0]], vec![w[1]; b.outputs]].concat());
    let of_which = b.weight.chunks(b.outputs).flat_map(|w| [&[0.0], w].concat());
    let tiers = Layer {
        inputs: a.inputs + b.inputs,
        outputs: 1 + b.outputs,
        weight: of_whether.chain(of_which).collect(),
        bias: [&[0.0], b.bias.as_slice()].concat(),
        activation: b.activation,
    };
    Network { layers: vec![scores, logarithms, tiers] }
}

/// A layer that gives what both give.
fn beside(a: &Layer, b: &Layer, weight: Vec<f32>) -> Layer {
    Layer {
        inputs: a.inputs + b.inputs,
        outputs: a.outputs + b.outputs,
        weight,
        bias: [a.bias.as_slice(), &b.bias].concat(),
        activation: a.activation,
    }
}
