//! What a risk model is made of beside its plan, and that it is sound.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Quoted, Result, bail},
    features::FeatureSchema,
    transform::Transform,
};

/// The most rules, and the most conditions of one.
pub const MAX_RISK_RULES: usize = 64;

/// How risk is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct RiskModel {
    /// What the shop calls it, with its version.
    pub name: String,
    /// The kinds of events at which it was trained.
    pub each: Vec<String>,
    /// The fitted steps between raw features and the plan.
    pub transform: Transform,
    /// Each feature's median over the training rows, NaN where it is mostly missing.
    pub typical: Vec<f32>,
    /// The probability from which on an alert is raised, above 0 and at most 1.
    pub threshold: f32,
    /// The shop's own rules.
    pub rules: Vec<RiskRule>,
    /// How it did on later rows.
    pub evidence: RiskEvidence,
}

crate::wire::fields!(RiskModel { name, each, transform, typical, threshold, rules, evidence });

/// A rule: it holds where all of its conditions do.
#[derive(Clone, Debug, PartialEq)]
pub struct RiskRule {
    /// What the shop calls it.
    pub name: String,
    /// At least one.
    pub all: Vec<RiskCondition>,
}

crate::wire::fields!(RiskRule { name, all });

/// A bound of a feature; a missing value meets none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RiskCondition {
    /// The feature's index in the schema.
    pub feature: u32,
    /// Whether the feature is to be at least `value`; otherwise at most.
    pub at_least: bool,
    /// The bound.
    pub value: f32,
}

crate::wire::fields!(RiskCondition { feature, at_least, value });

/// How a model did on rows later than all that it was fitted and chosen by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskEvidence {
    /// Rows.
    pub rows: u64,
    /// How many of them were fraud.
    pub frauds: u64,
    /// Average precision.
    pub average_precision: f64,
    /// Area under the ROC curve.
    pub auc: f64,
    /// Share of the rows at or above the threshold.
    pub alerts: f64,
    /// Share of the frauds that are among them.
    pub recall: f64,
    /// Share of the alerts that are frauds.
    pub precision: f64,
    /// The recall of the best rule of thumb at as many alerts.
    pub rule_recall: f64,
}

crate::wire::fields!(RiskEvidence {
    rows,
    frauds,
    average_precision,
    auc,
    alerts,
    recall,
    precision,
    rule_recall
});

/// A model as the manifest tells of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskInfo<'m> {
    name: &'m str,
    each: &'m [String],
    threshold: f32,
    rules: Vec<RiskRuleInfo<'m>>,
    evidence: &'m RiskEvidence,
}

/// A rule in words.
#[derive(Debug, Serialize)]
struct RiskRuleInfo<'m> {
    name: &'m str,
    when: String,
}

impl RiskModel {
    /// Tells of itself.
    pub fn describe(&self, schema: &FeatureSchema) -> RiskInfo<'_> {
        let names: Vec<&str> = schema.names().collect();
        let words = |condition: &RiskCondition| {
            let name = names.get(condition.feature as usize).copied().unwrap_or_default();
            let sign = if condition.at_least { ">=" } else { "<=" };
            alloc::format!("{name} {sign} {}", condition.value)
        };
        let rule = |rule: &'_ RiskRule| rule.all.iter().map(words).collect::<Vec<_>>().join(" and ");
        RiskInfo {
            name: &self.name,
            each: &self.each,
            threshold: self.threshold,
            rules: self.rules.iter().map(|one| RiskRuleInfo { name: &one.name, when: rule(one) }).collect(),
            evidence: &self.evidence,
        }
    }

    /// The rules that hold for some features.
    pub(super) fn holding(&self, features: &[f32]) -> impl Iterator<Item = &RiskRule> {
        let meets = |condition: &RiskCondition| {
            let value = features.get(condition.feature as usize).copied().unwrap_or(f32::NAN);
            if condition.at_least { value >= condition.value } else { value <= condition.value }
        };
        self.rules.iter().filter(move |rule| rule.all.iter().all(meets))
    }

    /// Checks it against the features that it is for.
    pub(crate) fn check(&self, schema: &FeatureSchema) -> Result<()> {
        let features = schema.len();
        self.transform.check(features)?;
        if self.name.is_empty() || self.each.is_empty() {
            bail!(InvalidSpec, "the risk model lacks a name, or kinds of events that it is for");
        }
        self.each.iter().try_for_each(|kind| schema.spec().events.kind(kind).map(drop))?;
        if self.typical.len() != features {
            bail!(InvalidSpec, "{} typical values of risk for {features} features", self.typical.len());
        }
        if !(self.threshold > 0.0 && self.threshold <= 1.0) {
            bail!(InvalidSpec, "the threshold of risk is {}; give one above 0, at most 1", self.threshold);
        }
        if self.rules.len() > MAX_RISK_RULES {
            bail!(InvalidSpec, "{} rules of risk; at most {MAX_RISK_RULES}", self.rules.len());
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let repeated = self.rules.iter().take(at).any(|other| other.name == rule.name);
            let sound = |condition: &RiskCondition| {
                (condition.feature as usize) < features && condition.value.is_finite()
            };
            let some = (1..=MAX_RISK_RULES).contains(&rule.all.len());
            if rule.name.is_empty() || repeated || !some || !rule.all.iter().all(sound) {
                bail!(
                    InvalidSpec,
                    "the rule of risk {} has no name or another's, no condition or too many, or one on what is no feature",
                    Quoted(&rule.name)
                );
            }
        }
        Ok(())
    }
}
