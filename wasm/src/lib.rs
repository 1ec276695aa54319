//! The browser, Node and workerd binding of [`tiercast_core`].
//!
//! It translates and nothing else. Events come in as bytes; numbers go out through rooms in linear memory that
//! JavaScript looks into, whose addresses and lengths do not change while their owner lives; everything else is left for
//! it to copy ([`left`]). What can be refused says whether it was done, and leaves the refusal. The idiomatic interface is
//! TypeScript, in `web/`.
//!
//! There are no objects on the boundary, and but for what the smallest build leaves out ([`json`]) no JSON or serde behind
//! it: these would be most of the download.

mod answer;
mod events;
mod json;
mod left;
mod model;
#[cfg(all(target_arch = "wasm32", feature = "onnx"))]
mod start;

use std::{cell::RefCell, rc::Rc};

use tiercast_core as core;
use wasm_bindgen::prelude::*;

use self::{
    answer::Answer,
    left::{Refused, done},
};
pub use self::{
    left::{left, left_length},
    model::Model,
};

/// Rows that are scored at a time: what an engine's buffers are made for.
const BATCH_ROWS: usize = 128;

/// A loaded bundle.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Scorer(Rc<Loaded>);

/// A member's state and the scorer it belongs to.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Member {
    loaded: Rc<Loaded>,
    state: core::MemberState,
    /// The features of the last assessment and its moment, for the explanation that usually follows.
    assessed: RefCell<Option<(core::Timestamp, Vec<f32>)>>,
}

/// A scorer, and the room that it and its members score in.
#[derive(Debug)]
struct Loaded {
    scorer: core::Scorer,
    room: RefCell<Room>,
}

#[derive(Debug)]
struct Room {
    single: core::Scratch,
    /// Made when many rows are scored for the first time.
    batch: Option<core::Scratch>,
    row: Vec<f32>,
    /// Never grows beyond the tiers it is made for, so that it stays where it is.
    probabilities: Vec<f32>,
    answer: Answer,
}

/// Whether a bundle keeps an ONNX file, which only the build with tract runs.
#[wasm_bindgen(js_name = keepsOnnx)]
pub fn keeps_onnx(bundle: &[u8]) -> bool {
    core::Bundle::engine_of(bundle) == Ok(core::EngineKind::Onnx)
}

#[wasm_bindgen]
impl Scorer {
    /// Loads a bundle's bytes.
    pub fn load(bundle: &[u8]) -> Option<Self> {
        let scorer = done(core::Scorer::load(bundle))?;
        let (features, tiers) = (scorer.bundle().schema().len(), scorer.bundle().rules().len());
        let room = RefCell::new(Room {
            single: scorer.scratch(1),
            batch: None,
            row: vec![0.0; features],
            probabilities: vec![0.0; tiers],
            answer: Answer::new(features + tiers),
        });
        Some(Self(Rc::new(Loaded { scorer, room })))
    }

    /// Leaves a text of the bundle: 0 to 2 are the JSON sections `manifest`, `card` and `vectors`; what it scores by
    /// follows: 3 is the hash of the features' schema, 4 the currency; then come the tiers' names, the lowest first, the
    /// features', and, if the bundle has profiles, the segments' and the categories'.
    pub fn text(&self, which: usize) {
        let bundle = self.0.scorer.bundle();
        let spec = bundle.schema().spec();
        let tiers = &bundle.rules().tiers;
        left::text(match which {
            0 => bundle.json("manifest"),
            1 => bundle.json("card"),
            2 => bundle.json("vectors"),
            3 => &bundle.manifest().schema_hash,
            4 => &spec.events.currency.code,
            _ => match tiers.get(which - 5) {
                Some(tier) => &tier.name,
                None => named(bundle, self.0.scorer.profile_spec(), which - 5 - tiers.len()),
            },
        });
    }

    /// A number that the bundle scores by: 0 is the engine (0 plan, 1 ONNX), 1 how a tier is chosen (in the order of
    /// [`core::Decode`]), 2 the decimals of the currency; then come the tiers' thresholds in minor units and the cuts.
    /// NaN when there is no such number.
    pub fn number(&self, which: usize) -> f64 {
        let bundle = self.0.scorer.bundle();
        let (manifest, tiers) = (bundle.manifest(), &bundle.rules().tiers);
        match which {
            0 => f64::from(manifest.engine as u8),
            1 => f64::from(manifest.decode as u8),
            2 => bundle.schema().spec().events.currency.exponent.into(),
            _ => match tiers.get(which - 3) {
                Some(tier) => tier.at_least as f64,
                None => manifest.cuts.get(which - 3 - tiers.len()).map_or(f64::NAN, |cut| (*cut).into()),
            },
        }
    }

