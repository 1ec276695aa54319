//! `tiercast features`: the declared features of every member at every as-of date.

use std::{
    collections::BTreeMap,
    fs::File,
    iter,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, anyhow, bail};
use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, Float32Array, RecordBatch, StringArray, StructArray,
            TimestampMillisecondArray, UInt32Array,
        },
        compute::{self, cast},
        datatypes::{DataType, Field, Float32Type, Int64Type, Schema, SchemaRef, TimeUnit},
    },
    parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties},
};
use indicatif::{HumanCount, ProgressBar};
use tiercast_core::{FeatureSchema, Timestamp};

use crate::{
    coverage,
    dataset::{Dataset, RowKey},
    engine::Engine,
    fold::{self, Gathering, Points, Skipped},
    progress,
    project::{Project, count},
    table::{Events, ReadOptions},
    whole::Whole,
};

pub(crate) mod known;
pub(crate) mod store;

use store::Store;

/// Compute the declared features of every member at every as-of date of the project.
///
/// Features know only the events before the as-of date. The table, by member and as-of date, has the columns member,
/// as_of, one per feature (32-bit floats, NaN where nothing is known), current_spend and target_spend (minor units of the
/// currency): net spend in the tier period that ends at the as-of date, and in the one that starts there; and
/// next_purchase: days from the as-of date to the first purchase of the period that starts there, NaN where there is none.
///
/// Example: tiercast features -p tiercast.toml -o features.parquet
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The project file.
    #[arg(short, long, default_value = "tiercast.toml")]
    pub project: PathBuf,
    /// Where to write the features.
    #[arg(short, long, default_value = "features.parquet")]
    pub output: PathBuf,
    /// Leave out rows that are not valid events, and count them, instead of stopping at the first.
    #[arg(long)]
    pub skip_invalid: bool,
    /// Parallel partitions; the number of cores by default.
    #[arg(long)]
    pub partitions: Option<usize>,
    /// Memory for sorting, in MiB, beyond which events go to disk; on a cluster each executor has its own.
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub memory: usize,
    /// Where the work is done: embedded, or a cluster, ballista://host:port.
    #[arg(long, default_value = "embedded", value_name = "ENGINE")]
    pub engine: Engine,
}

/// Rows of a row group: what a file that is being written holds in memory.
const GROUP_ROWS: usize = 32_768;

/// How a dataset is built.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// How tables are read.
    pub read: ReadOptions,
    /// Whether invalid rows are counted and left out; otherwise the first one is an error.
    pub skip_invalid: bool,
}

/// Builds the rows of the given as-of dates; the first invalid row of the tables is an error.
///
/// # Errors
/// When a table cannot be read, a row is not a valid event (the message names table, row and code), or an as-of date
/// lies outside the table.
pub fn build(project: &Project, as_ofs: &[Timestamp], progress: &ProgressBar) -> anyhow::Result<Dataset> {
    Ok(build_with(project, as_ofs, &BuildOptions::default(), progress)?.0)
}

/// [`build`] with options; also gives the rows that were left out.
///
/// # Errors
/// As [`build`].
pub fn build_with(
    project: &Project,
    as_ofs: &[Timestamp],
    options: &BuildOptions,
    progress: &ProgressBar,
) -> anyhow::Result<(Dataset, Skipped)> {
    let mut building = Building::new(project, as_ofs, options, progress)?;
    let mut rows = RawRows::default();
    let folded = building.run(false, |batch| rows.extend(batch))?;
    let skipped = folded.skipped.clone();
    Ok((folded.dataset(rows, building.points)?, skipped))
}

/// Builds the project's rows as files in a folder, with a sample of at most so many that memory holds.
///
/// # Errors
/// As [`build`], and when a file cannot be written.
pub(crate) fn build_beyond(
    project: &Project,
    options: &BuildOptions,
    folder: &Path,
    most: usize,
    progress: &ProgressBar,
) -> anyhow::Result<(Dataset, Store)> {
    let mut building = Building::new(project, &project.as_ofs(), options, progress)?;
    let mut writer = store::Writer::create(folder, building.points.schema.len(), most, project.seed)?;
    let folded = building.run(false, |batch| writer.take(batch))?;
    let (store, sample) = writer.finish()?;
    Ok((folded.dataset(sample, building.points)?, store))
}

