//! A log of decisions: who was offered what and when, with which chance, and what came of it.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, bail, ensure};
use tiercast_core::Timestamp;

use super::Args;
use crate::policy::log::Source;

/// One decision, of the two that are compared.
pub(super) struct Decision {
    pub(super) member: String,
    pub(super) time: Timestamp,
    pub(super) treated: bool,
    pub(super) outcome: f64,
    pub(super) cost: f64,
    /// The chance of what was done.
    pub(super) chance: f64,
    /// What a simulator says of it: the expected change of the outcome, and the expected cost of treating.
    pub(super) truth: Option<[f64; 2]>,
}

/// The decisions with the offer and those without any.
pub(super) struct Log {
    pub(super) decisions: Vec<Decision>,
    /// Decisions for other offers, which are not looked at.
    pub(super) others: usize,
    /// The log's files on this machine.
    pub(super) files: Vec<PathBuf>,
}

/// Reads a log.
///
/// # Errors
/// When it cannot be read, a column is missing, a value is none, a row comes twice, or one of the two kinds is missing.
pub(super) async fn read(args: &Args) -> anyhow::Result<Log> {
    let read = async {
        let source = Source::find(&args.log).await?;
        let (decisions, offers) = decisions(&source, args).await?;
        let log =
            Log { others: offers.values().sum::<usize>() - decisions.len(), decisions, files: source.files };
        log.check(args, &offers)?;
        anyhow::Ok(log)
    };
    read.await.with_context(|| args.log.display().to_string())
}

/// The chance that all have to be treated, where no column says each one's.
fn constant(args: &Args, source: &Source) -> anyhow::Result<Option<f64>> {
    let constant = args.constant();
    ensure!(
        constant.is_some() || source.has(&args.propensity),
        "there is no column {:?}, and without the chance that each decision had, what came of it says nothing of the offer; \
         where offers were given by lot, say with which chance: --propensity 0.5",
        args.propensity
    );
    Ok(constant)
}

/// The columns of a simulated log that say what would have come of each offer.
fn truth_columns(args: &Args) -> Option<[String; 3]> {
    let offer = args.offer.as_ref()?;
    let (outcome, cost, control) = (&args.outcome, &args.cost, &args.control);
    Some([
        format!("expected_{outcome}_{offer}"),
        format!("expected_{outcome}_{control}"),
        format!("expected_{cost}_{offer}"),
    ])
}

/// What a column of treatments says, as the two sides are called.
fn side(text: &str) -> &str {
    match text.parse::<f64>() {
        Ok(1.0) => "1",
        Ok(0.0) => "0",
        _ if text.eq_ignore_ascii_case("true") => "1",
        _ if text.eq_ignore_ascii_case("false") => "0",
        _ => text,
    }
}

/// The decisions that are compared, by time and member, and how often each offer was made.
async fn decisions(source: &Source, args: &Args) -> anyhow::Result<(Vec<Decision>, BTreeMap<String, usize>)> {
    let constant = constant(args, source)?;
    let truth = truth_columns(args).filter(|truth| truth.iter().all(|name| source.has(name)));
    let offer = args.treated.as_ref().unwrap_or(&args.offer_column);
    let given = [&args.member, &args.time, offer, &args.outcome, &args.cost].into_iter();
    let chance = constant.is_none().then_some(&args.propensity);
    let table = source.read(given.chain(chance).chain(truth.iter().flatten())).await?;
    let (members, offers) = (table.texts(&args.member)?, table.texts(offer)?);
    let (times, costs) = (table.times(&args.time)?, table.numbers(&args.cost)?);
    let outcomes = table.numbers(&args.outcome)?;
    let chances = match constant {
        Some(p) => vec![p; table.rows],
        None => table.chances(&args.propensity, f64::MIN_POSITIVE, "above 0 and at most 1")?,
    };
    let truth = truth.map(|columns| columns.map(|name| table.numbers(&name)));
    let truth = match truth {
        Some([with, without, cost]) => Some([with?, without?, cost?]),
        None => None,
    };
    let (with, without) = args.sides();
    let (mut decisions, mut made) = (Vec::new(), BTreeMap::new());
    for (row, (member, offer)) in members.iter().flatten().zip(offers.iter().flatten()).enumerate() {
        let offer = if args.treated.is_some() { side(offer) } else { offer };
        *made.entry(offer.to_owned()).or_default() += 1;
        if offer != with && offer != without {
            continue;
        }
        let treated = offer == with;
        let chance = chances[row];
        decisions.push(Decision {
            member: member.to_owned(),
            time: Timestamp::from_ms(times[row])?,
            treated,
            outcome: outcomes[row],
            cost: costs[row],
            chance: if constant.is_some() && !treated { 1.0 - chance } else { chance },
            truth: truth.as_ref().map(|[with, without, cost]| [with[row] - without[row], cost[row]]),
        });
    }
    decisions.sort_by(|a, b| (a.time, &a.member).cmp(&(b.time, &b.member)));
    Ok((decisions, made))
}

impl Log {
    fn check(&self, args: &Args, offers: &BTreeMap<String, usize>) -> anyhow::Result<()> {
        let (with, without) = args.sides();
        let has = |treated: bool| self.decisions.iter().any(|decision| decision.treated == treated);
        let found: Vec<String> = offers.iter().map(|(offer, n)| format!("{offer:?} {n} times")).collect();
        let found = found.join(", ");
        ensure!(has(true), "the log never offers {with:?}; it has {found}");
        ensure!(
            has(false),
            "the log has no controls, {without:?}: what members do without the offer cannot be told; it has {found}"
        );
        let twice = self
            .decisions
            .windows(2)
            .find(|pair| (pair[0].time, &pair[0].member) == (pair[1].time, &pair[1].member));
        if let Some([decision, _]) = twice {
            bail!(
                "the log decides twice about member {:?} at one time; keep one row of each decision",
                decision.member
            );
        }
        let paid = self.decisions.iter().any(|decision| !decision.treated && decision.cost != 0.0);
        ensure!(
            !paid,
            "decisions without the offer have a cost; let {:?} be what the offer costs alone",
            args.cost
        );
        Ok(())
    }
}
