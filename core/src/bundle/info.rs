//! The manifest as people and programs around the core read it. Written once, never read back by the core.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::Manifest;
use crate::{
    event::EventKind,
    features::{FeatureInfo, FeatureSchema},
    money::Currency,
    tasks::{
        decide::{Policies, PolicyInfo, Task},
        points::{PointsInfo, PointsRules},
        profile::{ProfileInfo, ProfileSpec},
        recommend::{Catalogue, RecommendInfo},
        risk::RiskInfo,
        tier::TierRules,
    },
    time::Period,
};

/// What a bundle says of itself, with what its tiers, events and features are.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Info<'b> {
    #[serde(flatten)]
    manifest: &'b Manifest,
    currency: &'b Currency,
    event_kinds: Vec<&'b str>,
    capacity: u32,
    period: Period,
    tiers: Vec<TierInfo<'b>>,
    features: Vec<FeatureInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<ProfileInfo<'b>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recommend: Option<RecommendInfo<'b>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assign: Option<PolicyInfo<'b>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward: Option<PolicyInfo<'b>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<PointsInfo<'b>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<RiskInfo<'b>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TierInfo<'b> {
    name: &'b str,
    at_least: String,
    at_least_minor: i64,
}

impl<'b> Info<'b> {
    pub(super) fn new(manifest: &'b Manifest, schema: &'b FeatureSchema, rules: &'b TierRules) -> Self {
        let spec = schema.spec();
        let currency = &spec.events.currency;
        let kinds = EventKind::BUILT_IN.iter().map(|(name, _)| *name);
        let tier = |tier: &'b crate::tasks::tier::Tier| TierInfo {
            name: &tier.name,
            at_least: currency.format(tier.at_least),
            at_least_minor: tier.at_least,
        };
        Self {
            manifest,
            currency,
            event_kinds: kinds.chain(spec.events.custom_kinds.iter().map(String::as_str)).collect(),
            capacity: spec.capacity,
            period: rules.period,
            tiers: rules.tiers.iter().map(tier).collect(),
            features: schema.describe().collect(),
            profile: None,
            recommend: None,
            assign: None,
            reward: None,
            points: None,
            risk: None,
        }
    }

    /// The same with the tasks beside the tier.
    pub(super) fn with(self, profile: Option<&'b ProfileSpec>, catalogue: Option<&'b Catalogue>) -> Self {
        Self {
            profile: profile.map(ProfileSpec::describe),
            recommend: catalogue.map(Catalogue::describe),
            ..self
        }
    }

    /// The same with what decides.
    pub(super) fn with_policies(self, policies: &'b Policies) -> Self {
        let policy = |task| policies.of(task).map(|(policy, _)| policy.describe());
        Self { assign: policy(Task::Assign), reward: policy(Task::Reward), ..self }
    }

    /// The same with the rules for points.
    pub(super) fn with_points(self, rules: Option<&'b PointsRules>) -> Self {
        Self { points: rules.map(PointsRules::describe), ..self }
    }

    /// The same with what judges risk.
    pub(super) fn with_risk(self, risk: Option<RiskInfo<'b>>) -> Self {
        Self { risk, ..self }
    }
}
