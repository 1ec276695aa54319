//! Decisions: which tier of service, or which offer of points, a member gets.
//!
//! The path of a decision, step by step:
//!
//! 1. **Actions.** What the call excludes, what would pass the cap of points, and tiers below what the rules promise, are out.
//! 2. **Policy.** A plan gives each action a chance ([`Choice::Sample`]) or a value of which the highest wins, unless the
//!    tier that the member has is within a margin of it ([`Choice::Best`]). An experiment has declared shares instead.
//! 3. **Exploration.** A declared share is spread evenly over the actions that are left.
//! 4. **Draw.** One number made of the member, the period and the policy's salt picks the action.
//!
//! A policy sees the member as known when the period began. So whoever asks again within the period, on whatever machine and
//! whatever the member did meanwhile, gets the same answer, until a cap or the rules' promise moves.
//!
//! Invariant: no policy that was learned is in a bundle without evidence that it beats what was done before, and every
//! decision says with which chance it was taken, which is what the next evaluation needs.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    bundle::Bundle,
    engine::{Engine, EngineKind, Workspace},
    error::{Result, bail},
    event::hash,
    explain::{occluded, strongest},
    features::MemberState,
    time::Timestamp,
};

mod options;
mod policy;
#[cfg(test)]
mod tests;

pub use self::{
    options::DecideOptions,
    policy::{Action, Choice, Evidence, Learned, MAX_ACTIONS, Policies, Policy, PolicyInfo},
};

/// Whether this build can decide; the small one leaves it out.
pub(crate) const DECIDES: bool = cfg!(feature = "all-kernels");

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The tier of service of a member for the period: the actions are the bundle's tiers.
    Assign,
    /// An offer of points.
    Reward,
}

impl Task {
    /// Both, in the order in which vectors list them.
    pub const ALL: [Self; 2] = [Self::Assign, Self::Reward];

    /// Its name, which is that of its section in a bundle.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Assign => "assign",
            Self::Reward => "reward",
        }
    }

    /// The section of its plan.
    pub(crate) fn plan(self) -> &'static str {
        match self {
            Self::Assign => "assign.plan",
            Self::Reward => "reward.plan",
        }
    }
}

/// What a member gets in the period around the moment asked about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// `assign` or `reward`.
    pub task: String,
    /// The policy's name and version.
    pub policy: String,
    /// The bundle's fingerprint: log it with the decision.
    pub bundle: String,
    /// The action's name.
    pub action: String,
    /// Its index among the policy's actions; for tiers, one less than the tier.
    pub index: u32,
    /// Points that it offers.
    pub points: u64,
    /// The chance with which it was taken, in (0, 1]: log it, it is what off-policy evaluation divides by.
    pub propensity: f32,
    /// The chance of each action; 0 for one that was out.
    pub chances: Vec<f32>,
    /// First day of the period that the decision holds for.
    pub period_start: String,
    /// Last day of it.
    pub period_end: String,
    /// What moved the policy towards this action, the strongest first; none for an experiment.
    pub reasons: Vec<Why>,
}

/// A feature's part in a decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The feature's name.
    pub feature: String,
    /// By how much the member's value, against the typical one, raises the chance or the value of the action taken.
    pub effect: f32,
}

/// A policy with its plan loaded; an experiment has none.
#[derive(Debug)]
pub(crate) struct Decider {
    pub(crate) policy: Policy,
    engine: Option<Engine>,
}

impl Decider {
    pub(crate) fn load(policy: Policy, plan: &[u8]) -> Result<Self> {
        let engine = match &policy.learned {
            Some(learned) => {
                Some(Engine::load(EngineKind::Plan, plan, learned.transform.width(), policy.actions.len())?)
            }
            None => None,
        };
        Ok(Self { policy, engine })
    }

    pub(crate) fn workspace(&self) -> Workspace {
        self.engine.as_ref().map(|engine| engine.workspace(64)).unwrap_or_default()
    }

