//! Matrix products.

use alloc::vec::Vec;

use super::{
    build::Lowering,
    elementwise::{binary, small},
    node::Node,
    shape::{Dims, from_dims, permuted, to_dims},
    value::{Broadcast, Kind, Value},
};
use crate::{
    engine::{BinaryOp, Dense, Kernel, MatMul},
    error::Result,
};

/// The operator's outputs; `None` when it is of another family.
pub(super) fn lower(
    low: &mut Lowering,
    node: &Node<'_>,
    inputs: &[Option<Value>],
) -> Result<Option<Vec<Value>>> {
    let value = match node.operator() {
        "Gemm" => gemm(low, node, inputs)?,
        "MatMul" => product(low, node, node.need(inputs, 0)?, node.need(inputs, 1)?)?,
        _ => return Ok(None),
    };
    Ok(Some(alloc::vec![value]))
}

fn gemm(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let (a, b) = (node.need(inputs, 0)?, node.need(inputs, 1)?);
    if a.rank() != 2 || b.rank() != 2 {
        return Err(node.invalid("its inputs are not matrices"));
    }
    let a = if node.int("transA", 0) != 0 { permuted(low, a, &[1, 0])? } else { a.clone() };
    let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
    let c = inputs.get(2).and_then(Option::as_ref).filter(|_| beta != 0.0);
    let transposed = node.int("transB", 0) != 0;
    let (Some(weights), None, Some(&[_, _]), Kind::Float) = (b.constants(), b.batch, Some(&*b.shape), a.kind)
    else {
        let b = if transposed { permuted(low, b, &[1, 0])? } else { b.clone() };
        let mut result = product(low, node, &a, &b)?;
        if alpha != 1.0 {
            result = binary(low, node, BinaryOp::Mul, &result, &scalar(alpha))?;
        }
        return plus(low, node, result, c, beta);
    };
    let mut matrix = Matrix::new(weights, &b.shape);
    if transposed {
        matrix = matrix.transposed();
    }
    matrix.data.iter_mut().for_each(|w| *w *= alpha);
    match c.and_then(|c| bias(c, beta, matrix.columns)) {
        Some(bias) => dense(low, node, &a, &matrix, Some(&bias)),
        None => {
            let result = dense(low, node, &a, &matrix, None)?;
            plus(low, node, result, c, beta)
        }
    }
}

fn scalar(x: f32) -> Value {
    Value::floats(Vec::new(), alloc::vec![x])
}

/// The product plus `beta · c`.
fn plus(low: &mut Lowering, node: &Node<'_>, result: Value, c: Option<&Value>, beta: f32) -> Result<Value> {
    let Some(c) = c else { return Ok(result) };
    match beta {
        1.0 => binary(low, node, BinaryOp::Add, &result, c),
        _ => {
            let scaled = binary(low, node, BinaryOp::Mul, c, &scalar(beta))?;
            binary(low, node, BinaryOp::Add, &result, &scaled)
        }
    }
}

/// One constant for each column, if that is what is added.
fn bias(c: &Value, beta: f32, columns: usize) -> Option<Vec<f32>> {
    let data = c.constants()?;
    let one_row = c.shape.iter().rev().skip(1).all(|n| *n == 1);
    match data.len() {
        1 => Some(alloc::vec![data.first()? * beta; columns]),
        n if n == columns && one_row => Some(data.iter().map(|x| x * beta).collect()),
        _ => None,
    }
}

