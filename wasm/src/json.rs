//! What is asked and answered in JSON: lists, decisions, points and risk, which the smallest build leaves out.
//!
//! Options are JSON objects; what is left is JSON, as the core writes it. Every build has the same exports, and in the smallest
//! one these do nothing but refuse.

use tiercast_core as core;
use wasm_bindgen::prelude::*;

use crate::{
    Member, Scorer, events,
    left::{self, Refused, done},
    moment,
};

/// Whether this build answers.
const ANSWERS: bool = cfg!(feature = "all-kernels");

#[wasm_bindgen]
impl Scorer {
    /// Leaves what the first of events, as `events.ts` writes them, earns for a member of the options' tier.
    pub fn earn(&self, events: &[u8], options: &[u8]) -> bool {
        answered(|| self.earned(events, options))
    }
}

#[wasm_bindgen]
impl Member {
    /// Leaves what is known of the member at `now`: what to recommend (0), which tier of service (1) and which offer of points
    /// (2) the member gets, the member's points (3), or how likely what just happened is fraud (4).
    pub fn ask(&self, what: usize, now: f64, options: &[u8]) -> bool {
        answered(|| self.asked(what, now, options))
    }
}

impl Scorer {
    fn earned(&self, events: &[u8], options: &[u8]) -> Result<String, Refused> {
        let events = events::read(events)?;
        let event = events.first().ok_or_else(|| Refused::new("invalid_event", "there is no event"))?;
        Ok(self.0.scorer.earn_json(event, options)?)
    }
}

impl Member {
    fn asked(&self, what: usize, now: f64, options: &[u8]) -> Result<String, Refused> {
        let (scorer, state, now) = (&self.loaded.scorer, &self.state, moment(now)?);
        let room = &mut self.loaded.room.borrow_mut().single;
        Ok(match what {
            0 => scorer.recommend_json(room, state, now, options),
            1 => scorer.decide_json(room, core::Task::Assign, state, now, options),
            2 => scorer.decide_json(room, core::Task::Reward, state, now, options),
            3 => scorer.points_json(state, now, options),
            _ => scorer.risk_json(room, state, now, options),
        }?)
    }
}

/// Whether it was answered; leaves the answer, or the refusal.
fn answered(answer: impl FnOnce() -> Result<String, Refused>) -> bool {
    let answer = match ANSWERS {
        true => answer(),
        false => {
            Err(Refused::new("unsupported_model", "the bundle gives no lists, decisions, points and risk"))
        }
    };
    done(answer).map(|json| left::bytes(json.into())).is_some()
}
