//! A made-up shop through the program: train, evaluate, inspect, and what a damaged bundle gives.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic like the test itself")]

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

mod deploy;
#[cfg(feature = "wgpu")]
mod device;
mod large;
mod profiles;
#[cfg(feature = "cloud")]
mod stores;

use indicatif::ProgressBar;
use serde_json::Value;
use tiercast::{
    features,
    models::mix,
    project::Project,
    train::{predictions::Predictions, record::RunRecord},
};
use tiercast_core::{Scorer, Timestamp};

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
models = ["linear", "logistic", "svm", "dnn", "ordinal", "corn", "hurdle", "boosting", "blend"]

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

/// The project with other models.
fn with_models(models: &str) -> String {
    let line = |line: &str| match line.starts_with("models = ") {
        true => format!("models = [{models}]\n"),
        false => format!("{line}\n"),
    };
    PROJECT.lines().map(line).collect()
}

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
    what_made_the_run_is_told(&report["run"]);
    slices_come_from_a_table_of_members(folder);

    let inspected: Value =
        serde_json::from_str(&succeeds(folder, &["inspect", "--json", "run/bundle.tcb"])).unwrap();
    assert_eq!(inspected["provenVectors"], 8);
    assert_eq!(inspected["tiers"].as_array().unwrap().len(), 3);
    assert_eq!(inspected["manifest"]["model"], report["run"]["selected"]);
    let told = succeeds(folder, &["inspect", "run/bundle.tcb"]);
    assert!(told.contains("├─ features (3 in") && told.contains("─ drift "), "{told}");

    the_same_again_gives_the_same_bytes(folder);
    what_rounded_weights_cost_is_said(folder);
    decoding_by_ranks_comes_with_its_cuts(folder);
    for (project, run) in [("tiercast.toml", "run"), ("tiercast.toml", "small"), ("ranks.toml", "ranks")] {
        drift_is_measured_by_what_the_bundle_says(folder, project, run);
    }
    damage_has_a_code(folder);
}

