//! A cluster of real processes on loopback: the same answers as in one process, whatever happens to its parts.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tiercast::cluster;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tiercast");
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that ends with the test.
struct Served {
    child: Child,
    said: String,
}

impl Served {
    /// Starts a part of a cluster and waits for its first line.
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .arg("cluster")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        Self { child, said }
    }

    fn signal(&self, signal: &str) {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Cluster {
    scheduler: Served,
    address: String,
    executors: Vec<Served>,
    work: TempDir,
}

impl Cluster {
    fn new(executors: usize) -> Self {
        let scheduler = Served::start(&["scheduler", "--port", "0", "--executor-timeout", "6"]);
        let address = scheduler.said.split(' ').next_back().unwrap().trim().to_owned();
        assert!(address.starts_with("ballista://127.0.0.1:"), "{}", scheduler.said);
        let mut cluster =
            Self { scheduler, address, executors: Vec::new(), work: tempfile::tempdir().unwrap() };
        (0..executors).for_each(|_| cluster.join());
        cluster
    }

    fn join(&mut self) {
        let work = self.work(self.executors.len());
        let args = ["executor", "--scheduler", &self.address, "--port", "0"];
        let more = ["--cores", "1", "--memory", "256", "--work", work.to_str().unwrap()];
        let executor = Served::start(&[args.as_slice(), &more].concat());
        assert!(executor.said.contains("executor of tiercast"), "{}", executor.said);
        self.executors.push(executor);
    }

    /// Where an executor keeps what stages give each other.
    fn work(&self, executor: usize) -> PathBuf {
        self.work.path().join(executor.to_string())
    }

    /// Waits until an executor has begun to write what it was asked for.
    fn wait_for_work_of(&self, executor: usize) {
        let started = Instant::now();
        while !has_files(&self.work(executor)) {
            assert!(started.elapsed() < PATIENCE, "no work was given to executor {executor}");
            sleep(Duration::from_millis(5));
        }
    }
}

fn has_files(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.path().is_file() || has_files(&entry.path()))
}

/// A shop of which one member has a hundredth of all events.
fn shop(members: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, &["data", "synth", "--members", &members.to_string(), "--by-month", "--out", "."]);
    let text = fs::read_to_string(path.join("tiercast.toml")).unwrap();
    let heavy = "CASE WHEN \"id\" LIKE '%77' THEN 'm00000001' ELSE \"member\" END";
    let text = text.replace("member = \"member\"", &format!("member = {heavy:?}"));
    fs::write(path.join("tiercast.toml"), text).unwrap();
    folder
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn run(folder: &Path, args: &[&str]) -> String {
    let output = command(folder, args).output().unwrap();
    assert!(output.status.success(), "{args:?}\n{}", text(&output));
    text(&output)
}

fn features<'a>(engine: &'a str, output: &'a str) -> Vec<&'a str> {
    vec!["features", "-o", output, "--memory", "256", "--engine", engine]
}

#[track_caller]
fn same(folder: &Path, a: &str, b: &str) {
    assert!(fs::read(folder.join(a)).unwrap() == fs::read(folder.join(b)).unwrap(), "{a} and {b} differ");
}

#[test]
fn executors_and_partitions_do_not_change_a_bit() {
    let shop = shop(150);
    let path = shop.path();
    run(path, &features("embedded", "here.parquet"));
    let mut cluster = Cluster::new(1);
    run(path, &features(&cluster.address, "one.parquet"));
    cluster.join();
    run(path, &features(&cluster.address, "two.parquet"));
    let few = features(&cluster.address, "few.parquet");
    run(path, &[few.as_slice(), &["--partitions", "3"]].concat());
    ["one.parquet", "two.parquet", "few.parquet"]
        .into_iter()
        .for_each(|other| same(path, "here.parquet", other));
    assert!(has_files(&cluster.work(0)) && has_files(&cluster.work(1)), "both have worked");

    // Scores, the bundle sent with the plan.
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/fixture.tcb");
    let score = |engine: &str, output: &str| {
        let args = ["score", bundle.to_str().unwrap(), "-o", output, "--reasons", "1", "--features"];
        run(path, &[args.as_slice(), &["-p", "scored.toml", "--engine", engine]].concat());
    };
    let currency = fs::read_to_string(path.join("tiercast.toml")).unwrap();
    fs::write(path.join("scored.toml"), currency).unwrap();
    for (here, there) in
        [("here.csv", "there.csv"), ("here.ndjson", "there.ndjson"), ("here.pq.parquet", "there.pq.parquet")]
    {
        score("embedded", here);
        score(&cluster.address, there);
        same(path, here, there);
    }
    score(&cluster.address, "parts/");
    score("embedded", "parts-here/");
    same(path, "parts/part-00000.parquet", "parts-here/part-00000.parquet");

    // A row that is no event is named as it is in one process.
    let toml = fs::read_to_string(path.join("tiercast.toml")).unwrap();
    let bad = toml.replace(
        "amount = \"amount\"",
        "amount = \"CASE WHEN \\\"id\\\" LIKE '%0009-12' THEN -1 ELSE amount END\"",
    );
    assert_ne!(bad, toml);
    fs::write(path.join("bad.toml"), bad).unwrap();
    let refused = |engine: &str| {
        let args = features(engine, "bad.parquet");
        let output = command(path, &[args.as_slice(), &["-p", "bad.toml"]].concat()).output().unwrap();
        assert!(!output.status.success());
        text(&output)
    };
    let (here, there) = (refused("embedded"), refused(&cluster.address));
    assert!(there.contains("invalid_amount") && there.contains("row ") && here == there, "{here}\n{there}");
    let left_out = |engine: &str, output: &str| {
        let args = features(engine, output);
        run(path, &[args.as_slice(), &["-p", "bad.toml", "--skip-invalid"]].concat())
    };
    assert!(left_out(&cluster.address, "left.parquet").contains("left out"));
    left_out("embedded", "left-here.parquet");
    same(path, "left.parquet", "left-here.parquet");
}

