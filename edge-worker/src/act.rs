//! What is done with a stored member, on its history: the answer, the record to store, and what the audit says.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::Serialize;
use tiercast_core::{EventInput, MemberState, RiskOptions, Timestamp};

use crate::{
    ask::no_risk,
    body,
    config::Limits,
    kept::{FORMAT, Kept, Write},
    members::{Deed, View, Visit},
    model::Model,
    problem::Problem,
    release::Deployed,
    request::Sent,
    score::{self, Outcomes, Seen, Told},
    watch,
};

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The answer's body.
    pub(crate) json: Vec<u8>,
    /// What has to be stored before anybody is answered.
    pub(crate) write: Option<Write>,
    /// What the audit calls it; nothing where it is not audited.
    pub(crate) audit: Option<&'static str>,
}

/// What is sent of a member's deed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) visit: &'a Visit,
    pub(crate) query: &'a str,
    /// None if it ended before it was complete.
    pub(crate) body: Option<&'a [u8]>,
    /// The entries of the audit so far, as JSON.
    pub(crate) audit: &'a str,
    /// With how many members each of the body's [`devices`] was seen; 0 where that is not known.
    pub(crate) seen: &'a [u16],
    /// The time, in milliseconds.
    pub(crate) clock: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    #[serde(skip_serializing_if = "Option::is_none")]
    observed: Option<Outcomes>,
    events: usize,
    last_time: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    state: String,
    events: usize,
    first_time: Option<Timestamp>,
    last_time: Option<Timestamp>,
    created: i64,
    changed: i64,
    versions: Versions,
}

#[derive(Serialize)]
struct Versions {
    worker: &'static str,
    record: u8,
    state: u8,
}

/// Where a snapshot has its version.
const VERSION: usize = 3;

/// Does what is asked with a member's history. On an error the history is as it was.
///
/// # Errors
/// Those of [`body::check`], [`Sent::parse`] and [`score::assess`]; 400 `body_unreadable`; 404 `member_not_found`; 409
/// `member_exists`; 422 `schema_mismatch` where the deployed bundle has another currency than the history, and `no_risk`.
pub(crate) fn act(
    kept: &mut Kept,
    deployed: &Deployed,
    order: Order<'_>,
    limits: Limits,
) -> Result<Done, Problem> {
    let body = order.body.ok_or_else(cut_off)?;
    body::check(body, limits.body_bytes)?;
    let (visit, view) = (order.visit, View::read(order.visit.deed, order.query)?);
    let drawn = visit.place();
    let (model, _) = deployed.answers(drawn);
    match visit.deed {
        Deed::Observe => observe(kept, deployed, Sent::parse(body, limits)?, &view, order),
        Deed::Put => put(kept, model, Sent::parse(body, limits)?, order.clock),
        Deed::Assess => {
            known(kept)?;
            fits(kept)?;
            let told = deployed.ask(drawn, |model| score::assess(model, &kept.state, &view, order.clock))?;
            told.count();
            Ok(Done { json: told.json, write: None, audit: Some("assessment") })
        }
        Deed::Judge => {
            known(kept)?;
            fits(kept)?;
            let newest = || kept.state.last_time().map_or_else(|| Ok(Timestamp::from_ms(order.clock)?), Ok);
            let now = view.now.as_ref().map_or_else(newest, score::time)?;
            let risk = judge(deployed, drawn, &kept.state, now, &view)?;
            let json = [format!("{{\"now\":{},\"risk\":", now.ms()).as_bytes(), &risk, b"}"].concat();
            Ok(Done { json, write: None, audit: Some("risk") })
        }
        Deed::Export => export(kept, order),
        // `members.js` erases without asking: what is stored need not be readable for that.
        Deed::Erase => Ok(Done::default()),
    }
}

