//! The browser that tests and the demo drive.

use std::{env, path::PathBuf};

use anyhow::{Result, bail};

use super::apt;
use crate::shell::{find as on_path, step};

const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
const MAC: &str = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";

/// The browser's program, if the machine has one.
///
/// # Errors
/// When `CHROME` names something that is not there.
pub(crate) fn find() -> Result<Option<PathBuf>> {
    if let Some(chosen) = env::var_os("CHROME") {
        let path = PathBuf::from(&chosen);
        return match path.is_file() {
            true => Ok(Some(path)),
            false => bail!("CHROME is {}, which is not a file: correct it or unset it", path.display()),
        };
    }
    let mac = PathBuf::from(MAC);
    Ok(NAMES.iter().find_map(|name| on_path(name)).or_else(|| mac.is_file().then_some(mac)))
}

/// Installs the distribution's Chromium when no browser is found.
pub(crate) fn ensure() -> Result<()> {
    if find()?.is_some() {
        return Ok(());
    }
    step("setup: Chromium", || {
        let failure = apt::install(&["chromium"]).err();
        match (find()?, failure) {
            (Some(_), _) => Ok(()),
            (None, failure) => bail!(
                "no Chromium or Chrome was found and the package manager gave none{}\n\
                 Install one (Debian: `apt-get install chromium`), or set CHROME to its program",
                failure.map(|e| format!(": {e:#}")).unwrap_or_default()
            ),
        }
    })
}