/// Constant weights, row-major.
struct Matrix {
    data: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Matrix {
    /// A vector is a column.
    fn new(data: Vec<f32>, shape: &[usize]) -> Self {
        let rows = shape.first().copied().unwrap_or(1);
        Self { data, rows, columns: shape.get(1).copied().unwrap_or(1) }
    }

    fn transposed(&self) -> Self {
        let column = |i: usize| self.data.iter().skip(i).step_by(self.columns.max(1)).copied();
        let data = (0..self.columns).flat_map(column).collect();
        Self { data, rows: self.columns, columns: self.rows }
    }
}

/// A value times constant weights along its last axis.
fn dense(
    low: &mut Lowering,
    node: &Node<'_>,
    x: &Value,
    matrix: &Matrix,
    bias: Option<&[f32]>,
) -> Result<Value> {
    let mut dims = to_dims(x);
    match dims.last_mut() {
        Some(last) if *last == Some(matrix.rows) => *last = Some(matrix.columns),
        Some(None) => return Err(node.refuse("it adds up the rows of the batch")),
        _ => return Err(node.invalid("its inputs' shapes do not fit together")),
    }
    let repeat = x.len() / matrix.rows.max(1);
    if repeat == 0 || matrix.columns == 0 || matrix.rows == 0 {
        return Err(node.refuse("one of its inputs is empty"));
    }
    let (shape, batch) = from_dims(&dims);
    let from = low.slot_of(x)?;
    let weights = low.matrix(&matrix.data, matrix.rows, matrix.columns)?;
    let zeros = alloc::vec![0.0; matrix.columns];
    let bias = low.padded_constant(bias.unwrap_or(&zeros))?;
    let (out, value) = low.fresh(Kind::Float, shape, batch)?;
    low.kernel(Kernel::Dense(Dense {
        x: from,
        out,
        repeat: repeat as u32,
        inputs: matrix.rows as u32,
        outputs: matrix.columns as u32,
        weights,
        bias,
        activation: None,
    }));
    Ok(value)
}

/// A product by ONNX's (NumPy's) rules.
fn product(low: &mut Lowering, node: &Node<'_>, a: &Value, b: &Value) -> Result<Value> {
    if a.rank() == 0 || b.rank() == 0 {
        return Err(node.invalid("its inputs are not matrices"));
    }
    if let (Some(data), None, 1 | 2, Kind::Float) = (b.constants(), b.batch, b.rank(), a.kind) {
        let value = dense(low, node, a, &Matrix::new(data, &b.shape), None)?;
        return Ok(if b.rank() == 1 { without(&value, value.rank() - 1) } else { value });
    }
    let (mut left, mut right) = (to_dims(a), to_dims(b));
    if a.rank() == 1 {
        left.insert(0, Some(1));
    }
    if b.rank() == 1 {
        right.push(Some(1));
    }
    let mut value = stacked(low, node, (a, &left), (b, &right))?;
    if b.rank() == 1 {
        value = without(&value, value.rank() - 1);
    }
    Ok(if a.rank() == 1 { without(&value, value.rank() - 1 - usize::from(b.rank() != 1)) } else { value })
}

/// The value without an axis of one place.
fn without(value: &Value, axis: usize) -> Value {
    let mut dims = to_dims(value);
    if axis < dims.len() {
        dims.remove(axis);
    }
    let (shape, batch) = from_dims(&dims);
    value.reshaped(shape, batch)
}

/// A product of stacks of matrices, whose shapes have two axes at least.
fn stacked(
    low: &mut Lowering,
    node: &Node<'_>,
    (a, left): (&Value, &Dims),
    (b, right): (&Value, &Dims),
) -> Result<Value> {
    let mixes = || node.refuse("it mixes the rows of the batch");
    let (Some((outer_a, &[rows, inner])), Some((outer_b, &[again, columns]))) =
        (left.split_last_chunk::<2>(), right.split_last_chunk::<2>())
    else {
        return Err(node.invalid("its inputs are not matrices"));
    };
    let (Some(inner), Some(again), Some(columns)) = (inner, again, columns) else { return Err(mixes()) };
    if inner != again {
        return Err(node.invalid("its inputs' shapes do not fit together"));
    }
    if rows.is_none() && b.batch.is_some() {
        return Err(mixes());
    }
    let outer = |value: &Value, dims: &[Option<usize>]| {
        let (shape, batch) = from_dims(dims);
        value.reshaped(shape, batch)
    };
    let stacks = Broadcast::of(&[&outer(a, outer_a), &outer(b, outer_b)], node)?;
    let mut dims: Dims = stacks.shape.iter().map(|n| Some(*n)).collect();
    if let Some(batch) = stacks.batch {
        dims.insert(batch.min(dims.len()), None);
    }
    dims.extend([rows, Some(columns)]);
    let (shape, batch) = from_dims(&dims);
    if shape.contains(&0) || inner == 0 {
        return Err(node.refuse("one of its inputs is empty"));
    }
    let (a_at, b_at) = (low.operand(a)?, low.operand(b)?);
    let (out, value) = low.fresh(a.kind, shape, batch)?;
    let mut strides = stacks.strides.iter().map(|axes| small(axes));
    low.kernel(Kernel::MatMul(MatMul {
        a: a_at,
        b: b_at,
        out,
        batch: small(&stacks.shape),
        a_strides: strides.next().unwrap_or_default(),
        b_strides: strides.next().unwrap_or_default(),
        rows: rows.unwrap_or(1) as u32,
        inner: inner as u32,
        columns: columns as u32,
    }));
    Ok(value)
}
