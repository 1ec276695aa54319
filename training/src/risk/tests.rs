//! The command on a small made-up table.

use std::{fs, path::Path};

use clap::Parser;

use super::{evaluate, page, record::Report, words};
use crate::models::{
    mix,
    risk::{Inputs, isolation},
};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: evaluate::Args,
}

fn uniform(seed: u64) -> f64 {
    (mix(seed) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Four days of payments, one in thirty a fraud: large at a young account from the country "far", and now and then by chance. Accounts
/// that have no age are as others.
fn table(rows: u64) -> String {
    let mut text = String::from("id,time,amount,age,country,noise,fraud\n");
    for at in 0..rows {
        let [luck, size, young, noise] = [0, 1, 2, 3].map(|which| uniform(at * 8 + which));
        let fraud = luck < 0.04;
        let amount = 20.0 + 200.0 * size + if fraud { 150.0 } else { 0.0 };
        let age = if fraud { 40.0 * young } else { 10.0 + 300.0 * young };
        let age = if uniform(at * 8 + 4) < 0.1 { String::new() } else { format!("{age:.2}") };
        let country = if uniform(at * 8 + 5) < if fraud { 0.7 } else { 0.1 } { "far" } else { "near" };
        let label = u8::from(fraud != (uniform(at * 8 + 6) < 0.002));
        let time = at * 4 * 86_400 / rows;
        text += &format!("p{at},{time},{amount:.2},{age},{country},{noise:.4},{label}\n");
    }
    text
}

const USUAL: [&str; 10] =
    ["--label", "fraud", "--time", "time", "--amount", "amount", "--id", "id", "--alerts-per-day", "30"];

fn args(folder: &Path, table: &str, more: &[&str]) -> evaluate::Args {
    let path = folder.join("payments.csv");
    fs::write(&path, table).unwrap();
    let line =
        ["tiercast", path.to_str().unwrap(), "--rounds", "100"].into_iter().chain(more.iter().copied());
    Line::try_parse_from(line).unwrap().args
}

fn report(table: &str, more: &[&str]) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir().unwrap();
    evaluate::report(&args(folder.path(), table, more))
}

fn refused(table: &str, more: &[&str]) -> String {
    format!("{:#}", report(table, more).unwrap_err())
}

#[test]
fn frauds_are_told_and_the_report_says_how_well() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.toml"), "\"large and young\" = \"amount >= 250 and age <= 30\"\n")
        .unwrap();
    fs::write(folder.path().join("seen.csv"), "id,label\np0,1\np1,0\nnobody,1\n").unwrap();
    let (rules, seen) = (folder.path().join("rules.toml"), folder.path().join("seen.csv"));
    let (json, html) = (folder.path().join("risk.json"), folder.path().join("risk.html"));
    let paths = [&rules, &seen, &json, &html].map(|path| path.to_str().unwrap().to_owned());
    let [rules, seen, json, html] = &paths;
    let more = ["--rules", rules, "--feedback", seen, "--json", json, "--page", html];
    let args = args(folder.path(), &table(6000), &[&USUAL[..], &more].concat());
    evaluate::run(args).unwrap();
    let found: serde_json::Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(found["inputs"], serde_json::json!(["amount", "age", "country=near", "country=far", "noise"]));
    assert_eq!(
        [&found["earlier"]["rows"], &found["later"]["rows"], &found["test"]["rows"]],
        [3600, 1200, 1200]
    );
    let models = found["models"].as_array().unwrap();
    let names: Vec<&str> = models.iter().filter_map(|model| model["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "logistic",
            "boosting",
            "hybrid",
            "isolation",
            "autoencoder",
            "one-threshold",
            "two-thresholds",
            "rules"
        ]
    );
    let model = |name: &str| &models[names.iter().position(|known| *known == name).unwrap()];
    let precision = |name: &str| model(name)["figures"]["averagePrecision"]["value"].as_f64().unwrap();
    let chosen = found["chosen"].as_str().unwrap();
    assert!(["logistic", "boosting", "hybrid"].contains(&chosen));
    assert!(
        precision(chosen) > 0.5 && precision(chosen) > precision("one-threshold"),
        "{}",
        precision(chosen)
    );
    assert!(precision("isolation") > 0.06, "{}", precision("isolation"));
    // Those who choose have the least loss of probabilities on later rows, whatever the test says.
    let loss = |name: &str| model(name)["validation"]["logLoss"].as_f64().unwrap();
    assert!(["logistic", "boosting", "hybrid"].iter().all(|name| loss(chosen) <= loss(name)));
    // Frauds that were expected are about those that came.
    let sum = &model(chosen)["figures"]["reliability"];
    let ratio = sum["expected"].as_f64().unwrap() / sum["came"].as_f64().unwrap();
    assert!((0.6..1.6).contains(&ratio), "{ratio}");
    // 30 alerts a day in the last 0.8 of the fourth day.
    let alerts = found["alerts"].as_f64().unwrap();
    assert_eq!(alerts, 24.0);
    let figures = &model(chosen)["figures"];
    assert!(
        (figures["precision"].as_f64().unwrap() * alerts - figures["found"].as_f64().unwrap()).abs() < 1e-9
    );
    assert_eq!(found["feedback"]["unknown"], 1);
    assert_eq!(found["rulesVersion"].as_str().unwrap().len(), 12);
    let first = &model(chosen)["top"][0];
    assert!(
        first["id"].as_str().unwrap().starts_with('p')
            && first["reasons"][0]["effect"].as_f64().unwrap() > 0.0
    );
    let html = fs::read_to_string(html).unwrap();
    assert!(html.contains("two thresholds") && html.contains("<svg") && !html.contains("<script"));
    assert_eq!(html.matches("<figure>").count(), 4);
}

