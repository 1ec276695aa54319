//! The Workers runtime: everything else in this crate knows neither JavaScript nor a clock.
//!
//! [`fetch`] answers every request. What a promise in Rust costs is a good part of all that scoring one member costs,
//! so that `shim.js` first asks [`expects`] and [`score_one`], which wait for nothing: they answer the one request that is
//! frequent, a good one with one member, and leave all others to [`fetch`]. What the objects of stored members call is in
//! [`crate::objects`].

// What JavaScript may call must be public.
#![allow(unreachable_pub)]

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use worker::{
    Env,
    js_sys::{Array, ArrayBuffer, Date, Object, Promise, Reflect, Uint8Array, Uint32Array},
    wasm_bindgen::{self, prelude::*},
    wasm_bindgen_futures::JsFuture,
    web_sys::{Request, Response, ResponseInit},
};

use crate::{
    auth,
    body::{self, BodyHeaders},
    config::{Config, Limits},
    members,
    model::Model,
    objects,
    problem::Problem,
    release::{self, Deployed, Release, Trial},
    reply::Reply,
    route::{Head, Options, Route, label, route},
    score::{self, Outcome},
    watch::{self, Counts},
};

#[wasm_bindgen(module = "/request.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    fn whole(request: &Request) -> Result<Promise, JsValue>;
    fn bounded(request: &Request, limit: usize) -> Promise;
    fn discard(request: &Request) -> Promise;
    fn pause() -> Promise;
    #[wasm_bindgen(catch)]
    fn answer(body: Option<Uint8Array>, init: &ResponseInit) -> Result<Response, JsValue>;
}

/// How a batch is recognised before it is read, and in how many bytes.
const MEMBERS: &[u8] = b"\"members\"";
const BEGIN: usize = 128;

thread_local! {
    /// Settings are fixed for each deployed version.
    static CONFIG: Cell<Option<&'static Loaded<Config>>> = const { Cell::new(None) };
    /// Loaded at the first request and kept while the instance lives. A bundle among the assets that cannot be read stays
    /// unread: they are fixed for each deployed version. A failed fetch is tried again, and what a store holds is.
    static DEPLOYED: RefCell<Option<Loaded<Rc<Deployed>>>> = const { RefCell::new(None) };
    /// Why the latest request for one failed.
    static PROBLEM: RefCell<Option<Problem>> = const { RefCell::new(None) };
    /// What most answers are made with: those that succeed and do not go to a browser.
    static USUAL: ResponseInit = init(&Reply::json(200, Vec::new()).finish(None, None));
}

pub(crate) type Loaded<T> = Result<T, Problem>;

/// The answer to any request but those to the objects of stored members. `claims` are those of its signed token, as a
/// line of JSON, `expired`, or nothing.
///
/// # Errors
/// What JavaScript throws when an answer is made.
#[wasm_bindgen(
    wasm_bindgen = ::worker::wasm_bindgen,
    wasm_bindgen_futures = ::worker::wasm_bindgen_futures,
    js_sys = ::worker::js_sys
)]
pub async fn fetch(request: Request, env: Env, claims: String) -> Result<Response, JsValue> {
    let (method, url, headers) = (request.method(), request.url(), request.headers());
    // `shim.js` cannot tell an empty header from none, so nothing else does.
    let header = |name| headers.get(name).ok().flatten().filter(|value| !value.is_empty());
    let [authorization, origin, content_type, content_encoding, content_length] =
        ["authorization", "origin", "content-type", "content-encoding", "content-length"].map(header);
    let head = Head {
        method: &method,
        authorization: authorization.as_deref(),
        claims: Some(&*claims).filter(|claims| !claims.is_empty()),
        origin: origin.as_deref(),
        ..Head::default()
    };
    let body = BodyHeaders {
        content_type: content_type.as_deref(),
        content_encoding: content_encoding.as_deref(),
        content_length: content_length.as_deref(),
    };
    let config = config(&env);
    let reply = match config {
        Ok(config) => reply(&request, head.at(&url), body, config).await,
        Err(problem) => Err(problem.clone()),
    };
    if reply.is_err() {
        // Whoever breaks off does not wait for the answer.
        let _ = JsFuture::from(discard(&request)).await;
    }
    let reply = reply.unwrap_or_else(|problem| refused(&problem));
    respond(reply, &method, origin.as_deref(), config.as_ref().ok())
}

