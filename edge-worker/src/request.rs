//! The JSON of `POST /v1/score` and the routes beside it: its shape is checked here, its content by core.
//!
//! A body that is not of this shape is refused as a whole; inside `members` each member stands for itself. A body is
//! read in one pass, straight into events; only when that fails is it read again, to say what is wrong and where.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, error::Category};
use tiercast_core::{EventInput, RecommendOptions, Scalar};

use crate::{
    config::Limits,
    problem::Problem,
    route::{Answer, Options},
    strict::{self, Strict},
};

/// The longest member identifier, in bytes.
pub(crate) const MAX_MEMBER_ID: usize = 256;

/// A body of the right shape.
#[derive(Debug)]
pub(crate) struct ScoreRequest<'a> {
    /// The point in time of every member that states none.
    pub(crate) now: Option<Scalar<'a>>,
    /// Answer with the feature vector.
    pub(crate) features: bool,
    /// Answer with the state.
    pub(crate) return_state: bool,
    /// Answer with the profile.
    pub(crate) profile: bool,
    /// What to answer with.
    pub(crate) answer: Answer,
    /// What recommendations shall be like.
    pub(crate) recommend: RecommendOptions,
    /// What decisions and points shall take into account, for every member that states nothing.
    pub(crate) options: Option<Value>,
    pub(crate) subject: Subject<'a>,
}

/// Whom to score.
#[derive(Debug)]
pub(crate) enum Subject<'a> {
    One(MemberRequest<'a>),
    /// Each as it was sent, so that a mistake in one does not stop the others. A key given twice is no such mistake: it
    /// leaves open what was sent, and refuses the body.
    Many(Vec<Value>),
}

/// One member: events, a state, or a state and the events since.
#[derive(Debug)]
pub(crate) struct MemberRequest<'a> {
    pub(crate) member: Option<Cow<'a, str>>,
    pub(crate) now: Option<Scalar<'a>>,
    pub(crate) events: Vec<EventInput<'a>>,
    pub(crate) state: Option<Cow<'a, str>>,
    pub(crate) options: Option<Value>,
}

/// A body as it is sent, with events read as `E`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire<'a, E> {
    #[serde(borrow)]
    now: Option<Scalar<'a>>,
    features: Option<bool>,
    return_state: Option<bool>,
    profile: Option<bool>,
    recommend: Option<RecommendOptions>,
    options: Option<Strict>,
    #[serde(default, deserialize_with = "strict::list")]
    members: Option<Vec<Value>>,
    #[serde(borrow)]
    member: Option<Text<'a>>,
    events: Option<Vec<E>>,
    #[serde(borrow)]
    state: Option<Text<'a>>,
}

impl<'a> Wire<'a, EventInput<'a>> {
    fn read(body: &'a [u8], limits: Limits) -> Result<Self, Problem> {
        let json = std::str::from_utf8(body).map_err(|error| not_json(&error))?;
        if let Ok(Fields(wire)) = serde_json::from_str(json) {
            return Ok(wire);
        }
        Err(match serde_json::from_str::<Fields<Wire<'a, Strict>>>(json) {
            Ok(Fields(wire)) => wrong_event(wire.events, limits),
            Err(error) if error.classify() == Category::Data => Problem::malformed(error.to_string()),
            Err(error) => not_json(&error),
        })
    }
}

/// One entry of `members`, as it is sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireMember<'a, E> {
    #[serde(borrow)]
    member: Option<Text<'a>>,
    #[serde(borrow)]
    now: Option<Scalar<'a>>,
    events: Option<Vec<E>>,
    #[serde(borrow)]
    state: Option<Text<'a>>,
    options: Option<Strict>,
}

