//! A Cloudflare Worker that scores members at the edge, and keeps them there where that is configured.
//!
//! `POST /v1/score` turns a member's events, or an earlier state, into an assessment, and the routes beside it into
//! recommendations, decisions or points; the routes under `/v1/members/` keep a member's history; `GET /v1/model` says what
//! is deployed; `GET /healthz` says whether it works, and `GET /metrics` what was counted. The routes are described in
//! `openapi.json`.
//!
//! A request passes, in this order: [`config`], [`route`] (which asks [`auth`], and that [`claims`]), [`body`], [`request`]
//! (which reads [`events`] and, for what is wrong, [`strict`]), [`score`] (which asks [`ask`]). One to a stored member
//! passes [`members`], which says whom it concerns and what is to be done, and, in the member's object, [`act`], on a
//! history from [`kept`]. Which bundle answers says [`release`]; what is counted on the way is in [`watch`]. Each of these is pure and is tested natively; only `runtime` and `objects`, with the scripts
//! beside this folder, know the Workers API, and they exist only on wasm32. The worker logs nothing of a member.
// The entry point exists only on wasm32; natively the tests are the callers.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

mod act;
mod ask;
mod auth;
mod body;
mod claims;
mod config;
mod kept;
mod members;
mod model;
#[cfg(target_arch = "wasm32")]
mod objects;
mod problem;
mod release;
mod reply;
mod request;
mod route;
#[cfg(target_arch = "wasm32")]
mod runtime;
mod score;
mod strict;
mod watch;
