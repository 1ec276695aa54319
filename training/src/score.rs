//! `tiercast score`: a table of events in, a table of tiers out, in bounded memory.
//!
//! One plan: rows become events, events are gathered by member, and each member is assessed by the same core that the
//! browser and the edge call ([`assess::Scores`]). Or the histories are there already, in [`states`](crate::states).

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context, bail, ensure};
use datafusion::arrow::{array::Array, array::BooleanArray, compute::filter_record_batch};
use indicatif::{HumanCount, ProgressBar};
use sha2::{Digest, Sha256};
use tiercast_core::{Bundle, Timestamp};

use crate::{
    engine::Engine,
    features::report_skipped,
    fold::{self, Gathering, Skipped},
    progress,
    project::Project,
    states,
    table::{Events, Place, ReadOptions},
    whole,
};

pub(crate) mod assess;
pub(crate) mod layout;
mod output;
mod parts;
mod stored;

use assess::{Form, Scores, Wanted};
use output::Output;
use parts::{Cutter, Folder, Identity};

/// Score the members of a table of events with a bundle.
///
/// EVENTS is a .parquet or .csv file, a folder of such files or a pattern, here or in an object store, with the columns
/// member, kind and time, and as many as it has of id, amount, discount, quantity, item, category, channel, order and where it came from; or
/// any table, when -p names a project file that maps its columns. Without EVENTS the project's own tables are scored, and
/// with --states the histories that `tiercast states` keeps, without reading a table at all.
///
/// The output has one row a member, by member: as_of, tier, tier_name, expected_tier, p1 … pK, standing_tier, spend
/// (so far in the period of as_of), to_next_tier (what is missing to the tier after it), warnings, and bundle, the start of
/// the bundle's SHA-256. --reasons adds reasons: the features that moved the score, and by how many tiers; --recommend adds
/// recommendations, for a bundle of a project with [recommend], and --decide what its policies decide for the period of
/// as_of, with the chance of each decision, which a log must keep. A bundle with
/// profiles adds churn (the probability of no purchase in the next period), next_purchase (expected days to it,
/// otherwise), segment and interests (the categories that recent spend went to). The output's ending chooses the format:
/// .parquet, .csv, .ndjson (one assessment a line, as the other runtimes give it) or .json (an array). A folder, named with
/// a slash at its end, gets Parquet files of --part-rows members each; if the run is killed, the same command goes on after
/// the last of them.
///
/// Example: tiercast score run/bundle.tcb sales.parquet -p tiercast.toml -o scores.parquet
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The bundle that `tiercast train` wrote.
    pub bundle: PathBuf,
    /// The table of events.
    pub events: Option<PathBuf>,
    /// Where to write the scores: .parquet, .csv, .ndjson, .json, or a folder.
    #[arg(short, long)]
    pub output: PathBuf,
    /// The moment of the assessment, for example 2017-09-30T23:59:59.999Z; the time of the newest event by default.
    /// Events at or before it count.
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<String>,
    /// A project file that maps the table's columns to events.
    #[arg(short, long)]
    pub project: Option<PathBuf>,
    /// Score the members of a store that `tiercast states` keeps; the output is a folder.
    #[arg(long, value_name = "STORE", conflicts_with_all = ["events", "project", "skip_invalid", "engine"])]
    pub states: Option<PathBuf>,
    /// Only the members to whom something happened in the store's last update.
    #[arg(long, requires = "states")]
    pub news: bool,
    /// Write the features too, in columns that begin with feature_.
    #[arg(long)]
    pub features: bool,
    /// Write the profile's embedding too, in columns embedding_1, embedding_2, …: what `tiercast similar` reads.
    #[arg(long)]
    pub embedding: bool,
    /// Write so many of the strongest reasons too; a member then costs one score more for each feature.
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    pub reasons: usize,
    /// Write so many recommendations too, as a list in JSON: item, name, category, probability and reasons of each.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub recommend: u32,
    /// Write what the bundle's policies decide too: for each of assign (a tier of service) and reward (an offer of points) that
    /// the bundle has, its action, points, propensity and policy, as in assign, assign_points, assign_propensity, assign_policy.
    #[arg(long)]
    pub decide: bool,
    /// Leave out rows that are not valid events, and count them, instead of stopping at the first.
    #[arg(long)]
    pub skip_invalid: bool,
    /// Members of a file, where the output is a folder.
    #[arg(long, default_value_t = 250_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub part_rows: u64,
    /// Replace the scores that the folder holds.
    #[arg(long)]
    pub restart: bool,
    /// Memory for sorting, in MiB; what does not fit goes to disk. On a cluster each executor has its own.
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub memory: usize,
    /// Where the work is done: embedded, or a cluster, ballista://host:port.
    #[arg(long, default_value = "embedded", value_name = "ENGINE")]
    pub engine: Engine,
}

/// Runs the command.
///
/// # Errors
/// When the bundle or the table cannot be read, the bundle does not prove itself, a row is not a valid event, or the output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let bytes = fs::read(&args.bundle).with_context(|| format!("cannot read {}", args.bundle.display()))?;
    let bundle =
        Bundle::parse(&bytes).with_context(|| format!("{} cannot be used", args.bundle.display()))?;
    let bar = progress::spinner("rows read");
    let done = match &args.states {
        Some(store) => stored::score(&args, bytes, &states::Store::open(store)?, &bar)?,
        None => {
            let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
            runtime.block_on(of_events(&args, bytes, &bundle, &bar))?
        }
    };
    bar.finish_and_clear();
    report_skipped(&done.skipped);
    say!(
        "{}: {} members as of {} in {:.1} s{}",
        args.output.display(),
        HumanCount(done.members),
        done.as_of,
        started.elapsed().as_secs_f64(),
        match done.before {
            0 => String::new(),
            all if all == done.members => ", all of them there already".into(),
            before => format!(", {} of them there already", HumanCount(before)),
        }
    );
    Ok(ExitCode::SUCCESS)
}

