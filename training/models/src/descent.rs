//! What the trainings of all networks have in common: units left out, what a batch costs, and when to stop.

use burn::tensor::Tensor;
use rand::{RngExt, rngs::StdRng};

use super::{
    CurvePoint, Rows,
    network::{matrix, numbers},
};

/// Share of the training members set aside.
pub(crate) const ASIDE: f64 = 0.15;
/// Factor on the learning rate after each epoch.
const SLOWER: f64 = 0.93;
/// Epochs without a new best after which it stops.
const PATIENCE: u32 = 5;

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
