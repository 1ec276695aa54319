//! Reading ONNX's own structures: the graph, its nodes, their attributes and tensors.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use tract_onnx::{
    pb::{
        GraphProto, ModelProto, TensorProto, ValueInfoProto, tensor_proto::DataType,
        tensor_shape_proto::dimension::Value as Dim, type_proto::Value as Type,
    },
    prelude::Framework,
};

use super::{
    node::Node,
    value::{Data, Kind, MAX_RANK, Value, numbers},
};
use crate::{
    engine::MAX_FLOATS,
    error::{Error, ErrorKind, Result, bail},
};

/// The most nodes that a graph may have.
const MAX_NODES: usize = 1 << 16;

/// Reads the bytes of an ONNX file.
pub(crate) fn decode(onnx: &[u8]) -> Result<ModelProto> {
    tract_onnx::onnx().proto_model_for_read(&mut &*onnx).map_err(|e| {
        Error::new(ErrorKind::InvalidModel, alloc::format!("the bytes are not an ONNX model: {e:#}"))
    })
}

/// The part of a graph that the wanted outputs need.
#[derive(Debug)]
pub(crate) struct Graph<'g> {
    proto: &'g GraphProto,
    nodes: Vec<Node<'g>>,
    outputs: Vec<&'g str>,
    needed: BTreeSet<&'g str>,
}

impl<'g> Graph<'g> {
    pub(crate) fn new(model: &'g ModelProto, wanted: &[&str]) -> Result<Self> {
        let Some(proto) = model.graph.as_ref() else { bail!(InvalidModel, "the file has no graph") };
        if proto.node.len() > MAX_NODES {
            bail!(UnsupportedModel, "the graph has {} nodes; at most {MAX_NODES}", proto.node.len());
        }
        let mut opsets: BTreeMap<&str, i64> = BTreeMap::new();
        for import in &model.opset_import {
            opsets.insert(domain(&import.domain), import.version);
        }
        let outputs = outputs(proto, wanted)?;
        let mut needed: BTreeSet<&str> = outputs.iter().copied().collect();
        let mut nodes = Vec::new();
        for node in proto.node.iter().rev() {
            let read = node.output.iter().map(|name| !name.is_empty() && needed.contains(name.as_str()));
            let bits = read.enumerate().fold(0, |bits, (i, read)| bits | u64::from(read) << i.min(63));
            if bits != 0 {
                needed.extend(node.input.iter().map(String::as_str).filter(|name| !name.is_empty()));
                let opset = opsets.get(domain(&node.domain)).copied().unwrap_or(1);
                nodes.push(Node { proto: node, opset, needed: bits });
            }
        }
        nodes.reverse();
        for node in &mut nodes {
            node.check()?;
        }
        Ok(Self { proto, nodes, outputs, needed })
    }

    /// In the order of the file, which ONNX requires to be an order in which they can run.
    pub(crate) fn nodes(&self) -> &[Node<'g>] {
        &self.nodes
    }

    pub(crate) fn outputs(&self) -> &[&'g str] {
        &self.outputs
    }

    /// The initializers that are needed.
    pub(crate) fn constants(&self) -> Result<Vec<(&'g str, Value)>> {
        if !self.proto.sparse_initializer.is_empty() {
            bail!(UnsupportedModel, "the graph has sparse initializers; store them densely");
        }
        let needed =
            self.proto.initializer.iter().filter(|tensor| self.needed.contains(tensor.name.as_str()));
        needed.map(|tensor| Ok((tensor.name.as_str(), value(tensor)?))).collect()
    }

    /// The inputs, as values whose data is still to be placed.
    pub(crate) fn inputs(&self) -> Result<Vec<(&'g str, Value)>> {
        let given: BTreeSet<&str> = self.proto.initializer.iter().map(|t| t.name.as_str()).collect();
        let fed = self.proto.input.iter().filter(|input| !given.contains(input.name.as_str()));
        fed.map(|input| Ok((input.name.as_str(), input_value(input)?))).collect()
    }
}

fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

fn outputs<'g>(proto: &'g GraphProto, wanted: &[&str]) -> Result<Vec<&'g str>> {
    let all: Vec<&str> = proto.output.iter().map(|output| output.name.as_str()).collect();
    if wanted.is_empty() {
        return Ok(all);
    }
    let find = |name: &&str| match all.iter().find(|known| *known == name) {
        Some(known) => Ok(*known),
        None => bail!(InvalidModel, "the model has no output {name:?}; it has {all:?}"),
    };
    wanted.iter().map(find).collect()
}

fn input_value(input: &ValueInfoProto) -> Result<Value> {
    let Some(Type::TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        bail!(UnsupportedModel, "input {:?} is not a tensor", input.name);
    };
    let kind = kind(tensor.elem_type, &input.name)?;
    let Some(dims) = tensor.shape.as_ref() else {
        bail!(UnsupportedModel, "input {:?} has no shape; export the model with one", input.name);
    };
    let mut shape = Vec::new();
    let mut batch = None;
    for (axis, dim) in dims.dim.iter().enumerate() {
        match &dim.value {
            Some(Dim::DimValue(n)) if (0..=MAX_FLOATS as i64).contains(n) => shape.push(*n as usize),
            Some(Dim::DimValue(n)) if *n >= 0 => {
                bail!(UnsupportedModel, "input {:?} has an axis of length {n}", input.name)
            }
            _ if batch.is_none() => batch = Some(axis),
            _ => bail!(
                UnsupportedModel,
                "input {:?} has several axes of free length; fix all but the batch when exporting",
                input.name
            ),
        }
    }
    checked_len(&shape, &input.name)?;
    Ok(Value { kind, shape, batch, data: Data::Slot(u32::MAX) })
}

