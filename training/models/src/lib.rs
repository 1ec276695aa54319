//! The models that `tiercast train` compares: the same-tier rule, linear ones, small networks, boosted trees, networks over
//! a member's sequence, and their blend.
//!
//! The linear ones and the dense networks become a [`Network`], which is what Burn runs here; boosting becomes a [`Forest`],
//! trees that rank a [`Graded`], the networks over sequences a
//! [`Sequence`], and [`Blend`] is a sum of all. ONNX carries them elsewhere. Nothing here draws
//! unseeded random numbers: the same rows and seed give the same model. A crate of its own, because it is built optimised in
//! every profile, which what reads tables need not be.

#![deny(unsafe_code)]

use std::{borrow::Cow, collections::BTreeSet, fmt};

use anyhow::bail;

use device::Device;

mod blend;
pub mod boosting;
mod cholesky;
mod convex;
pub mod cuts;
mod descent;
pub mod device;
pub mod dnn;
mod forest;
mod graded;
mod hurdle;
pub mod kmeans;
mod moments;
mod network;
mod ordinal;
mod params;
pub mod policy;
mod pool;

pub mod recommend;
mod ridge;
pub mod risk;
mod same_tier;
pub mod sequence;
pub mod threads;
pub mod uplift;

pub use blend::{Blend, rule};
pub use forest::{Forest, Node, Tree};
pub use graded::Graded;
pub use network::{Activation, Layer, Network, SMALLEST};
pub use params::Params;
pub use pool::Pool;
pub use same_tier::SameTier;
pub use sequence::{Encoder, Sequence};

/// Which model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A member keeps the tier of the current period's spend: the rule to beat.
    SameTier,
    /// Linear regression on the tier's number, with normal errors around it.
    Linear,
    /// Multinomial logistic regression.
    Logistic,
    /// Linear support vector machine, one tier against the rest, squared hinge loss.
    Svm,
    /// Dense network with ReLU and dropout, Adam, early stopping.
    Dnn,
    /// Gradient-boosted decision trees.
    Boosting,
    /// Ordered logistic regression: proportional odds.
    Ordinal,
    /// The same dense network with the chances to go beyond each tier, given that it is reached: CORN.
    Corn,
    /// Logistic regression of going beyond the first tier, times ordered logistic regression of the tiers beyond.
    Hurdle,
    /// Ridge regression on the square root of the next period's spend.
    Ridge,
    /// A convolutional network over the member's sequence.
    Cnn,
    /// A recurrent network over it.
    Gru,
    /// An attention encoder over it.
    Transformer,
    /// Boosted trees on the place of the next period's spend among all members', graded into tiers.
    BoostingRank,
    /// All the project's other models, the rule among them, as a weighted sum.
    Blend,
}

impl Kind {
    /// All kinds and their names in project files, the rule first.
    pub const ALL: [(&'static str, Self); 15] = [
        ("same-tier", Self::SameTier),
        ("linear", Self::Linear),
        ("logistic", Self::Logistic),
        ("svm", Self::Svm),
        ("dnn", Self::Dnn),
        ("boosting", Self::Boosting),
        ("ordinal", Self::Ordinal),
        ("corn", Self::Corn),
        ("hurdle", Self::Hurdle),
        ("ridge", Self::Ridge),
        ("cnn", Self::Cnn),
        ("gru", Self::Gru),
        ("transformer", Self::Transformer),
        ("boosting-rank", Self::BoostingRank),
        ("blend", Self::Blend),
    ];

    /// Finds a kind by name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn parse(name: &str) -> anyhow::Result<Self> {
        let Some((_, kind)) = Self::ALL.iter().find(|(known, _)| *known == name) else {
            bail!("there is no model {name:?}; use {}", Self::names().join(", "));
        };
        Ok(*kind)
    }

    /// The names of all kinds, which are those that `[train] models` may name.
    pub fn names() -> [&'static str; 15] {
        Self::ALL.map(|(name, _)| name)
    }

    /// The name in project files.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// Whether it is a network that learns epoch by epoch: from the stream of a [`Fitting`], where there is one, and on its
    /// device. All others are trained from the rows at hand on the processor, by code of our own: Burn has no part in
    /// linear models and trees.
    pub fn is_network(self) -> bool {
        matches!(self, Self::Dnn | Self::Corn) || self.encoder().is_some()
    }

