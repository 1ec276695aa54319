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
    Events, SourceFile, Table,
    columns::{EventColumns, RowError},
};
use crate::engine::Engine;

/// A query's failure, with table and row when a row that is not an event caused it.
pub async fn explain(events: &Events, rules: &EventRules, error: DataFusionError) -> anyhow::Error {
    if let Some(found) = row_error(&error).cloned() {
        return locate(events, rules, found).await;
    }
    // What a cluster says of a row is words; which row it was, this process looks up.
    if let Engine::Ballista(_) = events.engine
        && let Ok(here) = events.here().await
        && let Ok(Some(found)) = first_of_all(&here, rules).await
    {
        return found;
    }
    events.engine.explain(error).context("the tables cannot be read")
}

/// A row that is not an event, with its table and its number in the file.
pub async fn locate(events: &Events, rules: &EventRules, error: RowError) -> anyhow::Error {
    match first_of_all(events, rules).await {
        Ok(Some(found)) => found,
        _ => anyhow!(error),
    }
}

/// The first row that is not an event, table by table and file by file.
async fn first_of_all(events: &Events, rules: &EventRules) -> anyhow::Result<Option<anyhow::Error>> {
    for table in &events.tables {
        for file in &table.source.files {
            if let Some((row, member, found)) = first_invalid(events, table, file, rules).await? {
                let member = member.map_or(String::new(), |member| format!(" (member {member})"));
                return Ok(Some(anyhow!(
                    "table {}, row {row}{member}: {found}\n\
                     mend the row, leave it out with `where` in the project file, or pass --skip-invalid",
                    table.file_name(file)
                )));
            }
        }
    }
    Ok(None)
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

/// The first row of a file, by its place there, that is not an event.
async fn first_invalid(
    events: &Events,
    table: &Table,
    file: &SourceFile,
    rules: &EventRules,
) -> anyhow::Result<Option<(u64, Option<String>, RowError)>> {
    let mut stream = events.numbered(table, file).await?.execute_stream().await?;
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
