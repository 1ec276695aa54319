//! What is in a project's tables, seen as events: one pass over every row, in the order of the files.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int64Type, UInt64Type},
};
use futures::StreamExt;
use indicatif::ProgressBar;
use tiercast_core::{EventRules, Timestamp};

use super::{Events, columns::EventColumns};

/// Names that are remembered of categories and channels; a table with more is not grouped by them.
const MOST_NAMES: usize = 10_000;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Valid events.
    pub events: u64,
    /// Different members.
    pub members: u64,
    /// The most events of one member.
    pub busiest: u64,
    /// The times of the first and the last valid event.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Valid events of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// Purchases without an amount.
    pub unpriced: u64,
    /// The names of categories and channels.
    pub names: BTreeSet<String>,
    /// Rows that are not events, by table and code.
    pub invalid: BTreeMap<(usize, String), Invalid>,
}

/// Rows of one table that are not events for one reason.
#[derive(Clone, Debug)]
pub struct Invalid {
    /// How many there are.
    pub rows: u64,
    /// The first one's place in its file, from 1.
    pub first: u64,
    /// Its file, where the table has several.
    pub file: Option<String>,
    /// What is wrong with it.
    pub message: String,
}

impl Survey {
    /// Reads every row of every table.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn take(events: &Events, rules: &EventRules, progress: &ProgressBar) -> anyhow::Result<Self> {
        let mut survey = Self::default();
        survey.count_members(events).await?;
        for (index, table) in events.tables.iter().enumerate() {
            for file in &table.source.files {
                let name = (!table.source.is_single()).then_some(file.name.as_str());
                let mut stream = events.numbered(table, file).await?.execute_stream().await?;
                while let Some(batch) = stream.next().await {
                    let batch = batch?;
                    survey.add((index, name), &batch, rules)?;
                    progress.inc(batch.num_rows() as u64);
                }
            }
        }
        Ok(survey)
    }

    async fn count_members(&mut self, events: &Events) -> anyhow::Result<()> {
        events.context.register_table("surveyed", events.frame().await?.into_view())?;
        let sql = "SELECT count(*), coalesce(max(\"n\"), 0) FROM \
                   (SELECT count(*) AS \"n\" FROM \"surveyed\" GROUP BY \"member\")";
        for batch in events.context.sql(sql).await?.collect().await? {
            let value =
                |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0).cast_unsigned();
            if batch.num_rows() > 0 {
                (self.members, self.busiest) = (value(0), value(1));
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        (table, file): (usize, Option<&str>),
        batch: &RecordBatch,
        rules: &EventRules,
    ) -> anyhow::Result<()> {
        let last = batch.num_columns() - 1;
        let numbers = batch.column(last).as_primitive::<UInt64Type>();
        let columns = EventColumns::new(&batch.columns()[..last])?;
        for row in 0..columns.rows() {
            match columns.event(row, rules) {
                Ok(event) => {
                    let (first, newest) = self.span.unwrap_or((event.time, event.time));
                    self.span = Some((first.min(event.time), newest.max(event.time)));
                    self.events += 1;
                    self.name(&columns, row);
                }
                Err(error) => {
                    let (first, file) = (numbers.value(row), file.map(str::to_owned));
                    let first = Invalid { rows: 0, first, file, message: error.message };
                    let invalid = self.invalid.entry((table, error.code)).or_insert(first);
                    invalid.rows += 1;
                }
            }
        }
        Ok(())
    }

    fn name(&mut self, columns: &EventColumns<'_>, row: usize) {
        let Ok(input) = columns.input(row) else { return };
        match self.kinds.get_mut(input.kind.as_ref()) {
            Some(events) => *events += 1,
            None => drop(self.kinds.insert(input.kind.to_string(), 1)),
        }
        self.unpriced += u64::from(input.kind == "purchase" && input.amount.is_none());
        for name in [input.category, input.channel].into_iter().flatten() {
            if self.names.len() < MOST_NAMES && !self.names.contains(name.as_ref()) {
                self.names.insert(name.into_owned());
            }
        }
    }
}
