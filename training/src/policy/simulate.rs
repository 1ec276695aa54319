//! `tiercast policy simulate`: a log of decisions about the project's own members, with made-up responses.
//!
//! Contexts are what core knows of the members at each date; responses are those of [`Responder`]. It lacks any effect of
//! the responses on later contexts: those are what the tables say.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{bail, ensure};
use clap::ValueEnum;
use datafusion::arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray},
    datatypes::{Field, Schema},
};
use tiercast_core::{Period, Timestamp};

use super::train::PeriodArg;
use crate::{
    dataset::Dataset,
    features::{self, BuildOptions, known::known},
    fit,
    models::policy::respond::{Arm, Params, Responder, uniform},
    progress,
    project::{Project, count},
    whole,
};

/// Simulate a log of offers: the project's own members, made-up responses, known propensities.
///
/// For trying policies and campaigns before there is a log of the shop's own. Once a month or another period, up to the project's last as-of
/// date, every member known by then gets one of the offers by chance. Whether the member buys, and the margin, come from a
/// declared model (training/CAMPAIGNS.md) with coefficients drawn from the seed: nothing in the log is a finding about the
/// shop. Real are only the members and what is known of them before each date.
///
/// The log has one row per decision, by time and member: member, time, offer (none, points_50, …), points, propensity (the
/// chance that this offer had), reward (margin before the offer's cost, 0 without a purchase) and cost, in units of the
/// currency. --truth adds what each offer would have brought on average: expected_reward_none, expected_cost_none, and so on.
///
/// A first log:     tiercast policy simulate -p tiercast.toml -o decisions.parquet
/// With the truth:  tiercast policy simulate --arms 0,100 --truth -o decisions.parquet
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The shop.
    #[command(flatten)]
    pub shop: Shop,
    /// Where to write the log.
    #[arg(short, long, default_value = "decisions.parquet")]
    pub output: PathBuf,
    /// Who decides.
    #[arg(long, value_enum, default_value_t = Policy::Uniform)]
    pub policy: Policy,
    /// Decides how members are and what chance does.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Add each offer's expected reward and cost, which no real log has.
    #[arg(long)]
    pub truth: bool,
}

/// A shop whose members respond, and what can be done about them.
#[derive(Clone, Debug, clap::Args)]
pub struct Shop {
    /// The project file.
    #[arg(short, long, default_value = "tiercast.toml")]
    pub project: PathBuf,
    /// How many decisions a member, the last one at the project's last as-of date.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub periods: u32,
    /// How long a decision holds.
    #[arg(long, value_enum, default_value = "month")]
    pub period: PeriodArg,
    /// What can be done: the points of each offer, 0 for none, or names with what they cost in points, such as the tiers of a
    /// service: Basic=0,Silver=50,Gold=150.
    #[arg(long, value_delimiter = ',', value_parser = arm, default_values = ["0", "50", "100", "200"], value_name = "[NAME=]POINTS")]
    pub arms: Vec<Arm>,
    /// What a point costs, in units of the currency.
    #[arg(long, default_value_t = 0.01, value_name = "MONEY")]
    pub point_value: f64,
}

impl Shop {
    /// What can be done is at least two things, each with a name of its own.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let mut names: Vec<&str> = self.arms.iter().map(|arm| arm.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        ensure!(names.len() == self.arms.len(), "--arms names an offer twice");
        ensure!(names.len() > 1, "--arms should name at least two offers, such as 0,100");
        Ok(())
    }

    /// What is known of the project's members at each date.
    pub(super) fn known(&self, project: &Project) -> anyhow::Result<Dataset> {
        let reading = progress::spinner("rows read");
        let dates = dates(project, self.periods, self.period.into())?;
        let rows = known(project, &dates, &BuildOptions::default(), &reading, |_| true)?;
        reading.finish_and_clear();
        Ok(rows)
    }

    /// The simulator's numbers.
    pub(super) fn params(&self) -> Params {
        Params { point_value: self.point_value, ..Params::default() }
    }
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Every offer has the same chance.
    Uniform,
    /// Members who spent more in the last tier period get more points more often.
    Softmax,
}

/// What each offer would have brought a member on average: reward and cost.
type Truth = Vec<[f64; 2]>;

/// A decision and what came of it.
struct Decision {
    row: usize,
    arm: usize,
    propensity: f64,
    reward: f64,
    cost: f64,
    truth: Truth,
}

