//! `cargo xtask conformance`: the compact engine against ONNX's own test cases and against models as people export
//! them. What is asked, and what counts as right, is `tests/conformance`'s business.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    native, setup,
    shell::{Key, Run, cache_dir, exclusive, root, step, unless_done},
};

/// Options of the conformance run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Writes the table, `tests/conformance/README.md`, instead of comparing with it
    #[arg(long)]
    write: bool,
    /// Only the cases and models whose name contains this, each with its verdict
    #[arg(long, value_name = "NAME", conflicts_with = "write")]
    only: Option<String>,
    /// First exports the PyTorch models anew; installs several gigabytes into the cache
    #[arg(long)]
    torch: bool,
}

/// Runs every case and compares, or writes, the table.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::run()?;
    native::build()?;
    if args.torch {
        export_torch()?;
    }
    let mut run = program()?;
    if args.write {
        run = run.arg("--write");
    }
    if let Some(name) = &args.only {
        run = run.args(["--only", name]);
    }
    run.shown().run()
}

/// Fails where a case fails or the committed table is not what the run gives; returns what it prints.
pub(crate) fn check() -> Result<String> {
    setup::run()?;
    native::build()?;
    program()?.read().output()
}

/// The harness, with the cases and models made.
fn program() -> Result<Run> {
    let _alone = exclusive()?;
    let cache = cache_dir("conformance")?;
    let python = setup::python_with(&folder().join("requirements.txt"), &cache.join("python"))?;
    let made = |script: &str, name: &str, more: Option<PathBuf>| -> Result<PathBuf> {
        let (script, out) = (folder().join(script), cache.join(name));
        let mut key = Key::default().file(&script)?.file(&folder().join("requirements.txt"))?;
        if let Some(more) = more {
            key = key.tree(&more, &[])?;
        }
        unless_done(&cache.join(format!("{name}.stamp")), &key.hex(), &[&out], || {
            if out.exists() {
                std::fs::remove_dir_all(&out)?;
            }
            step(&format!("conformance: {name}"), || {
                Run::new(&python).arg(&script).arg(&out).limit(1200).run()
            })
        })?;
        Ok(out)
    };
    let cases = made("cases.py", "onnx", None)?;
    let models = made("models.py", "models", Some(folder().join("torch")))?;
    Ok(Run::new(native::program("conformance")).arg("--onnx").arg(cases).arg("--models").arg(models))
}

/// Trains and exports the committed PyTorch models.
fn export_torch() -> Result<()> {
    let environment = cache_dir("conformance")?.join("torch-python");
    let python = setup::python_with(&folder().join("requirements-torch.txt"), &environment)?;
    step("conformance: PyTorch models", || {
        Run::new(python).arg(folder().join("torch_models.py")).arg(folder().join("torch")).run()
    })
}

fn folder() -> PathBuf {
    root().join("tests/conformance")
}
