//! Linear models: one layer, a convex loss with an L2 penalty, solved with all rows at once by L-BFGS (Liu & Nocedal
//! 1989) with a line search.

use burn::{
    module::{Module, Param},
    nn::Linear,
    optim::{GradientsParams, LBFGSConfig, LineSearchFn},
    tensor::{Device, Tensor, TensorData, activation},
};

use super::{
    Activation, CurvePoint, Fitted, Layer, Model, Network, Rows, mix,
    network::{matrix, numbers},
    ordinal::{self, Link},
};

/// Penalties tried: λ in `mean loss + λ/2 · Σ w²`.
const PENALTIES: [f64; 4] = [1e-4, 1e-3, 1e-2, 3e-2];
/// Share of the training members on which penalties are compared.
const ASIDE: f64 = 0.2;
/// Rows on which penalties are compared at most; beyond that the choice hardly moves.
const MOST_COMPARED: usize = 20_000;
/// Iterations between points of the learning curve.
const STRIDE: usize = 10;
/// Iterations after which the solver stops at the latest.
const MOST_ITERATIONS: usize = 120;
/// Relative improvement in [`STRIDE`] iterations below which it stops.
const ENOUGH: f64 = 1e-5;

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

/// Chooses the penalty on members set aside, then trains on all rows.
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
    let compared = rows.sample(MOST_COMPARED, seed);
    let (aside, inner) = compared.part(ASIDE, mix(seed));
    let (inner, aside) = (Problem::new(objective, tiers, &inner), Problem::new(objective, tiers, &aside));
    let mut best: Option<(f64, f64, Vec<CurvePoint>)> = None;
    for penalty in PENALTIES {
        let (_, curve) = inner.minimise(penalty, Some(&aside));
        let loss = curve.last().map_or(f64::INFINITY, |point| point.validation);
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, penalty, curve));
        }
    }
    let (_, penalty, curve) = best.unwrap_or((0.0, PENALTIES[0], Vec::new()));
    let problem = Problem::new(objective, tiers, rows);
    let (layer, _) = problem.minimise(penalty, None);
    Solved { network: problem.network(&layer), curve, penalty }
}

/// Rows as tensors.
struct Problem {
    objective: Objective,
    tiers: usize,
    rows: usize,
    x: Tensor<2>,
    /// The tier, its one-hot code, or +1 at the tier and −1 elsewhere.
    y: Tensor<2>,
}

impl Problem {
    fn new(objective: Objective, tiers: usize, rows: &Rows) -> Self {
        let device = Device::flex().autodiff();
        let code = |tier: &u8, k: usize, off: f32| if usize::from(*tier) == k { 1.0 } else { off };
        let coded = |off| {
            rows.targets.iter().flat_map(move |tier| (1..=tiers).map(move |k| code(tier, k, off))).collect()
        };
        let y: Vec<f32> = match objective {
            Objective::SquaredError => rows.targets.iter().map(|tier| f32::from(*tier)).collect(),
            Objective::CrossEntropy | Objective::ProportionalOdds => coded(0.0),
            Objective::SquaredHinge => coded(-1.0),
        };
        let n = rows.len();
        let width = y.len() / n;
        Self {
            objective,
            tiers,
            rows: n,
            x: matrix(rows.inputs.clone(), n, rows.width, &device),
            y: matrix(y, n, width, &device),
        }
    }

    /// The mean loss without the penalty.
    fn loss(&self, layer: &Linear) -> Tensor<1> {
        let sums = || layer.forward(self.x.clone());
        let total = match self.objective {
            Objective::SquaredError => (sums() - self.y.clone()).square().sum().mul_scalar(0.5),
            Objective::CrossEntropy => (activation::log_softmax(sums(), 1) * self.y.clone()).sum().neg(),
            Objective::SquaredHinge => activation::relu((sums() * self.y.clone()).neg().add_scalar(1.0))
                .square()
                .sum()
                .mul_scalar(0.5),
            Objective::ProportionalOdds => self.proportional_odds(layer),
        };
        total.div_scalar(self.rows as f64)
    }

    /// The total of −ln P(true tier).
    fn proportional_odds(&self, layer: &Linear) -> Tensor<1> {
        let (bias, steps) = ordinal::falling(free(layer));
        let scores = Link::Cumulative.scores(self.x.clone().matmul(layer.weight.val()) + bias);
        let inner = steps.map(|steps| (ordinal::between(steps) * self.y.clone().sum_dim(0)).sum());
        let total = (scores * self.y.clone()).sum();
        inner.into_iter().fold(total, |total, inner| total + inner).neg()
    }

    fn minimise(&self, penalty: f64, aside: Option<&Self>) -> (Linear, Vec<CurvePoint>) {
        let mut layer = self.start();
        let mut solver = LBFGSConfig::new()
            .with_max_iter(STRIDE)
            .with_max_eval(Some(3 * STRIDE))
            .with_history_size(10)
            .with_line_search_fn(LineSearchFn::StrongWolfe)
            .init();
        let (mut curve, mut before) = (Vec::new(), f64::INFINITY);
        for step in (STRIDE..=MOST_ITERATIONS).step_by(STRIDE) {
            let (next, now) = solver.step(1.0, layer, |layer: Linear| self.slope(&layer, penalty));
            layer = next;
            if let Some(aside) = aside {
                let loss = |problem: &Self| problem.loss(&layer).into_scalar::<f64>();
                curve.push(CurvePoint { step: step as u32, train: loss(self), validation: loss(aside) });
            }
            if before - now <= ENOUGH * now.abs() {
                break;
            }
            before = now;
        }
        (layer, curve)
    }

