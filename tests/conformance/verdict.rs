//! Judging a case: what ours must do, and what the others did.

use tract_onnx::pb::{
    GraphProto, ModelProto, TensorProto, tensor_proto::DataType, tensor_shape_proto::dimension::Value as Dim,
    type_proto::Value as Type,
};

use crate::{
    case::{self, Case, DataSet},
    engines::{self, Answer, Output},
    operators::Nearness,
    tensor::Tensor,
};

/// What became of a case in the compact engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The expected outputs came out.
    Pass {
        /// All inputs but the first had to be constants, as weights and axes are in exported models.
        constants: bool,
        /// It also passed with the first axis as the batch.
        batch: bool,
    },
    /// The lowering says that it does not do this, and why.
    Refused(String),
    /// Anything else: wrong numbers, a sound model called invalid, a panic.
    Fail(String),
}

/// What another engine did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    Agrees,
    Differs(String),
    Refuses(String),
}

/// The compact engine on a case.
pub(crate) fn ours(case: &Case) -> Verdict {
    let plain = over_data(case, |data| answer(case, data, &case.model, &data.inputs));
    let (verdict, constants) = match plain {
        Verdict::Refused(_) if case.data.iter().any(|data| data.inputs.len() > 1) => (
            over_data(case, |data| answer(case, data, &with_constants(&case.model, data), &data.inputs)),
            true,
        ),
        other => (other, false),
    };
    let Verdict::Pass { .. } = verdict else { return verdict };
    match over_data(case, |data| batched(case, data, constants)) {
        Verdict::Fail(why) => Verdict::Fail(format!("with the first axis as the batch: {why}")),
        batch => Verdict::Pass { constants, batch: matches!(batch, Verdict::Pass { .. }) },
    }
}

/// The worst verdict over a case's sets of data.
fn over_data(case: &Case, judge: impl Fn(&DataSet) -> Verdict) -> Verdict {
    let passed = Verdict::Pass { constants: false, batch: false };
    if case.data.is_empty() {
        return Verdict::Fail("the case has no data".into());
    }
    case.data.iter().map(judge).find(|verdict| *verdict != passed).unwrap_or(passed)
}

fn answer(case: &Case, data: &DataSet, model: &ModelProto, inputs: &[TensorProto]) -> Verdict {
    match engines::ours(model, inputs, 1, &[]) {
        Answer::Refused(why) => Verdict::Refused(why),
        Answer::Contradicts(why) | Answer::Broken(why) => Verdict::Fail(why),
        Answer::Outputs(outputs) => match agree(case, data, &outputs, Rules::Strict) {
            Ok(()) => Verdict::Pass { constants: false, batch: false },
            Err(why) => Verdict::Fail(why),
        },
    }
}

/// Runs the case with the first axis free. What cannot be run so is refused; what runs must give the same.
fn batched(case: &Case, data: &DataSet, constants: bool) -> Verdict {
    let mut model = if constants { with_constants(&case.model, data) } else { case.model.clone() };
    let Some(rows) = free_first_axis(&mut model) else { return Verdict::Refused("no axis to free".into()) };
    match engines::ours(&model, &data.inputs, rows, &[]) {
        // A constant shape inside of the model may contradict a free axis; the lowering, and nothing later, says so.
        Answer::Refused(why) | Answer::Contradicts(why) => Verdict::Refused(why),
        Answer::Broken(why) => Verdict::Fail(why),
        Answer::Outputs(outputs) => match agree(case, data, &outputs, Rules::Batch(rows)) {
            Ok(()) => Verdict::Pass { constants: false, batch: false },
            Err(why) => Verdict::Fail(why),
        },
    }
}

/// The model with the values of all inputs but the first inside, as exporters write weights.
fn with_constants(model: &ModelProto, data: &DataSet) -> ModelProto {
    let mut model = model.clone();
    if let Some(graph) = model.graph.as_mut() {
        graph.initializer.extend(data.inputs.iter().skip(1).cloned());
    }
    model
}

