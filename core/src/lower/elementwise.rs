//! Operators that work element by element.

use alloc::vec::Vec;

use super::{
    build::Lowering,
    graph,
    node::Node,
    shape::{from_dims, to_dims},
    value::{Broadcast, Kind, Value},
};
use crate::{
    engine::{Binary, BinaryOp, Function, Kernel, Select, Unary},
    error::Result,
};

/// The operator's outputs; `None` when it is of another family.
pub(super) fn lower(
    low: &mut Lowering,
    node: &Node<'_>,
    inputs: &[Option<Value>],
) -> Result<Option<Vec<Value>>> {
    if let Some(function) = function(node) {
        let x = node.need(inputs, 0)?;
        let kind = if matches!(function, Function::Not | Function::IsNan) { Kind::Bool } else { x.kind };
        return Ok(Some(alloc::vec![unary_of(low, function, x, kind)?]));
    }
    if let Some((op, swap)) = operation(node, inputs) {
        return Ok(Some(alloc::vec![two(low, node, inputs, op, swap)?]));
    }
    let value = match node.operator() {
        "Min" => fold(low, node, inputs, BinaryOp::Min)?,
        "Max" => fold(low, node, inputs, BinaryOp::Max)?,
        "Sum" => fold(low, node, inputs, BinaryOp::Add)?,
        "Clip" => clip(low, node, inputs)?,
        "Pow" => power(low, node, inputs)?,
        "PRelu" => prelu(low, node, inputs)?,
        "Where" => choose(low, node, inputs)?,
        "Cast" => {
            let to = i32::try_from(node.int("to", 0)).unwrap_or_default();
            cast(low, node, node.need(inputs, 0)?, to)?
        }
        "CastLike" => {
            let like = node.need(inputs, 1)?.kind;
            cast_to(low, node.need(inputs, 0)?, like)?
        }
        "Dropout" => return dropout(low, node, inputs).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(alloc::vec![value]))
}

fn function(node: &Node<'_>) -> Option<Function> {
    Some(match node.operator() {
        "Relu" => Function::Relu,
        "LeakyRelu" => Function::LeakyRelu(node.float("alpha", 0.01)),
        "Sigmoid" => Function::Sigmoid,
        "Tanh" => Function::Tanh,
        "Exp" => Function::Exp,
        "Log" => Function::Log,
        "Sqrt" => Function::Sqrt,
        "Erf" => Function::Erf,
        "Gelu" if node.text("approximate", "none") == "tanh" => Function::GeluTanh,
        "Gelu" => Function::Gelu,
        "Neg" => Function::Negate,
        "Abs" => Function::Abs,
        "Reciprocal" => Function::Reciprocal,
        "Floor" => Function::Floor,
        "Ceil" => Function::Ceil,
        "Round" => Function::Round,
        "Sign" => Function::Sign,
        "Not" => Function::Not,
        "IsNaN" => Function::IsNan,
        "Elu" => Function::Elu(node.float("alpha", 1.0)),
        "Softplus" => Function::Softplus,
        "HardSigmoid" => {
            Function::HardSigmoid { alpha: node.float("alpha", 0.2), beta: node.float("beta", 0.5) }
        }
        _ => return None,
    })
}

/// The operation, and whether its operands change places.
fn operation(node: &Node<'_>, inputs: &[Option<Value>]) -> Option<(BinaryOp, bool)> {
    let integers = inputs.iter().flatten().all(|value| value.kind != Kind::Float);
    Some(match node.operator() {
        "Add" => (BinaryOp::Add, false),
        "Sub" => (BinaryOp::Sub, false),
        "Mul" => (BinaryOp::Mul, false),
        "Div" if integers => (BinaryOp::DivInteger, false),
        "Div" => (BinaryOp::Div, false),
        "Equal" => (BinaryOp::Equal, false),
        "Less" => (BinaryOp::Less, false),
        "LessOrEqual" => (BinaryOp::LessOrEqual, false),
        "Greater" => (BinaryOp::Less, true),
        "GreaterOrEqual" => (BinaryOp::LessOrEqual, true),
        "And" => (BinaryOp::And, false),
        "Or" => (BinaryOp::Or, false),
        "Xor" => (BinaryOp::Xor, false),
        _ => return None,
    })
}

