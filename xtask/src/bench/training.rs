//! `cargo xtask bench --training`: fits of our models and of other trainers' on the same rows.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::folder;
use crate::{
    native, setup,
    shell::{Key, Run, cache_dir, exclusive, step, unless_done},
};

/// Builds and fetches what it needs, writes the rows, then lets Node drive the measuring.
pub(super) fn run(quick: bool, threads: usize) -> Result<()> {
    native::build_training()?;
    let cache = cache_dir("bench-training")?;
    let (rows, [python, torch]) = prepare(&cache)?;
    let run = Run::new("node").arg(folder().join("training.js")).arg(rows).arg(python).arg(torch);
    let run = run.arg(native::program("training")).arg("--threads").arg(threads.to_string());
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
    let (program, rows) = (native::program("training"), cache.join("rows"));
    let key = Key::default().file(&program)?.hex();
    let last = rows.join("made-up/set.json");
    unless_done(&cache.join("rows.stamp"), &key, &[&last], || {
        // Data in a folder of its own: a project file that somebody edited would be kept, and be another problem.
        let run = Run::new(&program).arg("rows").arg(&rows).arg(cache.join("data"));
        step("bench: rows", || run.limit(1200).run())
    })?;
    Ok(rows)
}
