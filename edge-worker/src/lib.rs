//! A Cloudflare Worker that scores members at the edge.
//!
//! `POST /v1/score` turns a member's events, or an earlier state, into an assessment, and the routes beside it into
//! recommendations, decisions or points; `GET /v1/model` says what is deployed; `GET /healthz` says whether it works. The
//! routes are described in `openapi.json`.
//!
//! A request passes, in this order: [`config`], [`route`] (which asks [`auth`]), [`body`], [`request`] (which reads
//! [`events`] and, for what is wrong, [`strict`]), [`score`] (which asks [`ask`]). Each of these is pure and is tested natively; only `runtime`, with `shim.js` before it and
//! `request.js` beside it, knows the Workers API, and it exists only on wasm32. The worker keeps nothing of a member and logs nothing of it.
// The entry point exists only on wasm32; natively the tests are the callers.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

mod ask;
mod auth;
mod body;
mod config;
mod events;
mod model;
mod problem;
mod reply;
mod request;
mod route;
#[cfg(target_arch = "wasm32")]
mod runtime;
mod score;
mod strict;
