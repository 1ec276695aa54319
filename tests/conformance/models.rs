//! Trained models on many rows: what onnxruntime makes of them, and what the same model gives in 64 bits.
//!
//! Two engines that add in another order differ in the last bits, and where terms cancel that is more than a millionth
//! of the result. So where a score is further than that from onnxruntime's, neither is taken for right: ours must then
//! be as near to the model in 64 bits as onnxruntime's is.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tract_onnx::pb::{ModelProto, TensorProto, tensor_proto::DataType};

use crate::{
    case,
    engines::{self, Answer, Output},
    report,
    tensor::Tensor,
};

/// How far scores may differ, relative to the larger.
const NEAR: f64 = 1e-6;
/// Distances from the 64-bit answer at which rows are counted.
const DISTANCES: [f64; 4] = [NEAR, 1e-5, 1e-4, 1e-3];

/// A model and how its outputs compare.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) name: String,
    operators: String,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Refused(String),
    Failed(String),
    Passed(Found),
}

/// How many rows are how far away.
#[derive(Debug, Default)]
pub(crate) struct Found {
    rows: usize,
    /// Whether there were only numbers; otherwise the labels are text and were left out.
    labels: bool,
    /// Rows with a score further than [`NEAR`] from onnxruntime's, and the furthest.
    apart: usize,
    worst: f64,
    /// Rows of which there is a 64-bit answer, and how many are further than each of [`DISTANCES`] from it.
    exact: usize,
    ours: [usize; 4],
    onnxruntime: [usize; 4],
}

/// Runs a model on its rows.
pub(crate) fn compare(folder: &Path, name: String) -> Result<Compared> {
    let model = case::model(folder)?;
    let data = case::data_sets(folder, &model)?;
    let data = data.first().with_context(|| format!("{name} has no rows"))?;
    let rows = data.inputs.first().and_then(|input| input.dims.first()).map_or(0, |n| *n as usize);
    ensure!(rows > 0, "{name} has no rows");
    // A plan holds no text: of a model with such labels, as of its users' bundles, only the scores are wanted.
    let numbers = |tensor: &TensorProto| tensor.data_type != DataType::String as i32;
    let wanted: Vec<TensorProto> = data.expected.iter().filter(|tensor| numbers(tensor)).cloned().collect();
    let names: Vec<&str> = wanted.iter().map(|tensor| tensor.name.as_str()).collect();
    let expected = case::decoded(&wanted)?;
    let exact = case::numbered(&data.folder, "exact")?;
    let exact = case::decoded(&exact.into_iter().filter(numbers).collect::<Vec<_>>())?;
    let outcome = match engines::ours(&model, &data.inputs, rows, &names) {
        Answer::Refused(why) => Outcome::Refused(why),
        Answer::Broken(why) => Outcome::Failed(why),
        Answer::Outputs(outputs) => match judge(rows, &expected, &exact, &outputs) {
            Ok(found) => Outcome::Passed(Found { labels: wanted.len() == data.expected.len(), ..found }),
            Err(why) => Outcome::Failed(why),
        },
    };
    Ok(Compared { operators: operators(&model), name, outcome })
}

fn operators(model: &ModelProto) -> String {
    let mut names: Vec<&str> = Vec::new();
    for node in model.graph.iter().flat_map(|graph| &graph.node) {
        if !names.contains(&node.op_type.as_str()) {
            names.push(&node.op_type);
        }
    }
    names.join(", ")
}

fn judge(rows: usize, expected: &[Tensor], exact: &[Tensor], ours: &[Output]) -> Result<Found, String> {
    if (expected.len(), expected.len()) != (ours.len(), exact.len()) {
        return Err(format!("{} outputs; expected {}", ours.len(), expected.len()));
    }
    let mut found = Found { rows, ..Found::default() };
    for ((expected, exact), ours) in expected.iter().zip(exact).zip(ours) {
        if expected.values.len() != ours.values.len() {
            return Err(format!("{} values; expected {}", ours.values.len(), expected.values.len()));
        }
        if !expected.is_whole() {
            scores(&mut found, &expected.values, &exact.values, &ours.values);
        }
    }
    for (expected, ours) in expected.iter().zip(ours).filter(|(expected, _)| expected.is_whole()) {
        labels(&expected.values, &ours.values)?;
    }
    if found.onnxruntime[3] > found.exact / 2 {
        return Err(format!("the 64-bit answers are not of this model: {found:?}"));
    }
    for ((distance, ours), onnxruntime) in DISTANCES.iter().zip(found.ours).zip(found.onnxruntime) {
        // We round products and sums, where onnxruntime's fused operations round once: up to twice as many rows, and
        // one in a hundred for luck.
        if ours > 2 * onnxruntime + found.exact / 100 {
            let of = found.exact;
            return Err(format!(
                "{ours} of {of} rows are further than {distance:e} from the model in 64 bits, of onnxruntime's {onnxruntime}; {found:?}"
            ));
        }
    }
    Ok(found)
}