/// Points of a project's members, about to be computed.
struct Building<'a> {
    project: &'a Project,
    options: &'a BuildOptions,
    progress: &'a ProgressBar,
    points: Points,
    /// Whether dates may lie outside the tables, because nobody asks what came after them.
    any_date: bool,
    /// The times of the first and the last event so far.
    span: Option<(i64, i64)>,
}

/// What is known of the tables once they are folded.
struct Folded {
    categories: Vec<String>,
    warnings: Vec<String>,
    skipped: Skipped,
}

impl<'a> Building<'a> {
    fn new(
        project: &'a Project,
        as_ofs: &[Timestamp],
        options: &'a BuildOptions,
        progress: &'a ProgressBar,
    ) -> anyhow::Result<Self> {
        let mut as_ofs = as_ofs.to_vec();
        as_ofs.sort_unstable();
        as_ofs.dedup();
        let points = Points {
            schema: project.schema()?,
            as_ofs,
            period: project.tiers.period,
            active_within: project.split.active_within,
        };
        Ok(Self { project, options, progress, points, any_date: false, span: None })
    }

    /// Folds the project's tables and gives the points of each batch of members to `take`.
    fn run(
        &mut self,
        sorted: bool,
        mut take: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
    ) -> anyhow::Result<Folded> {
        let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
        runtime.block_on(async {
            let events = Events::open(self.project, &self.options.read).await?;
            let how = Gathering {
                rules: &self.points.schema.spec().events.clone(),
                skip_invalid: self.options.skip_invalid,
                after: None,
                sorted,
                progress: self.progress,
            };
            let points = Arc::new(self.points.clone());
            let skipped = fold::gather(&events, points, &how, |batch| {
                self.see(batch)?;
                take(batch)
            })
            .await?;
            let (first, last) = self.span.context("the tables have no event")?;
            let span = (Timestamp::from_ms(first)?, Timestamp::from_ms(last)?);
            let warnings = match self.any_date {
                true => Vec::new(),
                false => coverage::warnings(&self.points.as_ofs, self.points.period, span)?,
            };
            let categories =
                if self.project.sequence.is_some() { categories(&events).await? } else { Vec::new() };
            Ok(Folded { categories, warnings, skipped })
        })
    }

    fn see(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let made = batch.column(1).as_struct_opt().with_context(|| unexpected(batch))?;
        let times = |column: usize| made.column(column).as_primitive::<Int64Type>();
        let (first, last) = (compute::min(times(1)), compute::max(times(2)));
        if let (Some(first), Some(last)) = (first, last) {
            let (earliest, latest) = self.span.unwrap_or((first, last));
            self.span = Some((earliest.min(first), latest.max(last)));
        }
        Ok(())
    }
}

fn unexpected(batch: &RecordBatch) -> String {
    format!("the fold gave columns {}", batch.schema())
}

impl Folded {
    fn dataset(self, rows: RawRows, points: Points) -> anyhow::Result<Dataset> {
        if rows.keys.is_empty() {
            bail!("no member is active before an as-of date; check [split] active_within");
        }
        Ok(Dataset { warnings: self.warnings, categories: self.categories, ..rows.sort(points) })
    }
}

/// Categories that a profile's interests can name.
const MOST_CATEGORIES: usize = 256;

/// The most frequent categories of purchases, the most frequent first.
async fn categories(events: &Events) -> anyhow::Result<Vec<String>> {
    events.context.register_table("events", events.frame().await?.into_view())?;
    let sql = format!(
        "SELECT CAST(\"category\" AS VARCHAR) AS \"name\" FROM \"events\" WHERE \"category\" IS NOT NULL AND \"kind\" = 'purchase' \
         GROUP BY \"category\" ORDER BY count(*) DESC, \"category\" LIMIT {MOST_CATEGORIES}"
    );
    let batches = events.context.sql(&sql).await?.collect().await?;
    let mut names = Vec::new();
    for batch in &batches {
        let column = cast(batch.column(0), &DataType::Utf8)?;
        names.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(names)
}

/// A batch of what the fold makes of members.
struct Made<'b> {
    members: &'b StringArray,
    /// Where each member's points begin, and where the last one's end.
    offsets: Vec<usize>,
    /// As-of dates, features, and the two spends and the next purchase.
    points: StructArray,
}

