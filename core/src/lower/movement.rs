//! Operators that copy values to other places.

use alloc::vec::Vec;

use super::{
    build::Lowering,
    elementwise::small,
    node::Node,
    shape::{Dims, axes, from_dims, places, repeated, to_dims},
    value::{Axis, BATCH, Data, Value, numbers, strides},
};
use crate::{
    engine::{Copy, Gather, Kernel, MAX_FLOATS},
    error::Result,
};

/// `ConstantOfShape`.
pub(super) fn filled(node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let fill = node.tensor("value")?.unwrap_or_else(|| Value::floats(Vec::new(), alloc::vec![0.0]));
    let dims = lengths(node, node.integers(inputs, 0)?)?;
    let (shape, batch) = from_dims(&dims);
    let Some(len) = numbers(&shape) else { return Err(node.refuse("its shape is too large")) };
    // All rows of the batch are alike, so the content may be a constant although there is a batch axis.
    let value = match &fill.data {
        Data::Ints(data) => Value::ints(shape, alloc::vec![data.first().copied().unwrap_or_default(); len]),
        _ => {
            let one = fill.constants().and_then(|all| all.first().copied()).unwrap_or_default();
            Value::floats(shape, alloc::vec![one; len])
        }
    };
    Ok(Value { kind: fill.kind, batch, ..value })
}

/// Constant integers as a shape.
fn lengths(node: &Node<'_>, target: Option<&[i64]>) -> Result<Dims> {
    let length = |n: &i64| match *n {
        BATCH => Ok(None),
        n => match usize::try_from(n) {
            Ok(n) if n <= MAX_FLOATS => Ok(Some(n)),
            _ => Err(node.invalid(&alloc::format!("a shape has a length of {n}"))),
        },
    };
    let dims: Dims = target.unwrap_or_default().iter().map(length).collect::<Result<_>>()?;
    match dims.iter().filter(|n| n.is_none()).count() {
        0 | 1 => Ok(dims),
        _ => Err(node.refuse("its shape has the batch twice")),
    }
}

pub(super) fn expand(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    let target = lengths(node, node.integers(inputs, 1)?)?;
    let mut old = to_dims(value);
    let rank = old.len().max(target.len());
    old.splice(..0, core::iter::repeat_n(Some(1), rank - old.len()));
    let mut dims = Dims::new();
    let mut x_strides = Vec::new();
    let mut step = strides(&value.shape).into_iter();
    for (axis, old_n) in old.iter().enumerate() {
        let new_n = (axis + target.len()).checked_sub(rank).and_then(|at| target.get(at));
        let new_n = new_n.copied().unwrap_or(Some(1));
        let n = match (*old_n, new_n) {
            (a, b) if a == b => a,
            (a, Some(1)) => a,
            (Some(1), b) => b,
            (None, _) | (_, None) => return Err(node.refuse("it fixes the length of the batch")),
            _ => return Err(node.invalid("its shapes do not fit together")),
        };
        let own = if axis >= rank - value.rank() && old_n.is_some() { step.next() } else { None };
        if n.is_some() {
            x_strides.push(if *old_n == Some(1) { 0 } else { own.unwrap_or_default() as i32 });
        }
        dims.push(n);
    }
    let (shape, batch) = from_dims(&dims);
    if shape.iter().fold(1_usize, |len, n| len.saturating_mul(*n)) == value.len() {
        return Ok(value.reshaped(shape, batch));
    }
    low.copied(value, shape, batch, 0, x_strides)
}

pub(super) fn concat(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let values: Vec<&Value> = (0..inputs.len()).map(|at| node.need(inputs, at)).collect::<Result<_>>()?;
    let first = node.need(inputs, 0)?;
    let axis = first.inner_axis(node.int("axis", if node.opset < 4 { 1 } else { -1 }), node)?;
    let mut shape = first.shape.clone();
    let mut total = 0_usize;
    for value in &values {
        if value.batch != first.batch {
            return Err(node.refuse("it joins values with and without the batch"));
        }
        let fits = |(i, n): (usize, &usize)| i == axis || shape.get(i) == Some(n);
        if value.shape.len() != shape.len() || !value.shape.iter().enumerate().all(fits) {
            return Err(node.invalid("its inputs' shapes do not fit together"));
        }
        total = total.saturating_add(value.shape.get(axis).copied().unwrap_or_default());
    }
    if let [value] = *values {
        return Ok(value.clone());
    }
    if let Some(place) = shape.get_mut(axis) {
        *place = total;
    }
    let (out, result) = low.fresh(first.kind, shape, first.batch)?;
    let mut at = 0;
    for value in values {
        let [outer, len, inner] = value.around(axis);
        let part = len * inner;
        let x = low.operand(value)?;
        low.kernel(Kernel::Copy(Copy {
            x,
            out,
            x_len: value.len() as u32,
            out_len: result.len() as u32,
            shape: small(&[outer, part]),
            x_offset: 0,
            x_strides: alloc::vec![part as i32, 1],
            out_offset: at as u32,
            out_strides: small(&[total * inner, 1]),
        }));
        at += part;
    }
    Ok(result)
}

