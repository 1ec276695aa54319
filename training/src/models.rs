//! The models that are compared: the same-tier rule, three linear ones, and a small network.
//!
//! All but the rule become a [`Network`], which is what Burn runs here and what ONNX carries elsewhere. Nothing in
//! this folder draws unseeded random numbers: the same rows and seed give the same model.

use anyhow::bail;
use tiercast_core::Decode;

mod convex;
mod dnn;
mod network;
mod same_tier;

pub use network::{Activation, Layer, Network};
pub use same_tier::SameTier;

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
    /// Dense network, 64 and 32 hidden units with ReLU, Adam, batches of 32, early stopping.
    Dnn,
}

impl Kind {
    /// All kinds and their names in project files, the rule first.
    pub const ALL: [(&'static str, Self); 5] = [
        ("same-tier", Self::SameTier),
        ("linear", Self::Linear),
        ("logistic", Self::Logistic),
        ("svm", Self::Svm),
        ("dnn", Self::Dnn),
    ];

    /// Finds a kind by name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn parse(name: &str) -> anyhow::Result<Self> {
        let Some((_, kind)) = Self::ALL.iter().find(|(known, _)| *known == name) else {
            bail!("there is no model {name:?}; use {}", Self::ALL.map(|(name, _)| name).join(", "));
        };
        Ok(*kind)
    }

    /// The name in project files.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// Rows as models see them.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Inputs a row.
    pub width: usize,
    /// Transformed features, row after row.
    pub inputs: Vec<f32>,
    /// Net spend in the current period, minor units: what the same-tier rule looks at.
    pub current_spend: Vec<i64>,
    /// The tier in the next period, 1…K.
    pub targets: Vec<u8>,
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

    /// One row's inputs.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.inputs[at * self.width..(at + 1) * self.width]
    }

    /// The rows at these places.
    pub fn select(&self, at: &[usize]) -> Self {
        Self {
            width: self.width,
            inputs: at.iter().flat_map(|at| self.row(*at)).copied().collect(),
            current_spend: at.iter().map(|at| self.current_spend[*at]).collect(),
            targets: at.iter().map(|at| self.targets[*at]).collect(),
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
        let aside =
            |member: u32| (mix(seed ^ u64::from(member)) >> 11) as f64 / (1_u64 << 53) as f64 <= share;
        let (taken, rest): (Vec<_>, Vec<_>) = (0..self.len()).partition(|at| aside(self.member[*at]));
        if taken.is_empty() || rest.is_empty() {
            // Too few members to part: better to judge on the training rows than on none.
            return (self.clone(), self.clone());
        }
        (self.select(&taken), self.select(&rest))
    }
}

/// A point of a learning curve.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CurvePoint {
    /// Epochs (network) or iterations of the solver (linear models) so far.
    pub step: u32,
    /// Mean loss on the rows it learns from.
    pub train: f64,
    /// Mean loss on the members set aside.
    pub validation: f64,
}

/// A trained model and how it came about.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The model.
    pub model: Model,
    /// Loss by step, on an inner split of the training rows; empty for the rule.
    pub curve: Vec<CurvePoint>,
    /// The weight of the L2 penalty that did best on the members set aside; none for the rule and the network.
    pub l2: Option<f64>,
}

/// A trained model.
#[derive(Clone, Debug)]
pub enum Model {
    /// The rule.
    SameTier(SameTier),
    /// Everything else.
    Network(Network),
}

impl Model {
    /// Probabilities of the tiers, row after row.
    pub fn probabilities(&self, rows: &Rows) -> Vec<f32> {
        match self {
            Self::SameTier(rule) => rule.probabilities(&rows.current_spend),
            Self::Network(network) => network.probabilities(&rows.inputs),
        }
    }

    /// The decided tiers: decoded probabilities, or for the rule its own tier.
    pub fn decide(&self, rows: &Rows, probabilities: &[f32], tiers: usize, decode: Decode) -> Vec<u8> {
        match self {
            Self::SameTier(rule) => rule.tiers(&rows.current_spend),
            Self::Network(_) => probabilities.chunks(tiers).map(|p| decode.decode(p)).collect(),
        }
    }
}

/// Trains a model on rows with `tiers` tiers.
///
/// # Errors
/// When the network's loss is never finite.
pub fn fit(kind: Kind, tiers: usize, rows: &Rows, seed: u64) -> anyhow::Result<Fitted> {
    Ok(match kind {
        Kind::SameTier => {
            let rule = SameTier::fit(tiers, &rows.current_spend, &rows.targets);
            Fitted { model: Model::SameTier(rule), curve: Vec::new(), l2: None }
        }
        Kind::Linear => convex::fit(convex::Objective::SquaredError, tiers, rows, seed),
        Kind::Logistic => convex::fit(convex::Objective::CrossEntropy, tiers, rows, seed),
        Kind::Svm => convex::fit(convex::Objective::SquaredHinge, tiers, rows, seed),
        Kind::Dnn => dnn::fit(tiers, rows, seed)?,
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
pub(crate) mod tests;
