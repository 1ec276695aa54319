//! `tiercast score`: a table of events in, a table of tiers out, in bounded memory.
//!
//! Rows are sorted by member, on disk where they do not fit, and each member is assessed by the same
//! [`Scorer::assess`] that the browser and the edge call.

use std::{collections::VecDeque, fs, path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context, bail};
use datafusion::{arrow::array::RecordBatch, prelude::col};
use futures::StreamExt;
use indicatif::{HumanCount, ProgressBar};
use tiercast_core::{Assessment, Event, Profile, Scorer, Timestamp};
use tokio::task::JoinHandle;

use crate::{
    features::report_skipped,
    fold::{Skipped, canonical},
    progress,
    project::Project,
    table::{
        Events, ReadOptions,
        columns::{EventColumns, RowError},
        diagnose,
    },
    whole,
};

pub(crate) mod output;

use output::Output;

/// Score the members of a table of events with a bundle.
///
/// EVENTS is a .parquet or .csv file with the columns member, kind and time, and as many as it has of id, amount,
/// discount, quantity, item, category, channel and order; or any table, when -p names a project file that maps its
/// columns. Without EVENTS the project's own tables are scored.
///
/// The output has one row a member, by member: as_of, tier, tier_name, expected_tier, p1 … pK, standing_tier, spend
/// (so far in the period of as_of), to_next_tier (what is missing to the tier after it) and warnings. A bundle with
/// profiles adds churn (the probability of no purchase in the next period), next_purchase (expected days to it,
/// otherwise), segment and interests (the categories that recent spend went to). The output's ending chooses the format: .parquet, .csv, .ndjson (one assessment a line, as the other runtimes give it) or .json (an array).
///
/// Example: tiercast score run/bundle.tcb sales.parquet -p tiercast.toml -o scores.parquet
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The bundle that `tiercast train` wrote.
    pub bundle: PathBuf,
    /// The table of events.
    pub events: Option<PathBuf>,
    /// Where to write the scores: .parquet, .csv, .ndjson or .json.
    #[arg(short, long)]
    pub output: PathBuf,
    /// The moment of the assessment, for example 2017-09-30T23:59:59.999Z; the time of the newest event by default.
    /// Events at or before it count.
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<String>,
    /// A project file that maps the table's columns to events.
    #[arg(short, long)]
    pub project: Option<PathBuf>,
    /// Write the features too, in columns that begin with feature_.
    #[arg(long)]
    pub features: bool,
    /// Write the profile's embedding too, in columns embedding_1, embedding_2, …: what `tiercast similar` reads.
    #[arg(long)]
    pub embedding: bool,
    /// Leave out rows that are not valid events, and count them, instead of stopping at the first.
    #[arg(long)]
    pub skip_invalid: bool,
    /// Memory for sorting, in MiB; what does not fit goes to disk.
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub memory: usize,
}

/// Members that are assessed together by one worker.
const CHUNK_MEMBERS: usize = 256;
/// Events after which a chunk is closed early, so that busy members do not pile up.
const CHUNK_EVENTS: usize = 200_000;

/// A member's assessment.
#[derive(Debug)]
pub struct Scored {
    /// The member's identifier.
    pub member: String,
    /// What core says.
    pub assessment: Assessment,
    /// What it says of the member's behaviour, if the bundle has profiles.
    pub profile: Option<Profile>,
}

/// Runs the command.
///
/// # Errors
/// When the bundle or the table cannot be read, the bundle does not prove itself, a row is not a valid event, or the output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let bytes = fs::read(&args.bundle).with_context(|| format!("cannot read {}", args.bundle.display()))?;
    let scorer = Scorer::load(&bytes).with_context(|| format!("{} cannot be used", args.bundle.display()))?;
    let proven = scorer.prove();
    proven.with_context(|| {
        format!("{} does not give here what it gave where it was made", args.bundle.display())
    })?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let bar = progress::spinner("members scored");
    let skipped = Skipped::default();
    let (members, as_of) = runtime.block_on(score(&args, Arc::new(scorer), &skipped, &bar))?;
    bar.finish_and_clear();
    report_skipped(&skipped);
    say!(
        "{}: {} members as of {as_of} in {:.1} s",
        args.output.display(),
        HumanCount(members),
        started.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

async fn score(
    args: &Args,
    scorer: Arc<Scorer>,
    skipped: &Skipped,
    bar: &ProgressBar,
) -> anyhow::Result<(u64, Timestamp)> {
    let events = open(args, &scorer).await?;
    let as_of = match &args.as_of {
        Some(text) => Timestamp::parse(text)?,
        None => events.span().await.context("name the moment with --as-of")?.1,
    };
    whole::refuse_inputs(&args.output, events.files.iter().chain([&args.bundle]))?;
    let mut output = Output::create(&args.output, &scorer, args.features, args.embedding)?;
    let mut workers = Workers { scorer: Arc::clone(&scorer), as_of, running: VecDeque::new() };
    let mut members = Members {
        scorer,
        as_of,
        skipped: args.skip_invalid.then_some(skipped),
        chunk: Vec::new(),
        events: 0,
    };
    let mut stream =
        events.frame().await?.sort(vec![col("member").sort(true, false)])?.execute_stream().await?;
    let mut scored = 0;
    let mut keep = |chunk: Vec<Scored>| {
        scored += chunk.len() as u64;
        bar.inc(chunk.len() as u64);
        output.write(&chunk)
    };
    while let Some(batch) = stream.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return Err(diagnose::explain(&events, workers.rules(), error).await),
        };
        for closed in members.take(&batch) {
            match closed {
                Ok(chunk) => match workers.start(chunk).await? {
                    Some(done) => keep(done)?,
                    None => continue,
                },
                Err(error) => return Err(diagnose::locate(&events, workers.rules(), error).await),
            }
        }
    }
    workers.start(members.chunk).await?.map(&mut keep).transpose()?;
    while let Some(done) = workers.finish_one().await? {
        keep(done)?;
    }
    if scored == 0 {
        bail!("no member has an event up to {as_of}");
    }
    output.close()?;
    Ok((scored, as_of))
}

