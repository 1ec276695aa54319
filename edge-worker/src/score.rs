//! From a request to its answer. A batch is scored in slices, so that the caller can look at the clock between
//! them: in Workers the clock only moves while a request waits, never while it computes.

use std::{rc::Rc, vec};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::Serialize;
use serde_json::Value;
use tiercast_core::{Bundle, FeatureSchema, MemberState, Observed, Profile, Scalar, Standing, Timestamp};

use crate::{
    ask::{Ask, Found},
    config::Limits,
    members::View,
    model::Model,
    problem::{Problem, ProblemBody},
    release::{self, Deployed, Stage},
    request::{MemberRequest, ScoreRequest, Subject},
    route::Options,
    watch,
};

/// Work done between two looks at the clock, in the unit of [`MemberRequest::cost`].
const SLICE: usize = 4_096;

/// Bytes that an answer without features or state needs at most, as a rule.
const ANSWER: usize = 1_024;

/// How one member's answer looks.
#[derive(Clone, Debug)]
struct Form {
    now: Timestamp,
    features: bool,
    return_state: bool,
    profile: bool,
    ask: Ask,
}

/// What is answered instead of an assessment, as it is sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    now: Timestamp,
    #[serde(flatten)]
    found: Found,
    observed: Outcomes,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

/// One member's assessment as it is sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Scored<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    now: Timestamp,
    schema_hash: &'a str,
    tier: u8,
    tier_name: &'a str,
    expected_tier: f32,
    probabilities: &'a [f32],
    standing: &'a Standing,
    warnings: &'a [String],
    observed: Outcomes,
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a Profile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

/// How many of the events that were sent became part of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcomes {
    pub(crate) added: usize,
    pub(crate) duplicate: usize,
    pub(crate) too_late: usize,
}

impl Outcomes {
    pub(crate) fn count(observed: &[Observed]) -> Self {
        let of = |outcome| observed.iter().filter(|o| **o == outcome).count();
        Self {
            added: of(Observed::Added),
            duplicate: of(Observed::Duplicate),
            too_late: of(Observed::TooLate),
        }
    }
}

/// An answer about one member.
#[derive(Debug)]
pub(crate) struct Told {
    /// As it is sent.
    pub(crate) json: Vec<u8>,
    pub(crate) seen: Seen,
}

/// What is counted of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) tier: Option<u8>,
    pub(crate) alert: Option<bool>,
    pub(crate) events: Outcomes,
}

impl Told {
    pub(crate) fn count(&self) {
        self.seen.count();
    }
}

impl Seen {
    fn count(self) {
        watch::with(|counts| {
            self.tier.into_iter().for_each(|tier| counts.score(tier));
            self.alert.into_iter().for_each(|alert| counts.judged(alert));
            counts.events(self.events);
        });
    }

    /// Whether two bundles say the same of a member.
    pub(crate) fn agrees(self, other: Self) -> bool {
        (self.tier, self.alert) == (other.tier, other.alert)
    }
}

/// One member's refusal inside a batch.
#[derive(Debug, Serialize)]
struct Refused<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    error: ProblemBody<'a>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The answer's body.
    Scored(Vec<u8>),
    /// Many members, none of them scored yet.
    Begun(Box<Batch>),
}

/// Scores the one member of a body, or begins with its many, which the stable bundle scores; `clock` is the time now.
///
/// # Errors
/// 400 or 413 for the body's shape, 422 for what the member sent or for what the bundle cannot give, 500 when the
/// model fails.
pub(crate) fn score(
    deployed: &Deployed,
    body: &[u8],
    options: Options,
    limits: Limits,
    clock: i64,
) -> Result<Outcome, Problem> {
    let request = ScoreRequest::parse(body, options, limits)?;
    if let Subject::One(member) = &request.subject {
        // Who has no name is no one's share.
        let trial = deployed.trial.as_ref();
        let drawn = trial.and_then(|trial| trial.place_of(member.member.as_deref()?));
        let told = deployed.ask(drawn, |model| one(model, &request, member, clock))?;
        told.count();
        return Ok(Outcome::Scored(told.json));
    }
    let (model, _) = deployed.answers(None);
    let form = Form::of(&request, model, clock)?;
    let members = match request.subject {
        Subject::Many(members) => members.into_iter(),
        Subject::One(_) => Vec::new().into_iter(),
    };
    let json = b"{\"results\":[".to_vec();
    let batch = Batch { model: Rc::clone(model), limits, members, form, started: clock, json };
    Ok(Outcome::Begun(Box::new(batch)))
}

