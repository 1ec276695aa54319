//! `cargo xtask miri`: core's `unsafe` in an interpreter that stops at undefined behaviour.
//!
//! It needs a nightly compiler, so it is no step of `cargo xtask test`: run it when `core/src/engine/wide.rs` changes.

use anyhow::Result;

use crate::shell::{Run, cache_dir, step};

/// Pinned, so that the same command gives the same answer.
const TOOLCHAIN: &str = "nightly-2026-10-30";

/// Fetches the toolchain where it is missing, and runs the tests.
pub(crate) fn run() -> Result<()> {
    step("miri: toolchain", || {
        let install = ["toolchain", "install", TOOLCHAIN, "--profile", "minimal", "--no-self-update"];
        Run::new("rustup").args(install).args(["-c", "miri", "-c", "rust-src"]).run()
    })?;
    let target = cache_dir("miri")?;
    Run::new("rustup")
        .args(["run", TOOLCHAIN, "cargo", "miri", "test", "-p", "tiercast-core", "--lib"])
        .args(["--no-default-features", "--features", "std,all-kernels", "engine::wide"])
        // The processor that Miri plays has what the code asks for.
        .env("RUSTFLAGS", "-Ctarget-feature=+avx2,+avx512f")
        .arg("--target-dir")
        .arg(&target)
        .unset("CARGO")
        .shown()
        .run()
}
