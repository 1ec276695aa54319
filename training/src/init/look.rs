//! What the tables hold: roles of columns, span of dates, largest categories.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch},
        compute::cast,
        datatypes::{DataType, Float64Type, Int64Type},
    },
    prelude::SessionContext,
};
use tiercast_core::Timestamp;

use super::guess::{self, Column};
use crate::{
    project::{Columns, EventTable, Join},
    table::{self, Place, ident},
};

/// Everything a proposal is made from.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) tables: Vec<Seen>,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// Categories with the most spend.
    pub(super) categories: Vec<String>,
    /// Kinds that occur beside purchases.
    pub(super) kinds: Vec<String>,
    /// Kinds of the shop's own.
    pub(super) custom: Vec<String>,
    /// The most events of one member.
    pub(super) busiest: u64,
    /// The share of members without an event in the last quarter of the span of dates.
    pub(super) quiet: f64,
}

/// A table of events with its proposal.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) declared: EventTable,
    /// What is worth saying about the proposal.
    pub(super) notes: Vec<String>,
}

struct Opened {
    name: String,
    file: String,
    columns: Vec<Column>,
}

/// Values of a kind column that are looked at.
const MOST_KINDS: usize = 40;

pub(super) async fn look(
    context: &SessionContext,
    paths: &[PathBuf],
    output: &Path,
) -> anyhow::Result<Found> {
    let folder = output.parent().unwrap_or(Path::new(""));
    let mut opened = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let name = format!("t{index}");
        table::register(context, &name, &Place::named(path)?).await?;
        let schema = context.table(&name).await?.schema().clone();
        let column = |field: &datafusion::arrow::datatypes::FieldRef| Column {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
        };
        let columns = schema.fields().iter().map(column).collect();
        opened.push(Opened { name, file: relative(path, folder)?, columns });
    }
    let is_events = |table: &Opened| {
        guess::column("member", &table.columns).is_some() && guess::column("time", &table.columns).is_some()
    };
    let (events, lookups): (Vec<_>, Vec<_>) = opened.into_iter().partition(is_events);
    if events.is_empty() {
        bail!(
            "no table has a column for the member and one for the time; name them like customer_id and date"
        );
    }
    let mut looker = Looker { context, custom: Vec::new(), kinds: Vec::new() };
    let mut tables = Vec::new();
    for table in &events {
        tables.push(looker.events(table, &lookups).await?);
    }
    looker.summarise(tables, folder).await
}

/// A path as the project file at `folder` names it.
fn relative(path: &Path, folder: &Path) -> anyhow::Result<String> {
    if let Some(address) = path.to_str().filter(|path| path.contains("://")) {
        return Ok(address.to_owned());
    }
    let (path, folder) = (std::path::absolute(path)?, std::path::absolute(folder.join("x"))?);
    let beside = path.strip_prefix(folder.parent().unwrap_or(Path::new("/"))).unwrap_or(&path);
    Ok(beside.to_str().context("the table's path is not readable text")?.to_owned())
}

struct Looker<'a> {
    context: &'a SessionContext,
    custom: Vec<String>,
    kinds: Vec<String>,
}

