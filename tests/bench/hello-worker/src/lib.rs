//! The smallest Cloudflare Worker in Rust: what every request costs before a worker does anything of its own.
//!
//! It reads neither its settings nor a body. `tests/bench/edge.js` runs it beside the edge worker, behind the same entry
//! class, built and optimised in the same way.

use worker::{Context, Env, Request, Response, Result, event};

#[event(fetch)]
async fn fetch(_request: Request, _env: Env, _context: Context) -> Result<Response> {
    Response::ok("Hello, World!")
}
