use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{policy::best, *};
use crate::{
    money::Currency,
    tasks::tier::{Tier, TierRules},
    time::Period,
    transform::{Column, Transform},
    wire,
};

fn action(name: &str, points: u64, share: f32) -> Action {
    Action { name: name.into(), points, share }
}

fn evidence() -> Evidence {
    Evidence {
        method: "doubly robust, bootstrap 95 %".into(),
        value: 1.2,
        lower: 1.1,
        upper: 1.3,
        incumbent: 1.0,
        rows: 1000,
        effective_rows: 400.0,
        cost: 0.2,
        budget: 0.25,
    }
}

fn learned(choice: Choice, explore: f32) -> Policy {
    let column = Column { name: "x".into(), source: 0, steps: Vec::new() };
    Policy {
        learned: Some(Learned {
            learner: "test".into(),
            transform: Transform { columns: vec![column] },
            choice,
            explore,
            evidence: evidence(),
        }),
        ..experiment()
    }
}

fn experiment() -> Policy {
    Policy {
        name: "points 1".into(),
        actions: vec![action("none", 0, 0.5), action("50", 50, 0.3), action("100", 100, 0.2)],
        period: Period::Month,
        salt: 7,
        cap: 120,
        lift: 1,
        learned: None,
    }
}

fn rules() -> TierRules {
    let tier = |name: &str, at_least| Tier { name: name.into(), at_least };
    TierRules { tiers: vec![tier("A", 0), tier("B", 100), tier("C", 500)], period: Period::Month }
}

fn of(policy: Policy) -> Decider {
    Decider { policy, engine: None }
}

fn month() -> Timestamp {
    Timestamp::parse("2017-10-01").unwrap()
}

#[test]
fn an_experiment_draws_by_its_shares() {
    let decider = of(experiment());
    let scores = decider.run(&mut Workspace::default(), &[]).unwrap();
    let chances = decider.policy.chances(&scores, &[true; 3], None).unwrap();
    assert_eq!(chances, [0.5, 0.3, 0.2]);
    let mut counts = [0_u32; 3];
    for member in 0..10_000 {
        counts[decider.draw(&chances, &member.to_string(), month())] += 1;
    }
    // Three standard deviations of 10,000 draws are at most 150.
    for (count, chance) in counts.into_iter().zip(&chances) {
        assert!((count as f32 - 10_000.0 * chance).abs() < 150.0, "{counts:?}");
    }
}

#[test]
fn who_asks_again_within_the_period_gets_the_same() {
    let decider = of(experiment());
    let draw = |salt, member: &str, start| uniform(salt, member, start);
    assert_eq!(draw(7, "a", month()), draw(7, "a", month()));
    let november = Timestamp::parse("2017-11-01").unwrap();
    assert_ne!(draw(7, "a", month()), draw(7, "a", november));
    assert_ne!(draw(7, "a", month()), draw(8, "a", month()));
    assert_ne!(draw(7, "a", month()), draw(7, "b", month()));
    assert_eq!(decider.draw(&[0.0, 1.0, 0.0], "a", month()), 1);
    // Whatever rounding leaves of the sum, an action without a chance is never drawn.
    assert_eq!(decider.draw(&[0.0, 1e-9, 0.0], "a", month()), 1);
}

#[test]
fn the_draw_is_the_same_on_every_machine() {
    let bits =
        ["", "a", "member 42", "会员"].map(|member| (uniform(7, member, month()) * 16_777_216.0) as u32);
    // Computed apart from this code, from the formulas in the text.
    assert_eq!(bits, [3_272_157, 12_898_450, 2_015_020, 7_372_864]);
}

#[test]
fn what_is_left_shares_the_chances() {
    let decider = of(learned(Choice::Sample, 0.0));
    let chances = decider.policy.chances(&[0.5, 0.25, 0.25], &[true, false, true], None).unwrap();
    assert!((chances[0] - 2.0 / 3.0).abs() < 1e-6 && chances[1] == 0.0, "{chances:?}");
    let none_wanted = decider.policy.chances(&[1.0, 0.0, 0.0], &[false, true, true], None).unwrap();
    assert_eq!(none_wanted, [0.0, 0.5, 0.5]);
    let error = decider.policy.chances(&[1.0, 0.0, 0.0], &[false; 3], None).unwrap_err();
    assert_eq!(error.code(), "invalid_input");
}

