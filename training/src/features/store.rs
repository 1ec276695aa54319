//! Rows beyond memory: all are written to Parquet files while features are computed, and those of a sample of members stay at
//! hand.
//!
//! A member's hash decides the file that its rows go to and whether it is in the sample, so that neither depends on the
//! order in which rows come. A file is what is in memory at a time, and is put in order once it is read.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray},
        datatypes::{DataType, Field, Float32Type, Int64Type, Schema, SchemaRef},
    },
    parquet::{
        arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
        basic::Compression,
        file::properties::WriterProperties,
    },
};
use sha2::{Digest, Sha256};
use tiercast_core::Timestamp;

use super::RawRows;
use crate::dataset::RowKey;

/// Files that rows are dealt into.
pub(crate) const FILES: u64 = 64;
/// Rows that are gathered before they are dealt out.
const GATHERED: usize = 65_536;
/// Rows of a row group: what each open file holds in memory.
const GROUP_ROWS: usize = 2048;

/// All rows, in files.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    width: usize,
    rows: BTreeMap<Timestamp, u64>,
    digest: u64,
}

/// A store that is being written, and the sample so far.
pub(super) struct Writer {
    store: Store,
    schema: SchemaRef,
    files: Vec<ArrowWriter<File>>,
    gathered: RawRows,
    sample: RawRows,
    /// Rows that the sample may have.
    most: usize,
    seed: u64,
    /// Members with a larger hash are in no sample.
    limit: u64,
}

/// A member's hash.
fn hash(seed: u64, member: &str) -> u64 {
    start(Sha256::new().chain_update(seed.to_le_bytes()).chain_update(member))
}

/// A hash of all that is known of a row.
fn digest(rows: &RawRows, at: usize, width: usize) -> u64 {
    let RowKey { member, as_of } = &rows.keys[at];
    let mut hash = Sha256::new().chain_update(member).chain_update(as_of.ms().to_le_bytes());
    let numbers = rows.features[at * width..(at + 1) * width].iter().chain([&rows.next[at]]);
    numbers.for_each(|x| hash.update(x.to_le_bytes()));
    [rows.current[at], rows.target[at]].iter().for_each(|x| hash.update(x.to_le_bytes()));
    start(hash)
}

/// The first eight bytes of a hash.
fn start(hash: Sha256) -> u64 {
    hash.finalize().iter().take(8).fold(0, |start, byte| start << 8 | u64::from(*byte))
}

/// The type of a number of the features.
fn number() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Float32, false))
}

