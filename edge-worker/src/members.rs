//! Stored members: which one is meant, what shall be done with it, and whether the caller may.
//!
//! A member's identifier is not stored and goes no further than this: the name of the object that keeps the member is a
//! keyed hash of it. What goes to the object is a [`Visit`], written as a URL.

use std::{borrow::Cow, fmt::Write};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use tiercast_core::Scalar;

use crate::{
    claims::{Caller, Scope},
    config::{Config, Secret},
    problem::Problem,
    request::MAX_MEMBER_ID,
    route::{Head, not_allowed, nowhere, options},
};

/// What the paths of all members begin with.
pub(crate) const PREFIX: &str = "/v1/members/";

/// What is done with a stored member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Takes events into the history.
    Observe,
    /// Assesses.
    Assess,
    /// Tells everything that is stored.
    Export,
    /// Takes over a history that was kept elsewhere.
    Put,
    /// Deletes everything that is stored.
    Erase,
}

/// What follows the member in a path, the method, and what it does for whom.
const DEEDS: [(&str, &str, Deed, Scope); 5] = [
    ("/events", "POST", Deed::Observe, Scope::Write),
    ("/assessment", "GET", Deed::Assess, Scope::Read),
    ("", "GET", Deed::Export, Scope::Read),
    ("/state", "PUT", Deed::Put, Scope::Write),
    ("", "DELETE", Deed::Erase, Scope::Admin),
];

/// The methods of each path.
const ALLOW: [(&str, &str); 4] =
    [("/events", "POST"), ("/assessment", "GET, HEAD"), ("", "GET, HEAD, DELETE"), ("/state", "PUT")];

/// Something to do with one stored member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) deed: Deed,
    /// The name of the object that keeps the member: 64 hexadecimal digits.
    pub(crate) object: String,
    /// Who does it, for the audit.
    pub(crate) who: Cow<'static, str>,
}

/// What an assessment shall hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) features: bool,
    pub(crate) profile: bool,
    /// The moment; the time of the request without one.
    pub(crate) now: Option<Scalar<'static>>,
}

/// Reads a path behind [`PREFIX`], of a caller who is known.
///
/// # Errors
/// 404, 405, 403 `forbidden`, 503 `members_not_configured`, 400 `invalid_member` or `invalid_query`, in this order.
pub(crate) fn visit(head: Head<'_>, place: &str, caller: Caller, config: &Config) -> Result<Visit, Problem> {
    let (id, rest) = place.split_at(place.find('/').unwrap_or(place.len()));
    let (_, allow) = ALLOW.iter().find(|(path, _)| *path == rest).ok_or_else(nowhere)?;
    let method = if head.method == "HEAD" { "GET" } else { head.method };
    let found = DEEDS.iter().find(|(path, with, ..)| *path == rest && *with == method);
    let (_, _, deed, scope) = found.ok_or_else(|| not_allowed(allow))?;
    caller.must(*scope)?;
    let key = config.member_key.as_ref().map_err(Clone::clone)?;
    let object = decoded(id).and_then(|id| object(&id, key)).ok_or_else(|| {
        let message = format!("a member's identifier has 1 to {MAX_MEMBER_ID} bytes of UTF-8");
        Problem::new(400, "invalid_member", message)
            .hint("write it percent-encoded, as encodeURIComponent does")
    })?;
    if *deed == Deed::Assess {
        View::read(head.query)?;
    } else if !head.query.is_empty() {
        return Err(Problem::new(400, "invalid_query", "this route takes no query"));
    }
    Ok(Visit { deed: *deed, object, who: caller.name })
}

/// The binding of the objects is missing, though the secrets are there.
pub(crate) fn unbound() -> Problem {
    Problem::new(503, "members_not_configured", "the binding MEMBERS is not configured")
        .hint("deploy with the [[durable_objects.bindings]] and [[migrations]] of edge-worker/wrangler.toml")
}

impl Visit {
    /// What an object is asked with: `https://member/DEED/OBJECT/WHO`, who in hexadecimal, and the query.
    pub(crate) fn url(&self, query: &str) -> String {
        let deed = DEEDS.iter().position(|(.., deed, _)| *deed == self.deed).unwrap_or_default();
        format!("https://member/{deed}/{}/{}?{query}", self.object, hex(self.who.as_bytes()))
    }