#[test]
fn exploring_gives_every_action_a_chance() {
    let chances =
        learned(Choice::Best { margin: 0.0 }, 0.3).chances(&[1.0, 3.0, 2.0], &[true; 3], None).unwrap();
    let expected = [0.1, 0.8, 0.1];
    assert!(chances.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{chances:?}");
}

#[test]
fn a_tier_stays_while_the_best_is_hardly_better() {
    let all = [true; 3];
    assert_eq!(best(&[1.0, 1.2, 1.1], &all, Some(0), 0.25), Some(0));
    assert_eq!(best(&[1.0, 1.3, 1.1], &all, Some(0), 0.25), Some(1));
    // Who may not keep what he has gets the best of the rest.
    assert_eq!(best(&[1.0, 1.2, 1.1], &[false, true, true], Some(0), 0.25), Some(1));
    assert_eq!(best(&[2.0, 2.0, 1.0], &all, None, 0.0), Some(0));
}

#[test]
fn nobody_falls_below_the_promise_or_rises_beyond_the_lift() {
    let policy = experiment();
    let reach = |promised| (1..=3).filter(|tier| policy.reaches(promised, *tier)).collect::<Vec<u8>>();
    assert_eq!((reach(1), reach(2), reach(3)), (vec![1, 2], vec![2, 3], vec![3]));
}

#[test]
fn points_stay_within_the_cap() {
    let policy = experiment();
    let afforded = |given| policy.actions.iter().filter(|action| policy.affords(action, given)).count();
    assert_eq!([0, 20, 21, 70, 71, u64::MAX].map(afforded), [3, 3, 2, 2, 1, 1]);
    let free = Policy { cap: 0, ..experiment() };
    assert!(free.affords(&free.actions[2], u64::MAX));
}

#[test]
fn what_is_not_proven_is_refused() {
    let check = |policy: &Policy, task| policy.check(task, 1, &rules()).map_err(|error| error.to_string());
    check(&learned(Choice::Sample, 0.1), Task::Reward).unwrap();
    let with = |change: &dyn Fn(&mut Evidence)| {
        let mut policy = learned(Choice::Sample, 0.1);
        change(&mut policy.learned.as_mut().unwrap().evidence);
        check(&policy, Task::Reward).unwrap_err()
    };
    let message = with(&|evidence| evidence.lower = 0.93);
    assert!(message.contains("0.930000") && message.contains("1.000000"), "{message}");
    with(&|evidence| evidence.lower = 1.0);
    with(&|evidence| evidence.lower = f64::NAN);
    with(&|evidence| evidence.incumbent = f64::NAN);
    with(&|evidence| evidence.lower = f64::INFINITY);
}

#[test]
fn policies_that_contradict_themselves_are_refused() {
    type Change = fn(&mut Policy);
    let changes: [Change; 9] = [
        |policy| policy.actions.truncate(1),
        |policy| policy.actions[1].name = "none".into(),
        |policy| policy.actions[1].name.clear(),
        |policy| policy.actions[1].points = u64::MAX,
        |policy| policy.actions[1].share = 0.5,
        |policy| policy.actions[1].share = f32::NAN,
        |policy| *policy = learned(Choice::Sample, 1.5),
        |policy| *policy = learned(Choice::Best { margin: f32::INFINITY }, 0.0),
        |policy| policy.actions = (0..300).map(|at| action(&at.to_string(), 0, 1.0 / 300.0)).collect(),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut policy = experiment();
        change(&mut policy);
        let error = policy.check(Task::Reward, 1, &rules()).unwrap_err();
        assert_eq!(error.code(), "invalid_spec", "{at}");
    }
    // A policy of tiers has the bundle's own.
    assert!(experiment().check(Task::Assign, 1, &rules()).is_err());
    let tiers = vec![action("A", 0, 0.4), action("B", 0, 0.4), action("C", 0, 0.2)];
    Policy { actions: tiers, ..experiment() }.check(Task::Assign, 1, &rules()).unwrap();
}

#[test]
fn a_policy_is_read_as_it_was_written() {
    for policy in [experiment(), learned(Choice::Best { margin: 0.5 }, 0.1)] {
        assert_eq!(wire::from_bytes(&wire::to_bytes(&policy)), Some(policy));
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let policy = experiment();
    let check = |options: &DecideOptions| options.check(&policy.actions, 3).map_err(|error| error.code());
    check(&DecideOptions::of("a")).unwrap();
    for options in [
        DecideOptions::default(),
        DecideOptions::of("x".repeat(257)),
        DecideOptions { exclude: vec!["75".into()], ..DecideOptions::of("a") },
        DecideOptions { current: Some(0), ..DecideOptions::of("a") },
        DecideOptions { current: Some(4), ..DecideOptions::of("a") },
        DecideOptions { reasons: 11, ..DecideOptions::of("a") },
    ] {
        assert_eq!(check(&options), Err("invalid_input"), "{options:?}");
    }
    let read = |json: &str| DecideOptions::from_json(json.as_bytes()).map_err(|error| error.code());
    assert_eq!(
        read(r#" {"member":"a","given":5,"exclude":["100"]}"#),
        Ok(DecideOptions { given: 5, exclude: vec!["100".into()], ..DecideOptions::of("a") })
    );
    for json in
        ["", "[]", r#"["a"]"#, r#"{"member":1}"#, r#"{"members":"a"}"#, r#"{"member":"a","given":-1}"#]
    {
        assert_eq!(read(json), Err("invalid_input"), "{json}");
    }
}

#[test]
fn the_promise_is_the_better_of_two_periods() {
    use crate::features::{FeatureSchema, FeatureSpec};
    let spec: FeatureSpec = serde_json::from_str(
        r#"{"events":{"currency":{"code":"USD","exponent":2}},"capacity":16,"features":[{"name":"recency","op":"recency"}]}"#,
    )
    .unwrap();
    let schema = FeatureSchema::compile(spec).unwrap();
    let mut state = MemberState::new(&schema);
    let now = Timestamp::parse("2017-10-15").unwrap();
    assert_eq!(rules().promised(&state, now), 1);
    let mut buy = |time: &str, amount: &str| {
        let json = alloc::format!(r#"{{"kind":"purchase","time":"{time}","amount":"{amount}"}}"#);
        let input = crate::event::EventInput::from_json(json.as_bytes()).unwrap();
        let rules = crate::event::EventRules {
            currency: Currency { code: "USD".into(), exponent: 2 },
            custom_kinds: Vec::<String>::new(),
        };
        state.observe(input.validate(&rules).unwrap());
    };
    buy("2017-09-10", "2.00");
    buy("2017-10-20", "9.00");
    assert_eq!(rules().promised(&state, now), 2);
    assert_eq!(rules().promised(&state, Timestamp::parse("2017-10-21").unwrap()), 3);
    assert_eq!(rules().promised(&state, Timestamp::parse("2017-12-01").unwrap()), 1);
}
