//! Which bundle answers whom, where bundles come from a store: a release names one that is stable and, while another is
//! tried, the next. `bundles.js` reads the store and verifies the signature; what it says is read and decided here.
//!
//! Invariant: a failing trial never takes the stable bundle away, and whoever is answered by the next stays so.

use std::rc::Rc;

use serde_json::Value;

use crate::{
    config::Secret,
    members,
    model::Model,
    problem::Problem,
    score::Told,
    watch::{self, Fared},
};

/// The format of a release.
const FORMAT: u64 = 1;

/// The largest number that JSON's readers agree on.
const MAX_SERIAL: u64 = (1 << 53) - 1;

/// What is signed in the store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Release {
    /// It only grows.
    pub(crate) serial: u64,
    /// The bundle that answers, by its hash.
    pub(crate) stable: String,
    pub(crate) next: Option<Next>,
}

/// A bundle that is tried.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Next {
    pub(crate) sha256: String,
    pub(crate) stage: Stage,
    /// Of members, over 0 and at most 1.
    share: f64,
    /// Requests before it is judged.
    pub(crate) min_requests: f64,
    /// The share of failures over which it is given up.
    pub(crate) max_failures: f64,
}

/// What a bundle answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Everybody that no other answers.
    Stable,
    /// Nobody: it is asked as well, and what it says is counted.
    Shadow,
    /// Its share of members.
    Canary,
}

impl Stage {
    pub(crate) fn name(self) -> &'static str {
        ["stable", "shadow", "canary"][self as usize]
    }
}

impl Release {
    /// Reads what was signed.
    ///
    /// # Errors
    /// 503 `release_malformed`.
    pub(crate) fn parse(payload: &str) -> Result<Self, Problem> {
        Self::of(payload).ok_or_else(|| refusal("release_malformed"))
    }

    /// By hand: what is derived is 2 KB more of the upload.
    fn of(payload: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(payload).ok()?;
        let next = value.get("next");
        let keys = 3 + usize::from(next.is_some());
        if value.as_object()?.len() != keys || value.get("format")?.as_u64()? != FORMAT {
            return None;
        }
        let serial = value.get("serial")?.as_u64().filter(|serial| (1..=MAX_SERIAL).contains(serial))?;
        let next = next.map(|next| Next::of(next).ok_or(())).transpose().ok()?;
        Some(Self { serial, stable: pin(value.get("stable")?, 2)?, next })
    }
}

impl Next {
    fn of(value: &Value) -> Option<Self> {
        let stage = match value.get("stage")?.as_str()? {
            "shadow" => Stage::Shadow,
            "canary" => Stage::Canary,
            _ => return None,
        };
        let share = value.get("share")?.as_f64().filter(|share| *share > 0.0 && *share <= 1.0)?;
        let least = value.get("minRequests")?.as_u64().filter(|least| (1..=1_000_000_000).contains(least))?;
        let most = value.get("maxFailures")?.as_f64().filter(|most| (0.0..=1.0).contains(most))?;
        Some(Self { sha256: pin(value, 6)?, stage, share, min_requests: least as f64, max_failures: most })
    }
}

/// The hash of a bundle in an object with so many keys, of which one more is its length.
fn pin(value: &Value, keys: usize) -> Option<String> {
    value.get("bytes")?.as_u64()?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let hash = value.get("sha256")?.as_str()?;
    let sound = value.as_object()?.len() == keys && hash.len() == 64 && hash.bytes().all(is_digit);
    sound.then(|| hash.to_owned())
}

/// Why there is no bundle from the store: a code that `bundles.js` knows, what is wrong, and what to do.
const REFUSALS: [(&str, &str, &str); 7] = [
    ("bundle_unreachable", "the store BUNDLES could not be read", "try again"),
    ("release_missing", "the store BUNDLES holds no release.json", AGAIN),
    ("release_signature", "release.json is not signed with the key of TIERCAST_RELEASE_KEY", AGAIN),
    ("release_old", "release.json is older than one that was there before", AGAIN),
    ("release_malformed", "release.json is of no format that this worker knows", AGAIN),
    ("bundle_missing", "the store BUNDLES lacks the bundle that release.json names", AGAIN),
    ("bundle_hash", "a bundle in the store BUNDLES is not what release.json names", AGAIN),
];
const AGAIN: &str = "release it again with `tiercast deploy bundle`";

