//! A shop of six items, by hand.

use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{
    arrange::{Arrangement, Rules},
    *,
};
use crate::{
    event::EventInput,
    features::{FeatureSchema, FeatureSpec},
    time::DAY_MS,
};

const NAMES: [&str; 6] = ["milk", "bread", "soap", "cheese", "butter", "candle"];
const NOW: i64 = 400 * DAY_MS;

fn catalogue() -> Catalogue {
    let item = |(at, id): (usize, &&str)| Item {
        id: (*id).into(),
        name: String::new(),
        category: [0, 1, 2, 0, 0, NO_LABEL][at],
        group: NO_LABEL,
        brand: NO_LABEL,
        price: 100.0 * (at + 1) as f32,
        discounted: 0.0,
        buyers: 0.6 - 0.1 * at as f32,
        recent: [0.5, 0.4, 0.3, 0.2, 0.1, 0.0][at],
        again: 0.5,
        gap: 10.0,
    };
    // Two kinds of taste: food, and the rest.
    let vectors = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.95, 0.0], [0.9, 0.0], [0.1, 0.9]].concat();
    let gram = vec![4.0, 0.2, 0.2, 2.1];
    Catalogue {
        model: "als".into(),
        period: 28 * DAY_MS,
        half_life: 28 * DAY_MS,
        items: NAMES.iter().enumerate().map(item).collect(),
        labels: vec!["dairy".into(), "bakery".into(), "drugstore".into()],
        favourites: vec![
            vec![Favourite { item: 0, share: 0.4 }, Favourite { item: 2, share: 0.3 }],
            vec![Favourite { item: 3, share: 0.6 }, Favourite { item: 0, share: 0.5 }],
        ],
        factors: Factors {
            items: ItemRows::round(&vectors, 2),
            fold: Fold { gram, alpha: 10.0, history: None },
        },
        neighbours: Neighbours::round(
            &[vec![(1, 0.8), (3, 0.4)], vec![(0, 0.8)], vec![(5, 0.9)], vec![(4, 0.5)], vec![], vec![]],
            2,
        ),
        kept: 0.5,
        diversity: 0.0,
        welcome: None,
    }
}

/// Two steps: until the first order, and until the third with twice the odds of what is for the drugstore.
fn welcome() -> Welcome {
    let step = |name: &str, orders| WelcomeStep {
        name: name.into(),
        orders,
        new_only: false,
        diversity: None,
        boost: BTreeMap::new(),
    };
    let second = WelcomeStep {
        new_only: true,
        diversity: Some(0.5),
        boost: [("drugstore".to_string(), 2.0)].into(),
        ..step("third order", 3)
    };
    Welcome { lasts: "60d".parse().unwrap(), steps: vec![step("first order", 1), second] }
}

fn shelf() -> Shelf {
    Shelf::new(catalogue()).unwrap()
}

fn schema() -> FeatureSchema {
    let spec: FeatureSpec = serde_json::from_str(
        r#"{"events":{"currency":{"code":"USD","exponent":2}},"capacity":64,
            "features":[{"name":"n","op":"count"}]}"#,
    )
    .unwrap();
    FeatureSchema::compile(spec).unwrap()
}

/// A member with purchases of items so many days ago.
fn member(events: &[(&str, &str, i64)]) -> MemberState {
    let schema = schema();
    let mut state = MemberState::new(&schema);
    for (kind, item, days) in events {
        let json = alloc::format!(
            r#"{{"kind":"{kind}","time":{},"item":"{item}","amount":"1"}}"#,
            NOW - days * DAY_MS
        );
        state.observe(
            EventInput::from_json(json.as_bytes()).unwrap().validate(&schema.spec().events).unwrap(),
        );
    }
    state
}

fn now() -> Timestamp {
    Timestamp::from_ms(NOW).unwrap()
}

fn candidates(state: &MemberState) -> Candidates {
    shelf().candidates(&mut CandidateRoom::default(), state, now(), |_| true).unwrap()
}

