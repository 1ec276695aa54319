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
    release,
    request::MAX_MEMBER_ID,
    route::{Head, not_allowed, nowhere},
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
    /// Judges how likely what happened last is fraud.
    Judge,
    /// Tells everything that is stored.
    Export,
    /// Takes over a history that was kept elsewhere.
    Put,
    /// Deletes everything that is stored.
    Erase,
}

/// A route of a member.
#[derive(Debug)]
struct Way {
    method: &'static str,
    /// What follows the member in the path.
    path: &'static str,
    deed: Deed,
    scope: Scope,
    /// As what it is counted.
    label: &'static str,
}

const fn way(method: &'static str, path: &'static str, deed: Deed, scope: Scope, label: &'static str) -> Way {
    Way { method, path, deed, scope, label }
}

/// All of them; `members.js` numbers deeds by their places here.
const WAYS: [Way; 6] = [
    way("POST", "/events", Deed::Observe, Scope::Write, "member_events"),
    way("GET", "/assessment", Deed::Assess, Scope::Read, "member_assessment"),
    way("GET", "", Deed::Export, Scope::Read, "member_export"),
    way("PUT", "/state", Deed::Put, Scope::Write, "member_state"),
    way("DELETE", "", Deed::Erase, Scope::Admin, "member_erase"),
    way("GET", "/risk", Deed::Judge, Scope::Read, "member_risk"),
];

/// The methods of each path.
const ALLOW: [(&str, &str); 5] = [
    ("/events", "POST"),
    ("/assessment", "GET, HEAD"),
    ("", "GET, HEAD, DELETE"),
    ("/state", "PUT"),
    ("/risk", "GET, HEAD"),
];

/// Something to do with one stored member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) deed: Deed,
    /// The name of the object that keeps the member: 64 hexadecimal digits.
    pub(crate) object: String,
    /// Who does it, for the audit.
    pub(crate) who: Cow<'static, str>,
}

/// What an answer shall hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) features: bool,
    pub(crate) profile: bool,
    /// Beside what became of events, how likely the newest is fraud.
    pub(crate) risk: bool,
    /// Reasons of a risk at most; as many as core gives without a number.
    pub(crate) reasons: Option<u8>,
    /// The moment; without one that of the request, or for a risk of the newest event.
    pub(crate) now: Option<Scalar<'static>>,
}

/// What each deed's query may hold.
const QUERIES: [(Deed, &[&str], &str); 3] = [
    (
        Deed::Assess,
        &["features", "profile", "now"],
        "the query may hold only features and profile, each true or false, and now",
    ),
    (
        Deed::Observe,
        &["risk", "reasons"],
        "the query may hold only risk, true or false, and reasons, 0 to 10",
    ),
    (Deed::Judge, &["reasons", "now"], "the query may hold only reasons, 0 to 10, and now"),
];

/// The most reasons, as core has it.
const MAX_REASONS: u8 = 10;

/// Reads a path behind [`PREFIX`], of a caller who is known.
///
/// # Errors
/// 404, 405, 403 `forbidden`, 503 `members_not_configured`, 400 `invalid_member` or `invalid_query`, in this order.
pub(crate) fn visit(head: Head<'_>, place: &str, caller: Caller, config: &Config) -> Result<Visit, Problem> {
    let (id, rest) = parts(place);
    let (_, allow) = ALLOW.iter().find(|(path, _)| *path == rest).ok_or_else(nowhere)?;
    let Way { deed, scope, .. } = find(head.method, rest).ok_or_else(|| not_allowed(allow))?;
    caller.must(*scope)?;
    let key = config.member_key.as_ref().map_err(Clone::clone)?;
    let object = decoded(id).and_then(|id| object(&id, Some(key))).ok_or_else(|| {
        let message = format!("a member's identifier has 1 to {MAX_MEMBER_ID} bytes of UTF-8");
        Problem::new(400, "invalid_member", message)
            .hint("write it percent-encoded, as encodeURIComponent does")
    })?;
    if View::read(*deed, head.query)?.risk {
        // What is thought of a member is more than what was sent.
        caller.must(Scope::Read)?;
    }
    Ok(Visit { deed: *deed, object, who: caller.name })
}

