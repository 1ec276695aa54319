// A member's state travels: what was answered is sent back with the events since.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { forged } from "./support/state.js";
import { sample, start } from "./support/worker.js";

const { bundle, events, now } = sample();
const code = (answer) => [answer.status, answer.json?.error?.code];

let worker;
before(async () => {
  worker = await start({ bundle });
});
after(() => worker.stop());

/** An answer without the count of what was observed, which depends on how the events were sent. */
async function score(body) {
  const { status, json } = await worker.score({ now, features: true, returnState: true, ...body });
  assert.equal(status, 200);
  const { observed, ...rest } = json;
  assert.equal(observed.added + observed.duplicate + observed.tooLate, body.events?.length ?? 0);
  return rest;
}

test("events, then a state and more events, are all events at once", async () => {
  const whole = await score({ events });
  for (const cut of [0, 1, Math.floor(events.length / 2), events.length]) {
    const first = await score({ events: events.slice(0, cut) });
    assert.deepEqual(await score({ state: first.state, events: events.slice(cut) }), whole, `cut at ${cut}`);
  }
  assert.deepEqual(await score({ state: whole.state }), whole);
  assert.deepEqual(await score({ state: whole.state, events: [] }), whole);
});

test("the order of arrival does not matter", async () => {
  const whole = await score({ events });
  assert.deepEqual(await score({ events: [...events].reverse() }), whole);
});

test("more events than are kept: the newest stay, and what comes too late is said to", async () => {
  const { capacity } = (await worker.fetch("/v1/model")).json.events;
  const many = Array.from({ length: capacity + 50 }, (_, i) => ({ kind: "view", time: now - 1_000_000 + i }));
  const first = await worker.score({ events: many, now, returnState: true });
  assert.equal(first.status, 200);
  const again = await worker.score({ state: first.json.state, events: many.slice(0, 10), now });
  assert.deepEqual(again.json.observed, { added: 0, duplicate: 0, tooLate: 10 });
});

test("an event with an identity counts once", async () => {
  const event = { kind: "purchase", time: now - 1000, amount: "5.00", id: "order-1" };
  const once = await score({ events: [...events, event] });
  assert.deepEqual(await score({ events: [...events, event, event] }), once);
  assert.deepEqual(await score({ state: once.state, events: [event] }), once);
  const { json } = await worker.score({ state: once.state, events: [event], now });
  assert.deepEqual(json.observed, { added: 0, duplicate: 1, tooLate: 0 });
});

test("a state that is damaged or foreign is refused", async () => {
  const { state } = await score({ events });
  const bytes = Buffer.from(state, "base64");
  const changed = (at, value) => {
    const copy = Buffer.from(bytes);
    copy[at] = value ?? copy[at] ^ 0xff;
    return copy.toString("base64");
  };
  for (const [bad, expected] of [
    ["", "invalid_state"],
    ["not base64!", "invalid_state"],
    [bytes.subarray(0, bytes.length - 5).toString("base64"), "invalid_state"],
    [changed(bytes.length - 1), "invalid_state"],
    [changed(Math.floor(bytes.length / 2)), "invalid_state"],
    [changed(0), "invalid_state"],
    [Buffer.alloc(64).toString("base64"), "invalid_state"],
    [changed(3, 99), "state_version"],
  ]) {
    const answer = await worker.score({ state: bad, now });
    assert.deepEqual(code(answer), [422, expected], bad.slice(0, 20));
    assert.match(answer.json.error.message, /^state: /);
    assert.ok(answer.json.error.hint, "says what to do");
  }
});

test("a state in another currency is refused, though it is whole", async () => {
  const { state } = await score({ events });
  const answer = await worker.score({ state: forged(state, (bytes) => (bytes[5] ^= 1)), now });
  assert.deepEqual(code(answer), [422, "schema_mismatch"]);
});
