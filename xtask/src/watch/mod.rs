//! `cargo xtask watch`: a worker, watched by Prometheus, and by Grafana where there is one. Everything is on loopback.
//!
//! What they are told to do is in `edge-worker/watch`, as a shop would use it.

mod held;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use self::held::Held;
use crate::{
    demo::{Worker, free_port},
    edge,
    setup::{self, Prometheus},
    shell::{Run, cache_dir, find, root, step, write},
    wasm,
};

/// Where each is looked for first.
const PROMETHEUS_PORT: u16 = 9090;
const GRAFANA_PORT: u16 = 3000;
const WORKER_PORT: u16 = 8787;
/// The bundle of the worker that is started: one that judges risk, too.
const BUNDLE: &str = "tests/fixtures/risk.tcb";
/// Scrapes without which rates and rules cannot be computed take this long.
const SHORTEST: u64 = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ends after so many seconds, and fails if a panel's query or a rule does
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(SHORTEST..))]
    seconds: Option<u64>,
    /// The bundle of the worker that is started; tests/fixtures/risk.tcb unless given
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    bundle: Option<PathBuf>,
    /// A worker that already runs; nothing is sent to it but what Prometheus asks for
    #[arg(long, requires = "token_file")]
    url: Option<String>,
    /// A file that holds the token of that worker, or one of scope `watch`, and nothing else
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// The program of a Prometheus of yours, instead of Debian's
    #[arg(long, value_name = "PATH")]
    prometheus: Option<PathBuf>,
    /// The folder or the program of a Grafana of yours (11 or newer), which is not fetched
    #[arg(long, value_name = "PATH")]
    grafana: Option<PathBuf>,
}

/// Starts everything, and stays until the user stops it or the time is over.
pub(crate) fn run(args: &Args) -> Result<()> {
    let dir = cache_dir("watch")?;
    let alone = fs::File::create(dir.join("lock"))?;
    ensure!(alone.try_lock().is_ok(), "another `cargo xtask watch` runs from this folder: end it first");
    let prometheus = match &args.prometheus {
        Some(program) => Prometheus::at(program)?,
        None => setup::prometheus()?,
    };
    let grafana = args.grafana.as_deref().map(locate_grafana).transpose()?;
    let run = fresh(&dir.join("run"))?;
    check_rules(&prometheus, &run)?;
    let mut stage = match (&args.url, &args.token_file) {
        (Some(url), Some(token)) => Stage::of_a_worker_that_runs(url, token, &run)?,
        _ => Stage::with_a_worker(args.bundle.as_deref(), &run)?,
    };
    let address = stage.start_prometheus(&prometheus, &run)?;
    let shown = grafana.map(|grafana| stage.start_grafana(&grafana, &address, &run)).transpose()?;
    // Debian's has the earlier pages, at other addresses.
    let pages = if prometheus.pages.is_some() { format!("{address}classic/") } else { address.clone() };
    tell(args, stage.worker.as_ref(), &pages, shown.as_deref());
    stage.hold(args.seconds)?;
    match args.seconds {
        Some(_) => check(&address),
        None => Ok(()),
    }
}

/// Everything that runs, in the order in which it ends: whoever asks before who is asked.
#[derive(Debug)]
struct Stage {
    traffic: Option<Traffic>,
    programs: Vec<Held>,
    /// None where the worker is not ours.
    worker: Option<Worker>,
}

impl Stage {
    fn of_a_worker_that_runs(url: &str, token: &Path, run: &Path) -> Result<Self> {
        link_token(token, run)?;
        write(&run.join("targets.json"), targets(url)?.to_string().as_bytes())?;
        Ok(Self { traffic: None, programs: Vec::new(), worker: None })
    }

    fn with_a_worker(bundle: Option<&Path>, run: &Path) -> Result<Self> {
        let bundle = bundle.map_or_else(|| root().join(BUNDLE), Path::to_path_buf);
        let bundle = bundle.canonicalize().with_context(|| format!("cannot read {}", bundle.display()))?;
        setup::run()?;
        wasm::build_worker()?;
        edge::build()?;
        let worker = Worker::start(&bundle, free_port(WORKER_PORT)?)?;
        let token = run.join("token");
        write(&token, worker.token.as_bytes())?;
        write(&run.join("targets.json"), targets(&worker.url)?.to_string().as_bytes())?;
        let traffic = Traffic::start(&worker.url, &token)?;
        Ok(Self { traffic: Some(traffic), programs: Vec::new(), worker: Some(worker) })
    }