/// How far spend moves the softmax: log-odds, from no points to the most, for each deviation of the logarithm of spend.
const MILD: f64 = 0.5;
/// Deviations of spend beyond which more of it changes nothing.
const FARTHEST: f64 = 2.0;
/// What the draws of a decision have in common; the simulator's own are numbered up to 7.
const DECISION: u64 = 8;

/// Runs the command.
///
/// # Errors
/// When the tables cannot be read, nobody is known at the dates, an argument is out of range or the log cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.shop.check()?;
    let (project, arms) = (Project::load(&args.shop.project)?, &args.shop.arms);
    let tables = project.events.iter().map(|events| project.folder.join(&events.table));
    whole::refuse_inputs(&args.output, tables.collect::<Vec<_>>().iter().chain([&args.shop.project]))?;
    let rows = args.shop.known(&project)?;
    let decisions = simulate(&args, arms, &rows)?;
    features::write_parquet(&args.output, &table(&rows, arms, &decisions)?)?;
    tell(&args, arms, &rows, &decisions);
    Ok(ExitCode::SUCCESS)
}

/// Reads `POINTS` or `NAME=POINTS`.
fn arm(text: &str) -> anyhow::Result<Arm> {
    let (name, points) = match text.rsplit_once('=') {
        Some((name, points)) => (Some(name.trim().to_owned()), points),
        None => (None, text),
    };
    let Ok(points) = points.trim().parse() else {
        bail!("{text:?}: write whole points, as 100, or a name with them, as Gold=100");
    };
    let named = || if points == 0 { "none".to_owned() } else { format!("points_{points}") };
    Ok(Arm { name: name.filter(|name| !name.is_empty()).unwrap_or_else(named), points })
}

/// The last as-of date, and the first days of the periods before it.
fn dates(project: &Project, periods: u32, period: Period) -> anyhow::Result<Vec<Timestamp>> {
    let Some(mut date) = project.as_ofs().last().copied() else { bail!("[split] names no date") };
    let mut dates = vec![date];
    while dates.len() < periods as usize {
        let (start, _) = period.around(date);
        date = if start < date { start } else { period.before(date).0 };
        dates.push(date);
    }
    dates.reverse();
    Ok(dates)
}

/// Decides about every row, in the order of time.
fn simulate(args: &Args, arms: &[Arm], rows: &Dataset) -> anyhow::Result<Vec<Decision>> {
    let transform = fit::transform(&rows.schema, &rows.features);
    let (contexts, d) = (fit::apply(&transform, rows.schema.len(), &rows.features), transform.width());
    let (numbers, first) = members(rows);
    let begun: Vec<f32> = first.iter().flat_map(|row| &contexts[row * d..(row + 1) * d]).copied().collect();
    let mut shop = Responder::new(&begun, d, arms.to_vec(), args.shop.params(), args.seed)?;
    let standing = standing(&rows.current_spend);
    let bar = progress::bar(rows.len() as u64, "decisions");
    let (mut decisions, mut from) = (Vec::with_capacity(rows.len()), 0);
    for (period, same) in rows.rows.chunk_by(|a, b| a.as_of == b.as_of).enumerate() {
        let mut given = vec![None; first.len()];
        for row in from..from + same.len() {
            let member = numbers[rows.rows[row].member.as_str()];
            shop.see(member, &contexts[row * d..(row + 1) * d])?;
            let chances = chances(args.policy, arms, standing[row]);
            let luck = uniform(args.seed, &[DECISION, member as u64, period as u64]);
            let arm = draw(&chances, luck);
            decisions.push(decide(&shop, args.truth, (row, member, period as u32), (arm, chances[arm])));
            given[member] = Some(arm);
        }
        from += same.len();
        bar.inc(same.len() as u64);
        for (member, arm) in given.into_iter().enumerate() {
            match arm {
                Some(arm) => shop.give(member, arm),
                None => shop.rest(member),
            }
        }
    }
    bar.finish_and_clear();
    Ok(decisions)
}

/// Members' numbers, by name, and the first row of each.
pub(super) fn members(rows: &Dataset) -> (HashMap<&str, usize>, Vec<usize>) {
    let mut first = BTreeMap::new();
    for (row, key) in rows.rows.iter().enumerate() {
        first.entry(key.member.as_str()).or_insert(row);
    }
    let numbers = first.keys().enumerate().map(|(number, name)| (*name, number)).collect();
    (numbers, first.into_values().collect())
}

