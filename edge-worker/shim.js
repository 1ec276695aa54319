// The worker's entry class.
import { WorkerEntrypoint } from "cloudflare:workers";
import * as tiercast from "./index.js";
import { visit } from "./members.js";
import { failed, headOf, revive } from "./start.js";
import { claimsOf, signedIn } from "./tokens.js";

export { Member } from "./members.js";

/** Answers, without a promise in Rust, the request that is frequent: one member, and nothing is wrong with it. */
async function answer(request, env) {
  let head = headOf(request);
  const token = signedIn(head);
  const claims = token ? await claimsOf(token, env) : "";
  if (claims) head = headOf(request, claims);
  if (head.includes("/v1/members/")) {
    const url = tiercast.member_url(head, env);
    if (url !== undefined) return visit(url, request, env);
  }
  const call = tiercast.expects(head);
  if (call === 0) return tiercast.fetch(request, env, claims);
  let body;
  try {
    body = new Uint8Array(await request.arrayBuffer());
  } catch {
    return tiercast.fetch(request, env, claims); // Which says what is wrong.
  }
  return tiercast.score_one(call, body, Date.now()) ?? tiercast.fetch(new Request(request, { body }), env, claims);
}

export default class extends WorkerEntrypoint {
  fetch(request) {
    revive();
    return answer(request, this.env).catch(failed);
  }
}
