//! The browser, Node and workerd binding of [`tiercast_core`].
//!
//! It translates and nothing else. Events come in as bytes; numbers go out through rooms in linear memory that
//! JavaScript looks into, whose addresses do not change while their owner lives; what people read goes as text. A
//! refusal is thrown with the core's code. The idiomatic interface is TypeScript, in `web/`.
//!
//! There are no objects on the boundary, and no JSON or serde behind it: these would be most of the download.

mod answer;
mod events;
mod model;
#[cfg(all(target_arch = "wasm32", feature = "onnx"))]
mod start;
mod thrown;

use std::{cell::RefCell, rc::Rc};

use tiercast_core as core;
use wasm_bindgen::prelude::*;

use self::answer::Answer;
pub use self::{model::Model, thrown::Thrown};

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

#[wasm_bindgen]
impl Scorer {
    /// Loads a bundle's bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(bundle: &[u8]) -> Result<Self, Thrown> {
        let scorer = core::Scorer::load(bundle)?;
        let (features, tiers) = (scorer.bundle().schema().len(), scorer.bundle().rules().len());
        let room = RefCell::new(Room {
            single: scorer.scratch(1),
            batch: None,
            row: vec![0.0; features],
            probabilities: vec![0.0; tiers],
            answer: Answer::new(features + tiers),
        });
        Ok(Self(Rc::new(Loaded { scorer, room })))
    }

    /// The bundle's section `manifest`, `card` or `vectors`: JSON, for JavaScript to read.
    pub fn json(&self, section: &str) -> String {
        self.0.scorer.bundle().json(section).into()
    }

    /// A member without events.
    pub fn member(&self) -> Member {
        Member { loaded: self.0.clone(), state: self.0.scorer.bundle().new_member() }
    }

    /// A member from a snapshot.
    pub fn restore(&self, snapshot: &[u8]) -> Result<Member, Thrown> {
        let state = core::MemberState::restore(snapshot, self.0.scorer.bundle().schema())?;
        Ok(Member { loaded: self.0.clone(), state })
    }

    /// Where one row of raw features is written before [`Scorer::score_row`].
    pub fn row(&self) -> *const f32 {
        self.0.room.borrow().row.as_ptr()
    }

    /// Where the row's probabilities are after [`Scorer::score_row`].
    pub fn probabilities(&self) -> *const f32 {
        self.0.room.borrow().probabilities.as_ptr()
    }

    /// Scores the row.
    #[wasm_bindgen(js_name = scoreRow)]
    pub fn score_row(&self) -> Result<(), Thrown> {
        let Room { single, row, probabilities, .. } = &mut *self.0.room.borrow_mut();
        probabilities.clear();
        Ok(self.0.scorer.score_in(single, row, probabilities)?)
    }

    /// Probabilities for rows of raw features.
    #[wasm_bindgen(js_name = scoreBatch)]
    pub fn score_batch(&self, rows: &[f32]) -> Result<Vec<f32>, Thrown> {
        let mut out = Vec::new();
        self.0.scorer.score_in(self.0.room.borrow_mut().batch(&self.0.scorer), rows, &mut out)?;
        Ok(out)
    }

    /// Where [`Member::assess`] leaves its numbers; see [`Answer`].
    pub fn numbers(&self) -> *const f64 {
        self.0.room.borrow().answer.numbers()
    }

    /// Where [`Member::assess`] leaves the features and, behind them, the probabilities.
    pub fn values(&self) -> *const f32 {
        self.0.room.borrow().answer.values()
    }
}

impl Room {
    fn batch(&mut self, scorer: &core::Scorer) -> &mut core::Scratch {
        self.batch.get_or_insert_with(|| scorer.scratch(BATCH_ROWS))
    }
}

#[wasm_bindgen]
impl Member {
    /// Takes in events as `events.ts` writes them, all or none; returns how many were added, were duplicates, came
    /// too late.
    pub fn observe(&mut self, events: &[u8]) -> Result<Vec<u32>, Thrown> {
        self.take_in(&events::read(events)?)
    }

    /// As [`Member::observe`], from objects: what `events.ts` is compared with, where size does not matter.
    #[cfg(feature = "onnx")]
    #[wasm_bindgen(js_name = observeObjects)]
    pub fn observe_objects(&mut self, events: JsValue) -> Result<Vec<u32>, Thrown> {
        let events: Vec<core::EventInput<'_>> = serde_wasm_bindgen::from_value(events)
            .map_err(|reason| Thrown::new("invalid_event", &reason.to_string()))?;
        self.take_in(&events)
    }

    fn take_in(&mut self, events: &[core::EventInput<'_>]) -> Result<Vec<u32>, Thrown> {
        let outcomes = self.loaded.scorer.bundle().observe(&mut self.state, events)?;
        let count = |of: core::Observed| outcomes.iter().filter(|outcome| **outcome == of).count() as u32;
        Ok([core::Observed::Added, core::Observed::Duplicate, core::Observed::TooLate].map(count).to_vec())
    }

    /// Scores the member as known at `now`, milliseconds since 1970. The numbers are then in the scorer's room; the
    /// texts are returned, one a line.
    pub fn assess(&self, now: f64) -> Result<String, Thrown> {
        let now = moment(now)?;
        let Room { single, answer, .. } = &mut *self.loaded.room.borrow_mut();
        Ok(answer.keep(&self.loaded.scorer.assess_in(single, &self.state, now)?))
    }

    /// Why the score is what it is: feature, value, typical value and effect of each, the strongest first.
    pub fn explain(&self, now: f64) -> Result<Vec<f32>, Thrown> {
        let features = self.features(now)?;
        let mut room = self.loaded.room.borrow_mut();
        let reasons = self.loaded.scorer.explain_in(room.batch(&self.loaded.scorer), &features)?;
        Ok(reasons.iter().flat_map(|r| [r.feature as f32, r.value, r.typical, r.effect]).collect())
    }

    /// The features alone, as known at `now`: a row for [`Scorer::score_batch`].
    pub fn features(&self, now: f64) -> Result<Vec<f32>, Thrown> {
        Ok(self.loaded.scorer.bundle().schema().features_at(&self.state, moment(now)?)?)
    }

    /// How many events the state keeps.
    #[wasm_bindgen(getter, js_name = eventCount)]
    pub fn event_count(&self) -> usize {
        self.state.len()
    }

    /// The state as bytes.
    pub fn save(&self) -> Vec<u8> {
        self.state.snapshot()
    }
}

fn moment(ms: f64) -> Result<core::Timestamp, Thrown> {
    if ms.trunc() != ms {
        return Err(Thrown::new(
            "invalid_time",
            "the moment is not a whole number of milliseconds since 1970 in UTC",
        ));
    }
    // Out of i64's range the cast saturates, which the core refuses as well.
    Ok(core::Timestamp::from_ms(ms as i64)?)
}