fn scores(found: &mut Found, expected: &[f64], exact: &[f64], ours: &[f64]) {
    let width = expected.len() / found.rows;
    let distances = expected.chunks(width).zip(ours.chunks(width)).map(|(a, b)| distance(a, b));
    for apart in distances {
        found.apart += usize::from(apart > NEAR);
        found.worst = found.worst.max(apart);
    }
    found.exact = exact.len() / width;
    let step = found.rows / found.exact;
    for (i, exact) in exact.chunks(width).enumerate() {
        let row = i * step * width..(i * step + 1) * width;
        for (k, limit) in DISTANCES.iter().enumerate() {
            found.ours[k] += usize::from(distance(exact, &ours[row.clone()]) > *limit);
            found.onnxruntime[k] += usize::from(distance(exact, &expected[row.clone()]) > *limit);
        }
    }
}

/// Labels must be equal.
fn labels(expected: &[f64], ours: &[f64]) -> Result<(), String> {
    let differing: Vec<usize> = (0..expected.len()).filter(|row| expected[*row] != ours[*row]).collect();
    match differing.first() {
        Some(row) => Err(format!(
            "{} labels differ, first of row {row}: {}; expected {}",
            differing.len(),
            ours[*row],
            expected[*row]
        )),
        None => Ok(()),
    }
}

/// The largest relative distance of two rows: 0 for the same numbers, infinity where only one is a number.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let apart = |(a, b): (&f64, &f64)| {
        if a == b || (a.is_nan() && b.is_nan()) {
            return 0.0;
        }
        let apart = (a - b).abs() / a.abs().max(b.abs());
        if apart.is_nan() { f64::INFINITY } else { apart }
    };
    a.iter().zip(b).map(apart).fold(0.0, f64::max)
}

impl Compared {
    /// Its line in the table. What follows the verdict may differ from machine to machine.
    pub(crate) fn row(&self) -> String {
        let (name, operators) = (&self.name, &self.operators);
        match &self.outcome {
            Outcome::Refused(why) => {
                format!("| {name} | {operators} | refused: {} |||||\n", report::reason(why))
            }
            Outcome::Failed(why) => format!("| {name} | {operators} | FAILED: {why} |||||\n"),
            Outcome::Passed(found) => {
                let verdict = if found.labels { "pass" } else { "pass, without its labels of text" };
                let Found { rows, apart, worst, exact, ours, onnxruntime, .. } = found;
                format!(
                    "| {name} | {operators} | {verdict} | {rows} | {apart} | {worst:.0e} | {} of {exact} | {} of {exact} |\n",
                    ours[0], onnxruntime[0]
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(ours: &[f64], label: f64) -> Result<Found, String> {
        let tensor =
            |kind, values: &[f64]| Tensor { kind, shape: vec![values.len()], values: values.to_vec() };
        let output = |values: &[f64]| Output { shape: vec![], values: values.to_vec() };
        let labels = tensor(DataType::Int64, &[1.0, 2.0]);
        let expected = [labels.clone(), tensor(DataType::Float, &[0.5, 0.25])];
        let exact = [labels, tensor(DataType::Float, &[0.500_001, 0.25])];
        judge(2, &expected, &exact, &[output(&[1.0, label]), output(ours)])
    }

    #[test]
    fn another_label_or_a_far_score_fails() {
        let found = judged(&[0.5, 0.25], 2.0).map(|found| (found.apart, found.onnxruntime));
        assert_eq!(found, Ok((0, [1, 0, 0, 0])));
        assert_eq!(judged(&[0.500_001, 0.25], 2.0).map(|found| (found.apart, found.ours[0])), Ok((1, 0)));
        assert!(judged(&[0.5, 0.25], 1.0).is_err());
        assert!(judged(&[0.51, 0.25], 2.0).is_err());
        assert!(judged(&[f64::NAN, 0.25], 2.0).is_err());
        assert!(judged(&[0.5], 2.0).is_err());
    }
}