pub(super) fn slice(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    let list = |name: &str, at: usize| match node.ints(name) {
        Some(list) => Ok(Some(list)),
        None => node.integers(inputs, at),
    };
    let (Some(starts), Some(ends)) = (list("starts", 1)?, list("ends", 2)?) else {
        return Err(node.invalid("its starts or ends are missing"));
    };
    let axes: Vec<i64> = match list("axes", 3)? {
        Some(axes) => axes.to_vec(),
        None => (0..starts.len() as i64).collect(),
    };
    let steps = list("steps", 4)?.map_or_else(|| alloc::vec![1; starts.len()], <[i64]>::to_vec);
    if [ends.len(), axes.len(), steps.len()].iter().any(|n| *n != starts.len()) {
        return Err(node.invalid("its starts, ends, axes and steps are not as many"));
    }
    let mut cut = Cut::whole(value);
    for (((start, end), axis), step) in starts.iter().zip(ends).zip(&axes).zip(&steps) {
        match value.axis(*axis, node)? {
            Axis::Batch if *start == 0 && *step == 1 && (*end == BATCH || *end >= i64::from(i32::MAX)) => {}
            Axis::Batch => return Err(node.refuse("it cuts the batch")),
            Axis::Inner(axis) => cut.along(node, axis, *start, *end, *step)?,
        }
    }
    cut.copy(low, value)
}

/// A box within a value.
struct Cut {
    shape: Vec<usize>,
    offset: i64,
    strides: Vec<i32>,
}

impl Cut {
    fn whole(value: &Value) -> Self {
        let strides = strides(&value.shape).iter().map(|n| *n as i32).collect();
        Self { shape: value.shape.clone(), offset: 0, strides }
    }

    /// From `start` to before `end`, as Python slices.
    fn along(&mut self, node: &Node<'_>, axis: usize, start: i64, end: i64, step: i64) -> Result<()> {
        let (Some(len), Some(stride)) = (self.shape.get_mut(axis), self.strides.get_mut(axis)) else {
            return Ok(());
        };
        if step == 0 {
            return Err(node.invalid("its step is 0"));
        }
        if start == BATCH || (end == BATCH && step > 0) {
            return Err(node.refuse("it cuts by the length of the batch"));
        }
        let n = *len as i64;
        if n == 0 {
            return Ok(());
        }
        let from_end = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
        let (start, end) = match step > 0 {
            true => (from_end(start).clamp(0, n), from_end(end).clamp(0, n)),
            false => (from_end(start).clamp(0, n - 1), from_end(end).clamp(-1, n - 1)),
        };
        let span = if step > 0 { end - start } else { start - end };
        let count = if span <= 0 { 0 } else { (span - 1) / step.saturating_abs() + 1 };
        // The stride is below 0 where the axis was already cut backwards.
        self.offset += if count > 0 { start * i64::from(*stride) } else { 0 };
        *len = count as usize;
        // A stride that is used lies within the value, which is far smaller than 2³¹.
        *stride = if count > 1 { (i64::from(*stride) * step) as i32 } else { 0 };
        Ok(())
    }

    fn copy(self, low: &mut Lowering, value: &Value) -> Result<Value> {
        if self.shape == value.shape && self.offset == 0 && self.strides.iter().all(|stride| *stride >= 0) {
            return Ok(value.clone());
        }
        low.copied(value, self.shape, value.batch, self.offset as usize, self.strides)
    }
}