/// The answer about the one member of a request.
fn one(
    model: &Model,
    request: &ScoreRequest<'_>,
    member: &MemberRequest<'_>,
    clock: i64,
) -> Result<Told, Problem> {
    let form = Form::of(request, model, clock)?;
    let mut json = Vec::with_capacity(ANSWER);
    let seen = write_member(&mut json, model, member, &form)?;
    Ok(Told { json, seen })
}

/// A batch on its way: `{"results": [...]}`, one entry for each member, in order.
#[derive(Debug)]
pub(crate) struct Batch {
    model: Rc<Model>,
    limits: Limits,
    members: vec::IntoIter<Value>,
    form: Form,
    started: i64,
    json: Vec<u8>,
}

impl Batch {
    /// Scores the next few members, or refuses all that are left when the request's time is over; false when none is
    /// left. The first few are always scored.
    pub(crate) fn step(&mut self, clock: i64) -> bool {
        let begun = self.json.last() != Some(&b'[');
        if begun && clock.saturating_sub(self.started) >= self.limits.time_ms as i64 {
            self.stop();
        }
        let mut work = 0;
        while work < SLICE {
            let Some(member) = self.members.next() else { return false };
            work += self.member(&member);
        }
        !self.members.as_slice().is_empty()
    }

    /// Refuses all members that are left.
    fn stop(&mut self) {
        let message = format!("not scored within the {} ms of this request", self.limits.time_ms);
        let problem =
            Problem::new(503, "time_limit", message).hint("send the member again in a smaller batch");
        while let Some(member) = self.members.next() {
            self.refuse(name_of(&member), &problem);
        }
    }

    /// The body of the answer.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.json.extend_from_slice(b"]}");
        self.json
    }

    /// Scores one member and returns how much work that was.
    fn member(&mut self, value: &Value) -> usize {
        let member = match MemberRequest::parse(value, self.limits) {
            Ok(member) => member,
            Err(problem) => {
                self.refuse(name_of(value), &problem);
                return 1;
            }
        };
        let start = self.json.len();
        self.comma();
        let written = write_member(&mut self.json, &self.model, &member, &self.form);
        release::count(&self.model, Stage::Stable, written.as_ref().err());
        match written {
            Ok(seen) => seen.count(),
            Err(problem) => {
                self.json.truncate(start);
                self.refuse(member.member.as_deref(), &problem);
            }
        }
        member.cost() * self.form.ask.weight()
    }

    fn refuse(&mut self, member: Option<&str>, problem: &Problem) {
        watch::with(|counts| counts.error(problem.code));
        self.comma();
        write(&mut self.json, &Refused { member, error: problem.body() });
    }

    /// Separates an entry from the one before it.
    fn comma(&mut self) {
        if self.json.last() != Some(&b'[') {
            self.json.push(b',');
        }
    }
}

fn name_of(member: &Value) -> Option<&str> {
    member.get("member").and_then(Value::as_str)
}

impl Form {
    fn of(request: &ScoreRequest<'_>, model: &Model, clock: i64) -> Result<Self, Problem> {
        can_profile(request.profile, model)?;
        let ask = Ask::of(request, model)?;
        let now = match &request.now {
            Some(now) => time(now)?,
            None => Timestamp::from_ms(clock)?,
        };
        let ScoreRequest { features, return_state, profile, .. } = *request;
        Ok(Self { now, features, return_state, profile, ask })
    }
}

/// # Errors
/// 422 `no_profiles` when one is asked of a bundle without them.
fn can_profile(profile: bool, model: &Model) -> Result<(), Problem> {
    if !profile || model.has_profiles() {
        return Ok(());
    }
    Err(Problem::new(422, "no_profiles", "the deployed bundle has no profiles")
        .hint("leave `profile` out, or deploy a bundle trained with a network over a [sequence]"))
}