impl Writer {
    /// Begins a store in an empty folder, with a sample of at most so many rows, of whole members.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub(super) fn create(folder: &Path, width: usize, most: usize, seed: u64) -> anyhow::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let store = Store { folder: folder.to_owned(), width, rows: BTreeMap::new(), digest: 0 };
        let schema = Arc::new(Schema::new(vec![
            Field::new("member", DataType::Utf8, false),
            Field::new("as_of", DataType::Int64, false),
            Field::new("features", DataType::FixedSizeList(number(), width as i32), false),
            Field::new("current_spend", DataType::Int64, false),
            Field::new("target_spend", DataType::Int64, false),
            Field::new("next_purchase", DataType::Float32, false),
        ]));
        let file = |at: u64| -> anyhow::Result<ArrowWriter<File>> {
            let path = store.path(at);
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            let properties = WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_max_row_group_row_count(Some(GROUP_ROWS))
                .build();
            Ok(ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?)
        };
        let files = (0..FILES).map(file).collect::<anyhow::Result<_>>()?;
        let (gathered, sample) = Default::default();
        Ok(Self { store, schema, files, gathered, sample, most, seed, limit: u64::MAX })
    }

    /// Takes what the fold gave.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn take(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        self.gathered.extend(batch)?;
        if self.gathered.len() >= GATHERED { self.deal() } else { Ok(()) }
    }

    /// Closes the files. Gives the store and the sample.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn finish(mut self) -> anyhow::Result<(Store, RawRows)> {
        self.deal()?;
        self.thin();
        for file in self.files {
            file.close()?;
        }
        Ok((self.store, self.sample))
    }

    fn deal(&mut self) -> anyhow::Result<()> {
        let rows = std::mem::take(&mut self.gathered);
        let hashes: Vec<u64> = rows.keys.iter().map(|key| hash(self.seed, &key.member)).collect();
        let mut of_file: Vec<Vec<usize>> = vec![Vec::new(); FILES as usize];
        for (at, hash) in hashes.iter().enumerate() {
            // The low digits, as the high ones say who is in the sample.
            of_file[(hash % FILES) as usize].push(at);
            self.store.digest = self.store.digest.wrapping_add(digest(&rows, at, self.store.width));
        }
        rows.keys.iter().for_each(|key| *self.store.rows.entry(key.as_of).or_default() += 1);
        for (file, at) in self.files.iter_mut().zip(&of_file).filter(|(_, at)| !at.is_empty()) {
            file.write(&table(&self.schema, &rows.select(at, self.store.width), self.store.width)?)?;
        }
        let sampled: Vec<usize> = (0..rows.len()).filter(|at| hashes[*at] <= self.limit).collect();
        self.sample.append(rows.select(&sampled, self.store.width));
        if self.sample.len() > 2 * self.most {
            self.thin();
        }
        Ok(())
    }

    /// Keeps the members with the smallest hashes, as many as the sample may have rows.
    fn thin(&mut self) {
        if self.sample.len() <= self.most {
            return;
        }
        let rows = std::mem::take(&mut self.sample);
        let hashes: Vec<u64> = rows.keys.iter().map(|key| hash(self.seed, &key.member)).collect();
        let mut sorted = hashes.clone();
        sorted.sort_unstable();
        // The member to whom the first row too many belongs is left out with all of his rows.
        self.limit = sorted[self.most].saturating_sub(1);
        let kept: Vec<usize> = (0..rows.len()).filter(|at| hashes[*at] <= self.limit).collect();
        self.sample = rows.select(&kept, self.store.width);
    }
}

