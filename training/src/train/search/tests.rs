//! What a search must find, keep and refuse, on made-up rows.

use std::fs;

use tiercast_core::{FeatureSchema, Period};

use super::*;
use crate::{
    dataset::{Dataset, RowKey},
    models::mix,
    project::{TierCut, TierPlan},
};

/// A number in 0…1 that depends on the seed alone.
fn number(seed: u64) -> f64 {
    (mix(seed) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Folds of members with two features, of whom those are in the high tier who have exactly one of them, but for some
/// noise. With the default settings a tree looks at one feature only and so cannot know.
fn either_or(members: u64) -> Vec<Prepared> {
    let spec = r#"{"events":{"currency":{"code":"USD","exponent":2}},"capacity":64,
        "features":[{"name":"spend","op":"sum","of":"amount"},{"name":"recency","op":"recency"}]}"#;
    let features: Vec<[f64; 2]> = (0..members).map(|at| [number(at * 3), number(at * 3 + 1)]).collect();
    let target = |(at, [a, b]): (u64, &[f64; 2])| {
        let high = ((*a > 0.5) != (*b > 0.5)) != (number(at * 3 + 2) < 0.1);
        if high { 100 + at as i64 } else { at as i64 % 50 }
    };
    let dataset = Dataset {
        schema: FeatureSchema::compile(serde_json::from_str(spec).unwrap()).unwrap(),
        rows: (0..members)
            .map(|at| RowKey { member: format!("{at:04}"), as_of: Default::default() })
            .collect(),
        features: features.iter().flatten().map(|x| *x as f32).collect(),
        current_spend: vec![0; members as usize],
        target_spend: (0..members).zip(&features).map(target).collect(),
        next_purchase: vec![f32::NAN; members as usize],
        categories: Vec::new(),
        warnings: Vec::new(),
    };
    let plan = TierPlan {
        names: ["low", "high"].map(String::from).to_vec(),
        period: Period::Quarter,
        cut: TierCut::Thresholds(vec![0, 100]),
    };
    let member = folds::member_numbers(&dataset);
    let rows: Vec<usize> = (0..dataset.len()).collect();
    let splits = folds::cross_validation(&rows, &member, 3, 7);
    splits.into_iter().map(|split| folds::prepare(&dataset, &member, &plan, split).unwrap()).collect()
}

const PLAN: Plan = Plan { trials: Some(20), budget: None, seed: 7, device: Device::Cpu, threads: 2 };

fn boosting(plan: &Plan, folds: &[Prepared], file: &Path) -> anyhow::Result<(Params, Searched)> {
    let mut found = run(plan, &[Kind::SameTier, Kind::Logistic, Kind::Boosting], folds, file)?;
    assert_eq!(found.len(), 1, "the others have no settings");
    Ok(found.remove(&Kind::Boosting).unwrap())
}

/// Lines of a file as (trial, fold).
fn lines(file: &Path) -> Vec<(usize, usize)> {
    let text = fs::read_to_string(file).unwrap();
    let line = |line: &str| serde_json::from_str::<Line>(line).unwrap();
    text.lines().skip(1).map(line).map(|line| (line.trial, line.fold)).collect()
}

#[test]
fn it_finds_what_the_defaults_cannot_know() {
    let (folder, folds) = (tempfile::tempdir().unwrap(), either_or(600));
    let file = folder.path().join(FILE);
    let (params, searched) = boosting(&PLAN, &folds, &file).unwrap();
    let best = searched.best.as_ref().unwrap();
    let default_loss = searched.default_loss.unwrap();
    assert!(params.boosting.inputs > 0.5, "{params:?}");
    assert!(default_loss > 0.65 && best.loss < 0.5, "{searched:?}");
    assert!(searched.replaced && best.settings == params.of(Kind::Boosting));
    assert!((best.difference.value - (best.loss - default_loss)).abs() < 1e-9 && best.difference.high < 0.0);
    assert_eq!((searched.trials, searched.cut_short), (20, false));

    // 19 trials beside the defaults are a round of 16 and one of 3; the defaults, bad as they are, stay to the end.
    let of_fold = |fold| lines(&file).iter().filter(|line| line.1 == fold).count();
    assert_eq!([1, 2, 3].map(of_fold), [1 + 16 + 3, 1 + 8 + 2, 1 + 4 + 1]);
    assert_eq!(searched.finalists, 1 + 4 + 1);
    assert_eq!(planned(20, 3), lines(&file).len());
    assert_eq!(lines(&file)[..3], [(0, 1), (0, 2), (0, 3)]);
}

#[test]
fn a_search_that_was_stopped_ends_as_one_that_was_not() {
    let (folder, folds) = (tempfile::tempdir().unwrap(), either_or(120));
    let file = folder.path().join(FILE);
    let plan = Plan { trials: Some(10), threads: 1, ..PLAN };
    let whole = boosting(&plan, &folds, &file).unwrap();
    let bytes = fs::read(&file).unwrap();
    for keep in [0, 5, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1, bytes.len()] {
        fs::write(&file, &bytes[..keep]).unwrap();
        let again = boosting(&Plan { threads: 3, ..plan.clone() }, &folds, &file).unwrap();
        assert_eq!(again, whole, "{keep} bytes kept");
        assert!(fs::read(&file).unwrap() == bytes, "{keep} bytes kept");
    }
    // More trials go on from those, and fewer look at their own only.
    let more = boosting(&Plan { trials: Some(14), ..plan.clone() }, &folds, &file).unwrap();
    assert_eq!(more.1.trials, 14);
    assert_eq!(boosting(&plan, &folds, &file).unwrap(), whole);
}

#[test]
fn a_file_of_another_search_is_refused() {
    let (folder, folds) = (tempfile::tempdir().unwrap(), either_or(90));
    let file = folder.path().join(FILE);
    let plan = Plan { trials: Some(3), ..PLAN };
    boosting(&plan, &folds, &file).unwrap();
    let before = fs::read(&file).unwrap();
    let refused = |plan: &Plan, folds: &[Prepared], why: &str| {
        let error = format!("{:#}", boosting(plan, folds, &file).unwrap_err());
        assert!(error.contains(why) && error.contains(FILE), "{error}");
    };
    refused(&Plan { seed: 8, ..plan.clone() }, &folds, "another seed");
    refused(&plan, &either_or(93), "other rows");
    refused(&plan, &folds[..2], "another number of folds");
    let tensors = burn::tensor::Device::flex();
    let device = Device::Card { name: "a card".into(), software: false, tensors };
    refused(&Plan { device, ..plan.clone() }, &folds, "another --device");
    assert!(fs::read(&file).unwrap() == before, "nothing is written into it");

    let text = String::from_utf8(before).unwrap();
    let changed = |from: &str, to: &str| fs::write(&file, text.replacen(from, to, 1)).unwrap();
    changed("\"depth\":", "\"depth\":9");
    refused(&plan, &folds, "other settings for trial 0");
    changed("\"trial\":1", "\"trial\":one");
    refused(&plan, &folds, "damaged in line 5");
    changed("\"burn\",\"version\":\"", "\"burn\",\"version\":\"9");
    refused(&plan, &folds, "other versions");
    changed("\"platform\":\"", "\"platform\":\"moon-");
    refused(&plan, &folds, "another kind of machine");
    changed("{\"format\"", "[\"format\"");
    refused(&plan, &folds, "not a search's");
}

#[test]
fn no_fit_begins_when_the_time_is_over() {
    let (folder, folds) = (tempfile::tempdir().unwrap(), either_or(90));
    let file = folder.path().join(FILE);
    let none = Plan { trials: None, budget: Some(Duration::ZERO), ..PLAN };
    let (params, searched) = boosting(&none, &folds, &file).unwrap();
    assert_eq!((params, searched.trials, searched.cut_short), (Params::default(), 0, true));
    assert!(lines(&file).is_empty());
    // What is known from before is used.
    let plan = Plan { trials: Some(6), ..PLAN };
    let (params, known) = boosting(&plan, &folds, &file).unwrap();
    let (again, searched) =
        boosting(&Plan { budget: Some(Duration::ZERO), ..plan.clone() }, &folds, &file).unwrap();
    assert_eq!((again, searched), (params, known));
    // Without a number of trials it goes on until the time is over.
    let brief = Plan { trials: None, budget: Some(Duration::from_secs(1)), ..PLAN };
    let began = Instant::now();
    let (_, searched) = boosting(&brief, &folds, &file).unwrap();
    assert!(searched.cut_short && searched.trials > 6 && began.elapsed() < Duration::from_secs(30));
    assert!(searched.finalists > 2, "what it begins it mostly ends: {searched:?}");
}

#[test]
fn the_defaults_stay_unless_a_trial_is_better_by_more_than_a_standard_error() {
    let (folder, folds) = (tempfile::tempdir().unwrap(), either_or(60));
    let ledger = Ledger::open(&folder.path().join(FILE), Head::new(&folds, 7, "cpu")).unwrap();
    let bar = ProgressBar::hidden();
    let (plan, kind, until, defaults) = (&PLAN, Kind::Boosting, None, Vec::new());
    let stands = Mutex::default();
    let search = Search { plan, kind, folds: &folds, until, ledger: &ledger, bar: &bar, defaults, stands };
    let searched = Searched {
        trials: 2,
        finalists: 2,
        cut_short: false,
        default_loss: Some(0.5),
        best: None,
        replaced: false,
    };
    // Four members whose loss differs by these.
    for (differences, replaced) in [
        ([-0.4, -0.2, -0.1, -0.1], true),
        ([-0.4, 0.3, -0.1, -0.1], false),
        ([0.0; 4], false),
        ([0.1, 0.2, 0.1, 0.1], false),
        ([-0.1; 4], true),
    ] {
        let mut tally = Tally::default();
        for half in differences.chunks(2) {
            tally.add(&Line {
                model: "boosting".into(),
                trial: 1,
                fold: 1,
                settings: Value::Null,
                members: 2,
                loss: Some(0.5 + half.iter().sum::<f64>() / 2.0),
                difference: half.iter().sum(),
                squares: half.iter().map(|x| x * x).sum(),
            });
        }
        let mean = differences.iter().sum::<f64>() / 4.0;
        let variance = differences.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 3.0;
        assert!((tally.mean() - mean).abs() < 1e-12 && (tally.loss() - 0.5 - mean).abs() < 1e-12);
        assert!((tally.error() - (variance / 4.0).sqrt()).abs() < 1e-9, "{differences:?}");
        let (params, found) = search.choose(searched.clone(), Some((1, tally)));
        assert_eq!(found.replaced, replaced, "{differences:?}");
        assert_eq!(params == Params::default(), !replaced);
    }
    let mut hopeless = Tally { members: 4.0, ..Tally::default() };
    hopeless.total = f64::INFINITY;
    assert_eq!(search.choose(searched.clone(), Some((1, hopeless))), (Params::default(), searched));
}

#[test]
fn trials_that_time_left_out_come_next() {
    let (folder, folds) = (tempfile::tempdir().unwrap(), either_or(90));
    let file = folder.path().join(FILE);
    let plan = Plan { trials: Some(8), ..PLAN };
    let whole = boosting(&plan, &folds, &file).unwrap();
    // Without time, the trials that are not known are left out, and none is counted twice.
    let text = fs::read_to_string(&file).unwrap();
    let known = text.lines().filter(|line| !line.contains("\"trial\":3,") && !line.contains("\"trial\":5,"));
    fs::write(&file, known.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let brief = Plan { budget: Some(Duration::ZERO), ..plan.clone() };
    let (_, searched) = boosting(&brief, &folds, &file).unwrap();
    assert_eq!((searched.trials, searched.cut_short), (6, true));
    assert_eq!(lines(&file).iter().filter(|line| line.0 == 3 || line.0 == 5).count(), 0);
    assert_eq!(boosting(&plan, &folds, &file).unwrap(), whole);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_model_that_cannot_be_trained_says_why() {
    let (folder, mut folds) = (tempfile::tempdir().unwrap(), either_or(80));
    folds[1].train.inputs.fill(f32::NAN);
    let plan = Plan { trials: Some(3), ..PLAN };
    let error = run(&plan, &[Kind::Dnn], &folds, &folder.path().join(FILE)).unwrap_err();
    assert!(error.to_string().contains("dnn cannot be trained with its defaults: "), "{error}");
    assert!(error.to_string().contains("no finite loss"), "{error}");
}

#[test]
fn networks_are_searched_too() {
    let (folder, folds) = (tempfile::tempdir().unwrap(), either_or(80));
    let plan = Plan { trials: Some(3), ..PLAN };
    let found = run(&plan, &[Kind::Dnn, Kind::Corn], &folds, &folder.path().join(FILE)).unwrap();
    for kind in [Kind::Dnn, Kind::Corn] {
        let searched = &found[&kind].1;
        assert_eq!((searched.trials, searched.best.is_some()), (3, true));
    }
    let nothing = run(&plan, &[Kind::Linear], &folds, &folder.path().join(FILE)).unwrap_err().to_string();
    assert!(nothing.contains("add \"boosting\""), "{nothing}");
}

#[test]
fn trials_are_in_their_ranges_and_come_back_from_json() {
    let mut leaves = std::collections::BTreeSet::new();
    for number in 1..400 {
        let params = Params::trial(Kind::Boosting, number, 7);
        let tried = params.boosting;
        assert!((0.01..=0.2).contains(&tried.rate) && (0.15..=1.0).contains(&tried.inputs), "{tried:?}");
        assert!((4..=64).contains(&tried.leaves) && (2..=8).contains(&tried.depth), "{tried:?}");
        let text = params.of(Kind::Boosting).to_string();
        assert_eq!(serde_json::from_str::<models::boosting::Params>(&text).unwrap(), tried);
        assert!(params == Params::trial(Kind::Boosting, number, 7));
        assert!(params != Params::trial(Kind::Boosting, number, 8));
        leaves.insert(tried.leaves);
        let params = Params::trial(Kind::Dnn, number, 7);
        let tried = params.dnn.clone();
        assert!(
            (1..=3).contains(&tried.hidden.len())
                && tried.hidden.iter().all(|units| (4..=128).contains(units))
        );
        assert!((0.0..=0.5).contains(&tried.dropout) && (1e-3..=3.0).contains(&tried.decay), "{tried:?}");
        assert!((2e-4..=5e-3).contains(&tried.rate) && (16..=128).contains(&tried.batch), "{tried:?}");
        let text = params.of(Kind::Dnn).to_string();
        assert_eq!(serde_json::from_str::<models::dnn::Params>(&text).unwrap(), tried);
    }
    assert!(leaves.contains(&4) && leaves.contains(&64) && leaves.len() > 40, "{leaves:?}");
    assert_eq!(Params::trial(Kind::Dnn, 0, 7), Params::default());
}

#[test]
fn a_time_has_a_unit() {
    for (text, seconds) in [("90s", 90), ("10m", 600), ("10min", 600), ("2h", 7200)] {
        assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds));
    }
    for text in ["", "10", "m", "0s", "-1s", "1.5h", "9999999999999999999h", "10 m", "10d"] {
        let error = duration(text).unwrap_err().to_string();
        assert!(error.contains("10m"), "{text}: {error}");
    }
}
