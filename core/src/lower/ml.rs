//! ONNX-ML: the operators of classical models.

use alloc::{vec, vec::Vec};

use super::{
    build::Lowering,
    classes::{Classes, Post, Rows, lookup},
    elementwise::{binary, cast_to, select, small, unary},
    node::Node,
    reduction::reduced,
    svm, trees,
    value::{Axis, Kind, Value},
};
use crate::{
    engine::{BinaryOp, Copy, Function, Gather, Kernel, Linear, Operand, ReduceKind},
    error::Result,
};

/// Lowers one node of the domain `ai.onnx.ml`.
pub(super) fn lower(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Vec<Value>> {
    let value = match node.operator() {
        "TreeEnsembleClassifier" => return trees::classifier(low, node, inputs),
        "SVMClassifier" => return svm::classifier(low, node, inputs),
        "LinearClassifier" => return linear_classifier(low, node, inputs),
        "TreeEnsembleRegressor" => trees::regressor(low, node, inputs)?,
        "TreeEnsemble" => trees::common(low, node, inputs)?,
        "SVMRegressor" => svm::regressor(low, node, inputs)?,
        "LinearRegressor" => linear_regressor(low, node, inputs)?,
        "Scaler" => scaler(low, node, inputs)?,
        "Imputer" => imputer(low, node, inputs)?,
        "Normalizer" => normalizer(low, node, inputs)?,
        "Binarizer" => binarizer(low, node, inputs)?,
        "OneHotEncoder" => one_hot(low, node, inputs)?,
        "LabelEncoder" => label_encoder(low, node, inputs)?,
        "FeatureVectorizer" => feature_vectorizer(low, node, inputs)?,
        "ArrayFeatureExtractor" => extract(low, node, inputs)?,
        // A map from each label to its score: the scores are its content.
        "ZipMap" => node.need(inputs, 0)?.clone(),
        _ => return Err(node.refuse("the operator is not supported")),
    };
    Ok(vec![value])
}

fn list(data: &[f32]) -> Value {
    Value::floats(vec![data.len()], data.to_vec())
}

fn single(x: f32) -> Value {
    Value::floats(Vec::new(), vec![x])
}

/// The first input and the length of its last axis, which is the features'.
fn features<'v>(node: &Node<'_>, inputs: &'v [Option<Value>]) -> Result<(&'v Value, usize)> {
    let x = node.need(inputs, 0)?;
    match (x.shape.last(), x.batch) {
        (Some(features), batch) if batch != Some(x.shape.len()) => Ok((x, *features)),
        _ => Err(node.refuse("its last axis is the batch, not the features")),
    }
}

/// (x − offset) · scale.
fn scaler(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let (x, features) = features(node, inputs)?;
    let mut y = cast_to(low, x, Kind::Float)?;
    for (name, op) in [("offset", BinaryOp::Sub), ("scale", BinaryOp::Mul)] {
        let numbers = node.floats(name).unwrap_or_default();
        if ![0, 1, features].contains(&numbers.len()) {
            return Err(node.invalid(&alloc::format!("its {name} is not one number for each feature")));
        }
        if !numbers.is_empty() {
            y = binary(low, node, op, &y, &list(numbers))?;
        }
    }
    Ok(y)
}

fn imputer(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let (x, features) = features(node, inputs)?;
    let (replaced, imputed) = match (node.floats("imputed_value_floats"), node.ints("imputed_value_int64s")) {
        (Some(floats), _) if !floats.is_empty() => {
            (Value::floats(Vec::new(), vec![node.float("replaced_value_float", 0.0)]), list(floats))
        }
        (_, Some(ints)) if !ints.is_empty() => (
            Value::ints(Vec::new(), vec![node.int("replaced_value_int64", 0)]),
            Value::ints(vec![ints.len()], ints.to_vec()),
        ),
        _ => return Err(node.invalid("it has no imputed values")),
    };
    if ![1, features].contains(&imputed.len()) {
        return Err(node.invalid("its imputed values are not one for each feature"));
    }
    let nan = replaced.constants().is_some_and(|x| x.iter().all(|x| x.is_nan()));
    let missing = match nan {
        true => unary(low, Function::IsNan, x)?,
        false => binary(low, node, BinaryOp::Equal, x, &replaced)?,
    };
    let y = select(low, node, [&missing, &imputed, x])?;
    Ok(Value { kind: x.kind, ..y })
}

