use std::{collections::HashMap, fs, path::Path};

use clap::Parser;
use tiercast_core::{
    Bundle, BundleParts, Decode, EngineKind, LowerOptions, Manifest, Policies, Step, Tier, TierRules,
    Timestamp, lower,
};

use super::*;
use crate::{
    fixtures::synthetic,
    models::Layer,
    policy::{
        log::{Others, Source},
        page, simulate,
    },
    score,
};

#[derive(Parser)]
struct Learning {
    #[command(flatten)]
    args: Args,
}

#[derive(Parser)]
struct Simulation {
    #[command(flatten)]
    args: simulate::Args,
}

#[derive(Parser)]
struct Scoring {
    #[command(flatten)]
    args: score::Args,
}

/// A bundle for a project, whose model says that every tier is as likely.
pub(crate) fn bundle(project: &Project) -> Vec<u8> {
    let schema = project.schema().unwrap();
    let (width, tiers) = (schema.len(), ["Basic", "Bronze", "Silver", "Gold", "Platinum"]);
    let layer = Layer {
        inputs: width,
        outputs: tiers.len(),
        weight: vec![0.0; width * tiers.len()],
        bias: vec![0.0; tiers.len()],
        activation: Activation::Softmax,
    };
    let onnx = export::onnx("test", &Network { layers: vec![layer] }, &[]);
    let column = |(source, name): (usize, &str)| tiercast_core::Column {
        name: name.into(),
        source: source as u32,
        steps: vec![Step::Impute(0.0), Step::Clip { low: -1.0, high: 1.0 }],
    };
    let tier = |(at, name): (usize, &&str)| Tier { name: (*name).into(), at_least: at as i64 * 10_000 };
    let parts = BundleParts {
        manifest: Manifest {
            task: "tier".into(),
            name: "test".into(),
            version: "1".into(),
            producer: "test".into(),
            model: "test".into(),
            engine: EngineKind::Plan,
            decode: Decode::Median,
            cuts: Vec::new(),
            schema_hash: String::new(),
        },
        spec: schema.spec().clone(),
        transform: Transform { columns: schema.names().enumerate().map(column).collect() },
        rules: TierRules {
            tiers: tiers.iter().enumerate().map(tier).collect(),
            period: project.tiers.period,
        },
        model: lower(&onnx, &LowerOptions::default()).unwrap().write(),
        typical: vec![0.0; width],
        profile: None,
        recommend: None,
        policies: Policies::default(),
        risk: None,
        points: None,
        drift: None,
        card: serde_json::Value::Null,
        vectors: Vec::new(),
    };
    let scorer = tiercast_core::Scorer::load(&Bundle::write(parts.clone()).unwrap()).unwrap();
    let now = Timestamp::parse("2024-10-01").unwrap();
    let vectors = crate::bundle::vectors(&scorer, now, 1).unwrap();
    Bundle::write(BundleParts { vectors, ..parts }).unwrap()
}

/// A shop of synthetic members with a bundle and a log of decisions, where giving much to everybody is dear.
pub(crate) fn shop(folder: &Path, members: u64, more: &[&str]) -> Project {
    let project = synthetic(folder, members);
    fs::write(folder.join("bundle.tcb"), bundle(&project)).unwrap();
    let place = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let words = ["x", "-p", &place("tiercast.toml"), "-o", &place("log.parquet"), "--point-value", "0.03"];
    simulate::run(Simulation::parse_from(words.into_iter().chain(more.iter().copied())).args).unwrap();
    project
}

pub(crate) fn args(folder: &Path, more: &[&str]) -> Args {
    let place = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let words = ["x", &place("bundle.tcb"), &place("log.parquet"), "-p", &place("tiercast.toml")];
    let words = words.into_iter().chain(["-o"]).map(str::to_owned).chain([place("policy")]);
    Learning::parse_from(words.chain(more.iter().map(|word| (*word).to_owned()))).args
}

const OFFERS: [&str; 6] = ["--arms", "0,50,400", "--periods", "9", "--seed", "3"];
const TIERS: [&str; 8] = [
    "--arms",
    "Basic=0,Bronze=50,Silver=100,Gold=200,Platinum=400",
    "--periods",
    "6",
    "--period",
    "quarter",
    "--seed",
    "3",
];

fn learned(folder: &Path, more: &[&str]) -> Made {
    let args = args(folder, more);
    let project = Project::load(&args.project).unwrap();
    learn(&args, &project, &Bundle::parse(&fs::read(&args.bundle).unwrap()).unwrap()).unwrap()
}

fn refused(folder: &Path, more: &[&str]) -> String {
    format!("{:#}", run(args(folder, more)).unwrap_err())
}

#[test]
fn what_is_learned_earns_more_and_says_so_each_time() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), 500, &[&OFFERS[..], &["--truth"]].concat());
    let made = learned(folder.path(), &[]);
    let record = &made.record;
    assert_eq!(record, &learned(folder.path(), &[]).record);
    assert!(record.refusals(&Default::default()).is_empty(), "{}", record.words());
    let page = page::html(record).unwrap();
    assert!(page.contains("“policy” earns more than what was logged") && page.contains("the truth is known"));
    let truth = record.truth.unwrap();
    assert!(truth.value > truth.incumbent && truth.value <= truth.best, "{truth:?}");
    let interval = record.evaluation.judged().bootstrap;
    assert!(interval.low < truth.value && truth.value < interval.high, "{}", record.words());
    let shares: f64 = record.actions.iter().map(|action| action.share).sum();
    assert!((shares - 1.0).abs() < 1e-6);
    assert_eq!(record.actions.iter().map(|action| action.points).collect::<Vec<_>>(), [0, 400, 50]);
    assert!(record.train.to < record.test.from, "{:?} {:?}", record.train, record.test);
}