/// The refusal with a code, or the first.
pub(crate) fn refusal(code: &str) -> Problem {
    let (code, message, hint) = REFUSALS.iter().find(|(known, ..)| *known == code).unwrap_or(&REFUSALS[0]);
    Problem::new(503, code, *message).hint(hint)
}

/// How long another place of the platform may show an older release, in milliseconds.
const STALE: f64 = 600_000.0;

/// Whether a release is older than one that was known for longer than a store takes to agree with itself.
pub(crate) fn is_old(serial: u64, known: f64, age_ms: f64) -> bool {
    (serial as f64) < known && age_ms > STALE
}

/// Whether a trial is to be given up, by how many requests there were and how many of them failed.
pub(crate) fn fails(requests: f64, failed: f64, min_requests: f64, max_failures: f64) -> bool {
    requests >= min_requests && failed > max_failures * requests
}

/// Counts how a bundle fared with a request.
pub(crate) fn count(model: &Model, stage: Stage, problem: Option<&Problem>) {
    let fared = if problem.is_some_and(is_failure) { Fared::Failed } else { Fared::Ok };
    watch::with(|counts| counts.bundle(watch::hash(model.sha256()), stage, fared));
}

/// Whether it is the bundle's fault, and not the caller's.
fn is_failure(problem: &Problem) -> bool {
    problem.status >= 500
}

/// A member's place among all, by the first digits of the name of the object that keeps it: a keyed hash.
pub(crate) fn place(object: &str) -> u32 {
    object.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// The bundles that answer.
#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    /// 0 where there is no store.
    pub(crate) serial: u64,
    pub(crate) stable: Rc<Model>,
    pub(crate) trial: Option<Rc<Trial>>,
}

/// A bundle that is tried, loaded.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) model: Rc<Model>,
    pub(crate) next: Next,
    /// What the bundle's hash begins with: each trial draws other members.
    salt: u32,
    /// What members' names are hashed with, where members can be stored.
    key: Option<Secret>,
}

impl Trial {
    pub(crate) fn new(model: Rc<Model>, next: Next, key: Option<Secret>) -> Self {
        let salt = place(&next.sha256);
        Self { model, next, salt, key }
    }

    /// The place of a member that need not be stored.
    pub(crate) fn place_of(&self, id: &str) -> Option<u32> {
        members::object(id, self.key.as_ref()).map(|object| place(&object))
    }

    fn draws(&self, member: u32) -> bool {
        f64::from(member ^ self.salt) < self.next.share * 2f64.powi(32)
    }
}

impl Deployed {
    /// One bundle for everybody.
    pub(crate) fn only(model: Model) -> Self {
        Self { serial: 0, stable: Rc::new(model), trial: None }
    }

    /// The bundle that answers about a member, and what it is; a request without a member gets the stable one.
    pub(crate) fn answers(&self, member: Option<u32>) -> (&Rc<Model>, Stage) {
        match self.tried(member) {
            Some(trial) if trial.next.stage == Stage::Canary => (&trial.model, Stage::Canary),
            _ => (&self.stable, Stage::Stable),
        }
    }

    /// The bundle that is asked as well.
    pub(crate) fn shadow(&self, member: Option<u32>) -> Option<&Rc<Model>> {
        self.tried(member).filter(|trial| trial.next.stage == Stage::Shadow).map(|trial| &trial.model)
    }

