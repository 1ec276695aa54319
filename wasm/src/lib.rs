//! The browser, Node and workerd binding of [`tiercast_core`].
//!
//! It translates and nothing else: objects cross the boundary through serde, feature rows as typed arrays, and every
//! refusal is thrown as a JavaScript `Error` with the core's `code`. The idiomatic interface is TypeScript, in `web/`.

mod convert;
#[cfg(target_arch = "wasm32")]
mod start;

use std::{mem, rc::Rc};

use js_sys::{Array, Float32Array, Reflect};
use tiercast_core as core;
use wasm_bindgen::prelude::*;

use self::convert::{Thrown, event_input, info, moment, to_js};

/// A loaded bundle.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct Scorer(Rc<core::Scorer>);

/// A member's state and the scorer it belongs to.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Member {
    scorer: Rc<core::Scorer>,
    state: core::MemberState,
}

#[wasm_bindgen]
impl Scorer {
    /// Loads a bundle's bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(bundle: &[u8]) -> Result<Self, Thrown> {
        Ok(Self(Rc::new(core::Scorer::load(bundle)?)))
    }

    /// What the bundle says of itself, as an object.
    pub fn info(&self) -> Result<JsValue, Thrown> {
        info(self.0.bundle())
    }

    /// Computes the bundle's own vectors and compares; returns how many were checked.
    pub fn prove(&self) -> Result<usize, Thrown> {
        Ok(self.0.prove()?)
    }

    /// A member without events.
    pub fn member(&self) -> Member {
        Member { scorer: self.0.clone(), state: self.0.bundle().new_member() }
    }

    /// A member from a snapshot.
    pub fn restore(&self, snapshot: &[u8]) -> Result<Member, Thrown> {
        let state = core::MemberState::restore(snapshot, self.0.bundle().schema())?;
        Ok(Member { scorer: self.0.clone(), state })
    }

    /// Probabilities for rows of raw features.
    #[wasm_bindgen(js_name = scoreBatch)]
    pub fn score_batch(&self, rows: &[f32]) -> Result<Vec<f32>, Thrown> {
        Ok(self.0.score_batch(rows)?)
    }
}

#[wasm_bindgen]
impl Member {
    /// Takes in an array of events, all or none; returns how many were added, were duplicates, came too late.
    pub fn observe(&mut self, events: &Array) -> Result<Vec<u32>, Thrown> {
        let inputs = events
            .iter()
            .enumerate()
            .map(|(i, event)| event_input(i, &event))
            .collect::<Result<Vec<_>, _>>()?;
        let outcomes = self.scorer.bundle().observe(&mut self.state, &inputs)?;
        let count = |of: core::Observed| outcomes.iter().filter(|outcome| **outcome == of).count() as u32;
        Ok([core::Observed::Added, core::Observed::Duplicate, core::Observed::TooLate].map(count).to_vec())
    }

    /// Scores the member as known at `now`, milliseconds since 1970.
    pub fn assess(&self, now: f64) -> Result<JsValue, Thrown> {
        let mut assessment = self.scorer.assess(&self.state, moment(now)?)?;
        let features = mem::take(&mut assessment.features);
        let probabilities = mem::take(&mut assessment.probabilities);
        let object = to_js(&assessment)?;
        for (name, values) in [("features", features), ("probabilities", probabilities)] {
            Reflect::set(&object, &name.into(), &Float32Array::from(values.as_slice()))?;
        }
        Ok(object)
    }

    /// The features alone, as known at `now`: a row for [`Scorer::score_batch`].
    pub fn features(&self, now: f64) -> Result<Vec<f32>, Thrown> {
        Ok(self.scorer.bundle().schema().features_at(&self.state, moment(now)?)?)
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
