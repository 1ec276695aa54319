//! Operators that look along axes.

use alloc::vec::Vec;

use super::{
    build::Lowering,
    elementwise::{binary, unary},
    node::Node,
    shape::{Dims, axes, from_dims, permuted, places, to_dims},
    value::{Kind, Value},
};
use crate::{
    engine::{BinaryOp, Function, Kernel, LayerNorm, Reduce, ReduceKind, Softmax, TopK},
    error::Result,
};

/// The operator's outputs; `None` when it is of another family.
pub(super) fn lower(
    low: &mut Lowering,
    node: &Node<'_>,
    inputs: &[Option<Value>],
) -> Result<Option<Vec<Value>>> {
    if let Some(kind) = kind(node) {
        return Ok(Some(alloc::vec![reduce(low, node, inputs, kind)?]));
    }
    let last = node.int("select_last_index", 0) != 0;
    Ok(Some(match node.operator() {
        "ArgMax" => alloc::vec![search(low, node, inputs, ReduceKind::ArgMax { last })?],
        "ArgMin" => alloc::vec![search(low, node, inputs, ReduceKind::ArgMin { last })?],
        "Softmax" => alloc::vec![softmax(low, node, inputs, false)?],
        "LogSoftmax" => alloc::vec![softmax(low, node, inputs, true)?],
        "LayerNormalization" => layer_norm(low, node, inputs)?,
        "TopK" => top(low, node, inputs)?,
        _ => return Ok(None),
    }))
}

fn kind(node: &Node<'_>) -> Option<ReduceKind> {
    Some(match node.operator() {
        "ReduceSum" => ReduceKind::Sum,
        "ReduceMean" => ReduceKind::Mean,
        "ReduceMax" => ReduceKind::Max,
        "ReduceMin" => ReduceKind::Min,
        "ReduceProd" => ReduceKind::Prod,
        "ReduceL1" => ReduceKind::L1,
        "ReduceL2" => ReduceKind::L2,
        "ReduceSumSquare" => ReduceKind::SumSquare,
        _ => return None,
    })
}

fn reduce(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>], kind: ReduceKind) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    let along = axes(node, inputs, 1)?.unwrap_or_default();
    let along = match places(node, &along, value.rank())? {
        none if none.is_empty() && node.int("noop_with_empty_axes", 0) != 0 => none,
        none if none.is_empty() => (0..value.rank()).collect(),
        some => some,
    };
    let keep = node.int("keepdims", 1) != 0;
    let result = reduced(low, node, value, &along, kind, keep)?;
    match (value.kind, kind) {
        (Kind::Int, ReduceKind::Mean | ReduceKind::L2) => unary(low, Function::Truncate, &result),
        // The largest of no truth values is false, the smallest true.
        (Kind::Bool, _) => unary(low, Function::Clip { low: 0.0, high: 1.0 }, &result),
        _ => Ok(result),
    }
}

/// Reduces the axes, which ONNX counts so, to one place each or to none.
pub(super) fn reduced(
    low: &mut Lowering,
    node: &Node<'_>,
    value: &Value,
    along: &[usize],
    kind: ReduceKind,
    keep: bool,
) -> Result<Value> {
    let dims = to_dims(value);
    if along.iter().any(|axis| Some(*axis) == value.batch) {
        return Err(node.refuse("it works across the rows of the batch"));
    }
    let (gone, left): (Vec<usize>, Vec<usize>) = (0..dims.len()).partition(|axis| along.contains(axis));
    // Neighbouring axes are reduced where they are; others are moved to the end first.
    let whole =
        gone.iter().zip(gone.iter().skip(1)).all(|(a, b)| (a + 1..*b).all(|axis| Some(axis) == value.batch));
    let value = if whole { value.clone() } else { permuted(low, value, &[&*left, &*gone].concat())? };
    let product = |axes: &[usize]| -> usize { axes.iter().filter_map(|axis| *dims.get(*axis)?).product() };
    let (before, after) = match gone.first() {
        Some(first) if whole => left.split_at(left.iter().filter(|axis| *axis < first).count()),
        _ => (&*left, &[][..]),
    };
    let new = dims.iter().enumerate().filter_map(|(axis, n)| match along.contains(&axis) {
        true if keep => Some(Some(1)),
        true => None,
        false => Some(*n),
    });
    let (shape, batch) = from_dims(&new.collect::<Dims>());
    let x = low.slot_of(&value)?;
    let result_kind = if matches!(kind, ReduceKind::ArgMax { .. } | ReduceKind::ArgMin { .. }) {
        Kind::Int
    } else {
        value.kind
    };
    let (out, result) = low.fresh(result_kind, shape, batch)?;
    let [outer, len, inner] = [product(before), product(&gone), product(after)].map(|n| n as u32);
    low.kernel(Kernel::Reduce(Reduce { kind, x, out, outer, len, inner }));
    Ok(result)
}

