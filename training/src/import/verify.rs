//! Is the lowered model still the model? tract, which shares no code with the compact engine, is the judge.

use std::fmt;

use anyhow::bail;
use prost::Message;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tiercast_core::Plan;
use tract_onnx::pb::{ModelProto, NodeProto};

use super::tract::Tract;

/// Rows of each kind that are compared; tract takes milliseconds a row on large ensembles of trees.
pub(super) const ROWS: usize = 64;
/// Largest difference allowed between sums in different orders, relative to the value or to 1 if that is larger; for
/// large inputs, whose terms cancel, relative to the largest value of that output.
const TOLERANCE: f32 = 1e-4;

/// What a row's inputs look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The sizes that inputs have once they are scaled, also none at all.
    Ordinary,
    /// Up to a hundred.
    Large,
    /// Up to a million.
    Huge,
    /// Some or all are missing (NaN).
    Missing,
}

const KINDS: [Kind; 4] = [Kind::Ordinary, Kind::Large, Kind::Huge, Kind::Missing];

/// What came of the comparison.
#[derive(Debug)]
pub(super) enum Verdict {
    /// They agree.
    Agree {
        /// Rows compared.
        rows: usize,
        /// The furthest that two outputs are apart.
        worst: f32,
        /// Rows with missing inputs of which the plan makes NaN, as arithmetic does, and tract a number.
        swallowed: usize,
        /// Kinds of rows on which tract fails.
        failed: Vec<Kind>,
    },
    /// Why tract's answer is none.
    NotCompared(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, worst, swallowed, failed) = match self {
            Self::Agree { rows, worst, swallowed, failed } => (rows, worst, swallowed, failed),
            Self::NotCompared(why) => {
                return write!(f, "not compared with tract, {why}; compare a few rows yourself");
            }
        };
        write!(f, "compared with tract on {rows} rows: at most {worst:.1e} apart")?;
        if *swallowed > 0 {
            write!(f, "; {swallowed} rows with missing inputs give NaN, where tract gives numbers")?;
        }
        for kind in failed {
            write!(f, "; not compared on {kind} inputs, on which tract fails")?;
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ordinary => "ordinary",
            Self::Large => "large",
            Self::Huge => "huge",
            Self::Missing => "missing",
        })
    }
}

/// Compares plan and ONNX file on random and extreme rows.
///
/// # Errors
/// When they differ.
pub(super) fn against_tract(plan: &Plan, onnx: &[u8]) -> anyhow::Result<Verdict> {
    if runs_backwards(onnx) {
        let why = "which gets recurrent layers wrong that run backwards";
        return Ok(Verdict::NotCompared(why.into()));
    }
    let tract = match Tract::load(plan, onnx) {
        Ok(tract) => tract,
        Err(error) => return Ok(cannot_run(&error)),
    };
    let (mut rows, mut worst, mut swallowed, mut failed) = (0, 0.0_f32, 0, Vec::new());
    for kind in KINDS {
        let inputs = kind.rows(plan)?;
        let theirs = match tract.run(&inputs) {
            Ok(theirs) => theirs,
            Err(error) if kind == Kind::Ordinary => return Ok(cannot_run(&error)),
            Err(_) => {
                failed.push(kind);
                continue;
            }
        };
        let found = compare(kind, plan.outputs()[0].len(), &run(plan, &inputs)?, &theirs)?;
        rows += ROWS;
        worst = worst.max(found.0);
        swallowed += found.1;
    }
    Ok(Verdict::Agree { rows, worst, swallowed, failed })
}

fn cannot_run(error: &anyhow::Error) -> Verdict {
    let reason = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
    Verdict::NotCompared(format!("which cannot run this model ({reason})"))
}

