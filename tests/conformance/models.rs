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
/// Beyond this, in whatever order it is computed, squares and sums may overflow in 32 bits.
const LARGE: f64 = 1e9;

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
    /// Rows further than each of [`DISTANCES`] from the 64-bit answer.
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
    let ordinary = ordinary(&case::decoded(&data.inputs)?, rows);
    let outcome = match engines::ours(&model, &data.inputs, rows, &names) {
        Answer::Refused(why) => Outcome::Refused(why),
        Answer::Contradicts(why) | Answer::Broken(why) => Outcome::Failed(why),
        Answer::Outputs(outputs) => match judge(&ordinary, &expected, &exact, &outputs) {
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

/// Which rows hold no number beyond [`LARGE`].
fn ordinary(inputs: &[Tensor], rows: usize) -> Vec<bool> {
    let row = |tensor: &Tensor, row: usize| {
        let width = tensor.values.len() / rows;
        tensor.values[row * width..(row + 1) * width].iter().all(|x| x.is_nan() || x.abs() <= LARGE)
    };
    (0..rows).map(|i| inputs.iter().all(|tensor| row(tensor, i))).collect()
}

/// Holds every output to onnxruntime's on its own, so that one cannot hide what another lacks.
fn judge(ordinary: &[bool], expected: &[Tensor], exact: &[Tensor], ours: &[Output]) -> Result<Found, String> {
    if (expected.len(), expected.len()) != (ours.len(), exact.len()) {
        return Err(format!("{} outputs; expected {}", ours.len(), expected.len()));
    }
    let mut found = Found { rows: ordinary.len(), ..Found::default() };
    for ((expected, exact), ours) in expected.iter().zip(exact).zip(ours) {
        let shape: Vec<usize> = [ordinary.len()].iter().chain(&ours.shape).copied().collect();
        if expected.shape != shape || expected.values.len() != ours.values.len() {
            let of = ours.values.len();
            return Err(format!("{of} values of shape {shape:?}; expected shape {:?}", expected.shape));
        }
        if expected.is_whole() {
            labels(&expected.values, &ours.values)?;
        } else {
            found.add(&scores(ordinary, &expected.values, &exact.values, &ours.values)?);
        }
    }
    Ok(found)
}

/// One output's scores.
fn scores(ordinary: &[bool], expected: &[f64], exact: &[f64], ours: &[f64]) -> Result<Found, String> {
    if exact.len() != expected.len() {
        return Err(format!("{} answers in 64 bits for {} scores", exact.len(), expected.len()));
    }
    let width = expected.len() / ordinary.len();
    let mut found = Found { rows: ordinary.len(), ..Found::default() };
    let rows = expected.chunks(width).zip(exact.chunks(width)).zip(ours.chunks(width));
    for (row, ((theirs, exact), ours)) in rows.enumerate() {
        let finite = |values: &[f64]| values.iter().all(|x| x.is_finite());
        if ordinary[row] && finite(theirs) != finite(ours) {
            return Err(format!("row {row} gives {ours:?}; expected {theirs:?}"));
        }
        let apart = distance(theirs, ours);
        found.apart += usize::from(apart > NEAR);
        found.worst = found.worst.max(apart);
        count(&mut found.ours, distance(exact, ours));
        count(&mut found.onnxruntime, distance(exact, theirs));
    }
    found.near_in_64_bits()?;
    Ok(found)
}

/// Counts a row at every distance that it is beyond.
fn count(rows: &mut [usize; 4], distance: f64) {
    for (rows, limit) in rows.iter_mut().zip(DISTANCES) {
        *rows += usize::from(distance > limit);
    }
}

impl Found {
    /// Holds an output to its model in 64 bits.
    fn near_in_64_bits(&self) -> Result<(), String> {
        if self.onnxruntime[3] > self.rows / 2 {
            return Err(format!("the 64-bit answers are not of this model: {self:?}"));
        }
        for ((distance, ours), onnxruntime) in DISTANCES.iter().zip(self.ours).zip(self.onnxruntime) {
            // We round products and sums where onnxruntime's fused operations round once: half as many rows more, and
            // one in a thousand for luck.
            if ours > onnxruntime * 3 / 2 + self.rows / 1000 {
                return Err(format!(
                    "{ours} rows are further than {distance:e} from the model in 64 bits, of onnxruntime's {onnxruntime}; {self:?}"
                ));
            }
        }
        Ok(())
    }

    /// Adds what was found of another output of the same rows.
    fn add(&mut self, other: &Self) {
        self.apart += other.apart;
        self.worst = self.worst.max(other.worst);
        for i in 0..DISTANCES.len() {
            self.ours[i] += other.ours[i];
            self.onnxruntime[i] += other.onnxruntime[i];
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
                let Found { rows, apart, worst, ours: [ours, ..], onnxruntime: [onnxruntime, ..], .. } =
                    found;
                format!(
                    "| {name} | {operators} | {verdict} | {rows} | {apart} | {worst:.0e} | {ours} | {onnxruntime} |\n"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    fn judged(ours: &[f64], label: f64) -> Result<Found, String> {
        let tensor =
            |kind, values: &[f64]| Tensor { kind, shape: vec![values.len()], values: values.to_vec() };
        let output = |values: &[f64]| Output { shape: vec![], values: values.to_vec() };
        let labels = tensor(DataType::Int64, &[1.0, 2.0]);
        let expected = [labels.clone(), tensor(DataType::Float, &[0.5, 0.25])];
        let exact = [labels, tensor(DataType::Float, &[0.500_001, 0.25])];
        judge(&[true; 2], &expected, &exact, &[output(&[1.0, label]), output(ours)])
    }

    #[test]
    fn another_label_shape_or_far_score_fails() {
        let found = judged(&[0.5, 0.25], 2.0).map(|found| (found.apart, found.onnxruntime));
        assert_eq!(found, Ok((0, [1, 0, 0, 0])));
        assert_eq!(judged(&[0.500_001, 0.25], 2.0).map(|found| (found.apart, found.ours[0])), Ok((1, 0)));
        assert!(judged(&[0.5, 0.25], 1.0).is_err());
        assert!(judged(&[0.51, 0.25], 2.0).is_err());
        assert!(judged(&[f64::NAN, 0.25], 2.0).is_err());
        assert!(judged(&[0.5], 2.0).is_err());
        let tensor = Tensor { kind: DataType::Float, shape: vec![2, 1], values: vec![0.5, 0.25] };
        let of = |shape| Output { shape, values: vec![0.5, 0.25] };
        let judged =
            |shape| judge(&[true; 2], slice::from_ref(&tensor), slice::from_ref(&tensor), &[of(shape)]);
        assert!(judged(vec![1]).is_ok());
        assert!(judged(vec![]).is_err() && judged(vec![1, 1]).is_err());
    }

    #[test]
    fn an_output_that_is_worse_fails_beside_one_that_is_better() {
        let rows = 2000;
        let plain = vec![0.5; rows];
        let off = |n: usize| (0..rows).map(|i| if i < n { 0.500_002 } else { 0.5 }).collect::<Vec<f64>>();
        let judge = |theirs: usize, ours: usize| {
            scores(&vec![true; rows], &off(theirs), &plain, &off(ours)).map(|found| found.ours[0])
        };
        assert_eq!(judge(100, 0), Ok(0));
        assert_eq!(judge(0, 2), Ok(2));
        assert_eq!(judge(100, 152), Ok(152));
        assert!(judge(0, 3).is_err());
        assert!(judge(100, 153).is_err());
        let tensor = |values: Vec<f64>| Tensor { kind: DataType::Float, shape: vec![rows], values };
        let (expected, exact) = ([tensor(off(100)), tensor(off(0))], [tensor(plain.clone()), tensor(plain)]);
        let outputs = [0, 50].map(|n| Output { shape: vec![], values: off(n) });
        assert!(super::judge(&vec![true; rows], &expected, &exact, &outputs).is_err());
    }

    #[test]
    fn an_infinity_on_one_side_fails_unless_the_row_may_overflow() {
        let rows = 2000;
        let plain = vec![0.5; rows];
        let mut ours = plain.clone();
        ours[7] = f64::INFINITY;
        let judged = |large: bool| {
            let ordinary: Vec<bool> = (0..rows).map(|i| !large || i != 7).collect();
            scores(&ordinary, &plain, &plain, &ours)
        };
        assert!(judged(false).is_err());
        assert!(judged(true).is_ok());
        let inputs = [1.0, f64::NAN, 1e9, -2e9].map(|x| vec![x]).concat();
        let input = Tensor { kind: DataType::Float, shape: vec![4, 1], values: inputs };
        assert_eq!(ordinary(&[input], 4), [true, true, true, false]);
    }
}
