//! What `members.js` calls: synchronous functions of the objects that keep members, which store, encrypt and queue.
//!
//! An object that has waited for something asks [`member_ready`] and [`member_holds`] again: another member may have taken
//! the room of its history, and after a panic the module has forgotten all of them.

// What JavaScript may call must be public.
#![allow(unreachable_pub)]

use std::cell::RefCell;

use worker::{
    Env,
    js_sys::{Array, Reflect, Uint8Array},
    wasm_bindgen::{self, prelude::*},
    web_sys::Response,
};

use crate::{
    act::{self, Order},
    kept::{Histories, Kept},
    members::Visit,
    problem::Problem,
    reply::Reply,
    route::{Head, Route, route},
    runtime::{config, lines, loaded, model, respond, settings},
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
    let bound = Reflect::get(&env, &"MEMBERS".into()).is_ok_and(|binding| binding.is_object());
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

/// Reads the settings and loads the model. What is answered where that fails.
///
/// # Errors
/// What JavaScript throws when an answer is made.
#[wasm_bindgen(
    wasm_bindgen = ::worker::wasm_bindgen,
    wasm_bindgen_futures = ::worker::wasm_bindgen_futures,
    js_sys = ::worker::js_sys
)]
pub async fn member_load(head: String, env: Env) -> Result<Option<Response>, JsValue> {
    let loaded = match config(&env) {
        Ok(_) => model(&env).await.map(|_| ()),
        Err(problem) => Err(problem.clone()),
    };
    let refused = |problem: Problem| answered(&head, Reply::refused(&problem));
    loaded.err().map(refused).transpose()
}

/// Whether the history with this number is in memory.
#[wasm_bindgen]
pub fn member_holds(handle: u32) -> bool {
    HISTORIES.with_borrow_mut(|histories| histories.get(handle).is_some())
}

/// Takes the records of a member, in their order, into memory; false when they are no records.
///
/// # Errors
/// There is no model: the module failed and started afresh since [`member_ready`] was asked.
#[wasm_bindgen]
pub fn member_open(handle: u32, records: &Array) -> Result<bool, JsValue> {
    let records: Vec<Vec<u8>> = records.iter().map(|record| Uint8Array::new(&record).to_vec()).collect();
    let Some(Ok(model)) = loaded() else { return Err("there is no model".into()) };
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
    clock: f64,
) -> Result<Array, JsValue> {
    let asked = || {
        let (head, _) = lines(head)?;
        Some((head, Visit::of(head.path)?, loaded()?.ok()?, settings()?))
    };
    let Some((at, visit, model, config)) = asked() else { return Err("members.js asks nothing".into()) };
    let order = Order { visit: &visit, query: at.query, body: body.as_deref(), audit, clock: clock as i64 };
    let done = HISTORIES.with_borrow_mut(|histories| {
        let kept = histories.get(handle)?;
        Some(act::act(kept, &model, order, config.limits))
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
            list.push(&answered(head, Reply::refused(&problem))?.into());
        }
    }
    Ok(list)
}

/// What is answered instead: `erased`, `unreadable` or `unavailable`.
///
/// # Errors
/// What JavaScript throws when an answer is made.
#[wasm_bindgen]
pub fn member_instead(what: &str, head: &str) -> Result<Response, JsValue> {
    answered(head, act::instead(what))
}

fn answered(head: &str, reply: Reply) -> Result<Response, JsValue> {
    let Head { method, origin, .. } = lines(head).map(|(head, _)| head).unwrap_or_default();
    respond(reply, method, origin, settings())
}