/// As what a request to a path behind [`PREFIX`] is counted.
pub(crate) fn label(method: &str, place: &str) -> &'static str {
    find(method, parts(place).1).map_or("other", |way| way.label)
}

/// The member of a path, and what follows.
fn parts(place: &str) -> (&str, &str) {
    place.split_at(place.find('/').unwrap_or(place.len()))
}

fn find(method: &str, rest: &str) -> Option<&'static Way> {
    let method = if method == "HEAD" { "GET" } else { method };
    WAYS.iter().find(|way| way.path == rest && way.method == method)
}

/// The names of the objects that keep which members a device was seen with, each once, in their order.
pub(crate) fn devices<'a>(devices: impl Iterator<Item = &'a str>, config: &Config) -> Vec<String> {
    let Ok(key) = &config.member_key else { return Vec::new() };
    let mut names = Vec::new();
    for device in devices {
        // Another text than any identifier of up to 256 bytes.
        if let Some(name) = keyed(&["device\n", device, &"\n".repeat(MAX_MEMBER_ID)], key.bytes())
            .filter(|name| !names.contains(name))
        {
            names.push(name);
        }
    }
    names
}

/// The binding of the objects is missing, though the secrets are there.
pub(crate) fn unbound() -> Problem {
    Problem::new(503, "members_not_configured", "the binding MEMBERS is not configured")
        .hint("deploy with the [[durable_objects.bindings]] and [[migrations]] of edge-worker/wrangler.toml")
}

impl Visit {
    /// What an object is asked with: `https://member/DEED/OBJECT/WHO`, who in hexadecimal, and the query.
    pub(crate) fn url(&self, query: &str) -> String {
        let deed = WAYS.iter().position(|way| way.deed == self.deed).unwrap_or_default();
        format!("https://member/{deed}/{}/{}?{query}", self.object, hex(self.who.as_bytes()))
    }

    /// Reads the path of [`Visit::url`].
    pub(crate) fn of(path: &str) -> Option<Self> {
        let mut parts = path.split('/').skip(1);
        let (deed, object, who) = (parts.next()?, parts.next()?, parts.next()?);
        let way = WAYS.get(deed.parse::<usize>().ok()?)?;
        let who = (0..who.len() / 2).map(|at| byte(who, 2 * at)).collect::<Option<Vec<u8>>>()?;
        let who = String::from_utf8(who).ok()?.into();
        Some(Self { deed: way.deed, object: object.to_owned(), who })
    }

    /// The member's place among all.
    pub(crate) fn place(&self) -> Option<u32> {
        Some(release::place(&self.object))
    }
}

impl View {
    /// Reads the query of a deed.
    ///
    /// # Errors
    /// 400 `invalid_query`.
    pub(crate) fn read(deed: Deed, query: &str) -> Result<Self, Problem> {
        let none: (_, &[&str], _) = (deed, &[], "this route takes no query");
        let (_, may, message) = QUERIES.iter().find(|(of, ..)| *of == deed).unwrap_or(&none);
        let mut view = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let known = may.contains(&name).then(|| view.set(name, value)).flatten();
            known.ok_or_else(|| Problem::new(400, "invalid_query", *message))?;
        }
        Ok(view)
    }

    /// Sets what a name stands for; none where the value is no such value.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let flag = || match value {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        match name {
            "features" => self.features = flag()?,
            "profile" => self.profile = flag()?,
            "risk" => self.risk = flag()?,
            "reasons" => self.reasons = Some(value.parse().ok().filter(|reasons| *reasons <= MAX_REASONS)?),
            _ => {
                let now = decoded(value)?;
                self.now = Some(now.parse().map_or_else(|_| Scalar::Text(now.into()), Scalar::Int));
            }
        }
        Some(())
    }
}

