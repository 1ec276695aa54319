//! The standard library's source of exactly this compiler.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::apt;
use crate::shell::cache_dir;

/// A `library` folder that matches `rustc`, from the first place that has one:
/// `TIERCAST_RUST_SRC`, the sysroot, what an earlier run unpacked, the distribution.
pub(crate) fn library(version: &str, sysroot: &Path) -> Result<PathBuf> {
    if let Some(dir) = env::var_os("TIERCAST_RUST_SRC") {
        let dir = PathBuf::from(dir);
        return match is_library(&dir) {
            true => Ok(dir.canonicalize()?),
            false => bail!(
                "TIERCAST_RUST_SRC is {}, which is not the `library` folder of Rust's source (it has no core/src/lib.rs)",
                dir.display()
            ),
        };
    }
    let installed = sysroot.join("lib/rustlib/src/rust/library");
    if is_library(&installed) {
        return Ok(installed.canonicalize()?);
    }
    let cache = cache_dir(&format!("rust-src-{version}"))?;
    if let Some(found) = unpacked(&cache, version) {
        return Ok(found);
    }
    from_distribution(version, &cache)?;
    unpacked(&cache, version)
        .with_context(|| format!("the distribution's package holds no library folder of {version}"))
}

fn is_library(dir: &Path) -> bool {
    dir.join("core/src/lib.rs").is_file()
}

fn unpacked(cache: &Path, version: &str) -> Option<PathBuf> {
    let dir = cache.join("usr/src").join(format!("rustc-{version}")).join("library");
    is_library(&dir).then_some(dir)
}

/// Looks through the releases that follow the machine's own for the exact version.
fn from_distribution(version: &str, cache: &Path) -> Result<()> {
    let own = apt::archives();
    if own.is_empty() {
        bail!("this machine has no apt sources to look in");
    }
    let short = version.rsplit_once('.').map_or(version, |(short, _)| short);
    let packages = ["rust-src".to_owned(), "rust-web-src".to_owned(), format!("rust-{short}-src")];
    let mut seen = Vec::new();
    let mut unread = None;
    for archive in apt::newer_suites(&own) {
        let suite = match apt::Suite::open(&archive, &cache.join("apt")) {
            Ok(suite) => suite,
            Err(error) => {
                unread = Some(error);
                continue;
            }
        };
        for package in &packages {
            let versions = suite.versions(package);
            if let Some(exact) = versions.iter().find(|v| is_version(v, version)) {
                suite.unpack(package, exact, cache)?;
                fs::remove_dir_all(cache.join("apt"))?;
                return Ok(());
            }
            seen.extend(versions);
        }
    }
    seen.sort();
    seen.dedup();
    match unread {
        // A suite that does not exist is no news unless none could be read.
        Some(error) if seen.is_empty() => {
            Err(error.context("the distribution's package lists cannot be read"))
        }
        _ => bail!("the distribution has no Rust source of version {version} (it has: {})", seen.join(", ")),
    }
}

fn is_version(package: &str, rustc: &str) -> bool {
    package
        .strip_prefix(rustc)
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exactly_this_version_is_taken() {
        assert!(is_version("1.95.0+dfsg1-1~bpo13+1", "1.95.0"));
        assert!(!is_version("1.95.01", "1.95.0"));
        assert!(!is_version("1.94.0+dfsg1-1", "1.95.0"));
    }
}
