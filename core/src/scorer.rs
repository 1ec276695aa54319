//! From a member's history to an assessment.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use core::mem;

use serde::Serialize;

use crate::{
    bundle::{Bundle, Opened},
    drift::Reference,
    engine::{Engine, Workspace},
    error::{Error, Result, bail},
    event::{Event, EventInput},
    features::{MemberState, Observed},
    held::Held,
    order,
    tasks::decide::{DecideOptions, Decider, Decision, Policy, Task},
    tasks::points::{Earned, POINTS, PointsAt, PointsRules, Statement},
    tasks::profile::{Profile, ProfileSpec, Profiler},
    tasks::recommend::{Catalogue, RecommendOptions, RecommendRoom, Recommendation, Recommender},
    tasks::risk::{Judge, Risk, RiskModel, RiskOptions},
    tasks::tier::{Standing, are_probabilities, expected_tier},
    time::Timestamp,
};

/// What a bundle says of a member at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessment {
    /// The moment.
    pub now: Timestamp,
    /// Which features these are.
    pub schema_hash: String,
    /// The raw features in the order of the schema; NaN (in JSON, null) is missing.
    pub features: Vec<f32>,
    /// Probability of each tier in the period that starts at `now`, tier 1 first.
    pub probabilities: Vec<f32>,
    /// The tier decided on, 1…K.
    pub tier: u8,
    /// Its name.
    pub tier_name: String,
    /// Σ k · p(k).
    pub expected_tier: f32,
    /// Where the member stands in the current period by the shop's own rules.
    pub standing: Standing,
    /// What limits this answer, in words; usually empty.
    pub warnings: Vec<String>,
}

impl Bundle {
    /// A member without events.
    pub fn new_member(&self) -> MemberState {
        MemberState::new(self.schema())
    }

