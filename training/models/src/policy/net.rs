//! The small network that policies are: linear, or with one hidden layer of ReLU, in 64 bits, trained row by row.
//!
//! Of our own rather than Burn's, because what policies learn by is a slope at the outputs, made of each row's action and
//! propensity, and a few hundred weights are no work for a tensor library. It becomes a [`Network`] to be exported.

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{Activation, Layer, Network};

/// Rows whose slopes are joined for one step.
const BATCH: usize = 64;
/// Adam's decays and its guard against a division by zero (Kingma & Ba 2015).
const DECAYS: (f64, f64) = (0.9, 0.999);
const TINY: f64 = 1e-8;

/// `outputs = W₂ · relu(W₁ · x + b₁) + b₂`, or `W₂ · x + b₂` without a hidden layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Net {
    inputs: usize,
    hidden: usize,
    outputs: usize,
    /// W₁ (an input's weights together), b₁, W₂, b₂.
    weights: Vec<f64>,
}

/// What a row's pass through a net leaves for the way back.
struct Pass {
    hidden: Vec<f64>,
    outputs: Vec<f64>,
}

/// How a net is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// Adam's learning rate.
    pub rate: f64,
    /// Weight of the L2 penalty on the weights, not on the biases.
    pub l2: f64,
}

/// A net that is being trained.
pub(crate) struct Trainer {
    pub(crate) net: Net,
    how: Steps,
    moments: [Vec<f64>; 2],
    step: i32,
    rng: StdRng,
}

impl Net {
    /// A net whose outputs are 0 for every row: a policy without an opinion.
    pub fn new(inputs: usize, hidden: usize, outputs: usize, seed: u64) -> Self {
        let below = inputs * hidden + hidden;
        let above = (if hidden > 0 { hidden } else { inputs }) * outputs + outputs;
        let mut weights = vec![0.0; if hidden > 0 { below } else { 0 } + above];
        let mut rng = StdRng::seed_from_u64(seed);
        // He et al. 2015.
        let width = (6.0 / inputs.max(1) as f64).sqrt();
        for weight in &mut weights[..inputs * hidden] {
            *weight = rng.random_range(-width..width);
        }
        Self { inputs, hidden, outputs, weights }
    }

    /// Where W₂ begins.
    fn above(&self) -> usize {
        if self.hidden > 0 { self.inputs * self.hidden + self.hidden } else { 0 }
    }

    fn pass(&self, x: &[f32]) -> Pass {
        let layer = |from: &[f64], weights: &[f64], width: usize| {
            let (matrix, bias) = weights.split_at(from.len() * width);
            let mut sums = bias[..width].to_vec();
            for (x, row) in from.iter().zip(matrix.chunks_exact(width)).filter(|(x, _)| **x != 0.0) {
                sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += x * weight);
            }
            sums
        };
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let hidden = match self.hidden {
            0 => x,
            width => layer(&x, &self.weights, width).into_iter().map(|x| x.max(0.0)).collect(),
        };
        Pass { outputs: layer(&hidden, &self.weights[self.above()..], self.outputs), hidden }
    }

    /// The outputs of a row.
    pub fn run(&self, x: &[f32]) -> Vec<f64> {
        self.pass(x).outputs
    }

    /// Adds to `slopes` what a slope at the outputs says of each weight.
    fn back(&self, x: &[f32], pass: &Pass, at_outputs: &[f64], slopes: &mut [f64]) {
        let (below, above) = slopes.split_at_mut(self.above());
        let (matrix, bias) = above.split_at_mut(pass.hidden.len() * self.outputs);
        for (x, row) in pass.hidden.iter().zip(matrix.chunks_exact_mut(self.outputs)) {
            row.iter_mut().zip(at_outputs).for_each(|(slope, out)| *slope += x * out);
        }
        bias.iter_mut().zip(at_outputs).for_each(|(slope, out)| *slope += out);
        if self.hidden == 0 {
            return;
        }
        let weights = &self.weights[self.above()..];
        let at_hidden: Vec<f64> = pass
            .hidden
            .iter()
            .zip(weights.chunks_exact(self.outputs))
            .map(|(x, row)| match *x > 0.0 {
                true => row.iter().zip(at_outputs).map(|(weight, out)| weight * out).sum(),
                false => 0.0,
            })
            .collect();
        let (matrix, bias) = below.split_at_mut(self.inputs * self.hidden);
        for (x, row) in x.iter().zip(matrix.chunks_exact_mut(self.hidden)) {
            row.iter_mut().zip(&at_hidden).for_each(|(slope, at)| *slope += f64::from(*x) * at);
        }
        bias.iter_mut().zip(&at_hidden).for_each(|(slope, at)| *slope += at);
    }

    /// The outputs times `scale` and with a shift for each.
    #[must_use]
    pub fn scaled(&self, scale: f64, shifts: &[f64]) -> Self {
        let mut net = self.clone();
        let bias = net.weights.len() - self.outputs;
        let above = self.above();
        net.weights[above..].iter_mut().for_each(|weight| *weight *= scale);
        net.weights[bias..].iter_mut().zip(shifts).for_each(|(bias, shift)| *bias += shift);
        net
    }

    /// Its layers, the last one followed by `last`.
    pub fn network(&self, last: Activation) -> Network {
        let layer = |inputs: usize, outputs: usize, weights: &[f64], activation| Layer {
            inputs,
            outputs,
            weight: weights[..inputs * outputs].iter().map(|x| *x as f32).collect(),
            bias: weights[inputs * outputs..][..outputs].iter().map(|x| *x as f32).collect(),
            activation,
        };
        let mut layers = Vec::new();
        let width = match self.hidden {
            0 => self.inputs,
            width => {
                layers.push(layer(self.inputs, width, &self.weights, Activation::Relu));
                width
            }
        };
        layers.push(layer(width, self.outputs, &self.weights[self.above()..], last));
        Network { layers }
    }
}