    /// What reads the sequence, for those that read one.
    pub fn encoder(self) -> Option<Encoder> {
        match self {
            Self::Cnn => Some(Encoder::Cnn),
            Self::Gru => Some(Encoder::Gru),
            Self::Transformer => Some(Encoder::Transformer),
            _ => None,
        }
    }
}

/// Which inputs of a row a model reads, and so what its bundle's transform and its ONNX file's input hold.
///
/// They come in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The dense ones.
    pub dense: bool,
    /// The steps of the sequence.
    pub sequence: bool,
    /// The plain ones.
    pub plain: bool,
}

impl Reads {
    /// The dense inputs alone.
    pub const DENSE: Self = Self { dense: true, sequence: false, plain: false };
    /// The plain inputs alone.
    pub const PLAIN: Self = Self { dense: false, sequence: false, plain: true };
    /// The dense inputs, then the sequence.
    pub const SEQUENCE: Self = Self { dense: true, sequence: true, plain: false };
}

/// Rows as models see them.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Dense inputs a row.
    pub width: usize,
    /// The dense inputs, row after row: imputed, scaled, never NaN.
    pub inputs: Vec<f32>,
    /// Plain inputs a row.
    pub plain_width: usize,
    /// The plain inputs, row after row: features as they are, codes one-hot, NaN where missing.
    pub plain: Vec<f32>,
    /// Steps of the sequence; 0 without one.
    pub steps: usize,
    /// Numbers of a step, the first is 1 where it is empty.
    pub channels: usize,
    /// The sequences, row after row, step after step, the earliest first: scaled, never NaN.
    pub sequence: Vec<f32>,
    /// Days to the first purchase of the next period, NaN where there is none; empty where no model asks for it.
    pub next_purchase: Vec<f32>,
    /// Net spend in the current period, minor units: what the same-tier rule looks at.
    pub current_spend: Vec<i64>,
    /// The tier in the next period, 1…K.
    pub targets: Vec<u8>,
    /// The net spend behind the targets, minor units; empty where no model asks for it.
    pub target_spend: Vec<i64>,
    /// Net spend from which a row is in each tier, minor units, the first 0; empty likewise.
    pub thresholds: Vec<i64>,
    /// Whose row it is, as a number; rows of one member never end up on both sides of a split.
    pub member: Vec<u32>,
}

impl Rows {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// One row's dense inputs.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.inputs[at * self.width..(at + 1) * self.width]
    }

    /// One row's plain inputs.
    pub fn plain_row(&self, at: usize) -> &[f32] {
        &self.plain[at * self.plain_width..(at + 1) * self.plain_width]
    }

    /// One row's sequence.
    pub fn sequence_of(&self, at: usize) -> &[f32] {
        let width = self.steps * self.channels;
        &self.sequence[at * width..(at + 1) * width]
    }

    /// One row's dense inputs and its sequence.
    fn sequence_row(&self, at: usize) -> impl Iterator<Item = f32> {
        self.row(at).iter().chain(self.sequence_of(at)).copied()
    }

    /// What a model reads, row after row.
    pub fn read(&self, reads: Reads) -> Cow<'_, [f32]> {
        match reads {
            Reads::DENSE => Cow::Borrowed(&self.inputs),
            Reads::PLAIN => Cow::Borrowed(&self.plain),
            _ => {
                let part = |read: bool, part: &[f32]| if read { part.to_vec() } else { Vec::new() };
                let row = |at: usize| {
                    let sequence = part(reads.sequence, self.sequence_of(at));
                    [part(reads.dense, self.row(at)), sequence, part(reads.plain, self.plain_row(at))]
                        .concat()
                };
                (0..self.len()).flat_map(row).collect()
            }
        }
    }

    /// The rows at these places.
    pub fn select(&self, at: &[usize]) -> Self {
        let mut inputs = Vec::with_capacity(at.len() * self.width);
        let mut plain = Vec::with_capacity(at.len() * self.plain_width);
        for at in at {
            inputs.extend_from_slice(self.row(*at));
            plain.extend_from_slice(self.plain_row(*at));
        }
        Self {
            width: self.width,
            inputs,
            plain_width: self.plain_width,
            plain,
            steps: self.steps,
            channels: self.channels,
            sequence: at.iter().flat_map(|at| self.sequence_of(*at)).copied().collect(),
            next_purchase: at.iter().filter_map(|at| self.next_purchase.get(*at)).copied().collect(),
            current_spend: at.iter().map(|at| self.current_spend[*at]).collect(),
            targets: at.iter().map(|at| self.targets[*at]).collect(),
            target_spend: at.iter().filter_map(|at| self.target_spend.get(*at)).copied().collect(),
            thresholds: self.thresholds.clone(),
            member: at.iter().map(|at| self.member[*at]).collect(),
        }
    }

    /// All rows, or where there are more than about `most`, those of so many members drawn by `seed`.
    fn sample(&self, most: usize, seed: u64) -> Self {
        if self.len() <= most {
            return self.clone();
        }
        self.part(most as f64 / self.len() as f64, seed).0
    }

    /// Parts the rows by member: those of about `share` of the members, and the others.
    fn part(&self, share: f64, seed: u64) -> (Self, Self) {
        let (taken, rest) = self.places(share, seed);
        (self.select(&taken), self.select(&rest))
    }

    /// The places of both parts.
    fn places(&self, share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
        let aside =
            |member: u32| (mix(seed ^ u64::from(member)) >> 11) as f64 / (1_u64 << 53) as f64 <= share;
        let (taken, rest): (Vec<_>, Vec<_>) = (0..self.len()).partition(|at| aside(self.member[*at]));
        if taken.is_empty() || rest.is_empty() {
            // Too few members to part: better to judge on the training rows than on none.
            return ((0..self.len()).collect(), (0..self.len()).collect());
        }
        (taken, rest)
    }
}

