//! Gives the module a small stack: it counts as memory in use, and the compact engine needs little of it.

use std::env;

/// Bytes; a multiple of 16. Measured: scoring, loading and proving a bundle stay below a quarter of it.
const STACK: u32 = 64 << 10;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // tract reads models recursively: it keeps the linker's mebibyte.
    let is_wasm = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    if is_wasm && env::var_os("CARGO_FEATURE_ONNX").is_none() {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={STACK}");
    }
}