/// Divides each row by its norm. As in onnxruntime, MAX is the largest number, not the largest size, and a row of norm
/// 0 stays as it is.
fn normalizer(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let (x, _) = features(node, inputs)?;
    let x = cast_to(low, x, Kind::Float)?;
    let kind = match node.text("norm", "MAX").as_str() {
        "MAX" => ReduceKind::Max,
        "L1" => ReduceKind::L1,
        "L2" => ReduceKind::L2,
        other => return Err(node.invalid(&alloc::format!("ONNX knows no norm {other:?}"))),
    };
    let norm = reduced(low, node, &x, &[x.rank() - 1], kind, true)?;
    let norm = select(low, node, [&norm, &norm, &single(1.0)])?;
    binary(low, node, BinaryOp::Div, &x, &norm)
}

fn binarizer(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let x = node.need(inputs, 0)?;
    let above = binary(low, node, BinaryOp::Less, &single(node.float("threshold", 0.0)), x)?;
    Ok(Value { kind: x.kind, ..above })
}

/// For each number whether it equals each of the keys, along a new last axis; truth as 1.0.
fn equals(low: &mut Lowering, node: &Node<'_>, x: &Value, keys: &Value) -> Result<Value> {
    let shape = [&*x.shape, &[1]].concat();
    let equal = binary(low, node, BinaryOp::Equal, &x.reshaped(shape, x.batch), keys)?;
    Ok(Value { kind: Kind::Float, ..equal })
}

/// One number for each category, 1 for the one that x is, along a new last axis.
fn one_hot(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let Some(categories) = node.ints("cats_int64s").filter(|all| !all.is_empty()) else {
        return Err(node.refuse("its categories are text, which a plan cannot hold; encode them as integers"));
    };
    let x = cast_to(low, node.need(inputs, 0)?, Kind::Int)?;
    let categories = Value::ints(vec![categories.len()], categories.to_vec());
    let hot = equals(low, node, &x, &categories)?;
    if node.int("zeros", 1) != 0 {
        return Ok(hot);
    }
    // ONNX wants an error for an unknown category. A plan cannot fail: it gives NaN, which is not a score.
    let known = reduced(low, node, &hot, &[hot.rank() - 1], ReduceKind::Max, true)?;
    select(low, node, [&known, &hot, &single(f32::NAN)])
}

/// Numbers for numbers.
fn label_encoder(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let text = || node.refuse("it maps from or to text, which a plan cannot hold");
    let keys = mapping(node, "keys")?.ok_or_else(text)?;
    let values = mapping(node, "values")?.ok_or_else(text)?;
    if keys.len() != values.len() || keys.len() == 0 {
        return Err(node.invalid("its keys and values are not as many"));
    }
    if keys.constants().is_some_and(|keys| keys.iter().any(|key| key.is_nan())) {
        return Err(node.refuse("one of its keys is NaN"));
    }
    let default = match (node.tensor("default_tensor")?, values.kind) {
        (Some(default), _) if default.len() == 1 => default,
        (Some(_), _) => return Err(node.invalid("its default is not one number")),
        (None, Kind::Float) => single(node.float("default_float", -0.0)),
        (None, _) => Value::ints(Vec::new(), vec![node.int("default_int64", -1)]),
    };
    let x = node.need(inputs, 0)?;
    let equal = equals(low, node, x, &keys)?;
    let along = [equal.rank() - 1];
    let place = reduced(low, node, &equal, &along, ReduceKind::ArgMax { last: false }, false)?;
    let known = reduced(low, node, &equal, &along, ReduceKind::Max, false)?;
    let found = lookup(low, &values, &place)?;
    select(low, node, [&known, &found, &default.reshaped(Vec::new(), None)])
}

/// A list of numbers, of either kind, of one of the attributes that may hold it.
fn mapping(node: &Node<'_>, name: &str) -> Result<Option<Value>> {
    if let Some(ints) = node.ints(&alloc::format!("{name}_int64s")).filter(|all| !all.is_empty()) {
        return Ok(Some(Value::ints(vec![ints.len()], ints.to_vec())));
    }
    if let Some(floats) = node.floats(&alloc::format!("{name}_floats")).filter(|all| !all.is_empty()) {
        return Ok(Some(list(floats)));
    }
    let tensor = node.tensor(&alloc::format!("{name}_tensor"))?;
    Ok(tensor.map(|value| value.reshaped(vec![value.len()], None)))
}

