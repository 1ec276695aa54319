//! Debian's package manager: installing, and looking into releases this machine does not follow.
//!
//! A release that is not configured is read through a temporary source list in
//! a folder of ours; the machine's own configuration is never changed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::shell::{Run, find, write};

const LOCK: &str = "DPkg::Lock::Timeout=600";

/// Installs packages, as root or through a `sudo` that asks for nothing.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if find("apt-get").is_none() {
        bail!("this machine has no apt-get");
    }
    let install = || as_root(&[&["-o", LOCK, "install", "-y", "--no-install-recommends"], packages].concat());
    // The lists of a fresh machine may be empty or old.
    install().or_else(|_| {
        as_root(&["-o", LOCK, "update"])?;
        install()
    })
}

fn as_root(args: &[&str]) -> Result<()> {
    let root = Run::new("id").arg("-u").output()?.trim() == "0";
    let run = match root {
        true => Run::new("apt-get"),
        false => Run::new("sudo").args(["-n", "apt-get"]),
    };
    run.args(args).env("DEBIAN_FRONTEND", "noninteractive").limit(900).run()
}

/// One archive of the machine's own sources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Archive {
    uri: String,
    suite: String,
    components: String,
    signed_by: Option<String>,
}

/// The archives this machine is configured to use.
pub(crate) fn archives() -> Vec<Archive> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    let mut found = BTreeSet::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|e| e.to_str()) {
            Some("list") => found.extend(text.lines().filter_map(one_line)),
            Some("sources") => found.extend(text.split("\n\n").flat_map(stanza)),
            _ => {}
        }
    }
    found.into_iter().collect()
}

/// `deb [options] uri suite components…`
fn one_line(line: &str) -> Option<Archive> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    Some(Archive {
        uri: words.next()?.to_owned(),
        suite: words.next()?.to_owned(),
        components: words.collect::<Vec<_>>().join(" "),
        signed_by: options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).map(str::to_owned),
    })
}

