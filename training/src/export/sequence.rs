//! A network over sequences as an ONNX graph: the encoder that it has, the embedding, and the head for tiers or all that a
//! profile holds.

use tract_onnx::pb::{AttributeProto, GraphProto};

use super::{
    attributes::{int, ints},
    node, rows, tensor,
};
use crate::models::{
    Sequence,
    sequence::{EMPTY, EPSILON, Encoder, HEADS, Shape, TAPS},
};

/// The operator set that attention's normalisation needs.
pub(super) const OPSET: i64 = 17;

/// From `features` to `probabilities`.
pub(super) fn graph(name: &str, model: &Sequence) -> GraphProto {
    let mut graph = GraphProto { name: name.into(), ..Default::default() };
    let scores = tiers(&mut graph, model, "");
    graph.node.push(node("Softmax", "softmax", vec![scores], "probabilities"));
    graph.input.push(rows("features", model.architecture.shape.width()));
    graph.output.push(rows("probabilities", model.architecture.tiers));
    graph
}

/// From `features` to `profile`, as [`Sequence::profiles`] has it.
pub(super) fn profile(name: &str, model: &Sequence) -> GraphProto {
    let mut graph = GraphProto { name: name.into(), ..Default::default() };
    let mut drawing = Drawing { graph: &mut graph, model, prefix: "" };
    drawing.weights(|name| !name.starts_with("tiers"));
    let embedding = drawing.embedding();
    let churn = drawing.linear("churn", &embedding);
    let churn = drawing.op("Sigmoid", "churn_chance", &[&churn], Vec::new());
    let next = drawing.linear("next", &embedding);
    let next = drawing.op("Softmax", "next_shares", &[&next], Vec::new());
    drawing.graph.initializer.push(tensor("days", &[model.days.len(), 1], &model.days));
    let next = drawing.op("MatMul", "next_days", &[&next, "days"], Vec::new());
    let all = drawing.op("Concat", "concat_profile", &[&embedding, &churn, &next], vec![int("axis", 1)]);
    graph.node.push(node("Identity", "identity", vec![all], "profile"));
    graph.input.push(rows("features", model.architecture.shape.width()));
    graph.output.push(rows("profile", model.profile_width()));
    graph
}

/// Adds the network from `features`, whose first inputs are the network's, to the tiers' scores, which it names. Its own names
/// begin with `prefix`.
pub(super) fn tiers(graph: &mut GraphProto, model: &Sequence, prefix: &str) -> String {
    let mut drawing = Drawing { graph, model, prefix };
    drawing.weights(|name| !name.starts_with("churn") && !name.starts_with("next"));
    let embedding = drawing.embedding();
    drawing.linear("tiers", &embedding)
}

/// A graph being made of a model.
struct Drawing<'a> {
    graph: &'a mut GraphProto,
    model: &'a Sequence,
    prefix: &'a str,
}

