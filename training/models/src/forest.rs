//! Additive trees, as plain numbers: what boosting fits, what ONNX carries, and what is walked here.
//!
//! Scores are summed in 64 bits over the trees in their order, and the base comes last: the engine adds in the same
//! order, so that its scores have the same bits.

use serde::{Deserialize, Serialize};

/// Rows that take turns in a tree while it is at hand.
const BLOCK: usize = 512;

/// Trees whose sums, through a softmax, are the probabilities of the tiers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    /// Inputs a row.
    pub inputs: usize,
    /// Tiers.
    pub tiers: usize,
    /// Each tier's score before any tree.
    pub base: Vec<f32>,
    /// Each adds to one tier's score.
    pub trees: Vec<Tree>,
}

/// A decision tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The tier that its leaves speak for, from 0.
    pub tier: usize,
    /// The root first; children after their parents.
    pub nodes: Vec<Node>,
}

/// A node of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Node {
    /// A test: a row goes left where its input is at most the number.
    Branch {
        /// Which input.
        input: u32,
        /// The number, which is not NaN.
        at_most: f32,
        /// Whether a row without a value goes left.
        missing_left: bool,
        /// Place of the left child.
        left: u32,
        /// Place of the right child.
        right: u32,
    },
    /// What is added to the tier's score.
    Leaf(f32),
}

impl Tree {
    /// What the leaf says that a row reaches.
    ///
    /// # Panics
    /// When a node names an input or a child that is not there.
    pub fn value(&self, row: &[f32]) -> f32 {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Leaf(value) => return value,
                Node::Branch { input, at_most, missing_left, left, right } => {
                    let x = row[input as usize];
                    let goes_left = if x.is_nan() { missing_left } else { x <= at_most };
                    at = if goes_left { left } else { right } as usize;
                }
            }
        }
    }

    /// The number of leaves.
    pub fn leaves(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(node, Node::Leaf(_))).count()
    }
}

impl Forest {
    /// The tiers' scores for rows of inputs, row after row.
    pub fn scores(&self, inputs: &[f32]) -> Vec<f32> {
        inputs.chunks(BLOCK * self.inputs).flat_map(|rows| self.block(rows)).collect()
    }

    fn block(&self, inputs: &[f32]) -> impl Iterator<Item = f32> + '_ {
        let rows = inputs.chunks_exact(self.inputs);
        let mut sums = vec![0.0_f64; rows.len() * self.tiers];
        for tree in &self.trees {
            for (row, sums) in rows.clone().zip(sums.chunks_exact_mut(self.tiers)) {
                sums[tree.tier] += f64::from(tree.value(row));
            }
        }
        sums.into_iter().zip(self.base.iter().cycle()).map(|(sum, base)| (sum + f64::from(*base)) as f32)
    }

    /// The tiers' probabilities for rows of inputs, row after row.
    pub fn probabilities(&self, inputs: &[f32]) -> Vec<f32> {
        let mut probabilities = Vec::with_capacity(inputs.len() / self.inputs * self.tiers);
        let mut row = vec![0.0; self.tiers];
        for scores in self.scores(inputs).chunks_exact(self.tiers) {
            row.iter_mut().zip(scores).for_each(|(p, score)| *p = f64::from(*score));
            softmax(&mut row);
            probabilities.extend(row.iter().map(|p| *p as f32));
        }
        probabilities
    }

    /// The same with scores times `weight` and a bias for each tier.
    pub(super) fn scaled(&self, weight: f64, bias: &[f64]) -> Self {
        let mut forest = self.clone();
        let scaled = |x: f32, bias: f64| (f64::from(x) * weight + bias) as f32;
        forest.base.iter_mut().zip(bias).for_each(|(x, bias)| *x = scaled(*x, *bias));
        for node in forest.trees.iter_mut().flat_map(|tree| &mut tree.nodes) {
            if let Node::Leaf(value) = node {
                *value = scaled(*value, 0.0);
            }
        }
        forest
    }

    /// Trees of two classes whose log-odds are these, `weight` times as far and `bias` further.
    #[must_use]
    pub fn calibrated(&self, weight: f64, bias: f64) -> Self {
        self.scaled(weight, &[0.0, bias])
    }

    /// The number of leaves.
    pub fn leaves(&self) -> usize {
        self.trees.iter().map(Tree::leaves).sum()
    }
}

/// exp(x) / Σ exp(x), in place.
pub(super) fn softmax(row: &mut [f64]) {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|x| *x = (*x - most).exp());
    let total: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= total);
}
