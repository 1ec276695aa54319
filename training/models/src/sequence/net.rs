//! What the sequence models compute, as Burn runs it. Every weight is a matrix with a name, so that training, running and
//! exporting a model go by one list.

use serde::{Deserialize, Serialize};

use burn::tensor::{Device, Tensor, activation};

use super::super::network::matrix;

/// What reads the steps of a member's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoder {
    /// Two convolutions over three steps each, every one with ReLU and pooling of two steps by their maximum (LeCun 1989;
    /// over time as in Kim 2014).
    Cnn,
    /// A gated recurrent unit (Cho et al. 2014, the reset gate after the product), whose state before the first step comes
    /// from the dense inputs.
    Gru,
    /// One block of an attention encoder (Vaswani et al. 2017, normalised before each part as in Xiong et al. 2020); in the
    /// end attention over the steps, and the last step beside it.
    Transformer,
}

/// The sizes of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Dense inputs, which come first.
    pub dense: usize,
    /// Steps of the sequence, the earliest first; a member with fewer has empty ones before them.
    pub steps: usize,
    /// Numbers of a step; the first is 1 where the step is empty.
    pub channels: usize,
}

impl Shape {
    /// Inputs of a row.
    pub fn width(self) -> usize {
        self.dense + self.steps * self.channels
    }
}

/// A network from a sequence and dense inputs to a behaviour embedding, and from that to its three heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// What reads the sequence.
    pub encoder: Encoder,
    /// What it reads.
    pub shape: Shape,
    /// Numbers of a step inside.
    pub hidden: usize,
    /// Units between encoder and embedding.
    pub trunk: usize,
    /// Numbers of the embedding, each between −1 and 1.
    pub embedding: usize,
    /// Tiers.
    pub tiers: usize,
    /// Stretches of time in which the next purchase may fall.
    pub stretches: usize,
}

/// Steps that a convolution looks at.
pub const TAPS: usize = 3;
/// Attention heads.
pub const HEADS: usize = 2;
/// What the layers after an attention are wider by.
const WIDER: usize = 2;
/// What keeps a normalisation from dividing by 0.
pub const EPSILON: f32 = 1e-5;
/// What an empty step's score is lowered by, so that attention leaves it out.
pub const EMPTY: f32 = -1e4;

/// How a matrix starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Uniform, of a size that keeps the variance of a layer with ReLU (He et al. 2015).
    He,
    /// Uniform, of a size that keeps the variance of a layer without (Glorot & Bengio 2010).
    Glorot,
    Zeros,
    Ones,
}

/// A matrix of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) start: Start,
}

impl Architecture {
    /// All matrices, in their order.
    pub(super) fn slots(&self) -> Vec<Slot> {
        let mut slots = Slots(Vec::new());
        let (hidden, channels) = (self.hidden, self.shape.channels);
        match self.encoder {
            Encoder::Cnn => {
                slots.linear("conv1", TAPS * channels, hidden, Start::He);
                slots.linear("conv2", TAPS * hidden, hidden, Start::He);
            }
            Encoder::Gru => {
                slots.linear("start", self.shape.dense, hidden, Start::Glorot);
                slots.linear("input", channels, 3 * hidden, Start::Glorot);
                slots.linear("recurrence", hidden, 3 * hidden, Start::Glorot);
            }
            Encoder::Transformer => {
                slots.linear("step", channels, hidden, Start::Glorot);
                slots.add("position", self.shape.steps, hidden, Start::Zeros);
                slots.norm("norm1", hidden);
                for head in 0..HEADS {
                    for part in ["query", "key", "value"] {
                        slots.add(format!("{part}{head}"), hidden, hidden / HEADS, Start::Glorot);
                    }
                    slots.add(format!("output{head}"), hidden / HEADS, hidden, Start::Glorot);
                }
                slots.norm("norm2", hidden);
                slots.linear("wide", hidden, WIDER * hidden, Start::He);
                slots.linear("narrow", WIDER * hidden, hidden, Start::Glorot);
                slots.norm("norm3", hidden);
                slots.add("attention", hidden, 1, Start::Glorot);
            }
        }
        slots.linear("trunk", self.encoded() + self.shape.dense, self.trunk, Start::He);
        slots.linear("embedding", self.trunk, self.embedding, Start::Glorot);
        slots.linear("tiers", self.embedding, self.tiers, Start::Glorot);
        slots.linear("churn", self.embedding, 1, Start::Glorot);
        slots.linear("next", self.embedding, self.stretches, Start::Glorot);
        slots.0
    }

