//! Bundles whose hashes are right and whose content is not.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use std::panic::catch_unwind;

use sha2::{Digest, Sha256};
use tiercast_core::{Bundle, LowerOptions, MemberState, Model, Scorer, lower};
use tiercast_tests::{read, section, sign_snapshot};

const FIXTURE: &str = "tests/fixtures/fixture.tcb";

/// The same model, kept as ONNX.
const ONNX_FIXTURE: &str = "tests/fixtures/fixture-onnx.tcb";

/// The fixture with one section's content changed in place, and its hash made right.
fn with_section(name: &str, change: impl Fn(&mut [u8])) -> Vec<u8> {
    with_section_of(FIXTURE, name, change)
}

fn with_section_of(fixture: &str, name: &str, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = read(fixture).unwrap();
    let sections = Bundle::parse(&bytes).unwrap().sections().to_vec();
    let at = sections.iter().position(|section| section.name == name).unwrap();
    let entry = 16 + at * 64;
    let offset = u64::from_le_bytes(bytes[entry + 16..entry + 24].try_into().unwrap()) as usize;
    let content = &mut bytes[offset..offset + sections[at].length];
    change(content);
    let hash = Sha256::digest(&*content);
    bytes[entry + 32..entry + 64].copy_from_slice(&hash);
    bytes
}

fn replace(content: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let at = content.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    content[at..at + to.len()].copy_from_slice(to.as_bytes());
}

#[test]
fn a_model_for_other_formulas_is_refused_before_the_first_score() {
    let bytes =
        with_section("scorer", |scorer| replace(scorer, "tiercast-features-1", "tiercast-features-2"));
    assert_eq!(Scorer::load(&bytes).unwrap_err().code(), "schema_mismatch");
}

#[test]
fn another_task_asks_for_an_update() {
    let bytes = with_section("scorer", |scorer| replace(scorer, "\u{4}tier", "\u{4}risk"));
    assert_eq!(Scorer::load(&bytes).unwrap_err().code(), "bundle_version");
}

#[test]
fn a_section_that_is_not_text_is_refused() {
    let bytes = with_section("card", |card| card[0] = 0xff);
    assert_eq!(Scorer::load(&bytes).unwrap_err().code(), "bundle_section");
}

#[test]
fn a_model_that_is_none_is_refused() {
    for (fixture, name) in [(FIXTURE, "plan"), (ONNX_FIXTURE, "model.onnx")] {
        let bytes = with_section_of(fixture, name, |model| model.fill(0xff));
        assert_eq!(Scorer::load(&bytes).unwrap_err().code(), "invalid_model");
    }
}

#[test]
fn a_damaged_model_never_panics() {
    for (fixture, name) in [(FIXTURE, "plan"), (ONNX_FIXTURE, "model.onnx")] {
        let length = section(fixture, name).len();
        // Every byte of the graph, of which most weights are not a part; the masks turn types, lengths and names into others.
        for at in (0..length).filter(|at| at % 97 == 0 || *at < 800 || *at + 800 > length) {
            for mask in [0x01, 0x09, 0x24, 0x80, 0xff] {
                let bytes = with_section_of(fixture, name, |model| model[at] ^= mask);
                let outcome = catch_unwind(|| {
                    let Ok(scorer) = Scorer::load(&bytes) else { return };
                    let _ = scorer.score_batch(&vec![1.0; scorer.bundle().schema().len()]);
                });
                assert!(outcome.is_ok(), "{name}, byte {at}, mask {mask:#x}");
            }
        }
    }
}

#[test]
fn a_hash_that_is_not_that_of_the_declaration_is_found() {
    let bytes = with_section("scorer", |scorer| replace(scorer, "spend_28d", "spend_28x"));
    assert_eq!(Scorer::load(&bytes).unwrap().prove().unwrap_err().code(), "model_failed");
}

#[test]
fn a_model_alone_is_no_scorer_and_a_scorer_no_model() {
    let plan = lower(&section(ONNX_FIXTURE, "model.onnx"), &LowerOptions::default()).unwrap();
    let model = Model::write("alone", "test", &plan).unwrap();
    assert_eq!(Model::load(&model).unwrap().manifest().input, "features");
    assert_eq!(Scorer::load(&model).unwrap_err().code(), "bundle_section");
    assert_eq!(Model::load(&read(FIXTURE).unwrap()).unwrap_err().code(), "bundle_section");
}

#[test]
fn a_snapshot_of_another_shop_is_refused() {
    let bundle = Bundle::parse(&read(FIXTURE).unwrap()).unwrap();
    let snapshot = bundle.new_member().snapshot();
    let mut spec = bundle.schema().spec().clone();
    spec.events.currency.code = "EUR".into();
    let other = tiercast_core::FeatureSchema::compile(spec).unwrap();
    assert_eq!(MemberState::restore(&snapshot, &other).unwrap_err().code(), "schema_mismatch");
    let mut future = snapshot.clone();
    future[3] = 9;
    assert_eq!(MemberState::restore(&future, bundle.schema()).unwrap_err().code(), "state_version");
    let mut longer = snapshot.clone();
    longer.push(0);
    sign_snapshot(&mut longer);
    assert_eq!(MemberState::restore(&longer, bundle.schema()).unwrap_err().code(), "invalid_state");
    for cut in 0..snapshot.len() {
        assert_eq!(
            MemberState::restore(&snapshot[..cut], bundle.schema()).unwrap_err().code(),
            "invalid_state"
        );
    }
}
