//! A made-up shop through the program: train, evaluate, inspect, and what a damaged bundle gives.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test itself")]

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tiercast::{models::mix, train::predictions::Predictions};

const PROJECT: &str = r#"
[project]
name = "made-up shop"
seed = 7

[currency]
code = "EUR"
exponent = 2

[[events]]
table = "sales.csv"

[events.columns]
member = "customer"
kind = "'purchase'"
time = "day"
amount = "paid"

[tiers]
names = ["Basic", "Silver", "Gold"]
period = "quarter"
shares = [0.5, 0.3, 0.2]

[split]
train = ["2024-04-01", "2024-07-01"]
test = ["2024-10-01"]
folds = 3

[train]
decode = "median"
models = ["linear", "logistic", "svm", "dnn"]

[[features]]
name = "recency"
op = "recency"

[[features]]
name = "spend_91d"
op = "sum"
of = "amount"
window = "91d"

[[features]]
name = "count_91d"
op = "count"
window = "91d"
"#;

/// 120 customers whose spend keeps its level over a year, up to noise.
fn sales() -> String {
    let noise = |x: u64| (mix(x) >> 11) as f64 / (1_u64 << 53) as f64;
    let mut csv = String::from("customer,day,paid\n");
    for customer in 0..120_u64 {
        let level = 5.0 + 60.0 * noise(customer);
        for month in 1..=12_u64 {
            for visit in 0..1 + (customer + month) % 3 {
                let salt = customer * 1000 + month * 10 + visit;
                let day = 1 + mix(salt) % 28;
                let paid = level * (0.5 + noise(salt + 500_000));
                writeln!(csv, "c{customer:03},2024-{month:02}-{day:02},{paid:.2}").unwrap();
            }
        }
    }
    csv
}

fn tiercast(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tiercast")).current_dir(folder).args(arguments).output().unwrap()
}

#[track_caller]
fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = tiercast(folder, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
fn fails(folder: &Path, arguments: &[&str]) -> String {
    let output = tiercast(folder, arguments);
    assert!(!output.status.success(), "{arguments:?} should fail");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_shop_becomes_a_bundle_and_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("tiercast.toml"), PROJECT).unwrap();
    fs::write(folder.join("sales.csv"), sales()).unwrap();

    let said = succeeds(folder, &["train", "-o", "run", "--threads", "2"]);
    assert!(said.contains("tiercast evaluate run"), "{said}");
    predictions_cover_every_row_once(folder);

    let said = succeeds(folder, &["evaluate", "run"]);
    assert!(said.contains("same-tier") && said.contains("report.html"), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(folder.join("run/report.json")).unwrap()).unwrap();
    assert_eq!(report["boards"][0]["split"], "test");
    assert!(fs::read_to_string(folder.join("run/report.html")).unwrap().contains("made-up shop"));

    let inspected: Value =
        serde_json::from_str(&succeeds(folder, &["inspect", "--json", "run/bundle.tcb"])).unwrap();
    assert_eq!(inspected["provenVectors"], 8);
    assert_eq!(inspected["tiers"].as_array().unwrap().len(), 3);
    assert_eq!(inspected["manifest"]["model"], report["run"]["selected"]);
    assert!(succeeds(folder, &["inspect", "run/bundle.tcb"]).contains("├─ features (3 in"));

    the_same_again_gives_the_same_bytes(folder);
    damage_has_a_code(folder);
}

fn predictions_cover_every_row_once(folder: &Path) {
    let predictions = Predictions::read(&folder.join("run/predictions.parquet")).unwrap();
    for model in ["same-tier", "linear", "logistic", "svm", "dnn"] {
        for (split, rows) in [("cv", 240), ("test", 120)] {
            let places = predictions.of(model, split);
            let mut keys: Vec<_> =
                places.iter().map(|row| (predictions.as_of[*row], &predictions.member[*row])).collect();
            keys.sort();
            keys.dedup();
            assert_eq!((places.len(), keys.len()), (rows, rows), "{model} {split}");
        }
    }
    let fold_of = |row: usize| (&predictions.member[row], predictions.fold[row]);
    let mut folds: Vec<_> = predictions.of("dnn", "cv").into_iter().map(fold_of).collect();
    folds.sort();
    folds.dedup();
    assert_eq!(folds.len(), 120, "a member's rows are all in one fold");
}

fn the_same_again_gives_the_same_bytes(folder: &Path) {
    succeeds(folder, &["train", "-o", "again", "--threads", "1"]);
    for file in ["bundle.tcb", "run.json", "predictions.parquet", "models/dnn.onnx"] {
        let read = |run: &str| fs::read(folder.join(run).join(file)).unwrap();
        assert!(read("run") == read("again"), "{file} differs");
    }
}

fn damage_has_a_code(folder: &Path) {
    let whole = fs::read(folder.join("run/bundle.tcb")).unwrap();
    fs::write(folder.join("short.tcb"), &whole[..whole.len() / 2]).unwrap();
    assert!(fails(folder, &["inspect", "short.tcb"]).contains("bundle_truncated"));
    let mut flipped = whole;
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    fs::write(folder.join("flipped.tcb"), flipped).unwrap();
    assert!(fails(folder, &["inspect", "flipped.tcb"]).contains("bundle_hash"));
    assert!(fails(folder, &["inspect", "tiercast.toml"]).contains("not_a_bundle"));
    assert!(fails(folder, &["evaluate", "nowhere"]).contains("tiercast train"));
}