/// A stanza of the deb822 form; continuation lines (an inline key) are kept whole.
fn stanza(text: &str) -> Vec<Archive> {
    let field = |name: &str| {
        let mut lines = text.lines().skip_while(|line| !is_field(line, name));
        let first = lines.next()?.split_once(':')?.1.trim().to_owned();
        let more: Vec<&str> = lines.take_while(|line| line.starts_with([' ', '\t'])).collect();
        Some(if more.is_empty() { first } else { format!("{first}\n{}", more.join("\n")) })
    };
    let words = |name: &str| -> Vec<String> {
        field(name).map(|v| v.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
    };
    if field("Enabled").is_some_and(|v| v.eq_ignore_ascii_case("no"))
        || !words("Types").iter().any(|t| t == "deb")
    {
        return Vec::new();
    }
    let mut found = Vec::new();
    for uri in words("URIs") {
        for suite in words("Suites") {
            found.push(Archive {
                uri: uri.clone(),
                suite,
                components: words("Components").join(" "),
                signed_by: field("Signed-By"),
            });
        }
    }
    found
}

fn is_field(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
}

/// Debian's releases in order, to find those that come after this machine's.
const DEBIAN: [&str; 6] = ["bullseye", "bookworm", "trixie", "forky", "duke", "sid"];

/// Suites that may carry a newer package than this machine's release, most likely first.
pub(crate) fn newer_suites(own: &[Archive]) -> Vec<Archive> {
    let mut wanted = Vec::new();
    for archive in own {
        let Some(at) = DEBIAN.iter().position(|release| *release == archive.suite) else {
            wanted.push(archive.clone());
            continue;
        };
        for release in &DEBIAN[at..] {
            for suite in [format!("{release}-backports"), (*release).to_owned()] {
                wanted.push(Archive { suite, ..archive.clone() });
            }
        }
    }
    // Backports hold few packages and are read in a second; a whole release is the last resort.
    wanted.sort_by_key(|archive| !archive.suite.ends_with("-backports"));
    wanted.dedup();
    wanted
}

/// A release of Debian from the place where this machine gets its own; none where that is not Debian's archive.
pub(crate) fn archive_of(own: &[Archive], release: &str) -> Option<Archive> {
    let debian = own.iter().find(|archive| DEBIAN.contains(&archive.suite.as_str()))?;
    Some(Archive { suite: release.to_owned(), ..debian.clone() })
}

/// A look into one suite from a folder of ours.
#[derive(Debug)]
pub(crate) struct Suite {
    options: Vec<String>,
    dir: PathBuf,
}

impl Suite {
    /// Reads the suite's package lists.
    pub(crate) fn open(archive: &Archive, dir: &Path) -> Result<Self> {
        for folder in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let source = dir.join("look.sources");
        let signed = archive.signed_by.as_ref().map(|s| format!("Signed-By: {s}\n")).unwrap_or_default();
        let Archive { uri, suite, components, .. } = archive;
        let text = format!("Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {components}\n{signed}");
        write(&source, text.as_bytes())?;
        let options = [
            format!("Dir::Etc::sourcelist={}", source.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::Lists={}", dir.join("lists").display()),
            format!("Dir::Cache={}", dir.join("cache").display()),
            "Acquire::Languages=none".to_owned(),
            // The folder belongs to whoever runs this; apt's own user may not read it.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let options = options.into_iter().flat_map(|o| ["-o".to_owned(), o]).collect();
        let suite = Self { options, dir: dir.to_owned() };
        suite.run("apt-get", &["update", "-qq", "--error-on=any"])?;
        Ok(suite)
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        Run::new(program).args(&self.options).args(args).dir(&self.dir).limit(300).output()
    }

    /// The versions of a package that the suite has.
    pub(crate) fn versions(&self, package: &str) -> Vec<String> {
        let listing = self.run("apt-cache", &["madison", package]).unwrap_or_default();
        listing.lines().filter_map(|line| line.split('|').nth(1)).map(|v| v.trim().to_owned()).collect()
    }

    /// Downloads one version into the folder.
    pub(crate) fn download(&self, package: &str, version: &str) -> Result<PathBuf> {
        self.run("apt-get", &["download", "-qq", &format!("{package}={version}")])?;
        let start = format!("{package}_");
        fs::read_dir(&self.dir)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)))
            .with_context(|| format!("apt-get download left no file for {package}"))
    }

    /// Downloads one version and unpacks it, without installing anything.
    pub(crate) fn unpack(&self, package: &str, version: &str, into: &Path) -> Result<()> {
        let file = self.download(package, version)?;
        Run::new("dpkg-deb").arg("-x").arg(&file).arg(into).run()?;
        fs::remove_file(&file).map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_source_are_read() {
        let line =
            one_line("deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian bookworm main contrib");
        let deb822 = stanza(
            "# comment\nTypes: deb\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /k.gpg",
        );
        assert_eq!(line.as_ref(), deb822.first());
        assert_eq!(deb822.len(), 2);
        assert_eq!(one_line("# deb http://a.example bookworm main"), None);
        assert!(stanza("Types: deb-src\nURIs: http://a.example\nSuites: x").is_empty());
        assert!(stanza("Enabled: no\nTypes: deb\nURIs: http://a.example\nSuites: x").is_empty());
    }

    #[test]
    fn the_next_releases_backports_come_first() {
        let own = one_line("deb http://a.example/debian bookworm main").into_iter().collect::<Vec<_>>();
        let suites: Vec<String> = newer_suites(&own).into_iter().map(|a| a.suite).collect();
        assert_eq!(&suites[..2], ["bookworm-backports", "trixie-backports"]);
        assert!(suites.contains(&"sid".to_owned()));
    }

    #[test]
    fn a_release_comes_from_where_the_machines_own_does() {
        let one = |line: &str| one_line(line).into_iter().collect::<Vec<_>>();
        let found =
            archive_of(&one("deb [signed-by=/k.gpg] http://a.example/debian bookworm main"), "trixie");
        assert_eq!(found, one_line("deb [signed-by=/k.gpg] http://a.example/debian trixie main"));
        assert_eq!(archive_of(&one("deb http://a.example/ubuntu noble main"), "trixie"), None);
    }
}
