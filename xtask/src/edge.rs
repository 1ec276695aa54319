//! The worker: its module and one bundled script, ready for workerd and for `wrangler deploy`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    shell::{Key, Run, copy, exclusive, root, step, unless_done, write},
    wasm,
};

/// The worker's folder.
pub(crate) fn dir() -> PathBuf {
    root().join("edge-worker")
}

/// Bundles what [`wasm::build`] left into `edge-worker/build`.
pub(crate) fn build() -> Result<()> {
    bundle(&wasm::worker_dir()?, &dir())
}

/// Builds the worker that `tests/bench` compares ours with.
pub(crate) fn build_hello() -> Result<()> {
    bundle(&wasm::build_hello()?, &root().join("tests/bench/hello-worker"))
}

/// Bundles a bound module and the folder's scripts, of which `shim.js` is the entry, into the folder's `build`.
fn bundle(from: &Path, folder: &Path) -> Result<()> {
    let _alone = exclusive()?;
    let (scripts, to) = (scripts(folder)?, folder.join("build"));
    let key = Key::default().file(&from.join("index.js"))?.file(&from.join("index_bg.wasm"))?;
    let key = scripts.iter().try_fold(key, |key, path| key.file(path))?.hex();
    let (script, module) = (to.join("index.js"), to.join("index_bg.wasm"));
    unless_done(&to.join(".stamp"), &key, &[&script, &module], || {
        step("worker: bundle", || {
            fs::create_dir_all(to)?;
            for path in &scripts {
                copy(path, &from.join(path.file_name().unwrap_or_default()))?;
            }
            Run::npm_bin("esbuild")
                .args(["shim.js", "--bundle", "--format=esm", "--minify", "--log-level=warning"])
                .args(["--external:./index_bg.wasm", "--external:cloudflare:*"])
                .arg(format!("--outfile={}", script.display()))
                .dir(from)
                .run()?;
            // workerd takes a module import, not the source-phase one the binding is written with.
            let text = fs::read_to_string(&script)?.replace("import source ", "import ");
            write(&script, text.as_bytes())?;
            copy(&from.join("index_bg.wasm"), &module)
        })
    })
}

/// The folder's own scripts, in order.
fn scripts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "js") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