/// How far the answers are apart, and how many rows are NaN of ours alone because inputs were.
fn compare(kind: Kind, width: usize, ours: &[f32], theirs: &[f32]) -> anyhow::Result<(f32, usize)> {
    if ours.len() != theirs.len() {
        bail!(
            "the compact engine gives {} numbers where tract gives {}; {}",
            ours.len(),
            theirs.len(),
            WAY_OUT
        );
    }
    let width = width.max(1);
    let scales: Vec<f32> =
        (0..width).map(|output| kind.scale(theirs.iter().skip(output).step_by(width))).collect();
    let (mut worst, mut swallowed) = (0.0_f32, 0);
    for (row, (ours, theirs)) in ours.chunks(width).zip(theirs.chunks(width)).enumerate() {
        let each = || ours.iter().zip(theirs).zip(&scales);
        let far = each().map(|((a, b), scale)| apart(*a, *b, *scale)).fold(0.0, f32::max);
        // tract's Relu, for one, makes 0 of NaN. A plan hands it on, and whoever scores sees it.
        let but_for_nan = || each().all(|((a, b), scale)| a.is_nan() || apart(*a, *b, *scale) <= TOLERANCE);
        if kind == Kind::Missing && far == f32::INFINITY && but_for_nan() {
            swallowed += 1;
        } else if far > TOLERANCE {
            bail!(
                "the compact engine gives {ours:?} where tract gives {theirs:?} (row {row} of those with {kind} \
                 inputs); {WAY_OUT}"
            );
        } else {
            worst = worst.max(far);
        }
    }
    Ok((worst, swallowed))
}

const WAY_OUT: &str = "one of the two is wrong, so nothing is written: ask a third runtime, such as onnxruntime; if \
                       tract is right, --engine onnx keeps the ONNX file; report it in either case";

/// Relative to theirs, or to the scale if that is larger; infinite where only one is a number.
fn apart(ours: f32, theirs: f32, scale: f32) -> f32 {
    if ours == theirs || (ours.is_nan() && theirs.is_nan()) {
        return 0.0;
    }
    let apart = (ours - theirs).abs() / theirs.abs().max(scale);
    if apart.is_nan() { f32::INFINITY } else { apart }
}

/// Whether a recurrent layer reads its sequence from the end.
fn runs_backwards(onnx: &[u8]) -> bool {
    let graph = ModelProto::decode(onnx).ok().and_then(|model| model.graph).unwrap_or_default();
    let direction =
        |node: &NodeProto| node.attribute.iter().any(|a| a.name == "direction" && a.s != b"forward");
    graph.node.iter().any(direction)
}

/// How far two plans of one shape are apart on random rows of ordinary size.
pub(super) fn largest_difference(a: &Plan, b: &Plan) -> anyhow::Result<f32> {
    let rows = Kind::Ordinary.rows(a)?;
    Ok(crate::export::largest_difference(&run(a, &rows)?, &run(b, &rows)?))
}

fn run(plan: &Plan, rows: &[f32]) -> anyhow::Result<Vec<f32>> {
    let mut out = Vec::new();
    plan.run_rows(&mut plan.workspace(ROWS), rows, &mut out)?;
    Ok(out)
}

impl Kind {
    /// What differences of one output are relative to, at least.
    fn scale<'x>(self, output: impl Iterator<Item = &'x f32>) -> f32 {
        match self {
            Self::Ordinary | Self::Missing => 1.0,
            Self::Large | Self::Huge => output.map(|x| x.abs()).filter(|x| x.is_finite()).fold(1.0, f32::max),
        }
    }

    /// [`ROWS`] rows, the same each time.
    pub(super) fn rows(self, plan: &Plan) -> anyhow::Result<Vec<f32>> {
        let [input] = plan.inputs() else {
            bail!("the model has {} inputs; a bundle's model has one", plan.inputs().len());
        };
        let mut random = StdRng::seed_from_u64(7);
        let mut rows = Vec::with_capacity(ROWS * input.len());
        for row in 0..ROWS {
            let scale = match self {
                Self::Ordinary => [1.0, 3.0, 0.0][row % 3],
                Self::Large => 100.0,
                Self::Huge => 1e6,
                Self::Missing => 3.0,
            };
            // Of each eighth missing row everything is.
            let missing = if self != Self::Missing {
                0.0
            } else if row % 8 == 0 {
                1.0
            } else {
                0.25
            };
            rows.extend((0..input.len()).map(|_| {
                let x = (random.random::<f32>() * 2.0 - 1.0) * scale;
                if random.random::<f32>() < missing { f32::NAN } else { x }
            }));
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests;