    /// Checks events as they were sent and takes them into a member's history: all of them or, on an error, none.
    ///
    /// The order inside a call does not matter. The answer says, in the order given, what became of each.
    ///
    /// # Errors
    /// The code of the first event that is refused; its message begins with the event's index.
    pub fn observe(&self, state: &mut MemberState, events: &[EventInput<'_>]) -> Result<Vec<Observed>> {
        let mut outcomes = alloc::vec![Observed::Added; events.len()];
        for (event, i) in self.checked(events)? {
            let outcome = state.observe(event);
            if let Some(slot) = outcomes.get_mut(i) {
                *slot = outcome;
            }
        }
        Ok(outcomes)
    }

    /// As [`Bundle::observe`], and the events that changed the history, in canonical order: what has to be kept beside an
    /// earlier snapshot, so that observing them again in this order gives the same history.
    ///
    /// # Errors
    /// As [`Bundle::observe`].
    pub fn observe_news(
        &self,
        state: &mut MemberState,
        events: &[EventInput<'_>],
    ) -> Result<(Vec<Observed>, Vec<Event>)> {
        let mut news = Vec::new();
        let mut outcomes = alloc::vec![Observed::Added; events.len()];
        for (event, i) in self.checked(events)? {
            if state.is_news(&event) {
                news.push(event);
            }
            let outcome = state.observe(event);
            if let Some(slot) = outcomes.get_mut(i) {
                *slot = outcome;
            }
        }
        Ok((outcomes, news))
    }

    /// Events as they were sent, checked, in canonical order, each with its place.
    fn checked(&self, events: &[EventInput<'_>]) -> Result<Vec<(Event, usize)>> {
        let rules = &self.schema().spec().events;
        let check = |(i, event): (usize, &EventInput<'_>)| match event.validate(rules) {
            Ok(event) => Ok((event, i)),
            Err(e) => Err(Error::new(e.kind(), alloc::format!("event {i}: {}", e.message()))),
        };
        let mut checked = events.iter().enumerate().map(check).collect::<Result<Vec<_>>>()?;
        order::sort(&mut checked);
        Ok(checked)
    }

    /// Takes the decision from features and probabilities, however these were computed.
    ///
    /// # Errors
    /// `invalid_input` when these are not features and probabilities of this bundle; `too_late` when the history at `now`
    /// was already forgotten.
    pub fn decide(
        &self,
        state: &MemberState,
        now: Timestamp,
        features: Vec<f32>,
        probabilities: Vec<f32>,
    ) -> Result<Assessment> {
        let rules = self.rules();
        if features.len() != self.schema().len() || !are_probabilities(&probabilities, rules.len()) {
            bail!(
                InvalidInput,
                "{} features and {} values that must be probabilities, for a bundle of {} features and {} tiers",
                features.len(),
                probabilities.len(),
                self.schema().len(),
                rules.len()
            );
        }
        if !state.knows(now) {
            bail!(TooLate, "the history at {now} is gone; raise `capacity`");
        }
        let tier = self.manifest().decode.decode(&probabilities, &self.manifest().cuts);
        Ok(Assessment {
            now,
            schema_hash: self.manifest().schema_hash.clone(),
            features,
            tier,
            tier_name: rules.name(tier).to_string(),
            expected_tier: expected_tier(&probabilities) as f32,
            probabilities,
            standing: rules.standing(state, now, &self.schema().spec().events.currency),
            warnings: self.warnings(state, now),
        })
    }

    fn warnings(&self, state: &MemberState, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::new();
        if state.is_empty() {
            warnings.push("no events: the answer is what is typical of a new member".to_string());
        }
        if self.schema().sees_too_little(state, now) {
            warnings.push(alloc::format!(
                "some features reach further back than the {} events that are kept",
                state.len()
            ));
        }
        warnings
    }
}

/// Rows that the model is given at a time.
const BATCH_ROWS: usize = 1024;

/// A bundle with its model loaded: what every runtime holds.
#[derive(Debug)]
pub struct Scorer {
    bundle: Bundle,
    engine: Engine,
    profiler: Held<Profiler>,
    recommender: Held<Recommender>,
    deciders: Held<[Option<Decider>; 2]>,
    judge: Held<Judge>,
}

/// Room to score in, made once and used again: after the first score nothing is allocated for the model.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    workspace: Workspace,
    inputs: Vec<f32>,
    profiles: Option<Workspace>,
    recommends: Option<RecommendRoom>,
    decides: [Option<Workspace>; 2],
    judges: Option<Workspace>,
}

impl Scorer {
    /// Reads a bundle and loads its model.
    ///
    /// # Errors
    /// Those of [`Bundle::parse`]; `invalid_model` when the model cannot be loaded; `unsupported_model` when it needs
    /// the feature `onnx`.
    pub fn load(bytes: &[u8]) -> Result<Self> {
        let Opened { bundle, model, profile, recommend, policies, risk } = Bundle::open(bytes)?;
        let (inputs, outputs) = (bundle.transform().width(), bundle.rules().len());
        let engine = Engine::load(bundle.manifest().engine, model, inputs, outputs)?;
        let profiler =
            Held::new(|| profile.into_option().map(|(spec, model)| Profiler::load(spec, model)).transpose())?;
        let recommender = Held::new(|| {
            recommend
                .into_option()
                .map(|(catalogue, ranker)| Recommender::load(catalogue, ranker))
                .transpose()
        })?;
        let deciders = Held::new(|| {
            let mut deciders = [None, None];
            for (task, policy, plan) in policies.into_option().unwrap_or_default() {
                if let Some(place) = deciders.get_mut(task as usize) {
                    *place = Some(Decider::load(policy, plan)?);
                }
            }
            Ok(Some(deciders))
        })?;
        let judge =
            Held::new(|| risk.into_option().map(|(model, plan)| Judge::load(model, plan)).transpose())?;
        Ok(Self { bundle, engine, profiler, recommender, deciders, judge })
    }

    /// What profiles are made by; none for a bundle of tiers alone.
    pub fn profile_spec(&self) -> Option<&ProfileSpec> {
        self.profiler().map(|profiler| &profiler.spec)
    }

    /// What makes profiles; the compiler drops all of it from a build that makes none.
    fn profiler(&self) -> Option<&Profiler> {
        self.profiler.get()
    }

    /// Describes how a member behaves, as known at `now`. Changes nothing.
    ///
    /// # Errors
    /// `invalid_input` when the bundle has no profiles; `too_late` when the history at `now` was already forgotten;
    /// `model_failed` when the model gives no profile.
    pub fn profile(&self, state: &MemberState, now: Timestamp) -> Result<Profile> {
        self.profile_in(&mut Scratch::default(), state, now)
    }

    /// As [`Scorer::profile`], in room that was made before; the first profile makes more.
    ///
    /// # Errors
    /// Those of [`Scorer::profile`].
    pub fn profile_in(&self, scratch: &mut Scratch, state: &MemberState, now: Timestamp) -> Result<Profile> {
        let Some(profiler) = self.profiler() else {
            bail!(InvalidInput, "the bundle has no profiles; train one with a network over a [sequence]");
        };
        let workspace = scratch.profiles.get_or_insert_with(|| profiler.workspace());
        profiler.profile(self.bundle.schema(), workspace, state, now)
    }

    /// What may be recommended; none for a bundle that recommends nothing.
    pub fn catalogue(&self) -> Option<&Catalogue> {
        self.recommender().map(|recommender| recommender.shelf.catalogue())
    }

    /// What recommends; the compiler drops all of it from a build that does not.
    fn recommender(&self) -> Option<&Recommender> {
        self.recommender.get()
    }

    /// Which items a member will buy next, as known at `now`, the most wanted first. Changes nothing.
    ///
    /// # Errors
    /// `invalid_input` when the bundle recommends nothing or the options are out of range; `too_late` when the history at
    /// `now` was already forgotten; `model_failed` when the ranker gives no probabilities.
    pub fn recommend(
        &self,
        state: &MemberState,
        now: Timestamp,
        options: &RecommendOptions,
    ) -> Result<Vec<Recommendation>> {
        self.recommend_in(&mut self.scratch(1), state, now, options)
    }

    /// As [`Scorer::recommend`], in room that was made before; the first list makes more.
    ///
    /// # Errors
    /// Those of [`Scorer::recommend`].
    pub fn recommend_in(
        &self,
        scratch: &mut Scratch,
        state: &MemberState,
        now: Timestamp,
        options: &RecommendOptions,
    ) -> Result<Vec<Recommendation>> {
        let Some(recommender) = self.recommender() else {
            bail!(InvalidInput, "the bundle recommends nothing; train one with a [recommend] table");
        };
        let mut room = scratch.recommends.take().unwrap_or_else(|| recommender.room());
        let tiers = || Ok(self.assess_in(scratch, state, now)?.probabilities);
        let list = recommender.recommend(&mut room, state, now, options, tiers);
        scratch.recommends = Some(room);
        list
    }

    /// The rules for points.
    fn points_rules(&self) -> Result<&PointsRules> {
        match self.bundle.points() {
            Some(rules) => Ok(rules),
            None if POINTS => {
                bail!(InvalidInput, "the bundle has no points; train one with a [points] table")
            }
            None => {
                bail!(UnsupportedModel, "this build has no points; use one with the feature `all-kernels`")
            }
        }
    }

    /// What an event earns for a member in a tier, 1…K, with points earned on that UTC day before.
    ///
    /// # Errors
    /// Those of [`EventInput::validate`]; `invalid_input` when the bundle has no points or no such tier.
    pub fn earn(&self, event: &EventInput<'_>, tier: u8, earned_today: u64) -> Result<Earned> {
        let (rules, tiers) = (self.points_rules()?, self.bundle.rules().len());
        if !(1..=tiers).contains(&usize::from(tier)) {
            bail!(InvalidInput, "there is no tier {tier}; give 1 to {tiers}");
        }
        let event = event.validate(&self.bundle.schema().spec().events)?;
        Ok(rules.earn(&event, tier, earned_today))
    }

    /// A member's points at `now`, after redemptions in any order, and from an earlier statement on if one is given.
    /// Changes nothing.
    ///
    /// # Errors
    /// `invalid_input` when the bundle has no points; those of [`PointsRules::statement`].
    pub fn points(
        &self,
        state: &MemberState,
        now: Timestamp,
        redemptions: &[PointsAt],
        opening: Option<&Statement>,
    ) -> Result<Statement> {
        self.points_rules()?.statement(self.bundle.rules(), state, redemptions, opening, now)
    }

    /// What decides; the compiler drops all of it from a build that does not.
    fn decider(&self, task: Task) -> Option<&Decider> {
        self.deciders.get()?.get(task as usize)?.as_ref()
    }

    /// The policy of a task; none where the bundle does not decide on it.
    pub fn policy(&self, task: Task) -> Option<&Policy> {
        self.decider(task).map(|decider| &decider.policy)
    }

    /// Which tier of service, or which offer of points, a member gets in the period around `now`. Changes nothing. The
    /// policy sees the member as known when the period began, so that the answer is the same for all of it.
    ///
    /// # Errors
    /// `invalid_input` when the bundle has no such policy, the options are out of range or leave no action; `too_late` when the
    /// history at the start of the period was already forgotten; `model_failed` when the policy gives no chances.
    pub fn decide(
        &self,
        task: Task,
        state: &MemberState,
        now: Timestamp,
        options: &DecideOptions,
    ) -> Result<Decision> {
        self.decide_in(&mut self.scratch(1), task, state, now, options)
    }

    /// As [`Scorer::decide`], in room that was made before; the first decision makes more.
    ///
    /// # Errors
    /// Those of [`Scorer::decide`].
    pub fn decide_in(
        &self,
        scratch: &mut Scratch,
        task: Task,
        state: &MemberState,
        now: Timestamp,
        options: &DecideOptions,
    ) -> Result<Decision> {
        let Some(decider) = self.decider(task) else {
            let name = task.name();
            bail!(InvalidInput, "the bundle has no policy to {name}; put one in with `tiercast bundle`");
        };
        let room = scratch.decides.get_mut(task as usize);
        let mut own = None;
        let workspace = room.unwrap_or(&mut own).get_or_insert_with(|| decider.workspace());
        decider.decide(workspace, &self.bundle, (task, state, now), options)
    }

    /// What judges risk; none for a bundle that does not.
    pub fn risk_model(&self) -> Option<&RiskModel> {
        self.judge.get().map(|judge| &judge.model)
    }

    /// How likely the event at `now`, which was observed, is fraud. Changes nothing.
    ///
    /// # Errors
    /// `invalid_input` when the bundle judges no risk or the options are out of range; `too_late` when the history at `now` was
    /// already forgotten; `model_failed` when the model gives no probability.
    pub fn risk(&self, state: &MemberState, now: Timestamp, options: &RiskOptions) -> Result<Risk> {
        self.risk_in(&mut Scratch::default(), state, now, options)
    }

    /// As [`Scorer::risk`], in room that was made before; the first answer makes more.
    ///
    /// # Errors
    /// Those of [`Scorer::risk`].
    pub fn risk_in(
        &self,
        scratch: &mut Scratch,
        state: &MemberState,
        now: Timestamp,
        options: &RiskOptions,
    ) -> Result<Risk> {
        let Some(judge) = self.judge.get() else {
            bail!(InvalidInput, "the bundle judges no risk; put a model in with `tiercast bundle --risk`");
        };
        let workspace = scratch.judges.get_or_insert_with(|| judge.workspace());
        judge.judge(workspace, &self.bundle, (state, now), options)
    }

    /// What the training rows were distributed like, by which drift is measured; as [`Bundle::drift`].
    pub fn drift(&self) -> Option<&Reference> {
        self.bundle.drift()
    }

    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Room for up to `rows` rows at a time; more rows are scored in pieces.
    pub fn scratch(&self, rows: usize) -> Scratch {
        Scratch {
            workspace: self.engine.workspace(rows),
            inputs: Vec::new(),
            profiles: None,
            recommends: None,
            decides: [None, None],
            judges: None,
        }
    }

    /// Assesses a member as known at `now`. Changes nothing.
    ///
    /// # Errors
    /// `too_late` when the history at `now` was already forgotten; `model_failed` when the model gives no
    /// probabilities.
    pub fn assess(&self, state: &MemberState, now: Timestamp) -> Result<Assessment> {
        self.assess_in(&mut self.scratch(1), state, now)
    }

    /// As [`Scorer::assess`], in room that was made before.
    ///
    /// # Errors
    /// Those of [`Scorer::assess`].
    pub fn assess_in(
        &self,
        scratch: &mut Scratch,
        state: &MemberState,
        now: Timestamp,
    ) -> Result<Assessment> {
        let features = self.bundle.schema().features_at(state, now)?;
        let mut probabilities = Vec::with_capacity(self.bundle.rules().len());
        self.score_in(scratch, &features, &mut probabilities)?;
        self.bundle.decide(state, now, features, probabilities)
    }

    /// Probabilities for rows of raw features, stored one after the other: `rows × features` in, `rows × tiers` out.
    ///
    /// # Errors
    /// `invalid_input` when the length is not a multiple of the number of features; `model_failed` as above.
    pub fn score_batch(&self, features: &[f32]) -> Result<Vec<f32>> {
        let mut probabilities = Vec::new();
        self.score_in(&mut self.scratch(BATCH_ROWS), features, &mut probabilities)?;
        Ok(probabilities)
    }

    /// As [`Scorer::score_batch`], in room that was made before; appends to `probabilities`.
    ///
    /// # Errors
    /// Those of [`Scorer::score_batch`].
    pub fn score_in(
        &self,
        scratch: &mut Scratch,
        features: &[f32],
        probabilities: &mut Vec<f32>,
    ) -> Result<()> {
        let width = self.bundle.schema().len();
        if !features.len().is_multiple_of(width) {
            bail!(InvalidInput, "{} values are not rows of {width} features", features.len());
        }
        // In pieces, so that a large batch needs little memory.
        for rows in features.chunks(width * BATCH_ROWS) {
            let mut inputs = mem::take(&mut scratch.inputs);
            inputs.clear();
            rows.chunks(width).for_each(|row| self.bundle.transform().apply(row, &mut inputs));
            let outcome = self.run_inputs(scratch, &inputs, probabilities);
            scratch.inputs = inputs;
            outcome?;
        }
        Ok(())
    }

    /// Appends the probabilities of rows of the model's inputs.
    pub(crate) fn run_inputs(
        &self,
        scratch: &mut Scratch,
        inputs: &[f32],
        probabilities: &mut Vec<f32>,
    ) -> Result<()> {
        let (from, tiers) = (probabilities.len(), self.bundle.rules().len());
        self.engine.run(&mut scratch.workspace, inputs, probabilities)?;
        let new = probabilities.get(from..).unwrap_or_default();
        if let Some(row) = new.chunks(tiers).position(|row| !are_probabilities(row, tiers)) {
            bail!(
                ModelFailed,
                "what the model gave for row {row} are not {tiers} probabilities that sum to 1"
            );
        }
        Ok(())
    }
}
