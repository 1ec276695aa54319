//! `tiercast data synth`: a shop whose members were never anyone.
//!
//! Invariant: a member's events depend on the seed and on the member's number alone, so that any part of any size is
//! the same part. Memory is one row group, whatever the number of members.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, ensure};
use datafusion::{
    arrow::{
        array::{
            ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
        },
        datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    },
    parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties},
};
use indicatif::HumanCount;
use tiercast_core::Timestamp;

use crate::{cores, progress, whole::Whole};
use member::Happening;

mod catalogue;
mod member;

/// Generate realistic members, reproducibly, and their project file.
///
/// Two years of events (2023 and 2024): orders with lines in twelve categories, discounts in promotion weeks, coupons,
/// returns, sessions with views and carts, reviews; through shop, web and app. Members differ in rate, basket and
/// taste; they drift, follow the season, pause, lapse, come back, and hurry when the next tier is near.
/// The same seed gives the same members, whatever their number. Any number fits into memory.
///
/// Example: tiercast data synth --members 10000 --seed 7 --out shop
/// A large one: tiercast data synth --members 10000000 --visits 0.03 --by-month --out shop
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// How many members.
    #[arg(long, default_value_t = 10_000)]
    pub members: u64,
    /// Decides everything about them.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// How often they come, against the usual: 1 is about 290 events a member, 0.03 about 10.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub visits: f64,
    /// Write a folder of files, one for each month of each million members, instead of one file.
    #[arg(long)]
    pub by_month: bool,
    /// The folder for events.parquet, or events/, and tiercast.toml.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace a tiercast.toml that differs from the one this version writes; it is kept by default.
    #[arg(long)]
    pub force: bool,
}

/// Rows of a row group of a single file: what is held in memory.
const GROUP_ROWS: usize = 200_000;
/// Rows of a row group of a month's file, of which all are open at once.
const MONTH_GROUP_ROWS: usize = 20_000;
/// Members whose months are files of their own.
const SHARE: u64 = 1_000_000;

const PROJECT: &str = include_str!("../../projects/synth.toml");

/// Runs the command.
///
/// # Errors
/// When the folder cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let rows = write(&args)?;
    say!("{}", args.out.join("tiercast.toml").display());
    eprintln!(
        "{} members, {} events in {:.1} s",
        HumanCount(args.members),
        HumanCount(rows),
        started.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes events.parquet and tiercast.toml into a folder, and gives the number of events.
///
/// Another tiercast.toml that is there already is kept unless `force` is given.
///
/// # Errors
/// When the folder cannot be written, or no member is asked for.
pub fn generate(members: u64, seed: u64, folder: &Path, force: bool) -> anyhow::Result<u64> {
    write(&Args { members, seed, visits: 1.0, by_month: false, out: folder.to_owned(), force })
}

fn write(args: &Args) -> anyhow::Result<u64> {
    ensure!(args.members > 0, "ask for at least one member");
    ensure!(args.visits > 0.0 && args.visits <= 100.0, "--visits is a factor above 0, at most 100");
    let folder = &args.out;
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let bar = progress::bar(args.members, "members");
    let rows = if args.by_month { write_months(args, &bar)? } else { write_one(args, &bar)? };
    bar.finish_and_clear();
    let project = match args.by_month {
        true => PROJECT.replace("table = \"events.parquet\"", "table = \"events/\""),
        false => PROJECT.to_owned(),
    };
    super::write_project(&folder.join("tiercast.toml"), &project, args.force)?;
    Ok(rows)
}

fn write_one(args: &Args, bar: &indicatif::ProgressBar) -> anyhow::Result<u64> {
    let path = args.out.join("events.parquet");
    let mut file = Table::create(&path, GROUP_ROWS)?;
    for number in 0..args.members {
        for (index, happening) in member::history(args.seed, number, args.visits).iter().enumerate() {
            file.push(number, index, happening)?;
        }
        bar.inc(1);
    }
    file.close()
}

/// A folder that is whole or not there: it is made under another name.
fn write_months(args: &Args, bar: &indicatif::ProgressBar) -> anyhow::Result<u64> {
    let (folder, part) = (args.out.join("events"), args.out.join("events.part"));
    for old in [&folder, &part] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot replace {}", old.display()))?;
        }
    }
    fs::create_dir_all(&part)?;
    let shares: Vec<u64> = (0..args.members.div_ceil(SHARE)).collect();
    let rows = cores::each(shares, |share| {
        let mut months: BTreeMap<String, Table> = BTreeMap::new();
        for number in share * SHARE..args.members.min((share + 1) * SHARE) {
            for (index, happening) in member::history(args.seed, number, args.visits).iter().enumerate() {
                let month = Timestamp::from_ms(happening.time)?.date()[..7].to_owned();
                let table = match months.entry(month) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        let path = part.join(format!("{}-{share:03}.parquet", entry.key()));
                        entry.insert(Table::create(&path, MONTH_GROUP_ROWS)?)
                    }
                };
                table.push(number, index, happening)?;
            }
            bar.inc(1);
        }
        months.into_values().map(Table::close).sum::<anyhow::Result<u64>>()
    })?;
    fs::rename(&part, &folder)?;
    Ok(rows.iter().sum())
}

