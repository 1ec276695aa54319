//! `tiercast similar`: the members who behave most like one, by their embeddings.

use std::{cmp::Ordering, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use datafusion::arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float32Type},
};
use futures::StreamExt;
use tiercast_core::similarity;

use crate::{
    score::layout::embedding_column,
    table::{Place, ReadOptions, ident, register, session},
};

/// Find the members who behave most like one.
///
/// SCORES is a table that `tiercast score --embedding` wrote, from a bundle with profiles. Members are compared by the
/// cosine of the angle between their embeddings: 1 is the same direction, 0 is unrelated. Every member is looked at, so
/// the answer is exact.
///
/// Example: tiercast score run/bundle.tcb -p tiercast.toml --embedding -o scores.parquet
///          tiercast similar scores.parquet 1374
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The table of scores.
    pub scores: PathBuf,
    /// The member to compare with.
    pub member: String,
    /// How many to name.
    #[arg(short = 'k', long, default_value_t = 10)]
    pub count: usize,
}

/// A member beside the one asked about.
#[derive(Debug, PartialEq)]
struct Neighbour {
    similarity: f32,
    member: String,
    segment: String,
    tier: String,
}

/// Runs the command.
///
/// # Errors
/// When the table cannot be read, has no embeddings, or has no such member.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let found = runtime.block_on(find(&args))?;
    say!("{:>10}  {:<24}  {:<16}  segment", "similarity", "member", "next tier");
    for Neighbour { similarity, member, segment, tier } in found {
        say!("{similarity:>10.3}  {member:<24}  {tier:<16}  {segment}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(args: &Args) -> anyhow::Result<Vec<Neighbour>> {
    let context = session(&ReadOptions::default())?;
    register(&context, "scores", &Place::named(&args.scores)?).await?;
    let table = context.table("scores").await?;
    let has = |name: &str| table.schema().fields().iter().any(|field| field.name() == name);
    let width = (1..).take_while(|at| has(&embedding_column(*at))).count();
    if width == 0 || !["member", "segment", "tier_name"].into_iter().all(has) {
        bail!(
            "{} has no embeddings; write them with `tiercast score --embedding` from a bundle with profiles",
            args.scores.display()
        );
    }
    let numbers = (1..=width).map(|at| ident(&embedding_column(at))).collect::<Vec<_>>().join(", ");
    let select =
        format!("SELECT CAST(\"member\" AS VARCHAR), \"segment\", \"tier_name\", {numbers} FROM \"scores\"");
    let member = args.member.replace('\'', "''");
    let own = format!("{select} WHERE CAST(\"member\" AS VARCHAR) = '{member}'");
    let own = context.sql(&own).await?.collect().await?;
    let Some(batch) = own.iter().find(|batch| batch.num_rows() > 0) else {
        bail!("{} has no member {:?}; identifiers are compared exactly", args.scores.display(), args.member);
    };
    let own = embedding(&columns(batch)?, 0);
    let mut best: Vec<Neighbour> = Vec::new();
    let mut stream = context.sql(&select).await?.execute_stream().await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let numbers = columns(&batch)?;
        let texts = (0..3)
            .map(|at| Ok(cast(batch.column(at), &DataType::Utf8)?))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let text = |column: usize, row: usize| texts[column].as_string::<i32>().value(row).to_owned();
        for row in (0..batch.num_rows()).filter(|row| text(0, *row) != args.member) {
            let similarity = similarity(&own, &embedding(&numbers, row));
            best.push(Neighbour {
                similarity,
                member: text(0, row),
                segment: text(1, row),
                tier: text(2, row),
            });
        }
        best.sort_by(nearer);
        best.truncate(args.count);
    }
    Ok(best)
}

/// The more alike first, then by name, so that the order of the rows does not matter.
fn nearer(a: &Neighbour, b: &Neighbour) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then_with(|| a.member.cmp(&b.member))
}

/// The columns of the embeddings as 32-bit floats.
fn columns(batch: &RecordBatch) -> anyhow::Result<Vec<datafusion::arrow::array::ArrayRef>> {
    batch.columns()[3..].iter().map(|column| Ok(cast(column, &DataType::Float32)?)).collect()
}

fn embedding(columns: &[datafusion::arrow::array::ArrayRef], row: usize) -> Vec<f32> {
    columns.iter().map(|column| column.as_primitive::<Float32Type>().value(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(table: &str, member: &str) -> (tempfile::TempDir, Args) {
        let folder = tempfile::tempdir().unwrap();
        let scores = folder.path().join("scores.csv");
        std::fs::write(&scores, table).unwrap();
        (folder, Args { scores, member: member.into(), count: 2 })
    }

    const TABLE: &str = "member,segment,tier_name,embedding_1,embedding_2\n\
        1,a,Gold,1.0,0.0\n2,a,Gold,0.0,0.5\n3,b,Silver,0.5,0.0\n4,b,Basic,0.5,0.5\n";

    #[test]
    fn the_nearest_come_first_and_the_member_itself_not_at_all() {
        let (_folder, args) = args(TABLE, "1");
        let found = tokio::runtime::Runtime::new().unwrap().block_on(find(&args)).unwrap();
        let found: Vec<_> = found.iter().map(|n| (n.member.as_str(), n.segment.as_str())).collect();
        assert_eq!(found, [("3", "b"), ("4", "b")]);
    }

    #[test]
    fn an_unknown_member_and_a_table_without_embeddings_are_refused() {
        let run = |table: &str, member: &str| {
            let (_folder, args) = args(table, member);
            format!("{:#}", tokio::runtime::Runtime::new().unwrap().block_on(find(&args)).unwrap_err())
        };
        assert!(run(TABLE, "9").contains("no member \"9\""));
        assert!(run("member,tier_name\n1,Gold\n", "1").contains("--embedding"));
    }
}
