//! The native crates. They are always selected together: cargo unifies features
//! over what is selected, and another selection would compile DataFusion and tract again.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Result, bail};

use crate::shell::{Run, step, target_dir};

/// The default members.
const SELECTION: [&str; 8] =
    ["-p", "tiercast", "-p", "tiercast-models", "-p", "tiercast-core", "-p", "tiercast-tests"];

/// Built with them: outside wasm it needs nothing that changes their features.
const WORKER: [&str; 2] = ["-p", "tiercast-edge"];

/// Clippy's compiler, once builds are to lint what they compile.
static LINTER: OnceLock<PathBuf> = OnceLock::new();

/// How clippy's compiler is told to refuse every warning.
const REFUSE_WARNINGS: &str = "-D__CLIPPY_HACKERY__warnings";

/// Makes all further builds of native crates lint our own code while they compile it, by Clippy's compiler in rustc's place.
///
/// `cargo clippy` would check every dependency a second time.
///
/// # Errors
/// When the toolchain has no Clippy.
pub(crate) fn lint_what_is_built() -> Result<()> {
    let sysroot = Run::new("rustc").args(["--print", "sysroot"]).output()?;
    let driver =
        Path::new(sysroot.trim()).join("bin/clippy-driver").with_extension(std::env::consts::EXE_EXTENSION);
    if !driver.exists() {
        bail!("{} is missing: rustup component add clippy", driver.display());
    }
    LINTER.get_or_init(|| driver);
    Ok(())
}

/// A cargo command on the native crates; among the tests, of the program that can run on a cluster, so that it is compiled once.
pub(crate) fn cargo(command: &str) -> Run {
    let run = linted(command).args(WORKER);
    if LINTER.get().is_some() { run.args(["--features", "tiercast/cluster"]) } else { run }
}

/// A cargo command on the native crates with what trains on a graphics card, compiled to be tested once: without the cluster,
/// so that this program too is built, and hardly optimised, as compiling takes longer than running.
pub(crate) fn card(command: &str) -> Run {
    let levels = [("burn-flex", 0), ("burn-tensor", 0), ("tiercast", 0), ("tiercast-models", 1)];
    let levels = levels.map(|(name, level)| format!("profile.dev.package.{name}.opt-level={level}"));
    let options = levels.iter().flat_map(|option| ["--config", option.as_str()]);
    linted(command).args(options).args(["--features", "tiercast/wgpu"])
}

fn linted(command: &str) -> Run {
    let run = Run::cargo().arg(command).arg("--locked").args(SELECTION);
    match LINTER.get() {
        Some(driver) => run.env("RUSTC_WORKSPACE_WRAPPER", driver).env("CLIPPY_ARGS", REFUSE_WARNINGS),
        None => run,
    }
}

/// Builds the programs.
pub(crate) fn build() -> Result<()> {
    step("native: build", || cargo("build").arg("--bins").run())
}

/// What trains beside our own models, which every profile optimises: for the bench it is as a release has it.
const TRAINS: [&str; 10] = [
    "burn-autodiff",
    "burn-backend",
    "burn-core",
    "burn-dispatch",
    "burn-flex",
    "burn-nn",
    "burn-optim",
    "burn-std",
    "burn-tensor",
    "gemm-f32",
];

/// Builds ours of the training bench; DataFusion, which trains nothing, is the one of all other builds.
pub(crate) fn build_training() -> Result<()> {
    let optimised = TRAINS.map(|name| format!("profile.dev.package.{name}.opt-level=3"));
    let options = optimised.iter().flat_map(|option| ["--config", option.as_str()]);
    let build =
        cargo("build").args(options).args(["--features", "tiercast-tests/training", "--bin", "training"]);
    step("native: build for the training bench", || build.run())
}

/// A program that [`build`] left.
pub(crate) fn program(name: &str) -> PathBuf {
    target_dir().join("debug").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}