impl Drawing<'_> {
    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Adds an operator with one output, called as it.
    fn op(&mut self, operator: &str, name: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let output = self.name(&format!("{name}_out"));
        let inputs = inputs.iter().map(|name| (*name).to_owned()).collect();
        let node = node(operator, &self.name(name), inputs, &output);
        self.graph.node.push(tract_onnx::pb::NodeProto { attribute: attributes, ..node });
        output
    }

    fn constant(&mut self, name: &str, shape: &[usize], numbers: &[f32]) -> String {
        let name = self.name(name);
        self.graph.initializer.push(tensor(&name, shape, numbers));
        name
    }

    fn integers(&mut self, name: &str, numbers: &[i64]) -> String {
        let name = self.name(name);
        self.graph.initializer.push(super::integers(&name, numbers));
        name
    }

    /// Adds the matrices that are wanted, each as the operator that takes it wants it.
    fn weights(&mut self, wanted: impl Fn(&str) -> bool) {
        let encoder = self.model.architecture.encoder;
        let tensors = self.model.matrices(|matrix| {
            let (name, shape) = (matrix.name, [matrix.inputs, matrix.outputs]);
            let named = self.name(name);
            let in_biases = encoder == Encoder::Gru && matches!(name, "input.bias" | "recurrence.bias");
            if in_biases || !wanted(name) {
                return None;
            }
            Some(match (encoder, name) {
                (Encoder::Cnn, "conv1" | "conv2") => {
                    let channels = matrix.inputs / TAPS;
                    let taps = taps_last(matrix.numbers, channels, matrix.outputs);
                    tensor(&named, &[matrix.outputs, channels, TAPS], &taps)
                }
                (Encoder::Gru, "input" | "recurrence") => {
                    let turned = turned(matrix.numbers, matrix.outputs);
                    tensor(&named, &[1, matrix.outputs, matrix.inputs], &turned)
                }
                _ if name.ends_with(".bias") || name.starts_with("norm") => {
                    tensor(&named, &[matrix.outputs], matrix.numbers)
                }
                _ => tensor(&named, &shape, matrix.numbers),
            })
        });
        self.graph.initializer.extend(tensors.into_iter().flatten());
    }

    fn linear(&mut self, name: &str, from: &str) -> String {
        let (weight, bias) = (self.name(name), self.name(&format!("{name}.bias")));
        self.op("Gemm", &format!("{name}_sums"), &[from, &weight, &bias], Vec::new())
    }

    /// Inputs `start..end` of every row.
    fn slice(&mut self, name: &str, from: &str, start: usize, end: usize, axis: i64) -> String {
        let starts = self.integers(&format!("{name}_starts"), &[start as i64]);
        let ends = self.integers(&format!("{name}_ends"), &[end as i64]);
        let axes = self.integers(&format!("{name}_axes"), &[axis]);
        self.op("Slice", name, &[from, &starts, &ends, &axes], Vec::new())
    }

    fn embedding(&mut self) -> String {
        let Shape { dense, steps, channels } = self.model.architecture.shape;
        let still = self.slice("still", "features", 0, dense, 1);
        let sequence = self.slice("sequence", "features", dense, dense + steps * channels, 1);
        let shape = self.integers("steps_shape", &[-1, steps as i64, channels as i64]);
        let sequence = self.op("Reshape", "steps", &[&sequence, &shape], Vec::new());
        let encoded = match self.model.architecture.encoder {
            Encoder::Cnn => self.convolve(&sequence),
            Encoder::Gru => self.recur(&sequence, &still),
            Encoder::Transformer => self.attend(&sequence),
        };
        let joined = self.op("Concat", "joined", &[&encoded, &still], vec![int("axis", 1)]);
        let trunk = self.linear("trunk", &joined);
        let trunk = self.op("Relu", "trunk_active", &[&trunk], Vec::new());
        let embedding = self.linear("embedding", &trunk);
        self.op("Tanh", "embedding_active", &[&embedding], Vec::new())
    }

    fn convolve(&mut self, sequence: &str) -> String {
        let mut value =
            self.op("Transpose", "channels_first", &[sequence], vec![ints("perm", vec![0, 2, 1])]);
        for name in ["conv1", "conv2"] {
            let (weight, bias) = (self.name(name), self.name(&format!("{name}.bias")));
            let ends = vec![ints("kernel_shape", vec![TAPS as i64]), ints("pads", vec![1, 1])];
            let sums = self.op("Conv", &format!("{name}_sums"), &[&value, &weight, &bias], ends);
            let active = self.op("Relu", &format!("{name}_active"), &[&sums], Vec::new());
            let pairs = vec![ints("kernel_shape", vec![2]), ints("strides", vec![2])];
            value = self.op("MaxPool", &format!("{name}_pooled"), &[&active], pairs);
        }
        self.op("Flatten", "flat", &[&value], vec![int("axis", 1)])
    }

    fn recur(&mut self, sequence: &str, still: &str) -> String {
        let hidden = self.model.architecture.hidden;
        let steps_first = self.op("Transpose", "steps_first", &[sequence], vec![ints("perm", vec![1, 0, 2])]);
        let start = self.linear("start", still);
        let start = self.op("Tanh", "start_active", &[&start], Vec::new());
        let axis = self.integers("directions", &[0]);
        let start = self.op("Unsqueeze", "start_directed", &[&start, &axis], Vec::new());
        let mut biases = Vec::new();
        self.model.matrices(|matrix| {
            if matches!(matrix.name, "input.bias" | "recurrence.bias") {
                biases.extend_from_slice(matrix.numbers);
            }
        });
        let biases = self.constant("biases", &[1, 6 * hidden], &biases);
        let (input, recurrence) = (self.name("input"), self.name("recurrence"));
        let attributes = vec![int("hidden_size", hidden as i64), int("linear_before_reset", 1)];
        let (all, last) = (self.name("states"), self.name("last_state"));
        self.graph.node.push(tract_onnx::pb::NodeProto {
            name: self.name("gru"),
            op_type: "GRU".into(),
            input: vec![steps_first, input, recurrence, biases, String::new(), start],
            output: vec![all, last.clone()],
            attribute: attributes,
            ..Default::default()
        });
        self.op("Squeeze", "state", &[&last, &axis], Vec::new())
    }

    fn attend(&mut self, sequence: &str) -> String {
        let size = self.model.architecture.hidden / HEADS;
        let empty = self.slice("empty", sequence, 0, 1, 2);
        let lowered = self.constant("lowered", &[], &[EMPTY]);
        let empty = self.op("Mul", "empty_lowered", &[&empty, &lowered], Vec::new());
        let across = ints("perm", vec![0, 2, 1]);
        let empty_across = self.op("Transpose", "empty_across", &[&empty], vec![across.clone()]);
        let steps = self.each_step("step", sequence);
        let position = self.name("position");
        let mut value = self.op("Add", "placed", &[&steps, &position], Vec::new());
        let normal = self.norm("norm1", &value);
        let scale = self.constant("scale", &[], &[1.0 / (size as f32).sqrt()]);
        for head in 0..HEADS {
            let [query, key, values] = ["query", "key", "value"].map(|part| {
                let name = format!("{part}{head}");
                let weight = self.name(&name);
                self.op("MatMul", &format!("{name}_sums"), &[&normal, &weight], Vec::new())
            });
            let key = self.op("Transpose", &format!("key{head}_across"), &[&key], vec![across.clone()]);
            let scores = self.op("MatMul", &format!("scores{head}"), &[&query, &key], Vec::new());
            let scores = self.op("Mul", &format!("scaled{head}"), &[&scores, &scale], Vec::new());
            let scores = self.op("Add", &format!("masked{head}"), &[&scores, &empty_across], Vec::new());
            let shares = self.op("Softmax", &format!("shares{head}"), &[&scores], vec![int("axis", -1)]);
            let mixed = self.op("MatMul", &format!("mixed{head}"), &[&shares, &values], Vec::new());
            let output = self.name(&format!("output{head}"));
            let out = self.op("MatMul", &format!("output{head}_sums"), &[&mixed, &output], Vec::new());
            value = self.op("Add", &format!("added{head}"), &[&value, &out], Vec::new());
        }
        let normal = self.norm("norm2", &value);
        let wide = self.each_step("wide", &normal);
        let wide = self.op("Relu", "wide_active", &[&wide], Vec::new());
        let narrow = self.each_step("narrow", &wide);
        let value = self.op("Add", "added", &[&value, &narrow], Vec::new());
        let value = self.norm("norm3", &value);
        let attention = self.name("attention");
        let scores = self.op("MatMul", "attention_scores", &[&value, &attention], Vec::new());
        let scores = self.op("Add", "attention_masked", &[&scores, &empty], Vec::new());
        let scores = self.op("Transpose", "attention_across", &[&scores], vec![across]);
        let shares = self.op("Softmax", "attention_shares", &[&scores], vec![int("axis", -1)]);
        let pooled = self.op("MatMul", "pooled", &[&shares, &value], Vec::new());
        let steps = self.model.architecture.shape.steps;
        let last = self.slice("last", &value, steps - 1, steps, 1);
        let both = self.op("Concat", "pooled_and_last", &[&pooled, &last], vec![int("axis", 2)]);
        let axis = self.integers("one", &[1]);
        self.op("Squeeze", "encoded", &[&both, &axis], Vec::new())
    }

    /// The same layer for every step.
    fn each_step(&mut self, name: &str, from: &str) -> String {
        let (weight, bias) = (self.name(name), self.name(&format!("{name}.bias")));
        let product = self.op("MatMul", &format!("{name}_product"), &[from, &weight], Vec::new());
        self.op("Add", &format!("{name}_sums"), &[&product, &bias], Vec::new())
    }

    fn norm(&mut self, name: &str, from: &str) -> String {
        let (gain, bias) = (self.name(name), self.name(&format!("{name}.bias")));
        let attributes = vec![int("axis", -1), super::attributes::float("epsilon", EPSILON)];
        self.op("LayerNormalization", &format!("{name}_out"), &[from, &gain, &bias], attributes)
    }
}

