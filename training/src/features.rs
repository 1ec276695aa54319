//! `tiercast features`: the declared features of every member at every as-of date.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, anyhow, bail};
use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, StringArray,
            TimestampMillisecondArray,
        },
        compute::cast,
        datatypes::{DataType, Field, Float32Type, Int64Type, Schema, TimeUnit},
    },
    parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties},
};
use futures::StreamExt;
use indicatif::{HumanCount, ProgressBar};
use tiercast_core::Timestamp;

use crate::{
    coverage,
    dataset::{Dataset, RowKey},
    fold::{self, FoldPlan, Skipped},
    progress,
    project::{Project, count},
    table::{Events, FIELDS, ReadOptions, diagnose},
    whole::Whole,
};

pub(crate) mod store;

use store::Store;

/// Compute the declared features of every member at every as-of date of the project.
///
/// Features know only the events before the as-of date. The table has the columns member, as_of, one per feature
/// (32-bit floats, NaN where nothing is known), current_spend and target_spend (minor units of the currency): net spend
/// in the tier period that ends at the as-of date, and in the one that starts there; and next_purchase: days from the
/// as-of date to the first purchase of the period that starts there, NaN where there is none.
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
    /// Memory for grouping, in MiB, beyond which events go to disk; unlimited by default.
    #[arg(long, value_name = "MIB")]
    pub memory: Option<usize>,
}

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
) -> anyhow::Result<(Dataset, Arc<Skipped>)> {
    let skipped = Arc::new(Skipped::default());
    let plan = plan(project, as_ofs, options.skip_invalid.then(|| Arc::clone(&skipped)), progress)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let dataset = runtime.block_on(async {
        let mut rows = RawRows::default();
        let folded = fold(project, &plan, &options.read, |batch| rows.extend(batch)).await?;
        folded.dataset(rows, plan)
    })?;
    Ok((dataset, skipped))
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
    let plan = plan(project, &project.as_ofs(), None, progress)?;
    let mut writer = store::Writer::create(folder, plan.schema.len(), most, project.seed)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    runtime.block_on(async {
        let folded = fold(project, &plan, &options.read, |batch| writer.take(batch)).await?;
        let (store, sample) = writer.finish()?;
        Ok((folded.dataset(sample, plan)?, store))
    })
}

/// What the fold shall do.
fn plan(
    project: &Project,
    as_ofs: &[Timestamp],
    skipped: Option<Arc<Skipped>>,
    progress: &ProgressBar,
) -> anyhow::Result<FoldPlan> {
    let mut as_ofs = as_ofs.to_vec();
    as_ofs.sort_unstable();
    as_ofs.dedup();
    Ok(FoldPlan {
        schema: project.schema()?,
        as_ofs,
        period: project.tiers.period,
        active_within: project.split.active_within,
        skipped,
        span: Arc::default(),
        progress: progress.clone(),
    })
}

/// What is known of the tables once they are folded.
struct Folded {
    categories: Vec<String>,
    warnings: Vec<String>,
}

/// Folds the project's tables and gives the points of each batch of members to `take`.
async fn fold(
    project: &Project,
    plan: &FoldPlan,
    read: &ReadOptions,
    mut take: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
) -> anyhow::Result<Folded> {
    let events = Events::open(project, read).await?;
    events.context.register_udaf(fold::function(plan.clone()));
    events.context.register_table("events", events.frame().await?.into_view())?;
    let fields = FIELDS.map(|field| format!("\"{field}\"")).join(", ");
    let sql = format!(
        "SELECT \"member\", {}(\"member\", {fields}) AS \"points\" FROM \"events\" GROUP BY \"member\"",
        fold::NAME
    );
    let mut stream = events.context.sql(&sql).await?.execute_stream().await?;
    while let Some(batch) = stream.next().await {
        match batch {
            Ok(batch) => take(&batch)?,
            Err(error) => return Err(diagnose::explain(&events, &plan.schema.spec().events, error).await),
        }
    }
    let span = plan.span.get().context("the tables have no event")?;
    let warnings = coverage::warnings(&plan.as_ofs, plan.period, span)?;
    let categories = if project.sequence.is_some() { categories(&events).await? } else { Vec::new() };
    Ok(Folded { categories, warnings })
}

impl Folded {
    fn dataset(self, rows: RawRows, plan: FoldPlan) -> anyhow::Result<Dataset> {
        if rows.keys.is_empty() {
            bail!("no member is active before an as-of date; check [split] active_within");
        }
        Ok(Dataset { warnings: self.warnings, categories: self.categories, ..rows.sort(plan) })
    }
}