/// Whether a request is one to score whose body [`score_one`] may be given: its caller may ask and is no browser, the
/// length of its body is stated and within the limit, and the model is loaded. 0 if not, or else what to give
/// [`score_one`].
///
/// `head` is lines: method, URL, the headers Authorization, Origin, Content-Type, Content-Encoding and Content-Length,
/// and the claims that [`fetch`] takes, empty where there is none.
#[wasm_bindgen]
pub fn expects(head: &str) -> u32 {
    expected(head).map_or(0, Options::code)
}

fn expected(head: &str) -> Option<Options> {
    let config = settings()?;
    let (head, body) = lines(head)?;
    match (route(head, config), body.check(config.limits.body_bytes), head.origin) {
        (Ok(Route::Score(options)), Ok(true), None) if loaded().is_some_and(|model| model.is_ok()) => {
            Some(options)
        }
        _ => None,
    }
}

/// Reads the lines that [`expects`] takes.
pub(crate) fn lines(head: &str) -> Option<(Head<'_>, BodyHeaders<'_>)> {
    let mut lines = head.split('\n').map(|line| Some(line).filter(|line| !line.is_empty()));
    let mut line = || lines.next().flatten();
    let (method, url, authorization, origin) = (line()?, line()?, line(), line());
    let body = BodyHeaders { content_type: line(), content_encoding: line(), content_length: line() };
    Some((Head { method, authorization, origin, claims: line(), ..Head::default() }.at(url), body))
}

/// The answer to a request that [`expects`] lets pass, if one member is to be scored and can be.
#[wasm_bindgen]
pub fn score_one(code: u32, body: &[u8], clock: f64) -> Option<Response> {
    let config = settings()?;
    // A batch would be read here in vain; one that says so later than that is.
    let begin = &body[..body.len().min(BEGIN)];
    if begin.windows(MEMBERS.len()).any(|part| part == MEMBERS) {
        return None;
    }
    body::check(body, config.limits.body_bytes).ok()?;
    let deployed = loaded()?.ok()?;
    match score::score(&deployed, body, Options::of(code), config.limits, clock as i64) {
        Ok(Outcome::Scored(json)) => respond(Reply::json(200, json), "POST", None, Some(config)).ok(),
        Ok(Outcome::Begun(_)) | Err(_) => None,
    }
}

pub(crate) fn loaded() -> Option<Loaded<Rc<Deployed>>> {
    DEPLOYED.with_borrow(Clone::clone)
}

/// A refusal, counted.
pub(crate) fn refused(problem: &Problem) -> Reply {
    watch::with(|counts| counts.error(problem.code));
    Reply::refused(problem)
}

/// The settings, if they were read and can be.
pub(crate) fn settings() -> Option<&'static Config> {
    CONFIG.get()?.as_ref().ok()
}

/// The settings, read once.
pub(crate) fn config(env: &Env) -> &'static Loaded<Config> {
    CONFIG.get().unwrap_or_else(|| {
        let read = Config::read(|name| {
            let value = Reflect::get(env, &name.into()).ok()?;
            value.as_string().or_else(|| value.as_f64().map(|number| number.to_string()))
        });
        let config = Box::leak(Box::new(read));
        CONFIG.set(Some(config));
        config
    })
}

async fn reply(
    request: &Request,
    head: Head<'_>,
    headers: BodyHeaders<'_>,
    config: &Config,
) -> Loaded<Reply> {
    match route(head, config)? {
        Route::Preflight => Ok(Reply::preflight()),
        Route::Health => Ok(Reply::json(200, deployed()?.stable.health()?)),
        Route::Model => Ok(Reply::json(200, deployed()?.stable.describe(config.limits))),
        // Good ones go to `watch.js`, where there is a binding.
        Route::Metrics => Err(uncounted()),
        // Good ones go to the objects, where there is a binding.
        Route::Member(_) => {
            if matches!(head.method, "POST" | "PUT") {
                headers.check(config.limits.body_bytes)?;
            }
            Err(members::unbound())
        }
        Route::Score(options) => {
            let body = read_body(request, headers, config.limits).await?;
            let deployed = deployed()?;
            Ok(Reply::json(200, score(&deployed, &body, options, config.limits).await?))
        }
    }
}