impl Looker<'_> {
    async fn events(&mut self, table: &Opened, lookups: &[Opened]) -> anyhow::Result<Seen> {
        let mut notes = Vec::new();
        let mut columns = table.columns.clone();
        let mut join = Vec::new();
        for lookup in lookups {
            if let Some(on) = self.shared(table, lookup).await? {
                join.push(Join { table: lookup.file.clone(), on });
                columns.extend(
                    lookup
                        .columns
                        .iter()
                        .filter(|new| table.columns.iter().all(|old| old.name != new.name))
                        .cloned(),
                );
            } else {
                notes.push(format!("{} is left out: no column is shared and unique there", lookup.file));
            }
        }
        let sql = |field: &str| guess::column(field, &columns).map(|column| quoted(&column.name));
        let time = sql("time");
        let order = sql("order").filter(|order| Some(order) != time.as_ref());
        let time = self.clock(table, time, &mut notes).await;
        let mut given = Columns {
            member: sql("member").unwrap_or_default(),
            time: time.unwrap_or_default(),
            quantity: sql("quantity"),
            item: sql("item"),
            category: sql("category"),
            channel: sql("channel"),
            order,
            ..Columns::default()
        };
        self.id(table, &mut given, &mut notes).await?;
        self.money(table, &columns, &mut given, &mut notes).await?;
        let declared = EventTable { table: table.file.clone(), join, filter: None, columns: given };
        Ok(Seen { declared, notes })
    }

    /// The time's column, or an expression over it where its numbers are no milliseconds.
    async fn clock(&self, table: &Opened, time: Option<String>, notes: &mut Vec<String>) -> Option<String> {
        let time = time?;
        // A text, a date or a lookup's column is no number of the table, and is taken as it is.
        let sql = format!("SELECT max({time}) FROM \"{}\"", table.name);
        let newest = match self.first(&sql).await {
            Ok(batch) if batch.column(0).data_type().is_integer() => {
                cast(batch.column(0), &DataType::Int64).ok().map_or(0, |column| first_integer(&column))
            }
            _ => 0,
        };
        let Some((sql, what)) = guess::clock(&time, newest) else { return Some(time) };
        notes.push(format!("{time} looks like {what}"));
        Some(sql)
    }

    /// A column of both tables that is unique in the lookup.
    async fn shared(&self, table: &Opened, lookup: &Opened) -> anyhow::Result<Option<String>> {
        for column in &lookup.columns {
            if table.columns.iter().all(|other| other.name != column.name) {
                continue;
            }
            let sql =
                format!("SELECT count(*), count(DISTINCT {}) FROM \"{}\"", ident(&column.name), lookup.name);
            let counts = self.first(&sql).await?;
            if integer(&counts, 0) == integer(&counts, 1) {
                return Ok(Some(column.name.clone()));
            }
        }
        Ok(None)
    }

    /// An identity of rows: order and item together, where they are unique.
    async fn id(&self, table: &Opened, given: &mut Columns, notes: &mut Vec<String>) -> anyhow::Result<()> {
        let explicit =
            table.columns.iter().find(|column| matches!(column.name.as_str(), "id" | "event_id" | "line_id"));
        let candidate = match (explicit, &given.order, &given.item) {
            (Some(column), ..) => Some(quoted(&column.name)),
            (None, Some(order), Some(item)) => Some(format!("{order} || '-' || {item}")),
            _ => None,
        };
        let Some(candidate) = candidate else {
            notes.push("no `id`: a row that comes twice counts twice".into());
            return Ok(());
        };
        let sql = format!("SELECT count(*), count(DISTINCT {candidate}) FROM \"{}\"", table.name);
        // An expression over a lookup's column cannot be counted here; it is then not an identity of rows either.
        let Ok(counts) = self.first(&sql).await else { return Ok(()) };
        if integer(&counts, 0) == integer(&counts, 1) {
            given.id = Some(candidate);
        } else {
            notes.push(format!("no `id`: {candidate} is not unique, so a row that comes twice counts twice"));
        }
        Ok(())
    }

    async fn money(
        &mut self,
        table: &Opened,
        columns: &[Column],
        given: &mut Columns,
        notes: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let discounts = guess::all("discount", &table.columns);
        let others: Vec<_> = columns
            .iter()
            .filter(|column| discounts.iter().all(|discount| discount.name != column.name))
            .cloned()
            .collect();
        let amount = guess::column("amount", &others);
        let mut kind = match guess::column("kind", &table.columns) {
            Some(column) => self.kind(table, column, notes).await?,
            None => "'purchase'".to_owned(),
        };
        if let Some(column) = amount {
            let name = quoted(&column.name);
            let mut paid = name.clone();
            if column.name.to_lowercase().contains("unit") && given.quantity.is_some() {
                paid = format!("{name} * {}", given.quantity.as_deref().unwrap_or_default());
                notes.push("`amount` is the unit price times the quantity".into());
            }
            if self.lowest(table, &paid).await? < 0.0 {
                notes.push("negative amounts are taken as returns".into());
                kind = if kind == "'purchase'" {
                    format!("CASE WHEN {paid} < 0 THEN 'return' ELSE 'purchase' END")
                } else {
                    kind
                };
                given.quantity = given.quantity.take().map(|quantity| magnitude(&quantity));
                paid = magnitude(&paid);
                self.note_kind("return");
            }
            given.amount = Some(paid);
        } else {
            notes.push("no column looks like an amount: tiers need one".into());
        }
        if !discounts.is_empty() {
            let sum = discounts.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(" + ");
            let negative = self.lowest(table, &sum).await? < 0.0;
            given.discount = Some(if negative { magnitude(&sum) } else { sum });
        }
        given.kind = kind;
        Ok(())
    }

    /// An expression for the kind of event, from the words that a column holds.
    async fn kind(
        &mut self,
        table: &Opened,
        column: &Column,
        notes: &mut Vec<String>,
    ) -> anyhow::Result<String> {
        let name = quoted(&column.name);
        let sql = format!(
            "SELECT CAST({name} AS VARCHAR), count(*) AS n FROM \"{}\" GROUP BY 1 ORDER BY n DESC LIMIT {}",
            table.name,
            MOST_KINDS + 1
        );
        let mut words = Vec::new();
        for batch in self.context.sql(&sql).await?.collect().await? {
            words.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
        }
        if words.len() > MOST_KINDS || !words.iter().any(|word| guess::kind(word) == Some("purchase")) {
            notes
                .push(format!("{name} does not look like a kind of event; every row is taken as a purchase"));
            return Ok("'purchase'".into());
        }
        let mut cases = String::new();
        for word in &words {
            match guess::kind(word) {
                Some(kind) => {
                    self.note_kind(kind);
                    if kind != word {
                        cases += &format!(" WHEN '{}' THEN '{kind}'", word.replace('\'', "''"));
                    }
                }
                None => self.custom.push(word.clone()),
            }
        }
        Ok(if cases.is_empty() { name } else { format!("CASE {name}{cases} ELSE {name} END") })
    }

    fn note_kind(&mut self, kind: &str) {
        if kind != "purchase" && !self.kinds.iter().any(|known| known == kind) {
            self.kinds.push(kind.to_owned());
        }
    }

    async fn lowest(&self, table: &Opened, sql: &str) -> anyhow::Result<f64> {
        let batch = self.first(&format!("SELECT CAST(min({sql}) AS DOUBLE) FROM \"{}\"", table.name)).await;
        // An expression over a lookup's column is not looked at.
        Ok(batch.map_or(0.0, |batch| batch.column(0).as_primitive::<Float64Type>().value(0)))
    }

    async fn first(&self, sql: &str) -> anyhow::Result<RecordBatch> {
        let batches = self.context.sql(sql).await?.collect().await?;
        batches.into_iter().find(|batch| batch.num_rows() > 0).context("the table is empty")
    }

    async fn summarise(self, tables: Vec<Seen>, folder: &Path) -> anyhow::Result<Found> {
        let declared: Vec<_> = tables.iter().map(|seen| seen.declared.clone()).collect();
        let events = table::Events::open_declared(folder, &declared, &table::ReadOptions::default()).await?;
        let (first, last) = events.span().await.context("the times of the tables cannot be read")?;
        events.context.register_table("proposed", events.frame().await?.into_view())?;
        let looker = Looker { context: &events.context, ..self };
        let late = Timestamp::from_ms(last.ms() - (last.ms() - first.ms()) / 4)?;
        // ISO texts are in the order of their times.
        let late = if events.times_are_text() { format!("'{}'", late.date()) } else { late.ms().to_string() };
        let active = format!(
            "SELECT count(*), count(CASE WHEN \"last\" >= {late} THEN 1 END) FROM \
             (SELECT max(\"time\") AS \"last\" FROM \"proposed\" GROUP BY \"member\")"
        );
        let active = looker.first(&active).await?;
        let quiet = 1.0 - integer(&active, 1) as f64 / integer(&active, 0).max(1) as f64;
        let busiest = looker
            .first("SELECT max(\"n\") FROM (SELECT count(*) AS \"n\" FROM \"proposed\" GROUP BY \"member\")")
            .await?;
        let mut categories = Vec::new();
        let sql = "SELECT \"category\" FROM \"proposed\" WHERE \"category\" IS NOT NULL GROUP BY \"category\" \
                   ORDER BY sum(CAST(\"amount\" AS DOUBLE)) DESC NULLS LAST, \"category\" LIMIT 6";
        for batch in looker.context.sql(sql).await?.collect().await? {
            categories.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
        }
        let busiest = integer(&busiest, 0).cast_unsigned();
        Ok(Found {
            tables,
            first,
            last,
            categories,
            kinds: looker.kinds,
            custom: looker.custom,
            busiest,
            quiet,
        })
    }
}

fn integer(batch: &RecordBatch, column: usize) -> i64 {
    first_integer(batch.column(column))
}

fn first_integer(column: &ArrayRef) -> i64 {
    let values = column.as_primitive::<Int64Type>();
    if values.is_empty() || values.is_null(0) { 0 } else { values.value(0) }
}

fn magnitude(sql: &str) -> String {
    format!("CASE WHEN {sql} < 0 THEN -({sql}) ELSE {sql} END")
}

/// A column's name as SQL, in quotes where it is not a plain word.
fn quoted(name: &str) -> String {
    const WORDS: [&str; 12] = [
        "order",
        "group",
        "time",
        "date",
        "timestamp",
        "user",
        "value",
        "count",
        "table",
        "select",
        "from",
        "where",
    ];
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !WORDS.contains(&name.to_lowercase().as_str());
    if plain { name.to_owned() } else { ident(name) }
}
