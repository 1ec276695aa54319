//! The page and the JSON of a small made-up run.

use super::*;
use crate::{
    models::mix,
    train::{
        predictions::{CROSS_VALIDATION, TEST},
        record::{DataRecord, ModelRecord},
    },
};

/// Two models and the rule on 300 members, whose names would break a careless page.
fn run() -> (RunRecord, Predictions) {
    let tiers = ["Basic", "Silver & <b>", "Gold"];
    let models = ["same-tier", "logistic", "dnn"];
    let mut all = Predictions { tiers: 3, ..Predictions::default() };
    for (at, model) in models.iter().enumerate() {
        for i in 0..300_u64 {
            let target = (mix(i) % 3) as u8 + 1;
            let lucky = mix(i * 7 + at as u64) % 10 < 6 + at as u64;
            let decided = if lucky { target } else { (mix(i + 1) % 3) as u8 + 1 };
            all.model.push((*model).to_owned());
            all.split.push(if i < 200 { CROSS_VALIDATION } else { TEST }.to_owned());
            all.fold.push((i < 200).then_some((i % 5) as i32 + 1));
            all.member.push(format!("<member {i}>"));
            all.as_of.push(0);
            all.target.push(target);
            all.target_spend.push(i64::from(target - 1) * 5000);
            all.probabilities.extend((1..=3).map(|k| if k == decided { 0.7 } else { 0.15 }));
            all.decoded.push(decided);
        }
    }
    let curve = (1..=8).map(|step| CurvePoint {
        step,
        train: 1.0 / f64::from(step),
        validation: 1.1 / f64::from(step),
    });
    let curve: Vec<CurvePoint> = curve.collect();
    let record = RunRecord {
        format: 1,
        producer: "tiercast test".into(),
        project: "a <shop>".into(),
        source: String::new(),
        seed: 7,
        data: DataRecord {
            currency: "USD".into(),
            currency_exponent: 2,
            schema_hash: "00".repeat(32),
            features: 2,
            inputs: 3,
            constant: vec!["month".into()],
            train_as_of: vec!["2017-04-01".into()],
            test_as_of: vec!["2017-07-01".into()],
            train_rows: 200,
            train_members: 200,
            test_rows: 100,
            folds: 5,
            warnings: Vec::new(),
        },
        tiers: tiers
            .iter()
            .zip([0, 5000, 10_000])
            .map(|(name, at_least_minor)| TierRecord {
                name: (*name).into(),
                at_least: format!("{}.00", at_least_minor / 100),
                at_least_minor,
                train_share: 1.0 / 3.0,
            })
            .collect(),
        decode: Decode::Median,
        selected_by: Measure::Mae,
        selected: "dnn".into(),
        models: models
            .iter()
            .map(|name| ModelRecord {
                name: (*name).into(),
                file: None,
                parameters: 0,
                l2: None,
                curve: if *name == "same-tier" { Vec::new() } else { curve.clone() },
                burn_tract_difference: None,
                burn_plan_difference: None,
            })
            .collect(),
        importance: vec![Importance {
            feature: "spend".into(),
            description: "Σ amount of purchase".into(),
            worsening: 0.02,
            spread: 0.001,
        }],
    };
    (record, all)
}

#[test]
fn the_page_has_every_chart_and_nothing_from_outside() {
    let (record, predictions) = run();
    let page = Report::new(record, &predictions).html(&predictions).unwrap();
    for title in [
        "Actual against predicted",
        "Confusion matrix",
        "Tier by tier",
        "Can the probabilities be trusted",
        "Feature importance",
        "Learning curves",
        "Read this before trusting it",
    ] {
        assert!(page.contains(title), "{title}");
    }
    assert_eq!(page.matches("<svg").count(), 9);
    assert_eq!(page.matches("role=\"img\"").count(), 9);
    for foreign in ["http", "<script", "@import", "url(", "NaN", "inf\""] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn names_are_text_and_not_markup() {
    let (record, predictions) = run();
    let page = Report::new(record, &predictions).html(&predictions).unwrap();
    assert!(!page.contains("<b>\"") && !page.contains("Silver & <b>") && !page.contains("a <shop>"));
    assert!(page.contains("a &lt;shop&gt;") && page.contains("Silver &amp; &lt;b&gt;"));
}

#[test]
fn figures_add_up() {
    let (record, predictions) = run();
    let report = Report::new(record, &predictions);
    assert_eq!(report.boards.0.iter().map(|board| board.split.as_str()).collect::<Vec<_>>(), ["test", "cv"]);
    assert_eq!(report.boards.0[0].entries.len(), 1 + 2 * 3);
    for detail in &report.models {
        assert_eq!(detail.confusion.iter().flatten().sum::<u64>(), 100);
        assert_eq!(detail.tiers.iter().map(|tier| tier.rows).sum::<u64>(), 100);
        assert_eq!(detail.reliability.iter().map(|bin| bin.rows).sum::<u64>(), 100);
    }
    assert!(report.headline.contains("same-tier rule"), "{}", report.headline);
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["boards"][0]["entries"][1]["versusRule"]["mae"]["low"].is_number());
}

#[test]
fn reference_figures_appear_only_for_their_own_data() {
    let (record, predictions) = run();
    let report = Report::new(record, &predictions);
    assert!(report.reference.is_none());
    assert!(reference::compare("cdnow", &report.boards.0[0]).is_none(), "100 rows are not CDNOW");
    let mut board = report.boards.0[0].clone();
    board.rows = 23_570;
    let compared = reference::compare("cdnow", &board).unwrap();
    assert_eq!(compared.lines[1].name, "same tier");
    assert!(compared.lines[1].ours.is_some() && compared.lines[2].ours.is_none());

    let rule = board.entries.iter_mut().find(|entry| entry.model == "same-tier").unwrap();
    rule.measures.accuracy.value = 0.9;
    rule.measures.mae = crate::metrics::Estimate { value: 0.75, low: 0.73, high: 0.77 };
    assert!(reference::compare("cdnow", &board).unwrap().lines[1].falls_short, "its MAE is 0.738");
    let rule = board.entries.iter_mut().find(|entry| entry.model == "same-tier").unwrap();
    rule.measures.mae.value = 0.74;
    assert!(!reference::compare("cdnow", &board).unwrap().lines[1].falls_short);
}