/// A point of a learning curve.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CurvePoint {
    /// Epochs (network), rounds (boosting) or iterations of the solver (linear models) so far.
    pub step: u32,
    /// Mean loss on the rows it learns from.
    pub train: f64,
    /// Mean loss on the members set aside.
    pub validation: f64,
}

/// A trained model and how it came about.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Fitted {
    /// The model.
    pub model: Model,
    /// Loss by step, on an inner split of the training rows; empty for the rule.
    pub curve: Vec<CurvePoint>,
    /// The weight of the L2 penalty that did best on members set aside, for linear models.
    pub l2: Option<f64>,
}

/// A trained model.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum Model {
    /// The rule.
    SameTier(SameTier),
    /// Linear models and the dense network.
    Network(Network),
    /// Boosted trees.
    Trees(Forest),
    /// Boosted trees with one sum, graded.
    Graded(Graded),
    /// Networks over the sequence.
    Sequence(Sequence),
    /// Several of these.
    Blend(Blend),
}

impl Model {
    /// Which inputs it reads; the rule, which reads spend, has those of the models beside it.
    pub fn reads(&self) -> Reads {
        match self {
            Self::SameTier(_) | Self::Network(_) => Reads::DENSE,
            Self::Trees(_) | Self::Graded(_) => Reads::PLAIN,
            Self::Sequence(_) => Reads::SEQUENCE,
            Self::Blend(blend) => blend.reads(),
        }
    }

    /// How many numbers the exported model has: weights and biases, those that are not trained (the differences after an
    /// error function, a calibration's diagonal) among them, or leaves.
    pub fn parameters(&self) -> usize {
        match self {
            Self::SameTier(_) => 0,
            Self::Network(network) => network.parameters(),
            Self::Trees(forest) => forest.leaves(),
            Self::Graded(graded) => graded.parameters(),
            Self::Sequence(sequence) => sequence.parameters(),
            Self::Blend(blend) => blend.parameters(),
        }
    }

    /// Probabilities of the tiers, row after row.
    pub fn probabilities(&self, rows: &Rows) -> Vec<f32> {
        match self {
            Self::SameTier(rule) => rule.probabilities(&rows.current_spend),
            Self::Network(network) => network.probabilities(&rows.inputs),
            Self::Trees(forest) => forest.probabilities(&rows.plain),
            Self::Graded(graded) => graded.probabilities(&rows.plain),
            Self::Sequence(sequence) => sequence.probabilities(rows),
            Self::Blend(blend) => blend.probabilities(rows),
        }
    }

    /// Scores of the tiers, row after row: logarithms of the probabilities, up to what all tiers of a row have in common.
    pub fn scores(&self, rows: &Rows) -> Vec<f32> {
        match self {
            Self::SameTier(_) => self.probabilities(rows).into_iter().map(|p| p.max(SMALLEST).ln()).collect(),
            Self::Network(network) => network.unweighted_scores().run(&rows.inputs),
            Self::Trees(forest) => forest.scores(&rows.plain),
            Self::Graded(graded) => graded.scores(&rows.plain),
            Self::Sequence(sequence) => sequence.scores(rows),
            Self::Blend(blend) => blend.scores(rows),
        }
    }