/// What a run has done.
struct Done {
    members: u64,
    /// Members that an earlier run had scored.
    before: u64,
    as_of: Timestamp,
    skipped: Skipped,
}

impl Args {
    fn wanted(&self) -> Wanted {
        Wanted {
            features: self.features,
            embedding: self.embedding,
            reasons: self.reasons,
            recommend: self.recommend,
            decide: self.decide,
        }
    }

    fn is_folder(&self) -> bool {
        self.output.to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR]) || self.output.is_dir()
    }

    /// A bundle that has proven itself.
    fn scores(&self, bundle: Vec<u8>, as_of: Timestamp, form: Form) -> anyhow::Result<Scores> {
        let scores = Scores::new(bundle, as_of, self.wanted(), form);
        scores.with_context(|| format!("{} cannot be used here", self.bundle.display()))
    }
}

fn identity(args: &Args, bundle: &[u8], as_of: Timestamp, source: String, cut: &str) -> Identity {
    Identity {
        bundle: format!("{:x}", Sha256::digest(bundle)),
        as_of: as_of.to_string(),
        source,
        layout: format!("{:?}, {cut}", args.wanted()),
    }
}

async fn of_events(args: &Args, bytes: Vec<u8>, bundle: &Bundle, bar: &ProgressBar) -> anyhow::Result<Done> {
    let form = if args.is_folder() { Form::Columns } else { output::form_of(&args.output)? };
    let events = open(args, bundle).await?;
    let as_of = match &args.as_of {
        Some(text) => Timestamp::parse(text)?,
        None => events.span().await.context("name the moment with --as-of")?.1,
    };
    whole::refuse_inputs(&args.output, events.files.iter().chain([&args.bundle]))?;
    let identity = match args.is_folder() {
        true => {
            let cut = format!("{} rows, skip {}", args.part_rows, args.skip_invalid);
            Some(identity(args, &bytes, as_of, events.hash()?, &cut))
        }
        false => None,
    };
    let scores = Arc::new(args.scores(bytes, as_of, form)?);
    let rules = bundle.schema().spec().events.clone();
    let Some(identity) = identity else {
        let mut output = Output::create(&args.output, &scores)?;
        let how = Gathering {
            rules: &rules,
            skip_invalid: args.skip_invalid,
            after: None,
            sorted: true,
            progress: bar,
        };
        let (members, skipped) = gather(&events, &scores, &how, |batch| output.write(batch)).await?;
        ensure!(members > 0, "no member has an event up to {as_of}");
        output.close()?;
        return Ok(Done { members, before: 0, as_of, skipped });
    };
    let mut folder = Folder::open(&args.output, identity, args.restart)?;
    let before = folder.rows();
    if folder.is_complete() {
        return Ok(Done { members: before, before, as_of, skipped: Skipped::new() });
    }
    let after = folder.last().map(str::to_owned);
    let how = Gathering {
        rules: &rules,
        skip_invalid: args.skip_invalid,
        after: after.as_deref(),
        sorted: true,
        progress: bar,
    };
    let mut cutter = Cutter::new(&mut folder, args.part_rows);
    let (members, skipped) = gather(&events, &scores, &how, |batch| cutter.write(batch)).await?;
    ensure!(before + members > 0, "no member has an event up to {as_of}");
    cutter.finish()?;
    Ok(Done { members: before + members, before, as_of, skipped })
}

/// Gathers members, and gives those that could be assessed. Counts them.
async fn gather(
    events: &Events,
    scores: &Arc<Scores>,
    how: &Gathering<'_>,
    mut take: impl FnMut(&datafusion::arrow::array::RecordBatch) -> anyhow::Result<()>,
) -> anyhow::Result<(u64, Skipped)> {
    let mut members = 0;
    let of = Arc::clone(scores);
    let skipped = fold::gather(events, of, how, |batch| {
        let made = batch.column(1);
        let has = BooleanArray::from_iter((0..batch.num_rows()).map(|row| Some(made.is_valid(row))));
        let batch = if made.null_count() == 0 { batch.clone() } else { filter_record_batch(batch, &has)? };
        members += batch.num_rows() as u64;
        take(&batch)
    })
    .await?;
    Ok((members, skipped))
}

async fn open(args: &Args, bundle: &Bundle) -> anyhow::Result<Events> {
    let read = ReadOptions {
        partitions: None,
        memory: Some(args.memory.max(64) << 20),
        engine: args.engine.clone(),
    };
    match (&args.project, &args.events) {
        (None, None) => bail!("name a table of events, a project file with -p, or a store with --states"),
        (None, Some(path)) => Events::open_canonical(&Place::named(path)?, &read).await,
        (Some(project), path) => {
            let mut project = Project::load(project)?;
            let expected = &bundle.schema().spec().events.currency;
            if project.currency != *expected {
                bail!(
                    "the project's amounts are in {}, the bundle's in {}",
                    project.currency.code,
                    expected.code
                );
            }
            if let Some(path) = path {
                project.read_instead(path)?;
            }
            Events::open(&project, &read).await
        }
    }
}

#[cfg(test)]
mod tests;
