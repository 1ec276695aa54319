//! A compilation target, from rustup or built from source into the sysroot.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::rust_source;
use crate::shell::{Run, cache_dir, find, step, write};

/// How long rustup may try: on a machine that cannot reach its server it would retry for long.
const RUSTUP_SECONDS: u64 = 90;

/// Makes sure that `rustc` can build `crates` (the parts of std that are needed) for `target`.
pub(crate) fn ensure(target: &str, crates: &str) -> Result<()> {
    let sysroot = PathBuf::from(Run::new("rustc").args(["--print", "sysroot"]).output()?.trim());
    if is_installed(&sysroot, target) {
        return Ok(());
    }
    step(&format!("setup: Rust target {target}"), || {
        let rustup = from_rustup(target);
        if rustup.is_ok() && is_installed(&sysroot, target) {
            return Ok(());
        }
        let built = from_source(&sysroot, target, crates).and_then(|()| probe(target));
        built.with_context(|| advice(target, rustup.err()))
    })
}

fn is_installed(sysroot: &Path, target: &str) -> bool {
    let dir = sysroot.join("lib/rustlib").join(target).join("lib");
    fs::read_dir(dir).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|e| {
                let name = e.file_name();
                let name = name.to_string_lossy();
                name.starts_with("liballoc-") && name.ends_with(".rlib")
            })
        })
    })
}

fn from_rustup(target: &str) -> Result<()> {
    if find("rustup").is_none() {
        bail!("rustup is not installed");
    }
    if std::env::var_os("TIERCAST_RUST_SRC").is_some() {
        bail!("TIERCAST_RUST_SRC is set, so rustup was not asked");
    }
    Run::new("rustup").args(["target", "add", target]).limit(RUSTUP_SECONDS).run()
}

fn advice(target: &str, rustup: Option<anyhow::Error>) -> String {
    let rustup = rustup.map(|e| format!("{e:#}")).unwrap_or_default();
    format!(
        "Rust cannot build for {target}.\n\
         rustup: {}\n\
         Ways out: run `rustup target add {target}` where its server can be reached; or get the `library` folder of the \
         source of exactly this `rustc --version` and set TIERCAST_RUST_SRC to it",
        rustup.trim()
    )
}

/// Builds the standard library for the target and puts it where `rustc` looks.
fn from_source(sysroot: &Path, target: &str, crates: &str) -> Result<()> {
    let version = rustc_version()?;
    let library = rust_source::library(&version, sysroot)?;
    eprintln!("  setup: building {crates} for {target} from {}", library.display());
    let empty = cache_dir(&format!("std-{target}"))?;
    write(
        &empty.join("Cargo.toml"),
        b"[package]\nname = \"empty\"\nedition = \"2024\"\n[workspace]\n[profile.release]\ndebug = false\n",
    )?;
    write(&empty.join("src/lib.rs"), b"#![no_std]\n")?;
    let out = empty.join("target");
    {
        let _link = SourceLink::new(sysroot, &library)?;
        Run::cargo()
            .args(["build", "--quiet", "--release", "--target", target])
            .arg(format!("-Zbuild-std={crates}"))
            .dir(&empty)
            .env("CARGO_TARGET_DIR", &out)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", "-Cembed-bitcode=yes")
            .limit(1200)
            .run()?;
    }
    install(&out.join(target).join("release/deps"), &sysroot.join("lib/rustlib").join(target))?;
    fs::remove_dir_all(&out).map_err(Into::into)
}

fn rustc_version() -> Result<String> {
    let text = Run::new("rustc").arg("--version").output()?;
    text.split_whitespace().nth(1).map(str::to_owned).context("`rustc --version` printed no version")
}

/// Moves the libraries into an empty folder first: a half-filled one would look installed.
fn install(from: &Path, to: &Path) -> Result<()> {
    let partial = to.with_extension("partial");
    let denied = || format!("cannot write to the Rust installation at {}", to.display());
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(denied)?;
    }
    fs::create_dir_all(partial.join("lib")).with_context(denied)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            fs::copy(&path, partial.join("lib").join(name)).with_context(denied)?;
        }
    }
    if to.exists() {
        fs::remove_dir_all(to).with_context(denied)?;
    }
    fs::rename(&partial, to).with_context(denied)
}

/// Compiles three lines for the target: the folder may be there and yet not fit the compiler.
fn probe(target: &str) -> Result<()> {
    let dir = cache_dir("probe")?;
    let source = dir.join("probe.rs");
    write(&source, b"#![no_std]\nextern crate alloc;\npub fn f() -> alloc::string::String { alloc::format!(\"{}\", 1) }\n")?;
    Run::new("rustc")
        .args(["--edition=2024", "--crate-type=rlib", "--target", target, "--out-dir"])
        .arg(&dir)
        .arg(&source)
        .run()
        .context("the standard library was built but the compiler does not take it")
}

/// Shows cargo the source where it insists on finding it, for the time of one build.
struct SourceLink(Option<PathBuf>);

impl SourceLink {
    fn new(sysroot: &Path, library: &Path) -> Result<Self> {
        let place = sysroot.join("lib/rustlib/src/rust/library");
        if place.canonicalize().is_ok_and(|there| there == library) {
            return Ok(Self(None));
        }
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        // A dangling link of an interrupted run is replaced; a real folder is not ours to remove.
        if place.is_symlink() {
            fs::remove_file(&place)?;
        }
        link(library, &place).with_context(|| format!("cannot link the source to {}", place.display()))?;
        Ok(Self(Some(place)))
    }
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(windows)]
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_dir(from, to)
}

impl Drop for SourceLink {
    fn drop(&mut self) {
        if let Some(place) = &self.0 {
            // A link that stays behind does no harm: the next run replaces it.
            let _ = fs::remove_file(place);
        }
    }
}
