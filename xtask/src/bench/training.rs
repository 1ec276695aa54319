//! `cargo xtask bench --training`: fits of our models and of other trainers' on the same rows.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::folder;
use crate::{
    native, setup,
    shell::{Key, Run, cache_dir, exclusive, step, unless_done},
};

/// Builds and fetches what it needs, writes the rows, then lets Node drive the measuring.
pub(super) fn run(quick: bool) -> Result<()> {
    native::build_training()?;
    let cache = cache_dir("bench-training")?;
    let (rows, [python, torch]) = prepare(&cache)?;
    let run = Run::new("node").arg(folder().join("training.js")).arg(rows).arg(python).arg(torch);
    let run = run.arg(native::program("training"));
    if quick { run.arg("--quick") } else { run }.shown().limit(90 * 60).run()
}

/// The rows, and the interpreters of the peers. PyTorch has its own: its threads and scikit-learn's would share a runtime.
fn prepare(cache: &Path) -> Result<(PathBuf, [PathBuf; 2])> {
    let _alone = exclusive()?;
    let python = setup::python_with(&folder().join("requirements-training.txt"), &cache.join("python"))?;
    let torch = setup::python_with(&folder().join("requirements-training-torch.txt"), &cache.join("torch"))?;
    Ok((write_rows(cache)?, [python, torch]))
}

/// One split of each known data set and made-up rows, as numbers.
fn write_rows(cache: &Path) -> Result<PathBuf> {
    let fetch = |set: &str| -> Result<PathBuf> {
        let projects =
            Run::new(native::program("tiercast")).args(["data", "fetch", set]).limit(1200).output()?;
        let first =
            projects.lines().next().with_context(|| format!("{set} was fetched without a project"))?;
        Ok(first.into())
    };
    let (program, rows) = (native::program("training"), cache.join("rows"));
    let projects = [fetch("complete-journey")?, fetch("cdnow")?];
    let key = Key::default().file(&program)?.file(&projects[0])?.file(&projects[1])?.hex();
    let last = rows.join("made-up/set.json");
    unless_done(&cache.join("rows.stamp"), &key, &[&last], || {
        step("bench: rows", || Run::new(&program).arg("rows").arg(&rows).args(&projects).run())
    })?;
    Ok(rows)
}
