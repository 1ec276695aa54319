//! Writes a trained model as a standard ONNX file.
//!
//! The contract of every model: input `features`, float32 `[N, F]`, already transformed; output `probabilities`,
//! float32 `[N, K]`. Only a dozen common operators occur, and for trees ONNX-ML's TreeEnsembleClassifier, so that any
//! runtime can take it.

use prost::Message;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

use crate::models::{Activation, Forest, Graded, Model, Network, SMALLEST, Sequence};

mod attributes;
mod blend;
mod sequence;
mod trees;

/// The operator set that a file declares, unless attention needs a newer one.
pub const OPSET: i64 = 13;
/// The version of the file layout that goes with it.
const IR_VERSION: i64 = 7;

/// A model as the bytes of an ONNX file; none for the rule, which reads spend and not features. Equal models give
/// equal bytes.
///
/// `metadata` ends up in the file's properties, for people who open it.
pub fn model(name: &str, model: &Model, metadata: &[(&str, String)]) -> Option<Vec<u8>> {
    match model {
        Model::SameTier(_) => None,
        Model::Network(network) => Some(onnx(name, network, metadata)),
        Model::Trees(forest) => Some(forest_onnx(name, forest, metadata)),
        Model::Graded(graded) => Some(graded_onnx(name, graded, metadata)),
        Model::Sequence(model) => Some(file(sequence::graph(name, model), &[], metadata)),
        Model::Blend(blend) => Some(blend::onnx(name, blend, metadata)),
    }
}

/// What a network over sequences says of a member as the bytes of an ONNX file: `profile`, float32 `[N, embedding + 2]`.
pub fn profile(name: &str, model: &Sequence, metadata: &[(&str, String)]) -> Vec<u8> {
    file(sequence::profile(name, model), &[], metadata)
}

/// The network as the bytes of an ONNX file.
pub fn onnx(name: &str, network: &Network, metadata: &[(&str, String)]) -> Vec<u8> {
    file(graph(name, network), &[], metadata)
}

/// The trees as the bytes of an ONNX file.
pub fn forest_onnx(name: &str, forest: &Forest, metadata: &[(&str, String)]) -> Vec<u8> {
    let graph = GraphProto {
        name: name.into(),
        node: vec![trees::ensemble(forest, "features", "probabilities", "SOFTMAX")],
        input: vec![rows("features", forest.inputs)],
        output: vec![rows("probabilities", forest.tiers)],
        ..Default::default()
    };
    file(graph, &[trees::DOMAIN], metadata)
}

/// Trees that rank as the bytes of an ONNX file.
fn graded_onnx(name: &str, model: &Graded, metadata: &[(&str, String)]) -> Vec<u8> {
    let mut graph = GraphProto { name: name.into(), ..Default::default() };
    graded(&mut graph, model, "", "probabilities");
    graph.input.push(rows("features", model.forest.inputs));
    graph.output.push(rows("probabilities", model.head.layers.last().map_or(0, |layer| layer.outputs)));
    file(graph, &[trees::DOMAIN], metadata)
}

/// Adds trees that rank, and their head: the trees' operator gives classes, of which the second one is always 0.
fn graded(graph: &mut GraphProto, model: &Graded, prefix: &str, to: &str) {
    let (mut forest, mut head) = (model.forest.clone(), model.head.clone());
    forest.tiers = 2;
    forest.base.push(0.0);
    if let Some(first) = head.layers.first_mut() {
        first.inputs = 2;
        first.weight.extend(vec![0.0; first.outputs]);
    }
    let places = format!("{prefix}places");
    graph.node.push(trees::ensemble(&forest, "features", &places, "NONE"));
    layers(graph, &head, prefix, &places, to);
}

/// A file of a graph that needs these operator sets beside the common one.
fn file(graph: GraphProto, sets: &[(&str, i64)], metadata: &[(&str, String)]) -> Vec<u8> {
    let set =
        |(domain, version): &(&str, i64)| OperatorSetIdProto { domain: (*domain).into(), version: *version };
    let property =
        |(key, value): &(&str, String)| StringStringEntryProto { key: (*key).into(), value: value.clone() };
    ModelProto {
        ir_version: IR_VERSION,
        opset_import: [("", opset(&graph))].iter().chain(sets).map(set).collect(),
        producer_name: "tiercast".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        metadata_props: metadata.iter().map(property).collect(),
        ..Default::default()
    }
    .encode_to_vec()
}

/// The oldest common operator set that will do.
fn opset(graph: &GraphProto) -> i64 {
    let has_norm = graph.node.iter().any(|node| node.op_type == "LayerNormalization");
    if has_norm { sequence::OPSET } else { OPSET }
}

fn graph(name: &str, network: &Network) -> GraphProto {
    let mut graph = GraphProto { name: name.into(), ..Default::default() };
    layers(&mut graph, network, "", "features", "probabilities");
    let inputs = network.layers.first().map_or(0, |layer| layer.inputs);
    let outputs = network.layers.last().map_or(0, |layer| layer.outputs);
    graph.input.push(rows("features", inputs));
    graph.output.push(rows("probabilities", outputs));
    graph
}

