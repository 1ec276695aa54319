//! An executor: runs the stages of plans that the scheduler gives it, and keeps their results until they are fetched.

use std::{
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use ballista_core::{
    config::TaskSchedulingPolicy,
    serde::protobuf::{GetJobStatusParams, scheduler_grpc_client::SchedulerGrpcClient},
};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use tonic::{Code, transport::Endpoint};
use url::Url;

use super::{MESSAGE, codec, named, scheduler};
use crate::{
    engine::{Engine, SCHEDULER_PORT},
    table::stores::Stores,
};

/// How long the scheduler is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serve a cluster's executor.
///
/// It registers with the scheduler and works until it is stopped; on SIGTERM it finishes what it has begun. It reads the
/// tables, so it must reach them by the same paths or addresses as the command that names them, and it keeps what stages
/// give each other in --work. The other executors and the clients must reach its port. An executor of another version is refused. RUST_LOG=info tells more.
///
/// Example: tiercast cluster executor --scheduler ballista://10.0.0.1 --bind 10.0.0.2 --memory 8192
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The scheduler, ballista://host:port.
    #[arg(long, default_value = "ballista://127.0.0.1", value_name = "ADDRESS")]
    pub scheduler: Engine,
    /// The address to listen at.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub bind: String,
    /// The name or address that others reach it by, if that is another than --bind.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// The port that results are fetched from; 0 takes a free one.
    #[arg(short, long, default_value_t = SCHEDULER_PORT + 1)]
    pub port: u16,
    /// Tasks at a time; the number of cores by default.
    #[arg(long, value_name = "N")]
    pub cores: Option<usize>,
    /// Memory for sorting and gathering, in MiB, shared by the tasks; what does not fit goes to disk.
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    pub memory: u64,
    /// The folder for results of stages; a temporary one by default.
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
}

/// Serves until the process is told to stop, as of a version of this program.
///
/// # Errors
/// When the scheduler cannot be reached or refuses this executor, or a port cannot be had.
pub async fn run(args: &Args, version: &str) -> anyhow::Result<()> {
    let Engine::Ballista(scheduler) = &args.scheduler else {
        bail!("--scheduler is an address, ballista://host:port");
    };
    let url = Url::parse(scheduler)?;
    introduce(scheduler, version).await?;
    let temporary = tempfile::tempdir().context("cannot make a temporary folder; name one with --work")?;
    let work = args.work.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let cores = args.cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let spill = work.clone();
    let config = ExecutorProcessConfig {
        bind_host: args.bind.clone(),
        external_host: Some(args.host.clone().unwrap_or_else(|| args.bind.clone())),
        port: free(&args.bind, args.port)?,
        scheduler_host: url.host_str().unwrap_or_default().to_owned(),
        scheduler_port: url.port().unwrap_or(SCHEDULER_PORT),
        scheduler_connect_timeout_seconds: 30,
        vcores: cores,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        work_dir: Some(work.to_str().context("--work is not readable text")?.to_owned()),
        job_data_ttl_seconds: 24 * 3600,
        job_data_clean_up_interval_seconds: 600,
        grpc_max_decoding_message_size: MESSAGE as u32,
        grpc_max_encoding_message_size: MESSAGE as u32,
        memory_pool_size: Some(args.memory << 20),
        override_runtime_producer: Some(Arc::new(move |_| {
            let runtime = RuntimeEnvBuilder::new()
                .with_object_store_registry(Arc::new(Stores::default()))
                .with_temp_file_path(spill.clone());
            runtime.build().map(Arc::new)
        })),
        override_config_producer: Some(Arc::new(scheduler::producer)),
        override_logical_codec: Some(Arc::new(codec::Logical::default())),
        override_physical_codec: Some(Arc::new(codec::Physical::default())),
        override_create_grpc_client_endpoint: Some(named(version)),
        ..ExecutorProcessConfig::default()
    };
    say!(
        "executor of tiercast {version}, {cores} tasks at a time, {} MiB; scheduler ballista://{}:{}",
        args.memory,
        config.scheduler_host,
        config.scheduler_port
    );
    start_executor_process(Arc::new(config)).await.map_err(|error| anyhow!("{error}"))
}

/// Asks the scheduler, once it is there, whether it takes a version: whoever is refused later only asks again and again.
async fn introduce(scheduler: &str, version: &str) -> anyhow::Result<()> {
    let refused = |error| anyhow!("{error}");
    let endpoint = named(version)(Endpoint::from_shared(scheduler.to_owned())?).map_err(refused)?;
    let waited = Instant::now();
    let channel = loop {
        match endpoint.connect().await {
            Ok(channel) => break channel,
            Err(_) if waited.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(500)).await,
            Err(error) => return Err(error).with_context(|| format!("no scheduler answers at {scheduler}")),
        }
    };
    let nothing = GetJobStatusParams { job_id: "none".into() };
    match SchedulerGrpcClient::new(channel).get_job_status(nothing).await {
        Err(status) if status.code() == Code::FailedPrecondition => bail!("{}", status.message()),
        // That there is no such job is an answer too.
        _ => Ok(()),
    }
}

/// A port that is free now, where any will do.
fn free(address: &str, port: u16) -> anyhow::Result<u16> {
    if port != 0 {
        return Ok(port);
    }
    let listener = TcpListener::bind((address, 0)).with_context(|| format!("cannot listen at {address}"))?;
    Ok(listener.local_addr()?.port())
}
