//! The deployed bundle, and what the worker tells about it.

use std::cell::{OnceCell, RefCell};

use serde::Serialize;
use sha2::{Digest, Sha256};
use tiercast_core::{
    Assessment, Bundle, Catalogue, Currency, DecideOptions, Decision, Decode, FORMAT, FeatureInfo, Manifest,
    MemberState, Period, PointsInfo, PointsOptions, PointsRules, Policy, PolicyInfo, Profile, ProfileInfo,
    ProfileSpec, Psi, RecommendInfo, RecommendOptions, Recommendation, Reference, Risk, RiskInfo,
    RiskOptions, Scorer, Scratch, Statement, Task, Timestamp,
};

use crate::{config::Limits, problem::Problem};

/// A bundle that was loaded and can score.
#[derive(Debug)]
pub(crate) struct Model {
    scorer: Scorer,
    scratch: RefCell<Scratch>,
    sha256: String,
    /// Members assessed since they were last taken, by the bins of what the bundle says of its training rows.
    drift: RefCell<Vec<u32>>,
    proof: OnceCell<Result<usize, Problem>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health<'a> {
    status: &'a str,
    bundle: &'a str,
    schema_hash: &'a str,
    vectors: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    bundle: &'a str,
    schema_hash: &'a str,
    versions: Versions<'a>,
    tiers: Vec<TierInfo<'a>>,
    period: Period,
    decode: Decode,
    events: EventsInfo<'a>,
    features: Vec<FeatureInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<ProfileInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recommend: Option<RecommendInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assign: Option<PolicyInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward: Option<PolicyInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<PointsInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<RiskInfo<'a>>,
    limits: Limits,
    manifest: &'a Manifest,
    card: serde_json::Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions<'a> {
    worker: &'a str,
    bundle_format: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TierInfo<'a> {
    tier: u8,
    name: &'a str,
    at_least: String,
    at_least_minor: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventsInfo<'a> {
    currency: &'a Currency,
    custom_kinds: &'a [String],
    capacity: u32,
}

impl Model {
    /// Loads a bundle.
    ///
    /// # Errors
    /// 503 with core's code when it cannot be read or its model cannot be run.
    pub(crate) fn load(bytes: &[u8]) -> Result<Self, Problem> {
        let scorer = Scorer::load(bytes).map_err(|error| Problem::bundle(&error))?;
        let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let scratch = RefCell::new(scorer.scratch(1));
        let drift = RefCell::new(vec![0; scorer.drift().map_or(0, Reference::bins)]);
        Ok(Self { scorer, scratch, sha256, drift, proof: OnceCell::new() })
    }

