//! The npm package and the demo page, by the scripts of `web/package.json`.

use std::path::PathBuf;

use anyhow::Result;

use crate::shell::{Key, Run, exclusive, root, step, unless_done};

/// The package's folder.
pub(crate) fn dir() -> PathBuf {
    root().join("web")
}

/// Compiles the TypeScript beside the binding that [`crate::wasm::build`] left.
pub(crate) fn build() -> Result<()> {
    let _alone = exclusive()?;
    let key = Key::default().tree(&dir(), &["dist", "node_modules", "test", ".stamp"])?.hex();
    let dist = dir().join("dist");
    unless_done(
        &dist.join(".stamp"),
        &key,
        &[&dist.join("index.js"), &dir().join("demo/dist/index.html")],
        || {
            step("web: build", || {
                script("build")?;
                script("build:demo")
            })
        },
    )
}

/// One script of the package, to be run.
pub(crate) fn run(script: &str) -> Run {
    Run::new("npm").args(["run", "--silent", script]).dir(dir()).limit(1200)
}

/// Runs one script of the package to its end.
pub(crate) fn script(name: &str) -> Result<()> {
    run(name).run()
}