/// A text that is copied only if it holds escapes.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A `T` from an object and from nothing else: serde would also take a list of the fields' values.
#[derive(Debug)]
pub(crate) struct Fields<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Fields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Fields<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Fields)
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// What is sent to a stored member: events or a state, and nothing else.
#[derive(Debug)]
pub(crate) enum Sent<'a> {
    /// Each with an identity.
    Events(Vec<EventInput<'a>>),
    /// In base64.
    State(Cow<'a, str>),
}

impl<'a> Sent<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// Those of [`ScoreRequest::parse`] but for batches; 422 `invalid_event` also for an event without an identity.
    pub(crate) fn parse(body: &'a [u8], limits: Limits) -> Result<Self, Problem> {
        let Wire { now, features, return_state, profile, recommend, options, members, member, events, state } =
            Wire::read(body, limits)?;
        let more = [features, return_state, profile].iter().any(Option::is_some)
            || now.is_some()
            || recommend.is_some()
            || options.is_some()
            || members.is_some()
            || member.is_some();
        let alone = WireMember { member: None, now: None, events, state, options: None };
        let one = match (more, alone.events.is_some(), alone.state.is_some()) {
            (false, true, false) | (false, false, true) => MemberRequest::of(alone, limits)?,
            _ => {
                return Err(Problem::malformed(
                    "this body holds events, or for a state the state, and nothing else",
                ));
            }
        };
        if let Some(state) = one.state {
            return Ok(Self::State(state));
        }
        if let Some(index) = one.events.iter().position(|event| event.id.is_none()) {
            return Err(Problem::new(422, "invalid_event", "an event of a stored member needs an id")
                .hint(
                    "give each event an id of its own, such as an order's line: it makes sending again safe",
                )
                .at(format_args!("event {index}")));
        }
        Ok(Self::Events(one.events))
    }
}

impl<'a> ScoreRequest<'a> {
    /// Reads a body; what the query says goes before what the body says.
    ///
    /// # Errors
    /// 400 `malformed_json` or `invalid_request`; 413 `too_many_members` or `too_many_events`; 422 `invalid_event` for
    /// the one member of a request.
    pub(crate) fn parse(body: &'a [u8], query: Options, limits: Limits) -> Result<Self, Problem> {
        let wire = Wire::read(body, limits)?;
        let (member, events, state) = (wire.member, wire.events, wire.state);
        let alone = WireMember { member, now: None, events, state, options: None };
        let subject = match wire.members {
            None => Subject::One(MemberRequest::of(alone, limits)?),
            Some(_) if alone.member.is_some() || alone.events.is_some() || alone.state.is_some() => {
                return Err(Problem::malformed(
                    "member, events and state belong inside members, not beside it",
                ));
            }
            Some(members) if members.len() > limits.members => {
                return Err(Problem::new(
                    413,
                    "too_many_members",
                    format!("{} members; at most {} in one request", members.len(), limits.members),
                )
                .hint("split the batch, or raise TIERCAST_MAX_MEMBERS"));
            }
            Some(members) => Subject::Many(members),
        };
        let assessed = query.features.or(wire.features).is_some() || query.profile.or(wire.profile).is_some();
        if assessed && query.answer != Answer::Score {
            return Err(Problem::malformed("features and profile belong to /v1/score"));
        }
        if wire.recommend.is_some() && query.answer != Answer::Recommend {
            return Err(Problem::malformed("recommend belongs to /v1/recommend"));
        }
        Ok(Self {
            answer: query.answer,
            recommend: wire.recommend.unwrap_or_default(),
            options: wire.options.map(|Strict(options)| options),
            now: wire.now,
            features: query.features.or(wire.features).unwrap_or(false),
            return_state: query.return_state.or(wire.return_state).unwrap_or(false),
            profile: query.profile.or(wire.profile).unwrap_or(false),
            subject,
        })
    }
}

impl<'a> MemberRequest<'a> {
    /// Reads one entry of `members`.
    ///
    /// # Errors
    /// 400 `invalid_request`; 413 `too_many_events`; 422 `invalid_event`.
    pub(crate) fn parse(value: &'a Value, limits: Limits) -> Result<Self, Problem> {
        if let Ok(Fields(wire)) = Fields::<WireMember<'a, EventInput<'a>>>::deserialize(value) {
            return Self::of(wire, limits);
        }
        Err(match Fields::<WireMember<'a, Strict>>::deserialize(value) {
            Ok(Fields(wire)) => wrong_event(wire.events, limits),
            Err(error) => Problem::malformed(error.to_string()),
        })
    }

    /// How much there is to do, in events; used to share out time, not to limit.
    pub(crate) fn cost(&self) -> usize {
        64 + self.state.as_ref().map_or(0, |state| state.len() / 64) + self.events.len()
    }

    fn of(wire: WireMember<'a, EventInput<'a>>, limits: Limits) -> Result<Self, Problem> {
        few_enough(wire.events.as_deref(), limits)?;
        if wire.events.is_none() && wire.state.is_none() {
            return Err(Problem::malformed("a member needs events, a state, or both; events may be empty"));
        }
        if wire.member.as_ref().is_some_and(|Text(id)| id.is_empty() || id.len() > MAX_MEMBER_ID) {
            return Err(Problem::malformed(format!("member must have 1 to {MAX_MEMBER_ID} bytes")));
        }
        Ok(Self {
            member: wire.member.map(|Text(id)| id),
            now: wire.now,
            events: wire.events.unwrap_or_default(),
            state: wire.state.map(|Text(state)| state),
            options: wire.options.map(|Strict(options)| options),
        })
    }
}

