//! What a policy is made of, and that it is sound.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::Task;
use crate::{
    error::{Result, bail},
    tasks::tier::TierRules,
    time::Period,
    transform::Transform,
};

/// The most actions of a policy.
pub const MAX_ACTIONS: usize = 256;
/// The most points of an action, which JavaScript holds exactly with all that is summed of them.
const MAX_POINTS: u64 = 1 << 40;

/// How a member's action is decided on.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// What the shop calls it, with its version.
    pub name: String,
    /// What there is to choose from, at least two; for [`Task::Assign`] the bundle's tiers in their order.
    pub actions: Vec<Action>,
    /// The stretch of time that a decision holds for.
    pub period: Period,
    /// Sets the draws of this policy apart from those of others.
    pub salt: u64,
    /// Points that a member is given in a period at most; 0 is no cap.
    pub cap: u64,
    /// By how many tiers a member is lifted above what the rules promise at most.
    pub lift: u8,
    /// What was learned; none for an experiment, which draws by the actions' shares.
    pub learned: Option<Learned>,
}

crate::wire::fields!(Policy { name, actions, period, salt, cap, lift, learned });

/// What can be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// What the shop calls it.
    pub name: String,
    /// Points that it offers.
    pub points: u64,
    /// Its chance in an experiment; the shares of all actions sum to 1.
    pub share: f32,
}

crate::wire::fields!(Action { name, points, share });

/// A policy that was learned, beside its plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// How it was learned, for example `reinforce`.
    pub learner: String,
    /// The fitted steps between raw features and the plan.
    pub transform: Transform,
    /// How an action is chosen from what the plan gives.
    pub choice: Choice,
    /// Share of the decisions that is spread evenly over all actions, 0 to 1.
    pub explore: f32,
    /// Why it may be used.
    pub evidence: Evidence,
}

crate::wire::fields!(Learned { learner, transform, choice, explore, evidence });

/// How an action is chosen from a plan's outputs, one for each action.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Choice {
    /// They are chances.
    Sample,
    /// They are values: the highest wins, or the tier that the member has if it is at most `margin` less (hysteresis).
    Best {
        /// In the unit of the values, at least 0.
        margin: f32,
    },
}

crate::wire::variants!(Choice { Sample, Best { margin } });

/// How a policy did on logged decisions that it was not learned from. Values are per decision, in the log's unit of reward
/// (major units of money where that is money) after the cost of what was given. The default is no evidence, and not enough.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The estimator and the interval, for example `doubly robust, bootstrap 95 %`.
    pub method: String,
    /// The estimate.
    pub value: f64,
    /// The lower end of its interval.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// The mean of what the log's own policy earned on the same rows.
    pub incumbent: f64,
    /// Logged decisions.
    pub rows: u64,
    /// What they are worth to this policy: (Σ w)² / Σ w².
    pub effective_rows: f64,
    /// Expected cost of a decision.
    pub cost: f64,
    /// What it may cost on average; 0 is no budget.
    pub budget: f64,
}

crate::wire::fields!(Evidence { method, value, lower, upper, incumbent, rows, effective_rows, cost, budget });

/// The policies of a bundle, each with its plan; an experiment's plan is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// Which tier of service a member gets.
    pub assign: Option<(Policy, Vec<u8>)>,
    /// Which offer of points.
    pub reward: Option<(Policy, Vec<u8>)>,
}

impl Policies {
    /// The policy of a task.
    pub fn of(&self, task: Task) -> Option<&(Policy, Vec<u8>)> {
        match task {
            Task::Assign => self.assign.as_ref(),
            Task::Reward => self.reward.as_ref(),
        }
    }

    /// Puts a policy in a task's place.
    pub fn put(&mut self, task: Task, policy: Policy, plan: Vec<u8>) {
        let place = match task {
            Task::Assign => &mut self.assign,
            Task::Reward => &mut self.reward,
        };
        *place = Some((policy, plan));
    }
}

/// What there is to know of a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyInfo<'p> {
    /// Its name and version.
    pub name: &'p str,
    /// How it was learned, or `experiment`.
    pub learner: &'p str,
    /// What there is to choose from.
    pub actions: &'p [Action],
    /// The stretch of time that a decision holds for.
    pub period: Period,
    /// Points that a member is given in a period at most; 0 is no cap.
    pub cap: u64,
    /// Share of the decisions that is spread evenly over all actions; 0 for an experiment, which has the actions' shares.
    pub explore: f32,
    /// Why it may be used; none for an experiment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<&'p Evidence>,
}