fn decide(
    shop: &Responder,
    truth: bool,
    (row, member, period): (usize, usize, u32),
    (arm, propensity): (usize, f64),
) -> Decision {
    let response = shop.respond(member, period, arm);
    let expected = |arm| {
        let expected = shop.expected(member, period, arm);
        [expected.reward, expected.cost]
    };
    let truth = if truth { (0..shop.arms().len()).map(expected).collect() } else { Vec::new() };
    Decision { row, arm, propensity, reward: response.reward, cost: response.cost, truth }
}

/// How far the logarithm of each row's spend lies from the mean, in deviations.
fn standing(spend: &[i64]) -> Vec<f64> {
    let logs: Vec<f64> = spend.iter().map(|spend| (*spend.max(&0) as f64).ln_1p()).collect();
    let n = logs.len().max(1) as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let deviation = (logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt().max(1e-9);
    logs.iter().map(|x| ((x - mean) / deviation).clamp(-FARTHEST, FARTHEST)).collect()
}

/// Each arm's chance.
fn chances(policy: Policy, arms: &[Arm], standing: f64) -> Vec<f64> {
    let most = arms.iter().map(|arm| arm.points).max().unwrap_or_default().max(1);
    let weight = |arm: &Arm| match policy {
        Policy::Uniform => 1.0,
        Policy::Softmax => (MILD * standing * f64::from(arm.points) / f64::from(most)).exp(),
    };
    let weights: Vec<f64> = arms.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The arm on which a number from 0 to 1 falls.
pub(super) fn draw(chances: &[f64], luck: f64) -> usize {
    let mut below = 0.0;
    let reached = chances.iter().position(|chance| {
        below += chance;
        luck < below
    });
    reached.unwrap_or(chances.len() - 1)
}

fn table(rows: &Dataset, arms: &[Arm], decisions: &[Decision]) -> anyhow::Result<RecordBatch> {
    let numbers = |get: &dyn Fn(&Decision) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(decisions.iter().map(get)))
    };
    let keys = || decisions.iter().map(|decision| &rows.rows[decision.row]);
    let times = TimestampMillisecondArray::from_iter_values(keys().map(|key| key.as_of.ms()));
    let points = decisions.iter().map(|decision| i64::from(arms[decision.arm].points));
    let offers = decisions.iter().map(|decision| arms[decision.arm].name.as_str());
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("member".into(), Arc::new(StringArray::from_iter_values(keys().map(|key| &key.member)))),
        ("time".into(), Arc::new(times.with_timezone("UTC"))),
        ("offer".into(), Arc::new(StringArray::from_iter_values(offers))),
        ("points".into(), Arc::new(Int64Array::from_iter_values(points))),
        ("propensity".into(), numbers(&|decision| decision.propensity)),
        ("reward".into(), numbers(&|decision| decision.reward)),
        ("cost".into(), numbers(&|decision| decision.cost)),
    ];
    if decisions.iter().any(|decision| !decision.truth.is_empty()) {
        for (at, arm) in arms.iter().enumerate() {
            for (which, what) in ["reward", "cost"].into_iter().enumerate() {
                let name = format!("expected_{what}_{}", arm.name);
                columns.push((name, numbers(&|decision| decision.truth[at][which])));
            }
        }
    }
    let fields = columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), false));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect())?)
}

fn tell(args: &Args, arms: &[Arm], rows: &Dataset, decisions: &[Decision]) {
    let (dates, members) = (rows.rows.chunk_by(|a, b| a.as_of == b.as_of).count(), members(rows).1.len());
    let (decided, known) = (count(decisions.len(), "decision"), count(members, "member"));
    say!("{}: {decided} about {known} at {}", args.output.display(), count(dates, "date"));
    for (at, arm) in arms.iter().enumerate() {
        let of: Vec<&Decision> = decisions.iter().filter(|decision| decision.arm == at).collect();
        let mean =
            |get: fn(&Decision) -> f64| of.iter().map(|d| get(d)).sum::<f64>() / of.len().max(1) as f64;
        let bought = 100.0 * mean(|decision| if decision.reward > 0.0 { 1.0 } else { 0.0 });
        let (reward, cost) = (mean(|decision| decision.reward), mean(|decision| decision.cost));
        say!(
            "  {:<12} {:>8} times: {bought:.1} % bought, mean reward {reward:.2}, mean cost {cost:.2}",
            arm.name,
            of.len()
        );
    }
    say!("  responses are simulated; nothing here says how this shop's members respond");
}

#[cfg(test)]
mod tests;
