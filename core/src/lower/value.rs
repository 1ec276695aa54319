//! What flows through a graph while it is lowered.

use alloc::{rc::Rc, vec::Vec};

use super::node::Node;
use crate::{engine::MAX_FLOATS, error::Result};

/// The most axes that a value may have.
pub(crate) const MAX_RANK: usize = 8;

/// The length of the batch axis where a shape is itself a value.
pub(crate) const BATCH: i64 = i64::MIN;

/// A tensor: its type and shape are known, its content is constant or will be in a buffer.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    /// Without the batch axis.
    pub(crate) shape: Vec<usize>,
    /// Where ONNX's shape has the batch axis, if it has one.
    pub(crate) batch: Option<usize>,
    pub(crate) data: Data,
}

/// What ONNX takes the numbers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Int,
    Bool,
}

/// Where the content is.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// In a buffer, while a plan runs.
    Slot(u32),
    /// Constant numbers (kind `Float`).
    Floats(Rc<[f32]>),
    /// Constant integers or truth values, exact (kinds `Int` and `Bool`). May hold [`BATCH`].
    Ints(Rc<[i64]>),
}

/// An axis of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    Batch,
    /// Index into [`Value::shape`].
    Inner(usize),
}

impl Value {
    pub(crate) fn floats(shape: Vec<usize>, data: Vec<f32>) -> Self {
        Self { kind: Kind::Float, shape, batch: None, data: Data::Floats(data.into()) }
    }

    pub(crate) fn ints(shape: Vec<usize>, data: Vec<i64>) -> Self {
        Self { kind: Kind::Int, shape, batch: None, data: Data::Ints(data.into()) }
    }

    /// Numbers in one row.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of axes as ONNX counts them.
    pub(crate) fn rank(&self) -> usize {
        self.shape.len() + usize::from(self.batch.is_some())
    }

    /// The axis that ONNX calls `axis`; negative counts from the end.
    pub(crate) fn axis(&self, axis: i64, node: &Node<'_>) -> Result<Axis> {
        let rank = self.rank() as i64;
        let index = if axis < 0 { axis + rank } else { axis };
        if !(0..rank).contains(&index) {
            return Err(node.invalid(&alloc::format!("axis {axis} of a value of {rank} axes")));
        }
        let index = index as usize;
        Ok(match self.batch {
            Some(batch) if index == batch => Axis::Batch,
            Some(batch) if index > batch => Axis::Inner(index - 1),
            _ => Axis::Inner(index),
        })
    }

    /// As [`Value::axis`]; refuses the batch axis.
    pub(crate) fn inner_axis(&self, axis: i64, node: &Node<'_>) -> Result<usize> {
        match self.axis(axis, node)? {
            Axis::Inner(axis) => Ok(axis),
            Axis::Batch => Err(node.refuse("it works across the rows of the batch")),
        }
    }

    /// The shape around an inner axis: `[outer, len, inner]`.
    pub(crate) fn around(&self, axis: usize) -> [usize; 3] {
        let product = |shape: &[usize]| shape.iter().product();
        let (outer, rest) = self.shape.split_at(axis);
        let (len, inner) = rest.split_first().unwrap_or((&1, &[]));
        [product(outer), *len, product(inner)]
    }

    /// The same content with another shape of as many numbers.
    pub(crate) fn reshaped(&self, shape: Vec<usize>, batch: Option<usize>) -> Self {
        Self { shape, batch, ..self.clone() }
    }

    /// The constant numbers, whatever their kind; `None` for a buffer.
    pub(crate) fn constants(&self) -> Option<Vec<f32>> {
        match &self.data {
            Data::Slot(_) => None,
            Data::Floats(data) => Some(data.to_vec()),
            Data::Ints(data) => Some(data.iter().map(|x| *x as f32).collect()),
        }
    }

    /// The constant integers; `None` for a buffer or numbers of another kind.
    pub(crate) fn integers(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Ints(data) => Some(data),
            _ => None,
        }
    }
}

/// How many numbers a shape has; none where a plan cannot hold it, or where its other axes alone would be too many
/// beside an axis of 0.
pub(crate) fn numbers(shape: &[usize]) -> Option<usize> {
    let others = |n: usize, axis: &usize| n.checked_mul((*axis).max(1)).filter(|n| *n <= MAX_FLOATS);
    let others = shape.iter().try_fold(1_usize, others)?;
    (shape.len() <= MAX_RANK).then_some(if shape.contains(&0) { 0 } else { others })
}

/// Distances between neighbours of a contiguous shape.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = alloc::vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Values laid over each other by ONNX's (NumPy's) rules of broadcasting.
#[derive(Clone, Debug)]
pub(crate) struct Broadcast {
    /// Of the result, without the batch axis.
    pub(crate) shape: Vec<usize>,
    pub(crate) batch: Option<usize>,
    /// For each value, along each axis of `shape`; 0 where it is repeated.
    pub(crate) strides: Vec<Vec<usize>>,
}

impl Broadcast {
    pub(crate) fn of(values: &[&Value], node: &Node<'_>) -> Result<Self> {
        let rank = values.iter().map(|value| value.rank()).max().unwrap_or(0);
        // From the last axis, where ONNX aligns shapes.
        let mut from_end = values.iter().filter_map(|value| Some(value.rank() - value.batch?));
        let batch = from_end.next();
        if from_end.any(|other| Some(other) != batch) {
            return Err(node.refuse("it combines values whose batch axes differ"));
        }
        let batch = batch.map(|end| rank - end);
        let padded: Vec<Vec<usize>> =
            values.iter().map(|value| padded(value, rank, batch, node)).collect::<Result<_>>()?;
        let inner = rank - usize::from(batch.is_some());
        let mut shape = alloc::vec![1; inner];
        for (axis, len) in shape.iter_mut().enumerate() {
            *len = padded.iter().map(|dims| dims[axis]).find(|n| *n != 1).unwrap_or(1);
            if padded.iter().any(|dims| dims[axis] != 1 && dims[axis] != *len) {
                return Err(node.invalid("its inputs' shapes do not fit together"));
            }
        }
        let spread = |dims: &Vec<usize>| {
            let own = strides(dims);
            dims.iter().zip(own).map(|(n, stride)| if *n == 1 { 0 } else { stride }).collect()
        };
        Ok(Self { strides: padded.iter().map(spread).collect(), shape, batch })
    }
}

/// A value's shape with ones before it, up to `rank` axes, without the axis that is the batch of the result.
fn padded(value: &Value, rank: usize, batch: Option<usize>, node: &Node<'_>) -> Result<Vec<usize>> {
    let mut dims = alloc::vec![1; rank - value.rank()];
    dims.extend(&value.shape);
    if let (Some(batch), None) = (batch, value.batch)
        && dims.remove(batch) != 1
    {
        return Err(node.refuse("it combines the batch with a value that differs by row"));
    }
    Ok(dims)
}
