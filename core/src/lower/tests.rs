//! Small graphs with a free batch axis, each run by the plan and, at a fixed batch, by tract.

use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use tract_onnx::{
    pb::{
        AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
        TypeProto, ValueInfoProto, tensor_proto::DataType, tensor_shape_proto, type_proto,
    },
    prelude::*,
};

use super::{LowerOptions, lower_model};
use crate::{
    engine::{Plan, Storage},
    error::ErrorKind,
};

/// The rows that a batch has here.
const ROWS: usize = 3;
/// A free axis, in the shapes below.
const N: i64 = -1;

/// Attributes that are lists.
const LISTS: [&str; 6] = ["axes", "dilations", "kernel_shape", "pads", "perm", "strides"];

/// A graph under construction.
#[derive(Clone, Default)]
struct Build {
    graph: GraphProto,
    opset: i64,
    inputs: Vec<Vec<i64>>,
}

impl Build {
    fn new(opset: i64, inputs: &[&[i64]]) -> Self {
        let mut build =
            Self { opset, inputs: inputs.iter().map(|i| i.to_vec()).collect(), ..Self::default() };
        for (i, dims) in inputs.iter().enumerate() {
            let dim = |n: &i64| {
                let value = match *n {
                    N => tensor_shape_proto::dimension::Value::DimParam("N".to_string()),
                    n => tensor_shape_proto::dimension::Value::DimValue(n),
                };
                tensor_shape_proto::Dimension { value: Some(value), ..Default::default() }
            };
            let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
            let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
            let r#type =
                TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
            let name = alloc::format!("x{i}");
            build.graph.input.push(ValueInfoProto { name, r#type: Some(r#type), ..Default::default() });
        }
        build
    }

    fn ints(mut self, name: &str, data: &[i64]) -> Self {
        let data_type = DataType::Int64 as i32;
        let (dims, int64_data) = (vec![data.len() as i64], data.to_vec());
        let name = name.to_string();
        self.graph.initializer.push(TensorProto { name, data_type, dims, int64_data, ..Default::default() });
        self
    }

    fn floats(mut self, name: &str, dims: &[i64]) -> Self {
        let data_type = DataType::Float as i32;
        let float_data = noise(dims.iter().product::<i64>() as usize, 7);
        let (name, dims) = (name.to_string(), dims.to_vec());
        self.graph.initializer.push(TensorProto { name, data_type, dims, float_data, ..Default::default() });
        self
    }

    /// `"op a b -> c"`, with attributes that are integers or, by their names, lists of them.
    fn node(mut self, text: &str, attributes: &[(&str, &[i64])]) -> Self {
        let words: Vec<String> = text.split(' ').map(String::from).collect();
        let arrow = words.iter().position(|word| word == "->").unwrap();
        let attribute = attributes
            .iter()
            .map(|(name, ints)| {
                let list = LISTS.contains(name);
                AttributeProto {
                    name: name.to_string(),
                    r#type: if list { 7 } else { 2 },
                    i: if list { 0 } else { ints[0] },
                    ints: if list { ints.to_vec() } else { vec![] },
                    ..Default::default()
                }
            })
            .collect();
        self.graph.node.push(NodeProto {
            op_type: words[0].clone(),
            // An underscore is an input left out.
            input: words[1..arrow].iter().map(|name| name.replace('_', "")).collect(),
            output: words[arrow + 1..].to_vec(),
            attribute,
            ..Default::default()
        });
        self
    }

    fn text(mut self, name: &str, value: &str) -> Self {
        let (name, s) = (name.to_string(), value.as_bytes().to_vec());
        let attribute = AttributeProto { name, s, r#type: 3, ..Default::default() };
        self.graph.node.last_mut().unwrap().attribute.push(attribute);
        self
    }

    fn model(&self, outputs: &[&str]) -> ModelProto {
        let mut graph = self.graph.clone();
        let output = |name: &&str| ValueInfoProto { name: name.to_string(), ..Default::default() };
        graph.output = outputs.iter().map(output).collect();
        let opset = OperatorSetIdProto { domain: String::new(), version: self.opset };
        ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..Default::default() }
    }

    fn plan(&self, output: &str) -> crate::Result<Plan> {
        lower_model(&self.model(&[output]), &LowerOptions::default())
    }

    /// The shapes and values of the inputs.
    fn fed(&self) -> Vec<(Vec<usize>, Vec<f32>)> {
        let fixed = |dims: &Vec<i64>| dims.iter().map(|n| if *n == N { ROWS } else { *n as usize }).collect();
        let shapes: Vec<Vec<usize>> = self.inputs.iter().map(fixed).collect();
        let values = |(i, shape): (usize, Vec<usize>)| {
            let values = noise(shape.iter().product(), i as u32);
            (shape, values)
        };
        shapes.into_iter().enumerate().map(values).collect()
    }

    /// What the plan gives, row after row.
    fn rows(&self, output: &str) -> Vec<f32> {
        let plan = self.plan(output).unwrap();
        let mut workspace = plan.workspace(ROWS);
        for (i, (dims, (shape, values))) in self.inputs.iter().zip(self.fed()).enumerate() {
            let at = dims.iter().position(|n| *n == N).unwrap();
            plan.input(&mut workspace, i, ROWS).copy_from_slice(&moved(&values, &shape, at));
        }
        plan.run(&mut workspace, ROWS).unwrap();
        plan.output(&workspace, 0, ROWS).to_vec()
    }

    /// Runs both; the values must agree, row by row, wherever the batch axis is.
    fn agrees(&self, output: &str, batch_at: usize) {
        let (shape, values) = self.tract(output);
        let (ours, theirs) = (self.rows(output), moved(&values, &shape, batch_at));
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(&theirs) {
            let close = (a - b).abs() <= 1e-5 * b.abs().max(1.0);
            assert!(close, "{:?} {output}: {ours:?} {theirs:?}", self.graph.node);
        }
    }

    fn tract(&self, output: &str) -> (Vec<usize>, Vec<f32>) {
        let mut model = tract_onnx::onnx().model_for_proto_model(&self.model(&[output])).unwrap();
        let mut inputs = TVec::new();
        for (i, (shape, values)) in self.fed().iter().enumerate() {
            model.set_input_fact(i, f32::fact(shape).into()).unwrap();
            inputs.push(Tensor::from_shape(shape, values).unwrap().into_tvalue());
        }
        let outputs = model.into_typed().unwrap().into_runnable().unwrap().run(inputs).unwrap();
        let tensor = outputs[0].cast_to::<f32>().unwrap();
        (tensor.shape().to_vec(), tensor.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec())
    }
}

/// Values with one axis moved to the front.
fn moved(values: &[f32], shape: &[usize], at: usize) -> Vec<f32> {
    let after: usize = shape[at + 1..].iter().product();
    let len = shape[at];
    (0..len)
        .flat_map(|n| {
            values.chunks(len * after).flat_map(move |part| part[n * after..(n + 1) * after].to_vec())
        })
        .collect()
}

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_add(1).wrapping_mul(2_654_435_761);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

#[test]
fn the_batch_moves_with_shapes() {
    let x = |dims: &[i64]| Build::new(13, &[dims]);
    x(&[N, 2, 3]).node("Transpose x0 -> y", &[("perm", &[2, 0, 1])]).agrees("y", 1);
    x(&[N, 2, 3]).node("Flatten x0 -> y", &[]).agrees("y", 0);
    x(&[N, 2, 3]).ints("s", &[0, -1]).node("Reshape x0 s -> y", &[]).agrees("y", 0);
    x(&[N, 6]).ints("s", &[-1, 2, 3]).node("Reshape x0 s -> y", &[]).agrees("y", 0);
    x(&[2, N, 3]).ints("s", &[2, -1, 3, 1]).node("Reshape x0 s -> y", &[]).agrees("y", 1);
    x(&[N, 1, 3]).ints("a", &[1]).node("Squeeze x0 a -> y", &[]).agrees("y", 0);
    x(&[N, 3]).ints("a", &[0, 3]).node("Unsqueeze x0 a -> y", &[]).agrees("y", 1);
    // The batch's length is taken from the input's shape, as exporters do.
    x(&[N, 2, 3])
        .node("Shape x0 -> s", &[])
        .ints("zero", &[0])
        .node("Gather s zero -> n", &[])
        .ints("rest", &[6])
        .node("Concat n rest -> t", &[("axis", &[0])])
        .node("Reshape x0 t -> y", &[])
        .agrees("y", 0);
}

#[test]
fn what_mixes_rows_is_refused() {
    let refused = |build: Build| build.plan("y").unwrap_err().kind() == ErrorKind::UnsupportedModel;
    let x = |dims: &[i64]| Build::new(13, &[dims]);
    assert!(refused(x(&[N, 4]).ints("s", &[-1, 2]).node("Reshape x0 s -> y", &[])));
    assert!(refused(x(&[N, 4]).ints("s", &[4, -1]).node("Reshape x0 s -> y", &[])));
    assert!(refused(x(&[N, 4]).node("Flatten x0 -> y", &[("axis", &[2])])));
    assert!(refused(x(&[N, 4]).node("ReduceMean x0 -> y", &[("axes", &[0])])));
    assert!(refused(x(&[N, 4]).node("Softmax x0 -> y", &[("axis", &[0])])));
    assert!(refused(x(&[N, 4]).node("Concat x0 x0 -> y", &[("axis", &[0])])));
    assert!(refused(x(&[N, 4]).node("Transpose x0 -> t", &[]).node("MatMul t x0 -> y", &[])));
    assert!(refused(x(&[N, 4]).node("Transpose x0 -> t", &[]).node("Add t x0 -> y", &[])));
    assert!(refused(x(&[N, 4]).ints("i", &[0]).node("Gather x0 i -> y", &[])));
    assert!(refused(x(&[N, 4]).node("TopK x0 -> y z", &[("axis", &[0])])));
    let message = x(&[N, 4]).node("Hardmax x0 -> y", &[]).plan("y").unwrap_err();
    assert!(message.message().contains("Hardmax (node \"y\", ai.onnx 13)"), "{message}");
    assert!(message.message().contains("--engine onnx"));
}

#[test]
fn products() {
    let x = |dims: &[i64]| Build::new(13, &[dims]);
    x(&[N, 4]).floats("w", &[4, 5]).node("MatMul x0 w -> y", &[]).agrees("y", 0);
    x(&[N, 3, 4]).floats("w", &[4, 5]).node("MatMul x0 w -> y", &[]).agrees("y", 0);
    x(&[N, 4]).floats("w", &[4]).node("MatMul x0 w -> y", &[]).agrees("y", 0);
    x(&[N, 3, 4]).floats("w", &[2, 3]).node("MatMul w x0 -> y", &[]).agrees("y", 0);
    let gemm = |c: &[i64], attributes: &[(&str, &[i64])]| {
        x(&[N, 4])
            .floats("w", if attributes.is_empty() { &[4, 5] } else { &[5, 4] })
            .floats("c", c)
            .node("Gemm x0 w c -> y", attributes)
    };
    gemm(&[5], &[]).agrees("y", 0);
    gemm(&[1, 5], &[("transB", &[1])]).agrees("y", 0);
    gemm(&[1], &[("transB", &[1])]).agrees("y", 0);
    // Attention: the products of two computed stacks.
    Build::new(13, &[&[N, 2, 3, 4], &[N, 2, 4, 5]]).node("MatMul x0 x1 -> y", &[]).agrees("y", 0);
    Build::new(13, &[&[N, 4], &[N, 4]])
        .ints("a", &[1])
        .ints("b", &[2])
        .node("Unsqueeze x0 a -> p", &[])
        .node("Unsqueeze x1 b -> q", &[])
        .node("MatMul p q -> y", &[])
        .agrees("y", 0);
}

#[test]
fn broadcasts_and_movements() {
    let two = |a: &[i64], b: &[i64]| Build::new(13, &[a, b]);
    two(&[N, 3], &[N, 1]).node("Mul x0 x1 -> y", &[]).agrees("y", 0);
    two(&[N, 2, 3], &[N, 2, 3]).node("Concat x0 x1 -> y", &[("axis", &[2])]).agrees("y", 0);
    two(&[N, 2, 3], &[N, 4, 3]).node("Concat x0 x1 -> y", &[("axis", &[-2])]).agrees("y", 0);
    two(&[N, 3], &[N, 3]).node("Less x0 x1 -> c", &[]).node("Where c x0 x1 -> y", &[]).agrees("y", 0);
    let x = |dims: &[i64]| Build::new(13, &[dims]);
    x(&[N, 2, 3]).floats("b", &[2, 1]).node("Sub b x0 -> y", &[]).agrees("y", 0);
    x(&[N, 2, 3]).floats("b", &[1, 1, 3]).node("Max x0 b -> y", &[]).agrees("y", 0);
    x(&[N, 1, 3]).ints("s", &[1, 4, 3]).node("Expand x0 s -> y", &[]).agrees("y", 0);
    let slice = |starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]| {
        let x = x(&[N, 5, 6]).ints("s", starts).ints("e", ends);
        x.ints("a", axes).ints("p", steps).node("Slice x0 s e a p -> y", &[]).agrees("y", 0);
    };
    slice(&[1, 0], &[4, 6], &[1, 2], &[2, 3]);
    slice(&[-1, -2], &[i64::MIN + 1, 0], &[1, 2], &[-1, -2]);
    slice(&[0, 2], &[i64::MAX, 9], &[0, 2], &[1, 1]);
    let table = x(&[N, 2]).floats("t", &[7, 3]).node("Abs x0 -> p", &[]);
    let table = table.node("Cast p -> i", &[("to", &[7])]).node("Gather t i -> y", &[]);
    table.agrees("y", 0);
    x(&[N, 4, 3]).ints("i", &[2, 0]).node("Gather x0 i -> y", &[("axis", &[1])]).agrees("y", 0);
    x(&[N, 2, 3]).ints("p", &[0, 1, 0, 0, 0, 2]).node("Pad x0 p -> y", &[]).agrees("y", 0);
    let parts = x(&[N, 5]).ints("p", &[2, 3]).node("Split x0 p -> a b", &[("axis", &[1])]);
    parts.agrees("a", 0);
    parts.agrees("b", 0);
}

#[test]
fn reductions() {
    let x = |opset, dims: &[i64]| Build::new(opset, &[dims]);
    x(13, &[N, 2, 3, 4]).node("ReduceMean x0 -> y", &[("axes", &[1, 3])]).agrees("y", 0);
    x(13, &[N, 2, 3, 4]).node("ReduceMax x0 -> y", &[("axes", &[1, 2]), ("keepdims", &[0])]).agrees("y", 0);
    x(13, &[2, N, 3]).node("ReduceMean x0 -> y", &[("axes", &[0, 2]), ("keepdims", &[1])]).agrees("y", 1);
    x(13, &[2, N, 3]).node("ReduceMean x0 -> y", &[("axes", &[0, 2]), ("keepdims", &[0])]).agrees("y", 0);
    x(13, &[N, 2, 3]).node("Softmax x0 -> y", &[("axis", &[1])]).agrees("y", 0);
    x(11, &[N, 2, 3]).node("Softmax x0 -> y", &[]).agrees("y", 0);
    x(11, &[N, 2, 3]).node("LogSoftmax x0 -> y", &[("axis", &[2])]).agrees("y", 0);
    x(13, &[N, 5]).node("ArgMax x0 -> y", &[("axis", &[1]), ("keepdims", &[0])]).agrees("y", 0);
    let top = x(13, &[N, 5]).ints("k", &[2]).node("TopK x0 k -> v i", &[]);
    top.agrees("v", 0);
    top.agrees("i", 0);
}

#[test]
fn convolutions_and_pools() {
    let x = |dims: &[i64]| Build::new(13, &[dims]);
    let conv = |dims: &[i64], w: &[i64], attributes: &[(&str, &[i64])]| {
        let bias = &w[..1];
        x(dims).floats("w", w).floats("b", bias).node("Conv x0 w b -> y", attributes)
    };
    conv(&[N, 2, 9], &[4, 2, 3], &[("pads", &[1, 1]), ("strides", &[2])]).agrees("y", 0);
    conv(&[N, 2, 9], &[4, 1, 3], &[("group", &[2]), ("dilations", &[2])]).agrees("y", 0);
    conv(&[N, 2, 5, 6], &[3, 2, 2, 3], &[]).text("auto_pad", "SAME_UPPER").agrees("y", 0);
    let pool = [("kernel_shape", &[3, 2][..]), ("strides", &[2, 2]), ("pads", &[1, 0, 1, 0])];
    x(&[N, 2, 5, 6]).node("MaxPool x0 -> y", &pool).agrees("y", 0);
    x(&[N, 2, 5, 6]).node("AveragePool x0 -> y", &pool).agrees("y", 0);
    x(&[N, 2, 5, 6]).node("GlobalAveragePool x0 -> y", &[]).agrees("y", 0);
    // A convolution over a sequence whose batch is not first.
    let moved = x(&[9, N, 2]).node("Transpose x0 -> t", &[("perm", &[1, 2, 0])]);
    moved.floats("w", &[4, 2, 3]).node("Conv t w -> y", &[]).agrees("y", 0);
}

#[test]
fn recurrent_layers() {
    let reversed = |build: Build, text: &str| {
        let build = build.ints("s", &[-1]).ints("e", &[i64::MIN + 1]).ints("a", &[0]).ints("p", &[-1]);
        build.node(text, &[])
    };
    let layer = |build: Build, operator: &str, gates: i64, direction: &str, names: &str| {
        let directions = if direction == "bidirectional" { 2 } else { 1 };
        build
            .floats("w", &[directions, gates * 4, 3])
            .floats("r", &[directions, gates * 4, 4])
            .floats("b", &[directions, 2 * gates * 4])
            .node(&alloc::format!("{operator} {names}"), &[("hidden_size", &[4])])
            .text("direction", direction)
    };
    let x = || Build::new(14, &[&[5, N, 3]]);
    for (operator, gates) in [("RNN", 1), ("GRU", 3), ("LSTM", 4)] {
        let names = "x0 w r b -> y h";
        let [forward, backward, both] = ["forward", "reverse", "bidirectional"]
            .map(|direction| layer(x(), operator, gates, direction, names));
        forward.agrees("y", 2);
        forward.agrees("h", 1);
        // tract's reversed layers differ from ONNX's definition and from onnxruntime.
        let turned = reversed(x(), "Slice x0 s e a p -> t");
        let turned = layer(turned, operator, gates, "forward", "t w r b -> u h");
        assert_eq!(backward.rows("h"), turned.rows("h"));
        assert_eq!(backward.rows("y"), turned.node("Slice u s e a p -> y", &[]).rows("y"));
        // The weights of the first direction are the same.
        let first = both.ints("zero", &[0]).node("Gather y zero -> z", &[("axis", &[1])]);
        assert_eq!(first.rows("z"), forward.rows("y"));
    }
}

#[test]
fn normalisation() {
    let x = |dims: &[i64]| Build::new(17, &[dims]);
    let batch = x(&[N, 2, 3]).floats("s", &[2]).floats("b", &[2]).floats("m", &[2]);
    let batch = batch.node("Abs s -> v", &[]);
    batch.node("BatchNormalization x0 s b m v -> y", &[]).agrees("y", 0);
    let layer = x(&[N, 2, 3]).floats("s", &[3]).floats("b", &[3]);
    layer.node("LayerNormalization x0 s b -> y", &[]).agrees("y", 0);
}

#[test]
fn constants_go_into_the_weights_before_them() {
    let steps = |build: &Build| build.plan("y").unwrap().program.kernels.len();
    let x = |dims: &[i64]| Build::new(13, &[dims]);
    let conv = x(&[N, 2, 9]).floats("w", &[4, 2, 3]).node("Conv x0 w -> c", &[]);
    let conv = conv.floats("s", &[4]).floats("b", &[4]).floats("m", &[4]).node("Abs s -> v", &[]);
    let conv = conv.node("BatchNormalization c s b m v -> n", &[]).node("Relu n -> y", &[]);
    conv.agrees("y", 0);
    let linear = |shape: &[i64]| {
        let product = x(&[N, 3, 4]).floats("w", &[4, 11]).node("MatMul x0 w -> p", &[]);
        product.floats("b", shape).node("Add b p -> q", &[]).node("Tanh q -> y", &[])
    };
    for shape in [&[11][..], &[1, 1, 11], &[1], &[3, 1], &[3, 11]] {
        linear(shape).agrees("y", 0);
    }
    let counts = [&[11][..], &[1, 1, 11], &[1], &[3, 1], &[3, 11]].map(|shape| steps(&linear(shape)));
    assert_eq!((steps(&conv), counts), (1, [1, 1, 1, 3, 3]));
    // What something else reads must stay as it is.
    let read_twice = linear(&[11]).node("Mul y p -> z", &[]);
    read_twice.agrees("z", 0);
}

#[test]
fn weights_of_every_product_can_be_stored_in_fewer_bits() {
    let gru = Build::new(14, &[&[3, N, 16]]).floats("w", &[1, 96, 16]).floats("r", &[1, 96, 32]);
    let products = [
        Build::new(13, &[&[N, 64]]).floats("w", &[64, 64]).node("MatMul x0 w -> y", &[]),
        Build::new(13, &[&[N, 8, 5]]).floats("w", &[32, 8, 5]).node("Conv x0 w -> y", &[]),
        gru.node("GRU x0 w r -> _ y", &[("hidden_size", &[32])]),
    ];
    for product in products {
        let stored = |storage| {
            let options = LowerOptions { storage, ..LowerOptions::default() };
            lower_model(&product.model(&["y"]), &options).unwrap().write().len() as f64
        };
        let whole = stored(Storage::F32);
        let (half, quarter) = (stored(Storage::F16) / whole, stored(Storage::I8) / whole);
        assert!(half < 0.6 && quarter < 0.4, "{half} {quarter} {:?}", product.graph.node);
    }
}

#[test]
fn constant_integers_are_chosen_and_cut() {
    let x = Build::new(13, &[&[N, 6]]).ints("yes", &[1, 0, 1]).ints("a", &[5]).ints("b", &[7]);
    let chosen = x.node("Cast yes -> c", &[("to", &[9])]).node("Where c a b -> i", &[]);
    // Of the places 5, 7 − 2 · 1 and 5: three columns.
    let chosen = chosen.ints("t", &[0, 2, 0]).node("Sub i t -> at", &[]);
    let picked = chosen.node("Gather x0 at -> y", &[("axis", &[1])]);
    picked.agrees("y", 0);
    // A list cut from the length of the batch on.
    let x = Build::new(13, &[&[N, 2]]).node("Shape x0 -> s", &[]).ints("zero", &[0]).ints("one", &[1]);
    let x = x.node("Slice s zero one -> n", &[]).ints("list", &[2, 3]).ints("end", &[9]);
    let cut = x.node("Slice list n end -> l", &[]).node("Expand x0 l -> y", &[]);
    assert!(cut.plan("y").is_err());
}

#[test]
fn hostile_sizes_are_errors() {
    let x = |dims: &[i64]| Build::new(13, &[dims]);
    let huge = [1 << 26; 8];
    // Batch first, which turns the first state round, if it has the axes for it.
    let rnn = |state: &[i64]| {
        let weights = Build::new(14, &[&[N, 5, 3]]).floats("w", &[1, 2, 3]).floats("r", &[1, 2, 2]);
        let attributes = [("hidden_size", &[2][..]), ("layout", &[1])];
        weights.floats("h", state).node("RNN x0 w r _ _ h -> y", &attributes)
    };
    let builds = [
        x(&[N, 1]).ints("s", &huge).node("Expand x0 s -> y", &[]),
        x(&[N, 1]).ints("s", &huge).node("ConstantOfShape s -> y", &[]),
        x(&[N, 0]).ints("s", &[1 << 26, 1 << 26, 1 << 26, 0]).node("Reshape x0 s -> y", &[]),
        x(&[1, 0]).ints("s", &[1 << 26, 1 << 26, 1 << 26, 0]).node("Reshape x0 s -> y", &[]),
        x(&[N, 1]).ints("s", &[1 << 26, 1 << 26, 1 << 26, 0]).node("ConstantOfShape s -> y", &[]),
        x(&[1, 1]).ints("s", &[1 << 26, 1 << 26, 1 << 26, 0]).node("Expand x0 s -> y", &[]),
        x(&[N, 1]).ints("s", &[i64::MIN; 3]).node("Reshape x0 s -> y", &[]),
        x(&[N, 1]).ints("s", &[i64::MAX; 3]).node("Reshape x0 s -> y", &[]),
        x(&[N, 1]).ints("s", &[0, i64::MIN, 0, i64::MAX]).node("Pad x0 s -> y", &[]),
        x(&[N, 1]).ints("s", &[0, 1 << 25, 0, 1 << 25]).node("Pad x0 s -> z", &[]).node("Mul z z -> y", &[]),
        x(&[N, 1, 4]).node("MaxPool x0 -> y", &[("kernel_shape", &[1, i64::MAX])]),
        x(&[N, 1]).node("Flatten x0 -> y", &[("axis", &[i64::MIN])]),
        x(&[N, 1]).node("Transpose x0 -> y", &[("perm", &[i64::MAX, i64::MIN])]),
        x(&[N, 1]).node("TopK x0 -> y z", &[("k", &[i64::MAX])]),
        Build::new(6, &[&[N, 1], &[N, 1]])
            .node("Add x0 x1 -> y", &[("axis", &[i64::MAX]), ("broadcast", &[1])]),
        rnn(&[2]),
        rnn(&[1, 2]),
        rnn(&[]),
    ];
    for (i, build) in builds.iter().enumerate() {
        assert!(build.plan("y").is_err(), "{i}");
    }
    let indices = x(&[N, 1]).ints("i", &[i64::MIN, 5]).node("Gather x0 i -> y", &[("axis", &[1])]);
    assert!(indices.plan("y").is_err());
    let cut = x(&[N, 4]).ints("s", &[i64::MIN]).ints("e", &[i64::MAX]).ints("a", &[1]);
    assert!(cut.ints("p", &[i64::MIN]).node("Slice x0 s e a p -> y", &[]).plan("y").is_err());
}
