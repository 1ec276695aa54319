//! `cargo xtask test`: every check that CI makes, cheapest first.
//!
//! Each step builds what it needs (nothing, when that is current), so any one of
//! them can be run alone. A test that was skipped fails its step: what the table
//! calls passed has run.

mod count;

use std::{
    fs,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::count::Count;
use crate::{
    conformance, demo, edge, native, setup,
    shell::{Run, cache_dir, root, seconds},
    vectors, wasm, web,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the steps whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Prints the steps' names and runs none
    #[arg(long)]
    list: bool,
}

/// A named check; it returns how many tests ran, where it can count them.
struct Step {
    name: &'static str,
    work: fn() -> Result<Option<Count>>,
}

/// Names the file of real members' vectors for the suites of every runtime.
const REAL_VECTORS: &str = "TIERCAST_REAL_VECTORS";

/// Installs the package elsewhere; whether it scores rightly is the other suites' question.
const PACKAGING: &str = "test:pack";

/// The step beside which the modules are made.
const NATIVE_TESTS: &str = "native tests";

/// The tests that start a cluster, by their names' beginning.
const ON_CLUSTER: &str = "processes::";

const STEPS: [Step; 19] = [
    Step { name: "setup", work: || done(setup::run()) },
    Step { name: "format", work: format },
    Step { name: "xtask tests", work: xtask_tests },
    Step { name: "bench ledger", work: bench_ledger },
    Step { name: "core on bare metal", work: bare_metal },
    Step { name: "native build, lints", work: native_build },
    Step { name: NATIVE_TESTS, work: native_tests },
    Step { name: "cuda types", work: cuda_types },
    Step { name: "cluster tests", work: cluster_tests },
    Step { name: "gpu tests", work: gpu_tests },
    Step { name: "conformance", work: || Count::of_cargo(&conformance::check()?).map(Some) },
    Step { name: "vectors", work: || done(vectors::check()) },
    Step { name: "clippy wasm", work: clippy_wasm },
    Step { name: "wasm build", work: || done(wasm::build()) },
    Step { name: "node tests", work: || web_tests("test:node") },
    Step { name: "workerd tests", work: workerd_tests },
    Step { name: "chromium tests", work: || web_tests("test:browser") },
    Step { name: "package tests", work: || web_tests(PACKAGING) },
    Step { name: "demo", work: || done(demo::rehearse()) },
];

/// Runs the steps and prints the table; the first failure ends the run.
pub(crate) fn run(args: &Args) -> ExitCode {
    let wanted = |step: &&Step| args.only.as_ref().is_none_or(|only| step.name.contains(only.as_str()));
    let steps: Vec<&Step> = STEPS.iter().filter(wanted).collect();
    if args.list || steps.is_empty() {
        STEPS.iter().for_each(|step| println!("{}", step.name));
        return if args.list { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if let Err(error) = native::lint_what_is_built() {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    let start = Instant::now();
    let mut rows = Vec::new();
    let mut failure = None;
    for step in &steps {
        eprintln!("\n== {} ==", step.name);
        if steps.len() == STEPS.len() && step.name == NATIVE_TESTS {
            // Their linking keeps one core busy, and the tests from here on wait often. The step of its own waits for it and says
            // what is wrong.
            thread::spawn(wasm::build);
        }
        let began = Instant::now();
        let outcome = (step.work)();
        rows.push(row(step.name, began.elapsed(), &outcome));
        if let Err(error) = outcome {
            failure = Some((step.name, error));
            break;
        }
    }
    report(&rows, steps.len(), start.elapsed(), failure)
}

fn row(name: &str, time: Duration, outcome: &Result<Option<Count>>) -> String {
    let result = match outcome {
        Ok(Some(count)) => format!("passed  {:>5} tests", count.passed),
        Ok(None) => "passed".to_owned(),
        Err(_) => "FAILED".to_owned(),
    };
    format!("  {name:<20} {:>12}  {result}", seconds(time))
}

fn report(
    rows: &[String],
    planned: usize,
    time: Duration,
    failure: Option<(&str, anyhow::Error)>,
) -> ExitCode {
    println!("\n{}\n  {:<20} {:>12}", rows.join("\n"), "all", seconds(time));
    let Some((name, error)) = failure else {
        println!("{} passed, 0 failed", rows.len());
        return ExitCode::SUCCESS;
    };
    eprintln!("\n{name} failed: {error:#}");
    if planned > rows.len() {
        println!("not run after the failure: {}", planned - rows.len());
    }
    println!("{} passed, 1 failed", rows.len() - 1);
    ExitCode::FAILURE
}

fn done(outcome: Result<()>) -> Result<Option<Count>> {
    outcome.map(|()| None)
}

fn format() -> Result<Option<Count>> {
    Run::cargo().args(["fmt", "--all", "--check"]).run()?;
    let hello = root().join(wasm::HELLO_MANIFEST);
    done(Run::cargo().args(["fmt", "--check", "--manifest-path"]).arg(hello).run())
}

/// What the bench concludes from measures: it measures nothing here.
fn bench_ledger() -> Result<Option<Count>> {
    let tests =
        ["ledger.test.js", "training-ledger.test.js"].map(|name| root().join("tests/bench").join(name));
    let out = Run::new("node").arg("--test").args(tests).output()?;
    Count::of_node(&out).map(Some)
}

fn xtask_tests() -> Result<Option<Count>> {
    done(
        Run::cargo()
            .args(["clippy", "--locked", "-p", "xtask", "--all-targets", "--", "-D", "warnings"])
            .run(),
    )?;
    let out = Run::cargo().args(["test", "--locked", "-p", "xtask"]).read().output()?;
    Count::of_cargo(&out).map(Some)
}

/// `core` needs only `alloc`: it must build where there is no operating system.
fn bare_metal() -> Result<Option<Count>> {
    setup::run()?;
    done(
        Run::cargo()
            .args([
                "build",
                "--locked",
                "-p",
                "tiercast-core",
                "--no-default-features",
                "--target",
                setup::BARE,
            ])
            .run(),
    )
}

fn clippy_wasm() -> Result<Option<Count>> {
    setup::run()?;
    let clippy = || Run::cargo().args(["clippy", "--locked", "--target", setup::WASM]).unset("RUSTFLAGS");
    // Alone, as the worker would give its core all kernels.
    clippy().args(["-p", "tiercast-wasm", "--", "-D", "warnings"]).run()?;
    let all = clippy().args(["-p", "tiercast-wasm", "-p", "tiercast-edge"]);
    all.args(["--features", "tiercast-wasm/all-kernels", "--", "-D", "warnings"]).run()?;
    let hello = clippy().arg("--manifest-path").arg(root().join(wasm::HELLO_MANIFEST));
    done(hello.args(["--", "-D", "warnings"]).run())
}

/// Everything that the tests run, and the bench's native contestants, which nothing else here compiles; linted on the way.
fn native_build() -> Result<Option<Count>> {
    // The tests first: what they and the programs are made of is then compiled side by side.
    native::cargo("test").arg("--no-run").run()?;
    native::build()?;
    let bench = native::cargo("build").args(["--features", "tiercast-tests/bench,tiercast-tests/training"]);
    done(bench.arg("--bins").run())
}

/// Unit, property, fuzz, parity and doc tests of the native crates; those on a cluster are a step of their own.
fn native_tests() -> Result<Option<Count>> {
    let out = native::cargo("test").args(["--", "--skip", ON_CLUSTER]).read().output()?;
    Count::of_cargo(&out).map(Some)
}

/// The code for CUDA, which cannot run here.
fn cuda_types() -> Result<Option<Count>> {
    let clippy = Run::cargo().args([
        "clippy",
        "--locked",
        "-p",
        "tiercast-models",
        "--features",
        "cuda",
        "--all-targets",
    ]);
    // Where it is set, Burn's build script does not fetch the LLVM that CUDA needs and that checking types does without.
    done(clippy.args(["--", "-D", "warnings"]).env("DOCS_RS", "1").run())
}

/// A cluster of processes on loopback, and the manifest for Kubernetes against its schemas.
fn cluster_tests() -> Result<Option<Count>> {
    let folder = root().join("training/tests/cluster");
    let environment = cache_dir("cluster")?.join("python");
    let python = setup::python_with(&folder.join("requirements.txt"), &environment)?;
    let validate = python.with_file_name("kubernetes-validate");
    Run::new(validate).arg("--strict").arg(root().join("training/kubernetes.yaml")).run()?;
    let test = native::cargo("test").args(["--test", "cluster", "--", ON_CLUSTER]);
    Count::of_cargo(&test.read().limit(1200).output()?).map(Some)
}

/// Training on a graphics card: the machine's first, or what Vulkan makes one of in software.
fn gpu_tests() -> Result<Option<Count>> {
    setup::vulkan()?;
    // One after another: a thread that waits for the card keeps a core busy, on which software would work.
    let run =
        native::card("test").args(["--lib", "--test", "pipeline", "--", "device", "--test-threads", "1"]);
    Count::of_cargo(&run.read().output()?).map(Some)
}

fn web_tests(script: &str) -> Result<Option<Count>> {
    setup::run()?;
    wasm::build()?;
    web::build()?;
    web::script("check")?;
    let chrome = setup::find_chromium()?.context("no Chromium was found")?;
    let real = vectors::real(true)?;
    let run = web::run(script).env("CHROME", chrome).env("SCREENSHOTS", cache_dir("screenshots")?);
    let out = run.env(REAL_VECTORS, &real).output()?;
    if script != PACKAGING {
        real_members_agree(&out, &real)?;
    }
    Count::of_node(&out).map(Some)
}

/// The worker in real workerd, and what `wrangler deploy` would upload.
fn workerd_tests() -> Result<Option<Count>> {
    setup::run()?;
    wasm::build()?;
    edge::build()?;
    let real = vectors::real(true)?;
    let mut tests = Vec::new();
    for entry in fs::read_dir(edge::dir().join("tests"))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".test.js") {
            tests.push(path);
        }
    }
    if tests.is_empty() {
        bail!("edge-worker/tests holds no *.test.js");
    }
    tests.sort();
    let out = Run::new("node")
        .args(["--test", "--test-concurrency=2"])
        .args(&tests)
        .env("WRANGLER_SEND_METRICS", "false")
        .env("CI", "1")
        .env(REAL_VECTORS, &real)
        .limit(1200)
        .output()?;
    real_members_agree(&out, &real)?;
    Count::of_node(&out).map(Some)
}

/// Holds a suite to having run the real members' vectors, which exist only where the data was fetched.
fn real_members_agree(output: &str, vectors: &Path) -> Result<()> {
    let file: Value = serde_json::from_str(&fs::read_to_string(vectors)?)?;
    let cases = file["cases"].as_array().map_or(0, Vec::len);
    if cases == 0 || !output.lines().any(|line| says_agree(line, cases)) {
        bail!("the suite did not say that the {cases} cases of {} agree", vectors.display());
    }
    eprintln!("  {cases} cases of real members agree");
    Ok(())
}

/// Whether a line says of just so many members that they agree: by themselves, or as a test's diagnostic.
fn says_agree(line: &str, members: usize) -> bool {
    let said = line.trim().trim_start_matches(['#', 'ℹ']).trim();
    let kinds = ["real members agree", "members agree in Node", "members agree in Chromium"];
    kinds.iter().any(|kind| said == format!("{members} {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_must_say_the_whole_number_of_members_that_agree() {
        for line in
            ["60 real members agree", "  # 60 members agree in Node", "ℹ 60 members agree in Chromium"]
        {
            assert!(says_agree(line, 60), "{line}");
            assert!(!says_agree(line, 0) && !says_agree(line, 6) && !says_agree(line, 160), "{line}");
        }
        for line in ["160 real members agree", "60 real members agree not", "not 60 real members agree", "60"]
        {
            assert!(!says_agree(line, 60), "{line}");
        }
    }
}
