//! `tiercast states`: each member's history, kept; a new day's events are added to those whom they concern.
//!
//! Invariant: a store is what building it anew from all of its files gives, by bits, in whatever portions and order the
//! files came. [`apply`] is the only change of a history.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, bail};
use indicatif::HumanCount;

use crate::{
    cores,
    features::report_skipped,
    fold::{Gathering, Skipped},
    progress,
    project::{Project, count},
    table::{Events, ReadOptions, SourceFile, Table},
};

mod apply;
mod deal;
mod store;

pub use store::Store;

use deal::Dealt;
use store::{Applied, Kept};

/// Keep each member's history, and add what is new.
///
/// STORE is a folder, made by the first run. Each later run adds the files of the project's tables that are not in it yet:
/// put new events into files of their own, for example sales/2024-06-02.parquet with table = "sales/", and run this every
/// day. Only members with news are touched. The histories are exactly those that all files together give, whatever came
/// late or twice, and serve `tiercast score --states`. They do not depend on the project's features.
///
/// A run that fails or is killed changes nothing. A file that has changed since it was added is an error: --rebuild reads
/// all files again.
///
/// Example: tiercast states states -p tiercast.toml && tiercast score run/bundle.tcb --states states -o scores/
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The folder of the histories.
    pub store: PathBuf,
    /// A table to read instead of the project's one.
    pub events: Option<PathBuf>,
    /// The project file.
    #[arg(short, long, default_value = "tiercast.toml")]
    pub project: PathBuf,
    /// Read all files again.
    #[arg(long)]
    pub rebuild: bool,
    /// Into how many parts members are dealt; about 150,000 members each are read into memory at once. Decided by the
    /// first run.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub buckets: u32,
    /// Leave out rows that are not valid events, and count them, instead of stopping at the first.
    #[arg(long)]
    pub skip_invalid: bool,
    /// Memory for reading tables, in MiB.
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub memory: usize,
}

/// What an update did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// Files that were added.
    pub files: usize,
    /// Events in them.
    pub events: u64,
    /// Members to whom they happened.
    pub members: u64,
    /// Of those, members that the store had not known.
    pub new: u64,
    /// Rows that were left out.
    pub skipped: Skipped,
}

/// Runs the command.
///
/// # Errors
/// As [`update`].
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let mut project = Project::load(&args.project)?;
    if let Some(events) = &args.events {
        project.read_instead(events)?;
    }
    let bar = progress::spinner("rows read");
    let updated = update(&project, &args, &bar)?;
    bar.finish_and_clear();
    report_skipped(&updated.skipped);
    if updated.files == 0 {
        say!("{}: every file is in it already", args.store.display());
        return Ok(ExitCode::SUCCESS);
    }
    let store = Store::open(&args.store)?;
    say!(
        "{}: {}, {} events of {} members added in {:.1} s, {} of them new; now {} members",
        args.store.display(),
        count(updated.files, "file"),
        HumanCount(updated.events),
        HumanCount(updated.members),
        started.elapsed().as_secs_f64(),
        HumanCount(updated.new),
        HumanCount(store.members())
    );
    Ok(ExitCode::SUCCESS)
}

/// Adds the files of a project's tables that a store does not have.
///
/// # Errors
/// When a table cannot be read, a row is not a valid event, a file has changed since it was added, or the store was built
/// by another mapping, currency or capacity, or is being updated by somebody else. The store is then as it was.
pub fn update(project: &Project, args: &Args, bar: &indicatif::ProgressBar) -> anyhow::Result<Updated> {
    let schema = project.schema()?;
    let store = Store::begin(&args.store, project, args.buckets, args.rebuild)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let read = ReadOptions { memory: Some(args.memory.max(64) << 20), ..ReadOptions::default() };
    let dealt = runtime.block_on(async {
        let mut events = Events::open(project, &read).await?;
        let news = store.news(&events)?;
        if news.is_empty() {
            return anyhow::Ok(None);
        }
        let is_new =
            |table: &Table, file: &SourceFile| news.iter().any(|new| new.is(&table.name, &file.name));
        events.keep(&is_new).await?;
        let rules = project.event_rules();
        let how = Gathering {
            rules: &rules,
            skip_invalid: args.skip_invalid,
            after: None,
            sorted: false,
            progress: bar,
        };
        let dealt = Dealt::deal(&events, &how, store.scratch()?, store.buckets()).await?;
        Ok(Some((news, dealt)))
    })?;
    let Some((news, dealt)) = dealt else { return Ok(Updated::default()) };
    if dealt.events == 0 {
        bail!("the new files have no event");
    }
    let kept = apply_all(&store, &dealt, &schema)?;
    let (members, new) = kept.iter().fold((0, 0), |(all, new), kept| (all + kept.touched, new + kept.new));
    let (files, events) = (news.len(), dealt.events);
    let skipped = dealt.skipped.clone();
    store.commit(news, kept, &dealt)?;
    Ok(Updated { files, events, members, new, skipped })
}

/// Applies the news of every bucket, on all cores.
fn apply_all(
    store: &Store,
    dealt: &Dealt,
    schema: &tiercast_core::FeatureSchema,
) -> anyhow::Result<Vec<Kept>> {
    let buckets: Vec<u32> = (0..store.buckets()).filter(|bucket| dealt.has(*bucket)).collect();
    cores::each(buckets, |bucket| {
        let news = dealt.read(bucket)?;
        store.apply(bucket, news, schema).with_context(|| format!("bucket {bucket}"))
    })
}

/// A folder's name as messages have it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What a project's tables mean, as a hash: under another mapping the same rows are other events.
fn mapping(project: &Project) -> String {
    use sha2::{Digest, Sha256};
    let mut all = Sha256::new();
    for table in &project.events {
        let columns = table.columns.given();
        let joins: Vec<_> = table.join.iter().map(|join| (&join.table, &join.on)).collect();
        all.update(format!("{:?}\n", (&table.filter, columns, joins)));
    }
    format!("{:x}", all.finalize())
}

impl Applied {
    fn is(&self, table: &str, name: &str) -> bool {
        self.table == table && self.file.name == name
    }
}

#[cfg(test)]
mod tests;
