//! Bundles whose hashes are right and whose content is not.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use std::panic::catch_unwind;

use sha2::{Digest, Sha256};
use tiercast_core::{Bundle, MemberState, Scorer};
use tiercast_tests::read;

const FIXTURE: &str = "tests/fixtures/fixture.tcb";

/// The fixture with one section's content changed in place, and its hash made right.
fn with_section(name: &str, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = read(FIXTURE).unwrap();
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
fn a_model_for_another_schema_is_refused_before_the_first_score() {
    let bytes = with_section("schema", |schema| replace(schema, "\"spend_28d\"", "\"spend_28x\""));
    assert_eq!(Scorer::load(&bytes).unwrap_err().code(), "schema_mismatch");
}

#[test]
fn another_task_asks_for_an_update() {
    let bytes = with_section("manifest", |manifest| replace(manifest, "\"tier\"", "\"risk\""));
    assert_eq!(Scorer::load(&bytes).unwrap_err().code(), "bundle_version");
}

#[test]
fn a_section_that_is_not_json_is_refused() {
    let bytes = with_section("card", |card| card[0] = b'x');
    assert_eq!(Scorer::load(&bytes).unwrap_err().code(), "bundle_section");
}

#[test]
fn a_model_that_is_not_onnx_is_refused() {
    let bytes = with_section("model.onnx", |model| model.fill(0xff));
    assert_eq!(Scorer::load(&bytes).unwrap_err().code(), "invalid_model");
}

#[test]
fn a_model_of_another_contract_is_refused() {
    for name in ["features", "probabilities"] {
        let other = name.to_uppercase();
        let bytes = with_section("model.onnx", |model| {
            while model.windows(name.len()).any(|window| window == name.as_bytes()) {
                replace(model, name, &other);
            }
        });
        assert_eq!(Scorer::load(&bytes).unwrap_err().code(), "invalid_model", "{name}");
    }
}

#[test]
fn a_damaged_model_never_panics() {
    let length = Bundle::parse(&read(FIXTURE).unwrap()).unwrap().onnx().len();
    // Every byte of the graph, of which weights are not a part; the masks turn types, lengths and names into others.
    let weights = 64 * 64 * 4;
    for at in (0..length).filter(|at| length < weights || at % 97 == 0 || *at < 500 || *at + 500 > length) {
        for mask in [0x01, 0x09, 0x24, 0x80, 0xff] {
            let bytes = with_section("model.onnx", |model| model[at] ^= mask);
            let outcome = catch_unwind(|| {
                let Ok(scorer) = Scorer::load(&bytes) else { return };
                let _ = scorer.score_batch(&vec![1.0; scorer.bundle().schema().len()]);
            });
            assert!(outcome.is_ok(), "byte {at}, mask {mask:#x}");
        }
    }
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
    let mut longer = snapshot[..snapshot.len() - 4].to_vec();
    longer.push(0);
    let check = Sha256::digest(&longer);
    longer.extend_from_slice(&check[..4]);
    assert_eq!(MemberState::restore(&longer, bundle.schema()).unwrap_err().code(), "invalid_state");
    for cut in 0..snapshot.len() {
        assert_eq!(
            MemberState::restore(&snapshot[..cut], bundle.schema()).unwrap_err().code(),
            "invalid_state"
        );
    }
}
