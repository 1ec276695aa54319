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
    Bundle, DecideOptions, EventInput, LowerOptions, MemberState, Model, Plan, Port, RecommendOptions,
    Scorer, Task, lower,
};
use tiercast_tests::{at_root, checksum, members, read, section, sign_snapshot};

const FIXTURE: &str = "tests/fixtures/fixture.tcb";
/// Policies and points.
const DECIDING: &str = "tests/fixtures/decide.tcb";
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

/// A fixture with a section's content replaced by an input, as long as it was, so that the table still holds.
struct Patched {
    whole: Vec<u8>,
    at: usize,
    length: usize,
}

impl Patched {
    fn of(fixture: &str, name: &str) -> Self {
        let (whole, content) = (read(fixture).unwrap(), section(fixture, name));
        let at = whole.windows(content.len()).position(|bytes| bytes == content).unwrap();
        Self { whole, at, length: content.len() }
    }

    fn seed(&self) -> Vec<u8> {
        self.whole[self.at..self.at + self.length].to_vec()
    }

    fn with(&self, input: &[u8]) -> Vec<u8> {
        let mut bytes = self.whole.clone();
        let input = &input[..input.len().min(self.length)];
        bytes[self.at..self.at + input.len()].copy_from_slice(input);
        rehashed(&bytes).unwrap()
    }
}

/// The members of a bundle's own vectors.
fn own_members(bundle: &Bundle) -> Vec<MemberState> {
    let member = |vector: &tiercast_core::Vector| {
        let mut state = bundle.new_member();
        bundle.observe(&mut state, &vector.events).unwrap();
        state
    };
    bundle.vectors().unwrap().iter().map(member).collect()
}

#[test]
fn catalogues_with_right_check_sums_are_read_or_refused() {
    let patched = Patched::of("tests/fixtures/recommend.tcb", "recommend");
    let now = tiercast_core::Timestamp::from_ms(members::NOW).unwrap();
    let members = own_members(Scorer::load(&patched.whole).unwrap().bundle());
    let options = RecommendOptions { diversity: Some(0.3), ..RecommendOptions::default() };
    fuzz("catalogues", &[patched.seed()], |input| {
        let Ok(scorer) = Scorer::load(&patched.with(input)) else { return };
        for state in &members {
            let list = scorer.recommend(state, now, &options).unwrap();
            assert!(list.iter().all(|item| (0.0..=1.0).contains(&item.probability)));
        }
    });
}

#[test]
fn policies_with_right_check_sums_are_read_or_refused() {
    let now = tiercast_core::Timestamp::from_ms(members::NOW).unwrap();
    for task in Task::ALL {
        for name in [task.name().to_string(), format!("{}.plan", task.name())] {
            let patched = Patched::of(DECIDING, &name);
            let members = own_members(Scorer::load(&patched.whole).unwrap().bundle());
            fuzz(&name, &[patched.seed()], |input| {
                let Ok(scorer) = Scorer::load(&patched.with(input)) else { return };
                for state in &members {
                    match scorer.decide(task, state, now, &DecideOptions::of("m")) {
                        Ok(decision) => {
                            assert!(decision.propensity > 0.0 && decision.propensity <= 1.0, "{decision:?}");
                            let sum: f32 = decision.chances.iter().sum();
                            assert!((sum - 1.0).abs() < 1e-3, "{decision:?}");
                        }
                        // A cap that leaves nothing, or a plan that gives nothing.
                        Err(error) => {
                            assert!(["invalid_input", "model_failed"].contains(&error.code()), "{error}")
                        }
                    }
                }
            });
        }
    }
}

#[test]
fn rules_for_points_with_right_check_sums_are_read_or_refused() {
    let patched = Patched::of(DECIDING, "points");
    let now = tiercast_core::Timestamp::from_ms(members::NOW).unwrap();
    let members = own_members(Scorer::load(&patched.whole).unwrap().bundle());
    fuzz("points", &[patched.seed()], |input| {
        let Ok(scorer) = Scorer::load(&patched.with(input)) else { return };
        for state in &members {
            match scorer.points(state, now, &[], None) {
                Ok(found) => {
                    let ended = found.redeemed + found.expired + found.reversed;
                    assert_eq!(found.earned, ended + found.balance, "{found:?}");
                }
                Err(error) => assert_eq!(error.code(), "invalid_input"),
            }
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