/// Frees the first axis of every input that is as long there as the first input; gives that length.
fn free_first_axis(model: &mut ModelProto) -> Option<usize> {
    let graph = model.graph.as_mut()?;
    let names: Vec<String> = case::fed(graph).map(str::to_owned).collect();
    let dims = |graph: &GraphProto, name: &str| -> Option<Vec<i64>> {
        let input = graph.input.iter().find(|input| input.name == name)?;
        let Some(Type::TensorType(tensor)) = input.r#type.as_ref()?.value.as_ref() else { return None };
        let fixed = |dim: &tract_onnx::pb::tensor_shape_proto::Dimension| match dim.value {
            Some(Dim::DimValue(n)) => Some(n),
            _ => None,
        };
        tensor.shape.as_ref()?.dim.iter().map(fixed).collect()
    };
    let first = dims(graph, names.first()?)?;
    let rows = *first.first()?;
    let free: Vec<&String> = names
        .iter()
        .filter(|name| dims(graph, name).is_some_and(|d| d.len() == first.len() && d.first() == Some(&rows)))
        .collect();
    for input in graph.input.iter_mut().filter(|input| free.contains(&&input.name)) {
        if let Some(Type::TensorType(tensor)) = input.r#type.as_mut().and_then(|t| t.value.as_mut())
            && let Some(dim) = tensor.shape.as_mut().and_then(|shape| shape.dim.first_mut())
        {
            dim.value = Some(Dim::DimParam("batch".into()));
        }
    }
    usize::try_from(rows).ok().filter(|rows| *rows > 0)
}

/// tract on a case, with constants where it wants them, as ours.
pub(crate) fn tract(case: &Case) -> Opinion {
    opinion(case, |data| match engines::tract(&case.model, &data.inputs) {
        Answer::Outputs(outputs) => Answer::Outputs(outputs),
        _ => engines::tract(&with_constants(&case.model, data), data.inputs.get(..1).unwrap_or_default()),
    })
}

/// onnxruntime on a case.
pub(crate) fn onnxruntime(case: &Case) -> Opinion {
    opinion(case, |data| engines::onnxruntime(&data.folder))
}

fn opinion(case: &Case, ask: impl Fn(&DataSet) -> Answer) -> Opinion {
    for data in &case.data {
        match ask(data) {
            Answer::Refused(why) => return Opinion::Refuses(why),
            Answer::Contradicts(why) | Answer::Broken(why) => return Opinion::Differs(why),
            Answer::Outputs(_) if data.expected.iter().any(|tensor| Tensor::decode(tensor).is_err()) => {
                return Opinion::Refuses("not compared: a type that is read here by no one".into());
            }
            Answer::Outputs(outputs) => {
                if let Err(why) = agree(case, data, &outputs, Rules::Onnx) {
                    return Opinion::Differs(why);
                }
            }
        }
    }
    Opinion::Agrees
}

/// By what rules an answer is judged.
#[derive(Clone, Copy, Debug)]
enum Rules {
    /// Ours.
    Strict,
    /// Ours, and the values came as that many rows; where ONNX has the axis of rows is not said.
    Batch(usize),
    /// About those of ONNX's own runner, so that another processor's last bits do not change an opinion.
    Onnx,
}

fn agree(case: &Case, data: &DataSet, found: &[Output], rules: Rules) -> Result<(), String> {
    if data.expected.len() != found.len() {
        return Err(format!("{} outputs; expected {}", found.len(), data.expected.len()));
    }
    for (i, (expected, found)) in data.expected.iter().zip(found).enumerate() {
        let expected = Tensor::decode(expected).map_err(|e| format!("output {i}: {e:#}"))?;
        let candidates = match rules {
            Rules::Strict | Rules::Onnx if expected.shape != found.shape => {
                return Err(format!("output {i} has shape {:?}; expected {:?}", found.shape, expected.shape));
            }
            Rules::Strict | Rules::Onnx => vec![found.values.clone()],
            Rules::Batch(rows) => laid_out(found, rows, &expected.shape),
        };
        let differences: Vec<String> = candidates
            .iter()
            .map_while(|values| difference(&expected, values, tolerance(case, &expected, rules)))
            .collect();
        if differences.len() == candidates.len() {
            let why = differences.first().map_or("the shape does not fit", |why| why);
            return Err(format!("output {i}: {why}"));
        }
    }
    Ok(())
}

