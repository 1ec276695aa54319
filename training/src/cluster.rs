//! `tiercast cluster`: the same plans on several machines, by Apache DataFusion Ballista.
//!
//! A scheduler cuts a plan into stages, executors run them; all of them are this program, because a stock executor knows
//! neither our functions nor our stores. Invariant: whoever takes part is of one version; others are refused by name.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use ballista_core::extension::{EndpointOverrideFn, SessionConfigExt, SessionStateExt};
use clap::Subcommand;
use datafusion::{
    execution::{SessionStateBuilder, runtime_env::RuntimeEnv},
    prelude::{SessionConfig, SessionContext},
};

pub mod codec;
pub mod executor;
pub mod scheduler;

/// The version that all of a cluster have.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The largest message between the processes: a plan holds a bundle.
const MESSAGE: usize = 256 << 20;

/// `tiercast cluster …`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the command line would show them in place of each command's own words")]
pub enum Command {
    Scheduler(scheduler::Args),
    Executor(executor::Args),
}

/// Runs the command, until the process is told to stop.
///
/// # Errors
/// As the command does.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    log::set_max_level(level.unwrap_or(log::LevelFilter::Warn));
    log::set_logger(&Stderr).map_err(|_| anyhow::anyhow!("there is a logger already"))?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the worker threads")?;
    runtime.block_on(async {
        match command {
            Command::Scheduler(args) => scheduler::run(&args).await,
            Command::Executor(args) => executor::run(&args, VERSION).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What Ballista logs, a line each on stderr. The usual loggers ask the crate `log` for more features than it has here, and
/// every crate of DataFusion would be built a second time.
struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("{} {}: {}", record.level(), record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

/// A session whose queries run on a cluster.
///
/// # Errors
/// When the settings do not fit.
pub(crate) fn session(
    url: &str,
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
) -> anyhow::Result<SessionContext> {
    let config = known(config.upgrade_for_ballista());
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .build()
        .upgrade_for_ballista(url.to_owned())?;
    Ok(SessionContext::new_with_state(state))
}

/// Settings that client, scheduler and executors share.
///
/// Two things of Ballista 55.0.0 are left alone, because with them a job whose executor was killed never ended (two executors
/// of one core, one killed while the second stage ran): its adaptive planner, with which the tasks that are done again end
/// with "Can't find active stage to update stage outputs", and tasks that the scheduler pushes, of which the last executor was
/// given no more. Executors that ask for their tasks go on.
fn known(config: SessionConfig) -> SessionConfig {
    config
        .with_ballista_logical_extension_codec(Arc::new(codec::Logical::default()))
        .with_ballista_physical_extension_codec(Arc::new(codec::Physical::default()))
        .with_ballista_grpc_client_max_message_size(MESSAGE)
        .with_ballista_override_create_grpc_client_endpoint(named(VERSION))
        .with_ballista_adaptive_query_planner(false)
}

/// Makes a connection say which version is at its end.
fn named(version: &str) -> EndpointOverrideFn {
    let agent = format!("tiercast/{version}");
    Arc::new(move |endpoint| Ok(endpoint.user_agent(agent.clone())?))
}
