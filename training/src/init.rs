//! `tiercast init`: a commented project file, proposed by looking at the tables.
//!
//! What is proposed is a guess from names, types and values; the file says so beside each one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use tiercast_core::Currency;

use crate::{
    project::{Project, count},
    table::{self, ReadOptions},
};

mod compose;
mod guess;
mod look;

/// Write a commented tiercast.toml by looking at your tables.
///
/// The tables of events are those with a member and a time; the others are joined as lookups when they share a column
/// that is unique in them. Columns are recognised by name and type, the tier period and the dates of [split] follow
/// from the span of the dates, and about forty features are declared, among them the shares of the largest categories.
/// Everything is a proposal: read it, change it, and let `tiercast check` look at it.
///
/// Example: tiercast init transactions.parquet products.parquet
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Tables of events, and lookups; .parquet or .csv.
    #[arg(required = true, value_name = "TABLE")]
    pub tables: Vec<PathBuf>,
    /// Where to write the project file.
    #[arg(short, long, default_value = "tiercast.toml")]
    pub output: PathBuf,
    /// The currency of the amounts, ISO 4217.
    #[arg(long, default_value = "USD")]
    pub currency: String,
    /// Decimals of the currency's minor unit: 2 for USD, 0 for JPY.
    #[arg(long, default_value_t = 2)]
    pub exponent: u8,
    /// Replace the file if there is one.
    #[arg(long)]
    pub force: bool,
}

/// Runs the command.
///
/// # Errors
/// When a table cannot be read, no table has a member and a time, or the file is there already.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.output.exists() && !args.force {
        bail!("{} is there already; --force replaces it", args.output.display());
    }
    let currency = Currency { code: args.currency.clone(), exponent: args.exponent };
    let text = propose(&args.tables, &args.output, &currency)?;
    fs::write(&args.output, &text).with_context(|| format!("cannot write {}", args.output.display()))?;
    let features = text.matches("\n[[features]]").count();
    say!("{}: {}; now read it, and run `tiercast check`", args.output.display(), count(features, "feature"));
    Ok(ExitCode::SUCCESS)
}

/// The text of a project file at `output` for the given tables.
///
/// # Errors
/// When a table cannot be read, or no table has a member and a time.
pub fn propose(tables: &[PathBuf], output: &Path, currency: &Currency) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    let found = runtime.block_on(async {
        let context = table::session(&ReadOptions::default())?;
        look::look(&context, tables, output).await
    })?;
    let text = compose::compose(&found, currency);
    match Project::parse(&text, output) {
        Ok(_) => Ok(text),
        Err(problems) => {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            bail!("no project can be proposed for these tables: {first}")
        }
    }
}

#[cfg(test)]
mod tests;
