//! `tiercast import`: a model that was trained elsewhere becomes a bundle for the compact engine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use indicatif::HumanBytes;
use prost::Message;
use tiercast_core::{
    Bundle, BundleParts, Column, EngineKind, LowerOptions, Model, ModelManifest, Plan, Scorer, Transform,
    lower,
};
use tract_onnx::pb::{ModelProto, type_proto::Value};

use crate::{
    bundle,
    weights::{Engine, Weights},
};

mod verify;

/// Turn an ONNX model from scikit-learn, LightGBM, XGBoost, PyTorch or any other trainer into a bundle.
///
/// The model is lowered to the compact engine's kernels and compared with tract on random and on extreme rows; where
/// they differ nothing is written. An operator that the compact engine lacks is named, with its node and operator set.
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
    /// Which engine is to run it. `onnx` keeps the file as it is, for what the compact engine refuses.
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
    onnx: Vec<u8>,
    name: String,
    output: String,
    /// Absent where the ONNX file itself is to run.
    plan: Option<Plan>,
}

/// Runs the command.
///
/// # Errors
/// When the model cannot be read or lowered, differs from what tract computes, or does not fit the tier bundle.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let onnx = fs::read(&args.model).with_context(|| format!("cannot read {}", args.model.display()))?;
    let name = args.name.clone().unwrap_or_else(|| stem(&args.model));
    let output = match &args.output {
        Some(output) => output.clone(),
        None => chosen_output(&onnx)?,
    };
    let plan = match args.engine {
        Engine::Plan => Some(lowered(&onnx, &output, args.weights)?),
        Engine::Onnx => None,
    };
    let imported = Imported { onnx, name, output, plan };
    let bytes = match &args.into {
        Some(path) => into_tiers(&imported, path, args.takes)?,
        None => alone(&imported)?,
    };
    let out = args.out.clone().unwrap_or_else(|| args.model.with_extension("tcb"));
    if args.into.as_ref() == Some(&out) {
        bail!("{} is the bundle to take from; give another file with --out", out.display());
    }
    fs::write(&out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    say!(
        "{}: {} from {}",
        out.display(),
        HumanBytes(bytes.len() as u64),
        HumanBytes(imported.onnx.len() as u64)
    );
    Ok(ExitCode::SUCCESS)
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The output that a scorer most likely wants.
fn chosen_output(onnx: &[u8]) -> anyhow::Result<String> {
    let model = ModelProto::decode(onnx).context("the file is not an ONNX model")?;
    let outputs = model.graph.map(|graph| graph.output).unwrap_or_default();
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

/// Lowers the model, compares it with tract, and says what storing its weights in fewer bits costs.
fn lowered(onnx: &[u8], output: &str, weights: Weights) -> anyhow::Result<Plan> {
    let outputs = [output];
    let exact = lower(onnx, &LowerOptions { outputs: &outputs, ..LowerOptions::default() })?;
    verify::against_tract(&exact, onnx)?;
    if weights == Weights::F32 {
        return Ok(exact);
    }
    let stored = lower(onnx, &LowerOptions { outputs: &outputs, storage: weights.storage() })?;
    let difference = verify::largest_difference(&exact, &stored)?;
    say!("weights as {weights:?}: outputs move by at most {difference:.2e} on random rows");
    Ok(stored)
}

fn alone(imported: &Imported) -> anyhow::Result<Vec<u8>> {
    let producer = concat!("tiercast ", env!("CARGO_PKG_VERSION"));
    let bytes = match &imported.plan {
        Some(plan) => Model::write(&imported.name, producer, plan)?,
        None => {
            let (input, output) = verify::flat_shapes(&imported.onnx, &imported.output)?;
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
            Model::write_onnx(manifest, &imported.onnx)?
        }
    };
    Model::load(&bytes)?;
    Ok(bytes)
}

/// Puts the model into a tier bundle, and lets the new bundle prove itself on made-up members.
fn into_tiers(imported: &Imported, path: &Path, takes: Takes) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let old = Bundle::parse(&bytes).with_context(|| path.display().to_string())?;
    let mut card: serde_json::Value = serde_json::from_str(old.card())?;
    card["summary"] =
        format!("{}, imported from an ONNX file; the figures below are of another model", imported.name)
            .into();
    let mut manifest = old.manifest().clone();
    manifest.model = imported.name.clone();
    manifest.engine = if imported.plan.is_some() { EngineKind::Plan } else { EngineKind::Onnx };
    let mut parts = BundleParts {
        manifest,
        spec: old.schema().spec().clone(),
        transform: match takes {
            Takes::Inputs => old.transform().clone(),
            Takes::Features => as_they_are(&old),
        },
        rules: old.rules().clone(),
        model: match &imported.plan {
            Some(plan) => plan.write(),
            None => imported.onnx.clone(),
        },
        typical: old.typical().to_vec(),
        card,
        vectors: Vec::new(),
    };
    let scorer = Scorer::load(&Bundle::write(parts.clone())?).context("the model does not fit the bundle")?;
    let now = old.vectors()?.first().map(|vector| vector.now).unwrap_or_default();
    parts.vectors = bundle::vectors(&scorer, now, 1)?;
    let bytes = Bundle::write(parts)?;
    Scorer::load(&bytes)?.prove().context("the new bundle does not prove itself")?;
    Ok(bytes)
}

/// A transform that hands on every feature.
fn as_they_are(bundle: &Bundle) -> Transform {
    let column = |(source, name): (usize, &str)| Column {
        name: name.into(),
        source: source as u32,
        steps: Vec::new(),
    };
    Transform { columns: bundle.schema().names().enumerate().map(column).collect() }
}

#[cfg(test)]
mod tests;