impl<'b> Made<'b> {
    fn of(batch: &'b RecordBatch) -> anyhow::Result<Self> {
        let unexpected = || anyhow!(unexpected(batch));
        let members: &StringArray = batch.column(0).as_string_opt().with_context(unexpected)?;
        let made = batch.column(1).as_struct_opt().with_context(unexpected)?;
        let lists = made.column(0).as_list_opt::<i32>().with_context(unexpected)?;
        // A slice of a list array has all values of the whole; what it begins and ends with are offsets into them.
        let offsets = lists.value_offsets();
        let (from, to) = (offsets[0], offsets[lists.len()]);
        let points = lists.values().as_struct_opt().with_context(unexpected)?;
        let points = points.slice(from as usize, (to - from) as usize);
        Ok(Self { members, offsets: offsets.iter().map(|offset| (offset - from) as usize).collect(), points })
    }
}

/// Rows as the fold gives them, before any transform, in whatever order partitions finish.
#[derive(Debug, Default)]
pub(crate) struct RawRows {
    pub(crate) keys: Vec<RowKey>,
    pub(crate) features: Vec<f32>,
    pub(crate) current: Vec<i64>,
    pub(crate) target: Vec<i64>,
    pub(crate) next: Vec<f32>,
}

impl RawRows {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The rows at these places, of so many features each.
    pub(crate) fn select(&self, at: &[usize], width: usize) -> Self {
        Self {
            keys: at.iter().map(|at| self.keys[*at].clone()).collect(),
            features: at
                .iter()
                .flat_map(|at| &self.features[at * width..(at + 1) * width])
                .copied()
                .collect(),
            current: at.iter().map(|at| self.current[*at]).collect(),
            target: at.iter().map(|at| self.target[*at]).collect(),
            next: at.iter().map(|at| self.next[*at]).collect(),
        }
    }

    fn append(&mut self, mut rows: Self) {
        self.keys.append(&mut rows.keys);
        self.features.append(&mut rows.features);
        self.current.append(&mut rows.current);
        self.target.append(&mut rows.target);
        self.next.append(&mut rows.next);
    }

    fn extend(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let Made { members, offsets, points } = Made::of(batch)?;
        let as_ofs = points.column(0).as_primitive::<Int64Type>().values();
        for (member, places) in offsets.windows(2).enumerate() {
            for as_of in &as_ofs[places[0]..places[1]] {
                let as_of = Timestamp::from_ms(*as_of)?;
                self.keys.push(RowKey { member: members.value(member).to_owned(), as_of });
            }
        }
        let features = points.column(1).as_fixed_size_list().values();
        self.features.extend_from_slice(features.as_primitive::<Float32Type>().values());
        self.current.extend_from_slice(points.column(2).as_primitive::<Int64Type>().values());
        self.target.extend_from_slice(points.column(3).as_primitive::<Int64Type>().values());
        self.next.extend_from_slice(points.column(4).as_primitive::<Float32Type>().values());
        Ok(())
    }