/// The rows laid out with their axis at every place where the expected shape may have it.
fn laid_out(found: &Output, rows: usize, expected: &[usize]) -> Vec<Vec<f64>> {
    if found.shape == expected {
        // Does not depend on the batch: each row repeats it.
        return vec![found.values[..found.values.len() / rows].to_vec()];
    }
    let mut layouts = Vec::new();
    for axis in 0..expected.len() {
        let mut inner = expected.to_vec();
        if inner.remove(axis) != rows || inner != found.shape {
            continue;
        }
        let after: usize = inner[axis..].iter().product();
        let len: usize = inner.iter().product();
        let at = |i: usize| {
            let (before, rest) = (i / (after * rows), i % (after * rows));
            (rest / after) * len + before * after + rest % after
        };
        layouts.push((0..len * rows).map(|i| found.values[at(i)]).collect());
    }
    layouts
}

/// Relative and absolute tolerance of sums and transcendental functions in 32 bits.
pub(crate) const RELATIVE: f64 = 1e-5;
pub(crate) const ABSOLUTE: f64 = 1e-6;
/// What ONNX's own runner allows.
const ONNX_RELATIVE: f64 = 1e-3;
/// Cases whose expected values ONNX gives with four digits.
const FOUR_DIGITS: [&str; 1] = ["node/test_averagepool_2d_ceil_last_window_starts_on_pad"];

/// The relative and absolute tolerance of a case's output.
fn tolerance(case: &Case, expected: &Tensor, rules: Rules) -> (f64, f64) {
    if matches!(rules, Rules::Onnx) {
        return if expected.is_whole() { (0.0, 0.0) } else { (ONNX_RELATIVE, ABSOLUTE) };
    }
    let exact = expected.is_whole() || case.nearness() == Nearness::Exact;
    let coarse = expected.kind == DataType::Float16 || FOUR_DIGITS.contains(&case.name.as_str());
    match (exact, coarse) {
        (true, _) => (0.0, 0.0),
        (false, true) => (ONNX_RELATIVE, ABSOLUTE),
        (false, false) => (RELATIVE, ABSOLUTE),
    }
}

/// The first value that is not near enough, in words.
fn difference(expected: &Tensor, found: &[f64], (relative, absolute): (f64, f64)) -> Option<String> {
    if expected.values.len() != found.len() {
        return Some(format!("{} values; expected {}", found.len(), expected.values.len()));
    }
    let near = |expected: f64, found: f64| {
        let same = expected == found || (expected.is_nan() && found.is_nan());
        same || (expected.is_finite() && (expected - found).abs() <= absolute + relative * expected.abs())
    };
    let at = expected.values.iter().zip(found).position(|(e, f)| !near(*e, *f))?;
    Some(format!("value {at} of {} is {}; expected {}", found.len(), found[at], expected.values[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f64]) -> Tensor {
        Tensor { kind: DataType::Float, shape: vec![values.len()], values: values.to_vec() }
    }

    #[test]
    fn one_wrong_digit_is_a_difference() {
        let expected = tensor(&[1.0, f64::NAN, -0.0, f64::INFINITY]);
        assert_eq!(difference(&expected, &[1.0, f64::NAN, 0.0, f64::INFINITY], (0.0, 0.0)), None);
        let near = [1.000_001, f64::NAN, 0.0, f64::INFINITY];
        assert!(difference(&expected, &near, (0.0, 0.0)).is_some());
        assert_eq!(difference(&expected, &near, (RELATIVE, ABSOLUTE)), None);
        assert!(difference(&expected, &[1.0, 0.0, 0.0, f64::INFINITY], (RELATIVE, ABSOLUTE)).is_some());
        assert!(difference(&expected, &[1.0, f64::NAN, 0.0, f64::MAX], (RELATIVE, ABSOLUTE)).is_some());
    }

    #[test]
    fn rows_are_found_at_each_axis() {
        // Two rows of three: as [2, 3] and as [3, 2].
        let rows = Output { shape: vec![3], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
        assert_eq!(laid_out(&rows, 2, &[2, 3]), [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]);
        assert_eq!(laid_out(&rows, 2, &[3, 2]), [[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]]);
        assert!(laid_out(&rows, 2, &[6]).is_empty());
    }
}