    /// A member without events.
    pub fn member(&self) -> Member {
        Member::of(&self.0, self.0.scorer.bundle().new_member())
    }

    /// A member from a snapshot.
    pub fn restore(&self, snapshot: &[u8]) -> Option<Member> {
        let state = core::MemberState::restore(snapshot, self.0.scorer.bundle().schema());
        done(state).map(|state| Member::of(&self.0, state))
    }

    /// Where one row of raw features is written before [`Scorer::score_row`].
    pub fn row(&self) -> *const f32 {
        self.0.room.borrow().row.as_ptr()
    }

    /// How many features there are.
    #[wasm_bindgen(js_name = rowLength)]
    pub fn row_length(&self) -> usize {
        self.0.room.borrow().row.len()
    }

    /// Where the row's probabilities are after [`Scorer::score_row`].
    pub fn probabilities(&self) -> *const f32 {
        self.0.room.borrow().probabilities.as_ptr()
    }

    /// How many tiers there are.
    #[wasm_bindgen(js_name = probabilitiesLength)]
    pub fn probabilities_length(&self) -> usize {
        self.0.scorer.bundle().rules().len()
    }

    /// Scores the row.
    #[wasm_bindgen(js_name = scoreRow)]
    pub fn score_row(&self) -> bool {
        let Room { single, row, probabilities, .. } = &mut *self.0.room.borrow_mut();
        probabilities.clear();
        done(self.0.scorer.score_in(single, row, probabilities)).is_some()
    }

    /// Leaves the probabilities for rows of raw features.
    #[wasm_bindgen(js_name = scoreBatch)]
    pub fn score_batch(&self, rows: &[f32]) -> bool {
        let mut out = Vec::new();
        let outcome = self.0.scorer.score_in(self.0.room.borrow_mut().batch(&self.0.scorer), rows, &mut out);
        done(outcome).map(|()| left::numbers(out)).is_some()
    }

    /// Where [`Member::assess`] and [`Member::observe`] leave their numbers; see [`Answer`].
    pub fn numbers(&self) -> *const f64 {
        self.0.room.borrow().answer.numbers().as_ptr()
    }

    /// How many these are.
    #[wasm_bindgen(js_name = numbersLength)]
    pub fn numbers_length(&self) -> usize {
        self.0.room.borrow().answer.numbers().len()
    }

    /// Where [`Member::assess`] leaves the features and, behind them, the probabilities.
    pub fn values(&self) -> *const f32 {
        self.0.room.borrow().answer.values().as_ptr()
    }

    /// How many these are.
    #[wasm_bindgen(js_name = valuesLength)]
    pub fn values_length(&self) -> usize {
        self.0.room.borrow().answer.values().len()
    }
}

impl Room {
    fn batch(&mut self, scorer: &core::Scorer) -> &mut core::Scratch {
        self.batch.get_or_insert_with(|| scorer.scratch(BATCH_ROWS))
    }
}

#[wasm_bindgen]
impl Member {
    /// Takes in events as `events.ts` writes them, all or none; how many were added, were duplicates and came too late
    /// is then in the scorer's room.
    pub fn observe(&mut self, events: &[u8]) -> bool {
        done(events::read(events)).is_some_and(|events| self.take_in(&events))
    }

    /// As [`Member::observe`], from objects: what `events.ts` is compared with, where size does not matter.
    #[cfg(feature = "onnx")]
    #[wasm_bindgen(js_name = observeObjects)]
    pub fn observe_objects(&mut self, events: js_sys::Array) -> bool {
        let objects = serde_wasm_bindgen::Deserializer::from(JsValue::from(events));
        let events = <Vec<core::EventInput<'_>> as serde::Deserialize>::deserialize(objects)
            .map_err(|reason| Refused::new("invalid_event", reason.to_string()));
        done(events).is_some_and(|events| self.take_in(&events))
    }

    /// Scores the member as known at `now`, milliseconds since 1970. The numbers are then in the scorer's room; the
    /// texts are left, one a line.
    pub fn assess(&self, now: f64) -> bool {
        done(self.assess_at(now)).map(|texts| left::bytes(texts.into())).is_some()
    }

