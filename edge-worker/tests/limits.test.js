// Bodies, batches and histories that are too large, and requests that take too long.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { sample, start } from "./support/worker.js";

const { bundle, events, now } = sample();
const MIB = 1 << 20;
const code = (answer) => [answer.status, answer.json?.error?.code];
const padded = (length) => `${" ".repeat(length - 2)}{}`;

describe("limits", () => {
  let worker;
  before(async () => {
    worker = await start({ bundle });
  });
  after(() => worker.stop());

  test("a body of ten megabytes is refused by its stated length", async () => {
    assert.deepEqual(code(await worker.score(padded(10 * MIB))), [413, "body_too_large"]);
  });

  test("a body of ten megabytes in chunks is refused while it is read", async () => {
    let sent = 0;
    const chunk = Buffer.alloc(64 * 1024, " ");
    const body = new ReadableStream({
      pull(controller) {
        if (sent >= 10 * MIB) return controller.close();
        sent += chunk.length;
        controller.enqueue(chunk);
      },
    });
    const headers = { "content-type": "application/json" };
    const answer = await worker.fetch("/v1/score", { method: "POST", headers, body, duplex: "half" });
    assert.deepEqual(code(answer), [413, "body_too_large"]);
  });

  test("the limit is the limit: one byte more is refused", async () => {
    assert.deepEqual(code(await worker.score(padded(MIB))), [400, "invalid_request"]);
    assert.deepEqual(code(await worker.score(padded(MIB + 1))), [413, "body_too_large"]);
  });

  test("a body of bare commas does not fill the memory", async () => {
    const answer = await worker.score(`{"events":[0${",0".repeat(400_000)}]}`);
    assert.deepEqual(code(answer), [413, "too_many_values"]);
    assert.equal((await worker.score(`{"events":${"[".repeat(200_000)}`)).json.error.code, "malformed_json");
  });

  test("256 members are scored, 257 are refused", async () => {
    const members = (n) => Array.from({ length: n }, (_, i) => ({ member: `m${i}`, events: events.slice(0, 2) }));
    const scored = await worker.score({ members: members(256), now });
    assert.equal(scored.status, 200);
    assert.equal(scored.json.results.length, 256);
    assert.ok(scored.json.results.every((result, i) => result.member === `m${i}` && result.tier >= 1));
    assert.deepEqual(code(await worker.score({ members: members(257), now })), [413, "too_many_members"]);
    assert.deepEqual((await worker.score({ members: [], now })).json, { results: [] });
  });
});

test("10,000 events of a member are taken, 10,001 are refused", async () => {
  const worker = await start({ bundle });
  try {
    const many = Array.from({ length: 10_001 }, (_, i) => ({ kind: "view", time: now - 20_000 + i }));
    assert.deepEqual(code(await worker.score({ events: many, now })), [413, "too_many_events"]);
    const scored = await worker.score({ events: many.slice(1), now });
    assert.equal(scored.status, 200);
    const { capacity } = (await worker.fetch("/v1/model")).json.events;
    if (capacity < 10_000) assert.match(scored.json.warnings.join(), /that are kept/);
    const { json } = await worker.score({ members: [{ events: many }, { events }], now });
    assert.equal(json.results[0].error.code, "too_many_events");
    assert.ok(json.results[1].tier >= 1);
  } finally {
    await worker.stop();
  }
});

test("a batch that takes too long stops between members", async () => {
  const vars = { TIERCAST_TIME_LIMIT_MS: 1, TIERCAST_MAX_MEMBERS: 4096, TIERCAST_MAX_BODY_BYTES: 16 * MIB };
  const worker = await start({ bundle, vars });
  try {
    await worker.fetch("/healthz");
    const members = Array.from({ length: 4096 }, (_, i) => ({ member: `m${i}`, events: events.slice(0, 2) }));
    const { status, json } = await worker.score({ members, now });
    assert.equal(status, 200);
    assert.equal(json.results.length, members.length);
    const stopped = json.results.findIndex((result) => result.error?.code === "time_limit");
    assert.ok(stopped > 0, "the first slice is always scored");
    assert.ok(json.results.slice(0, stopped).every((result) => result.tier >= 1));
    for (const [i, { error, member }] of json.results.slice(stopped).entries()) {
      assert.deepEqual([error.code, member], ["time_limit", `m${stopped + i}`]);
    }
  } finally {
    await worker.stop();
  }
});
