// How likely what a member just did is fraud, at the edge.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { contentOf } from "../../web/test/support/sections.js";
import { root, sample, start } from "./support/worker.js";

const bundle = readFileSync(join(root, "tests", "fixtures", "risk.tcb"));
const vectors = contentOf(bundle, "vectors");
const code = ({ status, json }) => [status, json?.error?.code];

let worker;
before(async () => {
  worker = await start({ bundle });
});
after(() => worker.stop());

/** POST /v1/risk with a value, or a text as it is. */
function ask(value, { query = "", from = worker } = {}) {
  const body = typeof value === "string" ? value : JSON.stringify(value);
  return from.fetch(`/v1/risk${query}`, { method: "POST", headers: { "content-type": "application/json" }, body });
}

test("the bundle proves itself, and says what it judges by", async () => {
  const health = await worker.fetch("/healthz");
  assert.deepEqual([health.status, health.json?.vectors], [200, vectors.length]);
  const { risk } = (await worker.fetch("/v1/model")).json;
  assert.deepEqual([risk.each, risk.rules[0].name], [["purchase"], "new and far away"]);
});

test("risks are the vectors': one member, and many", async () => {
  const members = vectors.map(({ name, events, now }) => ({ member: name, events, now }));
  for (const [i, member] of members.entries()) {
    const { status, json } = await ask(member);
    assert.deepEqual([status, Object.keys(json)], [200, ["member", "now", "risk", "observed"]]);
    assert.deepEqual({ ...json.risk, bundle: "" }, vectors[i].risk, member.member);
  }
  const { results } = (await ask({ members })).json;
  assert.deepEqual(results.map(({ risk }) => ({ ...risk, bundle: "" })), vectors.map(({ risk }) => risk));
});

test("a state stands for the events, and reasons are as many as were asked for", async () => {
  const { events, now, risk } = vectors.find(({ risk }) => risk.reasons.length > 1);
  const first = (await ask({ events, now, returnState: true, options: { reasons: 0 } })).json;
  assert.deepEqual([first.risk.probability, first.risk.reasons], [risk.probability, []]);
  const again = (await ask({ state: first.state, now, options: { reasons: 1 } })).json;
  assert.deepEqual(again.risk.reasons, risk.reasons.slice(0, 1));
});

test("what is no question is refused", async () => {
  const { events, now } = vectors[2];
  for (const options of [{ reason: 1 }, 3, [], { reasons: -1 }, { reasons: 1.5 }]) {
    assert.deepEqual(code(await ask({ events, now, options })), [400, "invalid_request"], JSON.stringify(options));
  }
  assert.deepEqual(code(await ask({ events, now, options: { reasons: 11 } })), [422, "invalid_input"]);
  assert.deepEqual(code(await ask({ events, now, features: true })), [400, "invalid_request"]);
  assert.deepEqual(code(await ask({ events, now }, { query: "?profile" })), [400, "invalid_request"]);
  assert.deepEqual(code(await ask(`{"events":[],"options":{"reasons":1,"reasons":2}}`)), [400, "invalid_request"]);
  assert.deepEqual(code(await worker.fetch("/v1/risk")), [405, "method_not_allowed"]);
  for (const origin of [{ ip: "localhost" }, { latitude: 1 }, { latitude: 91, longitude: 0 }, { deviceMembers: 0.5 }]) {
    const event = { kind: "purchase", time: now, ...origin };
    assert.deepEqual(code(await ask({ events: [event], now })), [422, "invalid_origin"], JSON.stringify(origin));
  }
});

test("a bundle without a model of risk refuses, and says what to do", async () => {
  const { bundle, events, now } = sample();
  const other = await start({ bundle });
  try {
    const refused = await ask({ events, now }, { from: other });
    assert.deepEqual(code(refused), [422, "no_risk"]);
    assert.match(refused.json.error.hint, /tiercast bundle --risk/);
    assert.ok(!("risk" in (await other.fetch("/v1/model")).json));
  } finally {
    await other.stop();
  }
});
