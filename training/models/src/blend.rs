//! Several models as one: the softmax of their weighted scores, added up.
//!
//! Each part already carries its weight, and the pool's bias is in the first one, so that a blend is a sum.

use serde::{Deserialize, Serialize};

use super::{
    Forest, Graded, Model, Network, Node, Pool, Reads, Rows, SameTier, Sequence, Tree, forest::softmax,
};

/// Parts that each give scores of the tiers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    /// Tiers.
    pub tiers: usize,
    /// They read dense inputs.
    pub networks: Vec<Network>,
    /// They read dense inputs and the sequence.
    pub sequences: Vec<Sequence>,
    /// They read plain inputs.
    pub graded: Vec<Graded>,
    /// It reads plain inputs.
    pub forest: Option<Forest>,
}

impl Blend {
    /// The blend of models by a pool; parts without weight are left out. The rule cannot be a part as it is: see
    /// [`rule`].
    pub fn new(models: &[&Model], pool: &Pool) -> Self {
        let mut bias = pool.bias.clone();
        let mut blend = Self {
            tiers: bias.len(),
            networks: Vec::new(),
            sequences: Vec::new(),
            graded: Vec::new(),
            forest: None,
        };
        let has_weight = pool.weights.iter().any(|weight| *weight > 0.0);
        for (model, weight) in models.iter().zip(&pool.weights).filter(|(_, w)| **w > 0.0 || !has_weight) {
            match model {
                Model::Network(network) => blend.networks.push(network.scores(*weight, &bias)),
                Model::Trees(forest) => blend.add(forest.scaled(*weight, &bias)),
                Model::Graded(graded) => blend.graded.push(graded.scaled(*weight, &bias)),
                Model::Sequence(sequence) => blend.sequences.push(sequence.scaled(*weight, &bias)),
                Model::Blend(_) | Model::SameTier(_) => continue,
            }
            bias.fill(0.0);
        }
        blend
    }

    /// Forests add up to one forest.
    fn add(&mut self, mut part: Forest) {
        match &mut self.forest {
            None => self.forest = Some(part),
            Some(forest) => {
                forest.trees.append(&mut part.trees);
                forest.base.iter_mut().zip(part.base).for_each(|(base, more)| *base += more);
            }
        }
    }

    /// Which inputs its parts read.
    pub fn reads(&self) -> Reads {
        let sequence = !self.sequences.is_empty();
        let plain = self.forest.is_some() || !self.graded.is_empty();
        Reads { dense: sequence || !self.networks.is_empty(), sequence, plain }
    }

    /// How many numbers its parts have, as [`Model::parameters`] counts them.
    pub fn parameters(&self) -> usize {
        let of_networks: usize = self.networks.iter().map(Network::parameters).sum();
        let of_sequences: usize = self.sequences.iter().map(Sequence::parameters).sum();
        let of_graded: usize = self.graded.iter().map(Graded::parameters).sum();
        of_networks + of_sequences + of_graded + self.forest.as_ref().map_or(0, Forest::leaves)
    }

    /// The sums of the parts' scores, row after row.
    pub fn scores(&self, rows: &Rows) -> Vec<f32> {
        let of_forest = self.forest.iter().map(|forest| forest.scores(&rows.plain));
        let of_sequences = self.sequences.iter().map(|sequence| sequence.scores(rows));
        // The head of a part is scores already.
        let of_graded = self.graded.iter().map(|graded| graded.probabilities(&rows.plain));
        let parts = self
            .networks
            .iter()
            .map(|network| network.run(&rows.inputs))
            .chain(of_sequences)
            .chain(of_graded)
            .chain(of_forest);
        let add = |mut sums: Vec<f32>, part: Vec<f32>| {
            sums.iter_mut().zip(part).for_each(|(sum, score)| *sum += score);
            sums
        };
        parts.reduce(add).unwrap_or_default()
    }

    /// Probabilities of the tiers, row after row.
    pub fn probabilities(&self, rows: &Rows) -> Vec<f32> {
        let mut p = vec![0.0; self.tiers];
        let row = |scores: &[f32]| {
            p.iter_mut().zip(scores).for_each(|(p, score)| *p = f64::from(*score));
            softmax(&mut p);
            p.iter().map(|p| *p as f32).collect::<Vec<_>>()
        };
        self.scores(rows).chunks_exact(self.tiers).flat_map(row).collect()
    }
}

/// Thousandths to which a spend is rounded where the rule cuts it: finer than any currency's minor unit.
const THOUSANDTHS: f64 = 1000.0;

/// The same-tier rule as trees over the plain input that holds the period's net spend, so that a bundle can hold it. The
/// rule is fitted to that input.
pub fn rule(tiers: usize, rows: &Rows, input: usize) -> Forest {
    let spend = rows.plain.iter().skip(input).step_by(rows.plain_width);
    let spend: Vec<i64> = spend.map(|spend| thousandths(*spend)).collect();
    let rule = SameTier::fit(tiers, &spend, &rows.targets);
    let cuts: Vec<f32> = rule.cuts().iter().map(|cut| below(*cut)).collect();
    let trees = (0..tiers).map(|tier| Tree { tier, nodes: chain(&cuts, input, &rule.log_frequencies(tier)) });
    Forest { inputs: rows.plain_width, tiers, base: vec![0.0; tiers], trees: trees.collect() }
}