/// From `[taps · channels, outputs]` to `[outputs, channels, taps]`.
fn taps_last(numbers: &[f32], channels: usize, outputs: usize) -> Vec<f32> {
    let at =
        |output: usize, channel: usize, tap: usize| numbers[(tap * channels + channel) * outputs + output];
    let of = move |output: usize, channel: usize| (0..TAPS).map(move |tap| at(output, channel, tap));
    (0..outputs).flat_map(|output| (0..channels).flat_map(move |channel| of(output, channel))).collect()
}

/// From `[inputs, outputs]` to `[outputs, inputs]`.
fn turned(numbers: &[f32], outputs: usize) -> Vec<f32> {
    (0..outputs).flat_map(|output| numbers.iter().skip(output).step_by(outputs)).copied().collect()
}

#[cfg(test)]
mod tests {

    use crate::{
        export::{largest_difference, model, profile as profile_of},
        fixtures::members,
        models::{Kind, Model, Reads, fit},
    };
    use tiercast_core::{LowerOptions, OnnxModel, lower};

    #[test]
    fn every_runtime_gives_what_burn_gives() {
        let rows = members(300);
        for kind in [Kind::Cnn, Kind::Gru, Kind::Transformer] {
            let trained = fit(kind, 3, &rows, 5).unwrap().model;
            let Model::Sequence(sequence) = &trained else { panic!("{kind:?}") };
            let inputs = rows.read(Reads::SEQUENCE);
            let width = sequence.architecture.shape.width();
            let profile = profile_of("profile", sequence, &[]);
            let tiers = model(kind.name(), &trained, &[]).unwrap();
            let numbers = sequence.profile_width();
            for (onnx, ours, outputs, close) in [
                (tiers, trained.probabilities(&rows), 3, 2e-6),
                (profile, sequence.profiles(&rows), numbers, 2e-5),
            ] {
                let plan = lower(&onnx, &LowerOptions::default()).unwrap();
                let mut found = Vec::new();
                plan.run_rows(&mut plan.workspace(64), &inputs, &mut found).unwrap();
                let apart = largest_difference(&ours, &found);
                assert!(apart < close, "{kind:?}, the plan: {apart}");
                let tract = OnnxModel::load(&onnx, width, outputs).unwrap();
                for n in [1, 7, 60] {
                    let found = tract.run(&inputs[..n * width]).unwrap();
                    let apart = largest_difference(&ours[..n * outputs], &found);
                    assert!(apart < 5.0 * close, "{kind:?}, tract, {n} rows: {apart}");
                }
            }
        }
    }
}
