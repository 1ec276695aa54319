//! One test case: a model, and what must come out of it for given inputs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};

use crate::{
    operators::{self, Nearness, OPERATORS},
    tensor::{self, Tensor},
};

/// A case as it lies in its folder.
#[derive(Debug)]
pub(crate) struct Case {
    /// The kind and the name, for example `node/test_add`.
    pub(crate) name: String,
    pub(crate) model: ModelProto,
    /// Places in [`OPERATORS`], in the order of the graph.
    pub(crate) operators: Vec<usize>,
    pub(crate) data: Vec<DataSet>,
}

/// Inputs and what must come of them.
#[derive(Debug)]
pub(crate) struct DataSet {
    pub(crate) folder: PathBuf,
    /// With the names of the graph's inputs.
    pub(crate) inputs: Vec<TensorProto>,
    pub(crate) expected: Vec<TensorProto>,
}

impl Case {
    /// Reads a case; `None` if it holds an operator outside the list or something other than tensors.
    pub(crate) fn read(folder: &Path, name: String) -> Result<Option<Self>> {
        let model = model(folder)?;
        let Some(operators) = listed(&model) else { return Ok(None) };
        let data = data_sets(folder, &model)?;
        Ok(Some(Self { name, model, operators, data }))
    }

    /// As near as the least exact of its operators.
    pub(crate) fn nearness(&self) -> Nearness {
        let near = self.operators.iter().filter_map(|i| OPERATORS.get(*i)).map(|(_, _, near)| *near);
        // Several roundings in a row are no longer one.
        if self.operators.len() > 1 { Nearness::Close } else { near.max().unwrap_or(Nearness::Exact) }
    }
}

/// Reads the model in a folder.
pub(crate) fn model(folder: &Path) -> Result<ModelProto> {
    let path = folder.join("model.onnx");
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ModelProto::decode(&*bytes).with_context(|| format!("{} is no ONNX model", path.display()))
}

/// The operators of a graph that holds only listed ones.
fn listed(model: &ModelProto) -> Option<Vec<usize>> {
    let graph = model.graph.as_ref().filter(|_| model.functions.is_empty())?;
    let mut found = Vec::new();
    for node in &graph.node {
        let place = operators::find(&node.domain, &node.op_type)?;
        if !found.contains(&place) {
            found.push(place);
        }
    }
    Some(found)
}

/// The inputs of a graph that are not weights.
pub(crate) fn fed(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let given = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    graph.input.iter().map(|input| input.name.as_str()).filter(move |name| !given(name))
}

/// Reads `test_data_set_0`, `test_data_set_1`, … as far as they go.
pub(crate) fn data_sets(folder: &Path, model: &ModelProto) -> Result<Vec<DataSet>> {
    let graph = model.graph.as_ref().context("no graph")?;
    let mut sets = Vec::new();
    for n in 0.. {
        let folder = folder.join(format!("test_data_set_{n}"));
        if !folder.is_dir() {
            break;
        }
        let mut inputs = numbered(&folder, "input")?;
        for (tensor, name) in inputs.iter_mut().zip(fed(graph)) {
            name.clone_into(&mut tensor.name);
        }
        let expected = numbered(&folder, "output")?;
        sets.push(DataSet { folder, inputs, expected });
    }
    Ok(sets)
}

/// Reads `NAME_0.pb`, `NAME_1.pb`, … as far as they go.
pub(crate) fn numbered(folder: &Path, name: &str) -> Result<Vec<TensorProto>> {
    let path = |i| folder.join(format!("{name}_{i}.pb"));
    (0..).map(path).take_while(|path| path.exists()).map(|path| tensor::read(&path)).collect()
}

/// Decodes each, or says which type cannot be.
pub(crate) fn decoded(tensors: &[TensorProto]) -> Result<Vec<Tensor>> {
    tensors.iter().map(Tensor::decode).collect()
}