    /// What the plan gives for rows of its inputs, as many numbers a row as there are actions; for an experiment the shares.
    pub(crate) fn run(&self, workspace: &mut Workspace, inputs: &[f32]) -> Result<Vec<f32>> {
        let (Some(engine), Some(learned)) = (&self.engine, &self.policy.learned) else {
            return Ok(self.policy.actions.iter().map(|action| action.share).collect());
        };
        let mut scores = Vec::new();
        engine.run(workspace, inputs, &mut scores)?;
        let sound = |score: &f32| match learned.choice {
            Choice::Sample => (0.0..=1.0).contains(score),
            Choice::Best { .. } => score.is_finite(),
        };
        if !scores.iter().all(sound) {
            bail!(ModelFailed, "the policy gave neither chances nor values");
        }
        Ok(scores)
    }

    /// The action that a member gets in the period around `now`.
    pub(crate) fn decide(
        &self,
        workspace: &mut Workspace,
        bundle: &Bundle,
        (task, state, now): (Task, &MemberState, Timestamp),
        options: &DecideOptions,
    ) -> Result<Decision> {
        let policy = &self.policy;
        options.check(&policy.actions, bundle.rules().len())?;
        let (start, end) = policy.period.around(now);
        // As known when the period began, so that nothing that the member does in it changes the offer.
        let features = bundle.schema().features_at(state, Timestamp::from_ms(start.ms() - 1)?)?;
        // Without a plan there is nothing to explain, and one row of no inputs.
        let (named, inputs) = match &policy.learned {
            Some(learned) => occluded(&learned.transform, &features, bundle.typical()),
            None => Default::default(),
        };
        let scores = self.run(workspace, &inputs)?;
        let own = scores.get(..policy.actions.len()).unwrap_or_default();
        let promised = match task {
            Task::Assign => bundle.rules().promised(state, now),
            Task::Reward => 0,
        };
        let mut allowed = policy.allowed(promised, options.given);
        for (allowed, action) in allowed.iter_mut().zip(&policy.actions) {
            *allowed &= !options.exclude.contains(&action.name);
        }
        let current =
            (task == Task::Assign).then(|| usize::from(options.current.unwrap_or(promised).max(1)) - 1);
        let chances = policy.chances(own, &allowed, current)?;
        let index = self.draw(&chances, &options.member, start);
        let action = policy.actions.get(index);
        Ok(Decision {
            task: task.name().into(),
            policy: policy.name.clone(),
            bundle: bundle.fingerprint(),
            action: action.map(|action| action.name.clone()).unwrap_or_default(),
            index: index as u32,
            points: action.map_or(0, |action| action.points),
            propensity: chances.get(index).copied().unwrap_or_default(),
            chances,
            period_start: start.date(),
            period_end: Timestamp::from_ms(end.ms() - 1)?.date(),
            reasons: self.reasons(bundle, index, (&named, &scores), options.reasons),
        })
    }

    /// The features that moved the policy most towards an action: `scores` are those of the member as it is, then those with each of
    /// `features` at its typical value.
    fn reasons(
        &self,
        bundle: &Bundle,
        action: usize,
        (features, scores): (&[u32], &[f32]),
        most: u8,
    ) -> Vec<Why> {
        let mut rows = scores.chunks(self.policy.actions.len()).filter_map(|row| row.get(action));
        let Some(own) = rows.next() else { return Vec::new() };
        let effects = features.iter().zip(rows).map(|(feature, without)| (*feature, own - without));
        let why = |(feature, effect): (u32, f32)| Why {
            feature: bundle.schema().names().nth(feature as usize).unwrap_or_default().into(),
            effect,
        };
        strongest(effects, most).map(why).collect()
    }

    /// The action that a member gets in the period that starts at `start`.
    pub(crate) fn draw(&self, chances: &[f32], member: &str, start: Timestamp) -> usize {
        let at = uniform(self.policy.salt, member, start);
        let mut sum = 0.0;
        let found = chances.iter().position(|chance| {
            sum += chance;
            *chance > 0.0 && at < sum
        });
        // Chances that are rounded may sum to a little less than 1.
        found.or_else(|| chances.iter().rposition(|chance| *chance > 0.0)).unwrap_or_default()
    }
}

/// A number in [0, 1) of 24 bits, the same for a member, a period and a salt wherever it is computed.
fn uniform(salt: u64, member: &str, start: Timestamp) -> f32 {
    // The finaliser of SplitMix64 (Steele, Lea & Flood 2014).
    let mix = |x: u64| {
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let mixed = mix(mix(mix(salt) ^ hash(member)) ^ start.ms() as u64);
    (mixed >> 40) as f32 / (1_u32 << 24) as f32
}
