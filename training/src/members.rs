//! `tiercast members`: some members' events as JSON, in the wire form that every runtime reads.

use std::{fs::File, io::BufWriter, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use datafusion::{
    arrow::{
        array::{Array, AsArray},
        datatypes::Int64Type,
    },
    logical_expr::lit,
    prelude::{DataFrame, col},
};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::Serialize;
use tiercast_core::{Currency, EventInput, Scalar, Timestamp};

use crate::{
    project::Project,
    table::{Events, ReadOptions, columns::EventColumns},
};

/// Write some members' events as JSON, for the demo page and for comparing runtimes.
///
/// The file holds {"name", "currency", "members": [{"member", "events": […]}]}: events in the wire form that
/// tiercast-core, the npm package and the edge worker read, sorted by time, amounts in minor units, times in
/// milliseconds. The same seed chooses the same members.
///
/// Example: tiercast members -p tiercast.toml --sample 50 --seed 7 -o members.json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The project file.
    #[arg(short, long, default_value = "tiercast.toml")]
    pub project: PathBuf,
    /// How many members to choose.
    #[arg(long, default_value_t = 50)]
    pub sample: usize,
    /// Decides which ones.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// A member to take in any case; may be given more than once.
    #[arg(long, value_name = "ID")]
    pub member: Vec<String>,
    /// Choose only members with at least this many events.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub min_events: i64,
    /// Choose only members with at most this many events.
    #[arg(long, default_value_t = i64::MAX, value_name = "N", hide_default_value = true)]
    pub max_events: i64,
    /// Where to write them.
    #[arg(short, long, default_value = "members.json")]
    pub output: PathBuf,
}

#[derive(Serialize)]
struct Exported<'a> {
    name: &'a str,
    currency: &'a Currency,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Member {
    member: String,
    events: Vec<EventInput<'static>>,
}

/// Runs the command.
///
/// # Errors
/// When a table cannot be read, a member asked for does not exist, a chosen member has a row that is not a valid event, or none can be chosen.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let project = Project::load(&args.project)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let members = runtime.block_on(export(&project, &args))?;
    let file =
        File::create(&args.output).with_context(|| format!("cannot write {}", args.output.display()))?;
    let exported = Exported { name: &project.name, currency: &project.currency, members };
    serde_json::to_writer(BufWriter::new(file), &exported)?;
    let events: usize = exported.members.iter().map(|member| member.events.len()).sum();
    say!("{}: {} members, {events} events", args.output.display(), exported.members.len());
    Ok(ExitCode::SUCCESS)
}

async fn export(project: &Project, args: &Args) -> anyhow::Result<Vec<Member>> {
    let events = Events::open(project, &ReadOptions::default()).await?;
    let chosen = choose(&events, args).await?;
    if chosen.is_empty() {
        bail!("no member has {} to {} events", args.min_events, args.max_events);
    }
    let wanted = chosen.into_iter().map(lit).collect();
    read(project, events.frame().await?.filter(col("member").in_list(wanted, false))?).await
}

/// The members asked for and a seeded sample of the others.
async fn choose(events: &Events, args: &Args) -> anyhow::Result<Vec<String>> {
    use datafusion::functions_aggregate::expr_fn::count;
    let counted = events.frame().await?.aggregate(vec![col("member")], vec![count(lit(1)).alias("n")])?;
    let mut candidates = Vec::new();
    let mut missing: Vec<_> = args.member.iter().collect();
    for batch in counted.collect().await? {
        let (names, counts) =
            (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        missing.retain(|wanted| !names.iter().flatten().any(|name| name == wanted.as_str()));
        let fits = |row: &usize| {
            names.is_valid(*row) && (args.min_events..=args.max_events).contains(&counts.value(*row))
        };
        candidates.extend((0..batch.num_rows()).filter(fits).map(|row| names.value(row).to_owned()));
    }
    if !missing.is_empty() {
        let missing = missing.into_iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        bail!("the tables have no member {missing}; identifiers are compared exactly");
    }
    candidates.retain(|name| !args.member.contains(name));
    candidates.sort_unstable();
    candidates.shuffle(&mut StdRng::seed_from_u64(args.seed));
    candidates.truncate(args.sample);
    candidates.extend(args.member.iter().cloned());
    Ok(candidates)
}

async fn read(project: &Project, frame: DataFrame) -> anyhow::Result<Vec<Member>> {
    let rules = project.event_rules();
    let mut rows = Vec::new();
    for batch in frame.collect().await? {
        let columns = EventColumns::new(batch.columns())?;
        for row in 0..columns.rows() {
            let Some(member) = columns.member(row) else { continue };
            let event = columns.event(row, &rules).with_context(|| format!("member {member}"))?;
            let input = columns.input(row)?;
            rows.push((
                member.to_owned(),
                event.time,
                wire(&input, event.time, event.amount, event.discount),
            ));
        }
    }
    rows.sort_by(|a, b| (&a.0, a.1, &a.2.id, &a.2.item).cmp(&(&b.0, b.1, &b.2.id, &b.2.item)));
    let of_members = rows.chunk_by(|a, b| a.0 == b.0);
    Ok(of_members
        .map(|rows| Member {
            member: rows[0].0.clone(),
            events: rows.iter().map(|(.., event)| event.clone()).collect(),
        })
        .collect())
}

/// The event with its numbers as core reads them, so that no runtime has to parse a decimal.
fn wire(input: &EventInput<'_>, time: Timestamp, amount: i64, discount: i64) -> EventInput<'static> {
    let owned = |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map(|text| text.to_string().into());
    let mut event = EventInput::new(input.kind.to_string(), Scalar::Int(time.ms()));
    event.id = owned(&input.id);
    event.amount_minor = input.amount.as_ref().map(|_| Scalar::Int(amount));
    event.discount_minor = (discount != 0).then_some(Scalar::Int(discount));
    event.quantity = input.quantity.filter(|quantity| *quantity != 1.0);
    event.item = owned(&input.item);
    event.category = owned(&input.category);
    event.channel = owned(&input.channel);
    event.order = owned(&input.order);
    event.device = owned(&input.device);
    event.card = owned(&input.card);
    event.address = owned(&input.address);
    event.ip = owned(&input.ip);
    (event.latitude, event.longitude) = (input.latitude, input.longitude);
    event.device_members = input.device_members;
    event
}

#[cfg(test)]
mod tests;