fn observe(
    kept: &mut Kept,
    deployed: &Deployed,
    sent: Sent<'_>,
    view: &View,
    order: Order<'_>,
) -> Result<Done, Problem> {
    let Sent::Events(mut events) = sent else {
        return Err(Problem::malformed(
            "this route takes events; a state goes to PUT /v1/members/{id}/state",
        ));
    };
    fits(kept)?;
    let drawn = order.visit.place();
    let (model, _) = deployed.answers(drawn);
    tell(&mut events, order.seen);
    let bundle = model.bundle();
    // What cannot be judged is not stored either.
    let before = view.risk.then(|| kept.state.clone());
    let (outcomes, news) = bundle.observe_news(&mut kept.state, &events)?;
    let observed = Outcomes::count(&outcomes);
    let newest = kept.state.last_time().filter(|_| view.risk);
    let judged = newest.map(|now| judge(deployed, drawn, &kept.state, now, view)).transpose();
    if let (Err(_), Some(before)) = (&judged, before) {
        kept.state = before;
    }
    let risk = judged?;
    watch::with(|counts| counts.events(observed));
    let write = (!news.is_empty()).then(|| kept.write(&news, bundle.schema(), order.clock));
    let mut json = stored(kept, Some(observed));
    if let Some(risk) = &risk {
        json.truncate(json.len() - 1);
        json.extend_from_slice(b",\"risk\":");
        json.extend_from_slice(risk);
        json.push(b'}');
    }
    Ok(Done { json, write, audit: risk.is_some().then_some("risk") })
}

/// How likely what a member did at a moment is fraud, in JSON.
fn judge(
    deployed: &Deployed,
    drawn: Option<u32>,
    state: &MemberState,
    now: Timestamp,
    view: &View,
) -> Result<Vec<u8>, Problem> {
    let mut options = RiskOptions::default();
    options.reasons = view.reasons.unwrap_or(options.reasons);
    let told = deployed.ask(drawn, |model| {
        judges(model)?;
        let risk = model.risk(state, now, &options)?;
        let mut json = Vec::new();
        score::write(&mut json, &risk);
        Ok(Told { json, seen: Seen { alert: Some(risk.alert), ..Seen::default() } })
    })?;
    told.count();
    Ok(told.json)
}

fn judges(model: &Model) -> Result<(), Problem> {
    if model.judges() { Ok(()) } else { Err(no_risk()) }
}

