//! The WebAssembly modules: compiled, bound to JavaScript, optimised.
//!
//! Binding and optimising are done again only when the compiled module changed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, anyhow, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::{
    setup,
    shell::{Key, Run, cache_dir, copy, exclusive, root, step, target_dir, unless_done},
};

/// The features are those that Rust's wasm32 target and our own flags use; naming
/// them keeps wasm-opt from writing encodings that workerd refuses.
const FEATURES: [&str; 9] = [
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

/// Unlike `RUSTFLAGS`, it comes after the flags of `.cargo/config.toml` and leaves them in force.
const WITHOUT_SIMD: &str = r#"target.wasm32-unknown-unknown.rustflags = ["-C", "target-feature=-simd128"]"#;

/// How many optimised modules are kept: enough to switch between branches.
const KEPT: usize = 16;

/// A crate, built in one way, that becomes a wasm module with its JavaScript.
#[derive(Debug)]
struct Module {
    /// What steps and caches call it.
    name: &'static str,
    package: &'static str,
    features: &'static str,
    simd: bool,
    /// Cargo's profile: `wasm` is small, `edge` is quick, `onnx` keeps tract's crates apart.
    profile: &'static str,
    /// Where it goes in the npm package; a worker's goes into the cache.
    folder: Option<&'static str>,
    optimise: &'static [&'static str],
}

/// What is called rarely stays apart from its one caller, as V8 compiles a function when it is first called: measured, half a
/// millisecond of a cold start, and smaller after gzip.
const APART: &str = "--one-caller-inline-max-function-size=15";

/// Constants below 1024 are added by the loads and stores themselves: nothing is ever kept so low in memory, where the stack,
/// which grows towards it, has its last kilobyte.
const OFFSETS: &str = "--low-memory-unused";

/// For the compact ones.
const SMALL: &[&str] = &["-Oz", APART, OFFSETS];

/// What each is compiled for, size or speed, is in the workspace's `Cargo.toml`.
const MODULES: [Module; 5] = [
    Module {
        name: "tiers",
        package: "tiercast-wasm",
        features: "",
        simd: true,
        profile: "wasm",
        folder: Some(""),
        optimise: SMALL,
    },
    Module {
        name: "all kernels",
        package: "tiercast-wasm",
        features: "all-kernels",
        simd: true,
        profile: "wasm",
        folder: Some("all"),
        optimise: SMALL,
    },
    Module {
        name: "without SIMD",
        package: "tiercast-wasm",
        features: "all-kernels",
        simd: false,
        profile: "wasm",
        folder: Some("scalar"),
        optimise: SMALL,
    },
    // `-O1`: on tract, higher levels took longer and gave larger downloads.
    Module {
        name: "ONNX",
        package: "tiercast-wasm",
        features: "onnx",
        simd: true,
        profile: "onnx",
        folder: Some("onnx"),
        optimise: &["-O1"],
    },
    Module {
        name: "worker",
        package: "tiercast-edge",
        features: "",
        simd: true,
        profile: "edge",
        folder: None,
        // The second for the upload's size, of which it is a hundredth; in a request's time it did not show.
        optimise: &["-O2", "-Os", APART, OFFSETS, "--converge"],
    },
];

/// What `tests/bench` compares the worker with; its manifest is not in the workspace.
const HELLO: Module = Module {
    name: "hello-worker",
    package: "tiercast-hello-worker",
    features: "",
    simd: true,
    profile: "edge",
    folder: None,
    optimise: &["-O2"],
};

/// The manifest of [`HELLO`].
pub(crate) const HELLO_MANIFEST: &str = "tests/bench/hello-worker/Cargo.toml";

/// Where the npm package's modules and bindings are.
pub(crate) fn package_dir() -> PathBuf {
    root().join("web/pkg")
}

/// Where the worker's module and binding are, before they are bundled.
pub(crate) fn worker_dir() -> Result<PathBuf> {
    cache_dir("worker")
}

/// Whether this process has made all modules. Cargo would link those that it leaves under one name again each time.
static ARE_MADE: AtomicBool = AtomicBool::new(false);

/// Compiles, binds and optimises all modules, once.
pub(crate) fn build() -> Result<()> {
    let _alone = exclusive()?;
    if ARE_MADE.load(Ordering::Relaxed) {
        return Ok(());
    }
    // A module is linked on one core, so that two are made at a time; those of one profile cargo leaves under one name.
    thread::scope(|scope| {
        let (package, others): (Vec<_>, Vec<_>) = MODULES.iter().partition(|module| module.profile == "wasm");
        let make = |modules: Vec<&Module>| {
            modules.into_iter().try_for_each(|module| module.compile().and_then(|()| module.finish()))
        };
        let other = scope.spawn(move || make(others));
        make(package)?;
        other.join().map_err(|_| anyhow!("a module's build panicked"))?
    })?;
    one_binding()?;
    ARE_MADE.store(true, Ordering::Relaxed);
    Ok(())
}