fn checked_len(shape: &[usize], name: &str) -> Result<usize> {
    match numbers(shape) {
        Some(len) => Ok(len),
        _ => bail!(
            UnsupportedModel,
            "{name:?} has shape {shape:?}; at most {MAX_RANK} axes and {MAX_FLOATS} numbers"
        ),
    }
}

/// What kind of numbers ONNX's type code means.
pub(crate) fn kind(code: i32, name: &str) -> Result<Kind> {
    match DataType::try_from(code) {
        Ok(DataType::Float | DataType::Float16) => Ok(Kind::Float),
        Ok(DataType::Int64 | DataType::Int32 | DataType::Int16 | DataType::Int8) => Ok(Kind::Int),
        Ok(DataType::Uint8 | DataType::Uint16 | DataType::Uint32 | DataType::Uint64) => Ok(Kind::Int),
        Ok(DataType::Bool) => Ok(Kind::Bool),
        Ok(other) => bail!(UnsupportedModel, "{name:?} has type {other:?}; a plan computes in 32-bit floats"),
        Err(_) => bail!(UnsupportedModel, "{name:?} has type {code}, which a plan lacks"),
    }
}

/// A tensor as a constant. Double precision is rounded to single where it is constant.
pub(crate) fn value(tensor: &TensorProto) -> Result<Value> {
    let name = &tensor.name;
    let dim = |n: &i64| usize::try_from(*n).ok();
    let Some(shape) = tensor.dims.iter().map(dim).collect::<Option<Vec<_>>>() else {
        bail!(InvalidModel, "tensor {name:?} has a negative dimension");
    };
    let len = checked_len(&shape, name)?;
    if tensor.data_location == Some(1) {
        bail!(UnsupportedModel, "tensor {name:?} is stored in another file; save the model as one file");
    }
    let (kind, data) = content(tensor)?;
    let found = match &data {
        Data::Floats(data) => data.len(),
        Data::Ints(data) => data.len(),
        Data::Slot(_) => 0,
    };
    if found != len {
        bail!(InvalidModel, "tensor {name:?} of shape {shape:?} has {found} numbers");
    }
    Ok(Value { kind, shape, batch: None, data })
}

fn content(tensor: &TensorProto) -> Result<(Kind, Data)> {
    let raw = &tensor.raw_data;
    let code = DataType::try_from(tensor.data_type);
    if let Ok(DataType::Double) = code {
        let doubles: Vec<f64> =
            if raw.is_empty() { tensor.double_data.clone() } else { chunks(raw, f64::from_le_bytes) };
        return Ok((Kind::Float, Data::Floats(doubles.iter().map(|x| *x as f32).collect())));
    }
    let kind = kind(tensor.data_type, &tensor.name)?;
    let data = match code {
        Ok(DataType::Float) if raw.is_empty() => Data::Floats(tensor.float_data.as_slice().into()),
        Ok(DataType::Float) => Data::Floats(chunks(raw, f32::from_le_bytes).into()),
        Ok(DataType::Float16) => {
            bail!(UnsupportedModel, "tensor {:?} is in half precision; export in single", tensor.name)
        }
        Ok(DataType::Int64) if raw.is_empty() => Data::Ints(tensor.int64_data.as_slice().into()),
        Ok(DataType::Int64) => Data::Ints(chunks(raw, i64::from_le_bytes).into()),
        Ok(DataType::Uint32 | DataType::Uint64) if raw.is_empty() => {
            Data::Ints(tensor.uint64_data.iter().map(|x| *x as i64).collect())
        }
        Ok(DataType::Uint64) => {
            Data::Ints(chunks(raw, u64::from_le_bytes).iter().map(|x| *x as i64).collect())
        }
        Ok(DataType::Uint32) => {
            Data::Ints(chunks(raw, u32::from_le_bytes).iter().map(|x| i64::from(*x)).collect())
        }
        _ if raw.is_empty() => Data::Ints(tensor.int32_data.iter().map(|x| i64::from(*x)).collect()),
        Ok(DataType::Int32) => {
            Data::Ints(chunks(raw, i32::from_le_bytes).iter().map(|x| i64::from(*x)).collect())
        }
        Ok(DataType::Int16) => {
            Data::Ints(chunks(raw, i16::from_le_bytes).iter().map(|x| i64::from(*x)).collect())
        }
        Ok(DataType::Uint16) => {
            Data::Ints(chunks(raw, u16::from_le_bytes).iter().map(|x| i64::from(*x)).collect())
        }
        Ok(DataType::Int8) => Data::Ints(raw.iter().map(|x| i64::from(*x as i8)).collect()),
        _ => Data::Ints(raw.iter().map(|x| i64::from(*x)).collect()),
    };
    Ok((kind, data))
}

fn chunks<const N: usize, T>(raw: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks().0.iter().map(|bytes| read(*bytes)).collect()
}
