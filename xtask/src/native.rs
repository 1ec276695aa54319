//! The native crates. They are always selected together: cargo unifies features
//! over what is selected, and another selection would compile DataFusion and tract again.

use std::path::PathBuf;

use anyhow::Result;

use crate::shell::{Run, step, target_dir};

/// The default members, and the worker: outside wasm it needs nothing that changes their features.
const SELECTION: [&str; 10] = [
    "-p",
    "tiercast",
    "-p",
    "tiercast-models",
    "-p",
    "tiercast-core",
    "-p",
    "tiercast-tests",
    "-p",
    "tiercast-edge",
];

/// A cargo command on the native crates.
pub(crate) fn cargo(command: &str) -> Run {
    Run::cargo().arg(command).arg("--locked").args(SELECTION)
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