#[test]
fn the_report_is_the_same_on_any_number_of_threads() {
    let one = |threads: &str| {
        let report = report(&table(3000), &[&USUAL[..], &["--threads", threads]].concat()).unwrap();
        (serde_json::to_string(&report).unwrap(), words::report(&report))
    };
    let (json, text) = one("1");
    assert_eq!((json, text.clone()), one("3"));
    for said in [
        "payments.csv: learned from 2,400 rows",
        "judged on 600 later rows",
        "* ",
        "the rule to beat",
        "raise the score most",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
}

#[test]
fn nothing_of_the_test_moves_what_is_learned() {
    let all = table(3000);
    // The same rows, with the labels of the test turned around.
    let turned: Vec<String> = all
        .lines()
        .enumerate()
        .map(|(at, line)| match (at > 2400, line.strip_suffix(",0"), line.strip_suffix(",1")) {
            (true, Some(rest), _) => format!("{rest},1"),
            (true, _, Some(rest)) => format!("{rest},0"),
            _ => line.to_owned(),
        })
        .collect();
    let [usual, turned] = [all, turned.join("\n")].map(|table| report(&table, &USUAL).unwrap());
    assert_eq!(usual.chosen, turned.chosen);
    for (a, b) in usual.models.iter().zip(&turned.models) {
        assert_eq!((&a.name, &a.about, a.settings.to_string()), (&b.name, &b.about, b.settings.to_string()));
        let scores = |alerts: &[super::record::Alert]| {
            alerts.iter().map(|a| (a.row, a.score.to_bits())).collect::<Vec<_>>()
        };
        assert_eq!(scores(&a.top), scores(&b.top));
        let threshold =
            |model: &super::record::ModelRecord| model.figures.as_ref().unwrap().cost.threshold.to_bits();
        assert_eq!(threshold(a), threshold(b));
    }
}

#[test]
fn without_labels_the_oddest_rows_are_listed() {
    let report = report(&table(1500), &["--no-labels", "--time", "time", "--exclude", "fraud,id"]).unwrap();
    let names: Vec<&str> = report.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["isolation", "autoencoder"]);
    assert!(report.models.iter().all(|model| model.figures.is_none() && model.top.len() == 10));
    assert!(report.test.frauds.is_none() && report.chosen.is_none());
    let text = words::report(&report);
    assert!(
        text.contains("first alerts of isolation forest") && !text.contains("average precision"),
        "{text}"
    );
    assert!(page::html(&report).unwrap().contains("autoencoder"));
}

