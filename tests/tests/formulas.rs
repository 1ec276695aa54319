//! Each formula against numbers worked out by hand, over one small member.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use serde_json::{Value, json};
use tiercast_core::{EventInput, FeatureSchema, MemberState, Timestamp};

/// A week apart, on Wednesdays: 2017-03-01, 03-08, 03-15, and 03-29.
fn member(schema: &FeatureSchema) -> MemberState {
    let mut state = MemberState::new(schema);
    for event in [
        json!({"kind": "purchase", "time": "2017-03-01", "amount": "10.00", "discount": "2.50", "category": "a", "item": "x", "order": "1", "quantity": 2}),
        json!({"kind": "purchase", "time": "2017-03-01", "amount": "30.00", "category": "b", "item": "y", "order": "1"}),
        json!({"kind": "purchase", "time": "2017-03-08", "amount": "20.00", "category": "a", "item": "x", "order": "2"}),
        json!({"kind": "purchase", "time": "2017-03-15", "amount": "40.00", "category": "a", "item": "z", "order": "3"}),
        json!({"kind": "return", "time": "2017-03-16", "amount": "5.00"}),
        json!({"kind": "purchase", "time": "2017-03-29", "amount": "60.00", "category": "b", "item": "x", "order": "4"}),
        json!({"kind": "view", "time": "2017-03-30T12:00:00Z", "item": "x"}),
    ] {
        let text = event.to_string();
        let event = EventInput::from_json(text.as_bytes()).unwrap();
        state.observe(event.validate(&schema.spec().events).unwrap());
    }
    state
}

fn schema(feature: Value) -> Result<FeatureSchema, tiercast_core::Error> {
    let spec = json!({
        "events": {"currency": {"code": "USD", "exponent": 2}, "custom_kinds": ["stamp"]},
        "capacity": 100,
        "features": [feature]
    });
    FeatureSchema::compile(serde_json::from_value(spec).unwrap())
}

fn at(mut feature: Value, now: &str) -> f32 {
    feature["name"] = json!("f");
    let schema = schema(feature).unwrap();
    schema.features_at(&member(&schema), Timestamp::parse(now).unwrap()).unwrap()[0]
}

