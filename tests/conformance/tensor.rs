//! Tensors of the test cases, read from ONNX's protobuf files.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use prost::Message;
use tract_onnx::{
    pb::{TensorProto, tensor_proto::DataType},
    prelude::f16,
};

/// Numbers of any type, each exact up to 2⁵³.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) kind: DataType,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Tensor {
    /// The values as the engine takes them; `None` where one is not exact in 32 bits.
    pub(crate) fn floats(&self) -> Option<Vec<f32>> {
        let exact = |x: &f64| ((*x as f32) as f64 == *x || x.is_nan()).then_some(*x as f32);
        self.values.iter().map(exact).collect()
    }

    /// Whether these are numbers that people count with rather than measure with.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(self.kind, DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16)
    }

    /// Reads the numbers of a tensor.
    pub(crate) fn decode(proto: &TensorProto) -> Result<Self> {
        let kind = DataType::try_from(proto.data_type).context("a type that ONNX does not define")?;
        let shape: Vec<usize> = proto.dims.iter().map(|n| *n as usize).collect();
        let values =
            if proto.raw_data.is_empty() { typed(proto, kind)? } else { raw(&proto.raw_data, kind)? };
        if values.len() != shape.iter().product::<usize>() {
            bail!("{} values of type {kind:?} for shape {shape:?}", values.len());
        }
        Ok(Self { kind, shape, values })
    }
}

/// Reads one `.pb` file.
pub(crate) fn read(path: &Path) -> Result<TensorProto> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    TensorProto::decode(&*bytes).with_context(|| format!("{} holds no tensor", path.display()))
}

/// Little-endian bytes, as ONNX's own writer stores every type.
fn raw(bytes: &[u8], kind: DataType) -> Result<Vec<f64>> {
    fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks().0.iter().map(|chunk| f(*chunk)).collect()
    }
    Ok(match kind {
        DataType::Float => each(bytes, |b| f64::from(f32::from_le_bytes(b))),
        DataType::Double => each(bytes, f64::from_le_bytes),
        DataType::Float16 => each(bytes, |b| half(u16::from_le_bytes(b))),
        DataType::Bfloat16 => each(bytes, |b| brain(u16::from_le_bytes(b))),
        DataType::Int64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        DataType::Int32 => each(bytes, |b| f64::from(i32::from_le_bytes(b))),
        DataType::Int16 => each(bytes, |b| f64::from(i16::from_le_bytes(b))),
        DataType::Int8 => each(bytes, |[b]| f64::from(b as i8)),
        DataType::Uint64 => each(bytes, |b| u64::from_le_bytes(b) as f64),
        DataType::Uint32 => each(bytes, |b| f64::from(u32::from_le_bytes(b))),
        DataType::Uint16 => each(bytes, |b| f64::from(u16::from_le_bytes(b))),
        DataType::Uint8 | DataType::Bool => each(bytes, |[b]| f64::from(b)),
        other => bail!("type {other:?}"),
    })
}

fn typed(proto: &TensorProto, kind: DataType) -> Result<Vec<f64>> {
    let small = proto.int32_data.iter();
    Ok(match kind {
        DataType::Float => proto.float_data.iter().map(|x| f64::from(*x)).collect(),
        DataType::Double => proto.double_data.clone(),
        DataType::Float16 => small.map(|x| half(*x as u16)).collect(),
        DataType::Bfloat16 => small.map(|x| brain(*x as u16)).collect(),
        DataType::Int64 => proto.int64_data.iter().map(|x| *x as f64).collect(),
        DataType::Uint64 | DataType::Uint32 => proto.uint64_data.iter().map(|x| *x as f64).collect(),
        DataType::Int32 | DataType::Int16 | DataType::Int8 => small.map(|x| f64::from(*x)).collect(),
        DataType::Uint16 | DataType::Uint8 | DataType::Bool => small.map(|x| f64::from(*x)).collect(),
        other => bail!("type {other:?}"),
    })
}

fn half(bits: u16) -> f64 {
    f16::from_bits(bits).to_f64()
}

fn brain(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}
