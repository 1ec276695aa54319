//! Operators that move values or only change their shape.

use alloc::vec::Vec;

use super::{
    build::Lowering,
    elementwise::small,
    movement,
    node::Node,
    value::{BATCH, Kind, Value, numbers},
};
use crate::error::Result;

/// A shape as ONNX has it; `None` is the batch.
pub(super) type Dims = Vec<Option<usize>>;

/// The value's shape as ONNX has it.
pub(super) fn to_dims(value: &Value) -> Dims {
    let mut dims: Dims = value.shape.iter().map(|n| Some(*n)).collect();
    if let Some(batch) = value.batch {
        dims.insert(batch.min(dims.len()), None);
    }
    dims
}

/// A shape without its batch axis, and where that is.
pub(super) fn from_dims(dims: &[Option<usize>]) -> (Vec<usize>, Option<usize>) {
    (dims.iter().flatten().copied().collect(), dims.iter().position(Option::is_none))
}

/// The operator's outputs; `None` when it is of another family.
pub(super) fn lower(
    low: &mut Lowering,
    node: &Node<'_>,
    inputs: &[Option<Value>],
) -> Result<Option<Vec<Value>>> {
    let value = match node.operator() {
        "Identity" => node.need(inputs, 0)?.clone(),
        "Constant" => constant(node)?,
        "ConstantOfShape" => movement::filled(node, inputs)?,
        "Shape" => shape(node, inputs)?,
        "Reshape" => reshape(node, inputs)?,
        "Flatten" => flatten(node, inputs)?,
        "Squeeze" => squeeze(node, inputs)?,
        "Unsqueeze" => unsqueeze(node, inputs)?,
        "Transpose" => transpose(low, node, inputs)?,
        "Expand" => movement::expand(low, node, inputs)?,
        "Concat" => movement::concat(low, node, inputs)?,
        "Slice" => movement::slice(low, node, inputs)?,
        "Gather" => movement::gather(low, node, inputs)?,
        "Pad" => movement::pad(low, node, inputs)?,
        "Split" => return movement::split(low, node, inputs).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(alloc::vec![value]))
}

fn constant(node: &Node<'_>) -> Result<Value> {
    if let Some(value) = node.tensor("value")? {
        return Ok(value);
    }
    if let Some(data) = node.floats("value_floats") {
        return Ok(Value::floats(alloc::vec![data.len()], data.to_vec()));
    }
    if let Some(data) = node.ints("value_ints") {
        return Ok(Value::ints(alloc::vec![data.len()], data.to_vec()));
    }
    if node.has("value_float") {
        return Ok(Value::floats(Vec::new(), alloc::vec![node.float("value_float", 0.0)]));
    }
    if node.has("value_int") {
        return Ok(Value::ints(Vec::new(), alloc::vec![node.int("value_int", 0)]));
    }
    Err(node.refuse("its constant is not of numbers"))
}

fn shape(node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let dims = to_dims(node.need(inputs, 0)?);
    let rank = dims.len() as i64;
    let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let (start, end) = (place(node.int("start", 0)), place(node.int("end", rank)));
    let part = dims.get(start..end.max(start)).unwrap_or_default();
    let lengths: Vec<i64> = part.iter().map(|n| n.map_or(BATCH, |n| n as i64)).collect();
    Ok(Value::ints(alloc::vec![lengths.len()], lengths))
}

/// What is asked of one axis of a new shape.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Batch,
    /// Whatever is left.
    Rest,
    Length(usize),
}

fn reshape(node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    let target = match node.ints("shape") {
        Some(target) => target,
        None => match node.integers(inputs, 1)? {
            Some(target) => target,
            None => return Err(node.invalid("input 1, the shape, is missing")),
        },
    };
    let old = to_dims(value);
    let mut wanted = Vec::new();
    for (axis, n) in target.iter().enumerate() {
        wanted.push(match (*n, old.get(axis)) {
            (BATCH, _) => Wanted::Batch,
            (-1, _) => Wanted::Rest,
            (0, Some(known)) if node.int("allowzero", 0) == 0 => known.map_or(Wanted::Batch, Wanted::Length),
            (n, _) if n >= 0 => Wanted::Length(n as usize),
            _ => return Err(node.invalid("its shape has a negative length")),
        });
    }
    let dims = resolved(node, value, wanted)?;
    keeps_batch(node, &old, &dims)?;
    let (shape, batch) = from_dims(&dims);
    Ok(value.reshaped(shape, batch))
}

/// Gives the axis that takes the rest its length; where nothing else does, it is the batch.
fn resolved(node: &Node<'_>, value: &Value, mut wanted: Vec<Wanted>) -> Result<Dims> {
    let known = wanted.iter().filter_map(|w| if let Wanted::Length(n) = w { Some(*n) } else { None });
    let known = known.fold(1_usize, usize::saturating_mul);
    let has_batch = wanted.contains(&Wanted::Batch);
    if let Some(rest) = wanted.iter_mut().find(|w| **w == Wanted::Rest) {
        *rest = match value.batch {
            Some(_) if !has_batch && known == value.len() => Wanted::Batch,
            _ if known > 0 && value.len().is_multiple_of(known) => Wanted::Length(value.len() / known),
            _ => return Err(node.invalid("its input cannot be cut into the new shape")),
        };
    }
    let dims: Option<Dims> = wanted
        .iter()
        .map(|w| match w {
            Wanted::Batch => Some(None),
            Wanted::Length(n) => Some(Some(*n)),
            Wanted::Rest => None,
        })
        .collect();
    let Some(dims) = dims else { return Err(node.invalid("its new shape has several -1")) };
    let fixed: Vec<usize> = dims.iter().flatten().copied().collect();
    let Some(len) = numbers(&fixed) else { return Err(node.refuse("its new shape is too large")) };
    match dims.iter().filter(|n| n.is_none()).count() {
        batches if batches != usize::from(value.batch.is_some()) => {
            Err(node.refuse("it merges the batch with another axis, or fixes its length"))
        }
        _ if len != value.len() => match value.batch {
            Some(_) => Err(node.refuse("it merges the batch with another axis, or fixes its length")),
            None => Err(node.invalid("the new shape has another number of values")),
        },
        _ => Ok(dims),
    }
}

