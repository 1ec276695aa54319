//! One interface to both engines.

#[cfg(feature = "onnx")]
use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::Serialize;

#[cfg(feature = "onnx")]
use super::OnnxModel;
use super::{Plan, Workspace};
use crate::error::{Result, bail};

/// Which engine a bundle's model is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    /// A lowered [`Plan`]: every build runs it, with the same bits.
    #[default]
    Plan,
    /// An ONNX file, for builds with the feature `onnx`.
    Onnx,
}

crate::wire::variants!(EngineKind { Plan, Onnx });

impl EngineKind {
    /// The bundle's section that holds the model.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Onnx => "model.onnx",
        }
    }
}

/// A model ready to run: one kind of row in, one kind of row out.
#[derive(Debug)]
pub(crate) enum Engine {
    Plan(Plan),
    #[cfg(feature = "onnx")]
    Onnx(Box<OnnxModel>),
}

impl Engine {
    /// Reads a model whose rows have `inputs` numbers and whose answers have `outputs`.
    pub(crate) fn load(kind: EngineKind, bytes: &[u8], inputs: usize, outputs: usize) -> Result<Self> {
        match kind {
            EngineKind::Plan => {
                let plan = Plan::read(bytes)?;
                let ([input], [output]) = (plan.inputs(), plan.outputs()) else {
                    bail!(InvalidModel, "the plan must have one input and one output");
                };
                if input.len() != inputs || output.len() != outputs {
                    bail!(
                        InvalidModel,
                        "the plan takes {} numbers and gives {}; expected {inputs} and {outputs}",
                        input.len(),
                        output.len()
                    );
                }
                Ok(Self::Plan(plan))
            }
            #[cfg(feature = "onnx")]
            EngineKind::Onnx => Ok(Self::Onnx(Box::new(OnnxModel::load(bytes, inputs, outputs)?))),
            #[cfg(not(feature = "onnx"))]
            EngineKind::Onnx => bail!(
                UnsupportedModel,
                "the bundle's model is an ONNX file, which this build cannot run; use the `onnx` build (in JavaScript `tiercast/onnx`)"
            ),
        }
    }

    /// Buffers for up to `rows` rows at a time; tract makes its own.
    pub(crate) fn workspace(&self, rows: usize) -> Workspace {
        match self {
            Self::Plan(plan) => plan.workspace(rows),
            #[cfg(feature = "onnx")]
            Self::Onnx(_) => Workspace::default(),
        }
    }

    /// Appends the answers for whole rows to `out`.
    pub(crate) fn run(&self, workspace: &mut Workspace, rows: &[f32], out: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Plan(plan) => plan.run_rows(workspace, rows, out),
            #[cfg(feature = "onnx")]
            Self::Onnx(model) => {
                out.extend(model.run(rows)?);
                Ok(())
            }
        }
    }
}
