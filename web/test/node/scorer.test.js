import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Scorer, TiercastError } from "tiercast";
import { BUNDLE, household } from "../support/fixtures.js";
import { hexBits } from "../support/vectors.js";

const NOW = Date.UTC(2017, 8, 15);
let bytes;
let scorer;

before(async () => {
  bytes = await readFile(BUNDLE);
  scorer = await Scorer.load(bytes);
});

test("a bundle loads from a path, a file URL, bytes, a response and an address", async () => {
  const server = createServer((request, response) => {
    response.writeHead(request.url === "/bundle.tcb" ? 200 : 404).end(bytes);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const address = `http://127.0.0.1:${server.address().port}`;
  const sources = [
    BUNDLE,
    pathToFileURL(BUNDLE),
    pathToFileURL(BUNDLE).href,
    bytes,
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
    new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
    new Response(bytes),
    new Request(`${address}/bundle.tcb`),
    `${address}/bundle.tcb`,
    new URL(`${address}/bundle.tcb`),
  ];
  for (const source of sources) {
    assert.equal((await Scorer.load(source)).info.schemaHash, scorer.info.schemaHash);
  }
  for (const missing of [
    `${address}/other`,
    "http://127.0.0.1:1/",
    "/no/such/file.tcb",
    new URL("file:///no/such.tcb"),
  ]) {
    await assert.rejects(Scorer.load(missing), { code: "unavailable" }, String(missing));
  }
  await new Promise((closed) => server.close(closed).closeAllConnections());
});

test("what is no source of a bundle is refused", async () => {
  for (const wrong of [undefined, null, 7, true, {}, [], () => bytes]) {
    await assert.rejects(Scorer.load(wrong), { name: "TiercastError", code: "invalid_input" });
  }
  await assert.rejects(Scorer.load(new TextEncoder().encode("<!doctype html>")), { code: "not_a_bundle" });
});

test("the info describes the bundle and cannot be changed", () => {
  const { info } = scorer;
  assert.equal(info.task, "tier");
  assert.match(info.schemaHash, /^[0-9a-f]{64}$/);
  assert.ok(info.tiers.length >= 2 && info.tiers[0].atLeastMinor === 0);
  assert.ok(info.features.every(({ name, unit, description }) => name && unit && description));
  assert.ok(info.eventKinds.includes("purchase"));
  assert.throws(() => info.tiers.push({}), TypeError);
});

test("an assessment has the documented shape", () => {
  const member = scorer.member(household(1));
  const assessment = member.assess(new Date(NOW));
  assert.equal(assessment.now, NOW);
  assert.ok(assessment.features instanceof Float32Array && assessment.probabilities instanceof Float32Array);
  assert.equal(assessment.features.length, scorer.info.features.length);
  assert.equal(assessment.probabilities.length, scorer.info.tiers.length);
  assert.ok(Math.abs(assessment.probabilities.reduce((sum, p) => sum + p, 0) - 1) < 1e-4);
  assert.equal(assessment.tierName, scorer.info.tiers[assessment.tier - 1].name);
  assert.equal(assessment.standing.periodStart, "2017-07-01");
  assert.equal(assessment.standing.periodEnd, "2017-09-30");
  assert.deepEqual(
    assessment.warnings.filter((text) => typeof text !== "string"),
    [],
  );
});

test("events are taken one by one, many at once, in any order, as dates, numbers and texts", () => {
  const events = household(2, 60);
  const oneByOne = scorer.member();
  for (const event of events) oneByOne.observe({ ...event, time: new Date(event.time) });
  const reversed = scorer.member(
    (function* () {
      yield* events.toReversed?.() ?? [...events].reverse();
    })(),
  );
  const texts = scorer.member(events.map((event) => ({ ...event, time: new Date(event.time).toISOString() })));
  const bits = (member) => hexBits(member.assess(NOW).features);
  assert.deepEqual(bits(oneByOne), bits(reversed));
  assert.deepEqual(bits(oneByOne), bits(texts));
  assert.deepEqual(oneByOne.observe(events), { added: 0, duplicates: 60, tooLate: 0 });
});

test("now is this moment unless it is given", () => {
  const before = Date.now();
  const { now } = scorer.member().assess();
  assert.ok(now >= before && now <= Date.now());
});

test("scoring changes nothing", () => {
  const member = scorer.member(household(3));
  const state = member.saveState();
  member.assess(NOW);
  member.features(NOW);
  assert.deepEqual(member.saveState(), state);
});

test("a batch gives each row the score that it has alone", () => {
  const rows = [4, 5, 6].map((seed) => scorer.member(household(seed)).features(NOW));
  const width = scorer.info.features.length;
  const batch = new Float32Array(rows.length * width);
  rows.forEach((row, i) => batch.set(row, i * width));
  const scores = scorer.scoreBatch(batch);
  rows.forEach((row, i) => {
    const tiers = scorer.info.tiers.length;
    const alone = scorer.scoreBatch(row);
    alone.forEach((p, k) => assert.ok(Math.abs(p - scores[i * tiers + k]) <= 1e-6));
  });
  assert.equal(scorer.scoreBatch(new Float32Array(0)).length, 0);
  assert.throws(() => scorer.scoreBatch(new Float32Array(width + 1)), { code: "invalid_input" });
  for (const wrong of [undefined, null, [1, 2], new Float64Array(width), "rows"]) {
    assert.throws(() => scorer.scoreBatch(wrong), { code: "invalid_input" });
  }
});

test("a saved state comes back as the same member", () => {
  const member = scorer.member(household(7));
  const state = member.saveState();
  for (const form of [state, state.slice().buffer, Buffer.from(state)]) {
    const restored = scorer.restoreState(form);
    assert.equal(restored.eventCount, member.eventCount);
    assert.deepEqual(restored.saveState(), state);
    assert.deepEqual(restored.assess(NOW), member.assess(NOW));
  }
});

test("a damaged state is refused", () => {
  const state = scorer.member(household(8, 20)).saveState();
  const flipped = state.slice();
  flipped[flipped.length >> 1] ^= 1;
  for (const [bytes, code] of [
    [new Uint8Array(0), "invalid_state"],
    [state.slice(0, -1), "invalid_state"],
    [flipped, "invalid_state"],
    [new TextEncoder().encode("{}".repeat(40)), "invalid_state"],
    ["text", "invalid_input"],
    [undefined, "invalid_input"],
    [[1, 2, 3], "invalid_input"],
  ]) {
    assert.throws(() => scorer.restoreState(bytes), { name: "TiercastError", code });
  }
});

test("what was disposed says so, and a member outlives its scorer", async () => {
  const own = await Scorer.load(bytes);
  const member = own.member();
  own.dispose();
  own.dispose();
  assert.throws(() => own.member(), { code: "disposed" });
  assert.throws(() => own.scoreBatch(new Float32Array(0)), { code: "disposed" });
  assert.equal(member.assess(NOW).now, NOW);
  assert.deepEqual(own.info, scorer.info);
  assert.deepEqual(member.assess(NOW), scorer.member().assess(NOW));
  member[Symbol.dispose]();
  for (const use of [
    () => member.assess(NOW),
    () => member.observe([]),
    () => member.saveState(),
    () => member.eventCount,
  ]) {
    assert.throws(use, { code: "disposed" });
  }
});

test("errors are TiercastErrors that a person can read", () => {
  try {
    scorer.member().observe({ kind: "purchase", time: NOW, amount: -1 });
    assert.fail("accepted");
  } catch (error) {
    assert.ok(error instanceof TiercastError && error instanceof Error);
    assert.equal(error.code, "invalid_amount");
    assert.match(error.message, /return/);
  }
});
