//! Histories in Parquet files, by bucket and generation.
//!
//! `store.json` is the store: it names the files that count. An update writes new files beside them and then replaces
//! `store.json` at once; what it does not name is left over from an update that was killed, and is removed by the next.
//! A bucket's files hold its members by name, the newest file what is true of them; when the newer ones have grown to half of
//! the oldest, or there are many, they are put together.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, BooleanArray, LargeBinaryArray, RecordBatch, StringArray,
            TimestampMillisecondArray, UInt32Array, UInt64Array,
        },
        datatypes::{
            DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMillisecondType, UInt32Type, UInt64Type,
        },
    },
    parquet::{
        arrow::{
            ArrowWriter, ProjectionMask,
            arrow_reader::{
                ArrowPredicateFn, ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowFilter,
            },
        },
        basic::Compression,
        file::properties::WriterProperties,
    },
};
use serde::{Deserialize, Serialize};
use tiercast_core::{Currency, Event, FeatureSchema, Timestamp};

use super::{deal::Dealt, mapping, shown};
use crate::{
    file_hash::FileHash,
    project::Project,
    table::Events,
    whole::{self, Whole},
};

/// The file that is the store.
const MANIFEST: &str = "store.json";
const FORMAT: u32 = 1;
/// Files of a bucket, beyond which they are put together.
const MOST_PARTS: usize = 8;

/// Members' histories in a folder.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    manifest: Manifest,
    /// Held while the store is updated.
    lock: Option<File>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    format: u32,
    currency: Currency,
    capacity: u32,
    custom_kinds: Vec<String>,
    mapping: String,
    buckets: u32,
    generation: u32,
    members: u64,
    /// The newest event's time.
    last: i64,
    files: Vec<Applied>,
    parts: Vec<Part>,
}

/// A file whose events are in the histories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Applied {
    /// The table as the project names it.
    pub(super) table: String,
    pub(super) file: FileHash,
}

/// A file of histories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    bucket: u32,
    generation: u32,
    rows: u64,
}

/// What is kept of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct History {
    /// Events, forgotten ones included.
    pub(super) events: u64,
    /// The newest event's time in milliseconds.
    pub(super) last: i64,
    /// [`MemberState::snapshot`](tiercast_core::MemberState::snapshot).
    pub(crate) state: Vec<u8>,
    /// A version and the packed events that the state has forgotten; empty if it has forgotten none.
    pub(super) archive: Vec<u8>,
}

/// What an update wrote for one bucket.
#[derive(Debug)]
pub(super) struct Kept {
    part: Part,
    /// Whether the bucket's older files are in the new one.
    replaces: bool,
    pub(super) touched: u64,
    pub(super) new: u64,
}

impl Part {
    fn name(&self) -> String {
        format!("states-{:04}-{:06}.parquet", self.bucket, self.generation)
    }
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("member", DataType::Utf8, false),
        Field::new("generation", DataType::UInt32, false),
        Field::new("events", DataType::UInt64, false),
        Field::new("last_event", time, false),
        Field::new("state", DataType::LargeBinary, false),
        Field::new("forgotten", DataType::LargeBinary, true),
    ]))
}

