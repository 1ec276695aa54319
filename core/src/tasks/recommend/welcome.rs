//! What a shop shows its new members, step by step, from their first events on.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::check_wishes;
use crate::{
    error::{Result, bail},
    features::MemberState,
    time::{Duration, Timestamp},
};

/// The most steps.
const MAX_STEPS: usize = 16;

/// The declared steps of a new member.
///
/// A member is new from the first event on, until the plan's time is over or the orders of its last step are there; who has
/// no event yet is at the first step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// How long after the first event somebody is new.
    pub lasts: Duration,
    /// The steps, by their orders.
    pub steps: Vec<WelcomeStep>,
}

crate::wire::fields!(Welcome { lasts, steps });

/// One step, and what its lists are like where a call does not say otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WelcomeStep {
    /// What the shop calls it: the reason that stands with each item.
    pub name: String,
    /// It ends with so many orders.
    pub orders: u32,
    /// Only items that the member has not bought.
    #[serde(default)]
    pub new_only: bool,
    /// How much of the order is given to diversity, 0 to 1; the bundle's own if none.
    #[serde(default)]
    pub diversity: Option<f32>,
    /// What the odds of items, categories, groups and brands are multiplied by, beside what a call asks for.
    #[serde(default)]
    pub boost: BTreeMap<String, f32>,
}

crate::wire::fields!(WelcomeStep { name, orders, new_only, diversity, boost });

impl Welcome {
    /// Checks the steps.
    ///
    /// # Errors
    /// `invalid_spec`.
    pub fn check(&self) -> Result<()> {
        let mut before = 0;
        let sound = |step: &WelcomeStep| {
            let later = step.orders > before;
            before = step.orders;
            later && !step.name.is_empty() && check_wishes(&step.boost, step.diversity).is_ok()
        };
        if !(1..=MAX_STEPS).contains(&self.steps.len()) || !self.steps.iter().all(sound) {
            bail!(
                InvalidSpec,
                "the welcome's steps are not sound; give 1 to {MAX_STEPS} with names, ascending orders, diversity 0 to 1, boosts above 0"
            );
        }
        Ok(())
    }

    /// Where a member with so many orders is at `now`; none for who is not new.
    pub(super) fn step(&self, state: &MemberState, orders: u32, now: Timestamp) -> Option<&WelcomeStep> {
        // Of whom events were forgotten there were more than a new member has.
        let first = state.events().next().map_or(now, |event| event.time);
        if state.forgot_since(i64::MIN) || now.ms().saturating_sub(first.ms()) >= self.lasts.ms() {
            return None;
        }
        self.steps.iter().find(|step| orders < step.orders)
    }
}
