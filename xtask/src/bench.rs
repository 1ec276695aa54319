//! `cargo xtask bench`: ours and the peers on the same models and rows. Builds and fetches what they need, into caches
//! of their own; what is measured, and how, is `tests/bench`'s business.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{
    edge, native, setup,
    shell::{Key, Run, cache_dir, copy, exclusive, root, step, unless_done},
    wasm, web,
};

mod scale;
mod training;

const MODELS: [&str; 4] = ["mlp", "trees", "conv1d", "gru"];

/// Options of the bench.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fails when something got worse than the committed ledger allows; writes nothing
    #[arg(long)]
    check: bool,
    /// Fewer rounds, to see that all runs; writes nothing
    #[arg(long)]
    quick: bool,
    /// Measures only this: size, cold, score, native, events, edge, memory; of --scale compare, growth, models, whole;
    /// may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Measures training against scikit-learn, LightGBM, mord and PyTorch instead; installs several gigabytes into the cache
    #[arg(long, conflicts_with_all = ["check", "only", "scale"])]
    training: bool,
    /// Measures features, scores and memory at up to a hundred million events instead; needs 10 GB of disk for all of it
    #[arg(long, conflicts_with = "check")]
    scale: bool,
    /// The time that --scale is given once it is built: sizes that do not fit give way to smaller ones, and it says so
    #[arg(long, value_name = "N", default_value_t = 60, requires = "scale")]
    minutes: u64,
    /// Threads that each contestant of --training may use: one on a machine that others use too
    #[arg(long, value_name = "N", default_value_t = 2, requires = "training")]
    threads: usize,
}

/// Builds everything, then lets Node drive the measuring.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.training {
        return training::run(args.quick, args.threads);
    }
    if args.scale {
        return scale::run(args.quick, args.minutes, &args.only);
    }
    setup::run()?;
    wasm::build()?;
    web::build()?;
    edge::build()?;
    edge::build_hello()?;
    native::build()?;
    let cache = cache_dir("bench")?;
    let (python, program) = prepare(&cache)?;
    let mut node = Run::new("node").arg(folder().join("run.js")).arg(&cache).arg(python).arg(program);
    for (flag, wanted) in [("--check", args.check), ("--quick", args.quick)] {
        if wanted {
            node = node.arg(flag);
        }
    }
    for name in &args.only {
        node = node.args(["--only", name]);
    }
    if let Some(chrome) = setup::find_chromium()? {
        node = node.env("CHROME", chrome);
    }
    node.shown().limit(90 * 60).run()
}

fn folder() -> PathBuf {
    root().join("tests/bench")
}

/// The peers, the models and the native contestants; returns Python and the native program.
fn prepare(cache: &Path) -> Result<(PathBuf, PathBuf)> {
    let _alone = exclusive()?;
    npm()?;
    let python = setup::python_with(&folder().join("requirements.txt"), &cache.join("python"))?;
    let models = cache.join("models");
    make_models(&python, &models)?;
    import(&models)?;
    Ok((python, contestants(&cache.join("native"))?))
}

fn npm() -> Result<()> {
    let modules = folder().join("node_modules");
    let key = Key::default().file(&folder().join("package-lock.json"))?.hex();
    unless_done(&modules.join(".tiercast"), &key, &[&modules.join("onnxruntime-web")], || {
        step("bench: npm peers", || {
            Run::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).dir(folder()).run()
        })
    })
}

fn make_models(python: &Path, models: &Path) -> Result<()> {
    let script = folder().join("models.py");
    let key = Key::default().file(&script)?.file(&folder().join("requirements.txt"))?.hex();
    let last = models.join("gru.expected");
    unless_done(&models.join(".stamp"), &key, &[&last], || {
        step("bench: models", || Run::new(python).arg(&script).arg(models).run())
    })
}

/// Each model as a bundle for the compact engine, and as one that keeps its ONNX; and the tier bundle of the tests.
fn import(models: &Path) -> Result<()> {
    step("bench: import", || {
        for model in MODELS {
            for (file, engine) in [(model.to_owned(), "plan"), (format!("{model}.tract"), "onnx")] {
                let import = Run::new(native::program("tiercast")).args(["import", "--engine", engine]);
                let (onnx, bundle) = (format!("{file}.onnx"), format!("{file}.tcb"));
                import.arg(models.join(onnx)).arg("-o").arg(models.join(bundle)).run()?;
            }
        }
        copy(&root().join("tests/fixtures/fixture.tcb"), &models.join("tier.tcb"))
    })
}

/// The native contestants, optimised as a release is; tract takes minutes the first time.
fn contestants(target: &Path) -> Result<PathBuf> {
    step("bench: native contestants", || {
        Run::cargo()
            .args(["build", "--locked", "--release", "-p", "tiercast-tests", "--bin", "bench"])
            .args(["--features", "bench"])
            .env("CARGO_TARGET_DIR", target)
            .run()
    })?;
    Ok(target.join("release/bench").with_extension(std::env::consts::EXE_EXTENSION))
}
