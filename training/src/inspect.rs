//! `tiercast inspect`: what is inside a bundle, for a person or as JSON.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use indicatif::HumanBytes;
use serde_json::{Value, json};
use tiercast_core::{Bundle, FORMAT, Model, Scorer, Step};

/// Say what is inside a bundle: versions, hashes, sections, features, tiers and figures.
///
/// A bundle from `tiercast import` that holds a model alone shows its input, output and engine.
///
/// The bundle is checked on the way: every section's check sum, the schema's hash, and its own test members through the
/// model. A damaged bundle gives its error code and a non-zero exit status.
///
/// Example: tiercast inspect run/bundle.tcb
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// A .tcb file.
    pub bundle: PathBuf,
    /// Print JSON instead of a tree.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the file cannot be read, is not a whole bundle, or does not prove itself.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let bytes = fs::read(&args.bundle).with_context(|| format!("cannot read {}", args.bundle.display()))?;
    let (json, branches) = read(&bytes).with_context(|| args.bundle.display().to_string())?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        let name =
            args.bundle.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        print!("{}", tree(&name, &branches));
    }
    Ok(ExitCode::SUCCESS)
}

/// Both descriptions of a bundle of either kind.
fn read(bytes: &[u8]) -> tiercast_core::Result<(Value, Vec<Branch>)> {
    if Model::is_in(bytes)? {
        let model = Model::load(bytes)?;
        return Ok((describe_model(&model, bytes.len()), model_branches(&model, bytes.len())));
    }
    let scorer = Scorer::load(bytes)?;
    let proven = scorer.prove()?;
    let bundle = scorer.bundle();
    Ok((describe(bundle, bytes.len(), proven), branches(bundle, bytes.len(), proven)))
}

fn describe_model(model: &Model, bytes: usize) -> Value {
    json!({"format": FORMAT, "bytes": bytes, "manifest": model.manifest()})
}

fn model_branches(model: &Model, bytes: usize) -> Vec<Branch> {
    let manifest = model.manifest();
    let port = |name: &str, shape: &[u32]| {
        let shape: Vec<String> = shape.iter().map(u32::to_string).collect();
        format!("{name:?}, {} numbers a row", shape.join(" × "))
    };
    let engine = match model.plan() {
        Some(_) => "the compact engine",
        None => "tract (in JavaScript, tiercast/onnx)",
    };
    vec![
        leaf("bundle", &written(bytes, &manifest.producer)),
        leaf("model", &format!("{}, alone: numbers in, numbers out", manifest.name)),
        leaf("engine", engine),
        leaf("input", &port(&manifest.input, &manifest.input_shape)),
        leaf("output", &port(&manifest.output, &manifest.output_shape)),
    ]
}

fn leaf(name: &str, value: &str) -> Branch {
    Branch::leaf(format!("{name:<10} {value}"))
}

fn written(bytes: usize, producer: &str) -> String {
    format!("format {FORMAT}, {}, written by {producer}", HumanBytes(bytes as u64))
}

fn card(bundle: &Bundle) -> Value {
    serde_json::from_str(bundle.card()).unwrap_or_default()
}

fn describe(bundle: &Bundle, bytes: usize, proven: usize) -> Value {
    let rules = bundle.rules();
    let currency = &bundle.schema().spec().events.currency;
    let tiers =
        rules.tiers.iter().map(|tier| json!({"name": tier.name, "atLeast": currency.format(tier.at_least)}));
    json!({
        "format": FORMAT,
        "bytes": bytes,
        "manifest": bundle.manifest(),
        "sections": bundle.sections(),
        "currency": currency,
        "period": rules.period,
        "tiers": tiers.collect::<Vec<_>>(),
        "features": bundle.schema().describe().collect::<Vec<_>>(),
        "inputs": bundle.transform().names(),
        "provenVectors": proven,
        "card": card(bundle),
    })
}

/// A line and what hangs on it.
struct Branch {
    text: String,
    below: Vec<Branch>,
}

impl Branch {
    fn new(text: impl Into<String>, below: Vec<Self>) -> Self {
        Self { text: text.into(), below }
    }

    fn leaf(text: impl Into<String>) -> Self {
        Self::new(text, Vec::new())
    }
}

fn branches(bundle: &Bundle, bytes: usize, proven: usize) -> Vec<Branch> {
    let manifest = bundle.manifest();
    let card = card(bundle);
    let summary = card["summary"].as_str().unwrap_or("none");
    vec![
        leaf("bundle", &written(bytes, &manifest.producer)),
        leaf("project", &format!("{} {}", manifest.name, manifest.version)),
        leaf("task", &format!("{}, {} model, {} decoder", manifest.task, manifest.model, decoder(bundle))),
        leaf("schema", &manifest.schema_hash),
        leaf("proven", &format!("{proven} made-up members give what they gave in training")),
        leaf("summary", summary),
        Branch::new("sections", sections(bundle)),
        Branch::new("tiers", tiers(bundle)),
        Branch::new(
            format!("features ({} in, {} inputs)", bundle.schema().len(), bundle.transform().width()),
            features(bundle),
        ),
        Branch::new("figures", figures(&card)),
        Branch::new(
            "notes",
            card["notes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(Branch::leaf)
                .collect(),
        ),
    ]
}

fn decoder(bundle: &Bundle) -> &'static str {
    crate::evaluate::board::decode_name(Some(bundle.manifest().decode))
}

