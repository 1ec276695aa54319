//! `tiercast data check`: what is in a table, column by column, and what looks wrong.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use datafusion::{
    arrow::{
        array::{Array, AsArray, RecordBatch},
        datatypes::{DataType, Int64Type},
        util::display::{ArrayFormatter, FormatOptions},
    },
    prelude::SessionContext,
};
use indicatif::HumanCount;

use crate::{
    project::count,
    table::{self, Place, ReadOptions, ident},
};

/// Count and check the rows of a .parquet or .csv file, or of a folder of them.
///
/// For every column: its type, nulls, distinct values, the smallest and largest, and the sum of numbers. For the table:
/// rows, rows that are there more than once, and, where it has a column `kind`, the rows of each kind.
/// Ends with 1 when the table is empty or a column of it holds nothing but nulls.
///
/// Example: tiercast data check shop/events.parquet
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The table.
    pub file: PathBuf,
}

/// What is known of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// How many rows have no value.
    pub nulls: i64,
    /// How many different values there are.
    pub distinct: i64,
    /// The smallest and the largest value, and the sum, as text; empty where there is none.
    pub range: [String; 3],
}

/// What is known of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its rows.
    pub rows: i64,
    /// Rows that equal an earlier one.
    pub duplicates: i64,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Rows of each kind, where there is a column `kind`.
    pub kinds: Vec<(String, i64)>,
}

/// Runs the command.
///
/// # Errors
/// When the file cannot be read.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let context = table::session(&ReadOptions::default())?;
    let summary = runtime.block_on(async {
        table::register(&context, "t", &Place::named(&args.file)?).await?;
        summarise(&context, "t").await
    })?;
    print(&args.file.display().to_string(), &summary);
    let hollow = summary.rows == 0 || summary.columns.iter().any(|column| column.nulls == summary.rows);
    Ok(if hollow { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Summarises a registered table.
///
/// # Errors
/// When it cannot be read.
pub async fn summarise(context: &SessionContext, table: &str) -> anyhow::Result<Summary> {
    let schema = context.table(table).await?.schema().clone();
    let mut columns = Vec::new();
    for field in schema.fields() {
        columns.push(column(context, table, field.name(), field.data_type()).await?);
    }
    let all: Vec<_> = schema.fields().iter().map(|field| ident(field.name())).collect();
    let all = all.join(", ");
    let rows = number(context, &format!("SELECT count(*) FROM \"{table}\"")).await?;
    let distinct =
        number(context, &format!("SELECT count(*) FROM (SELECT {all} FROM \"{table}\" GROUP BY {all})"))
            .await?;
    let has_kind = schema.fields().iter().any(|field| field.name() == "kind");
    let kinds = if has_kind { kinds(context, table).await? } else { Vec::new() };
    Ok(Summary { rows, duplicates: rows - distinct, columns, kinds })
}

async fn column(
    context: &SessionContext,
    table: &str,
    name: &str,
    data_type: &DataType,
) -> anyhow::Result<Column> {
    let quoted = ident(name);
    let sum = if data_type.is_numeric() { format!("sum({quoted})") } else { "NULL".into() };
    let sql = format!(
        "SELECT count(*) - count({quoted}), count(DISTINCT {quoted}), min({quoted}), max({quoted}), {sum} \
         FROM \"{table}\""
    );
    let batch = only(context, &sql).await?;
    let range = [cell(&batch, 2)?, cell(&batch, 3)?, cell(&batch, 4)?];
    Ok(Column {
        name: name.to_owned(),
        data_type: data_type.clone(),
        nulls: batch.column(0).as_primitive::<Int64Type>().value(0),
        distinct: batch.column(1).as_primitive::<Int64Type>().value(0),
        range,
    })
}

async fn kinds(context: &SessionContext, table: &str) -> anyhow::Result<Vec<(String, i64)>> {
    let sql = format!(
        "SELECT CAST(\"kind\" AS VARCHAR), count(*) AS n FROM \"{table}\" GROUP BY 1 ORDER BY n DESC, 1"
    );
    let mut kinds = Vec::new();
    for batch in context.sql(&sql).await?.collect().await? {
        let (names, counts) =
            (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        kinds.extend((0..batch.num_rows()).map(|row| (names.value(row).to_owned(), counts.value(row))));
    }
    Ok(kinds)
}

async fn number(context: &SessionContext, sql: &str) -> anyhow::Result<i64> {
    Ok(only(context, sql).await?.column(0).as_primitive::<Int64Type>().value(0))
}

async fn only(context: &SessionContext, sql: &str) -> anyhow::Result<RecordBatch> {
    let batches = context.sql(sql).await?.collect().await?;
    batches.into_iter().find(|batch| batch.num_rows() > 0).context("the query gave no row")
}

fn cell(batch: &RecordBatch, column: usize) -> anyhow::Result<String> {
    let array = batch.column(column);
    if array.is_null(0) {
        return Ok(String::new());
    }
    Ok(ArrayFormatter::try_new(array, &FormatOptions::default())?.value(0).to_string())
}

fn print(file: &str, summary: &Summary) {
    let rows = summary.rows.unsigned_abs();
    let duplicates = summary.duplicates.unsigned_abs();
    say!("{file}: {} rows, {} of them there before", HumanCount(rows), HumanCount(duplicates));
    let width = summary.columns.iter().map(|column| column.name.len()).max().unwrap_or_default();
    for column in &summary.columns {
        let [low, high, sum] = &column.range;
        let sum = if sum.is_empty() { String::new() } else { format!(", sum {sum}") };
        say!(
            "  {:width$}  {}: {}, {} distinct, {low} … {high}{sum}",
            column.name,
            column.data_type,
            count(column.nulls as usize, "null"),
            HumanCount(column.distinct.unsigned_abs()),
        );
    }
    for (kind, rows) in &summary.kinds {
        say!("  kind {kind}: {} rows", HumanCount(rows.unsigned_abs()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_files_and_odd_names_are_understood() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str| {
            let file = folder.path().join("t.csv");
            std::fs::write(&file, text).unwrap();
            run(Args { file })
        };
        let error = check("").unwrap_err().to_string();
        assert!(error.ends_with("t.csv has no columns"), "{error}");
        assert_eq!(check("\"a \"\"b\"\"\",c\n1,2\n").unwrap(), ExitCode::SUCCESS);
    }
}