fn two(
    low: &mut Lowering,
    node: &Node<'_>,
    inputs: &[Option<Value>],
    op: BinaryOp,
    swap: bool,
) -> Result<Value> {
    let (a, b) = (node.need(inputs, 0)?, node.need(inputs, 1)?);
    let aligned = aligned(node, a, b)?;
    let b = aligned.as_ref().unwrap_or(b);
    if swap { binary(low, node, op, b, a) } else { binary(low, node, op, a, b) }
}

/// Before opset 7, `axis` says where the second operand's shape lies along the first's.
fn aligned(node: &Node<'_>, a: &Value, b: &Value) -> Result<Option<Value>> {
    if node.opset >= 7 || node.int("broadcast", 0) == 0 || !node.has("axis") {
        return Ok(None);
    }
    let axis = node.int("axis", 0);
    let axis = if axis < 0 { axis + a.rank() as i64 } else { axis };
    let after = (a.rank() as i64 - b.rank() as i64).saturating_sub(axis);
    if axis < 0 || after < 0 {
        return Err(node.invalid("`axis` leaves no room for the second input"));
    }
    let mut dims = to_dims(b);
    dims.resize(dims.len() + after as usize, Some(1));
    let (shape, batch) = from_dims(&dims);
    Ok(Some(b.reshaped(shape, batch)))
}

/// Applies a function.
pub(super) fn unary(low: &mut Lowering, function: Function, x: &Value) -> Result<Value> {
    unary_of(low, function, x, x.kind)
}

fn unary_of(low: &mut Lowering, function: Function, x: &Value, kind: Kind) -> Result<Value> {
    let from = low.slot_of(x)?;
    let (out, value) = low.fresh(kind, x.shape.clone(), x.batch)?;
    low.kernel(Kernel::Unary(Unary { function, x: from, out, len: x.len() as u32 }));
    Ok(value)
}

/// Applies an operation, with broadcasting.
pub(super) fn binary(
    low: &mut Lowering,
    node: &Node<'_>,
    op: BinaryOp,
    a: &Value,
    b: &Value,
) -> Result<Value> {
    let Broadcast { shape, batch, strides } = Broadcast::of(&[a, b], node)?;
    let kind = match op {
        BinaryOp::Equal | BinaryOp::Less | BinaryOp::LessOrEqual => Kind::Bool,
        _ => a.kind,
    };
    let (a, b) = (low.operand(a)?, low.operand(b)?);
    let (out, value) = low.fresh(kind, shape, batch)?;
    let mut strides = strides.iter().map(|axes| small(axes));
    let (a_strides, b_strides) = (strides.next().unwrap_or_default(), strides.next().unwrap_or_default());
    low.kernel(Kernel::Binary(Binary { op, a, b, out, shape: small(&value.shape), a_strides, b_strides }));
    Ok(value)
}

/// As kernels hold lengths.
pub(super) fn small(axes: &[usize]) -> Vec<u32> {
    axes.iter().map(|n| *n as u32).collect()
}

fn fold(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>], op: BinaryOp) -> Result<Value> {
    let mut result = node.need(inputs, 0)?.clone();
    for at in 1..inputs.len() {
        result = binary(low, node, op, &result, node.need(inputs, at)?)?;
    }
    Ok(result)
}

fn clip(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let x = node.need(inputs, 0)?;
    let bounds = [inputs.get(1), inputs.get(2)].map(|bound| bound.and_then(Option::as_ref));
    let single = |bound: Option<&Value>, default| match bound {
        Some(value) => value.constants().as_deref().and_then(|all| all.first().copied()),
        None => Some(default),
    };
    let (low_bound, high_bound) = (node.float("min", f32::NEG_INFINITY), node.float("max", f32::INFINITY));
    if let [Some(low_bound), Some(high_bound)] = [single(bounds[0], low_bound), single(bounds[1], high_bound)]
    {
        return unary(low, Function::Clip { low: low_bound, high: high_bound }, x);
    }
    let mut result = x.clone();
    for (bound, op) in bounds.into_iter().zip([BinaryOp::Max, BinaryOp::Min]) {
        if let Some(bound) = bound {
            result = binary(low, node, op, &result, bound)?;
        }
    }
    Ok(result)
}