/// A spend that does not reach a cut, in thousandths, while the next number that the input can hold does.
fn below(cut: i64) -> f32 {
    let mut below = ((cut as f64 - 0.5) / THOUSANDTHS) as f32;
    // From 16,384 on, neighbours are more than a thousandth apart, and half of one below may round to the cut itself.
    while thousandths(below) >= cut {
        below = below.next_down();
    }
    below
}

fn thousandths(spend: f32) -> i64 {
    (f64::from(spend) * THOUSANDTHS).round() as i64
}

/// Tests one cut after the other: the left child is the leaf of the rule's tier.
fn chain(cuts: &[f32], input: usize, leaves: &[f32]) -> Vec<Node> {
    let mut nodes = Vec::with_capacity(cuts.len() + leaves.len());
    for (cut, leaf) in cuts.iter().zip(leaves) {
        let at = nodes.len() as u32;
        let (left, right) = (at + 1, at + 2);
        nodes.push(Node::Branch { input: input as u32, at_most: *cut, missing_left: true, left, right });
        nodes.push(Node::Leaf(*leaf));
    }
    nodes.extend(leaves.last().map(|leaf| Node::Leaf(*leaf)));
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, fit, tests::ladder};

    fn with_spend(mut rows: Rows) -> Rows {
        rows.plain_width = 3;
        let row =
            |at: usize| [rows.inputs[at * 2], rows.inputs[at * 2 + 1], rows.current_spend[at] as f32 / 100.0];
        rows.plain = (0..rows.len()).flat_map(row).collect();
        rows
    }

    fn softmaxed(scores: &[f32]) -> Vec<f64> {
        let mut p: Vec<f64> = scores.iter().map(|x| f64::from(*x)).collect();
        softmax(&mut p);
        p
    }

    #[test]
    fn the_rule_as_trees_gives_the_rules_frequencies() {
        let rows = with_spend(ladder(500, 4));
        let forest = rule(4, &rows, 2);
        let plain = SameTier::fit(4, &rows.current_spend, &rows.targets).probabilities(&rows.current_spend);
        for (found, expected) in forest.probabilities(&rows.plain).iter().zip(&plain) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        let nobody = forest.probabilities(&[0.0, 0.0, f32::NAN]);
        assert_eq!(nobody, forest.probabilities(&[0.0, 0.0, -1e9]), "no spend is the lowest tier");
    }

    #[test]
    fn a_spend_at_the_cut_reaches_it_however_large() {
        for cut in [1, 10_000, 16_383_000, 16_384_001, 20_000_000, 123_456_789_000] {
            let below = below(cut);
            assert!(thousandths(below) < cut && thousandths(below.next_up()) >= cut, "{cut} {below}");
        }
        // As in a currency without minor units: half of the members spend 20,000, which is the cut, the others less.
        let rows = Rows {
            plain_width: 1,
            plain: (0..40).map(|at| if at < 20 { 19_000.0 } else { 20_000.0 }).collect(),
            targets: (0..40).map(|at| u8::from(at > 20) + 1).collect(),
            ..Rows::default()
        };
        let p = rule(2, &rows, 0).probabilities(&[19_999.0, 20_000.0]);
        assert!(p[0] > 0.9 && p[3] > 0.9, "{p:?}");
    }

    #[test]
    fn a_blend_is_the_pool_of_its_parts() {
        let rows = with_spend(ladder(600, 3));
        let fitted = [Kind::Linear, Kind::Logistic, Kind::Svm, Kind::Boosting]
            .map(|kind| fit(kind, 3, &rows, 3).unwrap().model);
        let rule = Model::Trees(rule(3, &rows, 2));
        let models: Vec<&Model> = fitted.iter().chain([&rule]).collect();
        let pool = Pool { weights: vec![0.3, 0.0, 0.9, 0.4, 0.2], bias: vec![0.2, -0.3, 0.1] };
        let scores: Vec<Vec<f32>> = models.iter().map(|model| model.scores(&rows)).collect();
        let blend = Blend::new(&models, &pool);
        let both = Reads { dense: true, sequence: false, plain: true };
        assert_eq!((blend.networks.len(), blend.reads()), (2, both), "one has no weight");
        for (found, expected) in blend.probabilities(&rows).iter().zip(pool.probabilities(&scores)) {
            assert!((found - expected).abs() < 2e-6, "{found} {expected}");
        }
    }

    #[test]
    fn scores_are_logarithms_of_probabilities() {
        let rows = with_spend(ladder(300, 3));
        for kind in [Kind::Linear, Kind::Logistic, Kind::Svm, Kind::Boosting] {
            let model = fit(kind, 3, &rows, 3).unwrap().model;
            let probabilities = model.probabilities(&rows);
            for (scores, p) in model.scores(&rows).chunks(3).zip(probabilities.chunks(3)) {
                let again = softmaxed(scores);
                assert!(
                    again.iter().zip(p).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-5),
                    "{kind:?}: {again:?} {p:?}"
                );
            }
        }
    }
}
