//! The Workers runtime: everything else in this crate knows neither JavaScript nor a clock.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures::StreamExt;
use worker::{
    ByteStream, Context, Date, Delay, Env, Headers, Request, Response, ResponseBuilder, Result, event,
    js_sys::Reflect,
};

use crate::{
    body::{Body, BodyHeaders},
    config::{Config, Limits},
    model::Model,
    problem::Problem,
    reply::Reply,
    request::{ScoreRequest, Subject},
    route::{Head, Options, Route, route},
    score::{self, Batch},
};

/// Any host does: the assets binding looks at the path only.
const BUNDLE_URL: &str = "https://assets.local/bundle.tcb";

/// The most bytes of a refused body that are still read.
const DISCARDED: usize = 16 << 20;

thread_local! {
    /// Loaded at the first request and kept while the isolate lives. A bundle that cannot be read stays unread:
    /// assets are fixed for each deployed version. Only a failed fetch is tried again.
    static MODEL: RefCell<Option<Loaded>> = const { RefCell::new(None) };
}

type Loaded = std::result::Result<Rc<Model>, Problem>;

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _context: Context) -> Result<Response> {
    let method = request.inner().method();
    let origin = request.headers().get("origin")?;
    let (config, reply) = match Config::read(|name| setting(&env, name)) {
        Ok(config) => {
            let reply = answer(&mut request, &method, origin.as_deref(), &env, &config).await;
            (Some(config), reply)
        }
        Err(problem) => (None, Err(problem)),
    };
    if let (Err(_), Ok(mut unread)) = (&reply, request.stream()) {
        discard(&mut unread).await;
    }
    let reply = reply.unwrap_or_else(|problem| Reply::refused(&problem));
    respond(reply.finish(&method, origin.as_deref(), config.as_ref()))
}

async fn answer(
    request: &mut Request,
    method: &str,
    origin: Option<&str>,
    env: &Env,
    config: &Config,
) -> std::result::Result<Reply, Problem> {
    let url = request.inner().url();
    let query = url.split('#').next().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    let path = request.path();
    let authorization = header(request, "authorization");
    let head = Head { method, path: &path, query, authorization: authorization.as_deref(), origin };
    match route(head, config)? {
        Route::Preflight => Ok(Reply::preflight()),
        Route::Health => Ok(Reply::json(200, model(env).await?.health()?)),
        Route::Model => Ok(Reply::json(200, model(env).await?.describe(config.limits))),
        Route::Score(options) => {
            let body = read_body(request, config.limits).await?;
            let model = model(env).await?;
            Ok(Reply::json(200, score(&model, &body, options, config.limits).await?))
        }
    }
}

async fn read_body(request: &mut Request, limits: Limits) -> std::result::Result<Vec<u8>, Problem> {
    let (content_type, content_encoding, content_length) = (
        header(request, "content-type"),
        header(request, "content-encoding"),
        header(request, "content-length"),
    );
    let headers = BodyHeaders {
        content_type: content_type.as_deref(),
        content_encoding: content_encoding.as_deref(),
        content_length: content_length.as_deref(),
    };
    let mut body = Body::begin(headers, limits.body_bytes)?;
    // A request without a body has no stream; it is then empty, and no JSON.
    if let Ok(mut stream) = request.stream() {
        while let Some(chunk) = stream.next().await {
            let chunk = chunk
                .map_err(|_| Problem::new(400, "body_unreadable", "the body ended before it was complete"))?;
            if let Err(problem) = body.push(&chunk) {
                discard(&mut stream).await;
                return Err(problem);
            }
        }
    }
    body.finish()
}

/// Takes what a refused caller is still sending, within reason: closing on it could cost it the answer.
async fn discard(stream: &mut ByteStream) {
    let mut left = DISCARDED;
    while let Some(Ok(chunk)) = stream.next().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

async fn score(
    model: &Model,
    body: &[u8],
    options: Options,
    limits: Limits,
) -> std::result::Result<Vec<u8>, Problem> {
    let request = ScoreRequest::parse(body, options, limits)?;
    let started = Date::now().as_millis();
    let members = match &request.subject {
        Subject::One(member) => return score::one(&model.scorer, &request, member, started as i64),
        Subject::Many(members) => members,
    };
    let mut batch = Batch::new(&model.scorer, &request, members, started as i64, limits)?;
    while batch.step() {
        Delay::from(Duration::ZERO).await;
        if Date::now().as_millis().saturating_sub(started) >= limits.time_ms {
            batch.stop();
            break;
        }
    }
    Ok(batch.finish())
}

async fn model(env: &Env) -> Loaded {
    if let Some(loaded) = MODEL.with_borrow(Clone::clone) {
        return loaded;
    }
    let bytes = fetch_bundle(env).await?;
    // Another request may have loaded it during the fetch.
    MODEL.with_borrow_mut(|kept| kept.get_or_insert_with(|| Model::load(&bytes).map(Rc::new)).clone())
}

async fn fetch_bundle(env: &Env) -> std::result::Result<Vec<u8>, Problem> {
    let missing = |message: String| {
        Problem::new(503, "bundle_missing", message)
            .hint("put the bundle.tcb that `tiercast train` wrote into edge-worker/assets and deploy again")
    };
    let assets =
        env.assets("ASSETS").map_err(|_| missing("the ASSETS binding is not configured".to_owned()))?;
    let failed = |_| Problem::new(503, "bundle_unreachable", "the bundle could not be fetched; try again");
    let mut response = assets.fetch(BUNDLE_URL, None).await.map_err(failed)?;
    match response.status_code() {
        200 => response.bytes().await.map_err(failed),
        404 => Err(missing("no bundle was deployed with this worker".to_owned())),
        status => Err(Problem::new(
            503,
            "bundle_unreachable",
            format!("the assets answered {status} for the bundle"),
        )),
    }
}

/// A variable or secret: text, or a number written without quotes.
fn setting(env: &Env, name: &str) -> Option<String> {
    let value = Reflect::get(env, &name.into()).ok()?;
    value.as_string().or_else(|| value.as_f64().map(|number| number.to_string()))
}

fn header(request: &Request, name: &str) -> Option<String> {
    request.headers().get(name).ok().flatten()
}

fn respond(reply: Reply) -> Result<Response> {
    let headers = Headers::new();
    for (name, value) in &reply.headers {
        headers.set(name, value)?;
    }
    let builder = ResponseBuilder::new().with_status(reply.status).with_headers(headers);
    Ok(if reply.body.is_empty() { builder.empty() } else { builder.fixed(reply.body) })
}
