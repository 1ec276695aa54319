//! Which row was it: finds the row of a table that is not an event, after a query failed on it.
//!
//! The hot path does not number rows; a failure pays for one more pass in the order of the file.

use anyhow::anyhow;
use datafusion::{
    arrow::{array::AsArray, datatypes::UInt64Type},
    error::DataFusionError,
};
use futures::StreamExt;
use tiercast_core::EventRules;

use super::{
    Events, Table,
    columns::{EventColumns, RowError},
};

/// A query's failure, with table and row when a row that is not an event caused it.
pub async fn explain(events: &Events, rules: &EventRules, error: DataFusionError) -> anyhow::Error {
    match row_error(&error).cloned() {
        Some(found) => locate(events, rules, found).await,
        None => super::plain(&error).context("the tables cannot be read"),
    }
}

/// A row that is not an event, with its table and its number in the file.
pub async fn locate(events: &Events, rules: &EventRules, error: RowError) -> anyhow::Error {
    for table in &events.tables {
        if let Ok(Some((row, member, found))) = first_invalid(events, table, rules).await {
            let member = member.map_or(String::new(), |member| format!(" (member {member})"));
            return anyhow!(
                "table {}, row {row}{member}: {found}\n\
                 mend the row, leave it out with `where` in the project file, or pass --skip-invalid",
                table.name
            );
        }
    }
    anyhow!(error)
}

fn row_error(error: &DataFusionError) -> Option<&RowError> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(found) = current.downcast_ref::<RowError>() {
            return Some(found);
        }
        source = current.source();
    }
    None
}

/// The first row of a table, by its place in the file, that is not an event.
async fn first_invalid(
    events: &Events,
    table: &Table,
    rules: &EventRules,
) -> anyhow::Result<Option<(u64, Option<String>, RowError)>> {
    let mut stream = events.numbered(table).await?.execute_stream().await?;
    let mut first: Option<(u64, Option<String>, RowError)> = None;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let last = batch.num_columns() - 1;
        let numbers = batch.column(last).as_primitive::<UInt64Type>();
        let columns = EventColumns::new(&batch.columns()[..last])?;
        for row in 0..columns.rows() {
            let number = numbers.value(row);
            if first.as_ref().is_some_and(|(known, ..)| *known < number) {
                continue;
            }
            if let Err(error) = columns.event(row, rules) {
                first = Some((number, columns.member(row).map(str::to_owned), error));
            }
        }
    }
    Ok(first)
}
