//! What is asked and answered in JSON: lists, decisions and points, which the smallest build leaves out.
//!
//! Options are JSON objects; what is left is JSON, as the core writes it.

use tiercast_core as core;
use wasm_bindgen::prelude::*;

use crate::{
    Member, Scorer, events,
    left::{self, Refused, done},
    moment,
};

#[wasm_bindgen]
impl Scorer {
    /// Leaves what the first of events, as `events.ts` writes them, earns for a member of the options' tier.
    pub fn earn(&self, events: &[u8], options: &[u8]) -> bool {
        answered(self.earned(events, options))
    }
}

impl Scorer {
    fn earned(&self, events: &[u8], options: &[u8]) -> Result<String, Refused> {
        let events = events::read(events)?;
        let event = events.first().ok_or_else(|| Refused::new("invalid_event", "there is no event"))?;
        Ok(self.0.scorer.earn_json(event, options)?)
    }
}

#[wasm_bindgen]
impl Member {
    /// Leaves what to recommend as known at `now`; `options` may be empty.
    pub fn recommend(&self, now: f64, options: &[u8]) -> bool {
        answered(self.recommended(now, options))
    }

    /// Leaves what the member gets in the period around `now`: a tier of service (`task` 0) or an offer of points (1).
    pub fn decide(&self, task: usize, now: f64, options: &[u8]) -> bool {
        answered(self.decided(task, now, options))
    }

    /// Leaves the member's points at `now`.
    pub fn points(&self, now: f64, options: &[u8]) -> bool {
        answered(self.counted(now, options))
    }
}

impl Member {
    fn recommended(&self, now: f64, options: &[u8]) -> Result<String, Refused> {
        let room = &mut self.loaded.room.borrow_mut().single;
        Ok(self.loaded.scorer.recommend_json(room, &self.state, moment(now)?, options)?)
    }

    fn decided(&self, task: usize, now: f64, options: &[u8]) -> Result<String, Refused> {
        let no_task = || Refused::new("internal", "the task was not given by this version's `member.ts`");
        let task = core::Task::ALL.into_iter().nth(task).ok_or_else(no_task)?;
        let room = &mut self.loaded.room.borrow_mut().single;
        Ok(self.loaded.scorer.decide_json(room, task, &self.state, moment(now)?, options)?)
    }

    fn counted(&self, now: f64, options: &[u8]) -> Result<String, Refused> {
        Ok(self.loaded.scorer.points_json(&self.state, moment(now)?, options)?)
    }
}

/// Whether it was answered; leaves the answer, or the refusal.
fn answered(answer: Result<String, Refused>) -> bool {
    done(answer).map(|json| left::bytes(json.into())).is_some()
}