impl Trainer {
    pub(crate) fn new(net: Net, how: Steps, seed: u64) -> Self {
        let zeros = vec![0.0; net.weights.len()];
        Self { net, how, moments: [zeros.clone(), zeros], step: 0, rng: StdRng::seed_from_u64(seed) }
    }

    /// Goes over the rows once in a random order. `slope` gives for a row and its outputs the slope, at the outputs, of what is
    /// to become large.
    pub(crate) fn epoch<'r>(
        &mut self,
        rows: &[usize],
        context: impl Fn(usize) -> &'r [f32],
        mut slope: impl FnMut(usize, &[f64], &mut [f64]),
    ) {
        let mut order = rows.to_vec();
        order.shuffle(&mut self.rng);
        let mut at_outputs = vec![0.0; self.net.outputs];
        for batch in order.chunks(BATCH) {
            let mut slopes = vec![0.0; self.net.weights.len()];
            for row in batch {
                let x = context(*row);
                let pass = self.net.pass(x);
                at_outputs.fill(0.0);
                slope(*row, &pass.outputs, &mut at_outputs);
                self.net.back(x, &pass, &at_outputs, &mut slopes);
            }
            self.climb(&slopes, batch.len());
        }
    }

    /// One of Adam's steps, upwards.
    fn climb(&mut self, slopes: &[f64], rows: usize) {
        self.step += 1;
        let Net { inputs, hidden, outputs, .. } = self.net;
        let above = self.net.above();
        let biases = [inputs * hidden..above, self.net.weights.len() - outputs..self.net.weights.len()];
        let corrections = (1.0 - DECAYS.0.powi(self.step), 1.0 - DECAYS.1.powi(self.step));
        let [first, second] = &mut self.moments;
        for (at, weight) in self.net.weights.iter_mut().enumerate() {
            let is_bias = biases.iter().any(|bias| bias.contains(&at));
            let pull = if is_bias { 0.0 } else { self.how.l2 * *weight };
            let slope = slopes[at] / rows as f64 - pull;
            first[at] += (1.0 - DECAYS.0) * (slope - first[at]);
            second[at] += (1.0 - DECAYS.1) * (slope * slope - second[at]);
            let length = (second[at] / corrections.1).sqrt() + TINY;
            *weight += self.how.rate * first[at] / corrections.0 / length;
        }
    }
}

/// exp(x) / Σ exp(x).
pub fn softmax(x: &[f64]) -> Vec<f64> {
    let most = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = x.iter().map(|x| (x - most).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|exp| exp / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(hidden: usize) -> Net {
        let mut net = Net::new(3, hidden, 2, 5);
        let mut rng = StdRng::seed_from_u64(6);
        net.weights.iter_mut().for_each(|weight| *weight = rng.random_range(-1.0..1.0));
        net
    }

    #[test]
    fn slopes_are_those_of_small_differences() {
        let (x, at_outputs) = ([0.5_f32, -1.5, 2.0], [0.7, -0.3]);
        for hidden in [0, 4] {
            let net = net(hidden);
            let mut slopes = vec![0.0; net.weights.len()];
            net.back(&x, &net.pass(&x), &at_outputs, &mut slopes);
            for (at, slope) in slopes.iter().enumerate() {
                let value = |by: f64| {
                    let mut moved = net.clone();
                    moved.weights[at] += by;
                    moved.run(&x).iter().zip(at_outputs).map(|(out, by)| out * by).sum::<f64>()
                };
                let expected = (value(1e-6) - value(-1e-6)) / 2e-6;
                assert!((slope - expected).abs() < 1e-6, "{hidden} {at}: {slope} {expected}");
            }
        }
    }

    #[test]
    fn a_network_says_what_the_net_says() {
        let x = [0.5_f32, -1.5, 2.0];
        for hidden in [0, 4] {
            let net = net(hidden).scaled(2.0, &[0.5, -0.5]);
            let plain = net.network(Activation::None).probabilities(&x);
            let soft = net.network(Activation::Softmax).probabilities(&x);
            let (own, chances) = (net.run(&x), softmax(&net.run(&x)));
            let near = |found: &[f32], expected: &[f64]| {
                found.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5)
            };
            assert!(near(&plain, &own) && near(&soft, &chances), "{plain:?} {own:?} {soft:?} {chances:?}");
        }
    }

    #[test]
    fn it_learns_a_line() {
        let rows: Vec<[f32; 1]> = (0..200).map(|at| [at as f32 / 100.0 - 1.0]).collect();
        let mut trainer = Trainer::new(Net::new(1, 0, 1, 1), Steps { rate: 0.05, l2: 0.0 }, 2);
        let all: Vec<usize> = (0..rows.len()).collect();
        for _ in 0..200 {
            trainer.epoch(
                &all,
                |at| &rows[at],
                |at, out, slope| slope[0] = 3.0 * f64::from(rows[at][0]) + 1.0 - out[0],
            );
        }
        let out = trainer.net.run(&[0.5])[0];
        assert!((out - 2.5).abs() < 0.05, "{out}");
    }
}
