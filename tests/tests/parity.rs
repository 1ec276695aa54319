//! The vectors, run by native code.

use std::fs;

use tiercast_core::{Bundle, Scorer};
use tiercast_tests::{DamageVectors, MemberVectors, agree, at_root, members, read, run};

fn load<T: serde::de::DeserializeOwned>(path: &str) -> T {
    serde_json::from_slice(&read(path).unwrap()).unwrap()
}

#[test]
fn members_give_the_stored_features_scores_and_decisions() {
    let vectors: MemberVectors = load("tests/vectors/members.json");
    let scorer = Scorer::load(&read(&vectors.bundle).unwrap()).unwrap();
    for case in &vectors.cases {
        let found = run(&scorer, case);
        assert!(agree(&case.expect, &found), "{}:\nexpected {:?}\nfound {found:?}", case.name, case.expect);
    }
    println!("{} members agree", vectors.cases.len());
}

#[test]
fn the_stored_members_are_the_ones_the_generator_makes() {
    let vectors: MemberVectors = load("tests/vectors/members.json");
    let stored: Vec<_> = vectors.cases.iter().map(|c| (&c.name, &c.events, c.now)).collect();
    let made = members::all();
    let made: Vec<_> = made.iter().map(|m| (&m.name, &m.events, m.now)).collect();
    assert_eq!(stored, made, "run `cargo xtask vectors`");
}

#[test]
fn every_error_code_of_events_and_bundles_has_a_vector() {
    let text = fs::read_to_string(at_root("tests/vectors/members.json")).unwrap()
        + &fs::read_to_string(at_root("tests/vectors/damage.json")).unwrap();
    for code in [
        "invalid_event",
        "unknown_kind",
        "invalid_amount",
        "invalid_time",
        "invalid_quantity",
        "invalid_text",
        "too_late",
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
fn damaged_bundles_are_refused_with_the_stored_code() {
    let vectors: DamageVectors = load("tests/vectors/damage.json");
    let bundle = read(&vectors.bundle).unwrap();
    for case in &vectors.cases {
        let refused = Bundle::parse(&case.apply(&bundle)).unwrap_err();
        assert_eq!(refused.code(), case.error, "{}: {refused}", case.name);
    }
}

#[test]
fn the_fixture_proves_itself() {
    let scorer = Scorer::load(&read("tests/fixtures/fixture.tcb").unwrap()).unwrap();
    assert_eq!(scorer.prove().unwrap(), scorer.bundle().vectors().len());
}