    /// Gives its address.
    fn start_prometheus(&mut self, prometheus: &Prometheus, run: &Path) -> Result<String> {
        let port = free_port(PROMETHEUS_PORT)?;
        let address = format!("http://127.0.0.1:{port}/");
        let pages = prometheus.pages.iter().map(|pages| format!("--web.local-assets={}/", pages.display()));
        let held = Held::run(&format!("{address}-/ready"), &prometheus.program)
            .arg(format!("--config.file={}", run.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", run.join("data").display()))
            .arg("--storage.tsdb.retention.time=2d")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn")
            .args(pages);
        self.programs.push(Held::start("Prometheus", held)?);
        Ok(address)
    }

    /// Gives the dashboard's address.
    fn start_grafana(&mut self, grafana: &Grafana, prometheus: &str, run: &Path) -> Result<String> {
        let port = free_port(GRAFANA_PORT)?;
        let (settings, dashboards) = (watch().join("grafana"), run.join("dashboards"));
        let held = Held::run(&format!("http://127.0.0.1:{port}/api/health"), &grafana.program)
            .arg("server")
            .arg(format!("--homepath={}", grafana.home.display()))
            .arg(format!("--config={}", settings.join("grafana.ini").display()))
            .env("GF_SERVER_HTTP_PORT", port.to_string())
            .env("GF_PATHS_DATA", run.join("grafana"))
            .env("GF_PATHS_LOGS", run.join("grafana/log"))
            .env("GF_PATHS_PLUGINS", run.join("grafana/plugins"))
            .env("GF_PATHS_PROVISIONING", settings.join("provisioning"))
            .env("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH", dashboards.join("dashboard.json"))
            .env("TIERCAST_PROMETHEUS", prometheus)
            .env("TIERCAST_DASHBOARDS", &dashboards);
        self.programs.push(Held::start("Grafana", held)?);
        Ok(format!("http://127.0.0.1:{port}/d/tiercast-edge"))
    }

    /// Stays until the time is over; one of them ending before is an error.
    fn hold(&mut self, seconds: Option<u64>) -> Result<()> {
        let start = Instant::now();
        while seconds.is_none_or(|seconds| start.elapsed() < Duration::from_secs(seconds)) {
            self.programs.iter_mut().try_for_each(Held::still_runs)?;
            self.traffic.iter_mut().try_for_each(Traffic::still_good)?;
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

/// An empty folder that only its owner may read, with the files that Prometheus reads.
fn fresh(run: &Path) -> Result<PathBuf> {
    if run.exists() {
        fs::remove_dir_all(run)?;
    }
    fs::create_dir_all(run.join("dashboards"))?;
    #[cfg(unix)]
    fs::set_permissions(run, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    for name in ["prometheus.yml", "alerts.json", "alerts.test.yml"] {
        fs::copy(watch().join(name), run.join(name)).with_context(|| name.to_owned())?;
    }
    // Grafana takes every file of this folder for a dashboard.
    fs::copy(watch().join("dashboard.json"), run.join("dashboards/dashboard.json"))?;
    Ok(run.to_owned())
}

/// What is told to Prometheus and Grafana.
fn watch() -> PathBuf {
    edge::dir().join("watch")
}

/// The user's token stays where it is: Prometheus reads it there, also after it was changed.
fn link_token(token: &Path, run: &Path) -> Result<()> {
    let token = token.canonicalize().with_context(|| format!("cannot read {}", token.display()))?;
    let text = fs::read_to_string(&token).with_context(|| format!("cannot read {}", token.display()))?;
    let one = text.split_whitespace().count() == 1;
    ensure!(one, "{} must hold one token and nothing else", token.display());
    #[cfg(unix)]
    std::os::unix::fs::symlink(&token, run.join("token"))?;
    #[cfg(not(unix))]
    fs::copy(&token, run.join("token"))?;
    Ok(())
}

/// The worker at an address, as Prometheus is told of it.
fn targets(url: &str) -> Result<Value> {
    let (scheme, rest) = url.split_once("://").context("--url begins with https://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    match scheme {
        "https" => {}
        "http" if ["127.0.0.1", "localhost", "[::1]"].contains(&name) => {}
        "http" => bail!("over http:// anyone on the way could read the token: use https:// for {host}"),
        _ => bail!("--url begins with https://, not {scheme}://"),
    }
    ensure!(!host.is_empty() && !host.contains('@'), "{url} names no host");
    ensure!(!path.contains(['?', '#']), "{url}: leave out what follows the path");
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { "/metrics".to_owned() } else { format!("/{path}/metrics") };
    Ok(json!([{ "targets": [host], "labels": { "__scheme__": scheme, "__metrics_path__": path } }]))
}

/// What Prometheus would find wrong, and the rules' own tests.
fn check_rules(prometheus: &Prometheus, run: &Path) -> Result<()> {
    let Some(promtool) = prometheus.promtool.clone().or_else(|| find("promtool")) else {
        println!("  promtool is neither beside Prometheus nor on PATH: the rules' tests do not run");
        return Ok(());
    };
    step("watch: rules", || {
        let config = ["check", "config", "--syntax-only", "prometheus.yml"];
        let (rules, tests) = (["check", "rules", "alerts.json"], ["test", "rules", "alerts.test.yml"]);
        for args in [&config[..], &rules, &tests] {
            Run::new(&promtool).args(args).dir(run).limit(120).run()?;
        }
        Ok(())
    })
}

/// Grafana's program, and the folder of its pages and defaults.
#[derive(Debug, PartialEq, Eq)]
struct Grafana {
    program: PathBuf,
    home: PathBuf,
}

fn locate_grafana(path: &Path) -> Result<Grafana> {
    let program = if path.is_dir() { path.join("bin/grafana") } else { path.to_owned() };
    ensure!(
        program.is_file(),
        "{} is no program: name the folder that Grafana was unpacked to, or its program `grafana`",
        program.display()
    );
    let program = program.canonicalize()?;
    let above = program.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    // Unpacked; by Homebrew; by a package.
    let homes = [above.to_owned(), above.join("share/grafana"), PathBuf::from("/usr/share/grafana")];
    let home = homes.into_iter().find(|home| home.join("conf/defaults.ini").is_file());
    let home = home.with_context(|| format!("no conf/defaults.ini near {}", program.display()))?;
    Ok(Grafana { program, home })
}

/// `prometheus` is the address under which its pages lie.
fn tell(args: &Args, worker: Option<&Worker>, prometheus: &str, grafana: Option<&str>) {
    println!("\n  Prometheus   {prometheus}graph, {prometheus}alerts, {prometheus}targets");
    match grafana {
        Some(dashboard) => println!("  Grafana      {dashboard}"),
        None => println!(
            "  Grafana      not started: it is not fetched. `--grafana PATH` starts one of yours,\n               \
             or import {} into one that runs",
            watch().join("dashboard.json").display()
        ),
    }
    match worker {
        Some(Worker { url, token, .. }) => {
            println!("  worker       {url}   (token {token})");
            println!("  traffic      made up: about five requests a second of members that do not exist;");
            println!("               what drifts, errs or looks like fraud in it was made to");
        }
        None => println!("  worker       {}", args.url.as_deref().unwrap_or_default()),
    }
    match args.seconds {
        Some(seconds) => println!("\nEnds after {seconds} s, with a check of every panel and rule."),
        None => println!("\nCtrl-C ends it."),
    }
}

/// Asks Prometheus everything that the dashboard shows, and how the rules are.
fn check(prometheus: &str) -> Result<()> {
    println!();
    let script = watch().join("check.js");
    Run::new("node").arg(script).arg(prometheus).limit(120).shown().run().context("the check failed")
}

/// The made-up traffic; it ends when this is dropped.
#[derive(Debug)]
struct Traffic(Child);

impl Traffic {
    fn start(url: &str, token: &Path) -> Result<Self> {
        Ok(Self(Run::new("node").arg(watch().join("traffic.js")).arg(url).arg(token).spawn()?))
    }

    /// It may end, and says so; but not in an error.
    fn still_good(&mut self) -> Result<()> {
        match self.0.try_wait()? {
            Some(status) if !status.success() => {
                bail!("the made-up traffic ended ({status}); its message is above")
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_address_is_told_to_prometheus() -> Result<()> {
        let target = |url: &str| targets(url).map(|targets| targets[0].clone());
        let expected = json!({"targets": ["a.example"], "labels": {"__scheme__": "https", "__metrics_path__": "/metrics"}});
        assert_eq!(target("https://a.example")?, expected);
        assert_eq!(target("https://a.example/")?, expected);
        assert_eq!(target("https://a.example/edge/")?["labels"]["__metrics_path__"], "/edge/metrics");
        assert_eq!(target("http://127.0.0.1:8787/")?["targets"], json!(["127.0.0.1:8787"]));
        for url in [
            "a.example",
            "ftp://a.example",
            "http://a.example",
            "https:///",
            "https://me@a.example",
            "https://a.example/?x",
        ] {
            assert!(target(url).is_err(), "{url}");
        }
        Ok(())
    }

    #[test]
    fn grafana_is_found_by_its_folder_or_its_program() -> Result<()> {
        let dir = cache_dir("tests")?.join(format!("grafana-{}", std::process::id()));
        write(&dir.join("bin/grafana"), b"")?;
        assert!(locate_grafana(&dir.join("bin")).is_err());
        write(&dir.join("conf/defaults.ini"), b"")?;
        let dir = dir.canonicalize()?;
        let found = locate_grafana(&dir)?;
        assert_eq!(found, Grafana { program: dir.join("bin/grafana"), home: dir.clone() });
        assert_eq!(locate_grafana(&dir.join("bin/grafana"))?, found);
        fs::remove_dir_all(dir).map_err(Into::into)
    }
}