    /// Numbers that the encoder gives.
    pub fn encoded(&self) -> usize {
        match self.encoder {
            Encoder::Cnn => self.hidden * (self.shape.steps / 2 / 2),
            Encoder::Gru => self.hidden,
            Encoder::Transformer => 2 * self.hidden,
        }
    }

    /// What the network gives for rows `[N, width]`; `drop` leaves units out while training.
    pub(super) fn forward(
        &self,
        weights: &Tensors<'_>,
        rows: Tensor<2>,
        mut drop: impl FnMut(Tensor<2>) -> Tensor<2>,
    ) -> Outputs {
        let ([n, _], Shape { dense, steps, channels }) = (rows.dims(), self.shape);
        let still = rows.clone().narrow(1, 0, dense);
        let steps_of = rows.narrow(1, dense, steps * channels).reshape([n, steps, channels]);
        let encoded = match self.encoder {
            Encoder::Cnn => self.convolve(weights, steps_of),
            Encoder::Gru => self.recur(weights, steps_of, still.clone()),
            Encoder::Transformer => self.attend(weights, steps_of),
        };
        let joined = drop(Tensor::cat(vec![encoded, still], 1));
        let trunk = drop(activation::relu(weights.linear("trunk", joined)));
        let embedding = weights.linear("embedding", trunk).tanh();
        Outputs {
            tiers: weights.linear("tiers", embedding.clone()),
            churn: weights.linear("churn", embedding.clone()),
            next: weights.linear("next", embedding.clone()),
            embedding,
        }
    }

    fn convolve(&self, weights: &Tensors<'_>, x: Tensor<3>) -> Tensor<2> {
        let x = pool(activation::relu(convolution(weights, "conv1", x)));
        let x = pool(activation::relu(convolution(weights, "conv2", x)));
        let [n, ..] = x.dims();
        x.swap_dims(1, 2).reshape([n, self.encoded()])
    }

    fn recur(&self, weights: &Tensors<'_>, x: Tensor<3>, still: Tensor<2>) -> Tensor<2> {
        let hidden = self.hidden;
        let inputs = weights.each_step("input", x);
        let mut state = weights.linear("start", still).tanh();
        for step in 0..self.shape.steps {
            let input: Tensor<2> = inputs.clone().narrow(1, step, 1).squeeze_dim(1);
            let recurrence = weights.linear("recurrence", state.clone());
            let gates = input.clone().narrow(1, 0, 2 * hidden) + recurrence.clone().narrow(1, 0, 2 * hidden);
            let gates = activation::sigmoid(gates);
            let (update, reset) = (gates.clone().narrow(1, 0, hidden), gates.narrow(1, hidden, hidden));
            let new = input.narrow(1, 2 * hidden, hidden) + reset * recurrence.narrow(1, 2 * hidden, hidden);
            let new = new.tanh();
            state = new.clone() + update * (state - new);
        }
        state
    }

    fn attend(&self, weights: &Tensors<'_>, x: Tensor<3>) -> Tensor<2> {
        let [n, steps, _] = x.dims();
        let empty: Tensor<3> = x.clone().narrow(2, 0, 1).mul_scalar(EMPTY);
        let mut x = weights.each_step("step", x) + weights.get("position").unsqueeze::<3>();
        let normal = weights.norm("norm1", x.clone());
        for head in 0..HEADS {
            let part = |part: &str| each_step(normal.clone(), weights.get(&format!("{part}{head}")));
            let scale = 1.0 / ((self.hidden / HEADS) as f64).sqrt();
            let scores = part("query").matmul(part("key").swap_dims(1, 2)).mul_scalar(scale);
            let shares = activation::softmax(scores + empty.clone().swap_dims(1, 2), 2);
            x = x + each_step(shares.matmul(part("value")), weights.get(&format!("output{head}")));
        }
        let wide = activation::relu(weights.each_step("wide", weights.norm("norm2", x.clone())));
        let x = x + weights.each_step("narrow", wide);
        let x = weights.norm("norm3", x);
        let shares = activation::softmax(each_step(x.clone(), weights.get("attention")) + empty, 1);
        let pooled: Tensor<2> =
            shares.swap_dims(1, 2).reshape([n, 1, steps]).matmul(x.clone()).squeeze_dim(1);
        let last: Tensor<2> = x.narrow(1, steps - 1, 1).squeeze_dim(1);
        Tensor::cat(vec![pooled, last], 1)
    }
}

