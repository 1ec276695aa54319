//! How likely an order, a login or another event is fraud, by what is known of the member when it happens.
//!
//! The model is trained at moments of members' own events of some kinds, the event included: observe the event first, then ask
//! at its time. Beside it stand rules that the shop declared. An alert is raised where the probability reaches the threshold, or
//! where a rule holds.
//!
//! Invariant: the threshold, the rules and what they were judged by are in the bundle, so that every runtime raises the same alerts.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    bundle::Bundle,
    engine::{Engine, EngineKind, Workspace},
    error::{Result, bail},
    explain::{occluded, strongest},
    features::MemberState,
    time::Timestamp,
};

mod model;
#[cfg(test)]
mod tests;

pub use self::model::{MAX_RISK_RULES, RiskCondition, RiskEvidence, RiskInfo, RiskModel, RiskRule};

/// Whether this build judges risk; the small one leaves it out.
pub(crate) const RISKS: bool = cfg!(feature = "all-kernels");

/// Honest, and fraud.
const OUTPUTS: usize = 2;
/// The most reasons that can be asked for.
const MAX_REASONS: u8 = 10;

/// What an answer shall hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RiskOptions {
    /// Reasons at most, 0 to 10; without any the answer costs a fraction.
    pub reasons: u8,
}

impl Default for RiskOptions {
    fn default() -> Self {
        Self { reasons: 3 }
    }
}

impl RiskOptions {
    /// Reads options from JSON.
    ///
    /// # Errors
    /// `invalid_input`.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        // What is derived would also take a list of the fields' values.
        if !json.trim_ascii_start().starts_with(b"{") {
            bail!(InvalidInput, "options of risk are an object, as {{\"reasons\":3}}");
        }
        serde_json::from_slice(json)
            .or_else(|error| bail!(InvalidInput, "these are no options of risk: {error}"))
    }
}

/// What is thought of a member at a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Risk {
    /// The model's name and version.
    pub model: String,
    /// The bundle's fingerprint: log it with the alert.
    pub bundle: String,
    /// The calibrated probability that the event at this moment is fraud.
    pub probability: f32,
    /// Whether somebody shall look at it: the probability reaches the threshold, or a rule holds.
    pub alert: bool,
    /// The rules that hold, by name.
    pub rules: Vec<String>,
    /// What raised the probability, the strongest first.
    pub reasons: Vec<RiskReason>,
}

/// A feature's part in a probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RiskReason {
    /// The feature's name.
    pub feature: String,
    /// The member's value; none if it is missing.
    pub value: Option<f32>,
    /// The median of the training rows; none if it is mostly missing.
    pub typical: Option<f32>,
    /// By how much the member's value, against the typical one, raises the probability.
    pub effect: f32,
}

/// A risk model with its plan loaded.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) model: RiskModel,
    engine: Engine,
}

impl Judge {
    pub(crate) fn load(model: RiskModel, plan: &[u8]) -> Result<Self> {
        let engine = Engine::load(EngineKind::Plan, plan, model.transform.width(), OUTPUTS)?;
        Ok(Self { model, engine })
    }

    pub(crate) fn workspace(&self) -> Workspace {
        self.engine.workspace(64)
    }

    /// The probabilities of fraud of rows of the plan's inputs.
    fn run(&self, workspace: &mut Workspace, inputs: &[f32]) -> Result<Vec<f32>> {
        let mut outputs = Vec::new();
        self.engine.run(workspace, inputs, &mut outputs)?;
        let fraud: Vec<f32> = outputs.chunks_exact(OUTPUTS).filter_map(|row| row.last()).copied().collect();
        if fraud.is_empty() || !fraud.iter().all(|chance| (0.0..=1.0).contains(chance)) {
            bail!(ModelFailed, "the risk model gave no probabilities");
        }
        Ok(fraud)
    }

    pub(crate) fn judge(
        &self,
        workspace: &mut Workspace,
        bundle: &Bundle,
        (state, now): (&MemberState, Timestamp),
        options: &RiskOptions,
    ) -> Result<Risk> {
        if options.reasons > MAX_REASONS {
            bail!(InvalidInput, "`reasons` is from 0 to {MAX_REASONS}");
        }
        let features = bundle.schema().features_at(state, now)?;
        let (named, inputs) = if options.reasons == 0 {
            let mut own = Vec::new();
            self.model.transform.apply(&features, &mut own);
            (Vec::new(), own)
        } else {
            occluded(&self.model.transform, &features, &self.model.typical)
        };
        let chances = self.run(workspace, &inputs)?;
        let probability = chances.first().copied().unwrap_or_default();
        let without = chances.get(1..).unwrap_or_default();
        let effects = named.iter().zip(without).map(|(feature, without)| (*feature, probability - without));
        let told = |values: &[f32], at: u32| values.get(at as usize).copied().filter(|value| !value.is_nan());
        let reason = |(feature, effect): (u32, f32)| RiskReason {
            feature: bundle.schema().names().nth(feature as usize).unwrap_or_default().into(),
            value: told(&features, feature),
            typical: told(&self.model.typical, feature),
            effect,
        };
        let rules: Vec<String> = self.model.holding(&features).map(|rule| rule.name.clone()).collect();
        Ok(Risk {
            model: self.model.name.clone(),
            bundle: bundle.fingerprint(),
            probability,
            alert: probability >= self.model.threshold || !rules.is_empty(),
            rules,
            reasons: strongest(effects, options.reasons).map(reason).collect(),
        })
    }
}
