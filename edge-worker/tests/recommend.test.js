// What a member will buy next, at the edge.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { contentOf } from "../../web/test/support/sections.js";
import { root, sample, start } from "./support/worker.js";

const bundle = readFileSync(join(root, "tests", "fixtures", "recommend.tcb"));
const vectors = contentOf(bundle, "vectors");
const code = ({ status, json }) => [status, json?.error?.code];

let worker;
before(async () => {
  worker = await start({ bundle });
});
after(() => worker.stop());

/** POST /v1/recommend with a value. */
function recommend(value, { query = "", from = worker } = {}) {
  const headers = { "content-type": "application/json" };
  return from.fetch(`/v1/recommend${query}`, { method: "POST", headers, body: JSON.stringify(value) });
}

test("the bundle proves itself, and says what it recommends", async () => {
  const health = await worker.fetch("/healthz");
  assert.deepEqual([health.status, health.json?.vectors], [200, vectors.length]);
  const described = (await worker.fetch("/v1/model")).json.recommend;
  assert.equal(described.periodDays, 28);
  assert.ok(described.items > 100);
});

test("lists are the vectors': one member, and many", async () => {
  for (const { name, events, now, recommendations } of vectors) {
    const { status, json } = await recommend({ member: name, events, now });
    assert.equal(status, 200);
    assert.deepEqual(json.recommendations, recommendations, name);
    assert.deepEqual(Object.keys(json), ["member", "now", "recommendations", "observed"]);
  }
  const members = vectors.map(({ name, events, now }) => ({ member: name, events, now }));
  const { json } = await recommend({ members });
  assert.deepEqual(json.results.map((result) => result.recommendations), vectors.map((v) => v.recommendations));
});

test("options are the call's, and a state stands for the events", async () => {
  const { events, now, recommendations } = vectors[3];
  const asked = await recommend({ events, now, returnState: true, recommend: { count: 3 } });
  assert.deepEqual(asked.json.recommendations, recommendations.slice(0, 3));
  const { state } = asked.json;
  const newOnly = await recommend({ state, now, recommend: { newOnly: true, exclude: [recommendations[0].item] } });
  const bought = new Set(events.map(({ item }) => item));
  assert.ok(newOnly.json.recommendations.length === 10);
  assert.ok(newOnly.json.recommendations.every(({ item }) => !bought.has(item)));
  assert.deepEqual((await recommend({ state, now })).json.recommendations, recommendations);
});

test("a new member gets its step of the shop's welcome, unless the call says otherwise", async () => {
  const { json } = await recommend({ events: [] });
  assert.ok(json.recommendations.every(({ reasons }) => reasons.at(-1).step === "first order"));
  const plain = await recommend({ events: [], recommend: { welcome: false } });
  assert.ok(plain.json.recommendations.every(({ reasons }) => reasons.every(({ kind }) => kind === "popularInTier")));
});

test("what is no list of options is refused", async () => {
  const { events, now } = vectors[0];
  for (const options of [{ cuont: 1 }, 3, { exclude: "milk" }, []]) {
    assert.deepEqual(code(await recommend({ events, now, recommend: options })), [400, "invalid_request"]);
  }
  for (const options of [{ count: 0 }, { diversity: 2 }, { boost: { milk: -1 } }]) {
    assert.deepEqual(code(await recommend({ events, now, recommend: options })), [422, "invalid_input"]);
  }
  const twice = '{"events":[],"recommend":{"boost":{"milk":2,"milk":3}}}';
  const headers = { "content-type": "application/json" };
  const answer = await worker.fetch("/v1/recommend", { method: "POST", headers, body: twice });
  assert.deepEqual(code(answer), [400, "invalid_request"]);
  assert.deepEqual(code(await recommend({ events, now, features: true })), [400, "invalid_request"]);
  assert.deepEqual(code(await recommend({ events, now }, { query: "?profile" })), [400, "invalid_request"]);
  assert.deepEqual(code(await worker.score({ events, now, recommend: {} })), [400, "invalid_request"]);
  assert.deepEqual(code(await worker.fetch("/v1/recommend")), [405, "method_not_allowed"]);
});

test("a bundle that recommends nothing refuses, and says what to do", async () => {
  const { bundle, events, now } = sample();
  const other = await start({ bundle });
  try {
    const refused = await recommend({ events, now }, { from: other });
    assert.deepEqual(code(refused), [422, "no_recommendations"]);
    assert.match(refused.json.error.hint, /\[recommend\]/);
    assert.equal("recommend" in (await other.fetch("/v1/model")).json, false);
  } finally {
    await other.stop();
  }
});