#[test]
fn rows_like_those_learned_from_do_not_judge() {
    let mut all = table(1500);
    let first: Vec<String> = all.lines().skip(1).take(5).map(str::to_owned).collect();
    for (at, line) in first.iter().enumerate() {
        let (_, rest) = line.split_once(',').unwrap();
        let (_, rest) = rest.split_once(',').unwrap();
        all += &format!("again{at},400000,{rest}\n");
    }
    let report = report(&all, &USUAL).unwrap();
    assert_eq!((report.duplicates.rows, report.test.rows), (5, 301 - 5));
    assert!(report.notes.iter().any(|note| note.contains("5 rows of the test")), "{:?}", report.notes);
}

#[test]
fn what_cannot_be_judged_says_why() {
    let all = table(900);
    let with = |more: &[&str]| refused(&all, &[&USUAL[..], more].concat());
    assert!(with(&["--exclude", "nothing"]).contains("there is no column \"nothing\""));
    assert!(with(&["--test", "1"]).contains("--test 1"));
    assert!(with(&["--missed-cost", "much"]).contains("neither a number nor `amount`"));
    assert!(with(&["--review-cost=-1"]).contains("not be below 0"));
    let label = |column: &str| refused(&all, &["--label", column, "--time", "time", "--exclude", "id"]);
    assert!(label("freud").contains("did you mean \"fraud\"?"));
    assert!(
        label("country").contains("row 1: \"near\" is no label")
            || label("country").contains("row 1: \"far\" is no label")
    );
    let turned = |label: &str| {
        let lines = all.lines().enumerate().map(|(at, line)| match line.rsplit_once(',') {
            Some((rest, _)) if at > 0 => format!("{rest},{label}\n"),
            _ => format!("{line}\n"),
        });
        refused(&lines.collect::<String>(), &USUAL)
    };
    assert!(turned("0").contains("none of the 540 rows to learn from is a fraud"));
    assert!(turned("1").contains("all 540 rows to learn from are frauds"));
    let late = |from: usize| {
        let lines = all.lines().enumerate().map(|(at, line)| match line.strip_suffix(",1") {
            Some(rest) if at > from => format!("{rest},0\n"),
            _ => format!("{line}\n"),
        });
        refused(&lines.collect::<String>(), &USUAL)
    };
    assert!(late(540).contains("of the 180 rows that settings are chosen by"));
    assert!(late(720).contains("none of the 180 rows of the test is a fraud"));
    let timeless = all.replacen(",0,", ",noon,", 1);
    assert!(refused(&timeless, &USUAL).contains("column \"time\", row 1: \"noon\" is not a time"));
    let amount =
        refused(&all, &["--label", "fraud", "--time", "time", "--missed-cost", "amount", "--exclude", "id"]);
    assert!(amount.contains("--missed-cost amount needs --amount"));
    let no_such = Line::try_parse_from(["tiercast", "x.csv", "--time", "t"]).unwrap_err().to_string();
    assert!(no_such.contains("--label"), "{no_such}");
}

#[test]
fn an_isolation_forest_that_is_exported_gives_the_same_paths() {
    use tiercast_core::{LowerOptions, lower};

    use crate::{
        export,
        models::{Activation, Graded, Layer, Model, Network},
    };
    let number = |at: u64| if uniform(at + 77) < 0.05 { f32::NAN } else { uniform(at) as f32 };
    let inputs = Inputs::new(3, (0..3000).map(number).collect()).unwrap();
    let params = isolation::Params { trees: 50, ..isolation::Params::default() };
    let fitted = isolation::Isolation::fit(&params, &inputs, 1).unwrap();
    let as_it_is =
        Layer { inputs: 1, outputs: 1, weight: vec![1.0], bias: vec![0.0], activation: Activation::None };
    let model =
        Model::Graded(Graded { forest: fitted.forest().clone(), head: Network { layers: vec![as_it_is] } });
    let onnx = export::model("isolation", &model, &[]).unwrap();
    let plan = lower(&onnx, &LowerOptions::default()).unwrap();
    let mut depths = Vec::new();
    plan.run_rows(&mut plan.workspace(usize::MAX), inputs.values(), &mut depths).unwrap();
    for (found, depth) in depths.iter().zip(fitted.depths(&inputs)) {
        assert_eq!(f64::from(*found).to_bits(), depth.to_bits());
    }
    assert_eq!(depths.len(), inputs.len());
}
