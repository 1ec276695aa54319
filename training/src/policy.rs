//! `tiercast policy`: which offer or tier a member gets: what decisions that were logged say of other ways to decide.

use std::process::ExitCode;

use clap::Subcommand;

pub mod candidates;
pub mod evaluate;
pub mod log;
mod page;
pub mod play;
pub mod record;
pub mod simulate;
pub mod train;
mod words;

/// `tiercast policy …`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the command line would show them in place of each command's own words")]
pub enum Command {
    Simulate(simulate::Args),
    Train(train::Args),
    Play(play::Args),
    Evaluate(evaluate::Args),
}

/// Runs the command.
///
/// # Errors
/// As the command does.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Simulate(args) => simulate::run(args),
        Command::Train(args) => train::run(args),
        Command::Play(args) => play::run(args),
        Command::Evaluate(args) => evaluate::run(args),
    }
}