    /// What the bundle that answers says about a member; beside it is asked whoever is tried in its shadow. Where a canary
    /// fails, or refuses what the stable bundle answers, the stable one answers.
    ///
    /// # Errors
    /// Those of the bundle that answers.
    pub(crate) fn ask(
        &self,
        member: Option<u32>,
        ask: impl Fn(&Model) -> Result<Told, Problem>,
    ) -> Result<Told, Problem> {
        let (model, stage) = self.answers(member);
        let told = ask(model);
        if let (Stage::Canary, Err(problem)) = (stage, &told) {
            // What the stable bundle can answer is no mistake of the caller's.
            let instead = ask(&self.stable);
            let failed = is_failure(problem) || instead.is_ok();
            let fared = if failed { Fared::Failed } else { Fared::Ok };
            watch::with(|counts| counts.bundle(watch::hash(model.sha256()), stage, fared));
            return if failed { instead } else { told };
        }
        count(model, stage, told.as_ref().err());
        if let Some(other) = self.shadow(member) {
            let fared = match (ask(other), &told) {
                (Ok(other), Ok(told)) if other.seen.agrees(told.seen) => Fared::Ok,
                (Ok(_), _) => Fared::Differs,
                (Err(problem), told) if is_failure(&problem) || told.is_ok() => Fared::Failed,
                (Err(_), _) => Fared::Ok,
            };
            watch::with(|counts| counts.bundle(watch::hash(other.sha256()), Stage::Shadow, fared));
        }
        told
    }

    fn tried(&self, member: Option<u32>) -> Option<&Trial> {
        let member = member?;
        self.trial.as_deref().filter(|trial| trial.draws(member))
    }

    /// All bundles, each with its stage.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&Rc<Model>, Stage)> {
        let trial = self.trial.as_ref().map(|trial| (&trial.model, trial.next.stage));
        [(&self.stable, Stage::Stable)].into_iter().chain(trial)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::score::Seen;