#[test]
fn formulas_agree_with_hand_computed_values() {
    for (feature, value) in [
        (json!({"op": "recency"}), 2.0),
        (json!({"op": "recency", "events": ["view"]}), 0.5),
        (json!({"op": "recency", "events": ["*"]}), 0.5),
        (json!({"op": "tenure"}), 30.0),
        (json!({"op": "count"}), 5.0),
        (json!({"op": "count", "window": "16d"}), 1.0),
        (json!({"op": "count", "window": "17d"}), 2.0),
        (json!({"op": "count", "window": "16d", "skip": "16d"}), 4.0),
        (json!({"op": "count", "events": ["purchase", "return"]}), 6.0),
        (json!({"op": "sum", "of": "amount"}), 160.0),
        (json!({"op": "sum", "of": "amount", "events": ["return"]}), 5.0),
        (json!({"op": "sum", "of": "discount"}), 2.5),
        (json!({"op": "sum", "of": "quantity"}), 6.0),
        (json!({"op": "net_spend"}), 155.0),
        (json!({"op": "net_spend", "window": "17d", "skip": "1d"}), 95.0),
        (json!({"op": "mean", "of": "amount"}), 32.0),
        (json!({"op": "max", "of": "amount"}), 60.0),
        (json!({"op": "distinct", "of": "item"}), 3.0),
        (json!({"op": "distinct", "of": "category"}), 2.0),
        (json!({"op": "distinct", "of": "order"}), 4.0),
        (json!({"op": "distinct", "of": "day"}), 4.0),
        (json!({"op": "distinct", "of": "channel"}), 0.0),
        (json!({"op": "gap", "stat": "mean"}), 28.0 / 3.0),
        (json!({"op": "gap", "stat": "max"}), 14.0),
        (json!({"op": "gap", "stat": "last"}), 14.0),
        (json!({"op": "gap", "stat": "std"}), (98.0_f32 / 9.0).sqrt()),
        (json!({"op": "decayed", "of": "count", "half_life": "2d", "window": "3d"}), 0.5),
        (
            json!({"op": "decayed", "of": "amount", "half_life": "16d", "window": "17d"}),
            60.0 * (-0.125_f32).exp2() + 20.0,
        ),
        (json!({"op": "trend", "of": "amount", "window": "32d"}), (60.0 - 100.0) / 160.0),
        (json!({"op": "trend", "of": "amount", "window": "1d"}), 0.0),
        (json!({"op": "share", "of": "category", "value": "a"}), 70.0 / 160.0),
        (json!({"op": "share", "of": "category", "value": "nowhere"}), 0.0),
        (json!({"op": "discount_share"}), 2.5 / 162.5),
        (json!({"op": "lag", "each": "order", "lag": 1, "of": "amount"}), 60.0),
        (json!({"op": "lag", "each": "order", "lag": 4, "of": "amount"}), 40.0),
        (json!({"op": "lag", "each": "order", "lag": 4, "of": "discount"}), 2.5),
        (json!({"op": "lag", "each": "order", "lag": 4, "of": "quantity"}), 3.0),
        (json!({"op": "lag", "each": "order", "lag": 4, "of": "count"}), 2.0),
        (json!({"op": "lag", "each": "order", "lag": 4, "of": "day"}), 30.0),
        (json!({"op": "lag", "each": "day", "lag": 2, "of": "day"}), 16.0),
        (json!({"op": "lag", "each": "event", "lag": 4, "of": "amount"}), 30.0),
        (json!({"op": "lag", "each": "event", "lag": 5, "of": "amount"}), 10.0),
        (json!({"op": "lag", "each": "event", "lag": 1, "of": "day", "events": ["*"]}), 0.5),
        (json!({"op": "lag", "each": "order", "lag": 1, "of": "amount", "skip": "3d"}), 40.0),
        (json!({"op": "calendar", "stat": "month"}), 3.0),
        (json!({"op": "calendar", "stat": "weekday"}), 4.0),
        (json!({"op": "calendar", "stat": "week_sin"}), (std::f32::consts::TAU * 4.0 / 7.0).sin()),
    ] {
        let found = at(feature.clone(), "2017-03-31");
        // One rounding to f32 on either side.
        assert!((found - value).abs() <= value.abs() * 2e-7, "{feature}: expected {value}, found {found}");
    }
}

#[test]
fn what_cannot_be_known_is_missing() {
    for feature in [
        json!({"op": "recency", "events": ["cart"]}),
        json!({"op": "tenure", "events": ["stamp"]}),
        json!({"op": "mean", "of": "amount", "window": "1d"}),
        json!({"op": "max", "of": "amount", "window": "1d"}),
        json!({"op": "gap", "stat": "mean", "window": "3d"}),
        json!({"op": "share", "of": "category", "value": "a", "window": "1d"}),
        json!({"op": "discount_share", "window": "1d"}),
        json!({"op": "mode", "of": "channel"}),
        json!({"op": "lag", "each": "order", "lag": 5, "of": "amount"}),
        json!({"op": "lag", "each": "order", "lag": 2, "of": "amount", "window": "3d"}),
        json!({"op": "lag", "each": "order", "lag": 1, "of": "channel"}),
        json!({"op": "lag", "each": "day", "lag": 1, "of": "day", "events": ["cart"]}),
    ] {
        let found = at(feature.clone(), "2017-03-31");
        assert_eq!(found.to_bits(), f32::NAN.to_bits(), "{feature}: {found}");
    }
}

#[test]
fn the_mode_is_the_most_frequent_and_exact_in_a_float() {
    let found = at(json!({"op": "mode", "of": "category"}), "2017-03-31");
    assert!((1.0..16_777_216.0).contains(&found) && found.fract() == 0.0);
    assert_eq!(
        found,
        at(json!({"op": "mode", "of": "category", "window": "3w", "skip": "2w"}), "2017-03-31")
    );
    assert_ne!(found, at(json!({"op": "mode", "of": "category", "window": "1w"}), "2017-03-31"));
}