fn sections(bundle: &Bundle) -> Vec<Branch> {
    let line = |section: &tiercast_core::Section| {
        let size = HumanBytes(section.length as u64).to_string();
        Branch::leaf(format!("{:<12} {size:>11}  check sum {}", section.name, section.checksum))
    };
    bundle.sections().iter().map(line).collect()
}

fn tiers(bundle: &Bundle) -> Vec<Branch> {
    let currency = &bundle.schema().spec().events.currency;
    let tiers = bundle.rules().tiers.iter().zip(1..);
    tiers
        .map(|(tier, k)| {
            let amount = currency.format(tier.at_least);
            Branch::leaf(format!("{k} {:<14} from {amount:>12} {}", tier.name, currency.code))
        })
        .collect()
}

fn features(bundle: &Bundle) -> Vec<Branch> {
    let inputs = |source: usize| -> String {
        let of = bundle.transform().columns.iter().filter(|column| column.source as usize == source);
        let steps: Vec<String> = of
            .map(|column| column.steps.iter().map(step).collect::<Vec<_>>().join(" → "))
            .map(|steps| if steps.is_empty() { "as it is".into() } else { steps })
            .collect();
        if steps.is_empty() { "no input: never varied".into() } else { steps.join("; ") }
    };
    let line = |(at, info): (usize, tiercast_core::FeatureInfo)| {
        let text = format!("{:<20} {} [{}]", info.name, info.description, info.unit);
        Branch::new(text, vec![Branch::leaf(inputs(at))])
    };
    bundle.schema().describe().enumerate().map(line).collect()
}

fn step(step: &Step) -> String {
    match step {
        Step::Impute(value) => format!("missing = {value:.4}"),
        Step::Clip { low, high } => format!("{low:.4} … {high:.4}"),
        Step::Log1p => "log1p".into(),
        Step::Standardize { mean, std } => format!("(x − {mean:.4}) / {std:.4}"),
        Step::Quantile { knots } => format!("rank among {} knots", knots.len()),
        Step::Ordinal { values } => format!("place among {}", values.len()),
        Step::OneHot { values } => format!("one of {}", values.len()),
        Step::Hash { buckets } => format!("{buckets} buckets"),
        Step::IsMissing => "is missing".into(),
        _ => "a step of a later version".into(),
    }
}

fn figures(card: &Value) -> Vec<Branch> {
    let splits = card["metrics"].as_object().into_iter().flatten();
    splits
        .map(|(split, figures)| {
            let lines = ["model", "sameTierRule"].into_iter().filter_map(|who| {
                let measures = figures[who]["measures"].as_object()?;
                let values = measures.iter().map(|(name, estimate)| {
                    format!("{name} {:.3}", estimate["value"].as_f64().unwrap_or(f64::NAN))
                });
                Some(Branch::leaf(format!("{who:<13}{}", values.collect::<Vec<_>>().join("  "))))
            });
            Branch::new(
                format!("{split}: {} rows of {} members", figures["rows"], figures["members"]),
                lines.collect(),
            )
        })
        .collect()
}

fn tree(name: &str, branches: &[Branch]) -> String {
    let mut out = format!("{name}\n");
    grow(branches, "", &mut out);
    out
}

fn grow(branches: &[Branch], indent: &str, out: &mut String) {
    for (at, branch) in branches.iter().enumerate() {
        let last = at + 1 == branches.len();
        let (joint, trunk) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        out.push_str(&format!("{indent}{joint}{}\n", branch.text));
        grow(&branch.below, &format!("{indent}{trunk}"), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &[u8] = include_bytes!("../../tests/fixtures/model-dense.tcb");
    const TIERS: &[u8] = include_bytes!("../../tests/fixtures/fixture.tcb");

    /// A bundle that calls one of its sections something else.
    fn without(bundle: &[u8], section: &str) -> Vec<u8> {
        let mut bytes = bundle.to_vec();
        let name = format!("{section}\0");
        let at = bytes.windows(name.len()).position(|here| here == name.as_bytes()).unwrap();
        bytes[at] = b'X';
        bytes
    }

    #[test]
    fn a_bundle_is_shown_as_what_it_holds() {
        let (model, branches) = read(MODEL).unwrap();
        assert_eq!(model["manifest"]["task"], "model");
        assert!(tree("", &branches).contains("alone: numbers in, numbers out"));
        let (tiers, branches) = read(TIERS).unwrap();
        assert_eq!(tiers["manifest"]["task"], "tier");
        assert!(tree("", &branches).contains("made-up members"));
    }

    /// Not what another kind of bundle would need.
    #[test]
    fn a_section_that_is_missing_is_named() {
        for (bundle, section) in [(MODEL, "plan"), (TIERS, "plan"), (TIERS, "scorer"), (TIERS, "card")] {
            let Err(error) = read(&without(bundle, section)) else { panic!("{section} is gone") };
            assert_eq!(error.code(), "bundle_section", "{error}");
            assert!(error.message().contains(&format!("no section {section}")), "{error}");
        }
    }

    #[test]
    fn a_tree_closes_its_last_branch() {
        let branches = vec![Branch::new("a", vec![Branch::leaf("b")]), Branch::leaf("c")];
        assert_eq!(tree("x", &branches), "x\n├─ a\n│  └─ b\n└─ c\n");
    }
}