/// The assessment of a history that is at hand; `clock` is the time now.
///
/// # Errors
/// 422 for the moment or for what the bundle cannot give, 500 when the model fails.
pub(crate) fn assess(model: &Model, state: &MemberState, view: &View, clock: i64) -> Result<Told, Problem> {
    let View { features, profile, ref now, .. } = *view;
    can_profile(profile, model)?;
    let now = now.as_ref().map_or_else(|| Timestamp::from_ms(clock).map_err(Problem::from), time)?;
    let form = Form { now, features, return_state: false, profile, ask: Ask::Score };
    let mut json = Vec::with_capacity(ANSWER);
    let seen = write_assessment(&mut json, model, None, state, now, (Outcomes::default(), None), &form)?;
    Ok(Told { json, seen })
}

fn write_member(
    json: &mut Vec<u8>,
    model: &Model,
    member: &MemberRequest<'_>,
    form: &Form,
) -> Result<Seen, Problem> {
    let now = member.now.as_ref().map_or(Ok(form.now), time)?;
    let (state, observed) = state_of(model.bundle(), member)?;
    let kept = form.return_state.then(|| BASE64.encode(state.snapshot()));
    let (name, ask) = (member.member.as_deref(), form.ask.with(member.options.as_ref())?);
    if let Some(found) = ask.answer(model, name, &state, now)? {
        let alert = if let Found::Risk(risk) = &found { Some(risk.alert) } else { None };
        write(json, &Answered { member: name, now, found, observed, state: kept });
        return Ok(Seen { tier: None, alert, events: observed });
    }
    write_assessment(json, model, name, &state, now, (observed, kept), form)
}

fn write_assessment(
    json: &mut Vec<u8>,
    model: &Model,
    member: Option<&str>,
    state: &MemberState,
    now: Timestamp,
    (observed, kept): (Outcomes, Option<String>),
    form: &Form,
) -> Result<Seen, Problem> {
    let assessment = model.assess(state, now)?;
    let profile = form.profile.then(|| model.profile(state, now)).transpose()?;
    let scored = Scored {
        member,
        now: assessment.now,
        schema_hash: &assessment.schema_hash,
        tier: assessment.tier,
        tier_name: &assessment.tier_name,
        expected_tier: assessment.expected_tier,
        probabilities: &assessment.probabilities,
        standing: &assessment.standing,
        warnings: &assessment.warnings,
        observed,
        features: form.features.then_some(&assessment.features),
        profile: profile.as_ref(),
        state: kept,
    };
    write(json, &scored);
    Ok(Seen { tier: Some(assessment.tier), alert: None, events: observed })
}

/// The member's history: the state that was sent, if one was, and the events after it.
fn state_of(bundle: &Bundle, member: &MemberRequest<'_>) -> Result<(MemberState, Outcomes), Problem> {
    let schema = bundle.schema();
    let mut state =
        member.state.as_ref().map_or_else(|| Ok(MemberState::new(schema)), |text| restored(text, schema))?;
    let observed = Outcomes::count(&bundle.observe(&mut state, &member.events)?);
    Ok((state, observed))
}

/// The history that was sent as base64.
///
/// # Errors
/// 422 `invalid_state`, `state_version` or `schema_mismatch`.
pub(crate) fn restored(text: &str, schema: &FeatureSchema) -> Result<MemberState, Problem> {
    let bytes = BASE64.decode(text.as_bytes()).map_err(|error| {
        Problem::new(422, "invalid_state", format!("not base64: {error}"))
            .hint("send the state exactly as an earlier answer returned it")
            .at("state")
    })?;
    MemberState::restore(&bytes, schema).map_err(|error| Problem::from(error).at("state"))
}

pub(crate) fn time(now: &Scalar<'_>) -> Result<Timestamp, Problem> {
    let time = match now {
        Scalar::Int(ms) => Timestamp::from_ms(*ms).map_err(Problem::from),
        Scalar::Text(text) => Timestamp::parse(text).map_err(Problem::from),
        Scalar::Float(ms) => {
            Err(Problem::new(422, "invalid_time", format!("{ms} is not a whole number of milliseconds")))
        }
    };
    time.map_err(|problem| problem.at("now"))
}

