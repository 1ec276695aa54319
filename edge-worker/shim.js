// The worker's entry class.
// A Rust panic leaves the instance unusable: the next request starts on a fresh one.
import { WorkerEntrypoint } from "cloudflare:workers";
import * as tiercast from "./index.js";

const state = tiercast.__worker_init_state();

function failed(error) {
  if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
  // Never the message: it could quote a member's data.
  console.error("tiercast-edge: failed;", error instanceof WebAssembly.RuntimeError ? "starting afresh" : "went on");
}

addEventListener("error", (event) => failed(event.error));

export default class extends WorkerEntrypoint {
  async fetch(request) {
    if (state.criticalError) {
      tiercast.__wbg_reset_state();
      state.criticalError = false;
    }
    try {
      return await tiercast.fetch(request, this.env, this.ctx);
    } catch (error) {
      failed(error);
      return Response.json(
        { error: { code: "internal_error", message: "the worker failed; the request was not scored" } },
        { status: 500, headers: { "cache-control": "no-store" } },
      );
    }
  }
}