async fn read_body(request: &Request, headers: BodyHeaders<'_>, limits: Limits) -> Loaded<Vec<u8>> {
    let stated = headers.check(limits.body_bytes)?;
    let reading = if stated { whole(request) } else { Ok(bounded(request, limits.body_bytes)) };
    let unreadable = |_| Problem::new(400, "body_unreadable", "the body ended before it was complete");
    let buffer: ArrayBuffer =
        JsFuture::from(reading.map_err(unreadable)?).await.map_err(unreadable)?.unchecked_into();
    let body = Uint8Array::new(&buffer).to_vec();
    body::check(&body, limits.body_bytes)?;
    Ok(body)
}

async fn score(deployed: &Deployed, body: &[u8], options: Options, limits: Limits) -> Loaded<Vec<u8>> {
    let now = || Date::now() as i64;
    let mut batch = match score::score(deployed, body, options, limits, now())? {
        Outcome::Scored(json) => return Ok(json),
        Outcome::Begun(batch) => batch,
    };
    // The clock stands still while Rust computes; it moves on between slices.
    while batch.step(now()) {
        let _ = JsFuture::from(pause()).await;
    }
    Ok(batch.finish())
}

/// The bundles that answer; `bundles.js` has been asked for them.
pub(crate) fn deployed() -> Loaded<Rc<Deployed>> {
    loaded().unwrap_or_else(|| Err(PROBLEM.with_borrow(Clone::clone).unwrap_or_else(|| release::refusal(""))))
}

/// Whether a request needs a bundle, may be made, and there is none; `head` is what [`expects`] takes.
#[wasm_bindgen]
pub fn lacks_bundle(head: &str, env: &Env) -> bool {
    let needs = || {
        let (config, (head, _)) = (config(env).as_ref().ok()?, lines(head)?);
        let route = route(head, config).ok()?;
        Some(matches!(route, Route::Health | Route::Model | Route::Score(_)))
    };
    is_wanted(env) && needs() == Some(true)
}

/// Whether to ask for a bundle. One among the assets that cannot be read is not asked for again, as they are fixed for each
/// deployed version; what a store holds is.
pub(crate) fn is_wanted(env: &Env) -> bool {
    match loaded() {
        None => true,
        Some(Ok(_)) => false,
        Some(Err(_)) => is_bound(env, "BUNDLES"),
    }
}

/// Takes over the bundle among the assets: the status of their answer, 0 where there was none, and the body.
#[wasm_bindgen]
pub fn bundle_set(status: u16, bytes: Option<Vec<u8>>) {
    let missing = |message: &'static str| {
        Problem::new(503, "bundle_missing", message)
            .hint("put the bundle.tcb that `tiercast train` wrote into edge-worker/assets and deploy again")
    };
    let problem = match (status, bytes) {
        (200, Some(bytes)) => {
            // Another request may have loaded it meanwhile.
            let load = || Model::load(&bytes).map(|model| Rc::new(Deployed::only(model)));
            DEPLOYED.with_borrow_mut(|kept| {
                kept.get_or_insert_with(load);
            });
            return;
        }
        (404, _) => missing("no bundle was deployed with this worker"),
        (0, None) => missing("the ASSETS binding is not configured"),
        _ => Problem::new(503, "bundle_unreachable", "the bundle could not be fetched; try again"),
    };
    PROBLEM.set(Some(problem));
}

pub(crate) fn is_bound(env: &Env, name: &str) -> bool {
    Reflect::get(env, &name.into()).is_ok_and(|binding| binding.is_object())
}

/// Whether a bundle of this hash is loaded.
#[wasm_bindgen]
pub fn release_has(sha256: &str) -> bool {
    known(sha256).is_some()
}

fn known(sha256: &str) -> Option<Rc<Model>> {
    let deployed = loaded()?.ok()?;
    deployed.each().find(|(model, _)| model.sha256() == sha256).map(|(model, _)| Rc::clone(model))
}

