//! What runtimes ask and are answered in JSON: lists, decisions, points.
//!
//! A build without these tasks refuses before it reads anything, so that the compiler drops all of it.

use alloc::string::String;

use serde::Serialize;

use crate::{
    error::{Result, bail},
    event::EventInput,
    features::MemberState,
    scorer::{Scorer, Scratch},
    tasks::decide::{DECIDES, DecideOptions, Task},
    tasks::points::{EarnOptions, POINTS, PointsOptions},
    tasks::recommend::{RECOMMENDS, RecommendOptions},
    tasks::risk::{RISKS, RiskOptions},
    time::Timestamp,
};

impl Scorer {
    /// As [`Scorer::recommend_in`], from options in JSON to a list in JSON.
    ///
    /// # Errors
    /// Those of [`RecommendOptions::from_json`] and [`Scorer::recommend`].
    pub fn recommend_json(
        &self,
        scratch: &mut Scratch,
        state: &MemberState,
        now: Timestamp,
        options: &[u8],
    ) -> Result<String> {
        if !RECOMMENDS {
            bail!(UnsupportedModel, "this build recommends nothing; use one with the feature `all-kernels`");
        }
        written(&self.recommend_in(scratch, state, now, &RecommendOptions::from_json(options)?)?)
    }

    /// As [`Scorer::decide_in`], from options in JSON to a decision in JSON.
    ///
    /// # Errors
    /// Those of [`DecideOptions::from_json`] and [`Scorer::decide`].
    pub fn decide_json(
        &self,
        scratch: &mut Scratch,
        task: Task,
        state: &MemberState,
        now: Timestamp,
        options: &[u8],
    ) -> Result<String> {
        if !DECIDES {
            bail!(UnsupportedModel, "this build decides nothing; use one with the feature `all-kernels`");
        }
        written(&self.decide_in(scratch, task, state, now, &DecideOptions::from_json(options)?)?)
    }

    /// As [`Scorer::risk_in`], from options in JSON to what is thought of the member in JSON.
    ///
    /// # Errors
    /// Those of [`RiskOptions::from_json`] and [`Scorer::risk`].
    pub fn risk_json(
        &self,
        scratch: &mut Scratch,
        state: &MemberState,
        now: Timestamp,
        options: &[u8],
    ) -> Result<String> {
        if !RISKS {
            bail!(UnsupportedModel, "this build judges no risk; use one with the feature `all-kernels`");
        }
        written(&self.risk_in(scratch, state, now, &RiskOptions::from_json(options)?)?)
    }

    /// As [`Scorer::points`], from options in JSON to a statement in JSON.
    ///
    /// # Errors
    /// Those of [`PointsOptions::from_json`] and [`Scorer::points`].
    pub fn points_json(&self, state: &MemberState, now: Timestamp, options: &[u8]) -> Result<String> {
        if !POINTS {
            bail!(UnsupportedModel, "this build has no points; use one with the feature `all-kernels`");
        }
        let PointsOptions { redemptions, opening } = PointsOptions::from_json(options)?;
        written(&self.points(state, now, &redemptions, opening.as_ref())?)
    }

    /// As [`Scorer::earn`], from options in JSON to what the event earns in JSON.
    ///
    /// # Errors
    /// Those of [`EarnOptions::from_json`] and [`Scorer::earn`].
    pub fn earn_json(&self, event: &EventInput<'_>, options: &[u8]) -> Result<String> {
        if !POINTS {
            bail!(UnsupportedModel, "this build has no points; use one with the feature `all-kernels`");
        }
        let EarnOptions { tier, earned_today } = EarnOptions::from_json(options)?;
        written(&self.earn(event, tier, earned_today)?)
    }
}

fn written(answer: &impl Serialize) -> Result<String> {
    serde_json::to_string(answer)
        .or_else(|error| bail!(ModelFailed, "an answer that JSON cannot hold: {error}"))
}
