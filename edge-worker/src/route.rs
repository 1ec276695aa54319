//! Which request is meant: method, path and query, before any body is read.

use tiercast_core::Task;

use crate::{
    claims::Scope,
    config::Config,
    members::{self, Visit},
    problem::Problem,
};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Is the worker able to score?
    Health,
    /// What is deployed.
    Model,
    /// What was counted.
    Metrics,
    /// Score one member or many, or answer something else about them.
    Score(Options),
    /// Do something with a stored member.
    Member(Visit),
    /// A browser asks whether it may call.
    Preflight,
}

/// What is answered about a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An assessment.
    #[default]
    Score,
    /// What the member will buy next.
    Recommend,
    /// Which tier of service or which offer of points the member gets.
    Decide(Task),
    /// The member's points.
    Points,
    /// How likely what just happened is fraud.
    Risk,
}

/// Where each is asked for.
const ANSWERS: [(&str, Answer); 6] = [
    ("/v1/score", Answer::Score),
    ("/v1/recommend", Answer::Recommend),
    ("/v1/assign", Answer::Decide(Task::Assign)),
    ("/v1/reward", Answer::Decide(Task::Reward)),
    ("/v1/points", Answer::Points),
    ("/v1/risk", Answer::Risk),
];

/// What is asked for, and what an answer holds besides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The feature vector.
    pub(crate) features: Option<bool>,
    /// The member's state after the events.
    pub(crate) return_state: Option<bool>,
    /// The member's profile.
    pub(crate) profile: Option<bool>,
    /// What the answer is; only an assessment has features and a profile.
    pub(crate) answer: Answer,
}

impl Options {
    /// These as a number that is not 0, for JavaScript to hold while it waits for a body.
    pub(crate) fn code(self) -> u32 {
        let bits = |option: Option<bool>| option.map_or(0, |on| 2 + u32::from(on));
        1 | bits(self.features) << 1
            | bits(self.return_state) << 3
            | bits(self.profile) << 5
            | (ANSWERS.iter().position(|(_, answer)| *answer == self.answer).unwrap_or(0) as u32) << 7
    }

    /// Those that have this code.
    pub(crate) fn of(code: u32) -> Self {
        let option = |bits: u32| (bits & 2 != 0).then_some(bits & 1 != 0);
        Self {
            features: option(code >> 1),
            return_state: option(code >> 3),
            profile: option(code >> 5),
            answer: ANSWERS.get((code >> 7) as usize).map_or(Answer::Score, |(_, answer)| *answer),
        }
    }
}

/// The parts of a request's head that routing reads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) authorization: Option<&'a str>,
    /// What a signed token in `authorization` claims, or [`crate::claims`]' word for a late one.
    pub(crate) claims: Option<&'a str>,
    pub(crate) origin: Option<&'a str>,
}

const READ: &str = "GET, HEAD";

impl<'a> Head<'a> {
    /// The head with the path and the query of a URL, as the runtime writes URLs: with a host and a path.
    pub(crate) fn at(self, url: &'a str) -> Self {
        let whole = url.split_once("://").map_or(url, |(_, rest)| rest);
        let whole = whole.split_once('#').map_or(whole, |(whole, _)| whole);
        let (place, query) = whole.split_once('?').unwrap_or((whole, ""));
        Self { path: place.find('/').map_or("/", |at| &place[at..]), query, ..self }
    }
}

