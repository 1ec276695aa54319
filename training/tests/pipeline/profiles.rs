//! Models over sequences through the program: profiles in the bundle and in the scores, a training that is killed, and what
//! machines are told of it.

use std::{fs, path::Path};

use serde_json::Value;
use tiercast::train::record::RunRecord;

use super::{fails, killed, sales, succeeds, with_models};

/// The shop with a sequence and these models.
fn shop(folder: &Path, models: &str) {
    let sequence = "[sequence]\neach = \"day\"\nlast = 6\nof = [\"day\", \"amount\"]\nsegments = 3\n";
    let project = with_models(models).replacen("[[features]]", &format!("{sequence}\n[[features]]"), 1);
    fs::write(folder.join("tiercast.toml"), project).unwrap();
    fs::write(folder.join("sales.csv"), sales()).unwrap();
}

fn lines(said: &str) -> Vec<Value> {
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

#[test]
fn a_sequence_becomes_a_profile_in_the_bundle_and_in_the_scores() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    shop(folder, r#""logistic", "gru", "blend""#);
    succeeds(folder, &["train", "-o", "run"]);
    let run = RunRecord::read(&folder.join("run")).unwrap();
    let profile = run.profile.unwrap();
    assert_eq!(
        (profile.model.as_str(), profile.embedding, profile.file.as_str()),
        ("gru", 32, "models/profile.onnx")
    );
    assert!(folder.join("run/models/profile.onnx").exists() && folder.join("run/models/gru.onnx").exists());
    let total: f64 = profile.segments.iter().map(|segment| segment.share).sum();
    assert!(
        (1..=3).contains(&profile.segments.len()) && (total - 1.0).abs() < 1e-9,
        "{:?}",
        profile.segments
    );
    let heads = profile.test.unwrap();
    assert_eq!(heads.rows, 120);
    // Everybody buys every month on a day drawn at random: nothing tells when, and nothing may be made up.
    assert!(heads.lapsed == 0.0 && heads.brier < 0.01, "{heads:?}");
    assert!((0.8..1.2).contains(&(heads.days / heads.days_median)), "{heads:?}");

    let inspected: Value =
        serde_json::from_str(&succeeds(folder, &["inspect", "--json", "run/bundle.tcb"])).unwrap();
    assert_eq!(inspected["provenVectors"], 8);
    succeeds(folder, &["evaluate", "run"]);
    assert!(fs::read_to_string(folder.join("run/report.html")).unwrap().contains("How members behave"));

    let score = ["score", "run/bundle.tcb", "-p", "tiercast.toml", "--embedding", "-o"];
    succeeds(folder, &[score.as_slice(), &["scores.parquet"]].concat());
    let said = succeeds(folder, &["similar", "scores.parquet", "c007", "-k", "3"]);
    let found: Vec<f32> =
        said.lines().skip(1).map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect();
    assert!(found.len() == 3 && found.is_sorted_by(|a, b| a >= b) && found[0] > 0.5, "{said}");
    assert!(!said.contains("c007"));
    succeeds(folder, &[score.as_slice(), &["scores.ndjson"]].concat());
    let first = fs::read_to_string(folder.join("scores.ndjson")).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let found = &first["profile"];
    assert_eq!(found["embedding"].as_array().unwrap().len(), 32);
    assert!((0.0..=1.0).contains(&found["churn"].as_f64().unwrap()), "{first}");
    let segment = found["segment"].as_u64().unwrap() as usize;
    assert_eq!(found["segmentName"], profile.segments[segment].name.as_str());
}

#[test]
fn a_model_of_sequences_without_a_sequence_is_told_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    shop(folder, r#""gru""#);
    let project = fs::read_to_string(folder.join("tiercast.toml")).unwrap();
    let without: String = project
        .replace("[sequence]\neach = \"day\"\nlast = 6\nof = [\"day\", \"amount\"]\nsegments = 3\n", "");
    fs::write(folder.join("tiercast.toml"), without).unwrap();
    assert!(fails(folder, &["train"]).contains("\"gru\" reads a sequence, and none is declared"));
    fs::write(folder.join("tiercast.toml"), project.replace("last = 6", "last = 2")).unwrap();
    assert!(fails(folder, &["train"]).contains("give 4 to 256"));
}

#[test]
fn a_training_that_was_killed_goes_on_where_it_was_and_tells_machines_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    shop(folder, r#""logistic", "boosting", "cnn", "transformer", "dnn""#);
    let asked = |run, threads| ["train", "-o", run, "--log", "json", "--threads", threads];
    let told = lines(&succeeds(folder, &asked("whole", "2")));
    let events: Vec<&str> = told.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!((events[0], events[events.len() - 1]), ("start", "done"));
    assert!(events.contains(&"features") && events.contains(&"message"), "{events:?}");
    // Six models, the rule among them, on three folds and in the final fit.
    let fits: Vec<&Value> = told.iter().filter(|line| line["event"] == "fit").collect();
    assert!(
        fits.len() == 24 && fits.iter().all(|fit| fit["takenOver"] == false && fit["of"] == 24),
        "{fits:?}"
    );
    assert!(fits.iter().any(|fit| fit["model"] == "cnn" && fit["best"]["validation"].is_number()));
    assert!(!folder.join("whole/unfinished").exists());

    let kept = || {
        let files = fs::read_dir(folder.join("killed/unfinished"));
        files.map_or(0, |files| {
            files.filter(|file| file.as_ref().unwrap().path().extension() == Some("fit".as_ref())).count()
        })
    };
    killed(folder, &asked("killed", "1"), || kept() >= 6);
    assert!((6..24).contains(&kept()) && !folder.join("killed/run.json").exists(), "it was killed half-way");
    // One that was half written is trained again.
    let damaged = fs::read_dir(folder.join("killed/unfinished")).unwrap().next().unwrap().unwrap().path();
    fs::write(&damaged, &fs::read(&damaged).unwrap()[..9]).unwrap();
    let before = kept();
    let told = lines(&succeeds(folder, &asked("killed", "2")));
    let taken = told.iter().filter(|line| line["takenOver"] == true).count();
    assert!(taken >= before - 1 && taken < 24, "{taken} of {before}");
    for file in ["run.json", "bundle.tcb", "predictions.parquet"] {
        let read = |run: &str| fs::read(folder.join(run).join(file)).unwrap();
        assert!(read("whole") == read("killed"), "{file} differs");
    }
}