    /// The hash of the bundle's bytes, in hexadecimal.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    pub(crate) fn bundle(&self) -> &Bundle {
        self.scorer.bundle()
    }

    /// Assesses a member as known at `now`.
    ///
    /// # Errors
    /// Those of [`Scorer::assess`].
    pub(crate) fn assess(&self, state: &MemberState, now: Timestamp) -> tiercast_core::Result<Assessment> {
        let assessment = self.scorer.assess_in(&mut self.scratch.borrow_mut(), state, now)?;
        if let Some(reference) = self.scorer.drift() {
            reference.count(&assessment.features, assessment.tier, &mut self.drift.borrow_mut())?;
        }
        Ok(assessment)
    }

    /// The members counted since this was last asked, by bins; none where the bundle does not say what to count by.
    pub(crate) fn take_drift(&self) -> Vec<u32> {
        let mut counts = self.drift.borrow_mut();
        let taken = counts.clone();
        counts.fill(0);
        taken
    }

    /// How far the members behind these counts have drifted from the training rows.
    ///
    /// # Errors
    /// `invalid_input` when these are not this bundle's counts.
    pub(crate) fn psi(&self, counts: &[u32]) -> tiercast_core::Result<Vec<Psi<'_>>> {
        self.scorer.drift().map_or(Ok(Vec::new()), |reference| reference.psi(self.bundle().schema(), counts))
    }

    /// Whether it can say how members behave.
    pub(crate) fn has_profiles(&self) -> bool {
        self.scorer.profile_spec().is_some()
    }

    /// Describes how a member behaves, as known at `now`.
    ///
    /// # Errors
    /// Those of [`Scorer::profile`].
    pub(crate) fn profile(&self, state: &MemberState, now: Timestamp) -> tiercast_core::Result<Profile> {
        self.scorer.profile_in(&mut self.scratch.borrow_mut(), state, now)
    }

    /// Whether it can recommend.
    pub(crate) fn recommends(&self) -> bool {
        self.scorer.catalogue().is_some()
    }

    /// What a member will buy next, as known at `now`.
    ///
    /// # Errors
    /// Those of [`Scorer::recommend`].
    pub(crate) fn recommend(
        &self,
        state: &MemberState,
        now: Timestamp,
        options: &RecommendOptions,
    ) -> tiercast_core::Result<Vec<Recommendation>> {
        self.scorer.recommend_in(&mut self.scratch.borrow_mut(), state, now, options)
    }

    /// Whether it can decide on this.
    pub(crate) fn decides(&self, task: Task) -> bool {
        self.scorer.policy(task).is_some()
    }

    /// Which tier of service or which offer of points a member gets in the period around `now`.
    ///
    /// # Errors
    /// Those of [`Scorer::decide`].
    pub(crate) fn decide(
        &self,
        task: Task,
        state: &MemberState,
        now: Timestamp,
        options: &DecideOptions,
    ) -> tiercast_core::Result<Decision> {
        self.scorer.decide_in(&mut self.scratch.borrow_mut(), task, state, now, options)
    }

    /// Whether it counts points.
    pub(crate) fn has_points(&self) -> bool {
        self.bundle().points().is_some()
    }

    /// A member's points at `now`.
    ///
    /// # Errors
    /// Those of [`Scorer::points`].
    pub(crate) fn points(
        &self,
        state: &MemberState,
        now: Timestamp,
        options: &PointsOptions,
    ) -> tiercast_core::Result<Statement> {
        self.scorer.points(state, now, &options.redemptions, options.opening.as_ref())
    }

    /// Whether it judges risk.
    pub(crate) fn judges(&self) -> bool {
        self.scorer.risk_model().is_some()
    }

    /// How likely what happened at `now` is fraud.
    ///
    /// # Errors
    /// Those of [`Scorer::risk`].
    pub(crate) fn risk(
        &self,
        state: &MemberState,
        now: Timestamp,
        options: &RiskOptions,
    ) -> tiercast_core::Result<Risk> {
        self.scorer.risk_in(&mut self.scratch.borrow_mut(), state, now, options)
    }

    /// The body of `GET /healthz`. The first call computes the bundle's own vectors and compares.
    ///
    /// # Errors
    /// 503 `model_failed` when this build does not compute what training did.
    pub(crate) fn health(&self) -> Result<Vec<u8>, Problem> {
        let proof = self.proof.get_or_init(|| self.scorer.prove().map_err(|error| Problem::bundle(&error)));
        let schema_hash = &self.scorer.bundle().manifest().schema_hash;
        let vectors = proof.clone()?;
        Ok(json(&Health { status: "ok", bundle: &self.sha256, schema_hash, vectors }))
    }

    /// The body of `GET /v1/model`.
    pub(crate) fn describe(&self, limits: Limits) -> Vec<u8> {
        let bundle = self.scorer.bundle();
        let spec = bundle.schema().spec();
        let currency = &spec.events.currency;
        let tiers = (1..).zip(&bundle.rules().tiers).map(|(tier, rule)| TierInfo {
            tier,
            name: &rule.name,
            at_least: currency.format(rule.at_least),
            at_least_minor: rule.at_least,
        });
        json(&Description {
            bundle: &self.sha256,
            schema_hash: &bundle.manifest().schema_hash,
            versions: Versions { worker: env!("CARGO_PKG_VERSION"), bundle_format: FORMAT },
            tiers: tiers.collect(),
            period: bundle.rules().period,
            decode: bundle.manifest().decode,
            events: EventsInfo { currency, custom_kinds: &spec.events.custom_kinds, capacity: spec.capacity },
            features: bundle.schema().describe().collect(),
            profile: self.scorer.profile_spec().map(ProfileSpec::describe),
            recommend: self.scorer.catalogue().map(Catalogue::describe),
            assign: self.scorer.policy(Task::Assign).map(Policy::describe),
            reward: self.scorer.policy(Task::Reward).map(Policy::describe),
            points: bundle.points().map(PointsRules::describe),
            risk: self.scorer.risk_model().map(|risk| risk.describe(bundle.schema())),
            limits,
            manifest: bundle.manifest(),
            card: serde_json::from_str(bundle.card()).unwrap_or_default(),
        })
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