fn decoding_by_ranks_comes_with_its_cuts(folder: &Path) {
    let project = PROJECT
        .replace("\"median\"", "\"ranks\"")
        .replace(r#""linear", "logistic", "svm", "dnn", "ordinal", "corn", "hurdle", "#, "");
    fs::write(folder.join("ranks.toml"), project).unwrap();
    // Of what an earlier run has left, the models of this program go, which are not this run's.
    fs::create_dir_all(folder.join("ranks/models")).unwrap();
    for name in ["svm", "boosting", "my own"] {
        fs::write(folder.join(format!("ranks/models/{name}.onnx")), "").unwrap();
    }
    succeeds(folder, &["train", "-p", "ranks.toml", "-o", "ranks", "--select", "kappa"]);
    let mut models: Vec<_> = fs::read_dir(folder.join("ranks/models"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    models.sort();
    assert_eq!(models, ["blend.onnx", "boosting.onnx", "my own.onnx"]);
    let inspected: Value =
        serde_json::from_str(&succeeds(folder, &["inspect", "--json", "ranks/bundle.tcb"])).unwrap();
    let manifest = &inspected["manifest"];
    assert_eq!((&manifest["decode"], manifest["cuts"].as_array().map(Vec::len)), (&"ranks".into(), Some(2)));
    // The bundle's cuts are those of the predictions on held-out rows, which also decided the test.
    let predictions = Predictions::read(&folder.join("ranks/predictions.parquet")).unwrap();
    let cuts = predictions.cuts(manifest["model"].as_str().unwrap(), None);
    let told: Vec<f32> =
        manifest["cuts"].as_array().unwrap().iter().map(|cut| cut.as_f64().unwrap() as f32).collect();
    assert_eq!(told, cuts);
    let other = inspected["card"]["metrics"]["test"]["model"]["measures"]["kappa"]["value"].as_f64();
    assert!(other.unwrap() > 0.5, "{other:?}");
}

/// The training rows have not drifted from themselves, and the test rows have as the report says.
fn drift_is_measured_by_what_the_bundle_says(folder: &Path, project: &str, run: &str) {
    let project = Project::load(&folder.join(project)).unwrap();
    let dataset = features::build(&project, &project.as_ofs(), &ProgressBar::hidden()).unwrap();
    let scorer = Scorer::load(&fs::read(folder.join(run).join("bundle.tcb")).unwrap()).unwrap();
    let (bundle, reference) = (scorer.bundle(), scorer.drift().unwrap());
    let psi = |dates: &[Timestamp]| {
        let mut counts = vec![0; reference.bins()];
        for row in (0..dataset.len()).filter(|row| dates.contains(&dataset.rows[*row].as_of)) {
            let features = dataset.row(row);
            let probabilities = scorer.score_batch(features).unwrap();
            let tier = bundle.manifest().decode.decode(&probabilities, &bundle.manifest().cuts);
            reference.count(features, tier, &mut counts).unwrap();
        }
        reference.psi(bundle.schema(), &counts).unwrap()
    };
    let own = psi(&project.split.train);
    let names: Vec<&str> = own.iter().map(|found| found.name).collect();
    assert_eq!(names, ["recency", "spend_91d", "count_91d", "tier"]);
    assert!(own.iter().all(|found| found.psi == 0.0 && found.rows == 240), "{own:?}");
    // Everybody has as many orders in a quarter: one bin, which chance cannot move.
    assert!(own.iter().all(|found| (found.chance > 0.0) == (found.name != "count_91d")), "{own:?}");
    let (later, record) = (psi(&project.split.test), RunRecord::read(&folder.join(run)).unwrap());
    for (found, told) in later.iter().zip(&record.quality) {
        let drift = told.drift.unwrap();
        assert_eq!(found.name, told.feature);
        assert!((found.psi - drift.psi).abs() < 1e-12 && (found.chance - drift.chance).abs() < 1e-12);
    }
    assert!(later.iter().any(|found| found.psi > 0.0), "{later:?}");
}

fn predictions_cover_every_row_once(folder: &Path) {
    let predictions = Predictions::read(&folder.join("run/predictions.parquet")).unwrap();
    for model in
        ["same-tier", "linear", "logistic", "svm", "dnn", "ordinal", "corn", "hurdle", "boosting", "blend"]
    {
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

fn what_made_the_run_is_told(run: &Value) {
    let provenance = &run["provenance"];
    let command = "tiercast train -p tiercast.toml --select mae --weights f32 --engine plan";
    assert_eq!(provenance["command"], command);
    assert_eq!(provenance["device"], "cpu");
    assert_eq!(provenance["tables"][0]["name"], "sales.csv");
    assert_eq!(provenance["tables"][0]["bytes"], sales().len());
    assert_eq!(run["quality"].as_array().unwrap().len(), 3);
    assert!(run["quality"][0]["drift"]["psi"].is_number());
    let effects = run["effects"].as_array().unwrap();
    assert!(!effects.is_empty());
    for point in effects.iter().flat_map(|effect| effect["points"].as_array().unwrap()) {
        assert!((1.0..=3.0).contains(&point["expectedTier"].as_f64().unwrap()), "{point}");
    }
}

fn slices_come_from_a_table_of_members(folder: &Path) {
    let rows: String =
        (0..60).map(|at| format!("c{at:03},{},x\n", if at < 40 { "north" } else { "south" })).collect();
    fs::write(folder.join("members.csv"), format!("customer,region,other\n{rows}")).unwrap();
    let asked = ["evaluate", "run", "--slices", "members.csv", "--by", "region"];
    assert!(fails(folder, &asked).contains("--member"));
    let asked = [asked.as_slice(), &["--member", "customer", "--json"]].concat();
    let report: Value = serde_json::from_str(&succeeds(folder, &asked)).unwrap();
    let slicing = report["slices"].as_array().unwrap().last().unwrap();
    let named =
        |slice: &Value| (slice["name"].as_str().unwrap().to_owned(), slice["members"].as_u64().unwrap());
    let found: Vec<_> = slicing["slices"].as_array().unwrap().iter().map(named).collect();
    let expected = [("north", 40), ("not in the table", 60), ("south", 20)];
    let mut found_sorted = found.clone();
    found_sorted.sort();
    assert_eq!(found_sorted, expected.map(|(name, members)| (name.to_owned(), members)), "{found:?}");
    let page = fs::read_to_string(folder.join("run/report.html")).unwrap();
    assert!(
        page.contains("--slices members.csv --member customer --by region") && page.contains("By region")
    );
    fs::write(folder.join("others.csv"), "member,region\nnobody,north\n").unwrap();
    assert!(fails(folder, &["evaluate", "run", "--slices", "others.csv"]).contains("no member of the run"));
}

fn the_same_again_gives_the_same_bytes(folder: &Path) {
    succeeds(folder, &["train", "-o", "again", "--threads", "1"]);
    for file in [
        "bundle.tcb",
        "run.json",
        "predictions.parquet",
        "models/dnn.onnx",
        "models/boosting.onnx",
        "models/blend.onnx",
    ] {
        let read = |run: &str| fs::read(folder.join(run).join(file)).unwrap();
        assert!(read("run") == read("again"), "{file} differs");
    }
}

fn what_rounded_weights_cost_is_said(folder: &Path) {
    let both = ["train", "-o", "small", "--weights", "i8", "--engine", "onnx"];
    assert!(fails(folder, &both).contains("--weights i8 is for the compact engine"));
    assert!(!folder.join("small").exists());
    let said = succeeds(folder, &["train", "-o", "small", "--weights", "i8"]);
    let moved = |run: &str| {
        let record = RunRecord::read(&folder.join(run)).unwrap();
        let selected = record.models.iter().find(|model| model.name == record.selected).unwrap();
        selected.plan_difference.unwrap()
    };
    assert!(moved("run") < 1e-5 && moved("small") > 1e-4, "{} {}", moved("run"), moved("small"));
    let words = format!("Weights as i8: its probabilities move by at most {:.1e} on", moved("small"));
    assert!(said.contains(&words), "{words} in {said}");
    let size = |run: &str| fs::metadata(folder.join(run).join("bundle.tcb")).unwrap().len();
    assert!(size("small") < size("run"));
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

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
#[test]
fn a_device_that_this_build_has_not_got_is_refused_before_the_tables_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("tiercast.toml"), PROJECT).unwrap();
    for device in ["wgpu", "cuda:1"] {
        let said = fails(folder, &["train", "-o", "run", "--device", device]);
        let way_out = format!("--features {}", device.trim_end_matches(":1"));
        assert!(said.contains("this build has no") && said.contains(&way_out), "{said}");
    }
    assert!(fails(folder, &["train", "--device", "cpu:1"]).contains("--threads"));
    assert!(!folder.join("run").exists());
}

/// Runs the program and kills it as soon as it is half-way.
fn killed(folder: &Path, args: &[&str], is_half_way: impl Fn() -> bool) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tiercast"))
        .current_dir(folder)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !is_half_way() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn rows_beyond_memory_reach_the_networks() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("tiercast.toml"), with_models(r#""logistic", "dnn", "blend""#)).unwrap();
    fs::write(folder.join("sales.csv"), sales()).unwrap();
    for (run, threads) in [("run", "1"), ("again", "2")] {
        let asked = ["train", "-o", run, "--rows", "200", "--memory", "64", "--threads", threads];
        let said = String::from_utf8(tiercast(folder, &asked).stderr).unwrap();
        assert!(
            said.contains("The networks learn from all of the 360 rows, everything else from 198 of them"),
            "{said}"
        );
        assert!(!folder.join(run).join("unfinished").exists());
    }
    for file in ["bundle.tcb", "run.json", "predictions.parquet"] {
        let read = |run: &str| fs::read(folder.join(run).join(file)).unwrap();
        assert!(read("run") == read("again"), "{file} differs");
    }
    let record = RunRecord::read(&folder.join("run")).unwrap();
    assert!(record.provenance.command.ends_with(" --rows 200"), "{}", record.provenance.command);
    assert_eq!((record.data.train_rows, record.data.streamed_rows), (132, Some(240)));
    let said =
        String::from_utf8(tiercast(folder, &["train", "-o", "whole", "--rows", "360"]).stderr).unwrap();
    assert!(said.contains("--rows changes nothing"), "{said}");
    let asked = ["train", "-o", "plain"];
    succeeds(folder, &asked);
    let onnx = |run: &str| fs::read(folder.join(run).join("models/dnn.onnx")).unwrap();
    assert!(onnx("whole") == onnx("plain") && onnx("run") != onnx("plain"));
}

#[test]
fn a_search_that_was_killed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("tiercast.toml"), with_models(r#""boosting""#)).unwrap();
    fs::write(folder.join("sales.csv"), sales()).unwrap();
    let asked = |run, threads| ["train", "-o", run, "--search", "40", "--threads", threads];

    let said = succeeds(folder, &asked("whole", "2"));
    assert!(said.contains("40 settings tried, "), "{said}");
    let lines =
        || fs::read_to_string(folder.join("killed/search.jsonl")).map_or(0, |text| text.lines().count());
    killed(folder, &asked("killed", "1"), || lines() >= 12);
    assert!(lines() >= 12 && !folder.join("killed/run.json").exists(), "it was killed half-way");
    succeeds(folder, &asked("killed", "2"));
    for file in ["search.jsonl", "run.json", "bundle.tcb"] {
        let read = |run: &str| fs::read(folder.join(run).join(file)).unwrap();
        assert!(read("whole") == read("killed"), "{file} differs");
    }
    let record = RunRecord::read(&folder.join("whole")).unwrap();
    let boosting = record.models.iter().find(|model| model.name == "boosting").unwrap();
    let search = boosting.search.as_ref().unwrap();
    assert_eq!((search.trials, search.cut_short), (40, false));
    assert_eq!(boosting.settings == search.best.as_ref().unwrap().settings, search.replaced);
    assert!(record.provenance.command.ends_with("--search 40"));

    let other = fs::read_to_string(folder.join("tiercast.toml")).unwrap().replace("seed = 7", "seed = 8");
    fs::write(folder.join("tiercast.toml"), other).unwrap();
    assert!(fails(folder, &asked("whole", "2")).contains("another search (another seed)"));
    assert!(fails(folder, &["train", "--search", "1"]).contains("--search"));
    assert!(fails(folder, &["train", "--budget", "10"]).contains("10m"));
}
