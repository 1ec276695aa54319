//! How a network over sequences learns: Adam on the weighted sum of the three heads' log-losses, stopped when the tiers'
//! log-loss on members set aside no longer falls. The weights kept are those of the best epoch.

use anyhow::{Context, ensure};
use burn::{
    module::{Module, Param},
    optim::{AdamWConfig, GradientsParams, ModuleOptimizer},
    tensor::{Device, Tensor, activation},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Architecture, Encoder, Outputs, Params, STRETCHES, Sequence, Shape,
    net::{Slot, Start, Tensors},
};
use crate::{
    CurvePoint, Fitted, Fitting, Model, Rows,
    descent::{self, Epochs, Source},
    network::{matrix, numbers},
};

const MOST_EPOCHS: u32 = 40;
/// The longest that the gradient of a step is let be, so that recurrence does not blow it up (Pascanu et al. 2013).
const LONGEST: f32 = 1.0;

/// # Errors
/// When the rows have no sequence, no epoch has a finite loss, or a stream cannot be read.
pub(crate) fn fit(fitting: &Fitting, encoder: Encoder, tiers: usize, rows: &Rows) -> anyhow::Result<Fitted> {
    let (params, device) = (&fitting.params.sequence, fitting.device.tensors().autodiff());
    ensure!(rows.steps > 0, "there is no sequence to learn from; declare [sequence] in the project file");
    let mut rng = StdRng::seed_from_u64(fitting.seed);
    let (aside, inner) = rows.part(descent::ASIDE, fitting.seed);
    let stretches = Stretches::cut(&inner.next_purchase);
    let architecture = Architecture {
        encoder,
        shape: Shape { dense: rows.width, steps: rows.steps, channels: rows.channels },
        hidden: params.hidden,
        trunk: 2 * params.hidden,
        embedding: params.embedding,
        tiers,
        stretches: stretches.days.len(),
    };
    let slots = architecture.slots();
    let mut weights = Weights::new(&slots, &mut rng, &device);
    let optimizer = AdamWConfig::new()
        .with_weight_decay(params.decay as f32)
        .with_grad_clipping(Some(burn::grad_clipping::GradientClippingConfig::Norm(LONGEST)))
        .init();
    let mut training = Training { params, architecture, slots: &slots, stretches, device, optimizer };
    let mut source = Source::new(fitting, &inner, &aside);
    let mut epochs = Epochs::new(false);
    for step in 1..=MOST_EPOCHS {
        let rate = params.rate * descent::slower(step);
        let train;
        (weights, train) = source.epoch(step, weights, &mut rng, |weights, rows, order, rng| {
            training.epoch(weights, rate, rows, order, rng)
        })?;
        let model = training.model(&weights);
        let validation = descent::log_loss(&model.probabilities(&aside), tiers, &aside);
        if !epochs.go_on_after(CurvePoint { step, train, validation }, model) {
            break;
        }
    }
    let (best, curve) = epochs.end();
    let model = best.context(
        "a network over sequences (cnn, gru, transformer) has no finite loss in any epoch, so there is nothing to keep; look \
         for extreme values with `tiercast features`, or take it out of [train] models",
    )?;
    Ok(Fitted { model: Model::Sequence(model), curve, l2: None })
}

/// The matrices as they are trained.
#[derive(Module, Debug)]
pub(super) struct Weights {
    pub(super) all: Vec<Param<Tensor<2>>>,
}

impl Weights {
    pub(super) fn new(slots: &[Slot], rng: &mut StdRng, device: &Device) -> Self {
        let mut start = |slot: &Slot| {
            let size = slot.rows * slot.columns;
            let bound = match slot.start {
                Start::He => (6.0 / slot.rows as f32).sqrt(),
                Start::Glorot => (6.0 / (slot.rows + slot.columns) as f32).sqrt(),
                Start::Zeros | Start::Ones => 0.0,
            };
            let numbers = match slot.start {
                Start::Ones => vec![1.0; size],
                // No dense input leaves a matrix without numbers.
                _ if bound == 0.0 || size == 0 => vec![0.0; size],
                _ => (0..size).map(|_| rng.random_range(-bound..bound)).collect(),
            };
            Param::from_tensor(matrix(numbers, slot.rows, slot.columns, device))
        };
        Self { all: slots.iter().map(&mut start).collect() }
    }
}

/// The stretches of time in which a next purchase may fall.
struct Stretches {
    /// Days at which all but the first begin.
    cuts: Vec<f32>,
    /// Mean days within each.
    days: Vec<f32>,
}

