// The worker's entry class.
import { WorkerEntrypoint } from "cloudflare:workers";
import { bundles, refresh } from "./bundles.js";
import * as tiercast from "./index.js";
import { visit } from "./members.js";
import { discard } from "./request.js";
import { failed, headOf, revive } from "./start.js";
import { claimsOf, signedIn } from "./tokens.js";
import { counted, series } from "./watch.js";

export { Device } from "./devices.js";
export { Member } from "./members.js";
export { Watch } from "./watch.js";

/** Answers, without a promise in Rust, the request that is frequent: one member, and nothing is wrong with it. */
async function answer(request, env) {
  let head = headOf(request);
  const token = signedIn(head);
  const claims = token ? await claimsOf(token, env) : "";
  if (claims) head = headOf(request, claims);
  if (env.LIMITER && !(await allowed(head, env))) {
    await discard(request).catch(() => {}); // Who breaks off does not wait for the answer.
    return tiercast.member_instead("limited", head);
  }
  if (head.includes("/v1/members/")) {
    const url = tiercast.member_url(head, env);
    if (url !== undefined) return visit(url, request, env);
  }
  if (head.includes("/metrics") && env.WATCH && tiercast.asks_metrics(head, env)) {
    // Without the bundle nobody knows what drift is measured by.
    if (tiercast.member_lacks_bundle(env)) await bundles(env);
    const { lines, counts } = await series(env).catch(() => ({}));
    return tiercast.metrics(lines, new Float64Array(counts ?? []), head);
  }
  const call = tiercast.expects(head);
  if (call === 0) {
    if (tiercast.lacks_bundle(head, env)) await bundles(env);
    return tiercast.fetch(request, env, claims);
  }
  let body;
  try {
    body = new Uint8Array(await request.arrayBuffer());
  } catch {
    return tiercast.fetch(request, env, claims); // Which says what is wrong.
  }
  return tiercast.score_one(call, body, Date.now()) ?? tiercast.fetch(new Request(request, { body }), env, claims);
}

/** Whether a caller has not yet sent more than the limit; who may not call is refused elsewhere. */
async function allowed(head, env) {
  const key = tiercast.caller_name(head, env);
  return key === undefined || (await env.LIMITER.limit({ key })).success;
}

export default class extends WorkerEntrypoint {
  fetch(request) {
    revive();
    refresh(this.env, this.ctx);
    const from = Date.now();
    const answered = answer(request, this.env).catch(failed);
    return answered.then((response) => {
      revive();
      return counted(request, response, from, this.env, this.ctx);
    });
  }
}