    fn sort(self, points: Points) -> Dataset {
        let mut order: Vec<usize> = (0..self.len()).collect();
        let key = |at: usize| (self.keys[at].as_of, self.keys[at].member.as_str());
        order.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)));
        let Self { keys, features, current, target, next } = self.select(&order, points.schema.len());
        Dataset {
            features,
            current_spend: current,
            target_spend: target,
            next_purchase: next,
            rows: keys,
            schema: points.schema,
            categories: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// As [`build_with`], and when the output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let project = Project::load(&args.project)?;
    let bar = progress::spinner("rows read");
    let options = BuildOptions {
        read: ReadOptions {
            partitions: args.partitions,
            memory: Some(args.memory.max(64) << 20),
            engine: args.engine,
        },
        skip_invalid: args.skip_invalid,
    };
    let mut building = Building::new(&project, &project.as_ofs(), &options, &bar)?;
    let mut writer = Writer::create(&args.output, &building.points.schema)?;
    let folded = building.run(true, |batch| writer.take(batch))?;
    bar.finish_and_clear();
    let (rows, width) = (writer.finish()?, building.points.schema.len());
    report_skipped(&folded.skipped);
    folded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    say!(
        "{}: {}{} × {} written in {:.1} s",
        args.output.display(),
        // On a cluster, others read them.
        match bar.position() {
            0 => String::new(),
            read => format!("{} rows read, ", HumanCount(read)),
        },
        count(rows.values().sum::<usize>(), "row"),
        count(width, "feature"),
        started.elapsed().as_secs_f64()
    );
    for (as_of, members) in rows {
        say!("  {}: {}", as_of.date(), count(members, "member"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says on stderr what was left out.
pub fn report_skipped(skipped: &Skipped) {
    for (code, (rows, message)) in skipped {
        eprintln!("left out {}: {code}, for example: {message}", count(*rows as usize, "row"));
    }
}

/// A table of features being written, by member and as-of date, in a memory of one row group.
struct Writer {
    schema: SchemaRef,
    writer: ArrowWriter<File>,
    whole: Whole,
    /// What is not yet written, and how many rows that is.
    gathered: Vec<RecordBatch>,
    waiting: usize,
    width: usize,
    rows: BTreeMap<i64, usize>,
}

impl Writer {
    fn create(path: &Path, features: &FeatureSchema) -> anyhow::Result<Self> {
        let as_of_type = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let mut fields =
            vec![Field::new("member", DataType::Utf8, false), Field::new("as_of", as_of_type, false)];
        fields.extend(features.names().map(|name| Field::new(name, DataType::Float32, false)));
        fields.push(Field::new("current_spend", DataType::Int64, false));
        fields.push(Field::new("target_spend", DataType::Int64, false));
        fields.push(Field::new("next_purchase", DataType::Float32, false));
        let schema = Arc::new(Schema::new(fields));
        let (whole, file) = Whole::create(path)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            // Few features repeat their numbers often enough for a dictionary to pay.
            .set_dictionary_enabled(false)
            .set_column_dictionary_enabled("as_of".into(), true)
            .build();
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
        let (gathered, waiting, rows) = Default::default();
        Ok(Self { schema, writer, whole, gathered, waiting, width: features.len(), rows })
    }

    fn take(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let rows = self.table(&Made::of(batch)?)?;
        self.waiting += rows.num_rows();
        self.gathered.push(rows);
        // Batches are cut as it happens, row groups always alike.
        while self.waiting >= GROUP_ROWS {
            self.write(GROUP_ROWS)?;
        }
        Ok(())
    }

    /// The columns of the file.
    fn table(&mut self, made: &Made<'_>) -> anyhow::Result<RecordBatch> {
        let as_ofs = made.points.column(0).as_primitive::<Int64Type>().values();
        as_ofs.iter().for_each(|as_of| *self.rows.entry(*as_of).or_default() += 1);
        let times = TimestampMillisecondArray::new(as_ofs.clone(), None).with_timezone("UTC");
        let repeated = made.offsets.windows(2).enumerate();
        let member =
            repeated.flat_map(|(member, places)| iter::repeat_n(member as u32, places[1] - places[0]));
        let members = compute::take(made.members, &UInt32Array::from_iter_values(member), None)?;
        let mut features = vec![Vec::with_capacity(as_ofs.len()); self.width];
        let values = made.points.column(1).as_fixed_size_list().values();
        for row in values.as_primitive::<Float32Type>().values().chunks_exact(self.width) {
            features.iter_mut().zip(row).for_each(|(column, value)| column.push(*value));
        }
        let mut columns: Vec<ArrayRef> = vec![members, Arc::new(times)];
        columns
            .extend(features.into_iter().map(|column| -> ArrayRef { Arc::new(Float32Array::from(column)) }));
        columns.extend((2..5).map(|outcome| Arc::clone(made.points.column(outcome))));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Writes so many rows of those that wait.
    fn write(&mut self, rows: usize) -> anyhow::Result<()> {
        let all = compute::concat_batches(&self.schema, &self.gathered)?;
        self.writer.write(&all.slice(0, rows))?;
        self.waiting -= rows;
        self.gathered = vec![all.slice(rows, self.waiting)];
        Ok(())
    }

    /// Closes the file, which then appears. Gives the rows of each as-of date.
    fn finish(mut self) -> anyhow::Result<BTreeMap<Timestamp, usize>> {
        self.write(self.waiting)?;
        if self.rows.is_empty() {
            bail!("no member is active before an as-of date; check [split] active_within");
        }
        self.writer.close()?;
        self.whole.appear()?;
        self.rows.into_iter().map(|(as_of, rows)| Ok((Timestamp::from_ms(as_of)?, rows))).collect()
    }
}

/// Writes one batch as a Parquet file, which appears once it is whole.
///
/// # Errors
/// When the file cannot be written; what was there stays.
pub(crate) fn write_parquet(path: &Path, batch: &RecordBatch) -> anyhow::Result<()> {
    let (whole, file) = Whole::create(path)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.close()?;
    whole.appear()
}

#[cfg(test)]
mod tests;
