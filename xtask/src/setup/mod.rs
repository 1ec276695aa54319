//! What a fresh machine lacks, fetched once: the Rust targets, Chromium, the npm tools, Python's pip and venv; and a
//! Vulkan driver, where a test of graphics cards asks for it, and Prometheus, where a worker is watched.
//!
//! Nothing here names a server: Rust comes through rustup or the machine's own
//! package sources, Chromium through the package manager, the tools through npm.

mod apt;
mod chromium;
mod npm;
mod prometheus;
mod python;
mod rust_source;
mod rust_target;
mod vulkan;

pub(crate) use chromium::find as find_chromium;
pub(crate) use prometheus::{Prometheus, ensure as prometheus};
pub(crate) use python::with as python_with;
pub(crate) use vulkan::ensure as vulkan;

use anyhow::Result;

/// The target of the browser package and of the worker.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";
/// A machine without an operating system: `core` must build for it.
pub(crate) const BARE: &str = "thumbv7em-none-eabi";

/// Makes sure that everything is there but [`vulkan`] and [`prometheus`], which one step and one command alone need.
pub(crate) fn run() -> Result<()> {
    npm::ensure()?;
    python::ensure()?;
    rust_target::ensure(WASM, "std,panic_abort,test")?;
    rust_target::ensure(BARE, "core,alloc")?;
    chromium::ensure()
}