impl Store {
    /// Opens a store to read it.
    ///
    /// # Errors
    /// When there is none, or it is of another version.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let manifest = Manifest::read(path)?
            .with_context(|| format!("{} is no store of states; `tiercast states` makes one", shown(path)))?;
        Ok(Self { path: path.to_owned(), manifest, lock: None })
    }

    /// Opens or makes a store to update it.
    ///
    /// # Errors
    /// When it was built for another project, or somebody else updates it.
    pub(super) fn begin(path: &Path, project: &Project, buckets: u32, rebuild: bool) -> anyhow::Result<Self> {
        let old = Manifest::read(path)?;
        if old.is_none()
            && path.is_dir()
            && fs::read_dir(path)?.next().is_some()
            && !path.join("lock").exists()
        {
            bail!("{} is not empty, and no store of states; name another folder", shown(path));
        }
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", shown(path)))?;
        let lock =
            File::create(path.join("lock")).with_context(|| format!("cannot write to {}", shown(path)))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{} is being updated by another process", shown(path)),
            Err(TryLockError::Error(error)) => return Err(error).context("the store cannot be locked"),
        }
        let fresh = Manifest {
            format: FORMAT,
            currency: project.currency.clone(),
            capacity: project.members.capacity,
            custom_kinds: project.members.custom_kinds.clone(),
            mapping: mapping(project),
            buckets,
            generation: old.as_ref().map_or(0, |old| old.generation),
            members: 0,
            last: i64::MIN,
            files: Vec::new(),
            parts: Vec::new(),
        };
        let manifest = match old {
            Some(old) if !rebuild => {
                old.fits(&fresh).with_context(|| shown(path))?;
                old
            }
            _ => fresh,
        };
        Ok(Self { path: path.to_owned(), manifest, lock: Some(lock) })
    }

    /// An empty folder inside the store for what an update needs while it works.
    pub(super) fn scratch(&self) -> anyhow::Result<PathBuf> {
        let folder = self.path.join("update");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", shown(&folder)))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", shown(&folder)))?;
        Ok(folder)
    }

    /// The files of the tables that are not in the histories.
    ///
    /// # Errors
    /// When a file has changed since it was added. What a file that is gone said stays.
    pub(super) fn news(&self, events: &Events) -> anyhow::Result<Vec<Applied>> {
        let mut news = Vec::new();
        for table in &events.tables {
            for file in &table.source.files {
                let found = Applied { table: table.name.clone(), file: file.hash()? };
                let known = self.manifest.files.iter().find(|known| known.is(&found.table, &found.file.name));
                match known {
                    Some(known) if *known == found => {}
                    Some(_) => bail!(
                        "{} has changed since its events were added, and nobody could tell which of them are new; put \
                         new events into files of their own, or give --rebuild to read all files again",
                        table.file_name(file)
                    ),
                    None => news.push(found),
                }
            }
        }
        Ok(news)
    }

    /// Into how many buckets members are dealt.
    pub fn buckets(&self) -> u32 {
        self.manifest.buckets
    }

    /// How many members have a history.
    pub fn members(&self) -> u64 {
        self.manifest.members
    }

    /// Counts the updates.
    pub fn generation(&self) -> u32 {
        self.manifest.generation
    }

    /// The time of the newest event.
    ///
    /// # Errors
    /// When there is none.
    pub fn last(&self) -> anyhow::Result<Timestamp> {
        Timestamp::from_ms(self.manifest.last).with_context(|| format!("{} has no event", shown(&self.path)))
    }

    /// What tells the store from all others and from itself at another time.
    pub(crate) fn identity(&self) -> String {
        let files: Vec<_> = self.manifest.files.iter().map(|applied| &applied.file.sha256).collect();
        format!("states, generation {}, {} files: {}", self.generation(), files.len(), {
            use sha2::{Digest, Sha256};
            format!("{:x}", Sha256::digest(format!("{files:?}")))
        })
    }

    /// Whether a bundle can be given these histories.
    ///
    /// # Errors
    /// When they are in another currency, or shorter than it expects.
    pub(crate) fn check(&self, schema: &FeatureSchema) -> anyhow::Result<()> {
        let spec = schema.spec();
        ensure!(
            spec.events.currency == self.manifest.currency,
            "the store's amounts are in {}, the bundle's in {}",
            self.manifest.currency.code,
            spec.events.currency.code
        );
        ensure!(
            spec.capacity <= self.manifest.capacity,
            "the store keeps {} events of a member, the bundle expects {}; build a store by a project of that capacity",
            self.manifest.capacity,
            spec.capacity
        );
        Ok(())
    }

    /// A bucket's histories by member.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn read(&self, bucket: u32, only_news: bool) -> anyhow::Result<Vec<(String, History)>> {
        let mut found: HashMap<String, (u32, History)> = HashMap::new();
        for part in self.parts(bucket) {
            self.scan(part, None, |member, generation, history| {
                found.entry(member).or_insert((generation, history));
            })?;
        }
        let is_wanted = |generation: u32| !only_news || generation == self.generation();
        let found = found.into_iter().filter(|(_, (generation, _))| is_wanted(*generation));
        let mut members: Vec<_> = found.map(|(member, (_, history))| (member, history)).collect();
        members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(members)
    }

    /// A bucket's files, the newest first.
    fn parts(&self, bucket: u32) -> impl DoubleEndedIterator<Item = &Part> {
        self.manifest.parts.iter().rev().filter(move |part| part.bucket == bucket)
    }

    /// Gives the histories in a file, all or those of some members.
    fn scan(
        &self,
        part: &Part,
        wanted: Option<&HashSet<String>>,
        mut give: impl FnMut(String, u32, History),
    ) -> anyhow::Result<()> {
        let path = self.path.join(part.name());
        let mut read = || -> anyhow::Result<()> {
            let file = File::open(&path)?;
            let metadata = ArrowReaderMetadata::load(&file, Default::default())?;
            let columns = metadata.parquet_schema().clone();
            let mut reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
            if let Some(wanted) = wanted.cloned() {
                let is_wanted = move |batch: RecordBatch| {
                    let names: &StringArray = batch.column(0).as_string();
                    Ok(BooleanArray::from_iter(
                        names.iter().map(|name| Some(name.is_some_and(|name| wanted.contains(name)))),
                    ))
                };
                let names = ProjectionMask::leaves(&columns, [0]);
                let filter = ArrowPredicateFn::new(names, is_wanted);
                reader = reader.with_row_filter(RowFilter::new(vec![Box::new(filter)]));
            }
            for batch in reader.build()? {
                rows(&batch?, &mut give);
            }
            Ok(())
        };
        read().with_context(|| format!("cannot read {}", shown(&path)))
    }

    /// Writes what becomes of a bucket's members with their news.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(super) fn apply(
        &self,
        bucket: u32,
        mut news: HashMap<String, Vec<Event>>,
        schema: &FeatureSchema,
    ) -> anyhow::Result<Kept> {
        let generation = self.generation() + 1;
        let parts: Vec<&Part> = self.parts(bucket).collect();
        let newer: u64 = parts.iter().rev().skip(1).map(|part| part.rows).sum();
        let oldest = parts.last().map_or(0, |part| part.rows);
        let replaces = parts.len() >= MOST_PARTS || (newer + news.len() as u64) * 2 > oldest;
        let (mut old, mut rest) = (HashMap::new(), Vec::new());
        let mut seen = HashSet::new();
        let wanted: HashSet<String> = news.keys().cloned().collect();
        for part in &parts {
            self.scan(part, (!replaces).then_some(&wanted), |member, generation, history| {
                if !seen.insert(member.clone()) {
                    return;
                }
                match wanted.contains(&member) {
                    true => drop(old.insert(member, history)),
                    false => rest.push((member, generation, history)),
                }
            })?;
        }
        let (touched, new) = (news.len() as u64, (news.len() - old.len()) as u64);
        for (member, events) in news.drain() {
            let history = match old.remove(&member) {
                Some(known) => {
                    known.with(schema, events).with_context(|| format!("the history of member {member}"))?
                }
                None => History::of(schema, events),
            };
            rest.push((member, generation, history));
        }
        rest.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let part = Part { bucket, generation, rows: rest.len() as u64 };
        self.write(&part, &rest)?;
        Ok(Kept { part, replaces, touched, new })
    }

    fn write(&self, part: &Part, rows: &[(String, u32, History)]) -> anyhow::Result<()> {
        let (whole, file) = Whole::create(&self.path.join(part.name()))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(65_536))
            .set_data_page_row_count_limit(1024)
            .build();
        let mut writer = ArrowWriter::try_new(file, schema(), Some(properties))?;
        for rows in rows.chunks(8192) {
            writer.write(&batch(rows)?)?;
        }
        writer.close()?;
        whole.appear()
    }

    /// Makes an update count.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(super) fn commit(mut self, news: Vec<Applied>, kept: Vec<Kept>, dealt: &Dealt) -> anyhow::Result<()> {
        ensure!(self.lock.is_some(), "a store that was opened to be read is not written");
        let manifest = &mut self.manifest;
        manifest.generation += 1;
        manifest.last = manifest.last.max(dealt.last);
        manifest.files.extend(news);
        for kept in kept {
            manifest.members += kept.new;
            if kept.replaces {
                manifest.parts.retain(|part| part.bucket != kept.part.bucket);
            }
            manifest.parts.push(kept.part);
        }
        whole::write(&self.path.join(MANIFEST), &serde_json::to_vec_pretty(&self.manifest)?)?;
        self.clean()
    }

    /// Removes files that do not count.
    fn clean(&self) -> anyhow::Result<()> {
        let named: HashSet<String> = self.manifest.parts.iter().map(Part::name).collect();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("states-") && !named.contains(&name) {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", shown(&path)))?;
            }
        }
        let scratch = self.path.join("update");
        fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", shown(&scratch)))
    }
}

