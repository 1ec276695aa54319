//! The JSON of `POST /v1/score`: its shape is checked here, its content by core.
//!
//! A body that is not of this shape is refused as a whole; inside `members` each member stands for itself.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, error::Category};
use tiercast_core::Scalar;

use crate::{config::Limits, problem::Problem, route::Options};

/// The longest member identifier, in bytes.
pub(crate) const MAX_MEMBER_ID: usize = 256;

/// A body of the right shape.
#[derive(Debug)]
pub(crate) struct ScoreRequest {
    /// The point in time of every member that states none.
    pub(crate) now: Option<Scalar<'static>>,
    /// Answer with the feature vector.
    pub(crate) features: bool,
    /// Answer with the state.
    pub(crate) return_state: bool,
    pub(crate) subject: Subject,
}

/// Whom to score.
#[derive(Debug)]
pub(crate) enum Subject {
    One(MemberRequest),
    /// Each as it was sent, so that a mistake in one does not stop the others.
    Many(Vec<Value>),
}

/// One member: events, a state, or a state and the events since.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MemberRequest {
    pub(crate) member: Option<String>,
    pub(crate) now: Option<Scalar<'static>>,
    pub(crate) events: Option<Vec<Value>>,
    pub(crate) state: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    now: Option<Scalar<'static>>,
    features: Option<bool>,
    return_state: Option<bool>,
    members: Option<Vec<Value>>,
    member: Option<String>,
    events: Option<Vec<Value>>,
    state: Option<String>,
}

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

impl ScoreRequest {
    /// Reads a body; what the query says goes before what the body says.
    ///
    /// # Errors
    /// 400 `malformed_json` or `invalid_request`; 413 `too_many_members` or `too_many_events`.
    pub(crate) fn parse(body: &[u8], query: Options, limits: Limits) -> Result<Self, Problem> {
        let wire: Fields<Wire> = serde_json::from_slice(body).map_err(|error| match error.classify() {
            Category::Data => Problem::malformed(error.to_string()),
            _ => Problem::new(400, "malformed_json", format!("the body is not JSON: {error}")),
        })?;
        let wire = wire.0;
        let subject = match wire.members {
            None => Subject::One(
                MemberRequest { member: wire.member, now: None, events: wire.events, state: wire.state }
                    .checked(limits)?,
            ),
            Some(_) if wire.member.is_some() || wire.events.is_some() || wire.state.is_some() => {
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
        Ok(Self {
            now: wire.now,
            features: query.features.or(wire.features).unwrap_or(false),
            return_state: query.return_state.or(wire.return_state).unwrap_or(false),
            subject,
        })
    }
}

impl MemberRequest {
    /// Reads one entry of `members`.
    ///
    /// # Errors
    /// 400 `invalid_request`; 413 `too_many_events`.
    pub(crate) fn parse(value: &Value, limits: Limits) -> Result<Self, Problem> {
        let Fields(member) =
            Fields::<Self>::deserialize(value).map_err(|error| Problem::malformed(error.to_string()))?;
        member.checked(limits)
    }

    /// How much there is to do, in events; used to share out time, not to limit.
    pub(crate) fn cost(&self) -> usize {
        let state = self.state.as_ref().map_or(0, |state| state.len() / 64);
        64 + state + self.events.as_ref().map_or(0, Vec::len)
    }

    fn checked(self, limits: Limits) -> Result<Self, Problem> {
        let events = self.events.as_ref().map_or(0, Vec::len);
        if events > limits.events {
            let message = format!("{events} events; at most {} of one member in one request", limits.events);
            return Err(Problem::new(413, "too_many_events", message)
                .hint("send the newest, or send them in parts and the state of one answer with the next"));
        }
        if self.events.is_none() && self.state.is_none() {
            return Err(Problem::malformed("a member needs events, a state, or both; events may be empty"));
        }
        match &self.member {
            Some(id) if id.is_empty() || id.len() > MAX_MEMBER_ID => {
                Err(Problem::malformed(format!("member must have 1 to {MAX_MEMBER_ID} bytes")))
            }
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMITS: Limits = Limits { body_bytes: 1 << 20, members: 2, events: 3, time_ms: 1_000 };

    fn parse(body: &str) -> Result<ScoreRequest, (u16, &'static str)> {
        ScoreRequest::parse(body.as_bytes(), Options::default(), LIMITS).map_err(|p| (p.status, p.code))
    }

    #[test]
    fn both_shapes_are_read() {
        let one = parse(r#"{"member":"m1","now":"2017-10-01","events":[],"features":true}"#).unwrap();
        assert!(one.features && !one.return_state && matches!(one.subject, Subject::One(_)));
        let many = parse(r#"{"members":[{"events":[]},7],"now":0,"returnState":true}"#).unwrap();
        let Subject::Many(members) = many.subject else { panic!("a batch") };
        assert!(many.return_state);
        assert!(MemberRequest::parse(&members[0], LIMITS).is_ok());
        assert_eq!(MemberRequest::parse(&members[1], LIMITS).unwrap_err().code, "invalid_request");
    }

    #[test]
    fn the_query_goes_before_the_body() {
        let query = Options { features: Some(false), return_state: Some(true) };
        let request = ScoreRequest::parse(br#"{"events":[],"features":true}"#, query, LIMITS).unwrap();
        assert!(!request.features && request.return_state);
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
            r#"[0,false,false,null,"m",[],null]"#,
            "7",
            "null",
            "{}",
            r#"{"events":{}}"#,
            r#"{"state":7}"#,
            r#"{"events":[],"event":[]}"#,
            r#"{"events":[],"events":[]}"#,
            r#"{"events":[],"now":{}}"#,
            r#"{"events":[],"features":"yes"}"#,
            r#"{"events":[],"member":""}"#,
            r#"{"members":{}}"#,
            r#"{"members":[],"events":[]}"#,
        ] {
            assert_eq!(parse(body).unwrap_err(), (400, "invalid_request"), "{body}");
        }
        assert_eq!(parse(r#"{"members":[1,2,3]}"#).unwrap_err(), (413, "too_many_members"));
        assert_eq!(parse(r#"{"events":[1,2,3,4]}"#).unwrap_err(), (413, "too_many_events"));
        assert_eq!(
            MemberRequest::parse(&json!(["m", 0, [], null]), LIMITS).unwrap_err().code,
            "invalid_request"
        );
        let deep = format!("{{\"events\":{}", "[".repeat(100_000));
        assert_eq!(parse(&deep).unwrap_err(), (400, "malformed_json"));
    }
}
