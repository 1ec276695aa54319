//! Trees whose one sum is graded into tiers: what regression trees are here.

use serde::{Deserialize, Serialize};

use super::{Forest, Network};

/// Trees with one sum, and a network from it to the tiers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graded {
    /// It reads plain inputs and has one sum.
    pub forest: Forest,
    /// It reads that sum.
    pub head: Network,
}

impl Graded {
    /// Probabilities of the tiers for rows of plain inputs, row after row.
    pub fn probabilities(&self, inputs: &[f32]) -> Vec<f32> {
        self.head.run(&self.forest.scores(inputs))
    }

    /// Scores of the tiers, which the head ends in: see [`Graded::scaled`].
    pub fn scores(&self, inputs: &[f32]) -> Vec<f32> {
        Self { head: self.head.unweighted_scores(), forest: self.forest.clone() }.probabilities(inputs)
    }

    /// The same whose head gives the tiers' scores times `weight` and with a bias for each.
    pub(super) fn scaled(&self, weight: f64, bias: &[f64]) -> Self {
        Self { head: self.head.scores(weight, bias), forest: self.forest.clone() }
    }

    /// The same whose probabilities are the softmax of scores times `weight` and with a bias for each.
    pub(super) fn calibrated(&self, weight: f64, bias: &[f64]) -> Self {
        let Self { forest, head } = self.scaled(weight, bias);
        Self { head: Network::from_scores(head), forest }
    }

    /// How many numbers it has, as [`super::Model::parameters`] counts them.
    pub fn parameters(&self) -> usize {
        self.forest.leaves() + self.head.parameters()
    }
}
