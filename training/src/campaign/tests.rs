use std::path::Path;

use clap::Parser;
use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::Float64Type,
    },
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};

use super::*;
use crate::{fixtures, policy::simulate};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

#[derive(Parser)]
struct Simulation {
    #[command(flatten)]
    args: simulate::Args,
}

/// A synthetic shop with a simulated log; gives how to look at it.
fn shop(folder: &Path, members: u64, periods: &str) {
    fixtures::synthetic(folder, members);
    let (project, log) = (folder.join("tiercast.toml"), folder.join("log.parquet"));
    let words = ["x", "-p", project.to_str().unwrap(), "-o", log.to_str().unwrap()];
    let more = ["--arms", "0,100", "--periods", periods, "--truth"];
    simulate::run(Simulation::parse_from(words.into_iter().chain(more)).args).unwrap();
}

fn args(folder: &Path, log: &str, more: &[&str]) -> Args {
    let place = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let words = ["x", "-p", &place("tiercast.toml"), "--log", &place(log), "-o", &place("campaign")];
    Cli::parse_from(words.into_iter().chain(more.iter().copied())).args
}

fn refused(folder: &Path, log: &str, more: &[&str]) -> String {
    format!("{:#}", run(args(folder, log, more)).unwrap_err())
}

fn targets(folder: &Path) -> RecordBatch {
    let file = fs::File::open(folder.join("campaign/targets.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20);
    reader.build().unwrap().next().unwrap().unwrap()
}

const OFFER: [&str; 4] = ["--offer", "points_100", "--budget", "25"];

#[test]
fn a_log_becomes_a_list_within_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), 500, "8");
    let files = || {
        run(args(folder.path(), "log.parquet", &OFFER)).unwrap();
        ["campaign.json", "report.html", "targets.parquet"]
            .map(|name| fs::read(folder.path().join("campaign").join(name)).unwrap())
    };
    let found = files();
    assert!(found == files(), "the same input gives the same bytes");
    let list = targets(folder.path());
    let numbers =
        |name: &str| list.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec();
    let (uplift, costs, gains) = (numbers("uplift"), numbers("expected_cost"), numbers("expected_gain"));
    let treat = list.column_by_name("treat").unwrap().as_boolean();
    let treated: Vec<usize> = (0..list.num_rows()).filter(|row| treat.value(*row)).collect();
    assert!(!treated.is_empty() && treated.len() < list.num_rows());
    assert!(treated.iter().map(|row| costs[*row]).sum::<f64>() <= 25.0);
    assert!(
        treated.iter().all(|row| gains[*row] > 0.0 && *row < treated.len()),
        "the greatest gains come first"
    );
    assert!((0..list.num_rows()).all(|row| (uplift[row] - costs[row] - gains[row]).abs() < 1e-12));

    let json: serde_json::Value = serde_json::from_slice(&found[0]).unwrap();
    assert_eq!(json["list"]["treat"], treated.len());
    assert_eq!(json["list"]["members"], list.num_rows());
    let names: Vec<&str> =
        json["ways"].as_array().unwrap().iter().map(|way| way["name"].as_str().unwrap()).collect();
    let wanted =
        ["x-learner", "t-learner", "top spenders", "recent buyers", "lapsing", "random", "everybody"];
    assert_eq!(names, wanted);
    for way in json["ways"].as_array().unwrap() {
        let chosen = &way["chosen"];
        let within = chosen["expectedCost"].as_f64().unwrap() <= 25.0 * (1.0 + 1e-9);
        assert_eq!(chosen["withinBudget"], within, "{way}");
        assert_eq!(within, way["name"] != "everybody", "{way}");
        let net = &chosen["net"];
        let [low, value, high] = ["low", "value", "high"].map(|end| net[end].as_f64().unwrap());
        assert!(low < value && value < high, "{way}");
    }
    let oracle = json["oracle"].as_f64().unwrap();
    assert!(json["ways"].as_array().unwrap()[0]["truth"]["net"].as_f64().unwrap() < oracle);

    let page = String::from_utf8(found[1].clone()).unwrap();
    assert!(page.contains("Qini curves") && page.contains("--accent") && page.contains("polyline"));
    assert!(!page.contains("NaN") && !page.contains("undefined") && !page.contains("<script"));
}

