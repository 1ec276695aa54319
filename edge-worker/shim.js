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

/** What src/runtime.rs reads of a request. */
function headOf({ method, url, headers }) {
  const of = (name) => headers.get(name) ?? "";
  const body = `${of("content-type")}\n${of("content-encoding")}\n${of("content-length")}`;
  return `${method}\n${url}\n${of("authorization")}\n${of("origin")}\n${body}`;
}

/** Answers, without a promise in Rust, the request that is frequent: one member, and nothing is wrong with it. */
async function answer(request, env, context) {
  const call = tiercast.expects(headOf(request));
  if (call === 0) return tiercast.fetch(request, env, context);
  let body;
  try {
    body = new Uint8Array(await request.arrayBuffer());
  } catch {
    return tiercast.fetch(request, env, context); // Which says what is wrong.
  }
  return tiercast.score_one(call, body, Date.now()) ?? tiercast.fetch(new Request(request, { body }), env, context);
}

export default class extends WorkerEntrypoint {
  fetch(request) {
    if (state.criticalError) {
      tiercast.__wbg_reset_state();
      state.criticalError = false;
    }
    return answer(request, this.env, this.ctx).catch((error) => {
      failed(error);
      return Response.json(
        { error: { code: "internal_error", message: "the worker failed; the request was not scored" } },
        { status: 500, headers: { "cache-control": "no-store" } },
      );
    });
  }
}
