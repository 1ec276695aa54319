//! Dense layers in a row, as plain numbers: what training hands to ONNX, run here by Burn.

use burn::tensor::{Device, Tensor, TensorData, activation};

/// Rows run at once; bounds the memory of a batch.
const CHUNK: usize = 8192;

/// What follows a layer's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// max(0, x).
    Relu,
    /// The error function, from which the normal distribution follows.
    Erf,
    /// exp(x) / Σ exp(x) over a row.
    Softmax,
}

/// `activation(x · weight + bias)`.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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
        }
    }
}

impl Network {
    /// Probabilities for rows of inputs, row after row.
    pub fn probabilities(&self, inputs: &[f32]) -> Vec<f32> {
        let Some(width) = self.layers.first().map(|layer| layer.inputs) else { return Vec::new() };
        let device = Device::flex();
        let run = |rows: &[f32]| {
            let x = matrix(rows.to_vec(), rows.len() / width, width, &device);
            numbers(self.layers.iter().fold(x, |x, layer| layer.forward(x, &device)))
        };
        inputs.chunks(CHUNK * width).flat_map(run).collect()
    }

    /// How many numbers were trained.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.weight.len() + layer.bias.len()).sum()
    }

    /// A normal distribution around `x · weight + bias`, cut at k + ½ into `tiers` tiers.
    ///
    /// P(tier ≤ k) = ½ + ½ erf((k + ½ − mean) / (σ√2)): the first layer gives the K − 1 error functions, the second
    /// their differences. The median of that distribution is the rounded mean.
    pub(super) fn normal(weight: &[f32], bias: f32, sigma: f64, tiers: usize) -> Self {
        let boundaries = tiers - 1;
        let scale = 1.0 / (sigma * std::f64::consts::SQRT_2);
        let repeated = |w: &f32| std::iter::repeat_n((-f64::from(*w) * scale) as f32, boundaries);
        let reached = Layer {
            inputs: weight.len(),
            outputs: boundaries,
            weight: weight.iter().flat_map(repeated).collect(),
            bias: (1..tiers).map(|k| ((k as f64 + 0.5 - f64::from(bias)) * scale) as f32).collect(),
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