#[test]
fn a_steps_name_is_that_of_its_dearest_event() {
    let of = |lag: u32| {
        at(json!({"op": "lag", "each": "order", "lag": lag, "of": "category"}), "2017-03-31").to_bits()
    };
    assert_eq!(of(4), of(1), "30.00 of b, 10.00 of a");
    assert_eq!(of(2), of(3));
    assert_ne!(of(1), of(2));
}

#[test]
fn a_declaration_says_what_is_wrong_with_it() {
    for (feature, word) in [
        (json!({"name": "f", "op": "sum"}), "`of`"),
        (json!({"name": "f", "op": "sum", "of": "item"}), "`of` must be"),
        (json!({"name": "f", "op": "count", "of": "amount"}), "takes no `of`"),
        (json!({"name": "f", "op": "net_spend", "of": "amount"}), "takes no `of`"),
        (json!({"name": "f", "op": "net_spend", "events": ["view"]}), "takes no `events`"),
        (json!({"name": "f", "op": "gap"}), "`stat`"),
        (json!({"name": "f", "op": "gap", "stat": "month"}), "`stat` must be"),
        (json!({"name": "f", "op": "decayed", "of": "amount"}), "`half_life`"),
        (json!({"name": "f", "op": "trend", "of": "amount"}), "`window`"),
        (json!({"name": "f", "op": "share", "of": "category"}), "`value`"),
        (json!({"name": "f", "op": "share", "of": "item", "value": "a"}), "category or channel"),
        (json!({"name": "f", "op": "recency", "window": "1d"}), "takes no `window`"),
        (json!({"name": "f", "op": "lag", "of": "amount", "lag": 1}), "`each`"),
        (json!({"name": "f", "op": "lag", "of": "amount", "each": "day"}), "`lag`"),
        (json!({"name": "f", "op": "lag", "of": "amount", "each": "day", "lag": 0}), "1 (the latest) to 256"),
        (json!({"name": "f", "op": "lag", "of": "order", "each": "day", "lag": 1}), "`of` must be day"),
        (json!({"name": "f", "op": "count", "lag": 1}), "takes no `lag`"),
        (json!({"name": "", "op": "count"}), "empty name"),
    ] {
        let refused = schema(feature.clone()).unwrap_err();
        assert_eq!(refused.code(), "invalid_spec", "{feature}");
        assert!(refused.message().contains(word), "{feature}: {refused}");
    }
    let unknown = schema(json!({"name": "f", "op": "count", "events": ["buy"]})).unwrap_err();
    assert_eq!(unknown.code(), "unknown_kind");
}

/// Three days of somebody who is taken over at the end: home in Berlin, the last order from New York on a new device.
fn taken_over(schema: &FeatureSchema, count: usize) -> MemberState {
    let berlin = json!({"device": "phone", "ip": "203.0.113.7", "latitude": 52.52, "longitude": 13.405});
    let away = json!({"device": "other", "ip": "198.51.100.1", "latitude": 40.71, "longitude": -74.01,
        "card": "stolen", "address": "elsewhere", "deviceMembers": 7});
    let events = [
        (json!({"kind": "view", "time": "2017-03-01T12:00:00Z"}), &berlin),
        (json!({"kind": "purchase", "time": "2017-03-02T12:00:00Z", "amount": 40, "card": "own"}), &berlin),
        (json!({"kind": "purchase", "time": "2017-03-03T13:00:00Z", "amount": 60, "card": "own"}), &berlin),
        (json!({"kind": "return", "time": "2017-03-03T14:00:00Z", "amount": 25}), &berlin),
        (json!({"kind": "purchase", "time": "2017-03-04T03:00:00Z", "amount": 300}), &away),
    ];
    let mut state = MemberState::new(schema);
    for (mut event, origin) in events.into_iter().take(count) {
        event.as_object_mut().unwrap().extend(origin.as_object().unwrap().clone());
        let event =
            EventInput::from_json(event.to_string().as_bytes()).unwrap().validate(&schema.spec().events);
        state.observe(event.unwrap());
    }
    let bytes = state.snapshot();
    let restored = MemberState::restore(&bytes, schema).unwrap();
    assert_eq!((&restored, restored.snapshot()), (&state, bytes), "a snapshot keeps where events came from");
    state
}

