//! `tiercast risk`: which transactions are frauds, and how well that can be told.

use std::process::ExitCode;

use clap::Subcommand;

pub mod evaluate;
mod feedback;
mod judge;
mod learn;
mod page;
mod record;
mod rows;
mod rule_file;
#[cfg(test)]
mod tests;
mod words;

/// `tiercast risk …`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the command line would show them in place of each command's own words")]
pub enum Command {
    Evaluate(evaluate::Args),
}

/// Runs the command.
///
/// # Errors
/// As the command does.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Evaluate(args) => evaluate::run(args),
    }
}
