//! What `members.js` calls: synchronous functions of the objects that keep members, which store, encrypt and queue.
//!
//! An object that has waited for something asks [`member_ready`] and [`member_holds`] again: another member may have taken
//! the room of its history, and after a panic the module has forgotten all of them.

// What JavaScript may call must be public.
#![allow(unreachable_pub)]

use std::cell::RefCell;

use worker::{
    Env,
    js_sys::{Array, Uint8Array},
    wasm_bindgen::{self, prelude::*},
    web_sys::Response,
};

use crate::{
    act::{self, Order},
    kept::{Histories, Kept},
    members::{self, Visit},
    reply::Reply,
    request::Sent,
    route::{Head, Route, route},
    runtime::{config, deployed, is_bound, is_wanted, lines, loaded, refused, respond, settings},
};

thread_local! {
    static HISTORIES: RefCell<Histories> = const { RefCell::new(Histories::new()) };
}

/// The URL to ask a member's object with, if a request is for one, good so far, and may be made. `head` is what
/// `expects` takes.
#[wasm_bindgen]
pub fn member_url(head: &str, env: Env) -> Option<String> {
    let config = config(&env).as_ref().ok()?;
    let (head, body) = lines(head)?;
    let Ok(Route::Member(visit)) = route(head, config) else { return None };
    let bound = is_bound(&env, "MEMBERS");
    let sent = matches!(head.method, "POST" | "PUT");
    (bound && (!sent || body.check(config.limits.body_bytes).is_ok())).then(|| visit.url(head.query))
}

/// The most bytes of a body.
#[wasm_bindgen]
pub fn member_limit() -> usize {
    settings().map_or(0, |config| config.limits.body_bytes)
}

/// Whether there is a model; [`member_load`] comes first where there is none.
#[wasm_bindgen]
pub fn member_ready() -> bool {
    settings().is_some() && loaded().is_some_and(|model| model.is_ok())
}

/// Whether to ask `bundles.js` for a bundle.
#[wasm_bindgen]
pub fn member_lacks_bundle(env: &Env) -> bool {
    is_wanted(env)
}

/// Reads the settings; what is answered where they cannot be read, or there is no bundle.
///
/// # Errors
/// What JavaScript throws when an answer is made.
#[wasm_bindgen]
pub fn member_load(head: &str, env: &Env) -> Result<Option<Response>, JsValue> {
    let loaded = match config(env) {
        Ok(_) => deployed().map(|_| ()),
        Err(problem) => Err(problem.clone()),
    };
    loaded.err().map(|problem| answered(head, refused(&problem))).transpose()
}

/// Whether the history with this number is in memory.
#[wasm_bindgen]
pub fn member_holds(handle: u32) -> bool {
    HISTORIES.with_borrow_mut(|histories| histories.get(handle).is_some())
}

/// The visit of a request to an object.
fn asked(head: &str) -> Option<Visit> {
    Visit::of(lines(head)?.0.path)
}

/// The names of the objects of the devices that a body of events names without their members; none where the bundle judges
/// no risk, or the body is not one of events.
#[wasm_bindgen]
pub fn member_devices(body: Option<Vec<u8>>) -> Vec<String> {
    let named = |body: &[u8]| {
        let (deployed, config) = (loaded()?.ok()?, settings()?);
        let any = body.windows(DEVICE.len()).any(|part| part == DEVICE);
        if !any || !deployed.each().any(|(model, _)| model.judges()) {
            return None;
        }
        let Ok(Sent::Events(events)) = Sent::parse(body, config.limits) else { return None };
        Some(members::devices(act::devices(&events).into_iter(), config))
    };
    body.as_deref().and_then(named).unwrap_or_default()
}

/// How an event that names a device is recognised before it is read.
const DEVICE: &[u8] = b"\"device\"";

/// Forgets all histories: the bundles that read them have changed.
pub(crate) fn forget_all() {
    HISTORIES.set(Histories::new());
}

/// Takes the records of a member, in their order, into memory; false when they are no records.
///
/// # Errors
/// There is no model: the module failed and started afresh since [`member_ready`] was asked.
#[wasm_bindgen]
pub fn member_open(handle: u32, head: &str, records: &Array) -> Result<bool, JsValue> {
    let records: Vec<Vec<u8>> = records.iter().map(|record| Uint8Array::new(&record).to_vec()).collect();
    let (Some(Ok(deployed)), Some(visit)) = (loaded(), asked(head)) else {
        return Err("there is no model".into());
    };
    let (model, _) = deployed.answers(visit.place());
    let kept = Kept::read(&records, model.bundle().schema());
    Ok(kept.map(|kept| HISTORIES.with_borrow_mut(|histories| histories.put(handle, kept))).is_some())
}

/// Forgets what is in memory, because it is not, or may not be, what is stored.
#[wasm_bindgen]
pub fn member_forget(handle: u32) {
    HISTORIES.with_borrow_mut(|histories| histories.forget(handle));
}

/// Does what a request asks with a history in memory. Answers with a list: the response; the record to store, if any; true
/// if it takes the place of all others; who is audited, if anyone; and what for.
///
/// # Errors
/// What JavaScript throws when an answer is made.
#[wasm_bindgen]
pub fn member_act(
    handle: u32,
    head: &str,
    body: Option<Vec<u8>>,
    audit: &str,
    seen: &[u16],
    clock: f64,
) -> Result<Array, JsValue> {
    let asked = || {
        let (head, _) = lines(head)?;
        Some((head, Visit::of(head.path)?, loaded()?.ok()?, settings()?))
    };
    let Some((at, visit, deployed, config)) = asked() else { return Err("members.js asks nothing".into()) };
    let body = body.as_deref();
    let order = Order { visit: &visit, query: at.query, body, audit, seen, clock: clock as i64 };
    let done = HISTORIES.with_borrow_mut(|histories| {
        let kept = histories.get(handle)?;
        Some(act::act(kept, &deployed, order, config.limits))
    });
    let done = done.ok_or("members.js asks about no history")?;
    let list = Array::new();
    match done {
        Ok(done) => {
            list.push(&answered(head, Reply::json(200, done.json))?.into());
            let (record, whole) = done.write.map_or((None, false), |write| (Some(write.record), write.whole));
            list.push(&record.map_or(JsValue::UNDEFINED, |record| Uint8Array::from(&*record).into()));
            list.push(&whole.into());
            if let Some(what) = done.audit {
                list.push(&JsValue::from_str(&visit.who));
                list.push(&JsValue::from_str(what));
            }
        }
        Err(problem) => {
            list.push(&answered(head, refused(&problem))?.into());
        }
    }
    Ok(list)
}

/// What is answered instead: `erased`, `unreadable`, `limited` or `unavailable`.
///
/// # Errors
/// What JavaScript throws when an answer is made.
#[wasm_bindgen]
pub fn member_instead(what: &str, head: &str) -> Result<Response, JsValue> {
    answered(head, act::instead(what).map_or_else(Reply::empty, |problem| refused(&problem)))
}

fn answered(head: &str, reply: Reply) -> Result<Response, JsValue> {
    let Head { method, origin, .. } = lines(head).map(|(head, _)| head).unwrap_or_default();
    respond(reply, method, origin, settings())
}
