//! `tiercast import`: a model that was trained elsewhere becomes a bundle for the compact engine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, anyhow, bail};
use indicatif::HumanBytes;
use prost::Message;
use tiercast_core::{
    Bundle, Column, Decode, EngineKind, ErrorKind, FeatureSchema, FeatureSpec, LowerOptions, Model,
    ModelManifest, Plan, Storage, Transform, lower,
};
use tract_onnx::pb::{ModelProto, type_proto::Value};

use crate::{
    bundle,
    weights::{Engine, Weights},
    whole,
};

mod tract;
mod verify;

use verify::Verdict;

/// Turn an ONNX model from scikit-learn, LightGBM, XGBoost, PyTorch or any other trainer into a bundle.
///
/// The model is lowered to the compact engine's kernels and compared with tract on random, huge and missing inputs;
/// where they differ nothing is written. A model that tract cannot run is written uncompared, and the command says so:
/// compare a few rows yourself. An operator that the compact engine lacks is named, with its node and operator set.
///
/// Without --into the bundle holds the model alone: numbers in, numbers out (in JavaScript, Model.load). With --into
/// it takes the model's place in a membership-tier bundle: same events, features and tiers, your model's probabilities.
///
/// Example: tiercast import model.onnx -o model.tcb
/// Example: tiercast import lightgbm.onnx --into run/bundle.tcb -o lightgbm.tcb
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The ONNX file.
    pub model: PathBuf,
    /// The bundle to write; MODEL.tcb if left out.
    #[arg(short = 'o', long = "out", value_name = "BUNDLE.tcb")]
    pub out: Option<PathBuf>,
    /// The model's output to keep; if left out, "probabilities", or the first that holds floats.
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// A tier bundle whose model to replace.
    #[arg(long, value_name = "BUNDLE.tcb")]
    pub into: Option<PathBuf>,
    /// What the model takes of that bundle: its raw features (missing values are NaN) or its transformed inputs.
    #[arg(long, value_enum, default_value = "features", requires = "into")]
    pub takes: Takes,
    /// What people call the model; the file's name if left out.
    #[arg(long)]
    pub name: Option<String>,
    /// How weights are stored; f16 and i8 are rounded, and by how much that moves the outputs is printed.
    #[arg(long, value_enum, default_value = "f32")]
    pub weights: Weights,
    /// Which engine is to run it. `onnx` keeps the ONNX file, less its other outputs, for what the compact engine refuses.
    #[arg(long, value_enum, default_value = "plan")]
    pub engine: Engine,
}

/// What an imported model takes of a tier bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Takes {
    /// The raw features in the order of the schema, as `tiercast features` writes them.
    Features,
    /// What the bundle's fitted transform makes of them.
    Inputs,
}

/// A model on its way into a bundle.
struct Imported {
    name: String,
    output: String,
    kept: Kept,
}

/// What of it goes into the bundle.
enum Kept {
    Plan(Plan),
    Onnx(Vec<u8>),
}