#[test]
fn a_job_outlives_an_executor_that_is_killed_and_one_that_is_slow() {
    let shop = shop(1500);
    let path = shop.path();
    run(path, &features("embedded", "here.parquet"));
    let mut cluster = Cluster::new(2);
    // As soon as it works, while its results are fetched, and whenever else.
    for wait in [0, 300, 700, 1200, 2000] {
        let job = command(path, &features(&cluster.address, "killed.parquet")).spawn().unwrap();
        cluster.wait_for_work_of(1);
        sleep(Duration::from_millis(wait));
        cluster.executors.pop();
        let output = job.wait_with_output().unwrap();
        assert!(output.status.success(), "after {wait} ms: {}", text(&output));
        same(path, "here.parquet", "killed.parquet");
        fs::remove_dir_all(cluster.work(1)).unwrap();
        cluster.join();
    }
    let job = command(path, &features(&cluster.address, "slow.parquet")).spawn().unwrap();
    sleep(Duration::from_millis(300));
    for _ in 0..3 {
        cluster.executors[1].signal("-STOP");
        sleep(Duration::from_millis(700));
        cluster.executors[1].signal("-CONT");
        sleep(Duration::from_millis(200));
    }
    let output = job.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    same(path, "here.parquet", "slow.parquet");
}

#[test]
fn a_scheduler_that_goes_away_is_an_error_and_one_that_comes_back_serves() {
    let shop = shop(1500);
    let path = shop.path();
    let mut cluster = Cluster::new(1);
    let port = cluster.address.rsplit(':').next().unwrap().to_owned();
    let job = command(path, &features(&cluster.address, "cut.parquet")).spawn().unwrap();
    cluster.wait_for_work_of(0);
    let _ = cluster.scheduler.child.kill();
    let _ = cluster.scheduler.child.wait();
    let started = Instant::now();
    let output = job.wait_with_output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && started.elapsed() < Duration::from_secs(20), "{said}");
    assert!(said.contains("cannot be reached") && said.contains("nothing half-written is left"), "{said}");
    assert!(!path.join("cut.parquet").exists());
    let output = command(path, &features(&cluster.address, "cut.parquet")).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("cannot be reached"), "{}", text(&output));

    cluster.scheduler = Served::start(&["scheduler", "--port", &port, "--executor-timeout", "6"]);
    // The executor comes back by itself.
    run(path, &features(&cluster.address, "again.parquet"));
    run(path, &features("embedded", "here.parquet"));
    same(path, "here.parquet", "again.parquet");
}

#[test]
fn another_version_is_refused_and_both_are_named() {
    let cluster = Cluster::new(0);
    let args = cluster::executor::Args {
        scheduler: cluster.address.parse().unwrap(),
        bind: "127.0.0.1".into(),
        host: None,
        port: 0,
        cores: Some(1),
        memory: 64,
        work: None,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let refused = runtime
        .block_on(async { tokio::time::timeout(PATIENCE, cluster::executor::run(&args, "0.0.9")).await });
    let said = refused.expect("it waits for nothing").unwrap_err().to_string();
    for version in [cluster::VERSION, "0.0.9"] {
        assert!(said.contains(version), "{said}");
    }
    assert!(said.contains("who calls it is of tiercast 0.0.9"), "{said}");
}
