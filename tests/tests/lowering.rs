//! What the lowering makes of graphs that ONNX leaves open: an answer or a coded error, and never a wrong place.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use prost::Message;
use tiercast_core::{LowerOptions, Plan, lower};
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
    tensor_proto::DataType,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};

/// `Slice` of rows of five numbers, by the same axis again and again: [start, end, step] each time.
fn slices(cuts: &[[i64; 3]]) -> Result<Plan, &'static str> {
    let dim = |value| Dimension { value: Some(value), ..Dimension::default() };
    let dim = vec![dim(dimension::Value::DimParam("N".into())), dim(dimension::Value::DimValue(5))];
    let tensor =
        type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    let port = |name: &str| ValueInfoProto { name: name.into(), ..ValueInfoProto::default() };
    let list = |name: &str, int64_data: Vec<i64>| TensorProto {
        name: name.into(),
        data_type: DataType::Int64 as i32,
        dims: vec![int64_data.len() as i64],
        int64_data,
        ..TensorProto::default()
    };
    let each = |i: usize| cuts.iter().map(|cut| cut[i]).collect();
    let graph = GraphProto {
        input: vec![ValueInfoProto { r#type: Some(r#type), ..port("x") }],
        output: vec![port("y")],
        initializer: vec![
            list("starts", each(0)),
            list("ends", each(1)),
            list("axes", vec![1; cuts.len()]),
            list("steps", each(2)),
        ],
        node: vec![NodeProto {
            op_type: "Slice".into(),
            input: ["x", "starts", "ends", "axes", "steps"].map(String::from).to_vec(),
            output: vec!["y".into()],
            ..NodeProto::default()
        }],
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 13 }];
    let model = ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..ModelProto::default() };
    lower(&model.encode_to_vec(), &LowerOptions::default()).map_err(|error| error.code())
}

#[test]
fn a_slice_that_names_an_axis_again_cuts_what_was_cut() {
    const END: i64 = i64::MIN;
    let rows: Vec<f32> = (0..10).map(|i| i as f32).collect();
    let cases: [(&[[i64; 3]], &[f32]); 6] = [
        (&[[4, END, -1], [1, 4, 1]], &[3.0, 2.0, 1.0]),
        (&[[4, END, -1], [4, END, -1]], &[0.0, 1.0, 2.0, 3.0, 4.0]),
        (&[[1, 5, 1], [3, END, -1], [0, 4, 2]], &[4.0, 2.0]),
        (&[[4, END, -2], [2, END, -2]], &[0.0, 4.0]),
        (&[[0, 5, 2], [1, 3, 1], [-1, 5, 1]], &[4.0]),
        (&[[4, END, -1], [-1, 5, 1], [0, END, -1]], &[0.0]),
    ];
    for (cuts, wanted) in cases {
        let plan = slices(cuts).unwrap();
        let mut out = Vec::new();
        plan.run_rows(&mut plan.workspace(2), &rows, &mut out).unwrap();
        let second: Vec<f32> = wanted.iter().map(|x| x + 5.0).collect();
        assert_eq!(out, [wanted, &second].concat(), "{cuts:?}");
    }
    assert_eq!(slices(&[[4, END, -1], [0, 5, 0]]).unwrap_err(), "invalid_model");
}
