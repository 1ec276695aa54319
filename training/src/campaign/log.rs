//! A log of decisions: who was offered what and when, with which chance, and what came of it.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, bail, ensure};
use datafusion::{
    arrow::{
        array::{Array, AsArray, Float64Array, StringArray},
        compute::cast,
        datatypes::{DataType, Float64Type, Int64Type},
    },
    prelude::SessionContext,
};
use futures::StreamExt;
use tiercast_core::Timestamp;

use super::Args;
use crate::table::{self, Place, ReadOptions, ident};

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

/// The expressions that a row is read by.
struct Reading {
    columns: Vec<String>,
    /// A chance that all have to be treated.
    constant: Option<f64>,
    truth: bool,
}

/// Reads a log.
///
/// # Errors
/// When it cannot be read, a column is missing, a value is none, a row comes twice, or one of the two kinds is missing.
pub(super) async fn read(args: &Args) -> anyhow::Result<Log> {
    let context = table::session(&ReadOptions::default())?;
    let place = Place::named(&args.log)?;
    let source = table::register(&context, "log", &place).await?;
    let names: Vec<String> =
        context.table("log").await?.schema().fields().iter().map(|field| field.name().clone()).collect();
    let reading = Reading::new(args, &names)?;
    let (decisions, offers) = rows(&context, args, &reading).await?;
    let files = source.paths().cloned().collect();
    let log = Log { others: offers.values().sum::<usize>() - decisions.len(), decisions, files };
    log.check(args, &offers)?;
    Ok(log)
}

impl Reading {
    fn new(args: &Args, names: &[String]) -> anyhow::Result<Self> {
        let column = |name: &str, what: &str| match names.iter().any(|known| known == name) {
            true => Ok(ident(name)),
            false => {
                bail!("the log has no column {name:?} for the {what}; its columns are {}", names.join(", "))
            }
        };
        let number = |name: &str, what: &str| anyhow::Ok(format!("CAST({} AS DOUBLE)", column(name, what)?));
        let offer = match &args.treated {
            Some(treated) => {
                let treated = column(treated, "treatment")?;
                format!(
                    "CASE WHEN CAST({treated} AS INT) = 1 THEN '1' WHEN CAST({treated} AS INT) = 0 THEN '0' END"
                )
            }
            None => format!("CAST({} AS VARCHAR)", column(&args.offer_column, "offer")?),
        };
        let constant = args.propensity.parse::<f64>().ok();
        let chance = match constant {
            Some(p) => {
                ensure!(p > 0.0 && p < 1.0, "--propensity {p} is not above 0 and below 1");
                format!("CAST({p} AS DOUBLE)")
            }
            None => number(&args.propensity, "propensity").context(
                "without the chance that each decision had, what came of it says nothing of the offer; \
                 where offers were given by lot, say with which chance: --propensity 0.5",
            )?,
        };
        let mut columns = vec![
            format!("CAST({} AS VARCHAR)", column(&args.member, "member")?),
            format!("CAST(CAST({} AS TIMESTAMP(3)) AS BIGINT)", column(&args.time, "time")?),
            offer,
            number(&args.outcome, "outcome")?,
            number(&args.cost, "cost")?,
            chance,
        ];
        let truth = truth_columns(args).filter(|truth| truth.iter().all(|name| names.contains(name)));
        if let Some([with, without, cost]) = &truth {
            columns.push(format!("CAST({} - {} AS DOUBLE)", ident(with), ident(without)));
            columns.push(format!("CAST({} AS DOUBLE)", ident(cost)));
        }
        Ok(Self { columns, constant, truth: truth.is_some() })
    }
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

/// The decisions that are compared, and how often each offer was made.
async fn rows(
    context: &SessionContext,
    args: &Args,
    reading: &Reading,
) -> anyhow::Result<(Vec<Decision>, BTreeMap<String, usize>)> {
    let columns: Vec<String> =
        reading.columns.iter().enumerate().map(|(at, sql)| format!("{sql} AS \"c{at}\"")).collect();
    let sql = format!("SELECT {} FROM \"log\"", columns.join(", "));
    let refused = |error| table::plain(&error).context(format!("cannot read {}", args.log.display()));
    let mut stream = context.sql(&sql).await.map_err(refused)?.execute_stream().await.map_err(refused)?;
    let (with, without) = args.sides();
    let (mut decisions, mut offers) = (Vec::new(), BTreeMap::new());
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(refused)?;
        let [members, names] = [0, 2].map(|at| cast(batch.column(at), &DataType::Utf8));
        let (members, names) = (members?, names?);
        let (members, names): (&StringArray, &StringArray) = (members.as_string(), names.as_string());
        let times = batch.column(1).as_primitive::<Int64Type>();
        let numbers: Vec<&Float64Array> =
            batch.columns()[3..].iter().map(|column| column.as_primitive::<Float64Type>()).collect();
        for row in 0..batch.num_rows() {
            let offer = if names.is_null(row) { "" } else { names.value(row) };
            *offers.entry(offer.to_owned()).or_default() += 1;
            if offer != with && offer != without {
                continue;
            }
            let missing =
                members.is_null(row) || times.is_null(row) || numbers.iter().any(|n| n.is_null(row));
            ensure!(
                !missing,
                "a decision of the log lacks its member, its time or a number; fill it in or leave it out"
            );
            let treated = offer == with;
            let chance = numbers[2].value(row);
            decisions.push(Decision {
                member: members.value(row).to_owned(),
                time: Timestamp::from_ms(times.value(row))?,
                treated,
                outcome: numbers[0].value(row),
                cost: numbers[1].value(row),
                chance: if reading.constant.is_some() && !treated { 1.0 - chance } else { chance },
                truth: reading.truth.then(|| [numbers[3].value(row), numbers[4].value(row)]),
            });
        }
    }
    decisions.sort_by(|a, b| (a.time, &a.member).cmp(&(b.time, &b.member)));
    Ok((decisions, offers))
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
