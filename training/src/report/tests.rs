//! The page and the JSON of a small made-up run.

use super::*;
use crate::{
    file_hash::FileHash,
    models::mix,
    train::{
        effects::{Effect, EffectPoint},
        predictions::{CROSS_VALIDATION, TEST},
        provenance::Provenance,
        quality::{Drift, FeatureQuality, Side},
        record::{DataRecord, ModelRecord},
    },
};

fn quality(feature: &str, missing: f64, psi: f64) -> FeatureQuality {
    let side = Side { missing, outliers: 0.01, median: Some(4.0) };
    FeatureQuality {
        feature: feature.into(),
        limits: Some((0.0, 9.0)),
        train: side,
        test: Some(side),
        drift: Some(Drift { psi, chance: 0.01 }),
    }
}

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
            streamed_rows: None,
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
                settings: serde_json::Value::Null,
                search: None,
                curve: if *name == "same-tier" { Vec::new() } else { curve.clone() },
                calibration: None,
                parts: Vec::new(),
                tract_difference: None,
                plan_difference: None,
            })
            .collect(),
        importance: vec![Importance {
            feature: "spend".into(),
            description: "Σ amount of purchase".into(),
            worsening: 0.02,
            spread: 0.001,
        }],
        effects: vec![Effect {
            feature: "spend <91d>".into(),
            rows: 100,
            points: [(0.0, 1.5), (5.0, 1.75), (20_000.0, 2.5)]
                .map(|(value, expected_tier)| EffectPoint { value, expected_tier })
                .to_vec(),
            missing: Some(1.9),
        }],
        quality: vec![quality("calm", 0.0, 0.02), quality("moved", 0.25, 0.4)],
        profile: None,
        recommend: None,
        provenance: Provenance {
            command: "tiercast train -p tiercast.toml".into(),
            device: "Card & Sons (Vulkan)".into(),
            tables: vec![FileHash { name: "sales.csv".into(), bytes: 1234, sha256: "ab".repeat(32) }],
            ..Provenance::default()
        },
    };
    (record, all)
}

#[test]
fn the_page_has_every_chart_and_nothing_from_outside() {
    let (record, predictions) = run();
    let page = Report::new(record, &predictions, &Attributes::default()).html(&predictions).unwrap();
    for title in [
        "Actual against predicted",
        "Confusion matrix",
        "Tier by tier",
        "Can the probabilities be trusted",
        "Feature importance",
        "Learning curves",
        "How many in each tier",
        "How far off",
        "Cumulative gains, Gold",
        "Lift, Gold",
        "By tier of the current period",
        "By fold of the cross-validation",
        "How the model answers to a feature",
        "where the feature is missing",
        "Drift between training and test",
        "Missing values",
        "1 of 2 features are missing",
        "tiercast train -p tiercast.toml -o RUN",
        "abababab",
        "Read this before trusting it",
    ] {
        assert!(page.contains(title), "{title}");
    }
    // 9 of the models, 2 of tiers and errors, 2 of gains, 4 of slices, 1 effect, 2 of quality.
    assert_eq!(page.matches("<svg").count(), 20);
    assert_eq!(page.matches("role=\"img\" aria-label=\"").count(), 20);
    assert!(page.len() < 400_000, "{} bytes", page.len());
    for foreign in ["http", "<script", "@import", "url(", "NaN", "inf\""] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn every_element_is_closed_in_its_order_and_every_link_leads_somewhere() {
    let (record, predictions) = run();
    let page = Report::new(record, &predictions, &Attributes::default()).html(&predictions).unwrap();
    let (style, end) = (page.find("<style>").unwrap(), page.find("</style>").unwrap());
    let page = page[..style].to_owned() + &page[end + "</style>".len()..];
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1) {
        let tag = &tag[..tag.find('>').unwrap_or_else(|| panic!("<{tag}"))];
        let name = tag.trim_start_matches('/').split_whitespace().next().unwrap().trim_end_matches('/');
        let stands_alone = tag.ends_with('/') || matches!(name, "!doctype" | "meta" | "br");
        match tag.starts_with('/') {
            true => assert_eq!(open.pop(), Some(name)),
            false if !stands_alone => open.push(name),
            false => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    for link in page.split("href=\"#").skip(1) {
        let name = link.split('"').next().unwrap();
        assert_eq!(page.matches(&format!("id=\"{name}\"")).count(), 1, "{name}");
    }
}

#[test]
fn the_same_run_gives_the_same_page() {
    let page = || {
        let (record, predictions) = run();
        let report = Report::new(record, &predictions, &Attributes::default());
        (serde_json::to_string(&report).unwrap(), report.html(&predictions).unwrap())
    };
    assert!(page() == page());
}

#[test]
fn a_run_from_before_there_were_effects_still_has_a_page() {
    let (mut record, predictions) = run();
    record.provenance.command.push_str(" --budget 600s");
    let page = Report::new(record.clone(), &predictions, &Attributes::default()).html(&predictions).unwrap();
    assert!(page.contains("search.jsonl"));
    (record.effects, record.quality, record.provenance) = (Vec::new(), Vec::new(), Provenance::default());
    let page = Report::new(record, &predictions, &Attributes::default()).html(&predictions).unwrap();
    assert!(!page.contains("The data it learned from") && page.contains("tiercast evaluate RUN"));
}

#[test]
fn errors_are_shares_of_rows_by_distance() {
    let (record, predictions) = run();
    let mut detail = Report::new(record, &predictions, &Attributes::default()).models.remove(1);
    detail.confusion = vec![vec![4, 1, 0], vec![2, 6, 1], vec![1, 0, 5]];
    assert_eq!(detail.errors(), [0.05, 0.1, 0.75, 0.1, 0.0]);
}

#[test]
fn names_are_text_and_not_markup() {
    let (record, predictions) = run();
    let page = Report::new(record, &predictions, &Attributes::default()).html(&predictions).unwrap();
    assert!(!page.contains("<b>\"") && !page.contains("Silver & <b>") && !page.contains("a <shop>"));
    assert!(page.contains("a &lt;shop&gt;") && page.contains("Silver &amp; &lt;b&gt;"));
}

#[test]
fn figures_add_up() {
    let (record, predictions) = run();
    let report = Report::new(record, &predictions, &Attributes::default());
    assert_eq!(report.boards.0.iter().map(|board| board.split.as_str()).collect::<Vec<_>>(), ["test", "cv"]);
    assert_eq!(report.boards.0[0].entries.len(), 1 + 2 * 4);
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
    let report = Report::new(record, &predictions, &Attributes::default());
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