/// Joins columns, of each input as many as `inputdimensions` says.
fn feature_vectorizer(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let widths = node.ints("inputdimensions").unwrap_or_default();
    if widths.len() != inputs.len() {
        return Err(node.invalid("its inputdimensions are not one number for each input"));
    }
    let rows = Rows::of(low, node, inputs)?;
    let mut parts = Vec::new();
    for (i, width) in widths.iter().enumerate() {
        let part = Rows::of(low, node, inputs.get(i..).unwrap_or_default())?;
        match usize::try_from(*width) {
            Ok(width) if part.repeat == rows.repeat && width <= part.features => parts.push((part, width)),
            _ => return Err(node.refuse(&alloc::format!("input {i} has not as many columns as it says"))),
        }
    }
    let total = parts.iter().map(|(_, width)| width).sum();
    let (out, result) = rows.fresh(low, Kind::Float, total)?;
    let mut at = 0;
    for (part, width) in parts {
        low.kernel(Kernel::Copy(Copy {
            x: Operand::Slot(part.slot),
            out,
            x_len: (part.repeat * part.features) as u32,
            out_len: result.len() as u32,
            shape: small(&[rows.repeat, width]),
            x_offset: 0,
            x_strides: vec![part.features as i32, 1],
            out_offset: at as u32,
            out_strides: small(&[total, 1]),
        }));
        at += width;
    }
    Ok(result)
}

/// Picks places of the last axis. Of a vector, the places are columns of one row.
fn extract(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let (data, places) = (node.need(inputs, 0)?, node.need(inputs, 1)?);
    let Axis::Inner(axis) = data.axis(-1, node)? else {
        return Err(node.refuse("it works across the rows of the batch"));
    };
    let count = places.len();
    let (shape, batch) = match (data.batch, places.batch, data.rank()) {
        (batch, None, 2..) => ([data.shape.get(..axis).unwrap_or_default(), &[count]].concat(), batch),
        (None, None, 1) => (vec![1, count], None),
        (None, Some(_), 1) if count == 1 => (vec![1], Some(1)),
        _ => return Err(node.refuse("its places differ by row in a way that a plan cannot hold")),
    };
    let [outer, len, _] = data.around(axis);
    let (data_operand, indices) = (low.operand(data)?, low.operand(places)?);
    let (out, value) = low.fresh(data.kind, shape, batch)?;
    low.kernel(Kernel::Gather(Gather {
        data: data_operand,
        indices,
        out,
        outer: outer as u32,
        axis: len as u32,
        inner: 1,
        count: count as u32,
    }));
    Ok(value)
}

/// Scores by a row of coefficients for each bias.
pub(super) fn linear(
    low: &mut Lowering,
    node: &Node<'_>,
    rows: &Rows,
    coefficients: &[f32],
    biases: &[f32],
) -> Result<Value> {
    let (inputs, outputs) = (rows.features, biases.len());
    if coefficients.len() != inputs.saturating_mul(outputs) || coefficients.is_empty() {
        let found = coefficients.len();
        return Err(
            node.invalid(&alloc::format!("{outputs} times {inputs} coefficients are needed, not {found}"))
        );
    }
    let column = |i: usize| coefficients.iter().skip(i).step_by(inputs).copied();
    let matrix: Vec<f32> = (0..inputs).flat_map(column).collect();
    let weights = low.matrix(&matrix, inputs, outputs)?;
    let bias = low.padded_constant(biases)?;
    let (out, value) = rows.fresh(low, Kind::Float, outputs)?;
    let [repeat, inputs, outputs] = [rows.repeat, inputs, outputs].map(|n| n as u32);
    let x = rows.slot;
    low.kernel(Kernel::Linear(Linear { x, out, repeat, inputs, outputs, weights, bias }));
    Ok(value)
}

fn linear_regressor(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let rows = Rows::of(low, node, inputs)?;
    let coefficients = node.floats("coefficients").unwrap_or_default();
    let targets = usize::try_from(node.int("targets", 1)).unwrap_or(0);
    let biases = match node.floats("intercepts").unwrap_or_default() {
        [] if targets <= coefficients.len() => vec![0.0; targets],
        biases if biases.len() == targets => biases.to_vec(),
        _ => return Err(node.invalid("its intercepts are not one number for each target")),
    };
    let scores = linear(low, node, &rows, coefficients, &biases)?;
    let post = Post::of(node)?;
    if targets == 1 { post.apply_to_one(low, node, &scores) } else { post.apply(low, &scores) }
}

fn linear_classifier(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Vec<Value>> {
    let rows = Rows::of(low, node, inputs)?;
    let classes = Classes::of(node, "classlabels_ints")?;
    let coefficients = node.floats("coefficients").unwrap_or_default();
    if coefficients.len() == rows.features {
        return Err(
            node.refuse("runtimes disagree on a single row of coefficients; export one for each class")
        );
    }
    let biases = match node.floats("intercepts").unwrap_or_default() {
        [] => vec![0.0; classes.len()],
        biases if biases.len() == classes.len() => biases.to_vec(),
        _ => return Err(node.invalid("its intercepts are not one number for each class")),
    };
    let scores = linear(low, node, &rows, coefficients, &biases)?;
    let label = classes.best(low, node, &rows, &scores)?;
    Ok(vec![label, Post::of(node)?.apply(low, &scores)?])
}

#[cfg(test)]
pub(crate) mod tests;
