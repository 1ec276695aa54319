//! `tiercast risk`: which transactions are frauds, how well that can be told, and what judges it in a bundle.

use std::process::ExitCode;

use clap::Subcommand;

pub mod evaluate;
mod feedback;
pub mod folder;
mod judge;
mod learn;
pub mod moments;
mod page;
mod record;
mod rows;
mod rule_file;
#[cfg(test)]
mod tests;
pub mod train;
mod words;

/// `tiercast risk …`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the command line would show them in place of each command's own words")]
pub enum Command {
    Evaluate(evaluate::Args),
    Moments(moments::Args),
    Train(train::Args),
}

/// Runs the command.
///
/// # Errors
/// As the command does.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Evaluate(args) => evaluate::run(args),
        Command::Moments(args) => moments::run(args),
        Command::Train(args) => train::run(args),
    }
}
