//! The `tiercast` program: the command tree, and nothing else.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(feature = "cluster")]
use tiercast::cluster;
use tiercast::{
    campaign, check, data, deploy, equip, evaluate, features, import, init, inspect, members, policy, risk,
    score, similar, states, train,
};

/// Rows of tables are allocated by one thread and freed by another, millions of times.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains, evaluates and scores membership tiers from a shop's own event tables.
///
/// From a table to scores:
///   tiercast init sales.parquet            write a commented tiercast.toml by looking at the table
///   tiercast check                         explain what is wrong in it, line by line
///   tiercast train -o run                  cross-validate, fit, test out of time, write run/bundle.tcb
///   tiercast evaluate run                  write run/report.html and run/report.json
///   tiercast score run/bundle.tcb sales.parquet -p tiercast.toml -o scores.parquet
///
/// A model trained elsewhere: tiercast import model.onnx --into run/bundle.tcb
/// Without data of your own: tiercast data fetch complete-journey, or tiercast data synth --members 10000 --out shop
#[derive(Debug, Parser)]
#[command(name = "tiercast", version, verbatim_doc_comment, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The words of each command are those of its own `Args`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch a known data set, generate a synthetic one, or check a table.
    #[command(subcommand)]
    Data(data::Command),
    Init(init::Args),
    Check(check::Args),
    Features(features::Args),
    Train(train::Args),
    Evaluate(evaluate::Args),
    Bundle(equip::Args),
    Import(import::Args),
    Inspect(inspect::Args),
    Score(score::Args),
    States(states::Args),
    /// Release bundles to edge workers: signed, tried on a share of members, taken back; no code is deployed.
    ///
    ///   tiercast deploy key -o release.key                                                           once; the public half goes to the worker
    ///   tiercast deploy bundle run/bundle.tcb --to r2:shop-bundles --key release.key                 to all members
    ///   tiercast deploy bundle new.tcb --to r2:shop-bundles --key release.key --stage shadow         on trial
    ///   tiercast deploy promote --to r2:shop-bundles --key release.key --stage canary --share 0.1    further, then without --stage
    ///   tiercast deploy status --to r2:shop-bundles
    #[command(subcommand, verbatim_doc_comment)]
    Deploy(deploy::Command),
    /// Serve `--engine ballista://host:port`: a scheduler, and executors that do the work.
    #[cfg(feature = "cluster")]
    #[command(subcommand)]
    Cluster(cluster::Command),
    Campaign(campaign::Args),
    /// Which offer or tier a member gets: learned from a log of decisions, and judged by it.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Which transactions are frauds, and how well that can be told.
    #[command(subcommand)]
    Risk(risk::Command),
    Similar(similar::Args),
    Members(members::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Data(command) => data::run(command),
        Command::Init(args) => init::run(args),
        Command::Check(args) => check::run(args),
        Command::Features(args) => features::run(args),
        Command::Train(args) => train::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Bundle(args) => equip::run(args),
        Command::Import(args) => import::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Score(args) => score::run(args),
        Command::States(args) => states::run(args),
        Command::Deploy(command) => deploy::run(command),
        #[cfg(feature = "cluster")]
        Command::Cluster(command) => cluster::run(command),
        Command::Campaign(args) => campaign::run(args),
        Command::Policy(command) => policy::run(command),
        Command::Risk(command) => risk::run(command),
        Command::Similar(args) => similar::run(args),
        Command::Members(args) => members::run(args),
    }
}
