//! A model on its own: numbers in, numbers out, without members, features or tiers.
//!
//! For models that others trained and that `tiercast import` lowered. The file is a bundle whose task is `model`.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use crate::{
    bundle::Table,
    engine::{Engine, EngineKind, Plan, Workspace},
    error::{Quoted, Result, bail},
};
#[cfg(feature = "onnx")]
use crate::{
    bundle::{assemble, to_json},
    engine::Port,
    wire,
};

const TASK: &str = "model";

/// What a model's bundle says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelManifest {
    /// The job: `model`; filled in by [`Model::write`].
    pub task: String,
    /// What people call it.
    pub name: String,
    /// The program and version that wrote it.
    pub producer: String,
    /// Which engine it is for.
    pub engine: EngineKind,
    /// Name of the input.
    pub input: String,
    /// Shape of one row of it.
    pub input_shape: Vec<u32>,
    /// Name of the output.
    pub output: String,
    /// Shape of one row of it.
    pub output_shape: Vec<u32>,
}

crate::wire::fields!(ModelManifest {
    task,
    name,
    producer,
    engine,
    input,
    input_shape,
    output,
    output_shape
});

#[cfg(feature = "onnx")]
fn sections(manifest: &ModelManifest, model: Vec<u8>) -> Result<Vec<u8>> {
    Ok(assemble(&[
        ("manifest", to_json(manifest)?),
        ("model", wire::to_bytes(manifest)),
        (manifest.engine.section(), model),
    ]))
}

/// A loaded model.
#[derive(Debug)]
pub struct Model {
    manifest: ModelManifest,
    json: String,
    engine: Engine,
}

impl Model {
    /// Writes a plan with one input and one output as a bundle.
    ///
    /// # Errors
    /// `unsupported_model` when the plan has several inputs or outputs.
    #[cfg(feature = "onnx")]
    pub fn write(name: &str, producer: &str, plan: &Plan) -> Result<Vec<u8>> {
        let ([input], [output]) = (plan.inputs(), plan.outputs()) else {
            bail!(
                UnsupportedModel,
                "the model has {} inputs and {} outputs; a bundle holds one of each: choose with `--output`",
                plan.inputs().len(),
                plan.outputs().len()
            );
        };
        let shape = |port: &Port| (port.name.clone(), port.shape.clone());
        let ((input, input_shape), (output, output_shape)) = (shape(input), shape(output));
        let manifest = ModelManifest {
            task: TASK.into(),
            name: name.into(),
            producer: producer.into(),
            engine: EngineKind::Plan,
            input,
            input_shape,
            output,
            output_shape,
        };
        sections(&manifest, plan.write())
    }

    /// Writes an ONNX file as a bundle for the `onnx` build, as it is.
    ///
    /// # Errors
    /// `invalid_model` when tract cannot load it with rows of these sizes.
    #[cfg(feature = "onnx")]
    pub fn write_onnx(mut manifest: ModelManifest, onnx: &[u8]) -> Result<Vec<u8>> {
        manifest.task = TASK.into();
        manifest.engine = EngineKind::Onnx;
        let bytes = sections(&manifest, onnx.to_vec())?;
        Self::load(&bytes)?;
        Ok(bytes)
    }

    /// Whether a bundle holds a model alone, for [`Model::load`], rather than one that scores members.
    ///
    /// # Errors
    /// Those of a damaged bundle.
    pub fn is_in(bytes: &[u8]) -> Result<bool> {
        Ok(Table::parse(bytes)?.find("model").is_ok())
    }

    /// Reads a bundle whose task is `model`.
    ///
    /// # Errors
    /// Those of a damaged bundle, `bundle_version` for another task, `invalid_model`, and `unsupported_model` when it needs the `onnx` build.
    pub fn load(bytes: &[u8]) -> Result<Self> {
        let table = Table::parse(bytes)?;
        if table.find("scorer").is_ok() {
            bail!(BundleSection, "the bundle scores members; load it as a scorer");
        }
        let manifest: ModelManifest = table.value("model")?;
        if manifest.task != TASK {
            bail!(
                BundleVersion,
                "the bundle's task is {}; this build knows {TASK}; update tiercast",
                Quoted(&manifest.task)
            );
        }
        let len = |shape: &[u32]| shape.iter().fold(1_usize, |n, d| n.saturating_mul(*d as usize));
        let (inputs, outputs) = (len(&manifest.input_shape), len(&manifest.output_shape));
        let engine = Engine::load(manifest.engine, table.find(manifest.engine.section())?, inputs, outputs)?;
        Ok(Self { manifest, json: table.text("manifest")?, engine })
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    /// The same as the JSON it is written in.
    pub fn manifest_json(&self) -> &str {
        &self.json
    }

    /// The plan, unless the model runs as ONNX.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.engine {
            Engine::Plan(plan) => Some(plan),
            #[cfg(feature = "onnx")]
            Engine::Onnx(_) => None,
        }
    }

    /// Buffers for [`Model::run`].
    pub fn workspace(&self, rows: usize) -> Workspace {
        self.engine.workspace(rows)
    }

    /// Appends the answers for whole rows to `out`.
    ///
    /// # Errors
    /// `invalid_input` when the values are not whole rows; `model_failed` when an ONNX model fails.
    pub fn run(&self, workspace: &mut Workspace, rows: &[f32], out: &mut Vec<f32>) -> Result<()> {
        self.engine.run(workspace, rows, out)
    }
}