fn search(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>], kind: ReduceKind) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    let along = places(node, &[node.int("axis", 0)], value.rank())?;
    reduced(low, node, value, &along, kind, node.int("keepdims", 1) != 0)
}

/// Before opset 13 a softmax runs over all axes from `axis` on.
fn softmax(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>], log: bool) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    let [outer, len, inner] = if node.opset >= 13 {
        value.around(value.inner_axis(node.int("axis", -1), node)?)
    } else {
        let axis = node.int("axis", 1);
        let dims = to_dims(value);
        let at = if axis < 0 { axis + dims.len() as i64 } else { axis };
        let split = usize::try_from(at).ok().and_then(|at| dims.split_at_checked(at));
        let Some((before, after)) = split else { return Err(node.invalid("there is no such axis")) };
        if after.contains(&None) {
            return Err(node.refuse("it works across the rows of the batch"));
        }
        [before.iter().flatten().product(), after.iter().flatten().product(), 1]
    };
    let x = low.slot_of(value)?;
    let (out, result) = low.fresh(value.kind, value.shape.clone(), value.batch)?;
    let [outer, len, inner] = [outer, len, inner].map(|n| n as u32);
    low.kernel(Kernel::Softmax(Softmax { x, out, outer, len, inner, log, skip_zeros: false }));
    Ok(result)
}

fn top(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Vec<Value>> {
    let value = node.need(inputs, 0)?;
    let axis = value.inner_axis(node.int("axis", -1), node)?;
    let k = match node.integers(inputs, 1)? {
        Some(k) => k.first().copied().unwrap_or_default(),
        None => node.int("k", 0),
    };
    let [outer, len, inner] = value.around(axis);
    let mut shape = value.shape.clone();
    match (usize::try_from(k), shape.get_mut(axis)) {
        (Ok(k), Some(place)) if k <= len => *place = k,
        _ => return Err(node.invalid(&alloc::format!("it takes {k} of {len} values"))),
    }
    let x = low.slot_of(value)?;
    let (values, best) = low.fresh(value.kind, shape.clone(), value.batch)?;
    let (indices, where_) = low.fresh(Kind::Int, shape, value.batch)?;
    let [outer, len, inner] = [outer, len, inner].map(|n| n as u32);
    let largest = node.int("largest", 1) != 0;
    low.kernel(Kernel::TopK(TopK { x, values, indices, outer, len, inner, k: k as u32, largest }));
    Ok(alloc::vec![best, where_])
}

fn layer_norm(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Vec<Value>> {
    let value = node.need(inputs, 0)?;
    let scale = node.need(inputs, 1)?;
    let bias = inputs.get(2).and_then(Option::as_ref);
    let dims = to_dims(value);
    let first = places(node, &[node.int("axis", -1)], dims.len())?.first().copied().unwrap_or_default();
    let (before, after) = dims.split_at(first.min(dims.len()));
    if after.contains(&None) {
        return Err(node.refuse("it works across the rows of the batch"));
    }
    let (outer, len): (usize, usize) = (before.iter().flatten().product(), after.iter().flatten().product());
    let epsilon = node.float("epsilon", 1e-5);
    // Constants of the normalised shape go into the kernel; others are applied after it.
    let inside = |low: &mut Lowering, value: Option<&Value>| match value.and_then(Value::constants) {
        Some(data) if data.len() == len => low.constant(&data).map(Some),
        _ => Ok(None),
    };
    let scale_at = inside(low, Some(scale))?;
    let bias_at = if scale_at.is_some() { inside(low, bias)? } else { None };
    let x = low.slot_of(value)?;
    let (out, mut result) = low.fresh(value.kind, value.shape.clone(), value.batch)?;
    let (outer, len) = (outer as u32, len as u32);
    low.kernel(Kernel::LayerNorm(LayerNorm { x, out, outer, len, epsilon, scale: scale_at, bias: bias_at }));
    if scale_at.is_none() {
        result = binary(low, node, BinaryOp::Mul, &result, scale)?;
    }
    if let (Some(bias), None) = (bias, bias_at) {
        result = binary(low, node, BinaryOp::Add, &result, bias)?;
    }
    let mut outputs = alloc::vec![result];
    if node.gives(1) || node.gives(2) {
        let along: Vec<usize> = (first..dims.len()).collect();
        let mean = reduced(low, node, value, &along, ReduceKind::Mean, true)?;
        let centred = binary(low, node, BinaryOp::Sub, value, &mean)?;
        let squares = binary(low, node, BinaryOp::Mul, &centred, &centred)?;
        let variance = reduced(low, node, &squares, &along, ReduceKind::Mean, true)?;
        let epsilon = Value::floats(Vec::new(), alloc::vec![epsilon]);
        let variance = binary(low, node, BinaryOp::Add, &variance, &epsilon)?;
        let deviation = unary(low, Function::Sqrt, &variance)?;
        outputs.extend([mean, unary(low, Function::Reciprocal, &deviation)?]);
    }
    Ok(outputs)
}