/// Categories that a profile's interests can name.
const MOST_CATEGORIES: usize = 256;

/// The most frequent categories of purchases, the most frequent first.
async fn categories(events: &Events) -> anyhow::Result<Vec<String>> {
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
        let unexpected = || anyhow!("the fold gave columns {}", batch.schema());
        let members: &StringArray = batch.column(0).as_string_opt().with_context(unexpected)?;
        let lists = batch.column(1).as_list_opt::<i32>().with_context(unexpected)?;
        for member in 0..batch.num_rows() {
            let points = lists.value(member);
            let points = points.as_struct_opt().with_context(unexpected)?;
            let as_ofs = points.column(0).as_primitive::<Int64Type>();
            if as_ofs.is_empty() {
                continue;
            }
            for as_of in as_ofs.values() {
                let as_of = Timestamp::from_ms(*as_of)?;
                self.keys.push(RowKey { member: members.value(member).to_owned(), as_of });
            }
            // A slice of a list array is seen through `value`; its child values are not cut.
            let features = points.column(1).as_fixed_size_list();
            for row in 0..features.len() {
                self.features.extend_from_slice(features.value(row).as_primitive::<Float32Type>().values());
            }
            self.current.extend_from_slice(points.column(2).as_primitive::<Int64Type>().values());
            self.target.extend_from_slice(points.column(3).as_primitive::<Int64Type>().values());
            self.next.extend_from_slice(points.column(4).as_primitive::<Float32Type>().values());
        }
        Ok(())
    }

    fn sort(self, plan: FoldPlan) -> Dataset {
        let mut order: Vec<usize> = (0..self.len()).collect();
        let key = |at: usize| (self.keys[at].as_of, self.keys[at].member.as_str());
        order.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)));
        let Self { keys, features, current, target, next } = self.select(&order, plan.schema.len());
        Dataset {
            features,
            current_spend: current,
            target_spend: target,
            next_purchase: next,
            rows: keys,
            schema: plan.schema,
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
        read: ReadOptions { partitions: args.partitions, memory: args.memory.map(|mib| mib << 20) },
        skip_invalid: args.skip_invalid,
    };
    let (dataset, skipped) = build_with(&project, &project.as_ofs(), &options, &bar)?;
    bar.finish_and_clear();
    write(&dataset, &args.output)?;
    report_skipped(&skipped);
    dataset.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    say!(
        "{}: {} rows read, {} × {} written in {:.1} s",
        args.output.display(),
        HumanCount(bar.position()),
        count(dataset.len(), "row"),
        count(dataset.schema.len(), "feature"),
        started.elapsed().as_secs_f64()
    );
    for rows in dataset.rows.chunk_by(|a, b| a.as_of == b.as_of) {
        say!("  {}: {}", rows[0].as_of.date(), count(rows.len(), "member"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says on stderr what was left out.
pub fn report_skipped(skipped: &Skipped) {
    for (code, (rows, message)) in skipped.counts() {
        eprintln!("left out {}: {code}, for example: {message}", count(rows as usize, "row"));
    }
}

/// Writes a dataset as Parquet.
///
/// # Errors
/// When the file cannot be written.
pub fn write(dataset: &Dataset, path: &std::path::Path) -> anyhow::Result<()> {
    let as_of_type = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let mut fields =
        vec![Field::new("member", DataType::Utf8, false), Field::new("as_of", as_of_type, false)];
    fields.extend(dataset.schema.names().map(|name| Field::new(name, DataType::Float32, false)));
    fields.push(Field::new("current_spend", DataType::Int64, false));
    fields.push(Field::new("target_spend", DataType::Int64, false));
    fields.push(Field::new("next_purchase", DataType::Float32, false));
    let schema = Arc::new(Schema::new(fields));

    let members = dataset.rows.iter().map(|row| Some(row.member.as_str()));
    let as_ofs = TimestampMillisecondArray::from_iter_values(dataset.rows.iter().map(|row| row.as_of.ms()));
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(members.collect::<StringArray>()), Arc::new(as_ofs.with_timezone("UTC"))];
    for feature in 0..dataset.schema.len() {
        let values = dataset.features.iter().skip(feature).step_by(dataset.schema.len()).copied();
        columns.push(Arc::new(Float32Array::from_iter_values(values)));
    }
    columns.push(Arc::new(Int64Array::from(dataset.current_spend.clone())));
    columns.push(Arc::new(Int64Array::from(dataset.target_spend.clone())));
    columns.push(Arc::new(Float32Array::from(dataset.next_purchase.clone())));
    write_parquet(path, &RecordBatch::try_new(schema, columns)?)
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