/// Takes a release over: what was signed, and the bytes of those of its bundles that are not loaded. `serial` and `age` say
/// which release was the latest known, and for how many milliseconds; `withdrawn` the release whose trial was given up. What is
/// wrong is counted; what answered before then still does.
#[wasm_bindgen]
pub fn release_set(
    payload: &str,
    stable: Option<Vec<u8>>,
    next: Option<Vec<u8>>,
    serial: f64,
    age: f64,
    withdrawn: f64,
) {
    match taken(payload, stable, next, (serial, age), withdrawn) {
        Ok(Some(deployed)) => {
            DEPLOYED.set(Some(Ok(Rc::new(deployed))));
            watch::with(Counts::end_trial);
            // Histories are read as the bundle that answers reads them.
            objects::forget_all();
        }
        Ok(None) => {}
        Err(problem) => refuse(problem),
    }
}

/// Says that there is no release to take over, and why.
#[wasm_bindgen]
pub fn release_failed(code: &str) {
    refuse(release::refusal(code));
}

/// Without a bundle, a problem is what is answered; else it is only counted.
fn refuse(problem: Problem) {
    watch::with(|counts| counts.error(problem.code));
    if loaded().is_none_or(|loaded| loaded.is_err()) {
        DEPLOYED.set(Some(Err(problem)));
    }
}

/// What a release makes of the bundles that are loaded; none where nothing changes.
fn taken(
    payload: &str,
    stable: Option<Vec<u8>>,
    next: Option<Vec<u8>>,
    (serial, age): (f64, f64),
    withdrawn: f64,
) -> Loaded<Option<Deployed>> {
    let release = Release::parse(payload)?;
    if release::is_old(release.serial, serial, age) {
        return Err(release::refusal("release_old"));
    }
    let now = loaded().and_then(Result::ok);
    let wanted = release.next.filter(|_| withdrawn != release.serial as f64);
    match &now {
        Some(now) if now.serial > release.serial => return Err(release::refusal("release_old")),
        // What was to be tried and could not be loaded is tried again.
        Some(now) if now.serial == release.serial && now.trial.is_some() == wanted.is_some() => {
            return Ok(None);
        }
        _ => {}
    }
    let load = |sha256: &str, bytes: Option<Vec<u8>>| -> Loaded<Rc<Model>> {
        if let Some(model) = known(sha256) {
            return Ok(model);
        }
        let model = Model::load(&bytes.ok_or_else(|| release::refusal("bundle_missing"))?)?;
        if model.sha256() != sha256 {
            return Err(release::refusal("bundle_hash"));
        }
        model.health()?;
        Ok(Rc::new(model))
    };
    let stable = load(&release.stable, stable)?;
    let key = settings().and_then(|config| config.member_key.clone().ok());
    let trial = wanted.map(|wanted| Ok(Rc::new(Trial::new(load(&wanted.sha256, next)?, wanted, key))));
    // Who is to be tried and cannot be is no reason to go without the stable one.
    let trial = trial.transpose().unwrap_or_else(|problem: Problem| {
        watch::with(|counts| counts.error(problem.code));
        None
    });
    Ok(Some(Deployed { serial: release.serial, stable, trial }))
}

/// Counts a request that was answered, after so many milliseconds.
#[wasm_bindgen]
pub fn watch_done(method: &str, url: &str, status: u16, ms: f64) {
    let route = label(method, Head::default().at(url).path);
    watch::with(|counts| counts.request(route, status, ms));
}