impl Manifest {
    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let file = path.join(MANIFEST);
        let Ok(bytes) = fs::read(&file) else { return Ok(None) };
        let unreadable = || format!("{} cannot be read", shown(&file));
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).with_context(unreadable)?;
        let format = manifest["format"].as_u64();
        ensure!(
            format == Some(FORMAT.into()),
            "{} is of format {}; this version reads {FORMAT}; give --rebuild",
            shown(&file),
            format.unwrap_or_default()
        );
        Ok(Some(serde_json::from_value(manifest).with_context(unreadable)?))
    }

    /// Whether the histories are those that a project would build.
    fn fits(&self, project: &Self) -> anyhow::Result<()> {
        let differs =
            |what: &str| format!("the store was built for another {what}; give --rebuild to build it anew");
        ensure!(self.currency == project.currency, differs("currency"));
        ensure!(self.capacity == project.capacity, differs("capacity of members"));
        ensure!(self.mapping == project.mapping, differs("mapping of columns"));
        ensure!(self.custom_kinds == project.custom_kinds, differs("set of custom kinds"));
        Ok(())
    }
}

fn batch(rows: &[(String, u32, History)]) -> anyhow::Result<RecordBatch> {
    let last = rows.iter().map(|(.., history)| history.last);
    let archive = |history: &'_ History| (!history.archive.is_empty()).then(|| history.archive.clone());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(member, ..)| member))),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|(_, generation, _)| *generation))),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(.., history)| history.events))),
        Arc::new(TimestampMillisecondArray::from_iter_values(last).with_timezone("UTC")),
        Arc::new(LargeBinaryArray::from_iter_values(rows.iter().map(|(.., history)| &history.state))),
        Arc::new(rows.iter().map(|(.., history)| archive(history)).collect::<LargeBinaryArray>()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn rows(batch: &RecordBatch, give: &mut impl FnMut(String, u32, History)) {
    let names: &StringArray = batch.column(0).as_string();
    let generations = batch.column(1).as_primitive::<UInt32Type>();
    let events = batch.column(2).as_primitive::<UInt64Type>();
    let last = batch.column(3).as_primitive::<TimestampMillisecondType>();
    let states: &LargeBinaryArray = batch.column(4).as_binary();
    let archives: &LargeBinaryArray = batch.column(5).as_binary();
    for row in 0..batch.num_rows() {
        let archive = if archives.is_valid(row) { archives.value(row).to_vec() } else { Vec::new() };
        let (events, last) = (events.value(row), last.value(row));
        let history = History { events, last, state: states.value(row).to_vec(), archive };
        give(names.value(row).to_owned(), generations.value(row), history);
    }
}