/// The same for the worker's module alone.
pub(crate) fn build_worker() -> Result<()> {
    let _alone = exclusive()?;
    let mut workers = MODULES.iter().filter(|module| module.folder.is_none());
    workers.try_for_each(|module| module.compile().and_then(|()| module.finish()))
}

/// Compiles, binds and optimises the hello-world worker; returns where it is.
pub(crate) fn build_hello() -> Result<PathBuf> {
    let _alone = exclusive()?;
    HELLO.compile()?;
    HELLO.finish()?;
    HELLO.dir()
}

/// The entries of the package choose among the compact modules while they run, and have one binding for them.
fn one_binding() -> Result<()> {
    let script = |folder: &str| fs::read_to_string(package_dir().join(folder).join("tiercast_wasm.js"));
    let tiers = script("")?;
    for folder in ["all", "scalar"] {
        if script(folder)? != tiers {
            bail!(
                "the binding in web/pkg/{folder} differs from that in web/pkg: their exports and imports must agree"
            );
        }
    }
    Ok(())
}

impl Module {
    /// Leaves the compiled module where [`Module::compiled`] says.
    fn compile(&self) -> Result<()> {
        step(&format!("wasm: compile {}", self.name), || {
            let mut run = Run::cargo()
                .args(["build", "--locked", "--profile", self.profile, "--target", setup::WASM])
                .args(["-p", self.package, "--features", self.features])
                // Flags for the host would replace those of `.cargo/config.toml`.
                .unset("RUSTFLAGS");
            if self.name == HELLO.name {
                run = run.arg("--manifest-path").arg(root().join(HELLO_MANIFEST));
            }
            if !self.simd {
                // Other flags compile everything again: in a folder of their own they do it once.
                run = run.args(["--config", WITHOUT_SIMD]).arg("--target-dir").arg(self.target()?);
            }
            run.run()?;
            let built = format!("{}.wasm", self.package.replace('-', "_"));
            copy(&self.target()?.join(setup::WASM).join(self.profile).join(built), &self.compiled()?)
        })
    }

    fn target(&self) -> Result<PathBuf> {
        if self.simd { Ok(target_dir()) } else { cache_dir("scalar") }
    }

    fn compiled(&self) -> Result<PathBuf> {
        Ok(cache_dir("compiled")?.join(self.name).with_extension("wasm"))
    }

    fn dir(&self) -> Result<PathBuf> {
        self.folder.map_or_else(|| cache_dir(self.name), |folder| Ok(package_dir().join(folder)))
    }

    fn finish(&self) -> Result<()> {
        let (input, dir) = (self.compiled()?, self.dir()?);
        let name = if self.folder.is_some() { "tiercast_wasm" } else { "index" };
        let key = Key::default().word(&self.optimise.join(" ")).word(&FEATURES.join(" ")).file(&input)?.hex();
        let module = dir.join(format!("{name}_bg.wasm"));
        let script = dir.join(format!("{name}.js"));
        unless_done(&dir.join(".stamp"), &key, &[&module, &script], || {
            step(&format!("wasm: bind and optimise {}", self.name), || {
                let mut bindgen = Bindgen::new();
                bindgen.input_path(&input).out_name(name);
                if self.folder.is_some() {
                    // The package's entry files say where the module is.
                    bindgen.web(true)?.typescript(true).omit_default_module_path(true);
                } else {
                    // A worker is long-lived: after a panic its module is instantiated anew.
                    bindgen.module(true)?.typescript(false);
                    bindgen.reset_state_function(true).force_enable_abort_handler(true);
                }
                bindgen.generate(&dir)?;
                self.optimise(&module)
            })
        })
    }

    /// Optimises in place, or takes the result of an earlier run on the same bytes.
    fn optimise(&self, module: &Path) -> Result<()> {
        let cache = cache_dir("wasm-opt")?;
        let key = Key::default().word(&self.optimise.join(" ")).word(&FEATURES.join(" "));
        let key = key.file(&root().join("package-lock.json"))?.file(module)?;
        let kept = cache.join(format!("{}.wasm", key.hex()));
        if !kept.is_file() {
            let partial = kept.with_extension("partial");
            let run = Run::npm_bin("wasm-opt").args(self.optimise).args(FEATURES);
            run.arg(module).arg("-o").arg(&partial).run()?;
            fs::rename(&partial, &kept)?;
            forget_oldest(&cache)?;
        }
        copy(&kept, module)
    }
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