/// Numbers keep their order, so as many must lie before the batch axis as did.
fn keeps_batch(node: &Node<'_>, old: &[Option<usize>], new: &[Option<usize>]) -> Result<()> {
    let before = |dims: &[Option<usize>]| -> usize { dims.iter().map_while(|n| *n).product() };
    let batch = old.contains(&None);
    if batch && before(old) != before(new) && old.iter().flatten().all(|n| *n > 0) {
        return Err(node.refuse("it mixes the rows of the batch"));
    }
    Ok(())
}

fn flatten(node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    let dims = to_dims(value);
    let axis = node.int("axis", 1);
    let axis = if axis < 0 { axis + dims.len() as i64 } else { axis };
    let Some((before, after)) = usize::try_from(axis).ok().and_then(|axis| dims.split_at_checked(axis))
    else {
        return Err(node.invalid("there is no such axis"));
    };
    let joined = |dims: &[Option<usize>]| {
        let len: usize = dims.iter().flatten().product();
        match dims.contains(&None) {
            true if len == 1 => Ok(None),
            true => Err(node.refuse("it merges the batch with another axis")),
            false => Ok(Some(len)),
        }
    };
    let (shape, batch) = from_dims(&[joined(before)?, joined(after)?]);
    Ok(value.reshaped(shape, batch))
}

/// Axes from an attribute, or from an input.
pub(super) fn axes(node: &Node<'_>, inputs: &[Option<Value>], input: usize) -> Result<Option<Vec<i64>>> {
    match node.ints("axes") {
        Some(axes) => Ok(Some(axes.to_vec())),
        None => Ok(node.integers(inputs, input)?.map(<[i64]>::to_vec)),
    }
}

/// Axes counted from 0, in order, each once.
pub(super) fn places(node: &Node<'_>, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    let place = |axis: &i64| {
        let place = if *axis < 0 { axis.saturating_add(rank as i64) } else { *axis };
        match usize::try_from(place) {
            Ok(place) if place < rank => Ok(place),
            _ => Err(node.invalid(&alloc::format!("there is no axis {axis} of {rank}"))),
        }
    };
    let mut places: Vec<usize> = axes.iter().map(place).collect::<Result<_>>()?;
    places.sort_unstable();
    let count = places.len();
    places.dedup();
    if places.len() != count {
        return Err(node.invalid("an axis is named twice"));
    }
    Ok(places)
}

fn squeeze(node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    let dims = to_dims(value);
    let places = match axes(node, inputs, 1)? {
        Some(axes) => places(node, &axes, dims.len())?,
        None => (0..dims.len()).filter(|axis| dims.get(*axis) == Some(&Some(1))).collect(),
    };
    let mut left = Dims::new();
    for (axis, n) in dims.iter().enumerate() {
        match (places.contains(&axis), n) {
            (false, _) => left.push(*n),
            (true, Some(1)) => {}
            (true, None) => return Err(node.refuse("it removes the batch axis")),
            (true, Some(n)) => return Err(node.invalid(&alloc::format!("it removes an axis of {n} places"))),
        }
    }
    let (shape, batch) = from_dims(&left);
    Ok(value.reshaped(shape, batch))
}

fn unsqueeze(node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    let mut dims = to_dims(value);
    let Some(axes) = axes(node, inputs, 1)? else { return Err(node.invalid("its axes are missing")) };
    for axis in places(node, &axes, dims.len() + axes.len())? {
        dims.insert(axis.min(dims.len()), Some(1));
    }
    let (shape, batch) = from_dims(&dims);
    Ok(value.reshaped(shape, batch))
}

fn transpose(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    let rank = value.rank();
    let order: Vec<usize> = match node.ints("perm") {
        Some(order) => order.iter().map(|axis| usize::try_from(*axis).unwrap_or(rank)).collect(),
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..rank) {
        return Err(node.invalid("`perm` does not name each axis once"));
    }
    permuted(low, value, &order)
}

/// The value with its axes, the batch among them, in another order.
pub(super) fn permuted(low: &mut Lowering, value: &Value, order: &[usize]) -> Result<Value> {
    let inner: Vec<usize> = order
        .iter()
        .filter(|axis| Some(**axis) != value.batch)
        .map(|axis| axis - usize::from(value.batch.is_some_and(|batch| batch < *axis)))
        .collect();
    low.transposed(value, &inner, order.iter().position(|axis| Some(*axis) == value.batch))
}

/// A value of the same kind, of its own, that repeats a constant.
pub(super) fn repeated(
    low: &mut Lowering,
    kind: Kind,
    data: f32,
    dims: &[Option<usize>],
) -> Result<(u32, Value)> {
    let (shape, batch) = from_dims(dims);
    let x = crate::engine::Operand::Const(low.constant(&[data])?);
    let (out, value) = low.fresh(kind, shape, batch)?;
    let len = value.len() as u32;
    low.kernel(crate::engine::Kernel::Copy(crate::engine::Copy {
        x,
        out,
        x_len: 1,
        out_len: len,
        shape: small(&[value.len()]),
        x_offset: 0,
        x_strides: alloc::vec![0],
        out_offset: 0,
        out_strides: alloc::vec![1],
    }));
    Ok((out, value))
}
