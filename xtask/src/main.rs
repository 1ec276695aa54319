//! `cargo xtask`: what a person types and what CI runs.
//!
//! Every command first calls [`setup`], which is quick when nothing is missing,
//! and every build step is skipped when its inputs did not change. This crate
//! decides nothing about members: it only fetches, builds, runs and compares.

mod bench;
mod conformance;
mod demo;
mod edge;
mod miri;
mod native;
mod setup;
mod shell;
mod test;
mod vectors;
mod wasm;
mod watch;
mod web;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
#[command(about = "Sets up, builds, tests and demonstrates Tiercast", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                      train on Complete Journey, open the page and the worker
  cargo xtask demo --once               the same without a window: prints a table, compares the runtimes
  cargo xtask demo --data orders.csv    on your own events
  cargo xtask watch                     a worker with made-up traffic, watched by Prometheus
  cargo xtask test                      everything CI runs
  cargo xtask test --only node          one step of it, with what it needs

Environment:
  CARGO_TARGET_DIR    where builds and caches go (default: ./target)
  CHROME              the Chromium or Chrome to test in
  TIERCAST_RUST_SRC   a `library` folder of this rustc's source, when no server has the wasm32 target";

#[derive(Debug, Subcommand)]
enum Command {
    /// Gets what a fresh machine lacks: the wasm32 target, Chromium, npm tools, pip and venv
    Setup,
    /// Builds the npm package and the worker
    Build,
    /// Formats, lints, and tests natively, in Node, in Chromium and in workerd
    Test(test::Args),
    /// Trains, evaluates, and shows members' tiers in a page and from a worker
    Demo(demo::Args),
    /// Measures size, start, speed, memory and the worker against other runtimes, and keeps the ledger
    Bench(bench::Args),
    /// Starts a worker, and Prometheus beside it (and Grafana, if you have it), all on loopback
    Watch(watch::Args),
    /// Runs ONNX's own test cases, and models as people export them, in the compact engine
    Conformance(conformance::Args),
    /// Runs core's unsafe code in Miri, with a nightly compiler
    Miri,
    /// Regenerates the parity vectors and shows what changed
    Vectors(vectors::Args),
    /// Prints this help
    Help,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Setup => setup::run().map(|()| println!("setup: nothing is missing")),
        Command::Build => build(),
        Command::Test(args) => return test::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Conformance(args) => conformance::run(&args),
        Command::Miri => miri::run(),
        Command::Vectors(args) => vectors::run(&args),
        Command::Help => Cli::command().print_help().map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> anyhow::Result<()> {
    setup::run()?;
    wasm::build()?;
    web::build()?;
    edge::build()
}