pub(super) fn split(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Vec<Value>> {
    let value = node.need(inputs, 0)?;
    let axis = value.inner_axis(node.int("axis", 0), node)?;
    let len = value.shape.get(axis).copied().unwrap_or_default();
    let parts = node.outputs().len().max(1);
    let lengths: Vec<usize> =
        match node.ints("split").map_or_else(|| node.integers(inputs, 1), |s| Ok(Some(s)))? {
            Some(lengths) => lengths.iter().map(|n| usize::try_from(*n).unwrap_or(usize::MAX)).collect(),
            None => {
                let each = len.div_ceil(parts);
                (0..parts).map(|part| each.min(len.saturating_sub(part * each))).collect()
            }
        };
    if lengths.len() != parts || lengths.iter().fold(0_usize, |sum, n| sum.saturating_add(*n)) != len {
        return Err(node.invalid("its parts are not the whole"));
    }
    let mut at = 0;
    let part = |n: &usize| {
        let mut cut = Cut::whole(value);
        cut.along(node, axis, at, at + *n as i64, 1)?;
        at += *n as i64;
        cut.copy(low, value)
    };
    lengths.iter().map(part).collect()
}

pub(super) fn gather(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let (data, indices) = (node.need(inputs, 0)?, node.need(inputs, 1)?);
    let Axis::Inner(axis) = data.axis(node.int("axis", 0), node)? else {
        return Err(node.refuse("it picks rows of the batch"));
    };
    if data.batch.is_some() && indices.batch.is_some() {
        return Err(node.refuse("it picks from each row with the indices of each row"));
    }
    let mut dims = to_dims(data);
    let place = axis + usize::from(data.batch.is_some_and(|batch| batch <= axis));
    dims.splice(place..=place, to_dims(indices));
    let [outer, len, inner] = data.around(axis);
    if let Some(constant) = indices.integers() {
        let len = len as i64;
        if let Some(index) = constant.iter().find(|index| !(-len..len).contains(*index)) {
            return Err(node.invalid(&alloc::format!("index {index} of {len} values")));
        }
    }
    let (data_at, indices_at) = (low.operand(data)?, low.operand(indices)?);
    let (shape, batch) = from_dims(&dims);
    let (out, value) = low.fresh(data.kind, shape, batch)?;
    low.kernel(Kernel::Gather(Gather {
        data: data_at,
        indices: indices_at,
        out,
        outer: outer as u32,
        axis: len as u32,
        inner: inner as u32,
        count: indices.len() as u32,
    }));
    Ok(value)
}

pub(super) fn pad(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let value = node.need(inputs, 0)?;
    if node.text("mode", "constant") != "constant" {
        return Err(node.refuse("it pads with other than a constant"));
    }
    let pads = match node.ints("pads").or(node.ints("paddings")) {
        Some(pads) => pads,
        None => node.integers(inputs, 1)?.ok_or_else(|| node.invalid("its pads are missing"))?,
    };
    let fill = match inputs.get(2) {
        Some(Some(fill)) => match fill.constants().as_deref() {
            Some([fill]) => *fill,
            _ => return Err(node.refuse("it pads with what is computed")),
        },
        _ => node.float("value", 0.0),
    };
    let dims = to_dims(value);
    let padded = match axes(node, inputs, 3)? {
        Some(axes) => {
            axes.iter().map(|axis| places(node, &[*axis], dims.len())).collect::<Result<Vec<_>>>()?.concat()
        }
        None => (0..dims.len()).collect(),
    };
    if pads.len() != 2 * padded.len() {
        return Err(node.invalid("it needs two pads for each axis"));
    }
    let (befores, afters) = pads.split_at(padded.len());
    let mut around = alloc::vec![(0, 0); dims.len()];
    for ((axis, before), after) in padded.iter().zip(befores).zip(afters) {
        if let Some(place) = around.get_mut(*axis) {
            *place = (*before, *after);
        }
    }
    Frame { value, fill }.pad(low, node, &around)
}

/// A value, and what goes around it.
struct Frame<'v> {
    value: &'v Value,
    fill: f32,
}

impl Frame<'_> {
    /// Each axis with so many places before and after; a negative number takes places away.
    fn pad(&self, low: &mut Lowering, node: &Node<'_>, around: &[(i64, i64)]) -> Result<Value> {
        let mut cut = Cut::whole(self.value);
        let mut dims = Dims::new();
        let mut starts = Vec::new();
        for (dim, (before, after)) in to_dims(self.value).iter().zip(around) {
            let Some(n) = dim else {
                if (*before, *after) != (0, 0) {
                    return Err(node.refuse("it pads the batch"));
                }
                dims.push(None);
                continue;
            };
            let n = *n as i64;
            let length = n.saturating_add(*before).saturating_add(*after);
            let most = MAX_FLOATS as i64;
            if ![length, before.saturating_add(most), after.saturating_add(most)]
                .iter()
                .all(|n| (0..=2 * most).contains(n))
            {
                return Err(node.invalid("its pads are out of range"));
            }
            cut.along(node, starts.len(), (-*before).clamp(0, n), (n + *after).clamp(0, n), 1)?;
            starts.push((*before).max(0) as usize);
            dims.push(Some(length as usize));
        }
        let (out, result) = repeated(low, self.value.kind, self.fill, &dims)?;
        let out_strides = strides(&result.shape);
        let x = low.operand(self.value)?;
        low.kernel(Kernel::Copy(Copy {
            x,
            out,
            x_len: self.value.len() as u32,
            out_len: result.len() as u32,
            shape: small(&cut.shape),
            x_offset: cut.offset as u32,
            x_strides: cut.strides,
            out_offset: starts.iter().zip(&out_strides).map(|(at, stride)| at * stride).sum::<usize>() as u32,
            out_strides: small(&out_strides),
        }));
        Ok(Value { kind: self.value.kind, ..result })
    }
}
