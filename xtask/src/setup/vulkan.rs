//! A Vulkan driver for the tests of training on a graphics card: the machine's own, or one in software.

use std::{env, fs, path::Path};

use anyhow::{Result, bail};

use super::apt;
use crate::shell::step;

const PACKAGES: [&str; 2] = ["libvulkan1", "mesa-vulkan-drivers"];
const DRIVERS: [&str; 3] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
const LIBRARIES: [&str; 5] =
    ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];

/// Installs the distribution's software driver where no driver is found. macOS and Windows have an interface of their own.
pub(crate) fn ensure() -> Result<()> {
    if !cfg!(target_os = "linux") || is_there() {
        return Ok(());
    }
    step("setup: Vulkan in software", || {
        let failure = apt::install(&PACKAGES).err();
        match (is_there(), failure) {
            (true, _) => Ok(()),
            (false, failure) => bail!(
                "no Vulkan driver was found and the package manager gave none{}\n\
                 Install one: a graphics card's own, or in software (Debian: `apt-get install {}`)",
                failure.map(|e| format!(": {e:#}")).unwrap_or_default(),
                PACKAGES.join(" ")
            ),
        }
    })
}

/// Whether the loader is there and a driver for it, or somebody has named one.
fn is_there() -> bool {
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].iter().any(|name| env::var_os(name).is_some());
    let loader = LIBRARIES.iter().any(|folder| Path::new(folder).join("libvulkan.so.1").exists());
    loader && (named || DRIVERS.iter().any(|folder| holds_files(Path::new(folder))))
}

fn holds_files(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}