fn power(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let (a, b) = (node.need(inputs, 0)?, node.need(inputs, 1)?);
    let aligned = aligned(node, a, b)?;
    let b = aligned.as_ref().unwrap_or(b);
    if b.rank() <= a.rank() && b.constants().as_deref() == Some(&[2.0]) {
        return binary(low, node, BinaryOp::Mul, a, a);
    }
    let result = binary(low, node, BinaryOp::Pow, a, b)?;
    if a.kind == Kind::Float { Ok(result) } else { unary(low, Function::Truncate, &result) }
}

fn prelu(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let (x, slope) = (node.need(inputs, 0)?, node.need(inputs, 1)?);
    if node.opset >= 7 || slope.rank() != 1 || x.rank() < 2 {
        return binary(low, node, BinaryOp::Prelu, x, slope);
    }
    // Before opset 7, the slopes are one for each channel.
    let mut dims = to_dims(slope);
    dims.resize(x.rank() - 1, Some(1));
    let (shape, batch) = from_dims(&dims);
    binary(low, node, BinaryOp::Prelu, x, &slope.reshaped(shape, batch))
}

fn choose(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    select(low, node, [node.need(inputs, 0)?, node.need(inputs, 1)?, node.need(inputs, 2)?])
}

/// The second value where the first is not 0, else the third, with broadcasting.
pub(super) fn select(low: &mut Lowering, node: &Node<'_>, values: [&Value; 3]) -> Result<Value> {
    let Broadcast { shape, batch, strides } = Broadcast::of(&values, node)?;
    let [condition, a, b] = [low.operand(values[0])?, low.operand(values[1])?, low.operand(values[2])?];
    let (out, value) = low.fresh(values[1].kind, shape, batch)?;
    let mut strides = strides.iter().map(|axes| small(axes));
    let strides = core::array::from_fn(|_| strides.next().unwrap_or_default());
    low.kernel(Kernel::Select(Select { condition, a, b, out, shape: small(&value.shape), strides }));
    Ok(value)
}

/// ONNX's codes of the integer types that a float may hold fewer of: uint8, int8, uint16, int16.
const NARROW: [i32; 4] = [2, 3, 4, 5];
/// ONNX's code of half precision.
const HALF: i32 = 10;

fn cast(low: &mut Lowering, node: &Node<'_>, x: &Value, to: i32) -> Result<Value> {
    let kind = graph::kind(to, "to").map_err(|_| {
        node.refuse(&alloc::format!("it casts to type {to}; a plan holds floats, integers and truth values"))
    })?;
    if to == HALF {
        return Err(node.refuse("it rounds to half precision; a plan computes in 32-bit floats"));
    }
    if NARROW.contains(&to) && x.kind == Kind::Int {
        return Err(node.refuse("it cuts integers down to fewer bits"));
    }
    cast_to(low, x, kind)
}

/// The value as another kind.
pub(super) fn cast_to(low: &mut Lowering, x: &Value, kind: Kind) -> Result<Value> {
    match (x.kind, kind) {
        (from, to) if from == to => Ok(x.clone()),
        (Kind::Float, Kind::Int) => unary_of(low, Function::Truncate, x, kind),
        (_, Kind::Bool) => unary_of(low, Function::IsTrue, x, kind),
        (_, Kind::Float) if x.constants().is_some() => {
            let slot = low.slot_of(x)?;
            Ok(Value { kind, data: super::value::Data::Slot(slot), ..x.clone() })
        }
        _ => Ok(Value { kind, ..x.clone() }),
    }
}

/// Dropout does nothing once a model is trained; its mask keeps everything.
fn dropout(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Vec<Value>> {
    let x = node.need(inputs, 0)?;
    let training = match inputs.get(2) {
        Some(Some(training)) => training.constants().is_none_or(|on| on.first().is_some_and(|on| *on != 0.0)),
        _ => false,
    };
    if training {
        return Err(node.refuse("it drops values at random, as in training; export the model for inference"));
    }
    let mut outputs = alloc::vec![x.clone()];
    if node.gives(1) {
        let mut kept = Value::ints(Vec::new(), alloc::vec![1]);
        kept.kind = Kind::Bool;
        let mask = binary(low, node, BinaryOp::Or, x, &kept)?;
        outputs.push(Value { kind: if node.opset < 10 { x.kind } else { Kind::Bool }, ..mask });
    }
    Ok(outputs)
}
