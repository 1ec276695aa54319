//! Scores as a folder of Parquet files, each of which appears when it is whole.
//!
//! `_scores.json` says what the folder holds and which parts are there; readers of Parquet folders leave such names out. A
//! run that was killed goes on after the last part, if it is given again; another run is refused.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use datafusion::{
    arrow::array::{Array, AsArray, RecordBatch},
    parquet::{
        arrow::ArrowWriter, basic::Compression, file::metadata::KeyValue, file::properties::WriterProperties,
    },
};
use serde::{Deserialize, Serialize};

use super::output::table;
use crate::whole::{self, Whole};

/// The file that says what is there.
const LEDGER: &str = "_scores.json";
/// Rows of a row group.
const GROUP_ROWS: usize = 131_072;

/// What makes two runs the same: what scores, what is scored, as of when, and what a row says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    /// SHA-256 of the bundle.
    pub(super) bundle: String,
    /// The moment.
    pub(super) as_of: String,
    /// The hash of the tables, or the states and their generation.
    pub(super) source: String,
    /// The columns, and how rows are cut into parts.
    pub(super) layout: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ledger {
    format: u32,
    identity: Identity,
    complete: bool,
    parts: BTreeMap<u32, Part>,
}

/// A part that is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    rows: u64,
    first: String,
    last: String,
}

/// A folder of scores.
pub(super) struct Folder {
    path: PathBuf,
    ledger: Ledger,
}

impl Folder {
    /// Begins a folder, or goes on with one that holds the beginning of the same run.
    ///
    /// # Errors
    /// When it holds something else; `restart` then begins again, if what it holds are scores.
    pub(super) fn open(path: &Path, identity: Identity, restart: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let file = path.join(LEDGER);
        let ledger: Option<Ledger> = match fs::read(&file) {
            Ok(bytes) => Some(
                serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} cannot be read", file.display()))?,
            ),
            Err(_) => None,
        };
        let ledger = match ledger {
            Some(ledger) if ledger.identity == identity && !restart => ledger,
            Some(_) if !restart => bail!(
                "{} holds scores of another bundle, moment, table or layout; name another folder, or give --restart to \
                 replace them",
                path.display()
            ),
            None if fs::read_dir(path)?.next().is_some() => {
                bail!("{} is not empty, and not a folder of scores; name another one", path.display())
            }
            _ => Ledger { format: 1, identity, complete: false, parts: BTreeMap::new() },
        };
        let folder = Self { path: path.to_owned(), ledger };
        folder.write()?;
        folder.clean()?;
        Ok(folder)
    }

    /// Removes what is no part of the run: of one that is replaced, or half written.
    fn clean(&self) -> anyhow::Result<()> {
        let known: Vec<PathBuf> = self.ledger.parts.keys().map(|part| self.place(*part)).collect();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("part-") && !known.contains(&path) {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn write(&self) -> anyhow::Result<()> {
        whole::write(&self.path.join(LEDGER), &serde_json::to_vec_pretty(&self.ledger)?)
    }

    fn place(&self, part: u32) -> PathBuf {
        self.path.join(format!("part-{part:05}.parquet"))
    }

    /// Whether all parts are there.
    pub(super) fn is_complete(&self) -> bool {
        self.ledger.complete
    }

    /// Rows that are there.
    pub(super) fn rows(&self) -> u64 {
        self.ledger.parts.values().map(|part| part.rows).sum()
    }

    /// How many parts are there.
    pub(super) fn parts(&self) -> usize {
        self.ledger.parts.len()
    }

    /// Whether a part is there.
    pub(super) fn has(&self, part: u32) -> bool {
        self.ledger.parts.contains_key(&part)
    }

    /// The last member of the last part.
    pub(super) fn last(&self) -> Option<&str> {
        self.ledger.parts.last_key_value().map(|(_, part)| part.last.as_str())
    }

    /// Begins a part.
    pub(super) fn part(&self, number: u32, schema: &RecordBatch) -> anyhow::Result<PartWriter> {
        let (whole, file) = Whole::create(&self.place(number))?;
        let said = [
            ("tiercast.bundle", &self.ledger.identity.bundle),
            ("tiercast.as_of", &self.ledger.identity.as_of),
        ];
        let said = said.map(|(key, value)| KeyValue::new(key.to_owned(), value.clone()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_key_value_metadata(Some(said.into()))
            .build();
        let writer = ArrowWriter::try_new(file, schema.schema(), Some(properties))?;
        let part = Part { rows: 0, first: String::new(), last: String::new() };
        Ok(PartWriter { number, writer, whole, part })
    }

    /// Notes that a part is there.
    pub(super) fn add(&mut self, (number, part): (u32, Part)) -> anyhow::Result<()> {
        self.ledger.parts.insert(number, part);
        self.write()
    }

    /// Notes that all parts are there.
    pub(super) fn complete(&mut self) -> anyhow::Result<()> {
        self.ledger.complete = true;
        self.write()
    }
}

/// A part being written.
pub(super) struct PartWriter {
    number: u32,
    writer: ArrowWriter<fs::File>,
    whole: Whole,
    part: Part,
}

impl PartWriter {
    /// Writes rows, of which the first column is the member.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> anyhow::Result<()> {
        let members = rows.column(0).as_string::<i32>();
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.part.rows == 0 {
            members.value(0).clone_into(&mut self.part.first);
        }
        members.value(members.len() - 1).clone_into(&mut self.part.last);
        self.part.rows += rows.num_rows() as u64;
        Ok(self.writer.write(rows)?)
    }

    /// Puts the part in its place.
    pub(super) fn close(self) -> anyhow::Result<(u32, Part)> {
        self.writer.close()?;
        self.whole.appear()?;
        Ok((self.number, self.part))
    }
}

/// Cuts rows that come by member into parts of so many.
pub(super) struct Cutter<'a> {
    folder: &'a mut Folder,
    most: u64,
    next: u32,
    open: Option<PartWriter>,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(folder: &'a mut Folder, most: u64) -> Self {
        let next = folder.parts() as u32;
        Self { folder, most, next, open: None }
    }

    /// Takes members and what was made of them.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let rows = table(batch)?;
        let mut from = 0;
        while from < rows.num_rows() {
            let mut part = match self.open.take() {
                Some(part) => part,
                None => self.folder.part(self.next, &rows)?,
            };
            let room = (self.most - part.part.rows) as usize;
            let length = room.min(rows.num_rows() - from);
            part.write(&rows.slice(from, length))?;
            from += length;
            if part.part.rows == self.most {
                self.folder.add(part.close()?)?;
                self.next += 1;
            } else {
                self.open = Some(part);
            }
        }
        Ok(())
    }

    /// Closes the last part.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        if let Some(part) = self.open {
            self.folder.add(part.close()?)?;
        }
        self.folder.complete()
    }
}
