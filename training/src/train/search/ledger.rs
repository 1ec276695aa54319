//! `search.jsonl`: each trial's loss on each fold, a line each, so that a search that was stopped goes on where it was.
//!
//! The first line says what was searched on; a file of anything else is refused. A line is written whole, at once; what a
//! kill has left of the last one is cut off. What is read back is what is reckoned with from the start, so that a search
//! that was stopped and one that was not see the same numbers.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    device::Device,
    models::Kind,
    train::{
        folds::Prepared,
        provenance::{self, Version},
    },
    whole,
};

/// The version of the file.
const FORMAT: u32 = 1;

/// What losses depend on beside a trial's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::train) struct Head {
    format: u32,
    versions: Vec<Version>,
    platform: String,
    /// Where networks were trained; files from before there was a choice do not say.
    #[serde(default = "processor")]
    device: String,
    seed: u64,
    folds: usize,
    /// SHA-256 of every fold's rows as the models see them.
    data: String,
}

impl Head {
    pub(in crate::train) fn new(folds: &[Prepared], seed: u64, device: &str) -> Self {
        let mut hash = Sha256::new();
        for rows in folds.iter().flat_map(|fold| [&fold.train, &fold.held_out]) {
            let sizes = [rows.len(), rows.width, rows.plain_width, rows.channels, rows.thresholds.len()];
            sizes.iter().for_each(|size| hash.update((*size as u64).to_le_bytes()));
            let inputs =
                rows.inputs.iter().chain(&rows.plain).chain(&rows.sequence).chain(&rows.next_purchase);
            inputs.for_each(|x| hash.update(x.to_le_bytes()));
            let spend = rows.current_spend.iter().chain(&rows.target_spend).chain(&rows.thresholds);
            spend.for_each(|spend| hash.update(spend.to_le_bytes()));
            rows.member.iter().for_each(|member| hash.update(member.to_le_bytes()));
            hash.update(&rows.targets);
        }
        let data = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let (versions, platform) = (provenance::versions(), provenance::platform());
        let device = device.to_owned();
        Self { format: FORMAT, versions, platform, device, seed, folds: folds.len(), data }
    }

    /// What another file's losses differ by.
    fn differs(&self, found: &Self) -> &'static str {
        match () {
            () if found.format != self.format || found.versions != self.versions => {
                "other versions of tiercast or its libraries"
            }
            () if found.platform != self.platform => "another kind of machine",
            () if found.device != self.device => "another --device",
            () if found.seed != self.seed => "another seed",
            () if found.folds != self.folds => "another number of folds",
            () => "other rows: the tables, the features, the tiers or the dates have changed",
        }
    }
}

fn processor() -> String {
    Device::Cpu.name().to_owned()
}

/// A trial on a fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Line {
    /// Which model.
    pub(super) model: String,
    /// The trial's number; 0 has the default settings.
    pub(super) trial: usize,
    /// From 1.
    pub(super) fold: usize,
    /// What the trial was set to.
    pub(super) settings: Value,
    /// Members held out.
    pub(super) members: u32,
    /// The mean over members of their rows' mean log-loss; none where it is not finite.
    pub(super) loss: Option<f64>,
    /// The sum over members of how much more that is than with the default settings.
    pub(super) difference: f64,
    /// The sum of these differences' squares.
    pub(super) squares: f64,
}

type Key = (String, usize, usize);

impl Line {
    fn key(&self) -> Key {
        (self.model.clone(), self.trial, self.fold)
    }
}

/// The file and what is in it.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    head: Head,
    lines: Mutex<(File, BTreeMap<Key, Line>)>,
}

impl Ledger {
    /// Opens a file, or begins it.
    ///
    /// # Errors
    /// When it is of another search, is damaged, or cannot be read or written.
    pub(super) fn open(path: &Path, head: Head) -> anyhow::Result<Self> {
        let name = path.display();
        let text = if path.exists() {
            fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?
        } else {
            String::new()
        };
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let mut lines = text[..whole].lines().enumerate();
        if let Some((_, first)) = lines.next() {
            let elsewhere = "take another output folder (-o), or remove the file to search anew";
            let found: Head = serde_json::from_str(first)
                .with_context(|| format!("{name} is not a search's; {elsewhere}"))?;
            if found != head {
                bail!("{name} is of another search ({}); {elsewhere}", head.differs(&found));
            }
        }
        let read = |(at, line): (usize, &str)| -> anyhow::Result<(Key, Line)> {
            let line: Line = serde_json::from_str(line)
                .with_context(|| format!("{name} is damaged in line {}; remove that line", at + 1))?;
            Ok((line.key(), line))
        };
        let lines = lines.map(read).collect::<anyhow::Result<_>>()?;
        let unwritable = || format!("cannot write {name}");
        if whole < text.len() {
            let file = OpenOptions::new().write(true).open(path).with_context(unwritable)?;
            file.set_len(whole as u64).with_context(unwritable)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path).with_context(unwritable)?;
        if whole == 0 {
            file.write_all((serde_json::to_string(&head)? + "\n").as_bytes()).with_context(unwritable)?;
        }
        Ok(Self { path: path.to_owned(), head, lines: Mutex::new((file, lines)) })
    }

    /// A trial on a fold, if that is known.
    ///
    /// # Errors
    /// When the trial was set to something else.
    pub(super) fn get(
        &self,
        kind: Kind,
        trial: usize,
        fold: usize,
        settings: &Value,
    ) -> anyhow::Result<Option<Line>> {
        let lines = self.lines.lock().map_err(|_| anyhow!("a training thread died"))?;
        let line = lines.1.get(&(kind.name().into(), trial, fold)).cloned();
        if line.as_ref().is_some_and(|line| line.settings != *settings) {
            bail!(
                "{} has other settings for trial {trial} of {}; take another output folder (-o), or remove the file \
                 to search anew",
                self.path.display(),
                kind.name()
            );
        }
        Ok(line)
    }

    /// Writes a line and gives it as it will be read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn add(&self, line: &Line) -> anyhow::Result<Line> {
        let text = serde_json::to_string(line)? + "\n";
        let line: Line = serde_json::from_str(&text)?;
        let mut lines = self.lines.lock().map_err(|_| anyhow!("a training thread died"))?;
        let written = lines.0.write_all(text.as_bytes());
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        lines.1.insert(line.key(), line.clone());
        Ok(line)
    }

    /// Puts the lines in order, so that the file does not depend on which thread was first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn close(self) -> anyhow::Result<()> {
        let (_, lines) = self.lines.into_inner().map_err(|_| anyhow!("a training thread died"))?;
        let mut text = serde_json::to_string(&self.head)? + "\n";
        for line in lines.values() {
            text += &(serde_json::to_string(line)? + "\n");
        }
        whole::write(&self.path, text.as_bytes())
    }
}
