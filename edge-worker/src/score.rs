//! From a request to its answer. A batch is scored in slices, so that the caller can look at the clock between
//! them: in Workers the clock only moves while a request waits, never while it computes.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tiercast_core::{
    Assessment, Bundle, EventInput, MemberState, Observed, Scalar, Scorer, Standing, Timestamp,
};

use crate::{
    config::Limits,
    problem::{Problem, ProblemBody},
    request::{Fields, MemberRequest, ScoreRequest},
};

/// Work done between two looks at the clock, in the unit of [`MemberRequest::cost`].
const SLICE: usize = 4_096;

/// How one member's answer looks.
#[derive(Clone, Copy, Debug)]
struct Form {
    now: Timestamp,
    features: bool,
    return_state: bool,
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
    state: Option<String>,
}

/// How many of the events that were sent became part of the history.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcomes {
    added: usize,
    duplicate: usize,
    too_late: usize,
}

impl Outcomes {
    fn count(observed: &[Observed]) -> Self {
        let of = |outcome| observed.iter().filter(|o| **o == outcome).count();
        Self {
            added: of(Observed::Added),
            duplicate: of(Observed::Duplicate),
            too_late: of(Observed::TooLate),
        }
    }
}

/// One member's refusal inside a batch.
#[derive(Debug, Serialize)]
struct Refused<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    error: ProblemBody<'a>,
}

/// Scores the one member of a request; `clock` is the time now, for a request that states none.
///
/// # Errors
/// 400 or 422 for what the member sent, 500 when the model fails.
pub(crate) fn one(
    scorer: &Scorer,
    request: &ScoreRequest,
    member: &MemberRequest,
    clock: i64,
) -> Result<Vec<u8>, Problem> {
    let mut json = Vec::new();
    write_member(&mut json, scorer, member, Form::of(request, clock)?)?;
    Ok(json)
}

/// A batch on its way: `{"results": [...]}`, one entry for each member, in order.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    scorer: &'a Scorer,
    limits: Limits,
    members: std::slice::Iter<'a, Value>,
    form: Form,
    json: Vec<u8>,
}

impl<'a> Batch<'a> {
    /// Prepares a batch.
    ///
    /// # Errors
    /// 422 `invalid_time` when the request's `now` is none.
    pub(crate) fn new(
        scorer: &'a Scorer,
        request: &ScoreRequest,
        members: &'a [Value],
        clock: i64,
        limits: Limits,
    ) -> Result<Self, Problem> {
        let form = Form::of(request, clock)?;
        Ok(Self { scorer, limits, members: members.iter(), form, json: b"{\"results\":[".to_vec() })
    }

    /// Scores the next few members; false when none is left.
    pub(crate) fn step(&mut self) -> bool {
        let mut work = 0;
        while work < SLICE {
            let Some(value) = self.members.next() else { return false };
            work += self.member(value);
        }
        !self.members.as_slice().is_empty()
    }

    /// Refuses all members that are left.
    pub(crate) fn stop(&mut self) {
        let message = format!("not scored within the {} ms of this request", self.limits.time_ms);
        let problem =
            Problem::new(503, "time_limit", message).hint("send the member again in a smaller batch");
        while let Some(value) = self.members.next() {
            let member = value.get("member").and_then(Value::as_str);
            self.refuse(member, &problem);
        }
    }

    /// The body of the answer.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.json.extend_from_slice(b"]}");
        self.json
    }

    fn member(&mut self, value: &Value) -> usize {
        let request = match MemberRequest::parse(value, self.limits) {
            Ok(request) => request,
            Err(problem) => {
                self.refuse(value.get("member").and_then(Value::as_str), &problem);
                return 1;
            }
        };
        self.comma();
        let start = self.json.len();
        if let Err(problem) = write_member(&mut self.json, self.scorer, &request, self.form) {
            self.json.truncate(start);
            write(&mut self.json, &Refused { member: request.member.as_deref(), error: problem.body() });
        }
        request.cost()
    }

    fn refuse(&mut self, member: Option<&str>, problem: &Problem) {
        self.comma();
        write(&mut self.json, &Refused { member, error: problem.body() });
    }

    fn comma(&mut self) {
        if self.json.last() != Some(&b'[') {
            self.json.push(b',');
        }
    }
}

impl Form {
    fn of(request: &ScoreRequest, clock: i64) -> Result<Self, Problem> {
        let now = match &request.now {
            Some(now) => time(now)?,
            None => Timestamp::from_ms(clock)?,
        };
        Ok(Self { now, features: request.features, return_state: request.return_state })
    }
}

fn write_member(
    json: &mut Vec<u8>,
    scorer: &Scorer,
    member: &MemberRequest,
    form: Form,
) -> Result<(), Problem> {
    let now = member.now.as_ref().map_or(Ok(form.now), time)?;
    let (state, observed) = state_of(scorer.bundle(), member)?;
    let assessment: Assessment = scorer.assess(&state, now)?;
    let scored = Scored {
        member: member.member.as_deref(),
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
        state: form.return_state.then(|| BASE64.encode(state.snapshot())),
    };
    write(json, &scored);
    Ok(())
}

