//! Networks over a member's sequence: convolutional, recurrent, or of attention. Each reads the steps that a project's
//! `[sequence]` declares and the dense inputs beside them, and makes of both a behaviour embedding, the *profile*, from which
//! three heads are trained together (Caruana 1997): the next tier, whether the member buys at all, and when.
//!
//! As a model of tiers it is like any other; what it says beside them goes into a bundle's profile.

use burn::tensor::{Device, Tensor, activation};
use serde::{Deserialize, Serialize};

use super::{
    Rows,
    network::{matrix, numbers},
    params::Draw,
};

mod learn;
mod net;

pub(super) use learn::fit;
pub use net::{Architecture, EMPTY, EPSILON, Encoder, HEADS, Shape, TAPS};
use net::{Outputs, Slot, Tensors};

/// Rows run at once; bounds the memory of a batch.
const CHUNK: usize = 1024;

/// What the network is like and how it learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// Numbers of a step inside.
    pub hidden: usize,
    /// Numbers of the embedding.
    pub embedding: usize,
    /// The learning rate of the first epoch.
    pub rate: f64,
    /// The weight decay of AdamW (Loshchilov & Hutter 2019).
    pub decay: f64,
    /// Rows a step.
    pub batch: usize,
    /// Chance of a unit between encoder and embedding to be left out of a step.
    pub dropout: f64,
    /// What the log-loss of whether a member buys counts, against the tier's.
    pub churn: f64,
    /// What the log-loss of when it buys counts.
    pub next: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            hidden: 32,
            embedding: 32,
            rate: 3e-3,
            decay: 0.05,
            batch: 128,
            dropout: 0.3,
            churn: 0.3,
            next: 0.3,
        }
    }
}

impl Params {
    /// Any in the ranges of the search.
    pub(super) fn draw(draw: &mut Draw) -> Self {
        Self {
            hidden: draw.one_of(&[16, 32, 48]),
            embedding: draw.one_of(&[32, 48, 64]),
            rate: draw.log_uniform(5e-4, 5e-3),
            decay: draw.log_uniform(1e-3, 3.0),
            batch: draw.one_of(&[32, 64, 128]),
            dropout: draw.uniform(0.0, 0.5),
            churn: draw.uniform(0.0, 1.0),
            next: draw.uniform(0.0, 1.0),
        }
    }
}

/// Stretches of time in which the next purchase may fall: each has as many of the training rows.
pub(super) const STRETCHES: usize = 6;

/// A trained network over sequences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// What it is like.
    pub architecture: Architecture,
    /// The numbers of each matrix, row after row, in the order of [`Sequence::matrices`].
    weights: Vec<Vec<f32>>,
    /// Mean days to the next purchase in each stretch of time.
    pub days: Vec<f32>,
}

/// A matrix of a network: its name, `inputs × outputs`, and its numbers, those of one input together.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// What it is.
    pub name: &'a str,
    /// Rows.
    pub inputs: usize,
    /// Columns.
    pub outputs: usize,
    /// Row after row.
    pub numbers: &'a [f32],
}

impl Sequence {
    /// Its matrices.
    pub fn matrices<T>(&self, mut each: impl FnMut(Matrix<'_>) -> T) -> Vec<T> {
        let slots = self.architecture.slots();
        let matrix = |(slot, numbers): (&Slot, &Vec<f32>)| {
            each(Matrix { name: &slot.name, inputs: slot.rows, outputs: slot.columns, numbers })
        };
        slots.iter().zip(&self.weights).map(matrix).collect()
    }

    /// Scores of the tiers, row after row.
    pub fn scores(&self, rows: &Rows) -> Vec<f32> {
        self.run(rows, |outputs| outputs.tiers)
    }

    /// Probabilities of the tiers, row after row.
    pub fn probabilities(&self, rows: &Rows) -> Vec<f32> {
        self.run(rows, |outputs| activation::softmax(outputs.tiers, 1))
    }

    /// The profile, row after row: the embedding, the chance of no purchase in the period, and the days to the next
    /// purchase, given that there is one.
    pub fn profiles(&self, rows: &Rows) -> Vec<f32> {
        let days = matrix(self.days.clone(), self.days.len(), 1, &Device::flex());
        self.run(rows, |outputs| {
            let churn = activation::sigmoid(outputs.churn);
            let next = activation::softmax(outputs.next, 1).matmul(days.clone());
            Tensor::cat(vec![outputs.embedding, churn, next], 1)
        })
    }

    /// Numbers of a profile.
    pub fn profile_width(&self) -> usize {
        self.architecture.embedding + 2
    }

    /// How many weights and biases it has, those of the other heads among them.
    pub fn parameters(&self) -> usize {
        self.weights.iter().map(Vec::len).sum()
    }

    /// The same with the tiers' scores times `weight` and with a bias for each.
    pub(super) fn scaled(&self, weight: f64, bias: &[f64]) -> Self {
        let mut scaled = self.clone();
        for (slot, numbers) in self.architecture.slots().iter().zip(&mut scaled.weights) {
            match slot.name.as_str() {
                "tiers" => numbers.iter_mut().for_each(|x| *x = (f64::from(*x) * weight) as f32),
                "tiers.bias" => {
                    let moved = numbers.iter_mut().zip(bias);
                    moved.for_each(|(x, bias)| *x = (f64::from(*x) * weight + bias) as f32);
                }
                _ => {}
            }
        }
        scaled
    }

    fn run(&self, rows: &Rows, output: impl Fn(Outputs) -> Tensor<2>) -> Vec<f32> {
        let (device, slots) = (Device::flex(), self.architecture.slots());
        let weights = Tensors::of_numbers(&slots, &self.weights, &device);
        let (width, places) = (self.architecture.shape.width(), (0..rows.len()).collect::<Vec<_>>());
        let run = |places: &[usize]| {
            let inputs = places.iter().flat_map(|at| rows.sequence_row(*at)).collect();
            let x = matrix(inputs, places.len(), width, &device);
            numbers(output(self.architecture.forward(&weights, x, |x| x)))
        };
        places.chunks(CHUNK).flat_map(run).collect()
    }
}

#[cfg(test)]
mod tests;
