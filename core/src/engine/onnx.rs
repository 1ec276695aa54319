//! Any ONNX model through tract, under one contract: rows `[N, inputs]` in, rows `[N, outputs]` out.

use alloc::{collections::BTreeSet, string::String, sync::Arc, vec, vec::Vec};
use core::fmt;

use tract_onnx::{pb, prelude::*};

use crate::error::{self, Error, ErrorKind, Result};

/// A loaded model, ready to run.
pub struct OnnxModel {
    plan: Arc<TypedRunnableModel>,
    inputs: usize,
    outputs: usize,
}

impl OnnxModel {
    /// Parses and optimises an ONNX model whose input is `[N, inputs]` and whose output is `[N, outputs]`.
    ///
    /// # Errors
    /// `invalid_model` when the bytes are not ONNX, use an operator that tract lacks, or have other shapes;
    /// `unsupported_model` for a recurrent layer without its first state.
    pub fn load(onnx: &[u8], inputs: usize, outputs: usize) -> Result<Self> {
        let plan = optimise(onnx, inputs).map_err(|e| match e.downcast::<Error>() {
            Ok(ours) => ours,
            Err(e) => {
                Error::new(ErrorKind::InvalidModel, alloc::format!("the ONNX model cannot be loaded: {e:#}"))
            }
        })?;
        let model = Self { plan, inputs, outputs };
        // Two rows show whether the shapes keep the contract, and whether the batch is free.
        let rows = alloc::vec![0.0; 2 * inputs];
        model.run(&rows).map_err(|e| Error::new(ErrorKind::InvalidModel, e.message()))?;
        Ok(model)
    }

    /// Runs `rows.len() / inputs` rows, stored one after the other, and returns as many rows of outputs: of the output
    /// named `probabilities`, or else the first of floats.
    ///
    /// # Errors
    /// `invalid_input` when the length is not a multiple of the number of inputs; `model_failed` when the model
    /// fails.
    pub fn run(&self, rows: &[f32]) -> Result<Vec<f32>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        if !rows.len().is_multiple_of(self.inputs) {
            error::bail!(InvalidInput, "{} values are not rows of {}", rows.len(), self.inputs);
        }
        let n = rows.len() / self.inputs;
        let answers = self
            .evaluate(rows, n)
            .map_err(|e| Error::new(ErrorKind::ModelFailed, alloc::format!("the model failed: {e:#}")))?;
        if answers.len() != n * self.outputs {
            error::bail!(
                ModelFailed,
                "the model gave {} values for {n} rows; expected {} a row",
                answers.len(),
                self.outputs
            );
        }
        Ok(answers)
    }

    fn evaluate(&self, rows: &[f32], n: usize) -> TractResult<Vec<f32>> {
        let input = Tensor::from_shape(&[n, self.inputs], rows)?;
        let outputs = self.plan.run(tvec!(input.into_tvalue()))?;
        let output = outputs.first().ok_or_else(|| TractError::msg("no output"))?;
        Ok(output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }
}

fn optimise(onnx: &[u8], inputs: usize) -> TractResult<Arc<TypedRunnableModel>> {
    // Exporters write the lengths of inner values in letters, which are not ours.
    let tract = tract_onnx::onnx().with_ignore_value_info(true);
    let proto = tract.proto_model_for_read(&mut &*onnx)?;
    let output = check_graph(&proto)?;
    let model = tract.model_for_proto_model(&proto)?;
    let outlet = model.output_outlets()?.get(output).copied();
    let batch = model.symbols.sym("N");
    model
        .with_output_outlets(outlet.as_slice())?
        .with_input_fact(0, f32::fact([batch.to_dim(), inputs.to_dim()]).into())?
        .into_optimized()?
        .into_runnable()
}

/// Finds the output, and refuses what breaks the contract and what tract panics on: names that nothing produces, tensors of unusual types,
/// graphs inside of nodes. A panic would end a wasm instance.
fn check_graph(proto: &pb::ModelProto) -> Result<usize> {
    let Some(graph) = proto.graph.as_ref() else { error::bail!(InvalidModel, "the file has no graph") };
    let given: BTreeSet<&String> = graph.initializer.iter().map(|tensor| &tensor.name).collect();
    let fed: Vec<&String> =
        graph.input.iter().map(|i| &i.name).filter(|name| !given.contains(name)).collect();
    let named = graph.output.iter().position(|output| output.name == "probabilities");
    let output = named.or_else(|| graph.output.iter().position(is_float)).unwrap_or(0);
    if fed.len() != 1 || graph.output.is_empty() {
        error::bail!(InvalidModel, "the graph must have one input and an output; found inputs {fed:?}");
    }
    let made = graph.node.iter().flat_map(|node| &node.output);
    let known: BTreeSet<&String> = given.into_iter().chain(fed).chain(made).collect();
    let wanted = graph.node.iter().flat_map(|node| &node.input).filter(|name| !name.is_empty());
    if let Some(name) = wanted.chain(graph.output.iter().map(|o| &o.name)).find(|name| !known.contains(name))
    {
        error::bail!(InvalidModel, "nothing in the graph produces {name:?}");
    }
    if let Some(node) = graph.node.iter().find(lacks_state) {
        error::bail!(
            UnsupportedModel,
            "{} (node {:?}) has no initial_h, without which tract cannot run it; export it with one",
            node.op_type,
            node.name
        );
    }
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    let mut tensors = graph.initializer.iter().chain(attributes().filter_map(|a| a.t.as_ref()));
    if let Some(tensor) = tensors.find(|tensor| !NUMBERS.contains(&tensor.data_type)) {
        error::bail!(
            InvalidModel,
            "tensor {:?} has type {}, which is not a number's",
            tensor.name,
            tensor.data_type
        );
    }
    if attributes().any(|a| {
        a.g.is_some() || !a.graphs.is_empty() || !a.sparse_tensors.is_empty() || !a.tensors.is_empty()
    }) {
        error::bail!(InvalidModel, "a node has a graph inside; loops and conditions are not supported");
    }
    Ok(output)
}

/// Whether a recurrent layer leaves its first state out, which tract needs to know the length of the batch.
fn lacks_state(node: &&pb::NodeProto) -> bool {
    matches!(node.op_type.as_str(), "GRU" | "LSTM" | "RNN") && node.input.get(5).is_none_or(String::is_empty)
}

fn is_float(output: &pb::ValueInfoProto) -> bool {
    use pb::type_proto::Value::TensorType;
    matches!(output.r#type.as_ref().and_then(|t| t.value.as_ref()), Some(TensorType(tensor)) if tensor.elem_type == 1)
}

/// ONNX's codes for float, int32, int64 and double.
const NUMBERS: [i32; 4] = [1, 6, 7, 11];

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxModel")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}