impl Stretches {
    /// Cut at equal shares of the rows that have a next purchase.
    fn cut(next: &[f32]) -> Self {
        let mut known: Vec<f32> = next.iter().copied().filter(|days| !days.is_nan()).collect();
        known.sort_unstable_by(f32::total_cmp);
        if known.is_empty() {
            return Self { cuts: Vec::new(), days: vec![0.0] };
        }
        let mut cuts: Vec<f32> = (1..STRETCHES).map(|at| known[known.len() * at / STRETCHES]).collect();
        cuts.dedup();
        cuts.retain(|cut| *cut > known[0]);
        let mut stretches = Self { cuts, days: Vec::new() };
        let (mut sums, mut counts) = (vec![0.0_f64; STRETCHES], vec![0_u32; STRETCHES]);
        for days in known {
            let at = stretches.of(days);
            sums[at] += f64::from(days);
            counts[at] += 1;
        }
        let means = sums.iter().zip(&counts).take(stretches.cuts.len() + 1);
        stretches.days = means.map(|(sum, n)| (sum / f64::from((*n).max(1))) as f32).collect();
        stretches
    }

    fn of(&self, days: f32) -> usize {
        self.cuts.partition_point(|cut| *cut <= days)
    }
}

/// What is the same in all epochs.
struct Training<'a> {
    params: &'a Params,
    architecture: Architecture,
    slots: &'a [Slot],
    stretches: Stretches,
    device: Device,
    optimizer: ModuleOptimizer,
}

impl Training<'_> {
    /// One epoch; the loss is the mean of the tiers' log-loss over its batches, each before its step.
    fn epoch(
        &mut self,
        mut weights: Weights,
        rate: f64,
        rows: &Rows,
        order: &[usize],
        rng: &mut StdRng,
    ) -> (Weights, f64) {
        let mut losses = Vec::new();
        for batch in order.chunks(self.params.batch) {
            let tensors = weights.all.iter().map(Param::val).collect();
            let (tiers, others) = self.losses(&Tensors::new(self.slots, tensors), rows, batch, rng);
            losses.push(tiers.clone().inner());
            let gradients = GradientsParams::from_grads((tiers + others).backward(), &weights);
            weights = self.optimizer.step(rate, weights, gradients);
        }
        (weights, descent::mean_loss(losses, self.params.batch, order.len()))
    }

    /// The tiers' log-loss, and the weighted ones of the other heads.
    fn losses(
        &self,
        weights: &Tensors<'_>,
        rows: &Rows,
        batch: &[usize],
        rng: &mut StdRng,
    ) -> (Tensor<1>, Tensor<1>) {
        let (n, device) = (batch.len(), self.device.clone());
        let x = batch.iter().flat_map(|at| rows.sequence_row(*at)).collect();
        let x = matrix(x, n, self.architecture.shape.width(), &device);
        let rate = self.params.dropout;
        let Outputs { tiers, churn, next, .. } =
            self.architecture.forward(weights, x, |x| descent::dropout(x, rate, rng));
        let hot = |columns: usize, column: &dyn Fn(usize) -> Option<usize>| {
            let mut y = vec![0.0; n * columns];
            for (i, at) in batch.iter().enumerate() {
                if let Some(column) = column(*at) {
                    y[i * columns + column] = 1.0;
                }
            }
            matrix(y, n, columns, &device)
        };
        let mean = |likelihood: Tensor<2>| likelihood.sum().div_scalar(-(n as f64));
        let tier = hot(self.architecture.tiers, &|at| Some(usize::from(rows.targets[at]) - 1));
        let tier = mean(activation::log_softmax(tiers, 1) * tier);
        let lapsed = hot(1, &|at| rows.next_purchase[at].is_nan().then_some(0));
        // −ln P is softplus(−x) where the member has lapsed and softplus(x) where not.
        let signs = lapsed.mul_scalar(-2.0).add_scalar(1.0);
        let churn = activation::softplus(churn * signs, 1.0).mean().mul_scalar(self.params.churn);
        let when = |at: usize| Some(rows.next_purchase[at]).filter(|days| !days.is_nan());
        let stretch = hot(self.architecture.stretches, &|at| when(at).map(|days| self.stretches.of(days)));
        let next = mean(activation::log_softmax(next, 1) * stretch).mul_scalar(self.params.next);
        (tier, churn + next)
    }

    fn model(&self, weights: &Weights) -> Sequence {
        Sequence {
            architecture: self.architecture,
            weights: weights.all.iter().map(|weight| numbers(weight.val())).collect(),
            days: self.stretches.days.clone(),
        }
    }
}