/// The name of the object that keeps a member; none for what is no identifier. Without a key no member is stored, and it is
/// the name of nothing.
pub(crate) fn object(id: &str, key: Option<&Secret>) -> Option<String> {
    if id.is_empty() || id.len() > MAX_MEMBER_ID {
        return None;
    }
    keyed(&[id], key.map_or(b"", Secret::bytes))
}

/// The keyed hash of a text in parts, in hexadecimal.
fn keyed(parts: &[&str], key: &[u8]) -> Option<String> {
    let hash = <Hmac<Sha256> as Mac>::new_from_slice(key).ok()?;
    let hash = parts.iter().fold(hash, |hash, part| hash.chain_update(part));
    Some(hex(&hash.finalize().into_bytes()))
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
        for Way { path, method, deed, .. } in WAYS {
            assert_eq!(ask(method, &format!("a{path}"), "").map(|visit| visit.deed), Ok(deed));
        }
        assert_eq!(ask("HEAD", "a", "").map(|visit| visit.deed), Ok(Deed::Export));
        for (held, open) in [("score", 0), ("write", 2), ("read", 3), ("admin", 6), ("watch", 0)] {
            let caller = Caller::claimed(&format!(r#"{{"sub":"s","scope":"{held}"}}"#)).unwrap();
            let may = |Way { path, method, .. }: &Way| {
                let head = Head { method, ..Head::default() };
                visit(head, &format!("a{path}"), caller.clone(), &config()).is_ok()
            };
            assert_eq!(WAYS.iter().filter(|way| may(way)).count(), open, "{held}");
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
        let view = View::read(Deed::Assess, "profile&now=2017-10-01T00%3A00%3A00Z&features=1").unwrap();
        assert_eq!(view.now, Some(Scalar::Text("2017-10-01T00:00:00Z".into())));
        assert!(view.features && view.profile);
        assert_eq!(View::read(Deed::Assess, "now=-5").unwrap().now, Some(Scalar::Int(-5)));
        assert_eq!(View::read(Deed::Assess, "").unwrap(), View::default());
        assert_eq!(View::read(Deed::Judge, "reasons=10").unwrap().reasons, Some(10));
        for (method, place, query) in [
            ("GET", "a/assessment", "risk"),
            ("GET", "a/risk", "reasons=11"),
            ("GET", "a/risk", "features"),
            ("POST", "a/events", "now=5"),
            ("POST", "a/events", "reasons=x"),
            ("DELETE", "a", "risk"),
        ] {
            assert_eq!(ask(method, place, query), Err((400, "invalid_query")), "{place} {query}");
        }
    }

    #[test]
    fn who_may_only_write_is_not_told_what_is_thought() {
        let head = Head { method: "POST", query: "risk=true", ..Head::default() };
        let of = |scope: &str| {
            let caller = Caller::claimed(&format!(r#"{{"sub":"s","scope":"{scope}"}}"#)).unwrap();
            visit(head, "a/events", caller, &config()).map_err(|problem| problem.code).map(drop)
        };
        assert_eq!((of("write"), of("read")), (Err("forbidden"), Err("forbidden")));
        assert_eq!((of("write read"), of("admin")), (Ok(()), Ok(())));
    }

    #[test]
    fn objects_of_devices_have_names_of_their_own() {
        let names = devices(["d", "e", "d"].into_iter(), &config());
        assert!(names.len() == 2 && names.iter().all(|name| name.len() == 64));
        assert_ne!(names[0], ask("GET", "device%0Ad", "").unwrap().object);
        assert_ne!(names[0], ask("GET", "d", "").unwrap().object);
        assert_eq!(devices(["d"].into_iter(), &Config::read(|_| None).unwrap()), [""; 0]);
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
        assert_ne!(object("a", Some(&other.unwrap().unwrap())).unwrap(), HASH_OF_A);
    }

    const HASH_OF_A: &str = "52445360429c3e037fd0631250b5fdb4513c07e2dc678643216e481e9bc4e741";

    #[test]
    fn a_visit_survives_as_a_url() {
        for who in ["TIERCAST_TOKEN", "näch\u{0}tlich/..?#", "s"] {
            for Way { deed, .. } in WAYS {
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
