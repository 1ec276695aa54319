//! `tiercast data`: tables to begin with, and what is in a table.

use std::process::ExitCode;

use clap::Subcommand;

pub mod check;
pub mod fetch;
pub mod synth;

/// `tiercast data …`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the command line would show them in place of each command's own words")]
pub enum Command {
    Fetch(fetch::Args),
    Synth(synth::Args),
    Check(check::Args),
}

/// Runs the command.
///
/// # Errors
/// As the command does.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Fetch(args) => fetch::run(args),
        Command::Synth(args) => synth::run(args),
        Command::Check(args) => check::run(args),
    }
}
