//! A made-up run of two models whose errors are known.

use super::*;

/// 200 members; the tiers decided by ours are one too high for the first 50 and right for all others, the rule's are one
/// too low for everyone of tier 2 and more.
fn predictions() -> Predictions {
    let mut all = Predictions { tiers: 3, ..Predictions::default() };
    for model in ["same-tier", "logistic"] {
        for i in 0..200_usize {
            let target = (i % 2 + 1) as u8;
            all.model.push(model.into());
            all.split.push(if i < 150 { CROSS_VALIDATION } else { TEST }.into());
            all.fold.push((i < 150).then_some((i % 3) as i32 + 1));
            all.member.push(format!("m{i}"));
            all.as_of.push(if i < 150 { 0 } else { 86_400_000 });
            all.target.push(target);
            all.target_spend.push(0);
            all.probabilities.extend([0.4, 0.3, 0.3]);
            let ours = if i < 50 { target + 1 } else { target };
            all.decoded.push(if model == "logistic" { ours } else { 1 });
        }
    }
    all
}

fn held(predictions: &Predictions) -> Held<'_> {
    let row = |at: usize| Row {
        at,
        target: predictions.target[at],
        decided: predictions.decoded[at],
        rule: predictions.decoded[at - 200],
    };
    Held { predictions, rows: (200..400).map(row).collect() }
}

#[test]
fn figures_of_a_slice_are_those_of_its_rows() {
    let predictions = predictions();
    let held = held(&predictions);
    let first = |row: &Row| {
        let first = row.at - 200 < 100;
        (u32::from(!first), if first { "first" } else { "rest" }.to_owned())
    };
    let found = held.slicing("half", 7, first).slices;
    assert_eq!((found[0].name.as_str(), found[0].rows, found[0].members), ("first", 100, 100));
    // Of the first 100, ours is one too high for 50; the rule is one too low for the 50 of tier 2.
    let values = [found[0].accuracy, found[0].mae, found[0].bias, found[0].versus_rule].map(|e| e.value);
    assert_eq!(values, [0.5, 0.5, 0.5, 0.0]);
    assert!(found[0].bias.low > 0.35 && found[0].bias.low < 0.45, "{:?}", found[0].bias);
    let rest = [found[1].accuracy, found[1].mae, found[1].bias, found[1].versus_rule].map(|e| e.value);
    assert_eq!(rest, [1.0, 0.0, 0.0, -0.5]);
    assert_eq!((found[1].mae.low, found[1].mae.high), (0.0, 0.0));
    assert!(found[1].versus_rule.high < 0.0);
    assert_eq!(held.slicing("half", 7, first).slices, found);
}

#[test]
fn a_member_is_drawn_with_all_its_rows() {
    let mut predictions = predictions();
    predictions.member = (0..400).map(|at| format!("m{}", at % 200 / 2)).collect();
    let found = held(&predictions).slicing("all", 7, |_| (0, "all".into()));
    assert_eq!((found.slices[0].rows, found.slices[0].members), (200, 100));
}

#[test]
fn small_slices_are_put_together_and_come_last() {
    let predictions = predictions();
    let held = held(&predictions);
    let slices = |label: fn(usize) -> u32| {
        held.slicing("x", 7, |row| (label(row.at - 200), format!("v{}", label(row.at - 200)))).slices
    };
    let names =
        |label| slices(label).into_iter().map(|slice| (slice.name, slice.members)).collect::<Vec<_>>();
    let found = names(|at| if at < 120 { 1 } else { at as u32 });
    assert_eq!(found, [("v1".to_owned(), 120), ("others (80 values)".to_owned(), 80)]);
    let found = names(|at| u32::from(at < 10));
    assert_eq!(found, [("v0".to_owned(), 190), ("v1".to_owned(), 10)], "one small slice keeps its name");
    // Of the last ten, the model is right about all and the rule about half of them.
    let verdicts = |label| slices(label).iter().map(Slice::verdict).collect::<Vec<_>>();
    let found = slices(|at| u32::from(at >= 190));
    assert!(found[1].versus_rule.high < 0.0, "{:?}", found[1]);
    assert_eq!(verdicts(|at| u32::from(at >= 190))[1], None, "ten members are too few for a verdict");
    assert_eq!(verdicts(|at| u32::from(at >= 150))[1], Some(Verdict::Better));
    assert_eq!(verdicts(|at| if at < 180 { 0 } else { at as u32 })[1], None, "nor are 20 others enough");
    assert!(names(|at| (at / 7) as u32).len() == 1, "all are small");
}

#[test]
fn of_slices_of_one_size_the_first_sixteen_stand_alone() {
    let mut predictions = predictions();
    // Each member 20 times, once a fold: 20 folds of 200 members.
    let once = predictions.clone();
    for _ in 1..20 {
        predictions.member.extend(once.member.iter().cloned());
        predictions.target.extend(&once.target);
        predictions.decoded.extend(&once.decoded);
    }
    let row = |at: usize| Row {
        at,
        target: predictions.target[at],
        decided: predictions.decoded[at],
        rule: predictions.decoded[at],
    };
    let held = Held { predictions: &predictions, rows: (0..20 * 400).map(row).collect() };
    let found =
        held.slicing("fold", 7, |row| ((row.at / 400) as u32, format!("fold {}", row.at / 400))).slices;
    let names: Vec<&str> = found.iter().map(|slice| slice.name.as_str()).collect();
    assert_eq!((names.len(), names[0], names[15], names[16]), (17, "fold 0", "fold 15", "others (4 values)"));
}