/// Adds a network's layers between two values; its own names begin with `prefix`.
fn layers(graph: &mut GraphProto, network: &Network, prefix: &str, from: &str, to: &str) {
    let mut value = from.to_owned();
    for (at, layer) in network.layers.iter().enumerate() {
        let (weight, bias) = (format!("{prefix}weight_{at}"), format!("{prefix}bias_{at}"));
        graph.initializer.push(tensor(&weight, &[layer.inputs, layer.outputs], &layer.weight));
        graph.initializer.push(tensor(&bias, &[layer.outputs], &layer.bias));
        let mut steps = vec![("Gemm", vec![weight, bias], "sums")];
        match layer.activation {
            Activation::None => {}
            Activation::Relu => steps.push(("Relu", Vec::new(), "active")),
            Activation::Erf => steps.push(("Erf", Vec::new(), "active")),
            Activation::Softplus => steps.push(("Softplus", Vec::new(), "active")),
            // Its axis is the last one by default.
            Activation::Softmax => steps.push(("Softmax", Vec::new(), "active")),
            Activation::Log => {
                let smallest = format!("{prefix}smallest_{at}");
                graph.initializer.push(tensor(&smallest, &[], &[SMALLEST]));
                steps.push(("Clip", vec![smallest], "clipped"));
                steps.push(("Log", Vec::new(), "active"));
            }
        }
        let is_last = at + 1 == network.layers.len();
        let count = steps.len();
        for (step, (operator, constants, output)) in steps.into_iter().enumerate() {
            let ends = is_last && step + 1 == count;
            let output = if ends { to.to_owned() } else { format!("{prefix}{output}_{at}") };
            let inputs = [vec![value], constants].concat();
            graph.node.push(node(
                operator,
                &format!("{prefix}{}_{at}", operator.to_lowercase()),
                inputs,
                &output,
            ));
            value = output;
        }
    }
}

fn node(operator: &str, name: &str, input: Vec<String>, output: &str) -> NodeProto {
    NodeProto {
        name: name.into(),
        op_type: operator.into(),
        input,
        output: vec![output.into()],
        ..Default::default()
    }
}

fn tensor(name: &str, shape: &[usize], numbers: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: shape.iter().map(|size| *size as i64).collect(),
        data_type: DataType::Float as i32,
        raw_data: numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ..Default::default()
    }
}

/// A list of whole numbers.
fn integers(name: &str, numbers: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![numbers.len() as i64],
        data_type: DataType::Int64 as i32,
        raw_data: numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        ..Default::default()
    }
}

/// A value of shape `[N, width]`.
fn rows(name: &str, width: usize) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dimension = |value| Dimension { value: Some(value), ..Default::default() };
    let shape = TensorShapeProto {
        dim: vec![dimension(Value::DimParam("N".into())), dimension(Value::DimValue(width as i64))],
    };
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}

/// The largest absolute difference between what two runtimes gave: infinite where only one gave a number, and where one
/// gave fewer.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    let apart = |(a, b): (&f32, &f32)| {
        if a == b || (a.is_nan() && b.is_nan()) {
            return 0.0;
        }
        let apart = (a - b).abs();
        if apart.is_nan() { f32::INFINITY } else { apart }
    };
    let shorter = if a.len() == b.len() { 0.0 } else { f32::INFINITY };
    a.iter().zip(b).map(apart).fold(shorter, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::ladder,
        models::{Kind, Model, fit},
    };
    use tiercast_core::OnnxModel as Tract;

    #[test]
    fn what_is_no_number_or_missing_is_a_difference() {
        let (nan, infinity) = (f32::NAN, f32::INFINITY);
        assert_eq!(largest_difference(&[1.0, nan, infinity], &[1.5, nan, infinity]), 0.5);
        for (a, b) in [(&[nan][..], &[1.0][..]), (&[1.0], &[nan]), (&[infinity], &[1.0]), (&[], &[1.0])] {
            assert_eq!(largest_difference(a, b), infinity, "{a:?} {b:?}");
        }
    }

    #[test]
    fn tract_gives_what_burn_gives_for_every_kind_and_batch() {
        let rows = ladder(400, 3);
        let ordinal = [Kind::Ordinal, Kind::Corn, Kind::Hurdle];
        for kind in [Kind::Linear, Kind::Logistic, Kind::Svm, Kind::Dnn].into_iter().chain(ordinal) {
            let Model::Network(network) = fit(kind, 3, &rows, 5).unwrap().model else { panic!("{kind:?}") };
            let bytes = onnx(kind.name(), &network, &[]);
            assert_eq!(bytes, onnx(kind.name(), &network, &[]));
            let tract = Tract::load(&bytes, rows.width, 3).unwrap();
            for n in [1, 7, 400] {
                let input = &rows.inputs[..n * rows.width];
                let (burn, tract) = (network.probabilities(input), tract.run(input).unwrap());
                let difference = largest_difference(&burn, &tract);
                assert!(difference < 1e-5, "{kind:?}: {difference}");
            }
        }
    }
}
