//! Any ONNX model through tract, under one contract: `[N, inputs]` floats in, `[N, tiers]` probabilities out.

use alloc::{collections::BTreeSet, string::String, sync::Arc, vec, vec::Vec};
use core::fmt;

use tract_onnx::{pb, prelude::*};

use crate::error::{self, Error, ErrorKind, Result};

/// A loaded model, ready to run.
pub struct Model {
    plan: Arc<TypedRunnableModel>,
    inputs: usize,
    outputs: usize,
}

impl Model {
    /// Parses and optimises an ONNX model whose input is `[N, inputs]` and whose output is `[N, outputs]`.
    ///
    /// # Errors
    /// `invalid_model` when the bytes are not ONNX, use an operator that tract lacks, or have other shapes.
    pub fn load(onnx: &[u8], inputs: usize, outputs: usize) -> Result<Self> {
        let plan = optimise(onnx, inputs).map_err(|e| {
            Error::new(ErrorKind::InvalidModel, alloc::format!("the ONNX model cannot be loaded: {e:#}"))
        })?;
        let model = Self { plan, inputs, outputs };
        // One row shows whether the shapes keep the contract.
        model.run(&alloc::vec![0.0; inputs]).map_err(|e| Error::new(ErrorKind::InvalidModel, e.message()))?;
        Ok(model)
    }

    /// Runs `rows.len() / inputs` rows, stored one after the other, and returns as many rows of probabilities.
    ///
    /// # Errors
    /// `invalid_input` when the length is not a multiple of the number of inputs; `model_failed` when the model
    /// fails or gives something other than probabilities.
    pub fn run(&self, rows: &[f32]) -> Result<Vec<f32>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        if !rows.len().is_multiple_of(self.inputs) {
            error::bail!(InvalidInput, "{} values are not rows of {}", rows.len(), self.inputs);
        }
        let n = rows.len() / self.inputs;
        let probabilities = self
            .evaluate(rows, n)
            .map_err(|e| Error::new(ErrorKind::ModelFailed, alloc::format!("the model failed: {e:#}")))?;
        if probabilities.len() != n * self.outputs {
            error::bail!(
                ModelFailed,
                "the model gave {} values for {n} rows; expected {} a row",
                probabilities.len(),
                self.outputs
            );
        }
        for row in probabilities.chunks(self.outputs) {
            let sum: f32 = row.iter().sum();
            if row.iter().any(|p| !(-1e-6..=1.0 + 1e-6).contains(p)) || !(0.999..=1.001).contains(&sum) {
                error::bail!(ModelFailed, "the model gave {row:?}, which are not probabilities");
            }
        }
        Ok(probabilities)
    }

    fn evaluate(&self, rows: &[f32], n: usize) -> TractResult<Vec<f32>> {
        let input = Tensor::from_shape(&[n, self.inputs], rows)?;
        let outputs = self.plan.run(tvec!(input.into_tvalue()))?;
        let output = outputs.first().ok_or_else(|| TractError::msg("no output"))?;
        Ok(output.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }
}

fn optimise(onnx: &[u8], inputs: usize) -> TractResult<Arc<TypedRunnableModel>> {
    let tract = tract_onnx::onnx();
    let proto = tract.proto_model_for_read(&mut &*onnx)?;
    check_names(&proto)?;
    let model = tract.model_for_proto_model(&proto)?;
    let batch = model.symbols.sym("N");
    model
        .with_input_fact(0, f32::fact([batch.to_dim(), inputs.to_dim()]).into())?
        .into_optimized()?
        .into_runnable()
}

/// tract panics on a graph that names a value which nothing produces; a panic would end a wasm instance.
fn check_names(proto: &pb::ModelProto) -> Result<()> {
    let Some(graph) = proto.graph.as_ref().filter(|g| !g.input.is_empty() && !g.output.is_empty()) else {
        error::bail!(InvalidModel, "the file has no graph with an input and an output");
    };
    let given = graph.initializer.iter().map(|tensor| &tensor.name);
    let fed = graph.input.iter().map(|input| &input.name);
    let made = graph.node.iter().flat_map(|node| &node.output);
    let known: BTreeSet<&String> = given.chain(fed).chain(made).collect();
    let wanted = graph.node.iter().flat_map(|node| &node.input).filter(|name| !name.is_empty());
    if let Some(name) =
        wanted.chain(graph.output.iter().map(|output| &output.name)).find(|name| !known.contains(name))
    {
        error::bail!(InvalidModel, "nothing in the graph produces {name:?}");
    }
    Ok(())
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}