pub(crate) fn write(json: &mut Vec<u8>, value: &impl Serialize) {
    // A vector takes every byte and the types above have only string keys: serde_json has nothing to refuse.
    let _ = serde_json::to_writer(json, value);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_506_816_000_000;
    const LIMITS: Limits = Limits { body_bytes: 1 << 20, members: 1_000, events: 1_000, time_ms: 9 };

    fn model() -> Deployed {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/fixture.tcb");
        Deployed::only(Model::load(&std::fs::read(path).unwrap()).unwrap())
    }

    fn begin(body: &Value) -> Batch {
        match score(&model(), body.to_string().as_bytes(), Options::default(), LIMITS, NOW).unwrap() {
            Outcome::Begun(batch) => *batch,
            Outcome::Scored(_) => panic!("a batch"),
        }
    }

    fn members(n: usize) -> Batch {
        let member =
            |i| json!({ "member": format!("m{i}"), "events": [{ "kind": "view", "time": NOW - 1 }] });
        begin(&json!({ "members": (0..n).map(member).collect::<Vec<_>>() }))
    }

    fn results(batch: Batch) -> Vec<Value> {
        let body: Value = serde_json::from_slice(&batch.finish()).unwrap();
        body["results"].as_array().unwrap().clone()
    }

    #[test]
    fn a_batch_is_scored_in_slices_and_in_order() {
        let mut batch = members(500);
        let mut looks = 0;
        while batch.step(NOW) {
            looks += 1;
        }
        assert!((5..20).contains(&looks), "{looks} looks at the clock");
        let results = results(batch);
        assert_eq!(results.len(), 500);
        for (i, result) in results.iter().enumerate() {
            assert_eq!((&result["member"], &result["now"]), (&json!(format!("m{i}")), &json!(NOW)));
            assert!(result["tier"].is_u64() && result.get("features").is_none());
        }
    }

    #[test]
    fn a_batch_out_of_time_names_everyone_it_left_out() {
        let mut batch = members(500);
        assert!(batch.step(NOW + 1_000), "the first slice is scored, however late");
        assert!(!batch.step(NOW + 9));
        let results = results(batch);
        assert_eq!(results.len(), 500);
        let scored = results.iter().take_while(|result| result["tier"].is_u64()).count();
        assert!((1..500).contains(&scored));
        for (i, result) in results.iter().enumerate().skip(scored) {
            assert_eq!(
                (&result["error"]["code"], &result["member"]),
                (&json!("time_limit"), &json!(format!("m{i}")))
            );
        }
    }

    #[test]
    fn a_refused_member_leaves_no_half_written_answer() {
        let bad = json!({ "member": "bad", "events": [{ "kind": "view", "time": NOW }, ["view", NOW]] });
        let mut batch = begin(&json!({ "members": [bad, 7, { "events": [] }] }));
        assert!(!batch.step(NOW));
        let results = results(batch);
        assert_eq!(
            (&results[0]["error"]["code"], &results[0]["member"]),
            (&json!("invalid_event"), &json!("bad"))
        );
        assert_eq!(results[1]["error"]["code"], "invalid_request");
        assert!(results[2]["tier"].is_u64());
    }

    #[test]
    fn who_is_assessed_is_counted_for_drift_once() {
        let deployed = model();
        let member = json!({ "events": [{ "kind": "view", "time": NOW - 1 }] });
        for _ in 0..3 {
            score(&deployed, member.to_string().as_bytes(), Options::default(), LIMITS, NOW).unwrap();
        }
        let counts = deployed.stable.take_drift();
        let bins = deployed.stable.bundle().drift().unwrap();
        assert_eq!(counts.iter().sum::<u32>() as usize, 3 * (bins.features.len() + 1));
        assert!(deployed.stable.take_drift().iter().all(|count| *count == 0));
        let counts: Vec<f64> = counts.into_iter().map(f64::from).collect();
        let lines = watch::drift(&deployed.stable, &counts);
        assert!(lines.contains("tiercast_drift_members 3\n"), "{lines}");
        assert_eq!(lines.matches("tiercast_feature_psi{feature=\"").count(), bins.features.len());
        assert_eq!(watch::drift(&deployed.stable, &counts[1..]), "", "another bundle's counts");
    }

    #[test]
    fn the_deployed_model_is_described() {
        let model = model().stable;
        let health: Value = serde_json::from_slice(&model.health().unwrap()).unwrap();
        let described: Value = serde_json::from_slice(&model.describe(LIMITS)).unwrap();
        assert_eq!((&health["status"], &health["bundle"]), (&json!("ok"), &described["bundle"]));
        assert_eq!(described["limits"]["timeMs"], 9);
        assert_eq!(described["features"].as_array().unwrap().len(), model.bundle().schema().len());
    }
}