/// The devices that a body of events names without saying with how many members they were seen, each once, in their order.
pub(crate) fn devices<'s>(events: &'s [EventInput<'_>]) -> Vec<&'s str> {
    let mut devices = Vec::new();
    for event in events.iter().filter(|event| event.device_members.is_none()) {
        if let Some(device) = event.device.as_deref().filter(|device| !devices.contains(device)) {
            devices.push(device);
        }
    }
    devices
}

/// Says with how many members each of the [`devices`] was seen.
fn tell(events: &mut [EventInput<'_>], seen: &[u16]) {
    let counts: Vec<(String, u16)> = {
        let known = devices(events).into_iter().zip(seen).filter(|(_, count)| **count > 0);
        known.map(|(device, count)| (device.to_owned(), *count)).collect()
    };
    for event in events.iter_mut().filter(|event| event.device_members.is_none()) {
        let device = event.device.as_deref();
        let known = counts.iter().find(|(name, _)| Some(&**name) == device);
        event.device_members = known.map(|(_, count)| f64::from(*count));
    }
}

fn put(kept: &mut Kept, model: &Model, sent: Sent<'_>, clock: i64) -> Result<Done, Problem> {
    let Sent::State(state) = sent else {
        return Err(Problem::malformed(
            "this route takes a state; events go to POST /v1/members/{id}/events",
        ));
    };
    if !kept.state.is_empty() {
        return Err(Problem::new(409, "member_exists", "the member already has events here")
            .hint("send the member's events instead, or DELETE the member first"));
    }
    let schema = model.bundle().schema();
    kept.state = score::restored(&state, schema)?;
    let write = Some(kept.write_whole(schema, clock));
    Ok(Done { json: stored(kept, None), write, audit: None })
}

fn export(kept: &Kept, order: Order<'_>) -> Result<Done, Problem> {
    let (created, changed) = known(kept)?;
    let (snapshot, audit) = (kept.state.snapshot(), "export");
    let state = snapshot.get(VERSION).copied().unwrap_or_default();
    let mut json = Vec::new();
    score::write(
        &mut json,
        &Export {
            state: BASE64.encode(&snapshot),
            events: kept.state.len(),
            first_time: kept.state.events().next().map(|event| event.time),
            last_time: kept.state.last_time(),
            created,
            changed,
            versions: Versions { worker: env!("CARGO_PKG_VERSION"), record: FORMAT, state },
        },
    );
    // The audit is a list in JSON already; this export is its last entry.
    json.truncate(json.len() - 1);
    json.extend_from_slice(b",\"audit\":");
    json.extend_from_slice(order.audit.trim_end_matches(']').as_bytes());
    if order.audit.len() > "[]".len() {
        json.push(b',');
    }
    score::write(&mut json, &Entry { at: order.clock, who: &order.visit.who, what: audit });
    json.extend_from_slice(b"]}");
    Ok(Done { json, write: None, audit: Some(audit) })
}

/// An entry of the audit, as `members.js` stores it.
#[derive(Serialize)]
struct Entry<'a> {
    at: i64,
    who: &'a str,
    what: &'a str,
}

fn stored(kept: &Kept, observed: Option<Outcomes>) -> Vec<u8> {
    let (events, last_time) = (kept.state.len(), kept.state.last_time());
    let mut json = Vec::new();
    score::write(&mut json, &Stored { observed, events, last_time });
    json
}

/// When a stored member was created and last changed.
fn known(kept: &Kept) -> Result<(i64, i64), Problem> {
    kept.times.ok_or_else(|| {
        Problem::new(404, "member_not_found", "nothing is stored of this member")
            .hint("send the member's events to POST /v1/members/{id}/events first")
    })
}

fn fits(kept: &Kept) -> Result<(), Problem> {
    kept.fits().map_err(|error| {
        Problem::from(error).hint(
            "nothing is lost: deploy a bundle in the history's currency, or DELETE the member and send the events again",
        )
    })
}

fn cut_off() -> Problem {
    Problem::new(400, "body_unreadable", "the body ended before it was complete")
}

/// What is answered when it does not come to [`act`]: none where the member was erased.
pub(crate) fn instead(what: &str) -> Option<Problem> {
    Some(match what {
        "erased" => return None,
        "unreadable" => Problem::new(500, "state_unreadable", "what is stored of the member cannot be read")
            .hint("deploy with the TIERCAST_STATE_KEY that it was written with as the second of the two, or DELETE the member"),
        "limited" => Problem::new(429, "rate_limited", "the caller sent more requests than are allowed")
            .hint("send fewer, or members in batches; the limit is that of [[ratelimits]] in wrangler.toml")
            .header("retry-after", "60"),
        _ => Problem::new(503, "member_unavailable", "the member's object did not answer")
            .hint("send the request again: an event that was stored already counts once"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_506_816_000_000;
    const LIMITS: Limits = Limits { body_bytes: 1 << 20, members: 1, events: 1_000, time_ms: 9 };

    fn fixture(name: &str) -> Deployed {
        let path = format!("{}/../tests/fixtures/{name}.tcb", env!("CARGO_MANIFEST_DIR"));
        Deployed::only(Model::load(&std::fs::read(path).unwrap()).unwrap())
    }

    fn model() -> Deployed {
        fixture("fixture")
    }

    fn new(deployed: &Deployed) -> Kept {
        Kept::read(&[], deployed.stable.bundle().schema()).unwrap()
    }

    fn ask(
        kept: &mut Kept,
        deployed: &Deployed,
        deed: Deed,
        body: &Value,
    ) -> Result<(Value, Done), (u16, &'static str)> {
        ask_with(kept, deployed, deed, body, "", &[])
    }

    fn ask_with(
        kept: &mut Kept,
        deployed: &Deployed,
        deed: Deed,
        body: &Value,
        query: &str,
        seen: &[u16],
    ) -> Result<(Value, Done), (u16, &'static str)> {
        let visit = Visit { deed, object: "o".into(), who: "a \"quoted\" name".into() };
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let audit = r#"[{"at":1,"who":"w","what":"assessment"}]"#;
        let order = Order { visit: &visit, query, body: Some(text.as_bytes()), audit, seen, clock: NOW };
        match act(kept, deployed, order, LIMITS) {
            Ok(done) => Ok((serde_json::from_slice(&done.json).unwrap(), done)),
            Err(problem) => Err((problem.status, problem.code)),
        }
    }

    fn events(range: std::ops::Range<i64>) -> Value {
        let event = |i| json!({ "kind": "purchase", "time": NOW - 1_000 + i, "id": format!("e{i}"), "amount": "5.00" });
        json!({ "events": range.map(event).collect::<Vec<_>>() })
    }

    #[test]
    fn news_are_written_and_what_is_known_is_not() {
        let (model, mut kept) = (model(), new(&model()));
        let (answer, done) = ask(&mut kept, &model, Deed::Observe, &events(0..3)).unwrap();
        assert_eq!(
            answer,
            json!({ "observed": { "added": 3, "duplicate": 0, "tooLate": 0 }, "events": 3, "lastTime": NOW - 998 })
        );
        assert!(done.write.unwrap().whole);
        let (answer, done) = ask(&mut kept, &model, Deed::Observe, &events(1..3)).unwrap();
        assert_eq!((&answer["observed"]["duplicate"], done.write), (&json!(2), None));
        let (_, done) = ask(&mut kept, &model, Deed::Observe, &events(2..5)).unwrap();
        assert!(done.write.is_some_and(|write| !write.whole) && done.audit.is_none());
        // The same event at an earlier time takes the place of the one that is known.
        let earlier =
            json!({ "events": [{ "kind": "purchase", "time": NOW - 9_000, "id": "e4", "amount": "5.00" }] });
        let (answer, done) = ask(&mut kept, &model, Deed::Observe, &earlier).unwrap();
        assert_eq!((&answer["observed"]["duplicate"], done.write.is_some()), (&json!(1), true));
    }

    #[test]
    fn a_refused_batch_changes_nothing() {
        let (model, mut kept) = (model(), new(&model()));
        ask(&mut kept, &model, Deed::Observe, &events(0..3)).unwrap();
        let before = kept.state.clone();
        let mut bad = events(3..6);
        bad["events"][2]["kind"] = json!("stolen");
        assert_eq!(ask(&mut kept, &model, Deed::Observe, &bad).unwrap_err(), (422, "unknown_kind"));
        bad["events"][2] = json!({ "kind": "view", "time": NOW });
        assert_eq!(ask(&mut kept, &model, Deed::Observe, &bad).unwrap_err(), (422, "invalid_event"));
        assert_eq!(
            ask(&mut kept, &model, Deed::Observe, &json!({ "state": "" })).unwrap_err(),
            (400, "invalid_request")
        );
        assert_eq!(kept.state, before);
    }

    #[test]
    fn nothing_is_told_of_who_is_not_stored() {
        let (model, mut kept) = (model(), new(&model()));
        for deed in [Deed::Assess, Deed::Export] {
            assert_eq!(ask(&mut kept, &model, deed, &Value::Null).unwrap_err(), (404, "member_not_found"));
        }
        ask(&mut kept, &model, Deed::Observe, &json!({ "events": [] })).unwrap();
        assert_eq!(
            ask(&mut kept, &model, Deed::Assess, &Value::Null).unwrap_err(),
            (404, "member_not_found")
        );
    }

    #[test]
    fn an_export_moves_a_member() {
        let (model, mut kept) = (model(), new(&model()));
        ask(&mut kept, &model, Deed::Observe, &events(0..9)).unwrap();
        let (export, done) = ask(&mut kept, &model, Deed::Export, &Value::Null).unwrap();
        assert_eq!(export["state"], BASE64.encode(kept.state.snapshot()));
        assert_eq!(
            (&export["events"], &export["firstTime"], &export["created"]),
            (&json!(9), &json!(NOW - 1_000), &json!(NOW))
        );
        assert_eq!(export["audit"][1], json!({ "at": NOW, "who": "a \"quoted\" name", "what": "export" }));
        assert_eq!((export["audit"].as_array().unwrap().len(), done.audit), (2, Some("export")));
        let mut moved = new(&model);
        let state = json!({ "state": export["state"] });
        let (answer, done) = ask(&mut moved, &model, Deed::Put, &state).unwrap();
        assert_eq!(
            (answer, done.write.unwrap().whole),
            (json!({ "events": 9, "lastTime": NOW - 992 }), true)
        );
        assert_eq!(moved.state, kept.state);
        assert_eq!(ask(&mut moved, &model, Deed::Put, &state).unwrap_err(), (409, "member_exists"));
        assert_eq!(
            ask(&mut new(&model), &model, Deed::Put, &json!({ "state": "AAAA" })).unwrap_err(),
            (422, "invalid_state")
        );
        assert_eq!(
            ask(&mut new(&model), &model, Deed::Put, &events(0..1)).unwrap_err(),
            (400, "invalid_request")
        );
        let (assessed, _) = ask(&mut moved, &model, Deed::Assess, &Value::Null).unwrap();
        assert_eq!(assessed, ask(&mut kept, &model, Deed::Assess, &Value::Null).unwrap().0);
    }

    #[test]
    fn the_newest_event_is_judged_with_its_devices_members() {
        let (deployed, mut kept) = (fixture("risk"), new(&fixture("risk")));
        let order = |i: i64, device: &str| json!({ "events": [{ "kind": "purchase", "time": NOW + i, "id": format!("e{i}"), "amount": "5.00", "device": device }] });
        let (answer, done) =
            ask_with(&mut kept, &deployed, Deed::Observe, &order(0, "d"), "risk=true&reasons=0", &[3])
                .unwrap();
        assert_eq!((done.audit, &answer["risk"]["reasons"]), (Some("risk"), &json!([])));
        let newest = |kept: &Kept| kept.state.events().last().unwrap().origin.device_members;
        assert_eq!((newest(&kept), kept.state.len()), (3, 1));
        let (judged, done) =
            ask_with(&mut kept, &deployed, Deed::Judge, &Value::Null, "reasons=0", &[]).unwrap();
        assert_eq!((&judged["risk"], &judged["now"]), (&answer["risk"], &json!(NOW)));
        assert!(done.write.is_none() && done.audit == Some("risk"));
        let mut told = order(1, "d");
        told["events"][0]["deviceMembers"] = json!(7);
        ask_with(&mut kept, &deployed, Deed::Observe, &told, "", &[9]).unwrap();
        assert_eq!(newest(&kept), 7, "what the shop says goes before what was counted");
        ask_with(&mut kept, &deployed, Deed::Observe, &order(2, "e"), "", &[0]).unwrap();
        assert_eq!(newest(&kept), 0);
    }

    #[test]
    fn what_cannot_be_judged_is_not_stored() {
        let (model, mut kept) = (model(), new(&model()));
        ask(&mut kept, &model, Deed::Observe, &events(0..3)).unwrap();
        let refused = ask_with(&mut kept, &model, Deed::Observe, &events(3..4), "risk", &[]).unwrap_err();
        assert_eq!((refused, kept.state.len()), ((422, "no_risk"), 3));
        assert_eq!(ask(&mut kept, &model, Deed::Judge, &Value::Null).unwrap_err(), (422, "no_risk"));
        let deployed = fixture("risk");
        let refused = ask(&mut new(&deployed), &deployed, Deed::Judge, &Value::Null).unwrap_err();
        assert_eq!(refused, (404, "member_not_found"));
    }

    #[test]
    fn a_body_that_broke_off_is_refused() {
        let (model, mut kept) = (model(), new(&model()));
        let visit = Visit { deed: Deed::Observe, object: "o".into(), who: "w".into() };
        let order = Order { visit: &visit, query: "", body: None, audit: "[]", seen: &[], clock: NOW };
        assert_eq!(act(&mut kept, &model, order, LIMITS).unwrap_err().code, "body_unreadable");
    }
}