#[test]
fn few_decisions_are_said_to_be_few() {
    let folder = tempfile::tempdir().unwrap();
    shop(folder.path(), 80, "2");
    run(args(folder.path(), "log.parquet", &OFFER)).unwrap();
    let json = fs::read_to_string(folder.path().join("campaign/campaign.json")).unwrap();
    assert!(json.contains("first impression"), "{json}");
}

#[test]
fn a_table_of_treated_and_untreated_is_a_log_too() {
    let folder = tempfile::tempdir().unwrap();
    fixtures::synthetic(folder.path(), 120);
    let mut log = String::from("who,day,mailed,margin,postage\n");
    for member in 0..120 {
        let mailed = member % 3 == 0;
        let margin = f64::from(member % 7) + if mailed { 2.0 } else { 0.0 };
        let postage = if mailed { 0.5 } else { 0.0 };
        log += &format!("m{member:08},2024-12-0{}T09:30:00,{mailed},{margin},{postage}\n", 1 + member % 2);
    }
    fs::write(folder.path().join("log.csv"), log).unwrap();
    let named = ["--member", "who", "--time", "day", "--treated", "mailed", "--outcome", "margin"];
    let paid = ["--cost", "postage", "--budget", "10", "--learner", "t"];
    let with = |propensity: &[&str]| {
        let words: Vec<&str> = named.into_iter().chain(paid).chain(propensity.iter().copied()).collect();
        args(folder.path(), "log.csv", &words)
    };
    run(with(&["--propensity", "0.3333"])).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("campaign/campaign.json")).unwrap()).unwrap();
    assert_eq!((&json["treated"], &json["offer"]), (&40.into(), &"mailed".into()));
    let all = json["ways"].as_array().unwrap().iter().find(|way| way["name"] == "everybody").unwrap();
    // 20 or 21 letters of those that are due on each day; each costs a half.
    let cost = all["chosen"]["cost"]["value"].as_f64().unwrap();
    assert!((cost - 0.5 * all["chosen"]["members"].as_f64().unwrap()).abs() < 1e-6, "{all}");
    assert!(json["oracle"].is_null());
    let error = format!("{:#}", run(with(&[])).unwrap_err());
    assert!(error.contains("--propensity 0.5") && error.contains("no column \"propensity\""), "{error}");
    assert!(run(with(&["--propensity", "1"])).unwrap_err().to_string().contains("above 0 and below 1"));
}

#[test]
fn logs_that_compare_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fixtures::synthetic(folder.path(), 60);
    let log = |name: &str, rows: &dyn Fn(u32) -> String| {
        let rows: String = (0..60).map(|member| format!("m{member:08},{}\n", rows(member))).collect();
        let head = "member,time,offer,propensity,reward,cost\n";
        fs::write(folder.path().join(name), format!("{head}{rows}")).unwrap();
        refused(folder.path(), name, &OFFER)
    };
    let offer = |member: u32| if member.is_multiple_of(2) { "none" } else { "points_100" };
    let error = log("all.csv", &|_| "2024-05-01,points_100,0.5,1,1".into());
    assert!(error.contains("no controls") && error.contains("\"points_100\" 60 times"), "{error}");
    let error = log("none.csv", &|_| "2024-05-01,none,0.5,1,0".into());
    assert!(error.contains("never offers \"points_100\""), "{error}");
    let error = log("sure.csv", &|member| format!("2024-05-01,{},1,1,0", offer(member)));
    assert!(error.contains("nothing to compare"), "{error}");
    let error = log("paid.csv", &|member| format!("2024-05-01,{},0.5,1,1", offer(member)));
    assert!(error.contains("without the offer have a cost"), "{error}");
    let error = log("hole.csv", &|member| {
        format!("2024-05-01,{},{},1,0", offer(member), if member == 3 { "" } else { "0.5" })
    });
    assert!(error.contains("column \"propensity\", row 4: nothing"), "{error}");
    let error = log("early.csv", &|member| format!("1999-05-01,{},0.5,1,0", offer(member)));
    assert!(error.contains("know nobody"), "{error}");
    let twice = "member,time,offer,propensity,reward,cost\nm00000001,2024-05-01,none,0.5,1,0\n\
                 m00000001,2024-05-01,points_100,0.5,1,0\n";
    fs::write(folder.path().join("twice.csv"), twice).unwrap();
    assert!(refused(folder.path(), "twice.csv", &OFFER).contains("decides twice"));
    assert!(
        refused(folder.path(), "twice.csv", &["--offer", "points_100", "--budget", "0"]).contains("above 0")
    );
}