/// Decides what a request asks for and whether its caller may.
///
/// # Errors
/// 401 or 503 from [`crate::auth::caller`] on everything but `/healthz`; then 404, 405, 403 `forbidden`, those of
/// [`members::visit`] or 400 `invalid_query`.
pub(crate) fn route(head: Head<'_>, config: &Config) -> Result<Route, Problem> {
    if head.method == "OPTIONS" && config.allowed_origin(head.origin).is_some() {
        return Ok(Route::Preflight);
    }
    if head.path == "/healthz" {
        return reading(head.method, Route::Health);
    }
    let caller = crate::auth::caller(head, config)?;
    if let Some(place) = head.path.strip_prefix(members::PREFIX) {
        return members::visit(head, place, caller, config).map(Route::Member);
    }
    if head.path == "/v1/model" {
        let route = reading(head.method, Route::Model)?;
        return caller.must(Scope::Score).map(|()| route);
    }
    if head.path == "/metrics" {
        let route = reading(head.method, Route::Metrics)?;
        return caller.must(Scope::Watch).map(|()| route);
    }
    match ANSWERS.iter().find(|(path, _)| *path == head.path) {
        Some((_, answer)) if head.method == "POST" => {
            caller.must(Scope::Score)?;
            Ok(Route::Score(Options { answer: *answer, ..options(head.query)? }))
        }
        Some(_) => Err(not_allowed("POST")),
        None => Err(nowhere()),
    }
}

/// There is nothing at this path.
pub(crate) fn nowhere() -> Problem {
    Problem::new(404, "not_found", "there is no such route").hint(
        "the routes are POST /v1/score, /v1/recommend, /v1/assign, /v1/reward, /v1/points and /v1/risk, GET /v1/model, \
         GET /healthz, GET /metrics and those under /v1/members/{id}; see edge-worker/openapi.json",
    )
}

/// What a request is counted as; its member is no part of that.
pub(crate) fn label(method: &str, path: &str) -> &'static str {
    if let Some(place) = path.strip_prefix(members::PREFIX) {
        return members::label(method, place);
    }
    match path {
        "/healthz" => "health",
        "/v1/model" => "model",
        "/metrics" => "metrics",
        _ => ANSWERS
            .iter()
            .find(|(known, _)| *known == path)
            .map_or("other", |(known, _)| known.trim_start_matches("/v1/")),
    }
}

fn reading(method: &str, route: Route) -> Result<Route, Problem> {
    if matches!(method, "GET" | "HEAD") { Ok(route) } else { Err(not_allowed(READ)) }
}

pub(crate) fn not_allowed(allow: &'static str) -> Problem {
    Problem::new(405, "method_not_allowed", format!("this route takes {allow}")).header("allow", allow)
}

pub(crate) fn options(query: &str) -> Result<Options, Problem> {
    let mut options = Options::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
        let value = match value {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err(invalid_query()),
        };
        match name {
            "features" => options.features = Some(value),
            "returnState" => options.return_state = Some(value),
            "profile" => options.profile = Some(value),
            _ => return Err(invalid_query()),
        }
    }
    Ok(options)
}

