//! `tiercast risk moments`: what core knew of a member at each order or login, with what that turned out to be.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use datafusion::arrow::{
    array::{
        Array, ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch, StringArray,
        TimestampMillisecondArray,
    },
    datatypes::{Field, Float32Type, Int64Type, Schema},
};
use tiercast_core::Timestamp;

use crate::{
    features::{self, report_skipped},
    fold::{self, Gathering, Moments},
    policy::log::Source,
    progress,
    project::{Project, count},
    table::{Events, ReadOptions},
    whole,
};

/// Compute the declared features at each order, login or other event, as they were known at that moment.
///
/// The event itself is known then, and nothing after it. The table, by time and member, has the columns member, time, one per
/// feature (32-bit floats, NaN where nothing is known) and, with --labels, label: 1 where the labels name this member and time,
/// otherwise 0. Lines of one order that have one time are one row.
///
/// Example: tiercast risk moments -p tiercast.toml --labels fraud.parquet
/// then     tiercast risk evaluate moments.parquet --label label --time time --exclude member
/// and      tiercast risk train run/bundle.tcb moments.parquet -o risk
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The project file.
    #[arg(short, long, default_value = "tiercast.toml")]
    pub project: PathBuf,
    /// Kinds of events that get a row; give it once for each.
    #[arg(long, value_name = "KIND", default_value = "purchase")]
    pub each: Vec<String>,
    /// A table of what was fraud: columns member and time, a row for each such event.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Where to write the rows.
    #[arg(short, long, default_value = "moments.parquet")]
    pub output: PathBuf,
    /// Leave out rows of the tables that are not valid events, and count them, instead of stopping at the first.
    #[arg(long)]
    pub skip_invalid: bool,
    /// Memory for sorting, in MiB, beyond which events go to disk; the rows themselves are held.
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub memory: usize,
}

/// Columns that are no features.
const OWN: [&str; 3] = ["member", "time", "label"];

/// Whose moment, and when in milliseconds.
type Key = (String, i64);

/// Rows by time and member.
struct Rows {
    keys: Vec<Key>,
    features: Vec<f32>,
}