/// A file of events being written.
struct Table {
    writer: ArrowWriter<File>,
    whole: Whole,
    schema: SchemaRef,
    rows: Rows,
    group: usize,
    total: u64,
}

impl Table {
    fn create(path: &Path, group: usize) -> anyhow::Result<Self> {
        let (whole, file) = Whole::create(path)?;
        let schema = schema();
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(group))
            .build();
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
        Ok(Self { writer, whole, schema, rows: Rows::default(), group, total: 0 })
    }

    fn push(&mut self, number: u64, index: usize, happening: &Happening) -> anyhow::Result<()> {
        self.rows.push(number, index, happening);
        if self.rows.len == self.group { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        self.total += self.rows.len as u64;
        Ok(self.writer.write(&self.rows.finish(&self.schema)?)?)
    }

    fn close(mut self) -> anyhow::Result<u64> {
        self.write()?;
        self.writer.close()?;
        self.whole.appear()?;
        Ok(self.total)
    }
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("member", DataType::Utf8, false),
        Field::new("id", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("time", time, false),
        Field::new("amount", DataType::Float64, true),
        Field::new("discount", DataType::Float64, true),
        Field::new("quantity", DataType::Int64, true),
        Field::new("item", DataType::Utf8, true),
        Field::new("category", DataType::Utf8, true),
        Field::new("channel", DataType::Utf8, false),
        Field::new("order", DataType::Utf8, true),
    ]))
}

/// Columns being filled.
#[derive(Default)]
struct Rows {
    len: usize,
    texts: [StringBuilder; 7],
    time: TimestampMillisecondBuilder,
    amount: Float64Builder,
    discount: Float64Builder,
    quantity: Int64Builder,
}

impl Rows {
    fn push(&mut self, number: u64, index: usize, happening: &Happening) {
        let [member, id, kind, item, category, channel, order] = &mut self.texts;
        let name = format!("m{number:08}");
        let major = |cents: i64| cents as f64 / 100.0;
        id.append_value(format!("{name}-{index}"));
        kind.append_value(happening.kind);
        item.append_option(happening.item.map(|item| format!("{}-{:03}", item.category, item.rank)));
        category.append_option(happening.item.map(|item| catalogue::CATEGORIES[item.category].name));
        channel.append_value(happening.channel);
        order.append_option(happening.order.map(|order| format!("{name}-o{order}")));
        member.append_value(name);
        self.time.append_value(happening.time);
        self.amount.append_option(happening.paid.map(|paid| major(paid.amount)));
        self.discount.append_option(happening.paid.map(|paid| major(paid.discount)));
        self.quantity.append_option(happening.paid.map(|paid| paid.quantity));
        self.len += 1;
    }

    fn finish(&mut self, schema: &SchemaRef) -> anyhow::Result<RecordBatch> {
        self.len = 0;
        let [member, id, kind, item, category, channel, order] =
            self.texts.each_mut().map(|text| -> ArrayRef { Arc::new(text.finish()) });
        let time = Arc::new(self.time.finish().with_timezone("UTC"));
        let (amount, discount) = (Arc::new(self.amount.finish()), Arc::new(self.discount.finish()));
        let quantity = Arc::new(self.quantity.finish());
        let columns =
            vec![member, id, kind, time, amount, discount, quantity, item, category, channel, order];
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = |seed, name: &str| {
            generate(30, seed, &folder.path().join(name), false).unwrap();
            fs::read(folder.path().join(name).join("events.parquet")).unwrap()
        };
        assert_eq!(bytes(7, "a"), bytes(7, "b"));
        assert_ne!(bytes(7, "a"), bytes(8, "c"));
    }

    #[test]
    fn members_do_not_depend_on_their_number() {
        assert_eq!(member::history(7, 12, 1.0), member::history(7, 12, 1.0));
        assert_ne!(member::history(7, 12, 1.0), member::history(7, 13, 1.0));
    }

    #[test]
    fn the_project_file_is_valid() {
        crate::project::Project::parse(PROJECT, Path::new("tiercast.toml")).unwrap();
    }
}