    /// Reads the path of [`Visit::url`].
    pub(crate) fn of(path: &str) -> Option<Self> {
        let mut parts = path.split('/').skip(1);
        let (deed, object, who) = (parts.next()?, parts.next()?, parts.next()?);
        let (.., deed, _) = DEEDS.get(deed.parse::<usize>().ok()?)?;
        let who = (0..who.len() / 2).map(|at| byte(who, 2 * at)).collect::<Option<Vec<u8>>>()?;
        let who = String::from_utf8(who).ok()?.into();
        Some(Self { deed: *deed, object: object.to_owned(), who })
    }
}

impl View {
    /// Reads a query.
    ///
    /// # Errors
    /// 400 `invalid_query`.
    pub(crate) fn read(query: &str) -> Result<Self, Problem> {
        let wrong = |_| {
            let message = "the query may hold only features and profile, each true or false, and now";
            Problem::new(400, "invalid_query", message)
        };
        let mut view = Self::default();
        for pair in query.split('&') {
            if let Some(now) = pair.strip_prefix("now=") {
                let now = decoded(now).ok_or(()).map_err(wrong)?;
                view.now = Some(now.parse().map_or_else(|_| Scalar::Text(now.into()), Scalar::Int));
                continue;
            }
            let set = options(pair).map_err(|_| wrong(()))?;
            if set.return_state.is_some() {
                return Err(wrong(()));
            }
            view.features = set.features.unwrap_or(view.features);
            view.profile = set.profile.unwrap_or(view.profile);
        }
        Ok(view)
    }
}

/// The name of the object that keeps a member; none for what is no identifier.
fn object(id: &str, key: &Secret) -> Option<String> {
    if id.is_empty() || id.len() > MAX_MEMBER_ID {
        return None;
    }
    let hash = <Hmac<Sha256> as Mac>::new_from_slice(key.bytes()).ok()?;
    Some(hex(&hash.chain_update(id).finalize().into_bytes()))
}