#[test]
fn what_is_judged_is_what_a_bundle_decides() {
    for (offers, more) in [
        (&OFFERS[..], &["--cap", "60"][..]),
        (&TIERS[..], &["--task", "assign", "--lift", "2", "--margin", "0.2"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let project = shop(folder.path(), 300, offers);
        let args = args(folder.path(), more);
        let bundle = Bundle::parse(&fs::read(&args.bundle).unwrap()).unwrap();
        let made = learn(&args, &project, &bundle).unwrap();
        let (task, period) = (Task::from(args.task), made.record.period);
        let rows = Rows::read(&args, &project, &bundle, period).unwrap();
        let last = *rows.starts.iter().max().unwrap();
        let at: Vec<usize> = (0..rows.starts.len()).filter(|row| rows.starts[*row] == last).collect();
        let policy = args.policy(&rows, period, made.record.learner, &made.record.transform);
        let part = Part::of(&rows, &at, &made.record.transform);
        let judged = chances(&policy, task, &made.onnx, &part).unwrap();

        let mut parts = Bundle::parts(&fs::read(&args.bundle).unwrap()).unwrap();
        let mut policy = made.record.policy(&Default::default());
        let evidence = &mut policy.learned.as_mut().unwrap().evidence;
        evidence.lower = evidence.incumbent + 1.0;
        parts.policies.put(task, policy, lower(&made.onnx, &LowerOptions::default()).unwrap().write());
        let path = folder.path().join("decides.tcb");
        fs::write(&path, crate::bundle::renew(parts, &path, "fails").unwrap()).unwrap();
        let out = folder.path().join("out.ndjson");
        let day = last.date();
        let words = ["x", path.to_str().unwrap(), "-p", project.path.to_str().unwrap(), "--as-of", &day];
        let words = words.into_iter().chain(["--decide", "-o", out.to_str().unwrap()]);
        score::run(Scoring::parse_from(words).args).unwrap();

        let text = fs::read_to_string(&out).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let decided: HashMap<String, Vec<f64>> = lines
            .map(|line| {
                let chances = line["decisions"][0]["chances"].as_array().unwrap();
                let chances = chances.iter().map(|chance| chance.as_f64().unwrap()).collect();
                (line["member"].as_str().unwrap().to_owned(), chances)
            })
            .collect();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let read =
            async { Others::of(&Source::find(&args.log).await?, &args.member, None, &rows.log.arms).await };
        let others = runtime.block_on(read).unwrap();
        let names = others.members;
        let mut compared = 0;
        for (row, judged) in at.iter().zip(judged.chunks(part.arms())) {
            // A promise that rose within the first instant of the period is not in the log's.
            let Some(decided) = decided.get(&names[*row]) else { continue };
            assert!(
                judged.iter().zip(decided).all(|(a, b)| (a - b).abs() < 1e-6),
                "{}: {judged:?} {decided:?}",
                names[*row]
            );
            compared += 1;
        }
        assert!(compared > 100, "{compared}");
    }
}

#[test]
fn what_a_simulator_knows_is_of_the_tiers_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let project = shop(folder.path(), 60, &[&TIERS[..], &["--truth"]].concat());
    let args = args(folder.path(), &["--task", "assign"]);
    let bundle = Bundle::parse(&fs::read(&args.bundle).unwrap()).unwrap();
    let rows = Rows::read(&args, &project, &bundle, bundle.rules().period).unwrap();
    // A higher tier costs more; in the order of the alphabet, in which a log names them, Gold would come before Silver.
    let truth = rows.truth.unwrap();
    assert_eq!(truth.len(), 5 * rows.log.len());
    for row in truth.chunks(5) {
        assert!(row[0][1] == 0.0 && row.is_sorted_by(|a, b| a[1] < b[1]), "{row:?}");
    }
}

#[test]
fn logs_that_teach_nothing_are_refused_and_say_why() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), 60, &["--arms", "0,100", "--periods", "3"]);
    for (more, expected) in [
        (&["--test", "2030-01-01"][..], "no decision is at or after"),
        (&["--test", "2020-01-01"], "no decision is before"),
        (&["--task", "assign"], "which is no tier of the bundle; there are Basic, Bronze"),
        (&["--points", "propensity"], "points are whole"),
        (&["--action", "ofer"], "did you mean \"offer\""),
        (&["--explore", "2"], "from 0 to 1"),
        (&["--budget", "0"], "above 0"),
        (&["--budget", "1", "--learner", "q-learning"], "keeps no budget"),
        (&["--budget", "1", "--task", "assign"], "keeps no budget"),
    ] {
        let error = refused(folder.path(), more);
        assert!(error.contains(expected), "{more:?}: {error}");
    }
    assert!(!folder.path().join("policy").exists());
}

#[test]
fn a_log_of_strangers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), 60, &["--arms", "0,100", "--periods", "3"]);
    fs::write(
        folder.path().join("log.csv"),
        "member,time,offer,points,propensity,reward,cost\nx,2024-08-01,a,0,0.5,1,0\ny,2024-09-01,b,5,0.5,1,0\n",
    )
    .unwrap();
    let args = Args { log: folder.path().join("log.csv"), ..args(folder.path(), &[]) };
    let error = format!("{:#}", run(args).unwrap_err());
    assert!(error.contains("the tables know nobody"), "{error}");
}
