//! The parity vectors: made again from the code, and compared with what is committed.
//!
//! Real members' events are not ours to commit. Their vectors are made on each
//! machine from the data that it fetched, and held against committed digests.

use std::{
    fs,
    path::{Path, PathBuf},
};

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

[recommend.welcome]
lasts = "90d"
steps = [
  { name = "first order", orders = 1, diversity = 0.2 },
  { name = "second order", orders = 2, boost = { grocery = 1.5 } },
  { name = "something new", orders = 4, new_only = true, diversity = 0.4 },
]
"#;
/// What is added for the one that decides.
const POINTS: &str = r#"
[points]
points = 1
per = 100
tiers = [100, 110, 125, 150, 200]
cap_per_day = 500
expires = "90d"
redeem_points = 100
redeem_minor = 100
min_redeem = 100
breakage_percent = 15

[[points.bonuses]]
name = "a stamp"
kind = "stamp"
points = 10
"#;
/// Its policies: task, period, what can be done, what a point costs, what is added to the training. Points are dear, so that giving them to
/// everybody is worse than what is learned, by more than chance.
const POLICIES: [(&str, &str, &str, &str, &[&str]); 2] = [
    (
        "reward",
        "month",
        "none=0,50 points=50,100 points=100,400 points=400",
        "0.015",
        &["--budget", "0.25", "--cap", "450"],
    ),
    (
        "assign",
        "quarter",
        "Basic=0,Bronze=50,Silver=100,Gold=200,Platinum=400",
        "0.03",
        &["--margin", "0.1", "--lift", "2"],
    ),
];
/// The shop's own rule in the one that judges risk.
const RISK_RULES: &str = "\"new and far away\" = \"device_known <= 0.1 and speed_last >= 300\"\n";
/// How each fixture is trained: engine, decoding, models, what is added, file.
const FIXTURES: [(&str, &str, &str, &str, &str); 7] = [
    ("plan", DECODE, MODELS, "", "fixture.tcb"),
    ("onnx", DECODE, MODELS, "", "fixture-onnx.tcb"),
    ("plan", r#"decode = "ranks""#, r#"models = ["same-tier", "logistic"]"#, "", "ranks.tcb"),
    ("plan", DECODE, r#"models = ["same-tier", "logistic", "transformer"]"#, "", "profile.tcb"),
    ("plan", DECODE, r#"models = ["same-tier", "logistic"]"#, RECOMMEND, "recommend.tcb"),
    ("plan", DECODE, r#"models = ["same-tier", "logistic"]"#, POINTS, "decide.tcb"),
    ("plan", DECODE, r#"models = ["same-tier", "logistic"]"#, "", "risk.tcb"),
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
/// ranks, with profiles, with recommendations, with policies and points, and judging risk.
fn retrain() -> Result<()> {
    let fixtures = root().join("tests/fixtures");
    let dir = cache_dir("fixture")?;
    demo::tiercast()
        .args(["data", "synth", "--fraud", "--force", "--members", FIXTURE_MEMBERS, "--out"])
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
        match bundle {
            "decide.tcb" => decide(&run)?,
            "risk.tcb" => risk(&run)?,
            _ => {}
        }
        copy(&run.join("bundle.tcb"), &fixtures.join(bundle))?;
    }
    Ok(())
}

/// Puts policies into a run's bundle, learned from simulated decisions about the members that it was trained on.
fn decide(run: &Path) -> Result<()> {
    let project = run.with_file_name("tiercast.toml");
    let bundle = run.join("bundle.tcb");
    for (task, period, arms, cost, more) in POLICIES {
        let (log, policy) = (run.join(format!("{task}.parquet")), run.join(task));
        let simulate =
            demo::tiercast().args(["policy", "simulate", "--periods", "24", "--point-value", cost]);
        let simulate = simulate.args(["--period", period, "--arms", arms, "-p"]).arg(&project);
        simulate.arg("-o").arg(&log).shown().run()?;
        let train = demo::tiercast().args(["policy", "train", "--task", task]).args(more);
        train.arg(&bundle).arg(&log).arg("-p").arg(&project).arg("-o").arg(&policy).shown().run()?;
        let equip = demo::tiercast().arg("bundle").arg(&bundle).arg(&policy);
        let whole = run.join("whole.tcb");
        equip.arg("-o").arg(&whole).shown().run()?;
        copy(&whole, &bundle)?;
    }
    Ok(())
}

/// Puts into a run's bundle what judges risk, learned from the fraud that was planted among the members.
fn risk(run: &Path) -> Result<()> {
    let (project, bundle) = (run.with_file_name("tiercast.toml"), run.join("bundle.tcb"));
    let (labels, rules) = (run.with_file_name("fraud.parquet"), run.join("rules.toml"));
    let (moments, folder, whole) = (run.join("moments.parquet"), run.join("risk"), run.join("whole.tcb"));
    fs::write(&rules, RISK_RULES)?;
    let told = demo::tiercast().args(["risk", "moments", "-p"]).arg(&project).arg("--labels").arg(&labels);
    told.arg("-o").arg(&moments).shown().run()?;
    let train =
        demo::tiercast().args(["risk", "train"]).arg(&bundle).arg(&moments).arg("--rules").arg(&rules);
    train.arg("-o").arg(&folder).shown().run()?;
    let equip = demo::tiercast().arg("bundle").arg(&bundle).arg("--risk").arg(&folder);
    equip.arg("-o").arg(&whole).shown().run()?;
    copy(&whole, &bundle)
}
