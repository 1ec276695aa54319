//! The vectors, run by native code.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use std::fs;

use tiercast_core::{Bundle, Decode, Scorer};
use tiercast_tests::{DamageVectors, Expect, MemberVectors, at_root, hex, members, read, run};

fn load<T: serde::de::DeserializeOwned>(path: &str) -> T {
    serde_json::from_slice(&read(path).unwrap()).unwrap()
}

#[test]
fn members_give_the_stored_features_scores_and_decisions() {
    let vectors: MemberVectors = load("tests/vectors/members.json");
    let scorer = Scorer::load(&read(&vectors.bundle).unwrap()).unwrap();
    for case in &vectors.cases {
        let found = run(&scorer, case);
        assert_eq!(case.expect, found, "{}", case.name);
    }
    println!("{} members agree", vectors.cases.len());
}

#[test]
fn the_stored_members_are_the_ones_the_generator_makes() {
    let vectors: MemberVectors = load("tests/vectors/members.json");
    let bundle = Bundle::parse(&read(&vectors.bundle).unwrap()).unwrap();
    let stored: Vec<_> =
        vectors.cases.iter().map(|c| (&c.name, &c.events, c.now, c.snapshot.clone())).collect();
    let made = members::all(&bundle).unwrap();
    let made: Vec<_> =
        made.iter().map(|m| (&m.name, &m.events, m.now, m.snapshot.as_deref().map(hex))).collect();
    assert_eq!(stored, made, "run `cargo xtask vectors`");
}

#[test]
fn every_error_code_that_input_can_cause_has_a_vector() {
    let text = fs::read_to_string(at_root("tests/vectors/members.json")).unwrap()
        + &fs::read_to_string(at_root("tests/vectors/damage.json")).unwrap();
    for code in [
        "invalid_event",
        "unknown_kind",
        "invalid_amount",
        "invalid_time",
        "invalid_quantity",
        "invalid_text",
        "invalid_origin",
        "too_late",
        "invalid_state",
        "state_version",
        "schema_mismatch",
        "not_a_bundle",
        "bundle_version",
        "bundle_truncated",
        "bundle_hash",
        "bundle_section",
    ] {
        assert!(text.contains(&format!("\"error\":\"{code}\"")), "{code}");
    }
}

#[test]
fn the_fixture_has_every_formula() {
    let bundle = Bundle::parse(&read("tests/fixtures/fixture.tcb").unwrap()).unwrap();
    let spec = serde_json::to_string(bundle.schema().spec()).unwrap();
    for word in [
        "recency",
        "tenure",
        "count",
        "sum",
        "net_spend",
        "mean",
        "max",
        "distinct",
        "gap",
        "decayed",
        "trend",
        "share",
        "discount_share",
        "calendar",
        "mode",
        "std",
        "last",
        "variation",
        "month",
        "weekday",
        "year_sin",
        "year_cos",
        "week_sin",
        "week_cos",
        "amount",
        "quantity",
        "item",
        "order",
        "channel",
        "category",
        "speed",
        "onset",
        "refund_share",
        "oddness",
        "familiarity",
        "device",
        "card",
        "address",
        "network",
        "device_members",
    ] {
        assert!(spec.contains(&format!("\"{word}\"")), "{word}");
    }
}

#[test]
fn a_batch_gives_the_bits_of_single_rows() {
    let scorer = Scorer::load(&read("tests/fixtures/fixture.tcb").unwrap()).unwrap();
    let rows: Vec<f32> = (0..scorer.bundle().schema().len() * 2100).map(|i| (i % 977) as f32 / 7.0).collect();
    let bits = |probabilities: Vec<f32>| probabilities.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let batch = bits(scorer.score_batch(&rows).unwrap());
    let single = rows.chunks(scorer.bundle().schema().len()).map(|row| scorer.score_batch(row).unwrap());
    assert_eq!(batch.len(), 2100 * scorer.bundle().rules().len());
    assert_eq!(batch, bits(single.flatten().collect()));
}

/// The same model, kept as ONNX and run by tract: another program's opinion of every case.
#[test]
fn tract_agrees_with_the_compact_engine() {
    let vectors: MemberVectors = load("tests/vectors/members.json");
    let tract = Scorer::load(&read("tests/fixtures/fixture-onnx.tcb").unwrap()).unwrap();
    for case in &vectors.cases {
        match (&case.expect, run(&tract, case)) {
            (
                Expect::Assessment { features, probabilities, tier, standing },
                Expect::Assessment { features: f, probabilities: p, tier: t, standing: s },
            ) => {
                assert_eq!((features, tier, standing), (&f, &t, &s), "{}", case.name);
                // tract orders its sums by the machine's vector width.
                let near = probabilities.iter().zip(&p).all(|(a, b)| (a - b).abs() <= 1e-5);
                assert!(
                    near && probabilities.len() == p.len(),
                    "{}: {probabilities:?}, tract {p:?}",
                    case.name
                );
            }
            (expected, found) => assert_eq!(expected, &found, "{}", case.name),
        }
    }
}

#[test]
fn damaged_bundles_are_refused_with_the_stored_code() {
    let vectors: DamageVectors = load("tests/vectors/damage.json");
    let bundle = read(&vectors.bundle).unwrap();
    for case in &vectors.cases {
        let refused = Bundle::parse(&case.apply(&bundle)).unwrap_err();
        assert_eq!(refused.code(), case.error, "{}: {refused}", case.name);
    }
}

#[test]
fn the_fixtures_prove_themselves() {
    for fixture in
        ["fixture.tcb", "fixture-onnx.tcb", "ranks.tcb", "profile.tcb", "recommend.tcb", "decide.tcb"]
    {
        let scorer = Scorer::load(&read(&format!("tests/fixtures/{fixture}")).unwrap()).unwrap();
        assert!(scorer.prove().unwrap() > 0, "{fixture}");
    }
}

/// Otherwise the runtimes that prove it would not notice if they decoded in another way.
#[test]
fn no_other_decoding_gives_what_the_fixture_of_ranks_expects() {
    let bundle = Bundle::parse(&read("tests/fixtures/ranks.tcb").unwrap()).unwrap();
    assert_eq!(bundle.manifest().decode, Decode::Ranks);
    let vectors = bundle.vectors().unwrap();
    for decode in [Decode::Argmax, Decode::Median, Decode::Expected] {
        let differs = |v: &tiercast_core::Vector| decode.decode(&v.probabilities, &[]) != v.tier;
        assert!(vectors.iter().any(differs), "{decode:?}");
    }
}