impl Policy {
    /// Says what there is to know, for reports and pages.
    pub fn describe(&self) -> PolicyInfo<'_> {
        let learned = self.learned.as_ref();
        PolicyInfo {
            name: &self.name,
            learner: learned.map_or("experiment", |learned| &learned.learner),
            actions: &self.actions,
            period: self.period,
            cap: self.cap,
            explore: learned.map_or(0.0, |learned| learned.explore),
            evidence: learned.map(|learned| &learned.evidence),
        }
    }

    /// Which actions a member may get: of tiers those from the one that the rules promise to the most that the policy lifts a
    /// member to (`promised` is 0 for offers), of offers those within the cap.
    pub fn allowed(&self, promised: u8, given: u64) -> Vec<bool> {
        let in_reach = |tier: u8| promised == 0 || self.reaches(promised, tier);
        let tiers = (1..=u8::MAX).chain(core::iter::repeat(u8::MAX));
        tiers.zip(&self.actions).map(|(tier, action)| in_reach(tier) && self.affords(action, given)).collect()
    }

    /// The chance of each action, 0 where `allowed` has false; `current` is the index of the action that the member has now.
    ///
    /// `scores` are what the plan gives, or the shares of an experiment, one for each action, as `allowed`.
    ///
    /// # Errors
    /// `invalid_input` when no action is allowed.
    pub fn chances(&self, scores: &[f32], allowed: &[bool], current: Option<usize>) -> Result<Vec<f32>> {
        let left = allowed.iter().filter(|allowed| **allowed).count();
        if left == 0 {
            bail!(
                InvalidInput,
                "no action is left: the call excludes them, or the cap of {} points is spent; leave a free one in",
                self.cap
            );
        }
        let (choice, explore) = match &self.learned {
            Some(learned) => (learned.choice, learned.explore),
            None => (Choice::Sample, 0.0),
        };
        let mut chances: Vec<f32> = match choice {
            Choice::Sample => {
                let of = |(score, allowed): (&f32, &bool)| if *allowed { *score } else { 0.0 };
                scores.iter().zip(allowed).map(of).collect()
            }
            Choice::Best { margin } => {
                let best = best(scores, allowed, current, margin);
                (0..scores.len()).map(|at| if Some(at) == best { 1.0 } else { 0.0 }).collect()
            }
        };
        let sum: f32 = chances.iter().sum();
        for (chance, allowed) in chances.iter_mut().zip(allowed) {
            let even = if *allowed { 1.0 / left as f32 } else { 0.0 };
            // What leaves nothing to the actions that are allowed has no opinion of them.
            let own = if sum > 0.0 { *chance / sum } else { even };
            *chance = own * (1.0 - explore) + even * explore;
        }
        Ok(chances)
    }

    /// Whether a tier lies between what the rules promise and the most that this policy lifts a member to.
    pub(super) fn reaches(&self, promised: u8, tier: u8) -> bool {
        (promised..=promised.saturating_add(self.lift)).contains(&tier)
    }

    /// Whether an action's points are within the cap.
    pub(super) fn affords(&self, action: &Action, given: u64) -> bool {
        self.cap == 0 || action.points == 0 || action.points <= self.cap.saturating_sub(given)
    }

    /// Checks the parts against each other and against the bundle's tiers.
    ///
    /// # Errors
    /// `invalid_spec`, also for a learned policy whose evidence does not beat the incumbent.
    pub(crate) fn check(&self, task: Task, features: usize, rules: &TierRules) -> Result<()> {
        let name = task.name();
        let actions = self.actions.len();
        if !(2..=MAX_ACTIONS).contains(&actions) {
            bail!(InvalidSpec, "the policy {name} has {actions} actions; give 2 to {MAX_ACTIONS}");
        }
        let named = |at: usize, action: &Action| {
            let before = self.actions.get(..at).unwrap_or_default();
            !action.name.is_empty() && before.iter().all(|other| other.name != action.name)
        };
        if !self.actions.iter().enumerate().all(|(at, action)| named(at, action)) {
            bail!(InvalidSpec, "each action of the policy {name} needs a name of its own");
        }
        if self.actions.iter().any(|action| action.points > MAX_POINTS) {
            bail!(InvalidSpec, "an action of the policy {name} offers over {MAX_POINTS} points");
        }
        let tiers = rules.tiers.iter().map(|tier| &tier.name);
        if task == Task::Assign && !tiers.eq(self.actions.iter().map(|action| &action.name)) {
            bail!(InvalidSpec, "the actions of the policy {name} are not the bundle's tiers in their order");
        }
        match &self.learned {
            Some(learned) => learned.check(name, features),
            None => {
                let sum: f32 = self.actions.iter().map(|action| action.share).sum();
                let sound = |action: &Action| (0.0..=1.0).contains(&action.share);
                if !self.actions.iter().all(sound) || !(0.999..=1.001).contains(&sum) {
                    bail!(InvalidSpec, "the shares of the experiment {name} do not sum to 1");
                }
                Ok(())
            }
        }
    }
}

impl Learned {
    fn check(&self, name: &str, features: usize) -> Result<()> {
        self.transform.check(features)?;
        let margin = match self.choice {
            Choice::Sample => 0.0,
            Choice::Best { margin } => margin,
        };
        if !(0.0..=1.0).contains(&self.explore) || !(0.0..f32::INFINITY).contains(&margin) {
            bail!(InvalidSpec, "the policy {name} explores {} with a margin of {margin}", self.explore);
        }
        let Evidence { lower, incumbent, .. } = self.evidence;
        if !(lower > incumbent && lower.is_finite() && incumbent.is_finite()) {
            bail!(
                InvalidSpec,
                "the policy {name} is not proven: the lower end of its value's interval is {lower:.6}, which does not beat \
                 the {incumbent:.6} of what was done before; log more decisions, or explore more widely, and learn again"
            );
        }
        Ok(())
    }
}

/// The action of the highest value, the first of equal ones; the current one unless the best is better by more than `margin`.
pub(super) fn best(values: &[f32], allowed: &[bool], current: Option<usize>, margin: f32) -> Option<usize> {
    let all = values.iter().zip(allowed).enumerate().filter(|(_, (_, allowed))| **allowed);
    let (at, value) = all
        .map(|(at, (value, _))| (at, *value))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    let held = current.filter(|at| allowed.get(*at) == Some(&true));
    let stays = held.filter(|held| values.get(*held).is_some_and(|own| value - own <= margin));
    Some(stays.unwrap_or(at))
}