/// The feature once so many of the events have happened, at the fourth day's fourth hour.
fn once(mut feature: Value, count: usize) -> f32 {
    feature["name"] = json!("f");
    let schema = schema(feature).unwrap();
    let now = Timestamp::parse("2017-03-04T04:00:00Z").unwrap();
    schema.features_at(&taken_over(&schema, count), now).unwrap()[0]
}

#[test]
fn formulas_of_risk_agree_with_hand_computed_values() {
    let (day, hour) = (1.0, 1.0 / 24.0);
    for (feature, before, after) in [
        (json!({"op": "distinct", "of": "device", "events": ["*"]}), 1.0, 2.0),
        (json!({"op": "distinct", "of": "card"}), 1.0, 2.0),
        (json!({"op": "distinct", "of": "address"}), 0.0, 1.0),
        (json!({"op": "distinct", "of": "network", "events": ["*"], "window": "1d"}), 1.0, 2.0),
        (json!({"op": "max", "of": "device_members"}), 0.0, 7.0),
        (json!({"op": "lag", "each": "event", "lag": 1, "of": "device_members"}), 0.0, 7.0),
        (json!({"op": "familiarity", "of": "device", "events": ["*"]}), 2.0 * day + 16.0 * hour, hour),
        (json!({"op": "familiarity", "of": "card"}), day + 16.0 * hour, hour),
        (json!({"op": "onset"}), 1.0, 1.0),
        (json!({"op": "onset", "events": ["return"]}), 2.0 * day + 2.0 * hour, 2.0 * day + 2.0 * hour),
        (json!({"op": "refund_share"}), 0.25, 25.0 / 400.0),
        (json!({"op": "refund_share", "window": "15h"}), f32::INFINITY, 25.0 / 300.0),
        (json!({"op": "oddness"}), 0.0, 1.0),
        (json!({"op": "speed", "stat": "last", "events": ["*"]}), 0.0, 6385.0 / 13.0),
        (json!({"op": "speed", "stat": "max", "events": ["*"], "window": "2d"}), 0.0, 6385.0 / 13.0),
        (json!({"op": "speed", "stat": "mean"}), 0.0, 6385.0 / 14.0 / 2.0),
    ] {
        for (count, value) in [(4, before), (5, after)] {
            let found = once(feature.clone(), count);
            // A place is a cell of ten kilometres.
            let near = if feature["op"] == "speed" { 0.003 } else { 2e-7 };
            let missing = value.is_infinite() && found.is_nan();
            assert!(
                missing || (found - value).abs() <= value.abs() * near,
                "{feature}, {count} events: {found}"
            );
        }
    }
    for feature in [
        json!({"op": "familiarity", "of": "address"}),
        json!({"op": "speed", "stat": "last", "window": "2h", "events": ["*"]}),
        json!({"op": "oddness", "window": "2h"}),
        json!({"op": "onset", "events": ["coupon"]}),
        json!({"op": "refund_share", "window": "1h"}),
    ] {
        assert_eq!(once(feature.clone(), 4).to_bits(), f32::NAN.to_bits(), "{feature}");
    }
    for (feature, word) in [
        (json!({"name": "f", "op": "sum", "of": "device_members"}), "`of` must be amount"),
        (json!({"name": "f", "op": "share", "of": "device", "value": "a"}), "category or channel"),
        (json!({"name": "f", "op": "speed"}), "`stat`"),
        (json!({"name": "f", "op": "speed", "stat": "std"}), "`stat` must be"),
        (json!({"name": "f", "op": "familiarity"}), "`of`"),
        (json!({"name": "f", "op": "onset", "window": "1d"}), "takes no `window`"),
        (json!({"name": "f", "op": "refund_share", "events": ["view"]}), "takes no `events`"),
    ] {
        let refused = schema(feature.clone()).unwrap_err();
        assert!(refused.message().contains(word), "{feature}: {refused}");
    }
}
