//! Bundles whose check sums are right and whose content is not.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use std::{ops::Range, panic::catch_unwind};

use prost::Message;
use tiercast_core::{
    Action, Bins, Bundle, BundleParts, DecideOptions, LowerOptions, MemberState, Model, Policy, Reference,
    Scorer, Section, Task, Timestamp, Watched, lower,
};
use tiercast_tests::{checksum, read, section, sign_snapshot};
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};

const FIXTURE: &str = "tests/fixtures/fixture.tcb";

/// Another, with policies and points.
const DECIDING: &str = "tests/fixtures/decide.tcb";

/// The same model, kept as ONNX.
const ONNX_FIXTURE: &str = "tests/fixtures/fixture-onnx.tcb";

/// The fixture with one section's content changed in place, and its check sum made right.
fn with_section(name: &str, change: impl Fn(&mut [u8])) -> Vec<u8> {
    with_section_of(FIXTURE, name, change)
}

fn with_section_of(fixture: &str, name: &str, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = read(fixture).unwrap();
    let (entry, place) = place_of(&bytes, name);
    let content = &mut bytes[place];
    change(content);
    let sum = checksum(content);
    bytes[entry + 32..entry + 40].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Where a section's line of the table begins, and where its content is.
fn place_of(bytes: &[u8], name: &str) -> (usize, Range<usize>) {
    let sections = Bundle::parse(bytes).unwrap().sections().to_vec();
    let at = sections.iter().position(|section| section.name == name).unwrap();
    let entry = 16 + at * 40;
    let offset = u64::from_le_bytes(bytes[entry + 16..entry + 24].try_into().unwrap()) as usize;
    (entry, offset..offset + sections[at].length)
}

/// What drift of the fixture is measured by, as if 8 rows had trained it: a number and a code.
fn reference() -> Reference {
    let shares = vec![0.25, 0.5, 0.25, 0.0];
    let number = Watched { feature: 0, bins: Bins::Cuts(vec![1.0, 2.5]), shares: shares.clone() };
    let codes = vec![3.0_f32.to_bits(), 5.0_f32.to_bits()];
    let code = Watched { feature: 4, bins: Bins::Codes(codes), shares };
    Reference { rows: 8, features: vec![number, code], tiers: vec![0.5, 0.25, 0.125, 0.125, 0.0] }
}

/// The fixture with that.
fn with_drift() -> Vec<u8> {
    let parts = Bundle::parts(&read(FIXTURE).unwrap()).unwrap();
    Bundle::write(BundleParts { drift: Some(reference()), ..parts }).unwrap()
}

/// A fixture with another content in one section, of whatever length.
fn with_content(fixture: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let bytes = read(fixture).unwrap();
    let sections = Bundle::parse(&bytes).unwrap().sections().to_vec();
    let mut out = bytes[..16 + sections.len() * 40].to_vec();
    for (i, known) in sections.iter().enumerate() {
        let content = if known.name == name { content.to_vec() } else { section(fixture, &known.name) };
        out.resize(out.len().next_multiple_of(16), 0);
        let place = [out.len() as u64, content.len() as u64, checksum(&content)];
        let entry = 16 + i * 40 + 16;
        out[entry..entry + 24].copy_from_slice(&place.map(u64::to_le_bytes).concat());
        out.extend(content);
    }
    out
}

/// The fixture's ONNX model with a change to its graph.
fn changed(change: impl Fn(&mut GraphProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(&*section(ONNX_FIXTURE, "model.onnx")).unwrap();
    change(model.graph.as_mut().unwrap());
    model.encode_to_vec()
}

fn node(op: &str, inputs: [&str; 2], output: &str) -> NodeProto {
    let input = inputs.map(String::from).to_vec();
    NodeProto { op_type: op.into(), input, output: vec![output.into()], ..NodeProto::default() }
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
fn a_model_of_another_contract_is_refused() {
    let two_inputs = changed(|graph| {
        let fed = graph.input[0].clone();
        for name in graph.node.iter_mut().flat_map(|node| &mut node.input) {
            *name = if *name == fed.name { "both".into() } else { name.clone() };
        }
        graph.node.insert(0, node("Add", [&fed.name, "more"], "both"));
        graph.input.push(ValueInfoProto { name: "more".into(), ..fed });
    });
    let wide_output = changed(|graph| {
        let output = graph.output[0].name.clone();
        let axis = AttributeProto { name: "axis".into(), r#type: 2, i: 1, ..AttributeProto::default() };
        graph.node.push(NodeProto { attribute: vec![axis], ..node("Concat", [&output, &output], "wide") });
        graph.output = vec![ValueInfoProto { name: "wide".into(), ..ValueInfoProto::default() }];
    });
    let other_input = read("tests/conformance/torch/torch-mlp.onnx").unwrap();
    let code = |model: &[u8]| {
        let plan = lower(model, &LowerOptions::default()).unwrap().write();
        let code = |bytes: &[u8]| Scorer::load(bytes).map_or_else(|e| e.code(), |_| "loaded");
        [code(&with_content(FIXTURE, "plan", &plan)), code(&with_content(ONNX_FIXTURE, "model.onnx", model))]
    };
    assert_eq!(code(&changed(|_| ())), ["loaded"; 2]);
    for (name, model) in [("inputs", two_inputs), ("output", wide_output), ("width", other_input)] {
        assert_eq!(code(&model), ["invalid_model"; 2], "{name}");
    }
}

#[test]
fn vectors_that_are_not_json_prove_nothing() {
    let bytes = with_section("vectors", |vectors| vectors[0] = b'x');
    assert_eq!(Scorer::load(&bytes).unwrap().prove().unwrap_err().code(), "bundle_section");
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
                    match scorer.score_batch(&vec![1.0; scorer.bundle().schema().len()]) {
                        Ok(scored) => assert_eq!(scored.len(), scorer.bundle().rules().len()),
                        Err(error) => assert_eq!(error.code(), "model_failed"),
                    }
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
fn a_proven_policy_an_experiment_and_points_travel() {
    let parts = Bundle::parts(&read(DECIDING).unwrap()).unwrap();
    let (proven, _) = parts.policies.of(Task::Reward).unwrap().clone();
    let again = Bundle::parts(&Bundle::write(parts.clone()).unwrap()).unwrap();
    assert_eq!((&again.policies, &again.points), (&parts.policies, &parts.points));
    assert_eq!(Scorer::load(&read(DECIDING).unwrap()).unwrap().policy(Task::Reward), Some(&proven));

    let action = |name: &str, points, share| Action { name: name.into(), points, share };
    let actions = vec![action("none", 0, 0.75), action("100 points", 100, 0.25)];
    let experiment = Policy { actions, learned: None, cap: 0, ..proven };
    let mut tried = parts;
    tried.vectors.clear();
    tried.policies.put(Task::Reward, experiment.clone(), Vec::new());
    let scorer = Scorer::load(&Bundle::write(tried).unwrap()).unwrap();
    assert_eq!(scorer.policy(Task::Reward), Some(&experiment));
    let state = scorer.bundle().new_member();
    let now = Timestamp::parse("2024-07-01").unwrap();
    let decision = scorer.decide(Task::Reward, &state, now, &DecideOptions::of("m")).unwrap();
    assert_eq!((decision.chances, decision.reasons), (vec![0.75, 0.25], vec![]));
}

#[test]
fn a_policy_that_is_not_proven_is_neither_written_nor_read() {
    let mut parts = Bundle::parts(&read(DECIDING).unwrap()).unwrap();
    let (policy, plan) = parts.policies.of(Task::Reward).unwrap().clone();
    let evidence = policy.learned.clone().unwrap().evidence;
    let mut worse = policy;
    if let Some(learned) = &mut worse.learned {
        learned.evidence.lower = evidence.incumbent;
    }
    parts.policies.put(Task::Reward, worse, plan);
    assert_eq!(Bundle::write(parts).unwrap_err().code(), "invalid_spec");
    let (lower, incumbent) = (evidence.lower.to_le_bytes(), evidence.incumbent.to_le_bytes());
    let forged = with_section_of(DECIDING, "reward", |policy| {
        let at = policy.windows(8).position(|bytes| bytes == lower).unwrap();
        policy[at..at + 8].copy_from_slice(&incumbent);
    });
    let refused = Scorer::load(&forged).unwrap_err();
    assert!(refused.code() == "invalid_spec" && refused.message().contains("not proven"), "{refused}");
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

#[test]
fn what_drift_is_measured_by_travels_and_changes_no_other_section() {
    let parts = Bundle::parts(&read(FIXTURE).unwrap()).unwrap();
    let old = Bundle::write(BundleParts { drift: None, ..parts }).unwrap();
    assert_eq!(Scorer::load(&old).unwrap().drift(), None);
    let without = Bundle::parse(&old).unwrap();
    let bytes = with_drift();
    let scorer = Scorer::load(&bytes).unwrap();
    assert!(scorer.prove().unwrap() > 0);
    assert_eq!(scorer.drift(), Some(&reference()));
    assert_eq!(Bundle::parts(&bytes).unwrap().drift, Some(reference()));
    let mut sections = scorer.bundle().sections().to_vec();
    let drift = sections.iter().position(|section: &Section| section.name == "drift").unwrap();
    sections.remove(drift);
    assert_eq!(sections, without.sections());
    let misfit = Reference { tiers: vec![1.0], ..reference() };
    let parts = BundleParts { drift: Some(misfit), ..Bundle::parts(&bytes).unwrap() };
    assert_eq!(Bundle::write(parts).unwrap_err().code(), "invalid_spec");
}

#[test]
fn damage_to_what_drift_is_measured_by_is_refused_or_sound() {
    let whole = with_drift();
    let (entry, content) = place_of(&whole, "drift");
    let damaged = |at: usize, mask: u8| {
        let mut bytes = whole.clone();
        bytes[at] ^= mask;
        bytes
    };
    // Its place in the table but not its name: a section of another name is one that this version does not know.
    for at in (entry + 16..entry + 40).chain(content.clone()) {
        for mask in [0x01, 0x80, 0xff] {
            let code = Bundle::parse(&damaged(at, mask)).unwrap_err().code();
            assert!(["bundle_hash", "bundle_truncated"].contains(&code), "byte {at}: {code}");
        }
    }
    let mut codes = std::collections::BTreeSet::new();
    for at in content.clone() {
        for mask in [0x01, 0x02, 0x04, 0x40, 0x80, 0xff] {
            let mut bytes = damaged(at, mask);
            let sum = checksum(&bytes[content.clone()]);
            bytes[entry + 32..entry + 40].copy_from_slice(&sum.to_le_bytes());
            let bundle = match Bundle::parse(&bytes) {
                Ok(bundle) => bundle,
                Err(error) => {
                    codes.insert(error.code());
                    continue;
                }
            };
            let reference = bundle.drift().unwrap();
            let mut counts = vec![0; reference.bins()];
            reference.count(&vec![1.0; bundle.schema().len()], 1, &mut counts).unwrap();
            let found = reference.psi(bundle.schema(), &counts).unwrap();
            assert!(found.iter().all(|found| found.psi.is_finite()), "byte {at}, mask {mask:#x}: {found:?}");
        }
    }
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), ["bundle_section", "invalid_spec"]);
}