/// The member's history: the state that was sent, if one was, and the events after it.
fn state_of(bundle: &Bundle, member: &MemberRequest) -> Result<(MemberState, Outcomes), Problem> {
    let schema = bundle.schema();
    let mut state = match &member.state {
        None => MemberState::new(schema),
        Some(text) => {
            let bytes = BASE64.decode(text).map_err(|error| {
                Problem::new(422, "invalid_state", format!("not base64: {error}"))
                    .hint("send the state exactly as an earlier answer returned it")
                    .at("state")
            })?;
            MemberState::restore(&bytes, schema).map_err(|error| Problem::from(error).at("state"))?
        }
    };
    let inputs = member.events.iter().flatten().enumerate().map(read_event).collect::<Result<Vec<_>, _>>()?;
    let observed = Outcomes::count(&bundle.observe(&mut state, &inputs)?);
    Ok((state, observed))
}

fn read_event((index, value): (usize, &Value)) -> Result<EventInput<'_>, Problem> {
    match Fields::<EventInput<'_>>::deserialize(value) {
        Ok(Fields(input)) => Ok(input),
        Err(error) => {
            Err(Problem::new(422, "invalid_event", error.to_string()).at(format_args!("event {index}")))
        }
    }
}

fn time(now: &Scalar<'_>) -> Result<Timestamp, Problem> {
    let time = match now {
        Scalar::Int(ms) => Timestamp::from_ms(*ms).map_err(Problem::from),
        Scalar::Text(text) => Timestamp::parse(text).map_err(Problem::from),
        Scalar::Float(ms) => {
            Err(Problem::new(422, "invalid_time", format!("{ms} is not a whole number of milliseconds")))
        }
    };
    time.map_err(|problem| problem.at("now"))
}

fn write(json: &mut Vec<u8>, value: &impl Serialize) {
    // A vector takes every byte and the types above have only string keys: serde_json has nothing to refuse.
    let _ = serde_json::to_writer(json, value);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{model::Model, request::Subject, route::Options};

    const NOW: i64 = 1_506_816_000_000;
    const LIMITS: Limits = Limits { body_bytes: 1 << 20, members: 1_000, events: 1_000, time_ms: 9 };

    fn model() -> Model {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/fixture.tcb");
        Model::load(&std::fs::read(path).unwrap()).unwrap()
    }

    fn request(body: &Value) -> ScoreRequest {
        ScoreRequest::parse(body.to_string().as_bytes(), Options::default(), LIMITS).unwrap()
    }

    fn members(n: usize) -> ScoreRequest {
        let member =
            |i| json!({ "member": format!("m{i}"), "events": [{ "kind": "view", "time": NOW - 1 }] });
        request(&json!({ "members": (0..n).map(member).collect::<Vec<_>>() }))
    }

    fn results(batch: Batch<'_>) -> Vec<Value> {
        let body: Value = serde_json::from_slice(&batch.finish()).unwrap();
        body["results"].as_array().unwrap().clone()
    }

    #[test]
    fn a_batch_is_scored_in_slices_and_in_order() {
        let (model, request) = (model(), members(500));
        let Subject::Many(list) = &request.subject else { panic!("a batch") };
        let mut batch = Batch::new(&model.scorer, &request, list, NOW, LIMITS).unwrap();
        let mut looks = 0;
        while batch.step() {
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
    fn a_stopped_batch_names_everyone_it_left_out() {
        let (model, request) = (model(), members(500));
        let Subject::Many(list) = &request.subject else { panic!("a batch") };
        let mut batch = Batch::new(&model.scorer, &request, list, NOW, LIMITS).unwrap();
        assert!(batch.step());
        batch.stop();
        let results = results(batch);
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
        let model = model();
        let bad = json!({ "member": "bad", "events": [{ "kind": "view", "time": NOW }, ["view", NOW]] });
        let request = request(&json!({ "members": [bad, 7, { "events": [] }] }));
        let Subject::Many(list) = &request.subject else { panic!("a batch") };
        let mut batch = Batch::new(&model.scorer, &request, list, NOW, LIMITS).unwrap();
        assert!(!batch.step());
        let results = results(batch);
        assert_eq!(
            (&results[0]["error"]["code"], &results[0]["member"]),
            (&json!("invalid_event"), &json!("bad"))
        );
        assert_eq!(results[1]["error"]["code"], "invalid_request");
        assert!(results[2]["tier"].is_u64());
    }

    #[test]
    fn the_deployed_model_is_described() {
        let model = model();
        let health: Value = serde_json::from_slice(&model.health().unwrap()).unwrap();
        let described: Value = serde_json::from_slice(&model.describe(LIMITS)).unwrap();
        assert_eq!((&health["status"], &health["bundle"]), (&json!("ok"), &described["bundle"]));
        assert_eq!(described["limits"]["timeMs"], 9);
        assert_eq!(described["features"].as_array().unwrap().len(), model.scorer.bundle().schema().len());
    }
}
