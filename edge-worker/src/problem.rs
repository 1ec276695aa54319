//! What a caller is told when something is refused: an HTTP status, a stable code, a sentence, and what to do.

use std::borrow::Cow;

use serde::Serialize;
use tiercast_core::{Error, ErrorKind};

/// A refused request, or a refused member of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    pub(crate) hint: Option<&'static str>,
    /// A response header that HTTP requires with this status.
    pub(crate) header: Option<(&'static str, &'static str)>,
}

/// The JSON form: `{"code", "message", "hint"?}`.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemBody<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), hint: None, header: None }
    }

    pub(crate) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Says where in the body the problem is, for example `events[3]`.
    pub(crate) fn at(mut self, place: impl std::fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message).into();
        self
    }

    pub(crate) fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "invalid_request", message)
            .hint("see edge-worker/openapi.json for the shape of a request")
    }

    /// The bundle cannot be used: every scoring route answers this until a good one is deployed.
    pub(crate) fn bundle(error: &Error) -> Self {
        Self::new(503, error.code(), error.message().to_owned())
            .hint("deploy again with the bundle.tcb that `tiercast train` wrote in edge-worker/assets")
    }

    pub(crate) fn body(&self) -> ProblemBody<'_> {
        ProblemBody { code: self.code, message: &self.message, hint: self.hint }
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: ProblemBody<'a>,
        }
        serde_json::to_vec(&Envelope { error: self.body() }).unwrap_or_default()
    }
}

impl From<Error> for Problem {
    /// Core refuses content (422), except where its own model failed (500).
    fn from(error: Error) -> Self {
        let status = if error.kind() == ErrorKind::ModelFailed { 500 } else { 422 };
        let problem = Self::new(status, error.code(), error.message().to_owned());
        match error.kind() {
            ErrorKind::SchemaMismatch | ErrorKind::StateVersion => problem
                .hint("rebuild the member's state from its events: the deployed bundle reads other features"),
            ErrorKind::InvalidState => {
                problem.hint("send the state exactly as an earlier answer returned it")
            }
            ErrorKind::TooLate => {
                problem.hint("ask for a later moment: the history at this one was already forgotten")
            }
            ErrorKind::UnknownKind => problem.hint("GET /v1/model lists the bundle's own kinds of event"),
            _ => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_documented_shape() {
        let problem = Problem::new(413, "too_many_members", "257 members").at("members");
        assert_eq!(
            problem.json(),
            br#"{"error":{"code":"too_many_members","message":"members: 257 members"}}"#
        );
        let hinted = Problem::new(400, "x", "y").hint("z");
        assert_eq!(hinted.json(), br#"{"error":{"code":"x","message":"y","hint":"z"}}"#);
    }
}