fn input(candidates: &Candidates, item: u32, name: &str) -> f32 {
    let row = candidates.items.iter().position(|at| *at == item).unwrap();
    let column = RANKER_INPUTS.iter().position(|known| *known == name).unwrap();
    candidates.inputs[row * RANKER_INPUTS.len() + column]
}

#[test]
fn what_the_ranker_reads_is_what_was_bought() {
    let state = member(&[
        ("purchase", "milk", 29),
        ("purchase", "milk", 28),
        ("purchase", "bread", 14),
        ("view", "soap", 28),
        ("purchase", "unknown", 1),
    ]);
    let found = candidates(&state);
    assert_eq!(found.items, [0, 1, 2, 3, 4, 5]);
    let of = |item, name| input(&found, item, name);
    assert_eq!(of(0, "own_orders"), 2.0);
    assert_eq!(of(0, "own_days_since"), 28.0);
    assert_eq!(of(0, "own_gap_days"), 1.0);
    assert_eq!(of(0, "own_due"), 28.0);
    assert!((of(0, "item_due") - 2.8).abs() < 1e-6);
    assert_eq!(of(0, "own_share_of_orders"), 0.5);
    assert!((of(0, "own_weight") - (0.5 + 0.487_7)).abs() < 1e-3);
    assert!((of(1, "own_recent_weight") - 0.25).abs() < 1e-6);
    assert!(of(1, "own_gap_days").is_nan() && of(2, "own_days_since").is_nan());
    assert_eq!(of(2, "own_orders"), 0.0);
    assert_eq!((of(3, "member_orders"), of(3, "member_recent_orders")), (4.0, 2.0));
    assert_eq!(of(3, "member_days_since"), 1.0);
    // Σ affinity · likeness: bread counts 2^(−1/2) and has milk at 0.8.
    assert!((of(0, "neighbours") - 0.8 * 0.5_f32.sqrt()).abs() < 1e-3);
    let affinity = 0.987_7 + 0.5_f32.sqrt() + 0.05;
    assert!((of(4, "category_share") - 0.987_7 / affinity).abs() < 1e-3);
    assert!(of(5, "category_share").is_nan());
    assert_eq!(of(0, "factors_of_best").max(of(3, "factors_of_best")), 1.0);
}

#[test]
fn what_comes_later_is_not_known() {
    let state = member(&[("purchase", "milk", 5), ("purchase", "soap", -1)]);
    let found = candidates(&state);
    assert_eq!(input(&found, 2, "own_orders"), 0.0);
    assert_eq!(found.inputs.len(), candidates(&member(&[("purchase", "milk", 5)])).inputs.len());
}

#[test]
fn one_order_counts_once_however_many_lines_it_has() {
    let state = member(&[("purchase", "milk", 3), ("purchase", "milk", 3), ("purchase", "bread", 3)]);
    let found = candidates(&state);
    assert_eq!((input(&found, 0, "own_orders"), input(&found, 0, "member_orders")), (1.0, 1.0));
}

