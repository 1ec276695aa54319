//! Parsers under damaged input, for a bounded time: whatever the bytes are, the answer is a value or a coded error.
//!
//! `TIERCAST_FUZZ_SECONDS` (5 a parser if unset) and `TIERCAST_FUZZ_SEED` steer it; a failure prints its input.

#![allow(clippy::unwrap_used)] // A test that cannot go on should say where.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tiercast_core::{
    Bundle, EventInput, LowerOptions, MemberState, Model, Plan, Port, RecommendOptions, Scorer, lower,
};
use tiercast_tests::{at_root, checksum, members, read, section, sign_snapshot};

const FIXTURE: &str = "tests/fixtures/fixture.tcb";
/// Models alone: of the smallest build's kernels, and of others.
const MODELS: [&str; 2] = ["tests/fixtures/model-dense.tcb", "tests/fixtures/model-conv.tcb"];

/// Feeds mutations of `seeds` to `parse` until the time is up.
fn fuzz(name: &str, seeds: &[Vec<u8>], parse: impl Fn(&[u8])) {
    let number = |key: &str| env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let seed = number("TIERCAST_FUZZ_SEED").unwrap_or(now);
    let end = Instant::now() + Duration::from_secs(number("TIERCAST_FUZZ_SECONDS").unwrap_or(5));
    let mut random = StdRng::seed_from_u64(seed);
    let mut runs = 0_u64;
    while Instant::now() < end {
        let mut input = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(1..8) {
            mutate(&mut random, &mut input);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| parse(&input)));
        assert!(outcome.is_ok(), "{name} panicked; seed {seed}; input {}", input.escape_ascii());
        runs += 1;
    }
    println!("{name}: {runs} inputs, seed {seed}");
    assert!(runs > 100, "{name}: only {runs} inputs in the time given");
}

fn mutate(random: &mut StdRng, input: &mut Vec<u8>) {
    const TOKENS: [&[u8]; 10] = [
        b"\"",
        b"{",
        b"null",
        b"-1",
        b"1e999",
        b"\"time\":",
        b"[[[[",
        b"\xff",
        b"9223372036854775808",
        b"\\u0000",
    ];
    let at = random.random_range(0..=input.len());
    match random.random_range(0..6) {
        0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        1 if at < input.len() => input[at] = random.random(),
        2 => input.truncate(at),
        3 => {
            let token = TOKENS[random.random_range(0..TOKENS.len())];
            input.splice(at..at, token.iter().copied());
        }
        4 => {
            let end = (at + random.random_range(0..16)).min(input.len());
            input.drain(at..end);
        }
        _ => {
            let from = random.random_range(0..=input.len());
            let end = (from + 12).min(input.len());
            let piece = input[from..end].to_vec();
            input.splice(at..at, piece);
        }
    }
}

#[test]
fn events_are_read_or_refused() {
    let bundle = Bundle::parse(&read(FIXTURE).unwrap()).unwrap();
    let rules = &bundle.schema().spec().events;
    let seeds: Vec<_> = members::all(&bundle)
        .unwrap()
        .iter()
        .flat_map(|m| m.events.iter().take(5).map(|e| e.to_string().into_bytes()))
        .collect();
    fuzz("events", &seeds, |input| {
        if let Ok(event) = EventInput::from_json(input).and_then(|input| input.validate(rules)) {
            assert!(event.amount >= 0 && event.discount >= 0);
        }
    });
}

#[test]
fn bundles_are_read_or_refused() {
    let whole = read(FIXTURE).unwrap();
    Scorer::load(&whole).unwrap();
    fuzz("bundles", &[whole], |input| {
        // What loads has its check sums, so its content is whole.
        if let Ok(scorer) = Scorer::load(input) {
            scorer.score_batch(&vec![0.0; scorer.bundle().schema().len()]).unwrap();
        }
    });
}

/// Sections are protected by their hashes, so damage inside them is made before the hashes are.
#[test]
fn bundles_with_damaged_sections_and_right_hashes_are_read_or_refused() {
    let whole = read(FIXTURE).unwrap();
    Scorer::load(&whole).unwrap();
    fuzz("sections", &[whole], |input| {
        let Some(bytes) = rehashed(input) else { return };
        if let Ok(scorer) = Scorer::load(&bytes) {
            let bundle = scorer.bundle();
            let state = bundle.new_member();
            let now = tiercast_core::Timestamp::from_ms(members::NOW).unwrap();
            let features = bundle.schema().features_at(&state, now).unwrap();
            let k = bundle.rules().len();
            match scorer.score_batch(&features) {
                Ok(scores) => assert!(scores.len() == k && scores.iter().all(|p| (0.0..=1.0).contains(p))),
                Err(error) => assert_eq!(error.code(), "model_failed"),
            }
            bundle.decide(&state, now, features, vec![1.0 / k as f32; k]).unwrap();
        }
    });
}

