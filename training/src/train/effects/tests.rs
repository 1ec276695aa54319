//! The effects of trees whose every answer is known.

use tiercast_core::{FeatureSchema, Period};

use super::*;
use crate::{
    dataset::RowKey,
    models::{Forest, Node, Tree},
    project::{TierCut, TierPlan},
    train::folds::{Split, prepare},
};

/// Row i: spend i, recency i modulo 4, which is missing in every tenth row, and one order.
fn dataset() -> Dataset {
    let spec = r#"{"events":{"currency":{"code":"USD","exponent":2}},"capacity":64,"features":[
        {"name":"spend","op":"sum","of":"amount"},{"name":"recency","op":"recency"},
        {"name":"category","op":"mode","of":"category"},{"name":"orders","op":"count"}]}"#;
    let recency = |i: i32| if i % 10 == 0 { f32::NAN } else { (i % 4) as f32 };
    Dataset {
        schema: FeatureSchema::compile(serde_json::from_str(spec).unwrap()).unwrap(),
        rows: (0..100).map(|i| RowKey { member: format!("m{i:03}"), as_of: Default::default() }).collect(),
        features: (0..100).flat_map(|i| [i as f32, recency(i), (i % 2) as f32, 1.0]).collect(),
        current_spend: vec![0; 100],
        target_spend: (0..100).collect(),
        next_purchase: vec![f32::NAN; 100],
        categories: Vec::new(),
        warnings: Vec::new(),
    }
}

/// Of two tiers, the upper one's score is 4 where spend is above 49.5, and 1 more where recency is above 1.5 or missing.
fn forest(inputs: usize) -> Forest {
    let stump = |input: u32, at_most: f32, above: f32| Tree {
        tier: 1,
        nodes: vec![
            Node::Branch { input, at_most, missing_left: false, left: 1, right: 2 },
            Node::Leaf(0.0),
            Node::Leaf(above),
        ],
    };
    Forest { inputs, tiers: 2, base: vec![0.0; 2], trees: vec![stump(0, 49.5, 4.0), stump(1, 1.5, 1.0)] }
}

fn effects() -> Vec<Effect> {
    let data = dataset();
    let plan = TierPlan {
        names: ["A", "B"].map(String::from).to_vec(),
        period: Period::Quarter,
        cut: TierCut::Shares(vec![0.5, 0.5]),
    };
    let split = Split { fold: None, train: (0..100).collect(), held_out: (20..60).collect() };
    let prepared = prepare(&data, &(0..100).collect::<Vec<u32>>(), &plan, split).unwrap();
    let model = Model::Trees(forest(prepared.plain.width()));
    let fitted = Fitted { model, curve: Vec::new(), l2: None };
    let feature = |name: &str, worsening| Importance {
        feature: name.into(),
        description: String::new(),
        worsening,
        spread: 0.0,
    };
    let mut importance = vec![feature("orders", 0.4); MOST_FEATURES];
    importance.extend([feature("category", 0.3), feature("recency", 0.2), feature("spend", 0.1)]);
    partial_dependence(&data, &[(&prepared, &fitted)], &prepared.split.train, &importance, 1)
}

/// The expected tier of two whose scores are 0 and this.
fn expected(score: f64) -> f64 {
    1.0 + 1.0 / (1.0 + (-score).exp())
}

#[test]
fn an_effect_is_the_mean_over_the_held_out_rows() {
    let found = effects();
    assert_eq!(found.iter().map(|e| e.feature.as_str()).collect::<Vec<_>>(), ["recency", "spend"]);
    let spend = &found[1];
    assert_eq!((spend.rows, spend.missing), (40, None));
    // Of rows 20 to 59, those whose recency is 2, 3 or missing: 20 less the tens 30 and 50, plus 20, 30, 40 and 50.
    let late = 22.0 / 40.0;
    let mean = |score: f64| late * expected(score + 1.0) + (1.0 - late) * expected(score);
    for point in &spend.points {
        let expected = mean(if point.value > 49.5 { 4.0 } else { 0.0 });
        assert!((point.expected_tier - expected).abs() < 1e-6, "{point:?} is not {expected}");
    }
    assert_eq!((spend.points.len(), spend.points[0].value, spend.points[20].value), (21, 2.0, 97.0));
}

#[test]
fn few_values_are_few_points_and_missing_is_apart() {
    let recency = &effects()[0];
    assert_eq!(recency.points.iter().map(|point| point.value).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0]);
    // Rows 50 to 59 of 20 to 59 spend more than 49.5.
    let mean = |score: f64| 0.25 * expected(score + 4.0) + 0.75 * expected(score);
    assert!((recency.points[1].expected_tier - mean(0.0)).abs() < 1e-6);
    assert!((recency.points[2].expected_tier - mean(1.0)).abs() < 1e-6);
    assert!((recency.missing.unwrap() - mean(1.0)).abs() < 1e-6, "a missing value goes right");
}

#[test]
fn the_same_seed_gives_the_same_effects() {
    assert_eq!(effects(), effects());
    assert!(grid(&[f32::NAN]).is_empty());
}
