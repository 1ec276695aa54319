use std::fs;

use clap::Parser;
use tiercast_core::{MemberState, RiskOptions, Scorer, Timestamp};

use super::*;
use crate::{data::synth, equip, policy::train::tests::bundle, project::Project, risk::moments};

#[derive(Parser)]
struct Cli<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

fn parsed<A: clap::Args>(words: &[&str]) -> A {
    Cli::<A>::parse_from(["x"].iter().chain(words)).args
}

#[test]
fn risk_is_learned_put_in_and_judged_alike_by_core() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let shop = ["--members", "1500", "--fraud", "--visits", "0.3", "--out", folder.path().to_str().unwrap()];
    synth::run(parsed(&shop)).unwrap();
    let project = Project::load(&folder.path().join("tiercast.toml")).unwrap();
    fs::write(place("bundle.tcb"), bundle(&project)).unwrap();

    let told =
        ["-p", &place("tiercast.toml"), "--labels", &place("fraud.parquet"), "-o", &place("moments.parquet")];
    moments::run(parsed(&told)).unwrap();
    fs::write(place("rules.toml"), "\"new and dear\" = \"device_known <= 0.1 and last_order >= 150\"\n")
        .unwrap();
    let (bundle, rows, risk) = (place("bundle.tcb"), place("moments.parquet"), place("risk"));
    let train = [&*bundle, &rows, "--alerts", "2", "--rules", &place("rules.toml"), "-o", &risk];
    run(parsed(&train)).unwrap();
    let (record, onnx) = folder::read(Path::new(&risk)).unwrap();
    let evidence = &record.evidence;
    assert!(evidence.average_precision > 5.0 * evidence.frauds as f64 / evidence.rows as f64, "{evidence:?}");
    assert!(evidence.recall > evidence.rule_recall / 2.0 && evidence.auc > 0.8, "{evidence:?}");

    // The same rows and seed give the same trees on any number of threads.
    let alone = [&*bundle, &rows, "--alerts", "2", "--threads", "1", "-o", &place("again")];
    run(parsed(&alone)).unwrap();
    assert_eq!(folder::read(Path::new(&place("again"))).unwrap().1, onnx);

    // Trees that were not judged do not go in.
    let mut other = onnx.clone();
    *other.last_mut().unwrap() ^= 1;
    let (out, onnx_path) = (place("out.tcb"), Path::new(&risk).join(folder::ONNX));
    let put = [&*bundle, "--risk", &risk, "-o", &out];
    fs::write(&onnx_path, &other).unwrap();
    assert!(format!("{:#}", equip::run(parsed(&put)).unwrap_err()).contains("not what was judged"));
    assert!(!Path::new(&out).exists());
    fs::write(&onnx_path, &onnx).unwrap();
    equip::run(parsed(&put)).unwrap();

    let scorer = Scorer::load(&fs::read(&out).unwrap()).unwrap();
    scorer.prove().unwrap();
    assert_eq!(scorer.risk_model().unwrap().rules[0].name, "new and dear");
    let empty = MemberState::new(scorer.bundle().schema());
    let nobody =
        scorer.risk(&empty, Timestamp::parse("2024-06-01").unwrap(), &RiskOptions::default()).unwrap();
    assert!(nobody.probability < 0.5 && nobody.bundle == scorer.bundle().fingerprint());
}

#[test]
fn labels_that_name_nothing_and_kinds_that_are_not_there_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    synth::run(parsed(&["--members", "60", "--fraud", "--out", folder.path().to_str().unwrap()])).unwrap();
    fs::write(place("labels.csv"), "member,time\nm00000001,2023-05-05T00:00:00\n").unwrap();
    let refused = |more: &[&str]| {
        let (project, output) = (place("tiercast.toml"), place("moments.parquet"));
        let words = [&["-p", &*project, "-o", &*output], more].concat();
        let error = format!("{:#}", moments::run(parsed(&words)).unwrap_err());
        assert!(!Path::new(&place("moments.parquet")).exists());
        error
    };
    assert!(refused(&["--labels", &place("labels.csv")]).contains("name no event that has a row"));
    assert!(refused(&["--each", "nothing"]).contains("unknown_kind"));
    assert!(refused(&["--each", "stamp"]).contains("unknown_kind"));
    assert!(refused(&["--each", "search"]).contains("no event is of kind search"));
    let project = fs::read_to_string(place("tiercast.toml")).unwrap();
    fs::write(place("tiercast.toml"), project.replace("name = \"orders_1h\"", "name = \"label\"")).unwrap();
    assert!(refused(&[]).contains("a feature is called \"label\""));
}
