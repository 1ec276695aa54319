//! Holds the compact engine to ONNX's own test cases and to models as people export them. Run it as
//! `cargo xtask conformance`; with `--write` it writes the table.
//!
//! Every case whose operators are all in [`operators::OPERATORS`] is run. It passes, is refused by the lowering with a
//! reason, or fails; none is left out. The table of the run is committed, so that neither the number of cases nor the
//! number of passes can fall unseen.

mod case;
mod engines;
mod models;
mod operators;
mod report;
mod tensor;
mod verdict;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::{
    case::Case,
    models::{Compared, Outcome},
    report::Judged,
    verdict::Verdict,
};

/// Compare the compact engine with ONNX's test cases and with onnxruntime.
#[derive(Parser)]
struct Args {
    /// The folder that `cases.py` wrote.
    #[arg(long)]
    onnx: PathBuf,
    /// The folder that `models.py` wrote.
    #[arg(long)]
    models: PathBuf,
    /// Only what has this in its name, each with its verdict; nothing is compared with the table.
    #[arg(long, conflicts_with = "write")]
    only: Option<String>,
    /// Write the table.
    #[arg(long)]
    write: bool,
}

/// The kinds of cases, as ONNX's package calls them.
const KINDS: [&str; 4] = ["node", "pytorch-converted", "pytorch-operator", "simple"];

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let wanted = |name: &str| args.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut cases = Vec::new();
    for kind in KINDS {
        for name in folders(&args.onnx.join(kind))? {
            let full = format!("{kind}/{name}");
            if wanted(&full)
                && let Some(case) = Case::read(&args.onnx.join(&full), full)?
            {
                cases.push(judge(case));
            }
        }
    }
    let mut compared = Vec::new();
    for name in folders(&args.models)?.into_iter().filter(|name| wanted(name)) {
        compared.push(models::compare(&args.models.join(&name), name)?);
    }
    if cases.is_empty() && compared.is_empty() {
        bail!("no case and no model has {:?} in its name", args.only.unwrap_or_default());
    }
    if args.only.is_some() {
        cases.iter().for_each(|case| println!("{case:?}"));
        compared.iter().for_each(|model| println!("{model:?}"));
    }
    let failures = failures(&cases, &compared);
    failures.iter().for_each(|line| eprintln!("{line}"));
    let table = report::render(&cases, &compared);
    // A table of failures is not written: it would be the one to keep to.
    let kept = args.only.is_some() || keep(&table, args.write && failures.is_empty())?;
    let refused = report::refused(&cases, &compared);
    let passed = cases.len() + compared.len() - failures.len() - refused;
    println!("{} cases and {} models, {refused} refused with a reason", cases.len(), compared.len());
    let word = if kept && failures.is_empty() { "ok" } else { "FAILED" };
    // As cargo's test runner says it.
    println!("test result: {word}. {passed} passed; {} failed; 0 ignored", failures.len());
    Ok(if kept && failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn folders(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    names.sort();
    if names.is_empty() {
        bail!("{} is empty", folder.display());
    }
    Ok(names)
}

fn judge(case: Case) -> Judged {
    Judged {
        ours: verdict::ours(&case),
        onnxruntime: verdict::onnxruntime(&case),
        tract: verdict::tract(&case),
        name: case.name,
        operators: case.operators,
    }
}

fn failures(cases: &[Judged], models: &[Compared]) -> Vec<String> {
    let case = |case: &Judged| match &case.ours {
        Verdict::Fail(why) => Some(format!("FAILED {}: {why}", case.name)),
        _ => None,
    };
    let model = |model: &Compared| match &model.outcome {
        Outcome::Failed(why) => Some(format!("FAILED {}: {why}", model.name)),
        _ => None,
    };
    cases.iter().filter_map(case).chain(models.iter().filter_map(model)).collect()
}

/// Writes the table or compares it with the committed one.
fn keep(table: &str, write: bool) -> Result<bool> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/README.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let (known, new) = (report::stable(&old), report::stable(table));
    if known == new && !write {
        return Ok(true);
    }
    if write {
        fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))?;
        println!("tests/conformance/README.md: written");
        return Ok(true);
    }
    new.iter().filter(|line| !known.contains(line)).for_each(|line| eprintln!("the run says: {line}"));
    eprintln!(
        "tests/conformance/README.md says otherwise; where the change is meant: cargo xtask conformance --write"
    );
    Ok(false)
}