fn table(schema: &SchemaRef, rows: &RawRows, width: usize) -> anyhow::Result<RecordBatch> {
    let members: StringArray = rows.keys.iter().map(|key| Some(key.member.as_str())).collect();
    let as_ofs: Int64Array = rows.keys.iter().map(|key| Some(key.as_of.ms())).collect();
    let features = Arc::new(Float32Array::from(rows.features.clone()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(members),
        Arc::new(as_ofs),
        Arc::new(FixedSizeListArray::try_new(number(), width as i32, features, None)?),
        Arc::new(Int64Array::from(rows.current.clone())),
        Arc::new(Int64Array::from(rows.target.clone())),
        Arc::new(Float32Array::from(rows.next.clone())),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

impl Store {
    /// How many rows there are.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.values().sum()
    }

    /// How many there are at some dates.
    pub(crate) fn rows_at(&self, dates: &[Timestamp]) -> u64 {
        self.rows.iter().filter(|(date, _)| dates.contains(date)).map(|(_, rows)| rows).sum()
    }

    /// What rows there are, in whatever order.
    pub(crate) fn digest(&self) -> String {
        format!("{}-{:016x}", self.rows(), self.digest)
    }

    /// Features of a row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    fn path(&self, at: u64) -> PathBuf {
        self.folder.join(format!("rows-{at:02}.parquet"))
    }

    /// A file's rows, by member and date.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&self, at: u64) -> anyhow::Result<RawRows> {
        let path = self.path(at);
        let read = || -> anyhow::Result<RawRows> {
            let mut rows = RawRows::default();
            for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(&path)?)?.build()? {
                let batch = batch?;
                let numbers = |column: usize| batch.column(column).as_primitive::<Int64Type>().values();
                let members: &StringArray = batch.column(0).as_string();
                for (member, as_of) in members.iter().zip(numbers(1)) {
                    let member = member.unwrap_or_default().to_owned();
                    rows.keys.push(RowKey { member, as_of: Timestamp::from_ms(*as_of)? });
                }
                let features = batch.column(2).as_fixed_size_list();
                ensure!(features.value_length() as usize == self.width, "its rows are of another width");
                rows.features.extend_from_slice(features.values().as_primitive::<Float32Type>().values());
                rows.current.extend_from_slice(numbers(3));
                rows.target.extend_from_slice(numbers(4));
                rows.next.extend_from_slice(batch.column(5).as_primitive::<Float32Type>().values());
            }
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_unstable_by(|a, b| rows.keys[*a].cmp(&rows.keys[*b]));
            Ok(rows.select(&order, self.width))
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 3;

    /// Two rows of each of so many members, in the order in which `at` gives them.
    fn rows(at: impl Iterator<Item = u64>) -> RawRows {
        let mut rows = RawRows::default();
        for at in at {
            let (member, day) = (at / 2, at % 2);
            let as_of = Timestamp::from_ms(day as i64 * 86_400_000).unwrap();
            rows.keys.push(RowKey { member: format!("m{member}"), as_of });
            rows.features.extend([at as f32, f32::NAN, -0.0]);
            rows.current.push(at as i64);
            rows.target.push(-(at as i64));
            rows.next.push(if at.is_multiple_of(3) { f32::NAN } else { 0.5 });
        }
        rows
    }

    fn sorted(rows: &RawRows) -> Vec<(RowKey, Vec<u32>, i64, i64, u32)> {
        let row = |at: usize| {
            let features = rows.features[at * WIDTH..(at + 1) * WIDTH].iter().map(|x| x.to_bits()).collect();
            (rows.keys[at].clone(), features, rows.current[at], rows.target[at], rows.next[at].to_bits())
        };
        let mut sorted: Vec<_> = (0..rows.len()).map(row).collect();
        sorted.sort();
        sorted
    }

    fn written(parts: Vec<RawRows>, most: usize) -> (tempfile::TempDir, Store, RawRows) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(&folder.path().join("rows"), WIDTH, most, 7).unwrap();
        for part in parts {
            writer.gathered.append(part);
            writer.deal().unwrap();
        }
        let (store, sample) = writer.finish().unwrap();
        (folder, store, sample)
    }

    #[test]
    fn a_sample_is_whole_members_and_the_same_in_whatever_order_they_come() {
        let all = || 0..2000_u64;
        let pieces = (0..20).map(|piece| rows(all().filter(|at| at % 20 == piece))).collect();
        let (_folder, store, sample) = written(vec![rows(all())], 301);
        let (_other, again, sample_again) = written(pieces, 301);
        let (_third, backwards, sample_backwards) = written(vec![rows(all().rev())], 301);
        assert!(sorted(&sample) == sorted(&sample_again) && sorted(&sample) == sorted(&sample_backwards));
        assert!(store.digest() == again.digest() && store.digest() == backwards.digest());
        assert_eq!((store.rows(), sample.len()), (2000, 300), "150 members whole");
        let numbers: Vec<i64> = sample.current.clone();
        assert!(numbers.iter().all(|at| numbers.contains(&(at ^ 1))));
        let (_fewer, fewer, _) = written(vec![rows(1..2000)], 301);
        assert_ne!(store.digest(), fewer.digest());
    }

    #[test]
    fn what_is_read_is_what_was_written_in_one_order() {
        let (_folder, store, sample) = written(vec![rows((0..500).rev()), rows(500..700)], 10_000);
        assert_eq!(sample.len(), 700, "all of them, where they fit");
        let mut read = RawRows::default();
        for at in 0..FILES {
            let part = store.read(at).unwrap();
            assert!(part.keys.is_sorted());
            read.append(part);
        }
        assert!(sorted(&read) == sorted(&rows(0..700)));
        fs::write(store.path(3), "no table").unwrap();
        assert!(format!("{:#}", store.read(3).unwrap_err()).contains("rows-03.parquet"));
    }
}
