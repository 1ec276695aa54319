//! New events, dealt into files by a member's hash: what is in memory later is a bucket at a time.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
};

use anyhow::Context;
use datafusion::{
    arrow::{
        array::{Array, AsArray, BinaryArray, RecordBatch, StringArray, UInt32Array},
        compute::{concat_batches, take_record_batch},
        datatypes::SchemaRef,
        ipc::{reader::StreamReader, writer::StreamWriter},
    },
    execution::SendableRecordBatchStream,
};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tiercast_core::Event;
use tokio::task::JoinSet;

use crate::{
    fold::{self, Gathering, Skipped, packed},
    table::{Events, diagnose},
};

/// Rows that are gathered before they are dealt out.
const GATHERED: usize = 65_536;

/// Events in files, by bucket.
#[derive(Debug)]
pub(super) struct Dealt {
    folder: PathBuf,
    /// The files' numbers, one for each stream of rows.
    streams: usize,
    /// Events of each bucket.
    buckets: Vec<u64>,
    pub(super) events: u64,
    /// The newest event.
    pub(super) last: i64,
    pub(super) skipped: Skipped,
}

/// The bucket of a member.
pub(super) fn bucket_of(member: &str, buckets: u32) -> u32 {
    let hash = Sha256::digest(member);
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]) % buckets
}

/// One stream's files.
struct Dealing {
    folder: PathBuf,
    stream: usize,
    schema: SchemaRef,
    files: Vec<Option<StreamWriter<BufWriter<File>>>>,
    gathered: Vec<RecordBatch>,
    rows: usize,
    counts: Vec<u64>,
    last: i64,
    invalid: u64,
}

impl Dealt {
    /// Reads all rows of some tables.
    ///
    /// # Errors
    /// When a table cannot be read, a row is not a valid event, or a file cannot be written.
    pub(super) async fn deal(
        events: &Events,
        how: &Gathering<'_>,
        folder: PathBuf,
        buckets: u32,
    ) -> anyhow::Result<Self> {
        let frame = fold::packed_rows(events, how).await?;
        let streams = match frame.execute_stream_partitioned().await {
            Ok(streams) => streams,
            Err(error) => return Err(diagnose::explain(events, how.rules, error).await),
        };
        let mut dealt = Self {
            folder,
            streams: streams.len(),
            buckets: vec![0; buckets as usize],
            events: 0,
            last: i64::MIN,
            skipped: Skipped::new(),
        };
        let mut tasks = JoinSet::new();
        for (stream, rows) in streams.into_iter().enumerate() {
            let dealing = Dealing::new(&dealt.folder, stream, rows.schema(), buckets);
            tasks.spawn(dealing.run(rows));
        }
        let mut invalid = 0;
        while let Some(task) = tasks.join_next().await {
            match task.context("a worker stopped")? {
                Ok(dealing) => {
                    invalid += dealing.invalid;
                    dealt.last = dealt.last.max(dealing.last);
                    dealt.buckets.iter_mut().zip(&dealing.counts).for_each(|(all, some)| *all += some);
                }
                Err(error) => {
                    return Err(match error.downcast() {
                        Ok(error) => diagnose::explain(events, how.rules, error).await,
                        Err(error) => error,
                    });
                }
            }
        }
        dealt.events = dealt.buckets.iter().sum();
        if invalid > 0 {
            dealt.skipped = fold::skipped(events, how.rules).await?;
        }
        Ok(dealt)
    }

    /// Whether a bucket has news.
    pub(super) fn has(&self, bucket: u32) -> bool {
        self.buckets[bucket as usize] > 0
    }

    /// A bucket's events by member.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn read(&self, bucket: u32) -> anyhow::Result<HashMap<String, Vec<Event>>> {
        let mut members: HashMap<String, Vec<Event>> = HashMap::new();
        for stream in 0..self.streams {
            let path = place(&self.folder, stream, bucket);
            let Ok(file) = File::open(&path) else { continue };
            for batch in StreamReader::try_new(BufReader::new(file), None)? {
                let batch = batch?;
                let (names, events) = columns(&batch);
                for (row, name) in names.iter().enumerate() {
                    let name = name.unwrap_or_default();
                    let events = events.value(row);
                    match members.get_mut(name) {
                        Some(known) => packed::read_into(events, known)?,
                        None => packed::read_into(events, members.entry(name.to_owned()).or_default())?,
                    }
                }
            }
        }
        Ok(members)
    }
}

fn place(folder: &Path, stream: usize, bucket: u32) -> PathBuf {
    folder.join(format!("news-{bucket:04}-{stream}.arrow"))
}

fn columns(batch: &RecordBatch) -> (&StringArray, &BinaryArray) {
    (batch.column(0).as_string(), batch.column(1).as_binary())
}

impl Dealing {
    fn new(folder: &Path, stream: usize, schema: SchemaRef, buckets: u32) -> Self {
        Self {
            folder: folder.to_owned(),
            stream,
            schema,
            files: (0..buckets).map(|_| None).collect(),
            gathered: Vec::new(),
            rows: 0,
            counts: vec![0; buckets as usize],
            last: i64::MIN,
            invalid: 0,
        }
    }

    async fn run(mut self, mut rows: SendableRecordBatchStream) -> anyhow::Result<Self> {
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            self.rows += batch.num_rows();
            self.gathered.push(batch);
            if self.rows >= GATHERED {
                self.write()?;
            }
        }
        self.write()?;
        for file in self.files.iter_mut().flatten() {
            file.finish()?;
        }
        Ok(self)
    }

    fn write(&mut self) -> anyhow::Result<()> {
        let batch = concat_batches(&self.schema, &std::mem::take(&mut self.gathered))?;
        self.rows = 0;
        let (names, events) = columns(&batch);
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.files.len()];
        for (row, name) in names.iter().enumerate() {
            let (Some(name), true) = (name, events.is_valid(row)) else {
                self.invalid += 1;
                continue;
            };
            rows[bucket_of(name, self.files.len() as u32) as usize].push(row as u32);
            self.last = self.last.max(packed::time_of(events.value(row)));
        }
        for (bucket, rows) in rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            self.counts[bucket] += rows.len() as u64;
            let file = match &mut self.files[bucket] {
                Some(file) => file,
                none => {
                    let path = place(&self.folder, self.stream, bucket as u32);
                    let file =
                        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
                    none.insert(StreamWriter::try_new(BufWriter::new(file), &self.schema)?)
                }
            };
            file.write(&take_record_batch(&batch, &UInt32Array::from(rows))?)?;
        }
        Ok(())
    }
}
