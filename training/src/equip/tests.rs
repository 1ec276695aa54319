use clap::Parser;
use tiercast_core::{DecideOptions, Scorer, Timestamp};

use super::*;
use crate::policy::train::{self, tests as learning};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn args(folder: &Path, more: &[&str]) -> Args {
    let place = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let words = ["x".to_owned(), place("bundle.tcb"), "-o".into(), place("out.tcb")];
    Cli::parse_from(words.into_iter().chain(more.iter().map(|word| (*word).to_owned()))).args
}

fn refused(folder: &Path, more: &[&str]) -> String {
    let error = format!("{:#}", run(args(folder, more)).unwrap_err());
    assert!(!folder.join("out.tcb").exists(), "nothing is written: {error}");
    error
}

#[test]
fn a_proven_policy_goes_in_and_another_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    learning::shop(folder, 500, &["--arms", "0,50,400", "--periods", "9", "--seed", "3"]);
    train::run(learning::args(folder, &["--name", "points 7"])).unwrap();
    let policy = folder.join("policy");
    let there = policy.to_str().unwrap();

    // What is not the net that was judged, or is for other features, does not go in.
    let onnx = fs::read(policy.join("policy.onnx")).unwrap();
    let mut other = onnx.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(policy.join("policy.onnx"), &other).unwrap();
    refused(folder, &[there]);
    fs::write(policy.join("policy.onnx"), &onnx).unwrap();
    let json = fs::read_to_string(policy.join("policy.json")).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut record = serde_json::from_str(&json).unwrap();
        change(&mut record);
        fs::write(policy.join("policy.json"), record.to_string()).unwrap();
        refused(folder, &[there])
    };
    assert!(with(&|record| record["schemaHash"] = "0".into()).contains("other features"));
    assert!(with(&|record| record["format"] = 99.into()).contains("format 99"));
    let dear = with(&|record| record["budget"] = 1e-6.into());
    assert!(dear.contains("a decision costs"), "{dear}");
    let worse = with(&|record| record["evaluation"]["incumbent"]["value"] = 1e6.into());
    assert!(worse.contains("is not proven") && worse.contains("below the 1000000"), "{worse}");
    let thin = with(&|record| record["evaluation"]["weights"]["effectiveRows"] = 20.0.into());
    assert!(thin.contains("20.0 rows"), "{thin}");

    fs::write(policy.join("policy.json"), &json).unwrap();
    run(args(folder, &[there])).unwrap();
    let scorer = Scorer::load(&fs::read(folder.join("out.tcb")).unwrap()).unwrap();
    scorer.prove().unwrap();
    let found = scorer.policy(Task::Reward).unwrap();
    assert_eq!(found.name, "points 7");
    let evidence = &found.learned.as_ref().unwrap().evidence;
    assert!(evidence.lower > evidence.incumbent && evidence.method.contains("doubly robust"));
    assert!(scorer.bundle().json("manifest").contains(r#""reward":{"name":"points 7""#));
    assert!(scorer.policy(Task::Assign).is_none());
}

#[test]
fn a_policy_that_the_log_does_not_prove_is_refused_by_how_much() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    learning::shop(folder, 100, &["--arms", "0,5", "--periods", "4"]);
    train::run(learning::args(folder, &[])).unwrap();
    let error = refused(folder, &[folder.join("policy").to_str().unwrap()]);
    assert!(
        error.contains("is not proven, so nothing was written") && error.contains("below the"),
        "{error}"
    );
}

#[test]
fn an_experiment_draws_by_its_shares() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    learning::shop(folder, 60, &["--arms", "0,100", "--periods", "2"]);
    let with = |shares: &[&'static str]| {
        let shares = shares.iter().flat_map(|share| ["--share", *share]);
        ["--experiment", "reward", "--name", "first"].into_iter().chain(shares).collect::<Vec<_>>()
    };
    assert!(refused(folder, &with(&["none=0.5", "much:200=0.6"])).contains("do not sum to 1"));
    assert!(refused(folder, &with(&["none=0.5", "much:some=0.5"])).contains("NAME:POINTS=SHARE"));
    run(args(folder, &with(&["none=0.75", "much:200=0.25"]))).unwrap();
    let scorer = Scorer::load(&fs::read(folder.join("out.tcb")).unwrap()).unwrap();
    let (state, now) = (scorer.bundle().new_member(), Timestamp::parse("2024-10-05").unwrap());
    let mut given = 0;
    for member in 0..400 {
        let options = DecideOptions::of(format!("member {member}"));
        let decision = scorer.decide(Task::Reward, &state, now, &options).unwrap();
        assert_eq!(decision, scorer.decide(Task::Reward, &state, now, &options).unwrap());
        let (propensity, points) = if decision.action == "none" { (0.75, 0) } else { (0.25, 200) };
        assert_eq!((decision.propensity, decision.points), (propensity, points));
        assert_eq!(
            (decision.period_start.as_str(), decision.period_end.as_str()),
            ("2024-10-01", "2024-10-31")
        );
        assert!(decision.reasons.is_empty());
        given += usize::from(points > 0);
    }
    // Three standard deviations around 100 of 400.
    assert!((74..=126).contains(&given), "{given}");
}