/// Runs the command.
///
/// # Errors
/// When a table or the labels cannot be read, a label names a moment that is none, or the output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let project = Project::load(&args.project)?;
    let inputs = project.events.iter().map(|events| project.folder.join(&events.table));
    let inputs: Vec<PathBuf> = inputs.chain(args.labels.clone()).chain([args.project.clone()]).collect();
    whole::refuse_inputs(&args.output, &inputs)?;
    let schema = project.schema()?;
    let moments = Moments::new(schema.clone(), args.each.clone())?;
    if let Some(name) = schema.names().find(|name| OWN.contains(name)) {
        bail!("a feature is called {name:?}, as a column of its own is here; give the feature another name");
    }
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let known = args.labels.as_deref().map(|path| runtime.block_on(labels(path))).transpose()?;
    let rows = runtime.block_on(rows(&project, moments, &args))?.sorted(schema.len());
    let labels = known.map(|known| rows.labels(known)).transpose()?;
    features::write_parquet(&args.output, &batch(&rows, schema.names(), labels.as_deref())?)?;
    let frauds =
        labels.map_or(String::new(), |labels| format!(", {} of them fraud", labels.iter().sum::<i64>()));
    say!(
        "{}: {}{frauds}, {}, written in {:.1} s",
        args.output.display(),
        count(rows.keys.len(), "row"),
        count(schema.len(), "feature"),
        started.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

async fn rows(project: &Project, moments: Moments, args: &Args) -> anyhow::Result<Rows> {
    let read = ReadOptions { memory: Some(args.memory.max(64) << 20), ..ReadOptions::default() };
    let events = Events::open(project, &read).await?;
    let bar = progress::spinner("rows read");
    let how = Gathering {
        rules: &project.schema()?.spec().events.clone(),
        skip_invalid: args.skip_invalid,
        after: None,
        sorted: false,
        progress: &bar,
    };
    let mut rows = Rows { keys: Vec::new(), features: Vec::new() };
    let skipped = fold::gather(&events, Arc::new(moments), &how, |batch| rows.extend(batch)).await?;
    bar.finish_and_clear();
    report_skipped(&skipped);
    ensure!(!rows.keys.is_empty(), "no event is of kind {}; name others with --each", args.each.join(" or "));
    Ok(rows)
}

/// The moments that a file names.
async fn labels(path: &Path) -> anyhow::Result<HashSet<Key>> {
    let names = ["member", "time"].map(String::from);
    let table = Source::find(path).await?.read(&names).await.with_context(|| path.display().to_string())?;
    let (members, times) = (table.texts("member")?, table.times("time")?);
    Ok(members.iter().flatten().map(str::to_owned).zip(times).collect())
}

impl Rows {
    fn extend(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let unexpected = || format!("the fold gave columns {}", batch.schema());
        let members: &StringArray = batch.column(0).as_string_opt().with_context(unexpected)?;
        let lists = batch.column(1).as_list_opt::<i32>().with_context(unexpected)?;
        for (member, list) in members.iter().flatten().zip(lists.iter().flatten()) {
            let moments = list.as_struct_opt().with_context(unexpected)?;
            let times = moments.column(0).as_primitive::<Int64Type>().values();
            self.keys.extend(times.iter().map(|time| (member.to_owned(), *time)));
            // A slice of a list has the values of its own elements only.
            let features = moments.column(1).as_fixed_size_list();
            let width = features.value_length() as usize;
            let values = features.values().as_primitive::<Float32Type>().values();
            let from = features.value_offset(0) as usize;
            self.features.extend_from_slice(&values[from..from + width * times.len()]);
        }
        Ok(())
    }

    fn sorted(self, width: usize) -> Self {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        let key = |at: usize| (self.keys[at].1, self.keys[at].0.as_str());
        order.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)));
        Self {
            features: order
                .iter()
                .flat_map(|at| &self.features[at * width..(at + 1) * width])
                .copied()
                .collect(),
            keys: order.iter().map(|at| self.keys[*at].clone()).collect(),
        }
    }

    /// 1 for each row that is named, 0 for the others.
    fn labels(&self, mut known: HashSet<Key>) -> anyhow::Result<Vec<i64>> {
        let labels = self.keys.iter().map(|key| i64::from(known.remove(key))).collect();
        if let Some((member, time)) = known.iter().min() {
            let time = Timestamp::from_ms(*time)?.date();
            bail!(
                "{} of the labels name no event that has a row, for example of member {member:?} on {time}; \
                 is its kind one of --each, and its time the event's to the millisecond?",
                known.len()
            );
        }
        Ok(labels)
    }
}

fn batch<'n>(
    rows: &Rows,
    names: impl Iterator<Item = &'n str>,
    labels: Option<&[i64]>,
) -> anyhow::Result<RecordBatch> {
    let members: StringArray = rows.keys.iter().map(|(member, _)| Some(member.as_str())).collect();
    let times = TimestampMillisecondArray::from_iter_values(rows.keys.iter().map(|(_, time)| *time));
    let mut columns: Vec<(String, ArrayRef)> =
        vec![("member".into(), Arc::new(members)), ("time".into(), Arc::new(times.with_timezone("UTC")))];
    if let Some(labels) = labels {
        columns.push(("label".into(), Arc::new(Int64Array::from(labels.to_vec()))));
    }
    let names: Vec<&str> = names.collect();
    for (at, name) in names.iter().enumerate() {
        let values = rows.features.iter().skip(at).step_by(names.len()).copied();
        columns.push(((*name).to_owned(), Arc::new(Float32Array::from_iter_values(values))));
    }
    let fields: Vec<Field> =
        columns.iter().map(|(name, values)| Field::new(name, values.data_type().clone(), false)).collect();
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|(_, values)| values).collect(),
    )?)
}