    /// The penalised loss and its gradient.
    fn slope(&self, layer: &Linear, penalty: f64) -> (f64, GradientsParams) {
        let weight = layer.weight.val();
        let loss = self.loss(layer) + weight.square().sum().mul_scalar(penalty / 2.0);
        let value = loss.clone().into_scalar::<f64>();
        (value, GradientsParams::from_grads(loss.backward(), layer))
    }

    /// Weights of 0; the biases of what has an order start where they give the mean tier, or the tiers' shares.
    fn start(&self) -> Linear {
        let device = self.x.device();
        let (outputs, bias) = match self.objective {
            Objective::SquaredError => (1, vec![self.y.clone().mean().into_scalar::<f32>()]),
            Objective::CrossEntropy | Objective::SquaredHinge => (self.tiers, vec![0.0; self.tiers]),
            Objective::ProportionalOdds => (1, ordinal::free(&numbers(self.y.clone().sum_dim(0)))),
        };
        let biases = bias.len();
        let bias = Tensor::<1>::from_data(TensorData::new(bias, [biases]), &device);
        let weight = Tensor::<2>::zeros([self.x.dims()[1], outputs], &device);
        Linear { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)) }
    }

    /// The layer with what turns its sums into probabilities.
    fn network(&self, layer: &Linear) -> Network {
        let layer = layer.valid();
        let weight = numbers(layer.weight.val());
        let bias = layer.bias.as_ref().map(|bias| numbers(bias.val())).unwrap_or_default();
        let sums = || numbers(layer.forward(self.x.clone().inner()));
        match self.objective {
            Objective::SquaredError => {
                let halves: Vec<f64> = (1..self.tiers).map(|k| k as f64 + 0.5).collect();
                Network::normal(&weight, f64::from(bias[0]), self.spread(&sums()), &halves)
            }
            Objective::CrossEntropy => self.softmax(weight, bias, 1.0),
            Objective::SquaredHinge => {
                let scale = self.scale(&sums());
                self.softmax(weight, bias, scale)
            }
            Objective::ProportionalOdds => {
                let bias = numbers(ordinal::falling(free(&layer)).0);
                let [logarithms, tiers] = Link::Cumulative.layers(&vec![1.0; bias.len()], &bias);
                let inputs = weight.len();
                let score =
                    Layer { inputs, outputs: 1, weight, bias: vec![0.0], activation: Activation::None };
                Network { layers: vec![score, logarithms, tiers] }
            }
        }
    }

    fn softmax(&self, weight: Vec<f32>, bias: Vec<f32>, scale: f32) -> Network {
        let scaled = |numbers: Vec<f32>| numbers.into_iter().map(|x| x * scale).collect();
        Network {
            layers: vec![Layer {
                inputs: self.x.dims()[1],
                outputs: self.tiers,
                weight: scaled(weight),
                bias: scaled(bias),
                activation: Activation::Softmax,
            }],
        }
    }

    /// Standard deviation of what the regression leaves over.
    fn spread(&self, sums: &[f32]) -> f64 {
        let errors =
            numbers(self.y.clone().inner()).into_iter().zip(sums).map(|(y, x)| f64::from(y - x).powi(2));
        let freedom = self.rows.saturating_sub(self.x.dims()[1] + 1).max(1);
        (errors.sum::<f64>() / freedom as f64).sqrt().max(1e-3)
    }

    /// The factor on the margins that makes their softmax most likely (Platt 1999, with one number for all tiers).
    fn scale(&self, sums: &[f32]) -> f32 {
        let y = numbers(self.y.clone().inner());
        let log_loss = |scale: f64| -> f64 {
            sums.chunks(self.tiers)
                .zip(y.chunks(self.tiers))
                .map(|(sums, y)| cross_entropy(sums, y, scale))
                .sum()
        };
        let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
        let (mut low, mut high) = (-3.0_f64, 4.0_f64);
        while high - low > 1e-3 {
            let (a, b) = (high - ratio * (high - low), low + ratio * (high - low));
            if log_loss(a.exp()) < log_loss(b.exp()) { high = b } else { low = a }
        }
        f64::midpoint(low, high).exp() as f32
    }
}

/// The biases as a row.
fn free(layer: &Linear) -> Tensor<2> {
    let bias = layer.bias.as_ref().map(|bias| bias.val().unsqueeze());
    bias.unwrap_or_else(|| Tensor::zeros([1, 1], &layer.weight.val().device()))
}

fn cross_entropy(sums: &[f32], y: &[f32], scale: f64) -> f64 {
    let total: f64 = sums.iter().map(|x| (scale * f64::from(*x)).exp()).sum();
    let truth = sums.iter().zip(y).find(|(_, y)| **y > 0.0).map_or(0.0, |(x, _)| f64::from(*x));
    total.ln() - scale * truth
}
