//! Prometheus and promtool: Debian's packages, by version and SHA-256, unpacked into a folder of ours. Nothing is installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use super::apt;
use crate::shell::{Key, Run, cache_dir, step, unless_done};

/// The release of Debian that has these packages; they run on older and newer ones, too (glibc 2.34 or newer).
const RELEASE: &str = "trixie";
const VERSION: &str = "2.53.3+ds1-2";
/// The programs, each with its SHA-256 for amd64 and for arm64.
const PROGRAMS: [(&str, &str, [&str; 2]); 2] = [
    (
        "prometheus",
        VERSION,
        [
            "58c3e6a86c56cb3bfd71032fa48d65945d526441a212f5815dfe5ed9cb787ecc",
            "59b459dee0ceef9c645a98166ea00f0d10946391a5d486505360e2d21cd1ddec",
        ],
    ),
    (
        "promtool",
        VERSION,
        [
            "ff27654eacc95abd846d344e91fe4ba3b4f0588a50d606ed1d2f09ad3408722f",
            "cc1d5889b4d2e2ef92a6984039d88c11993ad3c73f5e74acd3ee15adaefb764c",
        ],
    ),
];
/// What Prometheus's own pages are made of, the same for every processor.
const PAGES: [(&str, &str, &str); 11] = [
    (
        "fonts-glyphicons-halflings",
        "1.009~3.4.1+dfsg-6",
        "7be1e983daa6882810db4208f090d87bda7303b88e872e8e18a381bebfec5701",
    ),
    ("libjs-bootstrap4", "4.6.2+dfsg-1", "c1e986ab821d9240688cd4ef15d124742f21d35a6001dc897bf85663d67a42e0"),
    ("libjs-d3", "3.5.17-4", "08b73c423d0a3bb7b657eebf5f7ebac501931cbdcf6422da3a634f7baa263749"),
    (
        "libjs-eonasdan-bootstrap-datetimepicker",
        "4.17.47-6",
        "335cc1896e77b7664e611d50a78c373d03a064c31f379ccfdf7e660b6bc43dd2",
    ),
    (
        "libjs-jquery",
        "3.6.1+dfsg+~3.5.14-1",
        "a58c9ff6afe96c769cb6535754c909410760e4efa1e1540236194e489adcfb25",
    ),
    ("libjs-jquery-hotkeys", "0.2.0-1", "cae9ee63cfed199149721d962bcb18dd7565039ba31af32a875338f2cc48194f"),
    ("libjs-moment", "2.29.4+ds-1", "1d77475a3db570ac3b8ab56cf612bd64271f4da367e8819ee59ecf43eb25c180"),
    (
        "libjs-moment-timezone",
        "0.5.46+dfsg-2",
        "dd809690ae7e0febd919ce737fc2822c4a156b7a51571ee8bf31aa05dce35858",
    ),
    ("libjs-mustache", "3.0.1-1", "ab00ed3fa806a37de9399975ab1780786a160619eeb96abd8f9d09bfd864b22f"),
    ("libjs-popper.js", "1.16.1+ds-6", "4eac75024544eb50b93141586317671d20feb7c405adbe5ab426dfb8bccb1dbc"),
    ("libjs-rickshaw", "1.5.1.dfsg-5", "6e9328a86c2d4d8f84f8404467484dfe94f72d932d5a546771a7b10cd725ccc1"),
];

/// Prometheus, and what came with it.
#[derive(Debug)]
pub(crate) struct Prometheus {
    pub(crate) program: PathBuf,
    /// None where it is not beside a program that somebody named.
    pub(crate) promtool: Option<PathBuf>,
    /// The folder of its pages, for a program that does not have them within.
    pub(crate) pages: Option<PathBuf>,
}

impl Prometheus {
    /// A program that somebody has.
    ///
    /// # Errors
    /// When it is not a file.
    pub(crate) fn at(program: &Path) -> Result<Self> {
        ensure!(program.is_file(), "{} is no program: name `prometheus` itself", program.display());
        let program = program.canonicalize()?;
        let promtool = program.with_file_name("promtool");
        let promtool = promtool.is_file().then_some(promtool);
        Ok(Self { program, promtool, pages: None })
    }
}

/// Unpacks the pinned packages unless they are there.
pub(crate) fn ensure() -> Result<Prometheus> {
    let dir = cache_dir("prometheus")?;
    let (program, promtool) = (dir.join("usr/bin/prometheus"), dir.join("usr/bin/promtool"));
    let pages = dir.join("usr/share/prometheus/web");
    let advice =
        || format!("Prometheus {VERSION} cannot be had here: name one of yours with --prometheus PATH");
    let pins = pins(env::consts::OS, env::consts::ARCH).with_context(advice)?;
    let key = pins.iter().fold(Key::default(), |key, (_, _, hash)| key.word(hash)).hex();
    unless_done(&dir.join(".stamp"), &key, &[&program, &promtool, &pages], || {
        step("setup: Prometheus", || unpack(&pins, &dir).with_context(advice))
    })?;
    Ok(Prometheus { program, promtool: Some(promtool), pages: Some(pages) })
}

/// Package, version and SHA-256 of everything for this machine.
fn pins(system: &str, processor: &str) -> Result<Vec<(&'static str, &'static str, &'static str)>> {
    let at = match (system, processor) {
        ("linux", "x86_64") => 0,
        ("linux", "aarch64") => 1,
        _ => bail!("Debian has no package for {system} on {processor}"),
    };
    let programs = PROGRAMS.iter().map(|(name, version, hashes)| (*name, *version, hashes[at]));
    Ok(programs.chain(PAGES).collect())
}

fn unpack(pins: &[(&str, &str, &str)], dir: &Path) -> Result<()> {
    let archive = apt::archive_of(&apt::archives(), RELEASE)
        .context("this machine's package sources are not those of a Debian release")?;
    let suite = apt::Suite::open(&archive, &dir.join("apt"))?;
    for (package, version, hash) in pins {
        let file = suite.download(package, version)?;
        let sum = Run::new("sha256sum").arg(&file).output()?;
        ensure!(
            sum.split_whitespace().next() == Some(hash),
            "{package} {version} is not the file that was pinned: its SHA-256 is {sum}"
        );
        Run::new("dpkg-deb").arg("-x").arg(&file).arg(dir).run()?;
    }
    fs::remove_dir_all(dir.join("apt")).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_for_every_machine() -> Result<()> {
        for processor in ["x86_64", "aarch64"] {
            let pins = pins("linux", processor)?;
            assert_eq!(pins.len(), PROGRAMS.len() + PAGES.len());
            for (package, _, hash) in pins {
                assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{package}");
            }
        }
        assert!(pins("macos", "aarch64").is_err());
        Ok(())
    }
}
