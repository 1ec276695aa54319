//! A blend as one ONNX graph: slices of the inputs for the networks, all inputs for the trees, the sum of their
//! scores, and a softmax.

use tract_onnx::pb::GraphProto;

use super::{file, graded, integers, layers, node, rows, sequence, trees};
use crate::models::{Blend, Forest, Graded, Node};

/// The file's bytes.
pub(super) fn onnx(name: &str, blend: &Blend, metadata: &[(&str, String)]) -> Vec<u8> {
    let sets: &[_] = if blend.reads().plain { &[trees::DOMAIN] } else { &[] };
    file(graph(name, blend), sets, metadata)
}

fn graph(name: &str, blend: &Blend) -> GraphProto {
    let mut graph = GraphProto { name: name.into(), ..Default::default() };
    let dense =
        blend.networks.first().and_then(|network| network.layers.first()).map_or(0, |layer| layer.inputs);
    let forests = blend.forest.iter().chain(blend.graded.iter().map(|graded| &graded.forest));
    let plain = forests.map(|forest| forest.inputs).next().unwrap_or(0);
    let from = if plain == 0 { "features" } else { "dense" };
    let from = if blend.sequences.is_empty() { from } else { "dense" };
    if dense > 0 && from == "dense" {
        slice(&mut graph, dense);
    }
    let mut parts = Vec::new();
    for (at, network) in blend.networks.iter().enumerate() {
        let scores = format!("scores_{at}");
        layers(&mut graph, network, &format!("network_{at}_"), from, &scores);
        parts.push(scores);
    }
    for (at, model) in blend.sequences.iter().enumerate() {
        parts.push(sequence::tiers(&mut graph, model, &format!("sequence_{at}_")));
    }
    let before = blend.sequences.first().map_or(dense, |model| model.architecture.shape.width());
    for (at, model) in blend.graded.iter().enumerate() {
        let scores = format!("scores_of_ranks_{at}");
        let model = Graded { forest: moved(&model.forest, before), head: model.head.clone() };
        graded(&mut graph, &model, &format!("ranks_{at}_"), &scores);
        parts.push(scores);
    }
    if let Some(forest) = &blend.forest {
        let scores = "scores_of_trees";
        graph.node.push(trees::ensemble(&moved(forest, before), "features", scores, "NONE"));
        parts.push(scores.into());
    }
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    for (at, part) in parts.enumerate() {
        let more = format!("sum_{at}");
        graph.node.push(node("Add", &format!("add_{at}"), vec![sum, part], &more));
        sum = more;
    }
    graph.node.push(node("Softmax", "softmax", vec![sum], "probabilities"));
    graph.input.push(rows("features", before + plain));
    graph.output.push(rows("probabilities", blend.tiers));
    graph
}

/// `dense` is the first `width` inputs.
fn slice(graph: &mut GraphProto, width: usize) {
    let numbers = [("starts", 0), ("ends", width as i64), ("axes", 1)];
    graph.initializer.extend(numbers.map(|(name, number)| integers(name, &[number])));
    let inputs = ["features"].into_iter().chain(numbers.map(|(name, _)| name));
    graph.node.push(node("Slice", "slice", inputs.map(String::from).collect(), "dense"));
}

/// The trees for rows that have `by` other inputs before theirs.
fn moved(forest: &Forest, by: usize) -> Forest {
    let mut moved = Forest { inputs: forest.inputs + by, ..forest.clone() };
    for node in moved.trees.iter_mut().flat_map(|tree| &mut tree.nodes) {
        if let Node::Branch { input, .. } = node {
            *input += by as u32;
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        export::{largest_difference, model},
        fixtures::ladder,
        models::{Kind, Model, Pool, Rows, fit, rule},
    };
    use tiercast_core::{LowerOptions, OnnxModel, lower};

    const ALONE: [Kind; 9] = [
        Kind::Linear,
        Kind::Logistic,
        Kind::Svm,
        Kind::Dnn,
        Kind::Boosting,
        Kind::Ordinal,
        Kind::Corn,
        Kind::Hurdle,
        Kind::BoostingRank,
    ];

    fn by_plan(onnx: &[u8], inputs: &[f32]) -> Vec<f32> {
        let plan = lower(onnx, &LowerOptions::default()).unwrap();
        let mut out = Vec::new();
        plan.run_rows(&mut plan.workspace(64), inputs, &mut out).unwrap();
        out
    }

    /// The ladder with plain inputs, some of which are missing.
    fn rows() -> Rows {
        let mut rows = ladder(400, 3);
        rows.plain_width = 2;
        let plain = |at: usize| {
            [if at.is_multiple_of(7) { f32::NAN } else { rows.inputs[at * 2] }, rows.current_spend[at] as f32]
        };
        rows.plain = (0..rows.len()).flat_map(plain).collect();
        rows
    }

    #[test]
    fn every_runtime_gives_what_the_blend_gives() {
        let rows = rows();
        let fitted: Vec<Model> = ALONE
            .map(|kind| fit(kind, 3, &rows, 5).unwrap().model)
            .into_iter()
            .chain([Model::Trees(rule(3, &rows, 1))])
            .collect();
        let all: Vec<&Model> = fitted.iter().collect();
        for weights in [
            vec![0.2, 0.3, 0.1, 0.2, 0.4, 0.1, 0.1, 0.1, 0.2, 0.3],
            vec![0.5, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 0.4, 0.3, 0.0, 0.0],
            vec![0.0, 0.0, 0.0, 0.0, 0.8, 0.0, 0.0, 0.0, 0.0, 0.2],
            vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0],
        ] {
            let pool = Pool { weights, bias: vec![0.1, 0.2, -0.3] };
            let blend = Model::Blend(Blend::new(&all, &pool));
            let inputs = rows.read(blend.reads());
            let (onnx, ours) = (model("blend", &blend, &[]).unwrap(), blend.probabilities(&rows));
            assert_eq!(onnx, model("blend", &blend, &[]).unwrap());
            let difference = largest_difference(&ours, &by_plan(&onnx, &inputs));
            assert!(difference < 2e-6, "{pool:?}: {difference}");
            let width = inputs.len() / rows.len();
            let tract = OnnxModel::load(&onnx, width, 3).unwrap().run(&inputs[..20 * width]).unwrap();
            assert!(largest_difference(&ours[..60], &tract) < 1e-5);
        }
    }

    #[test]
    fn a_calibrated_model_is_a_model_like_others() {
        let rows = rows();
        let pool = Pool { weights: vec![0.6], bias: vec![0.3, -0.1, -0.2] };
        for kind in ALONE {
            let plain = fit(kind, 3, &rows, 5).unwrap().model;
            let calibrated = plain.calibrated(&pool);
            let ours = calibrated.probabilities(&rows);
            let pooled = pool.probabilities(&[plain.scores(&rows)]);
            assert!(largest_difference(&ours, &pooled) < 2e-6, "{kind:?}");
            let onnx = model(kind.name(), &calibrated, &[]).unwrap();
            let inputs = rows.read(calibrated.reads());
            let difference = largest_difference(&ours, &by_plan(&onnx, &inputs));
            assert!(difference < 2e-6, "{kind:?}: {difference}");
        }
    }
}
