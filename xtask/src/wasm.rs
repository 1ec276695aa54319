//! The two wasm modules: compiled together, bound to JavaScript, optimised.
//!
//! Binding and optimising are done again only when the compiled module changed:
//! optimising tract takes minutes.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Result, anyhow};
use wasm_bindgen_cli_support::Bindgen;

use crate::{
    setup,
    shell::{Key, Run, cache_dir, copy, exclusive, root, step, target_dir, unless_done},
};

/// `-O1` because on tract it is the quickest and downloads smallest: 30 s and
/// 2.60 MB after gzip, where `-O2` takes 52 s for 2.69 and `-Oz` 73 s for 2.67.
///
/// The features are those that Rust's wasm32 target and our own flags use; naming
/// them keeps wasm-opt from writing encodings that workerd refuses.
const OPTIMISE: [&str; 10] = [
    "-O1",
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-multivalue",
    "--enable-reference-types",
    // How a binding notices that its module was aborted.
    "--enable-exception-handling",
];

/// How many optimised modules are kept: enough to switch between branches.
const KEPT: usize = 8;

/// A crate that becomes a wasm module with its JavaScript.
#[derive(Debug)]
struct Module {
    krate: &'static str,
    out_name: &'static str,
    bind: fn(&mut Bindgen) -> Result<()>,
}

const PACKAGE: Module = Module {
    krate: "tiercast_wasm",
    out_name: "tiercast_wasm",
    bind: |bindgen| {
        // The package's entry files say where the module is.
        bindgen.web(true)?.typescript(true).omit_default_module_path(true);
        Ok(())
    },
};

const WORKER: Module = Module {
    krate: "tiercast_edge",
    out_name: "index",
    bind: |bindgen| {
        // A worker is long-lived: after a panic its module is instantiated anew.
        bindgen.module(true)?.typescript(false).reset_state_function(true).force_enable_abort_handler(true);
        Ok(())
    },
};

/// Where the npm package's module and binding are.
pub(crate) fn package_dir() -> PathBuf {
    root().join("web/pkg")
}

/// Where the worker's module and binding are, before they are bundled.
pub(crate) fn worker_dir() -> Result<PathBuf> {
    cache_dir("worker")
}

/// Compiles, binds and optimises both modules.
pub(crate) fn build() -> Result<()> {
    let _alone = exclusive()?;
    compile()?;
    let worker = worker_dir()?;
    thread::scope(|scope| {
        let other = scope.spawn(|| PACKAGE.finish(&package_dir()));
        WORKER.finish(&worker)?;
        other.join().map_err(|_| anyhow!("the package's build panicked"))?
    })
}

fn compile() -> Result<()> {
    step("wasm: compile", || {
        Run::cargo()
            .args(["build", "--locked", "--profile", "wasm", "--target", setup::WASM])
            .args(["-p", "tiercast-wasm", "-p", "tiercast-edge"])
            // Flags for the host would replace those of `.cargo/config.toml`.
            .unset("RUSTFLAGS")
            .run()
    })
}

impl Module {
    fn finish(&self, dir: &Path) -> Result<()> {
        let input = target_dir().join(setup::WASM).join("wasm").join(format!("{}.wasm", self.krate));
        let key = Key::default().word(&OPTIMISE.join(" ")).file(&input)?.hex();
        let module = dir.join(format!("{}_bg.wasm", self.out_name));
        let script = dir.join(format!("{}.js", self.out_name));
        unless_done(&dir.join(".stamp"), &key, &[&module, &script], || {
            step(&format!("wasm: bind and optimise {}", self.krate), || {
                let mut bindgen = Bindgen::new();
                bindgen.input_path(&input).out_name(self.out_name);
                (self.bind)(&mut bindgen)?;
                bindgen.generate(dir)?;
                optimise(&module)
            })
        })
    }
}

/// Optimises a module in place, or takes the result of an earlier run on the same bytes.
fn optimise(module: &Path) -> Result<()> {
    let cache = cache_dir("wasm-opt")?;
    let key =
        Key::default().word(&OPTIMISE.join(" ")).file(&root().join("package-lock.json"))?.file(module)?;
    let kept = cache.join(format!("{}.wasm", key.hex()));
    if !kept.is_file() {
        let partial = kept.with_extension("partial");
        Run::npm_bin("wasm-opt").args(OPTIMISE).arg(module).arg("-o").arg(&partial).run()?;
        fs::rename(&partial, &kept)?;
        forget_oldest(&cache)?;
    }
    copy(&kept, module)
}

fn forget_oldest(cache: &Path) -> Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    for (_, path) in files.iter().rev().skip(KEPT) {
        fs::remove_file(path)?;
    }
    Ok(())
}
