//! The dense network: 64 and 32 hidden units with ReLU, softmax, Adam (Kingma & Ba 2015), batches of 32, stopped when
//! the loss on members set aside no longer falls. The weights kept are those of the best epoch, which never saw the
//! members set aside: they are not trained again on all rows.

use anyhow::Context;
use burn::{
    module::{Module, Param},
    nn::Linear,
    optim::{AdamConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor, TensorData, activation},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    Activation, CurvePoint, Fitted, Layer, Model, Network, Rows,
    network::{matrix, numbers},
};

const HIDDEN: [usize; 2] = [64, 32];
const BATCH: usize = 32;
const LEARNING_RATE: f64 = 1e-3;
/// Factor on the learning rate after each epoch.
const DECAY: f64 = 0.93;
/// Share of the training members set aside.
const ASIDE: f64 = 0.15;
/// Epochs without a new best after which it stops.
const PATIENCE: u32 = 5;
const MOST_EPOCHS: u32 = 60;

#[derive(Module, Debug)]
struct Dense {
    layers: Vec<Linear>,
}

impl Dense {
    /// He initialisation (He et al. 2015) from our own generator: the device's is shared between threads.
    fn new(widths: &[usize], rng: &mut StdRng, device: &Device) -> Self {
        let mut layer = |inputs: usize, outputs: usize| {
            let bound = (6.0 / inputs as f32).sqrt();
            let weight = (0..inputs * outputs).map(|_| rng.random_range(-bound..bound)).collect();
            let bias = TensorData::new(vec![0.0_f32; outputs], [outputs]);
            Linear {
                weight: Param::from_tensor(matrix(weight, inputs, outputs, device)),
                bias: Some(Param::from_data(bias, device)),
            }
        };
        Self { layers: widths.windows(2).map(|pair| layer(pair[0], pair[1])).collect() }
    }

    fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        for (at, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            if at + 1 < self.layers.len() {
                x = activation::relu(x);
            }
        }
        x
    }

    fn network(&self) -> Network {
        let layer = |(at, layer): (usize, &Linear)| {
            let [inputs, outputs] = layer.weight.val().dims();
            Layer {
                inputs,
                outputs,
                weight: numbers(layer.weight.val()),
                bias: layer.bias.as_ref().map(|bias| numbers(bias.val())).unwrap_or_default(),
                activation: if at + 1 < self.layers.len() { Activation::Relu } else { Activation::Softmax },
            }
        };
        Network { layers: self.layers.iter().enumerate().map(layer).collect() }
    }
}

/// # Errors
/// When no epoch has a finite loss.
pub(super) fn fit(tiers: usize, rows: &Rows, seed: u64) -> anyhow::Result<Fitted> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (aside, inner) = rows.part(ASIDE, seed);
    let widths = [&[rows.width], HIDDEN.as_slice(), &[tiers]].concat();
    let device = Device::flex().autodiff();
    let mut model = Dense::new(&widths, &mut rng, &device);
    let mut optimizer = AdamConfig::new().init();
    let mut order: Vec<usize> = (0..inner.len()).collect();
    let mut curve: Vec<CurvePoint> = Vec::new();
    let mut best: Option<(f64, u32, Network)> = None;
    for epoch in 1..=MOST_EPOCHS {
        order.shuffle(&mut rng);
        let rate = LEARNING_RATE * DECAY.powi(epoch as i32 - 1);
        let train;
        (model, train) = learn(model, &mut optimizer, rate, tiers, &inner, &order);
        let network = model.network();
        let validation = log_loss(&network, tiers, &aside);
        curve.push(CurvePoint { step: epoch, train, validation });
        let (least, at) = best.as_ref().map_or((f64::INFINITY, 0), |(loss, at, _)| (*loss, *at));
        if validation < least {
            best = Some((validation, epoch, network));
        } else if epoch - at >= PATIENCE {
            break;
        }
    }
    let (.., network) = best.context(
        "the neural network (dnn) has no finite loss in any epoch, so there is nothing to keep; \
         look for extreme values with `tiercast features`, or take \"dnn\" out of [train] models",
    )?;
    Ok(Fitted { model: Model::Network(network), curve, l2: None })
}

/// One epoch; the loss is the mean over its batches, each before its step.
fn learn(
    mut model: Dense,
    optimizer: &mut ModuleOptimizer,
    rate: f64,
    tiers: usize,
    rows: &Rows,
    order: &[usize],
) -> (Dense, f64) {
    let device = Device::flex().autodiff();
    let mut total = 0.0;
    for batch in order.chunks(BATCH) {
        let x: Vec<f32> = batch.iter().flat_map(|at| rows.row(*at)).copied().collect();
        let mut y = vec![0.0; batch.len() * tiers];
        batch.iter().enumerate().for_each(|(i, at)| y[i * tiers + usize::from(rows.targets[*at]) - 1] = 1.0);
        let logits = model.forward(matrix(x, batch.len(), rows.width, &device));
        let likelihood = activation::log_softmax(logits, 1) * matrix(y, batch.len(), tiers, &device);
        let loss = likelihood.sum().div_scalar(-(batch.len() as f64));
        total += loss.clone().into_scalar::<f64>() * batch.len() as f64;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(rate, model, gradients);
    }
    (model, total / order.len().max(1) as f64)
}

fn log_loss(network: &Network, tiers: usize, rows: &Rows) -> f64 {
    let probabilities = network.probabilities(&rows.inputs);
    let losses = probabilities
        .chunks(tiers)
        .zip(&rows.targets)
        .map(|(p, tier)| -f64::from(p[usize::from(*tier) - 1]).clamp(1e-7, 1.0).ln()); // unlike `max`, keeps NaN
    losses.sum::<f64>() / rows.len().max(1) as f64
}
