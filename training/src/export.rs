//! Writes a trained network as a standard ONNX file.
//!
//! The contract of every model: input `features`, float32 `[N, F]`, already transformed; output `probabilities`,
//! float32 `[N, K]`. Only Gemm, Relu, Erf and Softmax occur, so that any runtime can take it.

use prost::Message;
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

use crate::models::{Activation, Network};

/// The operator set that the file declares.
pub const OPSET: i64 = 13;
/// The version of the file layout that goes with it.
const IR_VERSION: i64 = 7;

/// The network as the bytes of an ONNX file. Equal networks give equal bytes.
///
/// `metadata` ends up in the file's properties, for people who open it.
pub fn onnx(name: &str, network: &Network, metadata: &[(&str, String)]) -> Vec<u8> {
    let property =
        |(key, value): &(&str, String)| StringStringEntryProto { key: (*key).into(), value: value.clone() };
    ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        producer_name: "tiercast".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph(name, network)),
        metadata_props: metadata.iter().map(property).collect(),
        ..Default::default()
    }
    .encode_to_vec()
}

fn graph(name: &str, network: &Network) -> GraphProto {
    let mut graph = GraphProto { name: name.into(), ..Default::default() };
    let mut value = "features".to_owned();
    for (at, layer) in network.layers.iter().enumerate() {
        let last = at + 1 == network.layers.len();
        let output =
            |name: String, is_final: bool| if is_final && last { "probabilities".into() } else { name };
        let (weight, bias) = (format!("weight_{at}"), format!("bias_{at}"));
        let operator = operator(layer.activation);
        let sums = output(format!("sums_{at}"), operator.is_none());
        graph.initializer.push(tensor(&weight, &[layer.inputs, layer.outputs], &layer.weight));
        graph.initializer.push(tensor(&bias, &[layer.outputs], &layer.bias));
        graph.node.push(node("Gemm", at, vec![value, weight, bias], sums.clone()));
        value = sums;
        if let Some(operator) = operator {
            let activated = output(format!("active_{at}"), true);
            graph.node.push(node(operator, at, vec![value], activated.clone()));
            value = activated;
        }
    }
    let inputs = network.layers.first().map_or(0, |layer| layer.inputs);
    let outputs = network.layers.last().map_or(0, |layer| layer.outputs);
    graph.input.push(rows("features", inputs));
    graph.output.push(rows("probabilities", outputs));
    graph
}

/// The ONNX operator of an activation; Softmax's axis is the last one by default.
fn operator(activation: Activation) -> Option<&'static str> {
    match activation {
        Activation::None => None,
        Activation::Relu => Some("Relu"),
        Activation::Erf => Some("Erf"),
        Activation::Softmax => Some("Softmax"),
    }
}

fn node(operator: &str, at: usize, input: Vec<String>, output: String) -> NodeProto {
    NodeProto {
        name: format!("{}_{at}", operator.to_lowercase()),
        op_type: operator.into(),
        input,
        output: vec![output],
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

/// The largest absolute difference between what two runtimes gave.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Kind, Model, fit, tests::ladder};
    use tiercast_core::OnnxModel as Tract;

    #[test]
    fn tract_gives_what_burn_gives_for_every_kind_and_batch() {
        let rows = ladder(400, 3);
        for kind in [Kind::Linear, Kind::Logistic, Kind::Svm, Kind::Dnn] {
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
