//! Nobody judges himself, and what is fitted to a fold's rows moves no figure of that fold.

use super::*;
use crate::{
    dataset::{Dataset, RowKey},
    models::{fit, mix},
    project::{TierCut, TierPlan},
    train::folds::{self, Split},
};
use tiercast_core::FeatureSchema;

const KINDS: [Kind; 3] = [Kind::SameTier, Kind::Logistic, Kind::Boosting];

fn schema(features: &str) -> FeatureSchema {
    let spec = format!(
        r#"{{"events":{{"currency":{{"code":"USD","exponent":2}}}},"capacity":64,"features":[{features}]}}"#
    );
    FeatureSchema::compile(serde_json::from_str(&spec).unwrap()).unwrap()
}

/// 300 members: the spend of this period, a number that says a little, and the next period's spend.
fn prepared() -> Vec<Prepared> {
    let noise = |i: u64| (mix(i) >> 11) as f64 / (1_u64 << 53) as f64;
    let spend = |i: u64| (noise(i) * 1e5) as i64;
    let data = Dataset {
        schema: schema(
            r#"{"name":"spend","op":"sum","of":"amount","window":"91d"},{"name":"recency","op":"recency"}"#,
        ),
        rows: (0..300).map(|i| RowKey { member: format!("m{i:03}"), as_of: Timestamp::default() }).collect(),
        features: (0..300).flat_map(|i| [spend(i) as f32 / 100.0, (noise(i + 9000) * 50.0) as f32]).collect(),
        current_spend: (0..300).map(spend).collect(),
        target_spend: (0..300).map(|i| spend(i) + (noise(i + 5000) * 8e4) as i64).collect(),
        next_purchase: vec![f32::NAN; 300],
        categories: Vec::new(),
        warnings: Vec::new(),
    };
    let plan = TierPlan {
        names: ["A", "B", "C"].map(String::from).to_vec(),
        period: Period::Quarter,
        cut: TierCut::Shares(vec![0.5, 0.3, 0.2]),
    };
    let member = folds::member_numbers(&data);
    let all: Vec<usize> = (0..300).collect();
    let mut splits = folds::cross_validation(&all, &member, 3, 1);
    splits.push(Split { fold: None, train: all, held_out: vec![0, 1, 2] });
    splits.into_iter().map(|split| folds::prepare(&data, &member, &plan, split).unwrap()).collect()
}

fn trained(splits: &[Prepared]) -> Vec<Vec<Fitted>> {
    splits.iter().map(|split| KINDS.map(|kind| fit(kind, 3, &split.train, 5).unwrap()).to_vec()).collect()
}

fn bits(splits: &[Prepared], models: &[&Model]) -> Vec<Vec<u32>> {
    let of = |(split, model): (&Prepared, &&Model)| {
        model.probabilities(&split.train).into_iter().map(f32::to_bits).collect()
    };
    splits.iter().zip(models).map(of).collect()
}

/// What is fitted to the held-out rows of the splits: every split's calibrated models, whether kept or not, and blend.
fn fitted_to(splits: &[Prepared], fitted: &[Vec<Fitted>]) -> [Vec<Vec<u32>>; 2] {
    let out = OutOfFold::new(splits, fitted.iter().map(|fitted| &fitted[1].model));
    let pools = pools(splits, &[out], true);
    let calibrated: Vec<Model> =
        fitted.iter().zip(&pools).map(|(fitted, pool)| fitted[1].model.calibrated(pool)).collect();
    let (blended, _) = blend(splits, fitted, &KINDS, Some(0));
    [
        bits(splits, &calibrated.iter().collect::<Vec<_>>()),
        bits(splits, &blended.iter().map(|fitted| &fitted.model).collect::<Vec<_>>()),
    ]
}

#[test]
fn a_folds_rows_move_nothing_that_they_are_judged_by() {
    let mut splits = prepared();
    let fitted = trained(&splits);
    let before = fitted_to(&splits, &fitted);
    // Other answers and other members in the first fold, and in the test.
    for split in [0, 3] {
        let rows = &mut splits[split].held_out;
        rows.targets.iter_mut().for_each(|tier| *tier = 4 - *tier);
        rows.inputs.iter_mut().for_each(|x| *x = 3.0 - *x);
        rows.plain.iter_mut().for_each(|x| *x = 1e4 - *x);
    }
    let after = fitted_to(&splits, &fitted);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before[0], after[0], "the fold itself");
        assert_ne!(before[1], after[1], "the others learn from it");
        assert_ne!(before[3], after[3], "so does the final fit");
    }
    splits[3].held_out.targets.fill(1);
    assert_eq!(after, fitted_to(&splits, &fitted), "nobody learns from the test");
}

