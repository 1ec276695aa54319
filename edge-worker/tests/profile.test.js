// How a member behaves, where it is asked for and the bundle can say.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { contentOf } from "../../web/test/support/sections.js";
import { root, sample, start } from "./support/worker.js";

const bundle = readFileSync(join(root, "tests", "fixtures", "profile.tcb"));
const vectors = contentOf(bundle, "vectors");
const code = ({ status, json }) => [status, json?.error?.code];
const bitsOf = (number) => new Uint32Array(Float32Array.of(number).buffer)[0];
const chunked = (body) => new Blob([JSON.stringify(body)]).stream();

let worker;
let described;
before(async () => {
  worker = await start({ bundle, vars: { TIERCAST_MAX_BODY_BYTES: "16777216" } });
  described = (await worker.fetch("/v1/model")).json.profile;
});
after(() => worker.stop());

/** A profile against a vector: the embedding, the chance of no purchase and the days to the next one, by bits. */
function agree({ embedding, churn, nextPurchase, segment, segmentName, interests }, expected, name) {
  assert.deepEqual([...embedding, churn, nextPurchase].map(bitsOf), expected.map(bitsOf), name);
  assert.equal(segmentName, described.segments[segment].name);
  assert.ok(interests.every(({ category }) => described.categories.includes(category)));
  assert.ok(interests.every(({ share }, i) => share > 0 && share <= (interests[i - 1]?.share ?? 1)));
}

test("the bundle proves itself, and its segments are described", async () => {
  const health = await worker.fetch("/healthz");
  assert.deepEqual([health.status, health.json?.vectors], [200, vectors.length]);
  assert.equal(described.model, "transformer");
  assert.equal(described.embedding, vectors[0].profile.length - 2);
  assert.ok(described.segments.length > 0 && described.categories.length > 0);
});

test("a profile has the vectors' bits: one member, in the query, in chunks, in a batch", async () => {
  for (const { name, events, now, profile } of vectors) {
    const { status, json } = await worker.score({ events, now, profile: true });
    assert.equal(status, 200);
    agree(json.profile, profile, name);
    const queried = await worker.score({ events, now, profile: false }, { query: "?profile=true" });
    assert.deepEqual(queried.json, json);
    const type = { "content-type": "application/json" };
    const body = chunked({ events, now, profile: true });
    const inChunks = await worker.fetch("/v1/score", { method: "POST", headers: type, body, duplex: "half" });
    assert.deepEqual(inChunks.json, json);
  }
  const members = vectors.map(({ name, events, now }) => ({ member: name, events, now }));
  const { json } = await worker.score({ members, profile: true });
  json.results.forEach((result, i) => agree(result.profile, vectors[i].profile, vectors[i].name));
});

test("a profile changes nothing else, and comes only where it is asked for", async () => {
  const { events, now } = vectors[0];
  const ask = { events, now, features: true, returnState: true };
  const { profile, ...rest } = (await worker.score({ ...ask, profile: true })).json;
  const plain = (await worker.score(ask)).json;
  assert.equal("profile" in plain, false);
  assert.deepEqual(rest, plain);
  assert.deepEqual((await worker.score({ state: plain.state, now, profile: true })).json.profile, profile);
});

test("a member without events has a profile without interests", async () => {
  const { json } = await worker.score({ events: [], now: vectors[0].now, profile: true });
  assert.deepEqual(json.profile.interests, []);
});

test("a bundle without profiles refuses the request, also a batch, and says what to do", async () => {
  const { bundle, events, now } = sample();
  const other = await start({ bundle });
  try {
    assert.equal("profile" in (await other.fetch("/v1/model")).json, false);
    const refused = await other.score({ events, now, profile: true });
    assert.deepEqual(code(refused), [422, "no_profiles"]);
    assert.match(refused.json.error.hint, /\[sequence\]/);
    assert.deepEqual(code(await other.score({ members: [{ events }], now, profile: true })), [422, "no_profiles"]);
    assert.deepEqual(code(await other.score({ events, now }, { query: "?profile" })), [422, "no_profiles"]);
    assert.equal((await other.score({ events, now, profile: false })).status, 200);
  } finally {
    await other.stop();
  }
});

test("an option of another kind is no request", async () => {
  for (const profile of [1, "true", {}]) {
    assert.deepEqual(code(await worker.score({ events: [], profile })), [400, "invalid_request"]);
  }
  assert.deepEqual(code(await worker.score({ events: [] }, { query: "?profile=maybe" })), [400, "invalid_query"]);
});
