use alloc::{vec, vec::Vec};

use super::*;
use crate::{
    features::{FeatureSchema, FeatureSpec},
    transform::{Column, Transform},
    wire,
};

fn schema() -> FeatureSchema {
    let spec = r#"{"events":{"currency":{"code":"USD","exponent":2},"custom_kinds":["failed_login"]},"capacity":16,
        "features":[{"name":"failed","op":"count","events":["failed_login"],"window":"1h"},
                    {"name":"order","op":"lag","each":"event","lag":1,"of":"amount"}]}"#;
    FeatureSchema::compile(serde_json::from_str::<FeatureSpec>(spec).unwrap()).unwrap()
}

fn model() -> RiskModel {
    let column = |source| Column { name: "x".into(), source, steps: Vec::new() };
    let at_least = |feature, value| RiskCondition { feature, at_least: true, value };
    let at_most = RiskCondition { feature: 1, at_least: false, value: 1.0 };
    RiskModel {
        name: "orders 1".into(),
        each: vec!["purchase".into()],
        transform: Transform { columns: vec![column(0), column(1)] },
        typical: vec![0.0, f32::NAN],
        threshold: 0.5,
        rules: vec![
            RiskRule { name: "dear after failures".into(), all: vec![at_least(0, 3.0), at_least(1, 200.0)] },
            RiskRule { name: "a card is tried".into(), all: vec![at_most] },
        ],
        evidence: RiskEvidence { rows: 10, frauds: 1, ..RiskEvidence::default() },
    }
}

#[test]
fn a_rule_holds_where_all_of_its_conditions_do() {
    let model = model();
    let names = |features: [f32; 2]| -> Vec<&str> {
        model.holding(&features).map(|rule| rule.name.as_str()).collect()
    };
    assert_eq!(names([3.0, 200.0]), ["dear after failures"]);
    assert_eq!(names([2.0, 200.0]), [""; 0]);
    assert_eq!(names([3.0, 1.0]), ["a card is tried"]);
    assert_eq!(names([3.0, f32::NAN]), [""; 0], "what is missing meets nothing");
}

#[test]
fn a_model_survives_its_bytes_and_tells_of_itself() {
    let (schema, model) = (schema(), model());
    model.check(&schema).unwrap();
    let read: RiskModel = wire::from_bytes(&wire::to_bytes(&model)).unwrap();
    assert!(read.typical[1].is_nan());
    assert_eq!((read.rules, read.evidence), (model.rules.clone(), model.evidence.clone()));
    let told = serde_json::to_value(model.describe(&schema)).unwrap();
    assert_eq!(told["rules"][0]["when"], "failed >= 3 and order >= 200");
    assert_eq!(told["evidence"]["frauds"], 1);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let bad = |change: fn(&mut RiskModel)| {
        let mut model = model();
        change(&mut model);
        model.check(&schema()).unwrap_err().code()
    };
    for change in [
        |m: &mut RiskModel| m.name.clear(),
        |m| m.each.clear(),
        |m| m.typical.truncate(1),
        |m| m.threshold = 0.0,
        |m| m.threshold = f32::NAN,
        |m| m.rules[0].all.clear(),
        |m| m.rules[1].name = m.rules[0].name.clone(),
        |m| m.rules[0].all[0].feature = 2,
        |m| m.rules[0].all[0].value = f32::INFINITY,
        |m| m.rules = vec![m.rules[0].clone(); MAX_RISK_RULES + 1],
        |m| m.transform.columns[0].source = 2,
    ] as [fn(&mut RiskModel); 11]
    {
        assert_eq!(bad(change), "invalid_spec");
    }
    assert_eq!(bad(|m| m.each = vec!["nothing".into()]), "unknown_kind");
}

#[test]
fn options_are_an_object_and_nothing_else() {
    assert_eq!(RiskOptions::from_json(b"{}").unwrap(), RiskOptions { reasons: 3 });
    for bad in ["[3]", "3", "{\"reason\":1}", "{\"reasons\":-1}"] {
        assert_eq!(RiskOptions::from_json(bad.as_bytes()).unwrap_err().code(), "invalid_input", "{bad}");
    }
}
