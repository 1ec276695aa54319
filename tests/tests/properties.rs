//! Properties that hold for any member: the invariants of `core/features`, searched for counter-examples.

use proptest::prelude::*;
use serde_json::json;
use tiercast_core::{
    Bundle, Event, EventInput, FeatureSchema, MemberState, Observed, Scalar, Timestamp, net_spend,
};
use tiercast_tests::{members, read};

const FIXTURE: &str = "tests/fixtures/fixture.tcb";

fn bundle() -> Bundle {
    Bundle::parse(&read(FIXTURE).unwrap()).unwrap()
}

/// Any event of the fixture's kinds within 500 days before and 50 days after the vectors' moment.
fn any_event() -> impl Strategy<Value = EventInput<'static>> {
    let kind = prop::sample::select(vec!["purchase", "return", "view", "coupon", "stamp"]);
    let time = -500 * 86_400_000_i64..50 * 86_400_000;
    let name = prop::option::of("[a-c]");
    (
        kind,
        time,
        0_i64..1_000_000,
        0_i64..1000,
        name.clone(),
        name.clone(),
        name,
        prop::option::of("[a-z]{2}"),
    )
        .prop_map(|(kind, time, amount, discount, item, category, order, id)| {
            let mut event = EventInput::new(kind, Scalar::Int(members::NOW + time));
            event.amount_minor = Some(amount);
            event.discount_minor = Some(discount);
            event.item = item.map(Into::into);
            event.category = category.map(Into::into);
            event.order = order.map(Into::into);
            event.id = id.map(Into::into);
            event
        })
}

