// The instance of the module, for the worker and for the objects that keep members.
// A Rust panic leaves it unusable: the next request starts on a fresh one.
import * as tiercast from "./index.js";
import { crashed } from "./watch.js";

const state = tiercast.__worker_init_state();

addEventListener("error", (event) => failed(event.error));

/** Starts afresh if the instance has failed. */
export function revive() {
  if (!state.criticalError) return;
  tiercast.__wbg_reset_state();
  state.criticalError = false;
}

/** Notes an error; whether the module has failed, which starts it afresh. */
export function noted(error) {
  const trapped = error instanceof WebAssembly.RuntimeError;
  if (trapped) state.criticalError = true;
  // Never the message: it could quote a member's data.
  console.error("tiercast-edge: failed;", trapped ? "starting afresh" : "went on");
  return trapped;
}

/** Notes an error that nothing else has answered, and answers. */
export function failed(error) {
  crashed(noted(error));
  return Response.json(
    { error: { code: "internal_error", message: "the worker failed; the request was not answered" } },
    { status: 500, headers: { "cache-control": "no-store" } },
  );
}

/** What src/runtime.rs reads of a request. */
export function headOf({ method, url, headers }, claims = "") {
  const of = (name) => headers.get(name) ?? "";
  const body = `${of("content-type")}\n${of("content-encoding")}\n${of("content-length")}`;
  return `${method}\n${url}\n${of("authorization")}\n${of("origin")}\n${body}\n${claims}`;
}
