//! The native crates. They are always selected together: cargo unifies features
//! over what is selected, and another selection would compile DataFusion and tract again.

use std::path::PathBuf;

use anyhow::Result;

use crate::shell::{Run, step, target_dir};

/// The default members, and the worker: outside wasm it needs nothing that changes their features.
const SELECTION: [&str; 8] =
    ["-p", "tiercast", "-p", "tiercast-core", "-p", "tiercast-tests", "-p", "tiercast-edge"];

/// A cargo command on the native crates.
pub(crate) fn cargo(command: &str) -> Run {
    Run::cargo().arg(command).arg("--locked").args(SELECTION)
}

/// Builds the programs.
pub(crate) fn build() -> Result<()> {
    step("native: build", || cargo("build").arg("--bins").run())
}

/// Builds ours of the training bench, its own code as fully optimised as a release's.
pub(crate) fn build_training() -> Result<()> {
    let build = || {
        cargo("build").args([
            "--config",
            "profile.dev.package.tiercast.opt-level=3",
            "--features",
            "tiercast-tests/training",
            "--bin",
            "training",
            "--bin",
            "tiercast",
        ])
    };
    step("native: build", || build().run())
}

/// A program that [`build`] left.
pub(crate) fn program(name: &str) -> PathBuf {
    target_dir().join("debug").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}