fn validated(schema: &FeatureSchema, inputs: &[EventInput<'_>]) -> Vec<Event> {
    inputs.iter().map(|input| input.validate(&schema.spec().events).unwrap()).collect()
}

fn bits(schema: &FeatureSchema, state: &MemberState, now: i64) -> Vec<u32> {
    let now = Timestamp::from_ms(now).unwrap();
    schema.features_at(state, now).unwrap().iter().map(|x| x.to_bits()).collect()
}

/// Events without identities: which of two events with the same identity stays does depend on arrival.
fn anonymous() -> impl Strategy<Value = Vec<EventInput<'static>>> {
    let event = any_event().prop_map(|event| EventInput { id: None, ..event });
    prop::collection::vec(event, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_never_matters(inputs in anonymous(), seed in any::<u64>()) {
        let bundle = bundle();
        let schema = bundle.schema();
        let mut events = validated(schema, &inputs);
        let mut arrived = bundle.new_member();
        for event in shuffled(&events, seed) {
            arrived.observe(event).unwrap();
        }
        events.sort_unstable();
        let mut sorted = bundle.new_member();
        for event in events {
            sorted.observe(event).unwrap();
        }
        prop_assert_eq!(bits(schema, &arrived, members::NOW), bits(schema, &sorted, members::NOW));
        prop_assert_eq!(arrived, sorted);
    }

    #[test]
    fn one_at_a_time_is_the_same_as_all_at_once(inputs in prop::collection::vec(any_event(), 0..60)) {
        let bundle = bundle();
        let mut at_once = bundle.new_member();
        bundle.observe(&mut at_once, &inputs).unwrap();
        let mut one_by_one = bundle.new_member();
        for input in &inputs {
            bundle.observe(&mut one_by_one, std::slice::from_ref(input)).unwrap();
            // Looking at the features in between changes nothing.
            bits(bundle.schema(), &one_by_one, members::NOW);
        }
        prop_assert_eq!(at_once, one_by_one);
    }

    #[test]
    fn no_feature_sees_an_event_after_now(inputs in anonymous(), ago in 0_i64..500) {
        let bundle = bundle();
        let now = members::NOW - ago * 86_400_000;
        let all = validated(bundle.schema(), &inputs);
        let mut whole = bundle.new_member();
        let mut known = bundle.new_member();
        for event in all {
            whole.observe(event).unwrap();
            if event.time.ms() <= now {
                known.observe(event).unwrap();
            }
        }
        prop_assert_eq!(bits(bundle.schema(), &whole, now), bits(bundle.schema(), &known, now));
        let now = Timestamp::from_ms(now).unwrap();
        let currency = &bundle.schema().spec().events.currency;
        prop_assert_eq!(
            bundle.rules().standing(&whole, now, currency),
            bundle.rules().standing(&known, now, currency)
        );
    }

    #[test]
    fn a_snapshot_round_trips(inputs in prop::collection::vec(any_event(), 0..400)) {
        let bundle = bundle();
        let mut state = bundle.new_member();
        for event in validated(bundle.schema(), &inputs) {
            // A history longer than the capacity may refuse what is too late; the rest is kept.
            let _ = state.observe(event);
        }
        let restored = MemberState::restore(&state.snapshot(bundle.schema()), bundle.schema()).unwrap();
        prop_assert_eq!(&restored, &state);
        prop_assert!(state.len() <= bundle.schema().spec().capacity as usize);
    }

    #[test]
    fn a_known_identity_changes_nothing(inputs in prop::collection::vec(any_event(), 1..60), again in any::<prop::sample::Index>()) {
        let bundle = bundle();
        let mut state = bundle.new_member();
        bundle.observe(&mut state, &inputs).unwrap();
        let mut event = again.get(&inputs).clone();
        event.id = Some("known".into());
        bundle.observe(&mut state, std::slice::from_ref(&event)).unwrap();
        let before = state.clone();
        event.amount_minor = Some(1);
        prop_assert_eq!(bundle.observe(&mut state, &[event]).unwrap(), [Observed::Duplicate]);
        prop_assert_eq!(state, before);
    }

    #[test]
    fn a_refused_event_takes_the_whole_call_back(inputs in prop::collection::vec(any_event(), 0..20), at in any::<prop::sample::Index>()) {
        let bundle = bundle();
        let mut state = bundle.new_member();
        bundle.observe(&mut state, &inputs).unwrap();
        let before = state.clone();
        let mut bad = inputs.clone();
        let mut event = EventInput::new("purchase", Scalar::Int(0));
        event.amount = Some(Scalar::Float(f64::NAN));
        bad.insert(at.index(inputs.len() + 1), event);
        prop_assert_eq!(bundle.observe(&mut state, &bad).unwrap_err().code(), "invalid_amount");
        prop_assert_eq!(state, before);
    }

    #[test]
    fn the_distance_to_the_next_tier_is_exact(inputs in anonymous()) {
        let bundle = bundle();
        let mut state = bundle.new_member();
        for event in validated(bundle.schema(), &inputs) {
            state.observe(event).unwrap();
        }
        let now = Timestamp::from_ms(members::NOW).unwrap();
        let currency = &bundle.schema().spec().events.currency;
        let standing = bundle.rules().standing(&state, now, currency);
        let (start, end) = bundle.rules().period.around(now);
        // A member whose returns exceed the purchases must make up for neither.
        let spend = net_spend(state.events().filter(|e| e.time <= now), start, end);
        prop_assert_eq!(standing.spend_minor, spend.max(0));
        if let Some(next) = standing.next {
            prop_assert_eq!(bundle.rules().tier_of(standing.spend_minor + next.amount_minor), next.tier);
            prop_assert_eq!(bundle.rules().tier_of(standing.spend_minor + next.amount_minor - 1), standing.tier);
        }
    }
}

#[test]
fn forgotten_events_still_count_over_the_whole_history() {
    let spec = json!({
        "events": {"currency": {"code": "USD", "exponent": 2}},
        "capacity": 4,
        "features": [
            {"name": "count", "op": "count"}, {"name": "sum", "op": "sum", "of": "amount"},
            {"name": "tenure", "op": "tenure"}, {"name": "recency", "op": "recency"},
            {"name": "last_week", "op": "count", "window": "1w"}
        ]
    });
    let schema = FeatureSchema::compile(serde_json::from_value(spec).unwrap()).unwrap();
    let mut state = MemberState::new(&schema);
    for day in 0..10 {
        let mut event = EventInput::new("purchase", Scalar::Int(day * 86_400_000));
        event.amount_minor = Some(150);
        state.observe(event.validate(&schema.spec().events).unwrap()).unwrap();
    }
    let now = Timestamp::from_ms(10 * 86_400_000).unwrap();
    assert_eq!(schema.features_at(&state, now).unwrap(), [10.0, 15.0, 10.0, 1.0, 4.0]);
    assert!(schema.sees_too_little(&state, now), "the last week has lost three of its seven events");
    let late = EventInput::new("purchase", Scalar::Int(86_400_000)).validate(&schema.spec().events).unwrap();
    assert_eq!(state.observe(late).unwrap_err().code(), "too_late");
    let past = Timestamp::from_ms(86_400_000).unwrap();
    assert_eq!(schema.features_at(&state, past).unwrap_err().code(), "too_late");
}

fn shuffled(events: &[Event], mut seed: u64) -> Vec<Event> {
    let mut events = events.to_vec();
    for i in (1..events.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        events.swap(i, (seed >> 33) as usize % (i + 1));
    }
    events
}
