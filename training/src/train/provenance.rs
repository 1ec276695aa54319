//! What it takes to get a run again: the command, the tables' hashes, the versions.
//!
//! Only what decides the result is in it: not the output folder, the number of threads, the time, or where files lie.

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Args;
use crate::{
    device,
    file_hash::{FileHash, file_name},
    project::Project,
    table::{self, Place, ReadOptions, Source},
};

/// The libraries that numbers come from; a test holds them against the lock file.
const LIBRARIES: [(&str, &str); 3] = [("burn", "0.22.1"), ("datafusion", "55.2.0"), ("tract-onnx", "0.23.9")];

/// Where a run comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Provenance {
    /// The command, to be given in the project's folder.
    pub command: String,
    /// The project file.
    pub project: FileHash,
    /// The tables, lookups included, in the order of the project file.
    pub tables: Vec<FileHash>,
    /// Program and libraries.
    pub versions: Vec<Version>,
    /// Processor and system; bits of trained numbers are promised on the same ones only.
    pub platform: String,
    /// Where the networks were trained: `cpu`, or what the card calls itself; empty in runs from before there was a
    /// choice.
    pub device: String,
}

/// A version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Of what.
    pub name: String,
    /// Which.
    pub version: String,
}

impl Provenance {
    /// Hashes a project's file and tables. Of the device it knows nothing.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn new(project: &Project, args: &Args) -> anyhow::Result<Self> {
        let mut tables: Vec<&str> = Vec::new();
        for declared in &project.events {
            let named = std::iter::once(&declared.table).chain(declared.join.iter().map(|join| &join.table));
            for table in named {
                if !tables.contains(&table.as_str()) {
                    tables.push(table);
                }
            }
        }
        let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
        let context = table::session(&ReadOptions::default())?;
        let hash = |table: &&str| {
            let place = Place::beside(&project.folder, table);
            let hashed = runtime.block_on(Source::list(&context, &place)).and_then(|source| source.hash());
            hashed.with_context(|| format!("table {table} (run `tiercast check`)"))
        };
        Ok(Self {
            command: command(args),
            project: FileHash::of(&project.path)?,
            tables: tables.iter().map(hash).collect::<anyhow::Result<_>>()?,
            versions: versions(),
            platform: platform(),
            device: String::new(),
        })
    }

    /// Refuses a run whose files, hashed again at its end, are not those that it has read.
    ///
    /// # Errors
    /// When one of them differs.
    pub(super) fn check(&self, after: &Self) -> anyhow::Result<()> {
        let files =
            |run: &Self| std::iter::once(&run.project).chain(&run.tables).cloned().collect::<Vec<_>>();
        let (before, after) = (files(self), files(after));
        if let Some((changed, _)) = before.iter().zip(&after).find(|(before, after)| before != after) {
            bail!(
                "{} has changed since it was read, so nobody could tell what the models were trained on, and no run is \
                 written; train again on a copy, or when nothing writes to it",
                changed.name
            );
        }
        Ok(())
    }
}

/// This program's version and those of the libraries that numbers come from.
pub(super) fn versions() -> Vec<Version> {
    let version =
        |(name, version): &(&str, &str)| Version { name: (*name).into(), version: (*version).into() };
    let own = ("tiercast", env!("CARGO_PKG_VERSION"));
    std::iter::once(&own).chain(&LIBRARIES).map(version).collect()
}

/// Processor and system.
pub(super) fn platform() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

fn command(args: &Args) -> String {
    let value = |value: Option<clap::builder::PossibleValue>| {
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    };
    let trials = args.search.map_or_else(String::new, |trials| format!(" --search {trials}"));
    let budget = args.budget.map_or_else(String::new, |time| format!(" --budget {}s", time.as_secs()));
    let device = match args.device.kind {
        device::Kind::Cpu => String::new(),
        _ => format!(" --device {}", args.device),
    };
    let rows = args.rows.map_or_else(String::new, |rows| format!(" --rows {rows}"));
    format!(
        "tiercast train -p {} --select {} --weights {} --engine {}{trials}{budget}{device}{rows}",
        quoted(&file_name(&args.project)),
        value(args.select.to_possible_value()),
        value(args.weights.to_possible_value()),
        value(args.engine.to_possible_value())
    )
}

/// A name as a shell reads it.
pub(crate) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/,".contains(c);
    if name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        let lock = include_str!("../../../Cargo.lock");
        for (name, version) in LIBRARIES {
            let found = lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n"));
            assert!(found, "{name} {version} is not in Cargo.lock; write the version that is");
        }
    }

    fn args() -> Args {
        Args {
            project: "/somewhere/my shop.toml".into(),
            output: "/elsewhere/run".into(),
            select: crate::metrics::Measure::MacroF1,
            weights: crate::weights::Weights::F16,
            engine: crate::weights::Engine::Plan,
            search: Some(24),
            budget: Some(std::time::Duration::from_secs(600)),
            device: device::Choice { kind: device::Kind::Wgpu, card: Some(1) },
            rows: Some(5000),
            memory: Some(512),
            log: crate::log::Log::Text,
            threads: Some(3),
        }
    }

    #[test]
    fn a_table_that_changes_meanwhile_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let project = crate::fixtures::synthetic(folder.path(), 20);
        let hashed = || Provenance::new(&project, &args()).unwrap();
        let before = hashed();
        before.check(&hashed()).unwrap();
        for table in [before.tables[0].name.as_str(), "tiercast.toml"] {
            let path = folder.path().join(table);
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, [whole.as_slice(), b"\n"].concat()).unwrap();
            let error = before.check(&hashed()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{table} has changed")), "{error}");
            std::fs::write(&path, whole).unwrap();
        }
    }

    #[test]
    fn the_command_has_what_decides_the_result_and_nothing_else() {
        let expected = "tiercast train -p 'my shop.toml' --select macro-f1 --weights f16 --engine plan --search 24 --budget 600s --device wgpu:1 --rows 5000";
        assert_eq!(command(&args()), expected);
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
