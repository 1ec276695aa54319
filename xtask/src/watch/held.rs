//! A program that runs as long as this one does, however this one ends.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Child,
};

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{Run, root};

/// A running program; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    name: &'static str,
    child: Child,
}

impl Held {
    /// The program, to be given its arguments; it is ready when the address answers.
    pub(crate) fn run(ready: &str, program: &Path) -> Run {
        Run::new("node").arg(root().join("xtask/js/hold.mjs")).arg(ready).arg(program)
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(name: &'static str, run: Run) -> Result<Self> {
        let mut held = Self { name, child: run.spawn()? };
        let out = held.child.stdout.take().with_context(|| format!("{name} has no output"))?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "{name} did not start; its message is above");
        Ok(held)
    }

    /// An error once it has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended ({status}); its message is above", self.name),
            None => Ok(()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing its standard input asks for its end.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