/// What the network gives.
pub(super) struct Outputs {
    /// `[N, embedding]`, between −1 and 1.
    pub(super) embedding: Tensor<2>,
    /// `[N, tiers]`, scores whose softmax are probabilities.
    pub(super) tiers: Tensor<2>,
    /// `[N, 1]`, whose logistic function is the chance of no purchase in the period.
    pub(super) churn: Tensor<2>,
    /// `[N, stretches]`, scores of when the next purchase is, given that there is one.
    pub(super) next: Tensor<2>,
}

/// The network's matrices, found by name.
pub(super) struct Tensors<'a> {
    slots: &'a [Slot],
    all: Vec<Tensor<2>>,
}

impl<'a> Tensors<'a> {
    pub(super) fn new(slots: &'a [Slot], all: Vec<Tensor<2>>) -> Self {
        Self { slots, all }
    }

    /// From plain numbers, one vector for each slot.
    pub(super) fn of_numbers(slots: &'a [Slot], numbers: &[Vec<f32>], device: &Device) -> Self {
        let tensor =
            |(slot, numbers): (&Slot, &Vec<f32>)| matrix(numbers.clone(), slot.rows, slot.columns, device);
        Self { slots, all: slots.iter().zip(numbers).map(tensor).collect() }
    }

    fn get(&self, name: &str) -> Tensor<2> {
        let at = self.slots.iter().position(|slot| slot.name == name);
        // The names are those of `slots`, which the same file writes.
        self.all[at.unwrap_or_default()].clone()
    }

    fn linear(&self, name: &str, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.get(name)) + self.get(&format!("{name}.bias"))
    }

    fn each_step(&self, name: &str, x: Tensor<3>) -> Tensor<3> {
        each_step(x, self.get(name)) + self.get(&format!("{name}.bias")).unsqueeze::<3>()
    }

    /// Layer normalisation (Ba et al. 2016) of each step.
    fn norm(&self, name: &str, x: Tensor<3>) -> Tensor<3> {
        let centred = x.clone() - x.mean_dim(2);
        let spread = (centred.clone() * centred.clone()).mean_dim(2).add_scalar(EPSILON).sqrt();
        let gain = self.get(name).unsqueeze::<3>();
        centred / spread * gain + self.get(&format!("{name}.bias")).unsqueeze::<3>()
    }
}

/// The product of every step of `[N, steps, inputs]` with one matrix.
fn each_step(x: Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    let ([n, steps, inputs], [_, outputs]) = (x.dims(), weight.dims());
    x.reshape([n * steps, inputs]).matmul(weight).reshape([n, steps, outputs])
}

/// Each step with the one before and the one after it; beyond the ends are zeros.
fn convolution(weights: &Tensors<'_>, name: &str, x: Tensor<3>) -> Tensor<3> {
    let [n, steps, channels] = x.dims();
    let zeros = Tensor::<3>::zeros([n, 1, channels], &x.device());
    let before = Tensor::cat(vec![zeros.clone(), x.clone().narrow(1, 0, steps - 1)], 1);
    let after = Tensor::cat(vec![x.clone().narrow(1, 1, steps - 1), zeros], 1);
    weights.each_step(name, Tensor::cat(vec![before, x, after], 2))
}

/// The maximum of two steps; one left over is dropped, as ONNX's MaxPool does.
fn pool(x: Tensor<3>) -> Tensor<3> {
    let [n, steps, channels] = x.dims();
    let pairs = x.narrow(1, 0, steps / 2 * 2).reshape([n, steps / 2, 2, channels]);
    pairs.max_dim(2).squeeze_dim(2)
}

struct Slots(Vec<Slot>);

impl Slots {
    fn add(&mut self, name: impl Into<String>, rows: usize, columns: usize, start: Start) {
        self.0.push(Slot { name: name.into(), rows, columns, start });
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize, start: Start) {
        self.add(name, inputs, outputs, start);
        self.add(format!("{name}.bias"), 1, outputs, Start::Zeros);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.add(name, 1, width, Start::Ones);
        self.add(format!("{name}.bias"), 1, width, Start::Zeros);
    }
}