fn invalid_query() -> Problem {
    let message = "the query may hold only features, returnState and profile, each true or false";
    Problem::new(400, "invalid_query", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(origins: &str) -> Config {
        Config::read(|name| match name {
            "TIERCAST_TOKEN" => Some("0123456789abcdef".to_owned()),
            "TIERCAST_ALLOW_ORIGIN" => Some(origins.to_owned()),
            _ => None,
        })
        .unwrap()
    }

    fn ask(method: &str, path: &str, query: &str) -> Result<Route, (u16, &'static str)> {
        let authorization = Some("Bearer 0123456789abcdef");
        route(Head { method, path, query, authorization, ..Head::default() }, &config(""))
            .map_err(|problem| (problem.status, problem.code))
    }

    #[test]
    fn routes_are_found() {
        assert_eq!(ask("GET", "/healthz", ""), Ok(Route::Health));
        assert_eq!(ask("HEAD", "/v1/model", ""), Ok(Route::Model));
        assert_eq!(ask("POST", "/v1/score", ""), Ok(Route::Score(Options::default())));
        let all = Options {
            features: Some(true),
            return_state: Some(false),
            profile: Some(true),
            answer: Answer::Score,
        };
        assert_eq!(ask("POST", "/v1/score", "features&returnState=0&profile"), Ok(Route::Score(all)));
        assert_eq!(ask("GET", "/metrics", ""), Ok(Route::Metrics));
        for (path, answer) in ANSWERS {
            assert_eq!(ask("POST", path, ""), Ok(Route::Score(Options { answer, ..Options::default() })));
            assert_eq!(ask("GET", path, ""), Err((405, "method_not_allowed")));
        }
    }

    #[test]
    fn a_request_is_counted_by_its_route() {
        for (method, path, name) in [
            ("POST", "/v1/score", "score"),
            ("GET", "/v1/risk", "risk"),
            ("GET", "/healthz", "health"),
            ("GET", "/v1/members/anyone%22/assessment", "member_assessment"),
            ("POST", "/v1/members/a/events", "member_events"),
            ("HEAD", "/v1/members/a", "member_export"),
            ("DELETE", "/v1/members/a", "member_erase"),
            ("GET", "/v1/members/a/else", "other"),
            ("GET", "/\"}", "other"),
        ] {
            assert_eq!(label(method, path), name, "{path}");
        }
    }

    #[test]
    fn options_survive_as_a_number() {
        let choices = [None, Some(false), Some(true)];
        for at in 0..27 * ANSWERS.len() {
            let choice = |at: usize| choices[at % 3];
            let options = Options {
                features: choice(at),
                return_state: choice(at / 3),
                profile: choice(at / 9),
                answer: ANSWERS[at / 27].1,
            };
            assert_ne!(options.code(), 0);
            assert_eq!(Options::of(options.code()), options);
        }
    }

    #[test]
    fn a_url_is_taken_apart() {
        for (url, path, query) in [
            ("https://host/v1/score?features=true&x#f", "/v1/score", "features=true&x"),
            ("http://127.0.0.1:8787/healthz", "/healthz", ""),
            ("https://host/a?b=c://d/e", "/a", "b=c://d/e"),
            ("https://host/#/v1/score?x", "/", ""),
            ("https://host", "/", ""),
        ] {
            let head = Head::default().at(url);
            assert_eq!((head.path, head.query), (path, query), "{url}");
        }
    }

    #[test]
    fn wrong_paths_methods_and_queries_are_told_apart() {
        for path in ["/", "/v1", "/v1/score/", "/V1/score", "/bundle.tcb", "/healthz/"] {
            assert_eq!(ask("GET", path, ""), Err((404, "not_found")), "{path}");
        }
        assert_eq!(ask("GET", "/v1/score", ""), Err((405, "method_not_allowed")));
        assert_eq!(ask("HEAD", "/v1/score", ""), Err((405, "method_not_allowed")));
        assert_eq!(ask("DELETE", "/v1/model", ""), Err((405, "method_not_allowed")));
        assert_eq!(ask("POST", "/healthz", ""), Err((405, "method_not_allowed")));
        for query in ["feature=true", "features=yes", "features=true&x", "%66eatures=true"] {
            assert_eq!(ask("POST", "/v1/score", query), Err((400, "invalid_query")), "{query}");
        }
    }

    #[test]
    fn everything_but_health_needs_the_token_first() {
        for path in ["/v1/score", "/v1/model", "/nothing", "/bundle.tcb"] {
            for method in ["GET", "POST", "OPTIONS"] {
                let problem = route(Head { method, path, ..Head::default() }, &config("")).unwrap_err();
                assert_eq!((problem.status, problem.header.unwrap().0), (401, "www-authenticate"));
            }
        }
        let open = route(Head { method: "GET", path: "/healthz", ..Head::default() }, &config(""));
        assert_eq!(open, Ok(Route::Health));
    }

    #[test]
    fn preflight_is_answered_only_for_a_listed_origin() {
        let head = Head {
            method: "OPTIONS",
            path: "/v1/score",
            origin: Some("https://shop.example"),
            ..Head::default()
        };
        assert_eq!(route(head, &config("https://shop.example")), Ok(Route::Preflight));
        assert_eq!(route(head, &config("https://other.example")).unwrap_err().status, 401);
    }
}
