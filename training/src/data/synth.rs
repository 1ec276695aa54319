//! `tiercast data synth`: a shop whose members were never anyone.
//!
//! Invariant: a member's events depend on the seed and on the member's number alone, so that any part of any size is
//! the same part. Memory is one row group, whatever the number of members.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, ensure};
use datafusion::arrow::{
    array::{Array, ArrayRef, RecordBatch, StringBuilder, TimestampMillisecondBuilder},
    datatypes::{DataType, Field, Schema},
};
use indicatif::HumanCount;
use tiercast_core::Timestamp;

use crate::{cores, progress};
use member::Happening;
use table::Table;

mod catalogue;
mod fraud;
mod member;
mod table;
mod whence;

/// Generate realistic members, reproducibly, and their project file.
///
/// Two years of events (2023 and 2024): orders with lines in twelve categories, discounts in promotion weeks, coupons,
/// returns, sessions with views and carts, reviews; through shop, web and app. Members differ in rate, basket and
/// taste; they drift, follow the season, pause, lapse, come back, and hurry when the next tier is near.
/// The same seed gives the same members, whatever their number. Any number fits into memory.
///
/// --fraud tells where every event came from (device, card, address, ip, latitude, longitude, device_members), plants rings of
/// accounts, takeovers of accounts and refund abuse, and writes the truth to fraud.parquet: member, time and scheme of each order
/// that is fraud.
///
/// Example: tiercast data synth --members 10000 --seed 7 --out shop
/// With fraud: tiercast data synth --members 10000 --fraud --out shop
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
    /// Tell where events came from, and plant fraud.
    #[arg(long, conflicts_with = "by_month")]
    pub fraud: bool,
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
/// What a project has besides where fraud is planted.
const RISK: &str = include_str!("../../projects/synth-fraud.toml");

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
    let out = folder.to_owned();
    write(&Args { members, seed, visits: 1.0, by_month: false, fraud: false, out, force })
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
    let project = if args.fraud { risky(&project) } else { project };
    super::write_project(&folder.join("tiercast.toml"), &project, args.force)?;
    Ok(rows)
}

fn write_one(args: &Args, bar: &indicatif::ProgressBar) -> anyhow::Result<u64> {
    let path = args.out.join("events.parquet");
    let mut file = Table::create(&path, GROUP_ROWS, args.fraud)?;
    let mut truth = Truth::default();
    for number in 0..args.members {
        let mut events = member::history(args.seed, number, args.visits);
        if args.fraud {
            let (with_fraud, orders) = fraud::dressed(args.seed, number, events);
            events = with_fraud;
            truth.push(number, &events, &orders);
        }
        for (index, happening) in events.iter().enumerate() {
            file.push(number, index, happening)?;
        }
        bar.inc(1);
    }
    if args.fraud {
        truth.write(&args.out.join("fraud.parquet"))?;
    }
    file.close()
}

/// The project of a shop that tells where events came from.
fn risky(project: &str) -> String {
    project
        .replace("name = \"synthetic-shop\"", "name = \"synthetic-shop-with-fraud\"")
        .replace("\n[members]\n", &format!("{ORIGINS}\n[members]\ncustom_kinds = [\"failed_login\"]\n"))
        + "\n"
        + RISK
}

/// The columns of where events came from.
const ORIGINS: &str = r#"device = "device"
card = "card"
address = "address"
ip = "ip"
latitude = "latitude"
longitude = "longitude"
device_members = "device_members"
"#;

/// The orders that are fraud.
#[derive(Default)]
struct Truth {
    member: StringBuilder,
    time: TimestampMillisecondBuilder,
    scheme: StringBuilder,
}

impl Truth {
    fn push(&mut self, number: u64, events: &[Happening], orders: &[(u32, fraud::Scheme)]) {
        for (order, scheme) in orders {
            let bought = |event: &&Happening| event.kind == "purchase" && event.order == Some(*order);
            // What would have been after the two years was left out.
            if let Some(first) = events.iter().find(bought) {
                self.member.append_value(member_name(number));
                self.time.append_value(first.time);
                self.scheme.append_value(scheme.name());
            }
        }
    }

    fn write(mut self, path: &Path) -> anyhow::Result<()> {
        let time = self.time.finish().with_timezone("UTC");
        let schema = Schema::new(vec![
            Field::new("member", DataType::Utf8, false),
            Field::new("time", time.data_type().clone(), false),
            Field::new("scheme", DataType::Utf8, false),
        ]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(self.member.finish()), Arc::new(time), Arc::new(self.scheme.finish())];
        crate::features::write_parquet(path, &RecordBatch::try_new(Arc::new(schema), columns)?)
    }
}

fn member_name(number: u64) -> String {
    format!("m{number:08}")
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
                        entry.insert(Table::create(&path, MONTH_GROUP_ROWS, false)?)
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
    fn the_project_files_are_valid() {
        for text in [PROJECT, &risky(PROJECT)] {
            crate::project::Project::parse(text, Path::new("tiercast.toml")).unwrap();
        }
        let columns = |text: &str| {
            let project = crate::project::Project::parse(text, Path::new("tiercast.toml")).unwrap();
            project.events[0].columns.given().len()
        };
        assert_eq!(columns(&risky(PROJECT)), columns(PROJECT) + 7);
    }

    #[test]
    fn fraud_is_what_the_truth_says_and_honest_members_stay_as_they_were() {
        let (mut frauds, mut orders, mut devices) = (0, 0, std::collections::HashMap::<u64, Vec<u64>>::new());
        // Of these some are rings.
        for number in 3500..5000 {
            let plain = member::history(7, number, 0.15);
            let (events, fraud) = fraud::dressed(7, number, plain.clone());
            assert!(events.is_sorted_by_key(|event| event.time));
            assert!(events.iter().all(|event| event.whence.is_some()));
            if fraud.is_empty() {
                let mut bare: Vec<Happening> =
                    events.iter().filter(|event| event.kind != "failed_login").cloned().collect();
                bare.iter_mut().for_each(|event| event.whence = None);
                assert_eq!(bare, plain);
            }
            frauds += fraud.len();
            let mut of_member: Vec<u32> = events.iter().filter_map(|event| event.order).collect();
            of_member.dedup();
            orders += of_member.len();
            for whence in events.iter().filter_map(|event| event.whence) {
                let members = devices.entry(whence.device).or_default();
                if !members.contains(&number) {
                    members.push(number);
                }
            }
        }
        assert!((20..orders / 40).contains(&frauds), "{frauds} of {orders} orders are fraud");
        let most = devices.values().map(Vec::len).max();
        assert!(most > Some(2), "rings share devices, households have two members: {most:?}");
    }
}
