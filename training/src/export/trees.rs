//! Boosted trees as ONNX-ML's `TreeEnsembleClassifier`.
//!
//! The base is a tree of a single leaf for each tier, after all others: base values of two classes mean different
//! things to different runtimes, and a leaf means the same to all.

use tract_onnx::pb::{AttributeProto, NodeProto};

use super::attributes::{floats, ints, text, texts};
use crate::models::{Forest, Node, Tree};

/// The operator's domain and the version of it that is used.
pub(super) const DOMAIN: (&str, i64) = ("ai.onnx.ml", 3);

/// The operator, from `[N, inputs]` to `[N, tiers]`: probabilities after `SOFTMAX`, scores after `NONE`.
pub(super) fn ensemble(forest: &Forest, input: &str, output: &str, after: &str) -> NodeProto {
    let base = forest.base.iter().enumerate();
    let base: Vec<Tree> = base.map(|(tier, x)| Tree { tier, nodes: vec![Node::Leaf(*x)] }).collect();
    let trees: Vec<&Tree> = forest.trees.iter().chain(&base).collect();
    let mut lists = Lists::default();
    trees.iter().zip(0..).for_each(|(tree, at)| lists.tree(tree, at));
    NodeProto {
        name: format!("{output}_trees"),
        op_type: "TreeEnsembleClassifier".into(),
        domain: DOMAIN.0.into(),
        input: vec![input.into()],
        // The likeliest tier, which nothing reads, and the values.
        output: vec![format!("{output}_label"), output.into()],
        attribute: lists.attributes(forest.tiers, after),
        ..Default::default()
    }
}

/// The operator's attributes: what it calls nodes, and what it calls classes, are leaves.
#[derive(Default)]
struct Lists {
    tree: Vec<i64>,
    node: Vec<i64>,
    input: Vec<i64>,
    mode: Vec<Vec<u8>>,
    at_most: Vec<f32>,
    left: Vec<i64>,
    right: Vec<i64>,
    missing_left: Vec<i64>,
    leaf_tree: Vec<i64>,
    leaf_node: Vec<i64>,
    tier: Vec<i64>,
    weight: Vec<f32>,
}

impl Lists {
    fn tree(&mut self, tree: &Tree, at: i64) {
        for (node, id) in tree.nodes.iter().zip(0..) {
            let (mode, input, at_most, missing_left, left, right) = match *node {
                Node::Leaf(weight) => {
                    self.leaf_tree.push(at);
                    self.leaf_node.push(id);
                    self.tier.push(tree.tier as i64);
                    self.weight.push(weight);
                    ("LEAF", 0, 0.0, false, 0, 0)
                }
                Node::Branch { input, at_most, missing_left, left, right } => {
                    ("BRANCH_LEQ", input, at_most, missing_left, left, right)
                }
            };
            self.tree.push(at);
            self.node.push(id);
            self.mode.push(mode.into());
            self.input.push(input.into());
            self.at_most.push(at_most);
            self.missing_left.push(missing_left.into());
            self.left.push(left.into());
            self.right.push(right.into());
        }
    }

    fn attributes(self, tiers: usize, after: &str) -> Vec<AttributeProto> {
        vec![
            ints("class_ids", self.tier),
            ints("class_nodeids", self.leaf_node),
            ints("class_treeids", self.leaf_tree),
            floats("class_weights", self.weight),
            ints("classlabels_int64s", (0..tiers as i64).collect()),
            ints("nodes_falsenodeids", self.right),
            ints("nodes_featureids", self.input),
            ints("nodes_missing_value_tracks_true", self.missing_left),
            texts("nodes_modes", self.mode),
            ints("nodes_nodeids", self.node),
            ints("nodes_treeids", self.tree),
            ints("nodes_truenodeids", self.left),
            floats("nodes_values", self.at_most),
            text("post_transform", after),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        export::{file, largest_difference, rows},
        fixtures::ladder,
        models::{Forest, Kind, Model, Rows, fit},
    };
    use tiercast_core::{LowerOptions, OnnxModel, lower};
    use tract_onnx::pb::GraphProto;

    /// Rows of the ladder of which every fifth lacks an input, and trees fitted to them.
    fn fitted(tiers: usize) -> (Forest, Rows) {
        let mut rows = ladder(900, tiers);
        rows.plain.iter_mut().step_by(5).for_each(|x| *x = f32::NAN);
        let Model::Trees(forest) = fit(Kind::Boosting, tiers, &rows, 1).unwrap().model else {
            panic!("not trees")
        };
        (forest, rows)
    }

    fn onnx(forest: &Forest, post: &str) -> Vec<u8> {
        let graph = GraphProto {
            name: "trees".into(),
            node: vec![ensemble(forest, "features", "scores", post)],
            input: vec![rows("features", forest.inputs)],
            output: vec![rows("scores", forest.tiers)],
            ..Default::default()
        };
        file(graph, &[DOMAIN], &[])
    }

    fn by_plan(onnx: &[u8], inputs: &[f32]) -> Vec<f32> {
        let plan = lower(onnx, &LowerOptions::default()).unwrap();
        let mut out = Vec::new();
        plan.run_rows(&mut plan.workspace(usize::MAX), inputs, &mut out).unwrap();
        out
    }

    #[test]
    fn the_engine_adds_trees_to_the_same_bits() {
        for tiers in [2, 3, 5] {
            let (forest, rows) = fitted(tiers);
            assert!(forest.trees.len() > 10 * tiers && forest.leaves() > 2 * forest.trees.len());
            let mut inputs = rows.plain.clone();
            inputs.extend([f32::NAN, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MAX]);
            let bits = |scores: Vec<f32>| scores.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let ours = forest.scores(&inputs);
            assert_eq!(bits(by_plan(&onnx(&forest, "NONE"), &inputs)), bits(ours));
        }
    }

    #[test]
    fn runtimes_give_the_probabilities_that_training_saw() {
        for tiers in [2, 3, 5] {
            let (forest, rows) = fitted(tiers);
            let bytes = onnx(&forest, "SOFTMAX");
            assert_eq!(bytes, onnx(&forest, "SOFTMAX"));
            let ours = forest.probabilities(&rows.plain);
            assert!(largest_difference(&ours, &by_plan(&bytes, &rows.plain)) < 1e-6);
            let some = 30;
            let tract = OnnxModel::load(&bytes, forest.inputs, tiers).unwrap();
            let tract = tract.run(&rows.plain[..some * forest.inputs]).unwrap();
            assert!(largest_difference(&ours[..some * tiers], &tract) < 1e-5);
        }
    }
}
