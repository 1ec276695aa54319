//! A node of the graph: its attributes, and errors that name it.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use tract_onnx::pb::{AttributeProto, NodeProto};

use super::{graph, value::Value};
use crate::error::{Error, ErrorKind, Result, bail};

/// A node and the version of the operator set it is written for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'g> {
    pub(super) proto: &'g NodeProto,
    /// Of the node's own domain.
    pub(crate) opset: i64,
    /// A bit for each output that something needs; the last bit stands for all from the 64th on.
    pub(super) needed: u64,
}

impl<'g> Node<'g> {
    pub(crate) fn operator(&self) -> &'g str {
        &self.proto.op_type
    }

    /// `""` for ONNX's own, `"ai.onnx.ml"` for classical models.
    pub(crate) fn domain(&self) -> &'g str {
        if self.proto.domain == "ai.onnx" { "" } else { &self.proto.domain }
    }

    pub(crate) fn outputs(&self) -> &'g [String] {
        &self.proto.output
    }

    /// Whether something needs the output of that number.
    pub(crate) fn gives(&self, output: usize) -> bool {
        self.needed >> output.min(63) & 1 == 1
    }

    /// The values of the inputs; `None` where an optional one is left out.
    pub(crate) fn inputs(&self, values: &BTreeMap<&str, Value>) -> Result<Vec<Option<Value>>> {
        let find = |name: &String| match values.get(name.as_str()) {
            _ if name.is_empty() => Ok(None),
            Some(value) => Ok(Some(value.clone())),
            None => bail!(InvalidModel, "nothing in the graph produces {name:?}"),
        };
        self.proto.input.iter().map(find).collect()
    }

    pub(super) fn check(&self) -> Result<()> {
        let graphs = |a: &AttributeProto| a.g.is_some() || !a.graphs.is_empty() || a.sparse_tensor.is_some();
        if self.proto.attribute.iter().any(graphs) {
            return Err(self.refuse("it has a graph or a sparse tensor inside"));
        }
        Ok(())
    }

    /// The model is sound but a plan cannot hold it.
    pub(crate) fn refuse(&self, why: &str) -> Error {
        self.error(ErrorKind::UnsupportedModel, why, "; keep the ONNX file with `--engine onnx`")
    }

    /// The model contradicts ONNX's definition.
    pub(crate) fn invalid(&self, why: &str) -> Error {
        self.error(ErrorKind::InvalidModel, why, "")
    }

    fn error(&self, kind: ErrorKind, why: &str, way_out: &str) -> Error {
        let domain = if self.domain().is_empty() { "ai.onnx" } else { self.domain() };
        let name = match (self.proto.name.as_str(), self.proto.output.first()) {
            ("", Some(output)) => output,
            (name, _) => name,
        };
        let (operator, opset) = (self.operator(), self.opset);
        Error::new(kind, alloc::format!("{operator} (node {name:?}, {domain} {opset}): {why}{way_out}"))
    }

    fn attribute(&self, name: &str) -> Option<&'g AttributeProto> {
        self.proto.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    pub(crate) fn text(&self, name: &str, default: &str) -> String {
        match self.attribute(name) {
            Some(attribute) => String::from_utf8_lossy(&attribute.s).to_string(),
            None => default.to_string(),
        }
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&'g [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(crate) fn floats(&self, name: &str) -> Option<&'g [f32]> {
        self.attribute(name).map(|attribute| attribute.floats.as_slice())
    }

    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let texts = &self.attribute(name)?.strings;
        Some(texts.iter().map(|text| String::from_utf8_lossy(text).to_string()).collect())
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Value>> {
        self.attribute(name).and_then(|attribute| attribute.t.as_ref()).map(graph::value).transpose()
    }

    /// A required input.
    pub(crate) fn need<'v>(&self, inputs: &'v [Option<Value>], at: usize) -> Result<&'v Value> {
        match inputs.get(at) {
            Some(Some(value)) => Ok(value),
            _ => Err(self.invalid(&alloc::format!("input {at} is missing"))),
        }
    }

    /// A required input that must be constant.
    pub(crate) fn constant(&self, inputs: &[Option<Value>], at: usize) -> Result<(Vec<usize>, Vec<f32>)> {
        let value = self.need(inputs, at)?;
        match value.constants() {
            Some(data) => Ok((value.shape.clone(), data)),
            None => Err(self.refuse(&alloc::format!("input {at} is computed; it must be constant"))),
        }
    }

    /// An optional input that must be constant integers, for example axes. May hold [`super::value::BATCH`].
    pub(crate) fn integers<'v>(&self, inputs: &'v [Option<Value>], at: usize) -> Result<Option<&'v [i64]>> {
        match inputs.get(at) {
            Some(Some(value)) => match value.integers() {
                Some(data) => Ok(Some(data)),
                None => {
                    Err(self.refuse(&alloc::format!("input {at} is computed; it must be constant integers")))
                }
            },
            _ => Ok(None),
        }
    }
}