#[test]
fn catalogues_with_right_check_sums_are_read_or_refused() {
    let whole = read("tests/fixtures/recommend.tcb").unwrap();
    let now = tiercast_core::Timestamp::from_ms(members::NOW).unwrap();
    let proved = Scorer::load(&whole).unwrap();
    let vectors = proved.bundle().vectors().unwrap();
    let options = RecommendOptions { diversity: Some(0.3), ..RecommendOptions::default() };
    let mut kept = section("tests/fixtures/recommend.tcb", "recommend");
    kept.truncate(4096);
    let at = whole.windows(kept.len()).position(|bytes| bytes == kept).unwrap();
    let length = section("tests/fixtures/recommend.tcb", "recommend").len();
    fuzz("catalogues", &[whole[at..at + length].to_vec()], |input| {
        // As long as it was, so that the table still holds.
        let mut bytes = whole.clone();
        let input = &input[..input.len().min(length)];
        bytes[at..at + input.len()].copy_from_slice(input);
        let Ok(scorer) = Scorer::load(&rehashed(&bytes).unwrap()) else { return };
        for vector in &vectors {
            let mut state = scorer.bundle().new_member();
            scorer.bundle().observe(&mut state, &vector.events).unwrap();
            let list = scorer.recommend(&state, now, &options).unwrap();
            assert!(list.iter().all(|item| (0.0..=1.0).contains(&item.probability)));
        }
    });
}

/// The largest plan that is run here: what a plan may cost is bounded, but not to the time of a test.
const SMALL: usize = 1 << 16;

/// Runs a plan on as many rows as fit, and by its first input's rows in blocks.
fn run_plan(plan: &Plan) {
    if plan.row_floats() > SMALL {
        return;
    }
    let mut workspace = plan.workspace(3);
    let rows = workspace.rows();
    plan.run(&mut workspace, rows).unwrap();
    let len = |ports: &[Port]| ports.first().map_or(0, Port::len);
    let (width, mut out) = (len(plan.inputs()), Vec::new());
    let outcome = plan.run_rows(&mut workspace, &vec![0.5; width * 4], &mut out);
    if plan.inputs().len() == 1 && width > 0 {
        outcome.unwrap();
        assert_eq!(out.len(), len(plan.outputs()) * 4);
    } else {
        assert_eq!(outcome.unwrap_err().code(), "invalid_input");
    }
}

#[test]
fn plans_are_read_or_refused() {
    let seeds = [FIXTURE, MODELS[0], MODELS[1]].map(|bundle| section(bundle, "plan"));
    seeds.iter().for_each(|seed| run_plan(&Plan::read(seed).unwrap()));
    fuzz("plans", &seeds, |input| {
        if let Ok(plan) = Plan::read(input) {
            run_plan(&plan);
        }
    });
}

#[test]
fn models_alone_with_right_check_sums_are_read_or_refused() {
    let seeds = MODELS.map(|bundle| read(bundle).unwrap());
    assert!(seeds.iter().all(|seed| Model::load(seed).is_ok()));
    fuzz("models", &seeds, |input| {
        let model = rehashed(input).and_then(|bytes| Model::load(&bytes).ok());
        if let Some(plan) = model.as_ref().and_then(Model::plan) {
            assert_eq!((plan.inputs().len(), plan.outputs().len()), (1, 1));
            run_plan(plan);
        }
    });
}

#[test]
fn onnx_files_are_lowered_or_refused() {
    let torch = fs::read_dir(at_root("tests/conformance/torch")).unwrap();
    let mut paths: Vec<_> = torch.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let torch = paths.iter().map(|path| fs::read(path).unwrap());
    let seeds: Vec<_> = torch.chain([section("tests/fixtures/fixture-onnx.tcb", "model.onnx")]).collect();
    assert!(seeds.len() > 10);
    let lowered = |input: &[u8]| lower(input, &LowerOptions::default());
    seeds.iter().for_each(|seed| run_plan(&lowered(seed).unwrap()));
    fuzz("ONNX", &seeds, |input| {
        if let Ok(plan) = lowered(input) {
            run_plan(&Plan::read(&plan.write()).unwrap());
        }
    });
}

fn rehashed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = bytes.to_vec();
    let count = u32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?).min(64) as usize;
    for entry in (0..count).map(|i| 16 + i * 40) {
        let number =
            |at: usize| usize::try_from(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?)).ok();
        let (offset, length) = (number(entry + 16)?, number(entry + 24)?);
        let sum = checksum(bytes.get(offset..offset.checked_add(length)?)?);
        out.get_mut(entry + 32..entry + 40)?.copy_from_slice(&sum.to_le_bytes());
    }
    Some(out)
}

#[test]
fn snapshots_are_read_or_refused() {
    let bundle = Bundle::parse(&read(FIXTURE).unwrap()).unwrap();
    let schema = bundle.schema();
    let seeds: Vec<_> = members::all(&bundle)
        .unwrap()
        .iter()
        .filter_map(|member| {
            let mut state = bundle.new_member();
            for event in &member.events {
                let text = event.to_string();
                let input = EventInput::from_json(text.as_bytes()).ok()?;
                state.observe(input.validate(&schema.spec().events).ok()?);
            }
            Some(state.snapshot())
        })
        .collect();
    fuzz("snapshots", &seeds, |input| {
        // Damage behind the check sum too: half of the inputs get a right one.
        let mut input = input.to_vec();
        if input.len() > 16 && input.len().is_multiple_of(2) {
            sign_snapshot(&mut input);
        }
        if let Ok(state) = MemberState::restore(&input, schema) {
            let now = tiercast_core::Timestamp::from_ms(members::NOW).unwrap();
            if let Err(error) = schema.features_at(&state, now) {
                assert_eq!(error.code(), "too_late");
            }
            assert!(state.len() <= schema.spec().capacity as usize);
        }
    });
}