    fn payload(change: impl FnOnce(&mut Value)) -> Result<Release, &'static str> {
        let hash = "0123456789abcdef".repeat(4);
        let mut value = json!({ "format": 1, "serial": 7, "stable": { "sha256": hash, "bytes": 9 },
            "next": { "sha256": hash, "bytes": 9, "stage": "canary", "share": 0.25, "minRequests": 200, "maxFailures": 0.01 } });
        change(&mut value);
        Release::parse(&value.to_string()).map_err(|problem| problem.code)
    }

    #[test]
    fn a_release_is_read_strictly() {
        let release = payload(|_| ()).unwrap();
        assert_eq!((release.serial, release.next.unwrap().stage), (7, Stage::Canary));
        assert!(payload(|value| drop(value.as_object_mut().unwrap().remove("next"))).unwrap().next.is_none());
        let wrong = [
            ("/format", json!(2)),
            ("/serial", json!(0)),
            ("/serial", json!(1u64 << 53)),
            ("/serial", json!("7")),
            ("/stable/sha256", json!("0123")),
            ("/stable/sha256", json!("A".repeat(64))),
            ("/stable/bytes", json!(-1)),
            ("/next/sha256", json!(format!("{}/", "a".repeat(63)))),
            ("/next/stage", json!("stable")),
            ("/next/stage", json!("full")),
            ("/next/share", json!(0)),
            ("/next/share", json!(1.01)),
            ("/next/minRequests", json!(0)),
            ("/next/maxFailures", json!(-0.1)),
            ("/next/maxFailures", json!(1.1)),
        ];
        for (at, to) in wrong {
            let told = format!("{at} {to}");
            assert_eq!(
                payload(|value| *value.pointer_mut(at).unwrap() = to),
                Err("release_malformed"),
                "{told}"
            );
        }
        assert_eq!(payload(|value| value["more"] = json!(1)), Err("release_malformed"));
        assert_eq!(payload(|value| value["next"]["more"] = json!(1)), Err("release_malformed"));
        assert_eq!(Release::parse("").unwrap_err().code, "release_malformed");
    }

    #[test]
    fn what_the_command_line_writes_is_read() {
        let file: Value = serde_json::from_str(include_str!("../../tests/fixtures/release.json")).unwrap();
        let release = Release::parse(file["payload"].as_str().unwrap()).unwrap();
        let next = release.next.unwrap();
        assert_eq!(
            (release.serial, next.stage, next.share, next.min_requests),
            (7, Stage::Canary, 0.05, 200.0)
        );
    }

    fn deployed(stage: Stage, share: f64) -> Deployed {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/fixture.tcb");
        let model = || Model::load(&std::fs::read(path).unwrap()).unwrap();
        let next = Next { stage, share, ..payload(|_| ()).unwrap().next.unwrap() };
        let trial = Trial::new(Rc::new(model()), next, None);
        Deployed { trial: Some(Rc::new(trial)), ..Deployed::only(model()) }
    }

    #[test]
    fn a_canary_answers_its_share_of_members_and_always_the_same() {
        for share in [0.05, 0.5] {
            let deployed = deployed(Stage::Canary, share);
            let trial = deployed.trial.clone().unwrap();
            let place = |i: u32| trial.place_of(&format!("member {i}"));
            let drawn = |i: u32| deployed.answers(place(i)).1 == Stage::Canary;
            let count = (0..20_000).filter(|i| drawn(*i)).count() as f64;
            let sigma = (20_000.0 * share * (1.0 - share)).sqrt();
            assert!((count - 20_000.0 * share).abs() < 4.0 * sigma, "{count} of 20000 for {share}");
            let other = Trial::new(trial.model.clone(), trial.next.clone(), None);
            assert!((0..200).all(|i| other.place_of(&format!("member {i}")) == place(i)));
        }
        let all = deployed(Stage::Canary, 1.0);
        assert_eq!((all.answers(Some(u32::MAX)).1, all.answers(None).1), (Stage::Canary, Stage::Stable));
    }

    #[test]
    fn where_a_canary_refuses_what_the_stable_bundle_answers_the_stable_one_does() {
        let deployed = deployed(Stage::Canary, 1.0);
        let told = || Ok(Told { json: b"stable".to_vec(), seen: Seen::default() });
        let is_stable = |model: &Model| std::ptr::eq(model, &raw const *deployed.stable);
        let ask = |status: u16, stable_can: bool| {
            watch::with(|counts| drop(counts.take()));
            let answer = deployed.ask(Some(0), |model| match is_stable(model) && stable_can {
                true => told(),
                false => Err(Problem::new(status, "x", "y")),
            });
            let [requests, failed] = watch::with(|counts| counts.trial());
            assert_eq!(requests, 1.0);
            (answer.is_ok(), failed == 1.0)
        };
        assert_eq!(ask(500, true), (true, true));
        assert_eq!(ask(422, true), (true, true), "it lacks what the stable one has");
        assert_eq!(ask(422, false), (false, false), "the caller's mistake");
        assert_eq!(ask(500, false), (false, true));
    }

    #[test]
    fn a_shadow_answers_nobody() {
        let deployed = deployed(Stage::Shadow, 1.0);
        let (model, stage) = deployed.answers(Some(1));
        assert!(Rc::ptr_eq(model, &deployed.stable) && stage == Stage::Stable);
        assert!(deployed.shadow(Some(1)).is_some() && deployed.shadow(None).is_none());
        assert_eq!(deployed.each().map(|(_, stage)| stage.name()).collect::<Vec<_>>(), ["stable", "shadow"]);
    }

    #[test]
    fn an_older_release_is_taken_only_while_places_may_differ() {
        assert!(is_old(6, 7.0, 600_001.0) && !is_old(6, 7.0, 599_999.0) && !is_old(7, 7.0, 1e9));
        assert!(!is_old(1, 0.0, 1e9), "nothing is known");
    }

    #[test]
    fn every_refusal_has_a_way_out() {
        for code in [
            "release_missing",
            "release_signature",
            "release_old",
            "release_malformed",
            "bundle_missing",
            "bundle_hash",
        ] {
            let problem = refusal(code);
            assert_eq!((problem.status, problem.code, problem.hint.is_some()), (503, code, true));
        }
        assert_eq!(refusal("anything").code, "bundle_unreachable");
    }

    #[test]
    fn a_trial_is_judged_by_enough_requests() {
        assert!(!fails(199.0, 199.0, 200.0, 0.01));
        assert!(!fails(200.0, 2.0, 200.0, 0.01) && fails(200.0, 3.0, 200.0, 0.01));
        assert!(!fails(1.0, 0.0, 1.0, 0.0) && fails(1.0, 1.0, 1.0, 0.0) && !fails(1.0, 1.0, 1.0, 1.0));
    }
}