/// What was counted since it was last asked: lines to add up; lines about what is deployed; the number of the release; of its
/// trial requests, failures, by how many requests and what share of failures it is judged, and the line that says so; the bundle
/// that answers, and the members assessed by it for drift.
#[wasm_bindgen]
pub fn watch_take() -> Array {
    let deployed = loaded().and_then(Result::ok);
    let about = deployed.as_deref().map(watch::about).unwrap_or_default();
    let serial = deployed.as_ref().map_or(0, |deployed| deployed.serial) as f64;
    let ([requests, failed], lines) = watch::with(|counts| (counts.trial(), counts.take()));
    let next = deployed.as_ref().and_then(|deployed| deployed.trial.as_ref()).map(|trial| &trial.next);
    let (least, most) = next.map_or((0.0, 0.0), |next| (next.min_requests, next.max_failures));
    let numbers = [serial, requests, failed, least, most];
    let what = next.map(|next| watch::withdrawn(&next.sha256)).unwrap_or_default();
    let texts = [&lines, &about].map(|text| JsValue::from_str(text));
    let list: Array = texts.into_iter().chain(numbers.map(JsValue::from_f64)).collect();
    list.push(&JsValue::from_str(&what));
    if let Some(deployed) = deployed {
        list.push(&JsValue::from_str(deployed.stable.sha256()));
        list.push(&Uint32Array::from(&*deployed.stable.take_drift()).into());
    }
    list
}

/// Whether a trial is to be given up.
#[wasm_bindgen]
pub fn trial_fails(requests: f64, failed: f64, least: f64, most: f64) -> bool {
    release::fails(requests, failed, least, most)
}

/// Goes back to the stable bundle where the trial of a release was given up.
#[wasm_bindgen]
pub fn trial_end(serial: f64) {
    let now = loaded().and_then(Result::ok).filter(|now| now.trial.is_some() && now.serial as f64 == serial);
    if let Some(now) = now {
        DEPLOYED.set(Some(Ok(Rc::new(Deployed { trial: None, ..Deployed::clone(&now) }))));
        watch::with(Counts::end_trial);
        objects::forget_all();
    }
}

/// Who calls, by the name that limits are kept under; nobody who may not. `head` is what [`expects`] takes.
#[wasm_bindgen]
pub fn caller_name(head: &str, env: &Env) -> Option<String> {
    let config = config(env).as_ref().ok()?;
    let (head, _) = lines(head)?;
    auth::caller(head, config).ok().map(|caller| caller.name.into_owned())
}

/// Whether a request is one for what was counted, and may be made. `head` is what [`expects`] takes.
#[wasm_bindgen]
pub fn asks_metrics(head: &str, env: &Env) -> bool {
    let asked = || {
        let (config, (head, _)) = (config(env).as_ref().ok()?, lines(head)?);
        Some(route(head, config) == Ok(Route::Metrics))
    };
    asked() == Some(true)
}

/// The answer to it: all series as lines, or nothing where nobody has them, and the members counted for drift, by bins of the
/// bundle that answers.
///
/// # Errors
/// What JavaScript throws when an answer is made.
#[wasm_bindgen]
pub fn metrics(series: Option<String>, counts: &[f64], head: &str) -> Result<Response, JsValue> {
    let reply = series.map_or_else(
        || refused(&uncounted()),
        |mut series| {
            if let Some(Ok(deployed)) = loaded() {
                series.push('\n');
                series.push_str(&watch::drift(&deployed.stable, counts));
            }
            Reply::metrics(watch::exposition(&series))
        },
    );
    let Head { method, origin, .. } = lines(head).map(|(head, _)| head).unwrap_or_default();
    respond(reply, method, origin, settings())
}

fn uncounted() -> Problem {
    Problem::new(503, "metrics_not_configured", "the binding WATCH is not configured, or did not answer")
        .hint("deploy with the [[durable_objects.bindings]] and [[migrations]] of edge-worker/wrangler.toml")
}

pub(crate) fn respond(
    reply: Reply,
    method: &str,
    origin: Option<&str>,
    config: Option<&Config>,
) -> Result<Response, JsValue> {
    let body = Some(&*reply.body).filter(|body| !body.is_empty() && method != "HEAD").map(Uint8Array::from);
    let usual = reply.is_usual() && config.is_some_and(|config| config.allow_origins.is_empty());
    if usual {
        USUAL.with(|init| answer(body, init))
    } else {
        answer(body, &init(&reply.finish(origin, config)))
    }
}

fn init(reply: &Reply) -> ResponseInit {
    let headers = Object::new();
    for (name, value) in &reply.headers {
        // A new object takes any property.
        let _ = Reflect::set(&headers, &(*name).into(), &(&**value).into());
    }
    let init = ResponseInit::new();
    init.set_status(reply.status);
    init.set_headers(&headers);
    init
}