/// A text without its percent-encoding; none where that is broken, or not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&plain) = text.as_bytes().get(at) {
        if plain == b'%' {
            bytes.push(byte(text, at + 1)?);
            at += 3;
        } else {
            bytes.push(plain);
            at += 1;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The byte that two hexadecimal digits at a place stand for.
fn byte(text: &str, at: usize) -> Option<u8> {
    let digits = text.get(at..at + 2).filter(|digits| !digits.starts_with('+'))?;
    u8::from_str_radix(digits, 16).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // A text takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::read(|name| match name {
            "TIERCAST_MEMBER_KEY" => Some("m".repeat(32)),
            "TIERCAST_STATE_KEY" => Some("s".repeat(32)),
            _ => None,
        })
        .unwrap()
    }

    fn ask(method: &str, place: &str, query: &str) -> Result<Visit, (u16, &'static str)> {
        let head = Head { method, query, ..Head::default() };
        visit(head, place, Caller::OPERATOR, &config()).map_err(|problem| (problem.status, problem.code))
    }

    #[test]
    fn deeds_are_found_and_their_scopes_asked_for() {
        for (path, method, deed, _) in DEEDS {
            assert_eq!(ask(method, &format!("a{path}"), "").map(|visit| visit.deed), Ok(deed));
        }
        assert_eq!(ask("HEAD", "a", "").map(|visit| visit.deed), Ok(Deed::Export));
        for (held, open) in [("score", 0), ("write", 2), ("read", 2), ("admin", 5)] {
            let caller = Caller::claimed(&format!(r#"{{"sub":"s","scope":"{held}"}}"#)).unwrap();
            let may = |(path, method, ..): &(&str, &str, Deed, Scope)| {
                let head = Head { method, ..Head::default() };
                visit(head, &format!("a{path}"), caller.clone(), &config()).is_ok()
            };
            assert_eq!(DEEDS.iter().filter(|deed| may(deed)).count(), open, "{held}");
        }
    }

    #[test]
    fn other_paths_methods_and_queries_are_told_apart() {
        for place in ["a/", "a/b", "a/events/", "a/events/b", "a//events"] {
            assert_eq!(ask("GET", place, ""), Err((404, "not_found")), "{place}");
        }
        for (method, place) in
            [("POST", "a"), ("GET", "a/events"), ("DELETE", "a/state"), ("PUT", "a/assessment")]
        {
            assert_eq!(ask(method, place, ""), Err((405, "method_not_allowed")), "{method} {place}");
        }
        for query in ["returnState=true", "now=%", "features=2", "x"] {
            assert_eq!(ask("GET", "a/assessment", query), Err((400, "invalid_query")), "{query}");
        }
        assert_eq!(ask("GET", "a", "features=true"), Err((400, "invalid_query")));
        let view = View::read("profile&now=2017-10-01T00%3A00%3A00Z&features=1").unwrap();
        assert_eq!(view.now, Some(Scalar::Text("2017-10-01T00:00:00Z".into())));
        assert!(view.features && view.profile);
        assert_eq!(View::read("now=-5").unwrap().now, Some(Scalar::Int(-5)));
        assert_eq!(View::read("").unwrap(), View::default());
    }

    #[test]
    fn an_identifier_is_what_it_decodes_to_and_nothing_else() {
        let of = |id: &str| ask("GET", id, "").map(|visit| visit.object);
        assert_eq!(of("a%2Fb").unwrap(), of("%61%2fb").unwrap());
        let different = [
            "a", "A", "a%00", "%00a", "a%2F", "a%2F..", "..%2Fa", "a%20", "%C3%A4", "a%CC%88", "a+",
            "a%2B%20",
        ];
        let names: std::collections::BTreeSet<String> = different.iter().map(|id| of(id).unwrap()).collect();
        assert_eq!(names.len(), different.len());
        assert!(names.iter().all(|name| name.len() == 64 && !name.contains("..")));
        assert!(of(&"a".repeat(256)).is_ok() && of(&"%C3%A4".repeat(128)).is_ok());
        let long = "a".repeat(257);
        for id in ["", &*long, "%", "%4", "%zz", "%+1", "%FF", "%C3", "%ED%A0%80", &"%C3%A4".repeat(129)] {
            assert_eq!(of(id), Err((400, "invalid_member")), "{id}");
        }
    }

    #[test]
    fn names_are_the_keyed_hash() {
        // As `openssl dgst -sha256 -mac HMAC` prints it.
        assert_eq!(ask("GET", "a", "").unwrap().object, HASH_OF_A);
        let other = Config::read(|name| {
            ["TIERCAST_MEMBER_KEY", "TIERCAST_STATE_KEY"].contains(&name).then(|| "x".repeat(32))
        })
        .map(|config| config.member_key);
        assert_ne!(object("a", &other.unwrap().unwrap()).unwrap(), HASH_OF_A);
    }

    const HASH_OF_A: &str = "52445360429c3e037fd0631250b5fdb4513c07e2dc678643216e481e9bc4e741";

    #[test]
    fn a_visit_survives_as_a_url() {
        for who in ["TIERCAST_TOKEN", "näch\u{0}tlich/..?#", "s"] {
            for (.., deed, _) in DEEDS {
                let visit = Visit { deed, object: HASH_OF_A.to_owned(), who: who.into() };
                let url = visit.url("now=5");
                let head = Head::default().at(&url);
                assert_eq!((Visit::of(head.path), head.query), (Some(visit), "now=5"));
            }
        }
        for path in ["", "/", "/9/a/b", "/0/a", "/0/a/zz", "/0/a/ff"] {
            assert_eq!(Visit::of(path), None, "{path}");
        }
    }

    #[test]
    fn without_secrets_nothing_is_stored() {
        let head = Head { method: "GET", ..Head::default() };
        let problem = visit(head, "a", Caller::OPERATOR, &Config::read(|_| None).unwrap()).unwrap_err();
        assert_eq!((problem.status, problem.code), (503, "members_not_configured"));
        assert!(problem.hint.unwrap().contains("wrangler secret put"));
    }
}
