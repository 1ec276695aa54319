//! The parity vectors: made again from the code, and compared with what is committed.
//!
//! Real members' events are not ours to commit. Their vectors are made on each
//! machine from the data that it fetched, and held against committed digests.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{
    demo, native,
    shell::{Key, Run, cache_dir, copy, root, step, unless_done},
};

const FILES: [&str; 3] = ["--", "tests/vectors", "tests/fixtures"];
/// Enough synthetic members to fit the fixture's model on.
const FIXTURE_MEMBERS: &str = "1000";
/// The lines of `fixture.toml` that the fixtures differ in.
const DECODE: &str = r#"decode = "median""#;
const MODELS: &str = r#"models = ["same-tier", "dnn"]"#;
/// What is added to `fixture.toml` for the fixture that recommends.
const RECOMMEND: &str = r#"
[recommend]
period = "28d"
train = ["2024-04-01", "2024-05-01"]
test = "2024-06-01"
catalogue = 300
factors = 16
"#;
/// How each fixture is trained: engine, decoding, models, what is added, file.
const FIXTURES: [(&str, &str, &str, &str, &str); 5] = [
    ("plan", DECODE, MODELS, "", "fixture.tcb"),
    ("onnx", DECODE, MODELS, "", "fixture-onnx.tcb"),
    ("plan", r#"decode = "ranks""#, r#"models = ["same-tier", "logistic"]"#, "", "ranks.tcb"),
    ("plan", DECODE, r#"models = ["same-tier", "logistic", "transformer"]"#, "", "profile.tcb"),
    ("plan", DECODE, r#"models = ["same-tier", "logistic"]"#, RECOMMEND, "recommend.tcb"),
];
/// Which real members are taken: a busy year still passes through every runtime in seconds.
const REAL_MEMBERS: [&str; 6] = ["--sample", "20", "--seed", "7", "--max-events", "2000"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Trains the fixture bundle anew first
    #[arg(long)]
    retrain: bool,
}

/// Regenerates `tests/vectors` and prints what changed.
pub(crate) fn run(args: &Args) -> Result<()> {
    native::build()?;
    if args.retrain {
        step("vectors: train the fixture", retrain)?;
    }
    step("vectors: generate", || program().shown().run())?;
    real(false)?;
    let changed = Run::new("git").args(["status", "--porcelain"]).args(FILES).output()?;
    if changed.is_empty() {
        println!("vectors: nothing changed");
        return Ok(());
    }
    Run::new("git").args(["--no-pager", "diff", "--stat", "--patch", "-U0"]).args(FILES).shown().run()?;
    println!("vectors: changed; commit them only when the change is meant:\n{changed}");
    Ok(())
}

/// Fails where the committed vectors are not what the code gives.
pub(crate) fn check() -> Result<()> {
    native::build()?;
    step("vectors: compare", || program().arg("--check").run())?;
    real(true).map(drop)
}

/// The vectors of real members, made here; their digests are compared or rewritten.
pub(crate) fn real(check: bool) -> Result<PathBuf> {
    native::build()?;
    let project = demo::complete_journey().context(
        "the vectors of real members need the Complete Journey data, which the Python package client fetches",
    )?;
    let dir = cache_dir("vectors")?;
    let (members, vectors) = (dir.join("real-members.json"), dir.join("real-vectors.json"));
    let digests = root().join("tests/vectors/real.json");
    let key = Key::default()
        .file(&native::program("vectors"))?
        .file(&native::program("tiercast"))?
        .file(&project)?;
    let key = match check {
        true => key
            .file(&digests)
            .context("the committed digests are missing; `cargo xtask vectors` writes them")?,
        false => key,
    };
    unless_done(&dir.join(".stamp"), &key.hex(), &[&vectors], || {
        step("vectors: real members", || {
            let run = demo::tiercast().arg("members").arg("-p").arg(&project).args(REAL_MEMBERS);
            run.arg("-o").arg(&members).run()?;
            let run = program().arg("--real").arg(&members).arg("--out").arg(&vectors);
            if check { run.arg("--check").run() } else { run.shown().run() }
        })
    })?;
    Ok(vectors)
}

fn program() -> Run {
    Run::new(native::program("vectors"))
}

/// Trains the fixture from its project on the generator's members: as a plan, with its ONNX file for tract, decoding by
/// ranks, with profiles, and with recommendations.
fn retrain() -> Result<()> {
    let fixtures = root().join("tests/fixtures");
    let dir = cache_dir("fixture")?;
    demo::tiercast()
        .args(["data", "synth", "--force", "--members", FIXTURE_MEMBERS, "--out"])
        .arg(&dir)
        .run()?;
    let project = fs::read_to_string(fixtures.join("fixture.toml"))?;
    for (engine, decode, models, more, bundle) in FIXTURES {
        let changed = project.replace(DECODE, decode).replace(MODELS, models) + more;
        ensure!(
            changed.contains(decode) && changed.contains(models),
            "fixture.toml lacks the line {DECODE:?} or {MODELS:?}"
        );
        let (file, run) = (dir.join("tiercast.toml"), dir.join(bundle).with_extension("run"));
        fs::write(&file, changed)?;
        let train = demo::tiercast().args(["train", "--engine", engine, "-p"]).arg(&file);
        train.arg("-o").arg(&run).shown().run()?;
        copy(&run.join("bundle.tcb"), &fixtures.join(bundle))?;
    }
    Ok(())
}
