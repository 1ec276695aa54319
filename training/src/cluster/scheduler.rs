//! The scheduler: takes plans, cuts them into stages, and gives these to executors.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use axum::{
    body::Body,
    extract::Request,
    http::header::USER_AGENT,
    middleware::{self, Next},
    response::Response,
};
use ballista_core::{
    config::TaskSchedulingPolicy, extension::SessionConfigExt,
    serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer,
};
use ballista_scheduler::{
    cluster::BallistaCluster, config::SchedulerConfig, scheduler_process::create_scheduler,
};
use datafusion::{
    execution::{SessionState, SessionStateBuilder, runtime_env::RuntimeEnvBuilder},
    prelude::SessionConfig,
};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::net::TcpListener;
use tonic::{Status, service::RoutesBuilder};

use super::{MESSAGE, VERSION, codec, known, named};
use crate::{
    engine::SCHEDULER_PORT,
    table::{settings, stores::Stores},
};

/// Serve a cluster's scheduler.
///
/// It prints its address and waits for executors (`tiercast cluster executor`) and for commands that name it with --engine.
/// It reads which files a table has, so it must reach them, as executors must. What it knows is in memory: if it is
/// restarted, executors come back by themselves, and commands that were running end with an error and can be given again.
/// Whoever reaches the port can run queries: keep it inside a private network. RUST_LOG=info tells more.
///
/// Example: tiercast cluster scheduler --bind 10.0.0.1
#[derive(Clone, Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The address to listen at.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub bind: String,
    /// The port to listen at; 0 takes a free one.
    #[arg(short, long, default_value_t = SCHEDULER_PORT)]
    pub port: u16,
    /// The name or address that executors reach it by, if that is another than --bind.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Seconds without a sign of life after which an executor is given up and its work done again.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub executor_timeout: u64,
}

/// Serves until the process ends.
///
/// # Errors
/// When the port cannot be had.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind((args.bind.as_str(), args.port))
        .await
        .with_context(|| format!("cannot listen at {}:{}", args.bind, args.port))?;
    let port = listener.local_addr()?.port();
    let host = args.host.clone().unwrap_or_else(|| args.bind.clone());
    let config = Arc::new(config(args, &host, port));
    let cluster = BallistaCluster::new_from_config(&config).await?;
    let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, config).await?;
    let grpc = SchedulerGrpcServer::new(scheduler)
        .max_encoding_message_size(MESSAGE)
        .max_decoding_message_size(MESSAGE);
    let mut routes = RoutesBuilder::default();
    routes.add_service(grpc);
    let router = routes
        .routes()
        .into_axum_router()
        .layer(middleware::from_fn(one_version))
        .route("/healthz", axum::routing::get(|| async { "ok" }));
    say!("scheduler of tiercast {VERSION} at ballista://{host}:{port}");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await.context("the scheduler stopped")
}

fn config(args: &Args, host: &str, port: u16) -> SchedulerConfig {
    SchedulerConfig {
        bind_host: args.bind.clone(),
        bind_port: port,
        external_host: host.to_owned(),
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_timeout_seconds: args.executor_timeout,
        expire_dead_executor_interval_seconds: (args.executor_timeout / 4).max(1),
        no_executors_grace_period_seconds: args.executor_timeout * 2,
        grpc_server_max_decoding_message_size: MESSAGE as u32,
        grpc_server_max_encoding_message_size: MESSAGE as u32,
        grpc_client_max_message_size: MESSAGE as u32,
        override_session_builder: Some(Arc::new(session)),
        override_config_producer: Some(Arc::new(producer)),
        override_logical_codec: Some(Arc::new(codec::Logical::default())),
        override_physical_codec: Some(Arc::new(codec::Physical::default())),
        override_create_grpc_client_endpoint: Some(named(VERSION)),
        ..SchedulerConfig::default()
    }
}

/// Settings of a session before those that its client sends.
pub(super) fn producer() -> SessionConfig {
    known(settings(SessionConfig::new_with_ballista()))
}

/// A session that knows our stores.
fn session(config: SessionConfig) -> datafusion::error::Result<SessionState> {
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(Stores::default())).build()?;
    let state = ballista_core::utils::default_session_builder(config)?;
    Ok(SessionStateBuilder::new_from_existing(state).with_runtime_env(Arc::new(runtime)).build())
}

/// Refuses whoever is of another version.
async fn one_version(request: Request, next: Next) -> Response {
    let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let program = agent.split(' ').next().unwrap_or_default();
    if program == format!("tiercast/{VERSION}") {
        return next.run(request).await;
    }
    let other = match program.strip_prefix("tiercast/") {
        Some(version) => format!("tiercast {version}"),
        None => format!("{agent:?}, which is not tiercast"),
    };
    let words = format!(
        "this scheduler is of tiercast {VERSION}, and who calls it is of {other}; install one version everywhere"
    );
    eprintln!("refused: {words}");
    Status::failed_precondition(words).into_http::<Body>()
}
