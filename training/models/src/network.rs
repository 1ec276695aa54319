//! Dense layers in a row, as plain numbers: what training hands to ONNX, run here by Burn.

use serde::{Deserialize, Serialize};

use burn::tensor::{Device, Tensor, TensorData, activation};

/// Rows run at once; bounds the memory of a batch.
const CHUNK: usize = 8192;

/// What follows a layer's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// Nothing.
    None,
    /// max(0, x).
    Relu,
    /// The error function, from which the normal distribution follows.
    Erf,
    /// exp(x) / Σ exp(x) over a row.
    Softmax,
    /// ln max(x, [`SMALLEST`]).
    Log,
    /// ln(1 + exp(x)), which is −ln of the logistic function of −x.
    Softplus,
}

/// The smallest probability that a logarithm is taken of.
pub const SMALLEST: f32 = 1e-6;

/// `activation(x · weight + bias)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Inputs.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
    /// `inputs × outputs`, the weights of one input together.
    pub weight: Vec<f32>,
    /// One for each output.
    pub bias: Vec<f32>,
    /// What follows.
    pub activation: Activation,
}

/// Layers; the last one gives probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// First to last.
    pub layers: Vec<Layer>,
}

impl Layer {
    fn forward(&self, x: Tensor<2>, device: &Device) -> Tensor<2> {
        let weight = matrix(self.weight.clone(), self.inputs, self.outputs, device);
        let bias = matrix(self.bias.clone(), 1, self.outputs, device);
        let sums = x.matmul(weight) + bias;
        match self.activation {
            Activation::None => sums,
            Activation::Relu => activation::relu(sums),
            Activation::Erf => sums.erf(),
            Activation::Softmax => activation::softmax(sums, 1),
            Activation::Log => sums.clamp_min(SMALLEST).log(),
            Activation::Softplus => activation::softplus(sums, 1.0),
        }
    }
}

impl Network {
    /// Probabilities for rows of inputs, row after row.
    pub fn probabilities(&self, inputs: &[f32]) -> Vec<f32> {
        self.run(inputs)
    }

    /// What the last layer gives for rows of inputs, row after row.
    pub(super) fn run(&self, inputs: &[f32]) -> Vec<f32> {
        let Some(width) = self.layers.first().map(|layer| layer.inputs) else { return Vec::new() };
        let device = Device::flex();
        let run = |rows: &[f32]| {
            let x = matrix(rows.to_vec(), rows.len() / width, width, &device);
            numbers(self.layers.iter().fold(x, |x, layer| layer.forward(x, &device)))
        };
        inputs.chunks(CHUNK * width).flat_map(run).collect()
    }

    /// How many weights and biases its layers have, constant ones among them.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.weight.len() + layer.bias.len()).sum()
    }

    /// The network of the tiers' scores, times `weight` and with a bias for each: logarithms of the probabilities, up to
    /// what all tiers of a row have in common.
    ///
    /// What goes into a last softmax is such scores; other probabilities get a logarithm of their own.
    pub(super) fn scores(&self, weight: f64, bias: &[f64]) -> Self {
        let mut layers = self.layers.clone();
        let Some(last) = layers.last_mut() else { return self.clone() };
        let scaled = |x: f32, bias: f64| (f64::from(x) * weight + bias) as f32;
        if last.activation == Activation::Softmax {
            last.weight.iter_mut().for_each(|x| *x = scaled(*x, 0.0));
            last.bias.iter_mut().zip(bias).for_each(|(x, bias)| *x = scaled(*x, *bias));
            last.activation = Activation::None;
            return Self { layers };
        }
        last.activation = Activation::Log;
        let tiers = last.outputs;
        let diagonal =
            (0..tiers * tiers).map(|at| if at / tiers == at % tiers { weight as f32 } else { 0.0 });
        layers.push(Layer {
            inputs: tiers,
            outputs: tiers,
            weight: diagonal.collect(),
            bias: bias.iter().map(|bias| *bias as f32).collect(),
            activation: Activation::None,
        });
        Self { layers }
    }

    /// The network of the scores as they are.
    pub(super) fn unweighted_scores(&self) -> Self {
        let tiers = self.layers.last().map_or(0, |layer| layer.outputs);
        self.scores(1.0, &vec![0.0; tiers])
    }

    /// The network whose probabilities are the softmax of these scores.
    pub(super) fn from_scores(mut scores: Self) -> Self {
        scores
            .layers
            .iter_mut()
            .next_back()
            .into_iter()
            .for_each(|last| last.activation = Activation::Softmax);
        scores
    }

    /// A normal distribution around `x · weight + bias`, cut into tiers at rising boundaries.
    ///
    /// P(tier ≤ k) = ½ + ½ erf((boundary k − mean) / (σ√2)): the first layer gives the K − 1 error functions, the second
    /// their differences. The median of that distribution is the mean's own tier.
    pub(super) fn normal(weight: &[f32], bias: f64, sigma: f64, cuts: &[f64]) -> Self {
        let (boundaries, tiers) = (cuts.len(), cuts.len() + 1);
        let scale = 1.0 / (sigma * std::f64::consts::SQRT_2);
        let repeated = |w: &f32| std::iter::repeat_n((-f64::from(*w) * scale) as f32, boundaries);
        let reached = Layer {
            inputs: weight.len(),
            outputs: boundaries,
            weight: weight.iter().flat_map(repeated).collect(),
            bias: cuts.iter().map(|cut| ((cut - bias) * scale) as f32).collect(),
            activation: Activation::Erf,
        };
        let mut differences = vec![0.0; boundaries * tiers];
        for boundary in 0..boundaries {
            differences[boundary * tiers + boundary] = 0.5;
            differences[boundary * tiers + boundary + 1] = -0.5;
        }
        let ends = |tier: usize| if tier == 0 || tier == boundaries { 0.5 } else { 0.0 };
        let within = Layer {
            inputs: boundaries,
            outputs: tiers,
            weight: differences,
            bias: (0..tiers).map(ends).collect(),
            activation: Activation::None,
        };
        Self { layers: vec![reached, within] }
    }
}

/// A matrix of the given shape.
pub(super) fn matrix(numbers: Vec<f32>, rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(numbers, [rows, columns]), device)
}

/// A tensor's numbers, row after row.
pub(super) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
