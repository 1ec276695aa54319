//! What the trainings of all networks have in common: the rows of an epoch, units left out, what a batch costs, and when to
//! stop.

use std::collections::BTreeSet;

use anyhow::Context;
use burn::tensor::Tensor;
use rand::{RngExt, rngs::StdRng, seq::SliceRandom};

use super::{
    CurvePoint, Fitting, Rows, mix,
    network::{matrix, numbers},
};

/// Share of the training members set aside.
pub(crate) const ASIDE: f64 = 0.15;
/// Factor on the learning rate after each epoch.
const SLOWER: f64 = 0.93;
/// Epochs without a new best after which it stops.
const PATIENCE: u32 = 5;

/// Where epochs take their rows: from memory, or part by part from a stream.
pub(crate) struct Source<'a> {
    fitting: &'a Fitting<'a>,
    rows: &'a Rows,
    /// Members whose rows of the stream are left out.
    left_out: BTreeSet<u32>,
    /// The order of the last pass, from which the next one's comes.
    order: Vec<usize>,
}

impl<'a> Source<'a> {
    /// Rows to learn from, and those set aside to judge on.
    pub(crate) fn new(fitting: &'a Fitting<'a>, rows: &'a Rows, aside: &Rows) -> Self {
        Self { fitting, rows, left_out: aside.member.iter().copied().collect(), order: Vec::new() }
    }

    /// Goes over all rows once in a random order; `learn` gives the mean loss on those that it is given.
    ///
    /// # Errors
    /// When a stream cannot be read, or has no row.
    pub(crate) fn epoch<M>(
        &mut self,
        step: u32,
        mut model: M,
        rng: &mut StdRng,
        mut learn: impl FnMut(M, &Rows, &[usize], &mut StdRng) -> (M, f64),
    ) -> anyhow::Result<(M, f64)> {
        let Self { fitting, rows, left_out, order } = self;
        let mut shuffled = |rows: &Rows, rng: &mut StdRng| {
            if order.len() != rows.len() {
                *order = (0..rows.len()).collect();
            }
            order.shuffle(rng);
            order.clone()
        };
        let Some(stream) = fitting.stream else {
            let order = shuffled(rows, rng);
            return Ok(learn(model, rows, &order, rng));
        };
        let (mut kept, mut total, mut seen) = (Some(model), 0.0, 0);
        stream.pass(mix(fitting.seed ^ mix(u64::from(step))), left_out, &mut |part| {
            let order = shuffled(part, rng);
            let (next, loss) = learn(kept.take().context("no network")?, part, &order, rng);
            (kept, total, seen) = (Some(next), total + loss * part.len() as f64, seen + part.len());
            Ok(())
        })?;
        model = kept.context("no network")?;
        anyhow::ensure!(seen > 0, "the stream has no row to learn from");
        Ok((model, total / seen as f64))
    }
}

/// The factor on the learning rate in an epoch, the first is 1.
pub(crate) fn slower(epoch: u32) -> f64 {
    SLOWER.powi(epoch as i32 - 1)
}

/// Leaves units out; the others count for them.
pub(crate) fn dropout(x: Tensor<2>, rate: f64, rng: &mut StdRng) -> Tensor<2> {
    if rate <= 0.0 {
        return x;
    }
    let [rows, units] = x.dims();
    let mut kept = || if rng.random_bool(rate) { 0.0 } else { (1.0 / (1.0 - rate)) as f32 };
    let kept = (0..rows * units).map(|_| kept()).collect();
    x.clone() * matrix(kept, rows, units, &x.device())
}

/// The mean loss a row of an epoch's batches, each of `batch` rows but the last.
pub(crate) fn mean_loss(losses: Vec<Tensor<1>>, batch: usize, rows: usize) -> f64 {
    // Read once an epoch: a card would stand still for each reading.
    let losses = if losses.is_empty() { Vec::new() } else { numbers(Tensor::cat(losses, 0)) };
    let sizes = (0..rows).step_by(batch).map(|from| batch.min(rows - from) as f64);
    let total: f64 = losses.into_iter().zip(sizes).map(|(loss, rows)| f64::from(loss) * rows).sum();
    total / rows.max(1) as f64
}

/// Mean −ln of the true tier's probability.
pub(crate) fn log_loss(probabilities: &[f32], tiers: usize, rows: &Rows) -> f64 {
    let losses = probabilities
        .chunks(tiers)
        .zip(&rows.targets)
        .map(|(p, tier)| -f64::from(p[usize::from(*tier) - 1]).clamp(1e-7, 1.0).ln()); // unlike `max`, keeps NaN
    losses.sum::<f64>() / rows.len().max(1) as f64
}

/// The epochs so far, and the network of the best one.
pub(crate) struct Epochs<M> {
    /// Whether the last epoch is kept, instead of the best on members set aside.
    last: bool,
    best: Option<(f64, u32, M)>,
    curve: Vec<CurvePoint>,
}

impl<M> Epochs<M> {
    pub(crate) fn new(last: bool) -> Self {
        Self { last, best: None, curve: Vec::new() }
    }

    /// Takes an epoch in, and says whether another one may be better.
    pub(crate) fn go_on_after(&mut self, point: CurvePoint, model: M) -> bool {
        let (least, at) = self.best.as_ref().map_or((f64::INFINITY, 0), |(loss, at, _)| (*loss, *at));
        let CurvePoint { step, train, validation } = point;
        self.curve.push(point);
        let better = validation < least || (self.last && train.is_finite());
        if better {
            self.best = Some((validation, step, model));
        }
        better || step - at < PATIENCE
    }

    /// The network that is kept, unless no epoch had a finite loss, and the learning curve.
    pub(crate) fn end(self) -> (Option<M>, Vec<CurvePoint>) {
        (self.best.map(|(.., model)| model), self.curve)
    }
}