fn few_enough<E>(events: Option<&[E]>, limits: Limits) -> Result<(), Problem> {
    let sent = events.map_or(0, <[E]>::len);
    if sent > limits.events {
        let message = format!("{sent} events; at most {} of one member in one request", limits.events);
        return Err(Problem::new(413, "too_many_events", message)
            .hint("send the newest, or send them in parts and the state of one answer with the next"));
    }
    Ok(())
}

/// What is wrong with events of which not each could be read.
fn wrong_event(events: Option<Vec<Strict>>, limits: Limits) -> Problem {
    let events = events.as_deref();
    if let Err(problem) = few_enough(events, limits) {
        return problem;
    }
    for (index, Strict(event)) in events.unwrap_or_default().iter().enumerate() {
        if let Err(error) = EventInput::deserialize(event) {
            return Problem::new(422, "invalid_event", error.to_string()).at(format_args!("event {index}"));
        }
    }
    // Each alone can be read: then the body could have been too, and this is only said so as not to pass for an answer.
    Problem::malformed("the events cannot be read")
}

fn not_json(error: &dyn fmt::Display) -> Problem {
    Problem::new(400, "malformed_json", format!("the body is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { body_bytes: 1 << 20, members: 2, events: 3, time_ms: 1_000 };

    fn parse(body: &str) -> Result<ScoreRequest<'_>, (u16, &'static str)> {
        ScoreRequest::parse(body.as_bytes(), Options::default(), LIMITS).map_err(|p| (p.status, p.code))
    }

    #[test]
    fn both_shapes_are_read() {
        let one = parse(r#"{"member":"m1","now":"2017-10-01","events":[],"features":true}"#).unwrap();
        assert!(one.features && !one.return_state && matches!(one.subject, Subject::One(_)));
        let many =
            parse(r#"{"members":[{"events":[]},7],"now":0,"returnState":true,"profile":true}"#).unwrap();
        let Subject::Many(members) = many.subject else { panic!("a batch") };
        assert!(many.return_state && many.profile && !one.profile);
        assert!(MemberRequest::parse(&members[0], LIMITS).is_ok());
        assert_eq!(MemberRequest::parse(&members[1], LIMITS).unwrap_err().code, "invalid_request");
    }

    #[test]
    fn a_stored_member_is_sent_events_or_a_state() {
        let parse = |body: &'static str| Sent::parse(body.as_bytes(), LIMITS).map_err(|p| (p.status, p.code));
        let event = r#"{"events":[{"kind":"view","time":1,"id":"a"}]}"#;
        assert!(matches!(parse(event), Ok(Sent::Events(events)) if events.len() == 1));
        assert!(matches!(parse(r#"{"events":[]}"#), Ok(Sent::Events(events)) if events.is_empty()));
        assert!(matches!(parse(r#"{"state":"AA"}"#), Ok(Sent::State(state)) if state == "AA"));
        // Core reads the name of an odd one.
        assert!(parse(r#"{"events":[{"kind":"view","time":1,"id":5}]}"#).is_ok());
        for body in [
            "{}",
            r#"{"events":[],"state":"AA"}"#,
            r#"{"events":[],"features":false}"#,
            r#"{"events":[],"now":1}"#,
            r#"{"events":[],"member":"m"}"#,
            r#"{"events":[],"options":{}}"#,
            r#"{"events":[],"recommend":{}}"#,
            r#"{"members":[]}"#,
            r#"{"state":"AA","members":[]}"#,
        ] {
            assert_eq!(parse(body).unwrap_err(), (400, "invalid_request"), "{body}");
        }
        assert_eq!(parse(r#"{"events":[1,2,3,4]}"#).unwrap_err(), (413, "too_many_events"));
        for body in [
            r#"{"events":[7]}"#,
            r#"{"events":[{"kind":"view","time":1,"id":"a"},{"kind":"view","time":1}]}"#,
        ] {
            assert_eq!(parse(body).unwrap_err(), (422, "invalid_event"), "{body}");
        }
    }

    #[test]
    fn a_wrong_event_is_named() {
        let good = r#"{"kind":"view","time":1}"#;
        for (event, expected) in [
            ("7", (422, "invalid_event")),
            (r#"{"kind":"view"}"#, (422, "invalid_event")),
            (r#"["view",1]"#, (422, "invalid_event")),
            (r#"{"kind":"view","time":1,"amuont":1}"#, (422, "invalid_event")),
            (r#"{"kind":"view","time":1,"amount":1e999}"#, (400, "malformed_json")),
        ] {
            let member = format!(r#"{{"member":"m","events":[{good},{event}]}}"#);
            assert_eq!(parse(&member).unwrap_err(), expected, "{event}");
            let Ok(value) = serde_json::from_str::<Value>(&member) else { continue };
            let problem = MemberRequest::parse(&value, LIMITS).unwrap_err();
            assert_eq!((problem.status, problem.code), expected, "{event}");
            assert!(problem.message.starts_with("event 1: "), "{}", problem.message);
        }
    }

    #[test]
    fn texts_with_escapes_are_read() {
        let request = parse(r#"{"member":"m\u0031\n","state":"\u0041","events":[]}"#).unwrap();
        let Subject::One(member) = request.subject else { panic!("one member") };
        assert_eq!((member.member.as_deref(), member.state.as_deref()), (Some("m1\n"), Some("A")));
    }

    #[test]
    fn the_query_goes_before_the_body() {
        let query = Options {
            features: Some(false),
            return_state: Some(true),
            profile: Some(false),
            answer: Answer::Score,
        };
        let body = br#"{"events":[],"features":true,"profile":true}"#;
        let request = ScoreRequest::parse(body, query, LIMITS).unwrap();
        assert!(!request.features && request.return_state && !request.profile);
    }

    #[test]
    fn what_is_not_json_and_what_is_not_a_request_are_told_apart() {
        for body in [
            "",
            "{",
            "{\"events\":[NaN]}",
            "{\"events\":[]} {}",
            "{\"now\":1e999,\"events\":[]}",
            "\u{feff}{}",
        ] {
            assert_eq!(parse(body).unwrap_err(), (400, "malformed_json"), "{body}");
        }
        for body in [
            "[]",
            r#"[0,false,false,false,null,"m",[],null]"#,
            "7",
            "null",
            "{}",
            r#"{"events":{}}"#,
            r#"{"state":7}"#,
            r#"{"events":[],"event":[]}"#,
            r#"{"events":[],"events":[]}"#,
            r#"{"events":[{"kind":"view","time":1,"time":1}]}"#,
            r#"{"events":[{"kind":"view","time":1,"item":5,"item":5}]}"#,
            r#"{"members":[{"events":[],"now":1,"now":1}]}"#,
            r#"{"members":[{"events":[{"kind":"view","time":1,"time":1}]}]}"#,
            r#"{"events":[],"now":{}}"#,
            r#"{"events":[],"features":"yes"}"#,
            r#"{"events":[],"profile":1}"#,
            r#"{"events":[],"member":""}"#,
            r#"{"members":{}}"#,
            r#"{"members":[],"events":[]}"#,
        ] {
            assert_eq!(parse(body).unwrap_err(), (400, "invalid_request"), "{body}");
        }
        assert_eq!(parse(r#"{"members":[1,2,3]}"#).unwrap_err(), (413, "too_many_members"));
        assert_eq!(parse(r#"{"events":[1,2,3,4]}"#).unwrap_err(), (413, "too_many_events"));
        assert_eq!(
            MemberRequest::parse(&serde_json::json!(["m", 0, [], null]), LIMITS).unwrap_err().code,
            "invalid_request"
        );
        let deep = format!("{{\"events\":{}", "[".repeat(100_000));
        assert_eq!(parse(&deep).unwrap_err(), (400, "malformed_json"));
    }
}