    /// The same model with its scores through a pool of one; the rule and a blend, which need none, as they are.
    pub fn calibrated(&self, pool: &Pool) -> Self {
        let weight = pool.weights.first().copied().unwrap_or(1.0);
        match self {
            Self::Network(network) => Self::Network(Network::from_scores(network.scores(weight, &pool.bias))),
            Self::Trees(forest) => Self::Trees(forest.scaled(weight, &pool.bias)),
            Self::Graded(graded) => Self::Graded(graded.calibrated(weight, &pool.bias)),
            Self::Sequence(sequence) => Self::Sequence(sequence.scaled(weight, &pool.bias)),
            Self::SameTier(_) | Self::Blend(_) => self.clone(),
        }
    }
}

/// What training depends on beside kind and rows.
#[derive(Clone, Copy, Debug)]
pub struct Fitting<'a> {
    /// Settings.
    pub params: &'a Params,
    /// The seed of every random choice.
    pub seed: u64,
    /// Where networks are trained.
    pub device: &'a Device,
    /// Rows for the networks beside those at hand, where memory does not hold all.
    pub stream: Option<&'a dyn Stream>,
}

/// More rows than memory holds: those at hand are a sample of their members, of which everything but the networks learns.
pub trait Stream: fmt::Debug + Sync {
    /// Gives all rows but those of some members of the sample, in parts that memory holds. The seed decides their order.
    ///
    /// # Errors
    /// When they cannot be read, and those of `learn`.
    fn pass(
        &self,
        seed: u64,
        left_out: &BTreeSet<u32>,
        learn: &mut dyn FnMut(&Rows) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;
}

/// Trains a model on rows with `tiers` tiers, with the default settings, on the processor.
///
/// # Errors
/// As [`fit_with`].
pub fn fit(kind: Kind, tiers: usize, rows: &Rows, seed: u64) -> anyhow::Result<Fitted> {
    let fitting = Fitting { params: &Params::default(), seed, device: &Device::Cpu, stream: None };
    fit_with(kind, &fitting, tiers, rows)
}

/// Trains a model on rows with `tiers` tiers.
///
/// # Errors
/// When the network's loss is never finite, or a stream cannot be read; for a blend, which is not trained on rows alone.
pub fn fit_with(kind: Kind, fitting: &Fitting, tiers: usize, rows: &Rows) -> anyhow::Result<Fitted> {
    let Fitting { params, seed, .. } = *fitting;
    Ok(match kind {
        Kind::SameTier => {
            let rule = SameTier::fit(tiers, &rows.current_spend, &rows.targets);
            Fitted { model: Model::SameTier(rule), curve: Vec::new(), l2: None }
        }
        Kind::Linear => convex::fit(convex::Objective::SquaredError, tiers, rows, seed),
        Kind::Logistic => convex::fit(convex::Objective::CrossEntropy, tiers, rows, seed),
        Kind::Svm => convex::fit(convex::Objective::SquaredHinge, tiers, rows, seed),
        Kind::Dnn => dnn::fit(fitting, dnn::Head::Softmax, tiers, rows)?,
        Kind::Boosting => boosting::fit(&params.boosting, tiers, rows, seed),
        Kind::BoostingRank => boosting::rank::fit(&params.boosting, tiers, rows, seed),
        Kind::Ordinal => convex::fit(convex::Objective::ProportionalOdds, tiers, rows, seed),
        Kind::Corn => dnn::fit(fitting, dnn::Head::Corn, tiers, rows)?,
        Kind::Hurdle => hurdle::fit(tiers, rows, seed)?,
        Kind::Ridge => ridge::fit(tiers, rows, seed),
        Kind::Cnn => sequence::fit(fitting, Encoder::Cnn, tiers, rows)?,
        Kind::Gru => sequence::fit(fitting, Encoder::Gru, tiers, rows)?,
        Kind::Transformer => sequence::fit(fitting, Encoder::Transformer, tiers, rows)?,
        Kind::Blend => bail!("a blend is made of models that are trained already"),
    })
}

/// SplitMix64's finaliser (Steele et al. 2014): spreads consecutive numbers over 64 bits.
pub fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
#[cfg(feature = "wgpu")]
mod devices;
#[cfg(test)]
mod tests;