#[test]
fn rules_leave_out_items_and_all_that_bears_a_label() {
    let shelf = shelf();
    let options = |json: &str| RecommendOptions::from_json(json.as_bytes()).unwrap();
    let allowed = |json: &str| -> Vec<&str> {
        let options = options(json);
        let rules = Rules::new(&shelf, &options);
        (0..6).filter(|at| rules.allow(*at)).map(|at| NAMES[at as usize]).collect()
    };
    assert_eq!(allowed("{}"), NAMES);
    assert_eq!(allowed(r#"{"exclude":["dairy","candle"]}"#), ["bread", "soap"]);
    assert_eq!(allowed(r#"{"available":["milk","candle"],"exclude":["candle"]}"#), ["milk"]);
    assert_eq!(allowed(r#"{"available":[]}"#), [] as [&str; 0]);
}

#[test]
fn a_boost_multiplies_the_odds() {
    let shelf = shelf();
    let options = RecommendOptions::from_json(br#"{"boost":{"dairy":3,"milk":2}}"#).unwrap();
    let rules = Rules::new(&shelf, &options);
    assert!((rules.boosted(3, 0.25) - 0.5).abs() < 1e-6);
    assert!((rules.boosted(0, 0.25) - 2.0 / 3.0).abs() < 1e-6);
    assert_eq!((rules.boosted(1, 0.25), rules.boosted(0, 0.0)), (0.25, 0.0));
    assert_eq!(rules.boosted(0, 1.0), 1.0);
}

#[test]
fn options_out_of_range_are_refused() {
    for json in [
        r#"{"count":0}"#,
        r#"{"count":101}"#,
        r#"{"boost":{"milk":0}}"#,
        r#"{"boost":{"milk":1001}}"#,
        r#"{"diversity":1.5}"#,
    ] {
        let options = RecommendOptions::from_json(json.as_bytes()).unwrap();
        assert_eq!(options.check().unwrap_err().code(), "invalid_input", "{json}");
    }
    for json in [
        "{",
        r#"{"cuont":1}"#,
        r#"{"count":-1}"#,
        "[]",
        "[10]",
        "null",
        "7",
        r#"{"boost":{"milk":2,"milk":3}}"#,
    ] {
        assert_eq!(
            RecommendOptions::from_json(json.as_bytes()).unwrap_err().code(),
            "invalid_input",
            "{json}"
        );
    }
}

#[test]
fn diversity_takes_what_differs_before_more_of_the_same() {
    let shelf = shelf();
    let found = [(0.9, 0, 0.9), (0.8, 3, 0.8), (0.7, 4, 0.7), (0.6, 2, 0.6)];
    let order = |diversity| -> Vec<u32> {
        let how = Arrangement { count: 3, diversity };
        shelf.arrange(&found, how).into_iter().map(|(_, item, _)| item).collect()
    };
    assert_eq!(order(0.0), [0, 3, 4]);
    assert_eq!(order(0.5), [0, 2, 3]);
    assert_eq!(shelf.arrange(&found, Arrangement { count: 9, diversity: 1.0 }).len(), 4);
    assert_eq!(shelf.arrange(&[], Arrangement { count: 3, diversity: 0.5 }), []);
}

#[test]
fn nobody_gets_what_the_tiers_buy() {
    let shelf = shelf();
    let options = RecommendOptions::default();
    let list = |diversity| {
        let how = Arrangement { count: 2, diversity };
        shelf.first_list(&Rules::new(&shelf, &options), how, &[0.5, 0.5])
    };
    let names = |list: &[Recommendation]| list.iter().map(|item| item.item.clone()).collect::<Vec<_>>();
    // Cheese is of the same category as milk.
    assert_eq!(names(&list(0.5)), ["milk", "soap"]);
    let list = list(0.0);
    // 0.5 · 0.4 + 0.5 · 0.5 for milk, 0.5 · 0.6 for cheese.
    assert_eq!(names(&list), ["milk", "cheese"]);
    assert!((list[0].probability - 0.45).abs() < 1e-6);
    assert_eq!(list[1].reasons, [Why::PopularInTier { tier: 2, share: 0.6 }]);
}

#[test]
fn a_new_member_is_at_the_step_of_its_orders_until_the_time_is_over() {
    let welcome = welcome();
    let step = |events: &[(&str, &str, i64)]| {
        let state = member(events);
        let orders = candidates(&state).habits.orders;
        welcome.step(&state, orders, now()).map(|step| step.name.as_str())
    };
    let (look, buy) = (|days| ("view", "milk", days), |days| ("purchase", "milk", days));
    assert_eq!(step(&[]), Some("first order"));
    assert_eq!(step(&[look(59)]), Some("first order"));
    assert_eq!(step(&[look(60)]), None);
    assert_eq!(step(&[buy(59)]), Some("third order"));
    assert_eq!(step(&[look(59), buy(3), buy(2)]), Some("third order"));
    assert_eq!(step(&[look(61), buy(3)]), None);
    assert_eq!(step(&[buy(4), buy(3), buy(2)]), None);
    // More than the history holds is more than a new member does.
    assert_eq!(step(&[look(1); 64]), Some("first order"));
    assert_eq!(step(&[look(1); 65]), None);
}

#[test]
fn a_step_adds_to_the_boosts_of_a_call() {
    let shelf = shelf();
    let options = RecommendOptions { boost: [("soap".to_string(), 3.0)].into(), ..Default::default() };
    let mut rules = Rules::new(&shelf, &options);
    assert!((rules.boosted(2, 0.5) - 0.75).abs() < 1e-6);
    rules.boost(&[("drugstore".to_string(), 2.0), ("soap".to_string(), 2.0)].into());
    // Odds of 1 to 1 become 12 to 1.
    assert!((rules.boosted(2, 0.5) - 12.0 / 13.0).abs() < 1e-6);
    assert_eq!(rules.boosted(0, 0.5), 0.5);
}

#[test]
fn reasons_say_what_is_so() {
    let (shelf, state) =
        (shelf(), member(&[("purchase", "milk", 30), ("purchase", "milk", 21), ("purchase", "milk", 12)]));
    let found = candidates(&state);
    let habit = Why::Habit { orders: 3, every_days: 9.0, days_since: 12.0 };
    assert_eq!(shelf.reasons(&found, 0)[0], habit);
    assert_eq!(shelf.reasons(&found, 1)[0], Why::Together { with: "milk".into(), name: String::new() });
    assert_eq!(shelf.reasons(&found, 4)[0], Why::Category { category: "dairy".to_string(), share: 1.0 });
    assert_eq!(shelf.reasons(&found, 2), [Why::Popular { share: 0.3 }]);
    let json = serde_json::to_string(&habit).unwrap();
    assert_eq!(json, r#"{"kind":"habit","orders":3,"everyDays":9.0,"daysSince":12.0}"#);
}

#[test]
fn the_nearest_are_the_exact_ones() {
    let (shelf, affinities) = (shelf(), [(2, 1.0)]);
    assert_eq!(shelf.nearest(&affinities, 2, |item| item != 2), [5, 1]);
    assert_eq!(shelf.alike(&affinities, 3, |_| true), [5]);
}

#[test]
fn a_catalogue_that_contradicts_itself_is_refused() {
    type Break = fn(&mut Catalogue);
    let breaks: [Break; 14] = [
        |c| c.items.clear(),
        |c| c.items[0].category = 3,
        |c| c.items[0].again = 1.1,
        |c| c.items[0].gap = -1.0,
        |c| c.favourites[0][0].item = 6,
        |c| c.kept = 0.0,
        |c| c.period = 0,
        |c| c.diversity = f32::NAN,
        |c| c.welcome.as_mut().unwrap().steps.clear(),
        |c| c.welcome.as_mut().unwrap().steps[0].name.clear(),
        |c| c.welcome.as_mut().unwrap().steps[0].orders = 0,
        |c| c.welcome.as_mut().unwrap().steps[0].orders = 3,
        |c| c.welcome.as_mut().unwrap().steps[0].diversity = Some(1.5),
        |c| c.welcome.as_mut().unwrap().steps[1].boost = [("drugstore".to_string(), 0.0)].into(),
    ];
    let sound = Catalogue { welcome: Some(welcome()), ..catalogue() };
    assert!(Shelf::new(sound.clone()).is_ok());
    for damage in breaks {
        let mut broken = sound.clone();
        damage(&mut broken);
        assert!(Shelf::new(broken).is_err());
    }
}

#[test]
fn a_catalogue_is_read_as_it_was_written() {
    let written = Catalogue { welcome: Some(welcome()), ..catalogue() };
    let bytes = crate::wire::to_bytes(&written);
    assert_eq!(crate::wire::from_bytes::<Catalogue>(&bytes), Some(written));
    for cut in 0..bytes.len() {
        assert!(crate::wire::from_bytes::<Catalogue>(&bytes[..cut]).is_none());
    }
}
