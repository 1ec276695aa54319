// A request whose length is stated may be answered by the two synchronous calls of `shim.js`, one in chunks never is:
// both must be answered alike.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { sample, start } from "./support/worker.js";

const { bundle, events, now } = sample();
const event = { kind: "purchase", time: now - 86_400_000, amount: "1.00" };

let worker;
let state;
before(async () => {
  worker = await start({ bundle });
  // The synchronous calls wait for the model, which the first request loads.
  ({ state } = (await worker.score({ events, now, returnState: true })).json);
});
after(() => worker.stop());

const chunked = (body) => new Blob([body]).stream();

async function both(value, options = {}) {
  const body = typeof value === "string" ? value : JSON.stringify(value);
  const { query = "", headers = {} } = options;
  const common = { method: "POST", headers: { "content-type": "application/json", ...headers } };
  const [stated, inChunks] = [
    await worker.fetch(`/v1/score${query}`, { ...common, body }),
    await worker.fetch(`/v1/score${query}`, { ...common, body: chunked(body), duplex: "half" }),
  ];
  const seen = ({ status, text, headers }) => {
    const { date, "content-length": _, "transfer-encoding": __, ...rest } = Object.fromEntries(headers);
    return { status, text, headers: rest };
  };
  assert.deepEqual(seen(inChunks), seen(stated), body.slice(0, 200));
  return stated.status;
}

test("a good request has one answer", async () => {
  for (const value of [
    { events, now },
    { events: [], now },
    { events: events.toReversed(), now, member: "m", features: true, returnState: true },
    { state, now },
    { state, events: [event], now, returnState: true },
    { events: [{ ...event, item: 5, time: new Date(event.time).toISOString() }], now },
    { events: [{ ...event, amount: undefined, amount_minor: 100 }], now },
    { members: [{ events }, { state }, { events: [{ ...event, kind: "stolen" }] }], now },
  ]) {
    assert.equal(await both(value), 200);
  }
  for (const query of ["?features=true", "?features=false&returnState=true"]) {
    assert.equal(await both({ events, now, features: true }, { query }), 200);
  }
});

test("a wrong request has one answer", async () => {
  for (const [value, status] of [
    ["{", 400],
    [{ events: {} }, 400],
    ['{"events":[],"events":[]}', 400],
    [`{"events":[{"kind":"view","time":${now},"time":${now}}]}`, 400],
    [`{"members":[{"events":[],"now":${now},"now":${now}}]}`, 400],
    [{ events: [{ ...event, kind: "stolen" }], now }, 422],
    [{ events: [{ ...event, amuont: 1 }], now }, 422],
    [{ events: [], now: -1 }, 422],
    [{ state: "%%%", now }, 422],
    [{ state: state.slice(4), now }, 422],
  ]) {
    assert.equal(await both(value), status);
  }
  assert.equal(await both({ events, now }, { query: "?features=maybe" }), 400);
});

test("an empty header is none", async () => {
  assert.equal(await both({ events, now }, { headers: { "content-encoding": "" } }), 200);
  assert.equal(await both({ events, now }, { headers: { origin: "" } }), 200);
  assert.equal(await both({ events, now }, { headers: { "content-type": "" } }), 415);
  assert.equal(await both({ events, now }, { headers: { authorization: "" } }), 401);
});