    /// Leaves why the score is what it is: feature, value, typical value and effect of each, the strongest first.
    pub fn explain(&self, now: f64) -> bool {
        done(self.explain_at(now)).map(left::numbers).is_some()
    }

    /// Leaves the member's profile as known at `now`: the probability of no purchase, days to the next one, the segment, how
    /// many segments there are, how many interests, category and share of each, and the embedding.
    pub fn profile(&self, now: f64) -> bool {
        done(self.profile_at(now)).map(left::numbers).is_some()
    }

    /// Leaves the features alone, as known at `now`: a row for [`Scorer::score_batch`].
    pub fn features(&self, now: f64) -> bool {
        done(self.features_at(now)).map(left::numbers).is_some()
    }

    /// How many events the state keeps.
    #[wasm_bindgen(getter, js_name = eventCount)]
    pub fn event_count(&self) -> usize {
        self.state.len()
    }

    /// Leaves the state as bytes.
    pub fn save(&self) {
        left::bytes(self.state.snapshot());
    }
}

impl Member {
    fn of(loaded: &Rc<Loaded>, state: core::MemberState) -> Self {
        Self { loaded: Rc::clone(loaded), state, assessed: RefCell::new(None) }
    }

    fn take_in(&mut self, events: &[core::EventInput<'_>]) -> bool {
        *self.assessed.get_mut() = None;
        let outcomes = self.loaded.scorer.bundle().observe(&mut self.state, events);
        done(outcomes).map(|outcomes| self.loaded.room.borrow_mut().answer.count(&outcomes)).is_some()
    }

    fn assess_at(&self, now: f64) -> Result<String, Refused> {
        let now = moment(now)?;
        let Room { single, answer, .. } = &mut *self.loaded.room.borrow_mut();
        let found = self.loaded.scorer.assess_in(single, &self.state, now)?;
        let texts = answer.keep(&found);
        self.assessed.replace(Some((now, found.features)));
        Ok(texts)
    }

    fn explain_at(&self, now: f64) -> Result<Vec<f32>, Refused> {
        let features = self.features_at(now)?;
        let mut room = self.loaded.room.borrow_mut();
        let reasons = self.loaded.scorer.explain_in(room.batch(&self.loaded.scorer), &features)?;
        Ok(reasons.iter().flat_map(|r| [r.feature as f32, r.value, r.typical, r.effect]).collect())
    }

    fn profile_at(&self, now: f64) -> Result<Vec<f32>, Refused> {
        let Room { single, .. } = &mut *self.loaded.room.borrow_mut();
        let scorer = &self.loaded.scorer;
        let found = scorer.profile_in(single, &self.state, moment(now)?)?;
        let segments = scorer.profile_spec().map_or(0, |profile| profile.segments.len());
        let counts = [found.segment as usize, segments, found.interests.len()].map(|count| count as f32);
        let mut numbers = [&[found.churn, found.next_purchase], counts.as_slice()].concat();
        numbers.extend(found.interests.iter().flat_map(|interest| [interest.index as f32, interest.share]));
        numbers.extend(found.embedding);
        Ok(numbers)
    }

    fn features_at(&self, now: f64) -> Result<Vec<f32>, Refused> {
        let now = moment(now)?;
        match &*self.assessed.borrow() {
            Some((moment, features)) if *moment == now => Ok(features.clone()),
            _ => Ok(self.loaded.scorer.bundle().schema().features_at(&self.state, now)?),
        }
    }
}

/// The name of a feature or, behind them, of a segment or a category of profiles.
fn named<'b>(bundle: &'b core::Bundle, profile: Option<&'b core::ProfileSpec>, at: usize) -> &'b str {
    let features = &bundle.schema().spec().features;
    if let Some(feature) = features.get(at) {
        return &feature.name;
    }
    let (Some(profile), at) = (profile, at - features.len()) else { return "" };
    match profile.segments.get(at) {
        Some(segment) => &segment.name,
        None => profile.categories.get(at - profile.segments.len()).map_or("", |name| name),
    }
}

fn moment(ms: f64) -> Result<core::Timestamp, Refused> {
    if ms.trunc() != ms {
        return Err(Refused::new(
            "invalid_time",
            "the moment is not a whole number of milliseconds since 1970 in UTC",
        ));
    }
    // Out of i64's range the cast saturates, which the core refuses as well.
    Ok(core::Timestamp::from_ms(ms as i64)?)
}