impl Kept {
    fn engine(&self) -> EngineKind {
        match self {
            Self::Plan(_) => EngineKind::Plan,
            Self::Onnx(_) => EngineKind::Onnx,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the model cannot be read or lowered, differs from what tract computes, or does not fit the tier bundle, and when
/// the output is one of the inputs.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.weights.check(args.engine)?;
    let out = args.out.clone().unwrap_or_else(|| args.model.with_extension("tcb"));
    whole::refuse_inputs(&out, args.into.iter().chain([&args.model]))?;
    let onnx = fs::read(&args.model).with_context(|| format!("cannot read {}", args.model.display()))?;
    let name = args.name.clone().unwrap_or_else(|| stem(&args.model));
    let output = match &args.output {
        Some(output) => output.clone(),
        None => chosen_output(&onnx)?,
    };
    let kept = match args.engine {
        Engine::Plan => {
            let lowered = lowered(&onnx, &output, args.weights)?;
            say!("{}", lowered.verdict);
            if let Some(moved) = lowered.moved {
                say!("weights as {}: outputs move by at most {moved:.1e} on random rows", args.weights);
            }
            Kept::Plan(lowered.plan)
        }
        Engine::Onnx => Kept::Onnx(with_one_output(&onnx, &output)?),
    };
    let imported = Imported { name, output, kept };
    let bytes = match &args.into {
        Some(path) => into_tiers(&imported, path, args.takes)?,
        None => alone(&imported)?,
    };
    whole::write(&out, &bytes)?;
    say!("{}: {} from {}", out.display(), HumanBytes(bytes.len() as u64), HumanBytes(onnx.len() as u64));
    Ok(ExitCode::SUCCESS)
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The output that a scorer most likely wants.
fn chosen_output(onnx: &[u8]) -> anyhow::Result<String> {
    let outputs = decoded(onnx)?.graph.map(|graph| graph.output).unwrap_or_default();
    let of_numbers = |kind: Option<&Value>| match kind {
        Some(Value::TensorType(tensor)) => matches!(tensor.elem_type, 0 | 1 | 10 | 11),
        // A sequence of maps, which scikit-learn's converters put around the probabilities.
        None => true,
    };
    let found = outputs.iter().find(|output| output.name == "probabilities").or_else(|| {
        outputs.iter().find(|output| of_numbers(output.r#type.as_ref().and_then(|t| t.value.as_ref())))
    });
    match found {
        Some(output) => Ok(output.name.clone()),
        None => bail!(
            "the model has no output of floats; it has {:?}",
            outputs.iter().map(|output| &output.name).collect::<Vec<_>>()
        ),
    }
}

fn decoded(onnx: &[u8]) -> anyhow::Result<ModelProto> {
    ModelProto::decode(onnx).context("the file is not an ONNX model")
}

/// The ONNX file with the wanted output alone, because whoever runs it would choose by its own rule.
fn with_one_output(onnx: &[u8], output: &str) -> anyhow::Result<Vec<u8>> {
    let mut model = decoded(onnx)?;
    let outputs = model.graph.as_mut().map(|graph| &mut graph.output).context("the file has no graph")?;
    let all: Vec<String> = outputs.iter().map(|output| output.name.clone()).collect();
    if !all.iter().any(|name| name == output) {
        bail!("the model has no output {output:?}; it has {all:?}");
    }
    if all.len() == 1 {
        return Ok(onnx.to_vec());
    }
    outputs.retain(|other| other.name == output);
    Ok(model.encode_to_vec())
}

/// A plan, and what is to be said of it.
struct Lowered {
    plan: Plan,
    verdict: Verdict,
    /// How far the outputs move because the weights were rounded, where they were.
    moved: Option<f32>,
}

/// Lowers the model, compares it with tract, and measures what storing its weights in fewer bits costs.
fn lowered(onnx: &[u8], output: &str, weights: Weights) -> anyhow::Result<Lowered> {
    let outputs = [output];
    let lower_as = |storage| lower(onnx, &LowerOptions { outputs: &outputs, storage });
    let plan = lower_as(Storage::F32).map_err(|refused| explain(refused, onnx, output))?;
    let verdict = verify::against_tract(&plan, onnx)?;
    if weights == Weights::F32 {
        return Ok(Lowered { plan, verdict, moved: None });
    }
    let stored = lower_as(weights.storage())?;
    let moved = Some(verify::largest_difference(&plan, &stored)?);
    Ok(Lowered { plan: stored, verdict, moved })
}

/// The compact engine's refusal, with whether keeping the ONNX file is a way out.
fn explain(refused: tiercast_core::Error, onnx: &[u8], output: &str) -> anyhow::Error {
    if refused.kind() != ErrorKind::UnsupportedModel {
        return refused.into();
    }
    let kept = || {
        let kept = Kept::Onnx(with_one_output(onnx, output)?);
        alone(&Imported { name: String::new(), output: output.into(), kept })
    };
    match kept() {
        Ok(_) => refused.into(),
        Err(error) => anyhow!("{refused}; but tract cannot load the model either: {}", error.root_cause()),
    }
}

fn alone(imported: &Imported) -> anyhow::Result<Vec<u8>> {
    let producer = concat!("tiercast ", env!("CARGO_PKG_VERSION"));
    let bytes = match &imported.kept {
        Kept::Plan(plan) => Model::write(&imported.name, producer, plan)?,
        Kept::Onnx(onnx) => {
            let (input, output) = tract::flat_shapes(&decoded(onnx)?, &imported.output)?;
            let manifest = ModelManifest {
                task: String::new(),
                name: imported.name.clone(),
                producer: producer.into(),
                engine: EngineKind::Onnx,
                input: input.0,
                input_shape: vec![input.1],
                output: imported.output.clone(),
                output_shape: vec![output],
            };
            Model::write_onnx(manifest, onnx)?
        }
    };
    Model::load(&bytes)?;
    Ok(bytes)
}

/// Puts the model into a tier bundle, and lets the new bundle prove itself on made-up members.
fn into_tiers(imported: &Imported, path: &Path, takes: Takes) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut parts = Bundle::parts(&bytes).with_context(|| path.display().to_string())?;
    parts.card["summary"] =
        format!("{}, imported from an ONNX file; the figures below are of another model", imported.name)
            .into();
    parts.manifest.model = imported.name.clone();
    parts.manifest.engine = imported.kept.engine();
    if parts.manifest.decode == Decode::Ranks {
        // Cuts that training has fitted to one model's answers say nothing of another's.
        (parts.manifest.decode, parts.manifest.cuts) = (Decode::Expected, Vec::new());
        say!("decided by the expected tier; the bundle's cuts are those of its own model");
    }
    if let Some(drift) = &mut parts.drift {
        // So do the tiers that it gave its training rows; the features are the same.
        drift.tiers.clear();
    }
    if takes == Takes::Features {
        parts.transform = as_they_are(&parts.spec)?;
    }
    parts.model = match &imported.kept {
        Kept::Plan(plan) => plan.write(),
        Kept::Onnx(onnx) => onnx.clone(),
    };
    bundle::renew(
        parts,
        path,
        match takes {
            Takes::Features => {
                "the model fails on made-up members, whose raw features may be missing (NaN); \
                            let the model impute them, or train it on the bundle's inputs and say --takes inputs"
            }
            Takes::Inputs => "the model fails on made-up members",
        },
    )
}

/// A transform that hands on every feature.
fn as_they_are(spec: &FeatureSpec) -> anyhow::Result<Transform> {
    let schema = FeatureSchema::compile(spec.clone())?;
    let column = |(source, name): (usize, &str)| Column {
        name: name.into(),
        source: source as u32,
        steps: Vec::new(),
    };
    Ok(Transform { columns: schema.names().enumerate().map(column).collect() })
}

#[cfg(test)]
mod tests;
