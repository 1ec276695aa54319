//! The worker in workerd on loopback, for as long as the demo runs.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Child,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    edge,
    shell::{Run, root},
};

/// A running worker; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) url: String,
    pub(crate) token: String,
    child: Child,
}

impl Worker {
    /// Starts it with a bundle, and waits until it listens.
    pub(crate) fn start(bundle: &Path, port: u16) -> Result<Self> {
        let mut child = Run::new("node")
            .arg(root().join("xtask/js/worker.mjs"))
            .arg(edge::dir().join("build"))
            .arg(bundle)
            .arg(port.to_string())
            .spawn()?;
        let out = child.stdout.take().context("the worker has no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let said: Value = match serde_json::from_str(&line) {
            Ok(said) => said,
            Err(_) => {
                let status = child.wait()?;
                bail!("workerd did not start ({status}); its message is above");
            }
        };
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        Ok(Self { url: text("url"), token: text("token"), child })
    }

    /// Waits until it is stopped from outside.
    pub(crate) fn wait(mut self) -> Result<()> {
        // Waiting closes a child's standard input, which is what tells this one to stop.
        let _open = self.child.stdin.take();
        let status = self.child.wait()?;
        bail!("the worker ended ({status})")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Closing its standard input asks the driver to stop workerd, and then itself.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
