//! The JavaScript tools, as the lock file pins them.

use std::{fs, time::Instant};

use anyhow::{Context, Result, bail};

use crate::shell::{Key, Run, find, root, seconds, unless_done};

const OLDEST_NODE: u32 = 20;

/// Installs the root `node_modules` unless it already is what the lock file says.
pub(crate) fn ensure() -> Result<()> {
    let node = node_version()?;
    let root = root();
    let lock = root.join("package-lock.json");
    let modules = root.join("node_modules");
    let key = Key::default().word(&node).file(&lock)?.hex();
    unless_done(&modules.join(".tiercast"), &key, &[&modules.join(".bin/wasm-opt")], || {
        let start = Instant::now();
        eprintln!("  setup: npm tools …");
        // None of the tools needs an install script, so none is run.
        Run::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .limit(900)
            .run()
            .context(
                "the npm tools could not be installed; check `npm ping`, then run `cargo xtask setup` again",
            )?;
        fs::create_dir_all(&modules)?;
        eprintln!("  setup: npm tools: {}", seconds(start.elapsed()));
        Ok(())
    })
}

fn node_version() -> Result<String> {
    let advice = "install Node 20 or newer, with npm, and put it on PATH";
    if find("node").is_none() || find("npm").is_none() {
        bail!("Node is missing: {advice}");
    }
    let version = Run::new("node").arg("--version").output()?.trim().to_owned();
    let major: Option<u32> = version.trim_start_matches('v').split('.').next().and_then(|m| m.parse().ok());
    match major {
        Some(major) if major >= OLDEST_NODE => Ok(version),
        _ => bail!("Node {version} is too old: {advice}"),
    }
}
