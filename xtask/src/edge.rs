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

/// Bundles a bound module and the folder's `shim.js` into the folder's `build`.
fn bundle(from: &Path, folder: &Path) -> Result<()> {
    let _alone = exclusive()?;
    let (shim, to) = (folder.join("shim.js"), folder.join("build"));
    let key =
        Key::default().file(&shim)?.file(&from.join("index.js"))?.file(&from.join("index_bg.wasm"))?.hex();
    let (script, module) = (to.join("index.js"), to.join("index_bg.wasm"));
    unless_done(&to.join(".stamp"), &key, &[&script, &module], || {
        step("worker: bundle", || {
            fs::create_dir_all(to)?;
            copy(&shim, &from.join("shim.js"))?;
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