#[test]
fn a_model_that_is_too_sure_is_calibrated_and_one_that_is_not_stays() {
    let splits = prepared();
    let mut fitted = trained(&splits);
    let sure = Pool { weights: vec![4.0], bias: vec![0.0, 1.0, -1.0] };
    fitted.iter_mut().for_each(|fitted| fitted[1].model = fitted[1].model.calibrated(&sure));
    let calibration = calibrate(&splits, &mut fitted, 1);
    assert!(calibration.kept && calibration.weight < 0.5, "{calibration:?}");
    assert!(
        calibration.after.log_loss < calibration.before.log_loss
            && calibration.after.ece < calibration.before.ece
    );
    assert_eq!(quality(&splits, fitted.iter().map(|fitted| &fitted[1].model)), calibration.after);
    // Once more finds next to nothing; where it finds nothing at all, the models stay bit by bit.
    let models =
        |fitted: &[Vec<Fitted>]| bits(&splits, &fitted.iter().map(|f| &f[1].model).collect::<Vec<_>>());
    let before = models(&fitted);
    let again = calibrate(&splits, &mut fitted, 1);
    assert!((again.weight - 1.0).abs() < 0.1, "{again:?}");
    assert_eq!(again.kept, again.after.log_loss < again.before.log_loss);
    assert_eq!(again.kept, models(&fitted) != before);
}

#[test]
fn the_blend_holds_the_rule_if_a_feature_is_the_periods_spend() {
    let splits = prepared();
    let fitted = trained(&splits);
    let (blended, parts) = blend(&splits, &fitted, &KINDS, Some(0));
    assert_eq!(
        parts.iter().map(|part| part.model.as_str()).collect::<Vec<_>>(),
        ["same-tier", "logistic", "boosting"]
    );
    assert!(parts.iter().all(|part| part.weight >= 0.0) && parts.iter().any(|part| part.weight > 0.0));
    let (_, without) = blend(&splits, &fitted, &KINDS, None);
    assert_eq!(without.iter().map(|part| part.model.as_str()).collect::<Vec<_>>(), ["logistic", "boosting"]);
    // A blend is about as good as the best of its parts, or better.
    let loss = |models: Vec<&Model>| quality(&splits, models).log_loss;
    let best = (1..3)
        .map(|kind| loss(fitted.iter().map(|f| &f[kind].model).collect()))
        .fold(f64::INFINITY, f64::min);
    assert!(loss(blended.iter().map(|fitted| &fitted.model).collect()) < best + 0.02);
}

#[test]
fn the_rules_feature_is_the_nearest_to_the_periods_spend() {
    let declared = [
        r#"{"name":"all","op":"sum","of":"amount"}"#,
        r#"{"name":"skipped","op":"sum","of":"amount","window":"91d","skip":"1d"}"#,
        r#"{"name":"other","op":"sum","of":"amount","window":"91d","events":["return"]}"#,
        r#"{"name":"discount","op":"sum","of":"discount","window":"91d"}"#,
        r#"{"name":"month","op":"net_spend","window":"30d"}"#,
        r#"{"name":"near","op":"sum","of":"amount","window":"90d"}"#,
        r#"{"name":"nearer","op":"sum","of":"amount","window":"91d"}"#,
        r#"{"name":"net","op":"net_spend","window":"91d"}"#,
    ];
    let as_of = [Timestamp::parse("2017-07-01").unwrap()];
    let found = |most: usize| {
        let schema = schema(&declared[..most].join(","));
        spend_feature(schema.spec(), Period::Quarter, &as_of)
            .map(|at| schema.spec().features[at].name.clone())
    };
    assert_eq!(found(5), None);
    assert_eq!(found(6).as_deref(), Some("near"));
    assert_eq!(found(7).as_deref(), Some("nearer"));
    assert_eq!(found(8).as_deref(), Some("net"));
    let schema = schema(declared[0]);
    let said = |spend| without_rule(schema.spec(), Period::Quarter, &as_of, spend);
    assert!(said(None).contains("no declared feature") && said(None).contains("window = \"91d\""));
    assert!(said(Some(0)).contains("because all, the spend of a period, is the same"), "{}", said(Some(0)));
}

#[test]
fn a_month_is_as_long_as_months_are_on_average() {
    let schema = schema(r#"{"name":"month","op":"net_spend","window":"30d"}"#);
    let as_ofs = ["2017-03-01", "2017-04-01", "2017-05-01"].map(|date| Timestamp::parse(date).unwrap());
    assert_eq!(spend_feature(schema.spec(), Period::Month, &as_ofs), Some(0));
    assert_eq!(
        spend_feature(schema.spec(), Period::Month, &as_ofs[..1]),
        None,
        "a February alone has 28 days"
    );
    assert!(without_rule(schema.spec(), Period::Month, &as_ofs, None).contains("window = \"30d\""));
}
