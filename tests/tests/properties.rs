//! Properties that hold for any member: the invariants of `core/features`, searched for counter-examples.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use proptest::prelude::*;
use serde_json::json;
use tiercast_core::{
    Bins, Bundle, Event, EventInput, FeatureSchema, MemberState, Observed, Reference, Scalar, Scorer,
    Timestamp, Watched, net_spend,
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
            event.amount_minor = Some(Scalar::Int(amount));
            event.discount_minor = Some(Scalar::Int(discount));
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

/// The history as its documentation defines it: in canonical order, the earlier of two with the same identity.
fn reference(events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    events.sort_unstable();
    let mut known = std::collections::BTreeSet::new();
    events.retain(|event| event.id == 0 || known.insert(event.id));
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_never_matters(inputs in prop::collection::vec(any_event(), 0..200), seed in any::<u64>()) {
        let bundle = bundle();
        let schema = bundle.schema();
        let events = validated(schema, &inputs);
        let mut arrived = bundle.new_member();
        for event in shuffled(&events, seed) {
            arrived.observe(event);
        }
        let mut folded = bundle.new_member();
        for event in reference(&events) {
            prop_assert_eq!(folded.observe(event), Observed::Added);
        }
        prop_assert_eq!(bits(schema, &arrived, members::NOW), bits(schema, &folded, members::NOW));
        prop_assert_eq!(arrived, folded);
    }

    #[test]
    fn the_order_inside_a_call_never_matters(inputs in prop::collection::vec(any_event(), 0..400), seed in any::<u64>()) {
        // More events than the history keeps, so that forgetting is part of it.
        let bundle = bundle();
        let (mut one, mut other) = (bundle.new_member(), bundle.new_member());
        bundle.observe(&mut one, &inputs).unwrap();
        bundle.observe(&mut other, &shuffled(&inputs, seed)).unwrap();
        prop_assert_eq!(one, other);
    }

    #[test]
    fn all_at_once_are_as_one_by_one(
        inputs in prop::collection::vec(any_event(), 0..300),
        seed in any::<u64>(),
        cut in 0_usize..300,
        way in 0..4,
    ) {
        let bundle = bundle();
        let mut events = validated(bundle.schema(), &inputs);
        if way & 1 == 1 {
            events.iter_mut().for_each(|event| event.id = 0);
        }
        events = if way & 2 == 2 { reference(&events) } else { shuffled(&events, seed) };
        let (first, rest) = events.split_at(cut.min(events.len()));
        let (mut one, mut all) = (bundle.new_member(), MemberState::with_room(bundle.schema(), 10));
        events.iter().for_each(|event| {
            one.observe(*event);
        });
        all.observe_all(first);
        all.observe_all(rest);
        prop_assert_eq!(one.snapshot(), all.snapshot());
        prop_assert_eq!(one, all);
    }

    #[test]
    fn looking_changes_nothing(inputs in prop::collection::vec(any_event(), 0..60)) {
        let scorer = Scorer::load(&read(FIXTURE).unwrap()).unwrap();
        let (mut watched, mut alone) = (scorer.bundle().new_member(), scorer.bundle().new_member());
        for input in &inputs {
            let now = Timestamp::from_ms(members::NOW).unwrap();
            let first = scorer.assess(&watched, now).unwrap();
            prop_assert_eq!(first.probabilities, scorer.assess(&watched, now).unwrap().probabilities);
            scorer.bundle().observe(&mut watched, std::slice::from_ref(input)).unwrap();
            scorer.bundle().observe(&mut alone, std::slice::from_ref(input)).unwrap();
        }
        prop_assert_eq!(watched, alone);
    }

    #[test]
    fn no_feature_sees_an_event_after_now(inputs in prop::collection::vec(any_event(), 0..400), ago in 0_i64..500) {
        let bundle = bundle();
        let now = Timestamp::from_ms(members::NOW - ago * 86_400_000).unwrap();
        let all = reference(&validated(bundle.schema(), &inputs));
        let mut whole = bundle.new_member();
        let mut known = bundle.new_member();
        for event in all {
            whole.observe(event);
            if event.time <= now {
                known.observe(event);
            }
        }
        let expected = bits(bundle.schema(), &known, now.ms());
        match bundle.schema().features_at(&whole, now) {
            Ok(features) => prop_assert_eq!(features.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected),
            // What was pushed out by later events cannot be known, and is not guessed.
            Err(e) => {
                prop_assert_eq!(e.code(), "too_late");
                prop_assert!(inputs.len() > bundle.schema().spec().capacity as usize);
                return Ok(());
            }
        }
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
            state.observe(event);
        }
        let restored = MemberState::restore(&state.snapshot(), bundle.schema()).unwrap();
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
        event.time = Scalar::Int(members::NOW + 60 * 86_400_000);
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
    fn the_distance_to_the_next_tier_is_exact(inputs in prop::collection::vec(any_event(), 0..120)) {
        let bundle = bundle();
        let mut state = bundle.new_member();
        for event in validated(bundle.schema(), &inputs) {
            state.observe(event);
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

/// Declarations whose formulas share work: the same names, half-lives and kinds over windows that overlap.
fn overlapping() -> Vec<serde_json::Value> {
    let windows = [
        json!({}),
        json!({"window": "30d"}),
        json!({"window": "200d", "skip": "30d"}),
        json!({"window": "1d", "skip": "90d"}),
        json!({"skip": "100d"}),
    ];
    let formulas = [
        json!({"op": "count"}),
        json!({"op": "sum", "of": "amount"}),
        json!({"op": "net_spend"}),
        json!({"op": "mean", "of": "quantity"}),
        json!({"op": "max", "of": "discount"}),
        json!({"op": "distinct", "of": "item"}),
        json!({"op": "distinct", "of": "order", "events": ["purchase", "view"]}),
        json!({"op": "distinct", "of": "day"}),
        json!({"op": "gap", "stat": "std"}),
        json!({"op": "gap", "stat": "last", "events": ["*"]}),
        json!({"op": "decayed", "of": "amount", "half_life": "28d"}),
        json!({"op": "decayed", "of": "count", "half_life": "28d", "events": ["*"]}),
        json!({"op": "share", "of": "category", "value": "a"}),
        json!({"op": "share", "of": "category", "value": "b", "events": ["*"]}),
        json!({"op": "discount_share"}),
        json!({"op": "mode", "of": "category"}),
        json!({"op": "trend", "of": "amount", "window": "61d", "skip": "30d"}),
    ];
    let with = |formula: &serde_json::Value, more: &serde_json::Value| {
        let mut decl = more.clone();
        decl.as_object_mut().unwrap().extend(formula.as_object().unwrap().clone());
        decl
    };
    let mut decls: Vec<_> = formulas.iter().flat_map(|f| windows.iter().map(move |w| with(f, w))).collect();
    decls.push(json!({"op": "recency", "events": ["view"]}));
    decls.push(json!({"op": "tenure"}));
    for (i, decl) in decls.iter_mut().enumerate() {
        decl["name"] = json!(format!("f{i}"));
    }
    decls
}

fn compiled(capacity: u32, features: &[serde_json::Value]) -> FeatureSchema {
    let events = json!({"currency": {"code": "USD", "exponent": 2}, "custom_kinds": ["stamp"]});
    let spec = json!({"events": events, "capacity": capacity, "features": features});
    FeatureSchema::compile(serde_json::from_value(spec).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_feature_has_the_same_bits_alone_and_among_others(inputs in prop::collection::vec(any_event(), 0..200)) {
        let all = compiled(150, &overlapping());
        let mut state = MemberState::new(&all);
        for event in reference(&validated(&all, &inputs)) {
            state.observe(event);
        }
        // Later than every event, so that a history that has forgotten can be asked.
        let now = members::NOW + 51 * 86_400_000;
        let together = bits(&all, &state, now);
        for (decl, bits_together) in overlapping().iter().zip(together) {
            let alone = compiled(150, std::slice::from_ref(decl));
            prop_assert_eq!(bits(&alone, &state, now), [bits_together], "{}", decl);
        }
    }

    #[test]
    fn an_event_is_a_duplicate_exactly_if_its_identity_is_kept(inputs in prop::collection::vec(any_event(), 0..900)) {
        let schema = compiled(100, &overlapping());
        let mut state = MemberState::new(&schema);
        for event in validated(&schema, &inputs) {
            let kept = event.id != 0 && state.events().any(|known| known.id == event.id);
            prop_assert_eq!(state.observe(event) == Observed::Duplicate, kept);
            if event.time.ms() % 7 == 0 {
                state = MemberState::restore(&state.snapshot(), &schema).unwrap();
            }
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
        event.amount_minor = Some(Scalar::Int(150));
        state.observe(event.validate(&schema.spec().events).unwrap());
    }
    let now = Timestamp::from_ms(10 * 86_400_000).unwrap();
    assert_eq!(schema.features_at(&state, now).unwrap(), [10.0, 15.0, 10.0, 1.0, 4.0]);
    assert!(schema.sees_too_little(&state, now), "the last week has lost three of its seven events");
    let late = EventInput::new("purchase", Scalar::Int(86_400_000)).validate(&schema.spec().events).unwrap();
    assert_eq!(state.observe(late), Observed::TooLate);
    let past = Timestamp::from_ms(86_400_000).unwrap();
    assert_eq!(schema.features_at(&state, past).unwrap_err().code(), "too_late");
}

#[test]
fn a_standing_counts_what_was_forgotten_or_says_that_it_cannot() {
    let bundle = bundle();
    let currency = &bundle.schema().spec().events.currency;
    let capacity = i64::from(bundle.schema().spec().capacity);
    let now = Timestamp::from_ms(members::NOW).unwrap();
    let (start, _) = bundle.rules().period.around(now);
    for (first, exact) in [(start.ms(), true), (start.ms() - 1, false)] {
        let mut state = bundle.new_member();
        for i in 0..capacity + 10 {
            let mut event = EventInput::new("purchase", Scalar::Int(first + i));
            event.amount_minor = Some(Scalar::Int(100));
            state.observe(event.validate(&bundle.schema().spec().events).unwrap());
        }
        let standing = bundle.rules().standing(&state, now, currency);
        assert_eq!(standing.exact, exact);
        assert!(!exact || standing.spend_minor == (capacity + 10) * 100, "{}", standing.spend_minor);
    }
}

fn shuffled<T: Clone>(items: &[T], mut seed: u64) -> Vec<T> {
    let mut items = items.to_vec();
    for i in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(i, (seed >> 33) as usize % (i + 1));
    }
    items
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// What a keeper of histories relies on: a snapshot and the packed news of each batch since are the history, by bits,
    /// whatever was forgotten meanwhile; and a batch without news changed nothing.
    #[test]
    fn a_snapshot_and_the_news_since_are_the_history(
        batches in prop::collection::vec(prop::collection::vec(any_event(), 0..30), 1..8),
        capacity in 1_u32..40,
    ) {
        let bundle = bundle();
        let first = bundle.new_member().snapshot();
        let mut state = MemberState::restore_kept(&first, capacity).unwrap();
        let mut replayed = state.clone();
        for batch in &batches {
            let before = state.clone();
            let (outcomes, news) = bundle.observe_news(&mut state, batch).unwrap();
            prop_assert_eq!(outcomes.len(), batch.len());
            prop_assert_eq!(news.is_empty(), before == state);
            for event in Event::unpack(&Event::pack(&news)).unwrap() {
                replayed.observe(event);
            }
            prop_assert_eq!(&replayed, &state);
        }
        let snapshot = state.snapshot();
        prop_assert_eq!(MemberState::restore_kept(&snapshot, capacity).unwrap(), state.clone());
        state.fit(bundle.schema()).unwrap();
        prop_assert_eq!(MemberState::restore(&snapshot, bundle.schema()).unwrap(), state);
    }
}

#[test]
fn what_was_not_packed_is_not_unpacked() {
    let bundle = bundle();
    let mut state = bundle.new_member();
    let events: Vec<EventInput<'_>> =
        (0..5).map(|i| EventInput::new("view", Scalar::Int(members::NOW + i))).collect();
    let (_, news) = bundle.observe_news(&mut state, &events).unwrap();
    let bytes = Event::pack(&news);
    assert_eq!(Event::unpack(&bytes).as_deref(), Some(&*news));
    for end in 0..bytes.len() {
        assert_eq!(Event::unpack(&bytes[..end]), None, "{end} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(Event::unpack(&longer), None);
}

#[test]
fn a_history_in_another_currency_is_kept_but_not_fitted() {
    let bundle = bundle();
    let mut foreign = bundle.schema().spec().clone();
    foreign.events.currency.code = "EUR".into();
    let foreign = FeatureSchema::compile(foreign).unwrap();
    let snapshot = bundle.new_member().snapshot();
    let mut state = MemberState::restore_kept(&snapshot, 7).unwrap();
    assert_eq!(state.fit(&foreign).unwrap_err().code(), "schema_mismatch");
    assert_eq!(state.snapshot(), snapshot);
}

/// A value of few, some missing, some on a cut.
fn any_value() -> impl Strategy<Value = f32> {
    prop::sample::select(vec![f32::NAN, f32::NEG_INFINITY, -1.5, -0.0, 0.0, 0.25, 1.0, 2.0, 1e9])
}

fn any_bins() -> impl Strategy<Value = Bins> {
    (any::<bool>(), prop::collection::vec(any_value(), 0..=Bins::MOST)).prop_map(|(is_code, mut named)| {
        named.retain(|value| !value.is_nan());
        named.sort_by(f32::total_cmp);
        if is_code {
            named.dedup_by_key(|value| value.to_bits());
            return Bins::Codes(named.iter().map(|value| value.to_bits()).collect());
        }
        named.dedup();
        Bins::Cuts(named)
    })
}

/// The rows in each bin, bin by bin as it is defined.
fn counted(bins: &Bins, values: &[f32]) -> Vec<u32> {
    let rows = |is_in: &dyn Fn(f32) -> bool| values.iter().filter(|value| is_in(**value)).count() as u32;
    let missing = rows(&f32::is_nan);
    let mut counts: Vec<u32> = match bins {
        Bins::Cuts(cuts) => {
            (0..cuts.len()).map(|at| rows(&|x| x <= cuts[at] && (at == 0 || x > cuts[at - 1]))).collect()
        }
        Bins::Codes(codes) => codes.iter().map(|bits| rows(&|x| x.to_bits() == *bits)).collect(),
    };
    counts.push(values.len() as u32 - missing - counts.iter().sum::<u32>());
    counts.push(missing);
    counts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Members are counted where their values are, and by their own shares they have not drifted.
    #[test]
    fn what_drifts_is_counted_bin_by_bin(
        bins in prop::collection::vec(any_bins(), 0..5),
        rows in prop::collection::vec((prop::collection::vec(any_value(), 5), 1_u8..=5), 1..40),
    ) {
        let column = |at: usize| rows.iter().map(|(features, _)| features[at]).collect::<Vec<_>>();
        let expected: Vec<Vec<u32>> = bins.iter().enumerate().map(|(at, bins)| counted(bins, &column(at))).collect();
        let tiers: Vec<u32> = (1..=5).map(|k| rows.iter().filter(|(_, tier)| *tier == k).count() as u32).collect();
        let shares = |counts: &[u32]| counts.iter().map(|n| *n as f32 / rows.len() as f32).collect::<Vec<_>>();
        let watched = |((at, bins), counts): ((usize, &Bins), &Vec<u32>)| {
            Watched { feature: at as u32, bins: bins.clone(), shares: shares(counts) }
        };
        let reference = Reference {
            rows: rows.len() as u64,
            features: bins.iter().enumerate().zip(&expected).map(watched).collect(),
            tiers: shares(&tiers),
        };
        let mut counts = vec![0; reference.bins()];
        for (features, tier) in &rows {
            reference.count(features, *tier, &mut counts).unwrap();
        }
        prop_assert_eq!(&counts, &[expected, vec![tiers]].concat().concat());
        let bundle = bundle();
        let found = reference.psi(bundle.schema(), &counts).unwrap();
        prop_assert_eq!(found.len(), bins.len() + 1);
        prop_assert!(found.iter().all(|found| found.psi == 0.0 && found.rows == rows.len() as u64));
        // Whatever else was counted, the index is a number that is not below 0.
        counts.reverse();
        let found = reference.psi(bundle.schema(), &counts).unwrap();
        prop_assert!(found.iter().all(|found| found.psi >= 0.0 && found.psi.is_finite()));
    }
}