async fn open(args: &Args, scorer: &Scorer) -> anyhow::Result<Events> {
    let read = ReadOptions { partitions: None, memory: Some(args.memory.max(64) << 20) };
    match (&args.project, &args.events) {
        (None, None) => bail!("name a table of events, or a project file with -p"),
        (None, Some(path)) => Events::open_canonical(path, &read).await,
        (Some(project), path) => {
            let mut project = Project::load(project)?;
            let expected = &scorer.bundle().schema().spec().events.currency;
            if project.currency != *expected {
                bail!(
                    "the project's amounts are in {}, the bundle's in {}",
                    project.currency.code,
                    expected.code
                );
            }
            if let Some(path) = path {
                let [table] = &mut project.events[..] else {
                    bail!("the project reads several tables; score them without naming one");
                };
                let path = std::path::absolute(path)?;
                table.table = path.to_str().context("the table's path is not readable text")?.to_owned();
            }
            Events::open(&project, &read).await
        }
    }
}

/// Members and their events, to be assessed together.
type Chunk = Vec<(String, Vec<Event>)>;

/// Groups sorted rows into members, and members into chunks.
struct Members<'a> {
    scorer: Arc<Scorer>,
    as_of: Timestamp,
    skipped: Option<&'a Skipped>,
    chunk: Chunk,
    events: usize,
}

impl Members<'_> {
    /// Takes a batch and gives the chunks that are closed, or the first row that is not an event.
    fn take(&mut self, batch: &RecordBatch) -> Vec<Result<Chunk, RowError>> {
        let mut closed = Vec::new();
        if let Err(error) = self.read(batch, &mut closed) {
            closed.push(Err(error));
        }
        closed
    }

    fn read(
        &mut self,
        batch: &RecordBatch,
        closed: &mut Vec<Result<Chunk, RowError>>,
    ) -> Result<(), RowError> {
        let internal =
            |error: &dyn std::fmt::Display| RowError { code: "internal".into(), message: error.to_string() };
        let columns = EventColumns::new(batch.columns()).map_err(|error| internal(&error))?;
        for row in 0..columns.rows() {
            let read = columns.event(row, &self.scorer.bundle().schema().spec().events);
            let name = columns.member(row).unwrap_or_default();
            let event = match (read, self.skipped) {
                (Ok(event), _) => event,
                (Err(error), Some(skipped)) => {
                    skipped.add(error);
                    continue;
                }
                (Err(error), None) => return Err(error),
            };
            if event.time > self.as_of {
                continue;
            }
            if self.chunk.last().is_none_or(|(member, _)| member != name) {
                if self.chunk.len() >= CHUNK_MEMBERS || self.events >= CHUNK_EVENTS {
                    closed.push(Ok(std::mem::take(&mut self.chunk)));
                    self.events = 0;
                }
                self.chunk.push((name.to_owned(), Vec::new()));
            }
            if let Some((_, events)) = self.chunk.last_mut() {
                events.push(event);
                self.events += 1;
            }
        }
        Ok(())
    }
}

/// Assesses chunks on other threads and gives them back in their order.
struct Workers {
    scorer: Arc<Scorer>,
    as_of: Timestamp,
    running: VecDeque<JoinHandle<tiercast_core::Result<Vec<Scored>>>>,
}

impl Workers {
    fn rules(&self) -> &tiercast_core::EventRules {
        &self.scorer.bundle().schema().spec().events
    }

    /// Starts a chunk; gives the oldest one when enough are running.
    async fn start(&mut self, chunk: Chunk) -> anyhow::Result<Option<Vec<Scored>>> {
        let (scorer, as_of) = (Arc::clone(&self.scorer), self.as_of);
        self.running.push_back(tokio::task::spawn_blocking(move || {
            chunk.into_iter().map(|(member, events)| assess(&scorer, member, events, as_of)).collect()
        }));
        let most = std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1);
        if self.running.len() > most { self.finish_one().await } else { Ok(None) }
    }

    async fn finish_one(&mut self) -> anyhow::Result<Option<Vec<Scored>>> {
        match self.running.pop_front() {
            Some(oldest) => Ok(Some(oldest.await.context("a worker stopped")??)),
            None => Ok(None),
        }
    }
}

fn assess(
    scorer: &Scorer,
    member: String,
    mut events: Vec<Event>,
    as_of: Timestamp,
) -> tiercast_core::Result<Scored> {
    canonical(&mut events);
    let mut state = scorer.bundle().new_member();
    for event in events {
        state.observe(event);
    }
    let profile = scorer.profile_spec().map(|_| scorer.profile(&state, as_of)).transpose()?;
    Ok(Scored { member, assessment: scorer.assess(&state, as_of)?, profile })
}

#[cfg(test)]
mod tests;
