// Wrong input: each mistake has its code, alone and inside a batch.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { sample, start } from "./support/worker.js";

const { bundle, events, now } = sample();
const event = { kind: "purchase", time: now - 86_400_000, amount: "1.00" };
const code = (answer) => [answer.status, answer.json?.error?.code];

let worker;
before(async () => {
  worker = await start({ bundle });
});
after(() => worker.stop());

test("what is not JSON", async () => {
  const numbers = ['{"events":[NaN]}', '{"events":[],"now":Infinity}', '{"events":[1e999]}'];
  const notUtf8 = Buffer.from('{"member":"\xff","events":[]}', "latin1");
  const broken = ["", "{", "nonsense", "{'events':[]}", '{"events":[]} 1', "\u0000"];
  for (const body of [...broken, ...numbers, notUtf8]) {
    assert.deepEqual(code(await worker.score(body)), [400, "malformed_json"], body);
  }
});

test("what is JSON but no request", async () => {
  const whole = [null, 7, "text", [], {}, [0, false, false, false, null, "m", [], null]];
  const misspelt = { events: [], event: [] };
  const fields = [{ now }, { events: {} }, misspelt, { state: 7 }, { members: {} }, { members: [], state: "" }];
  const ids = [7, "", "x".repeat(257)].map((member) => ({ events: [], member }));
  const options = [{ now: true }, { features: 1 }, { returnState: "true" }].map((option) => ({ events: [], ...option }));
  for (const body of [...whole, ...fields, ...ids, ...options]) {
    assert.deepEqual(code(await worker.score(JSON.stringify(body))), [400, "invalid_request"], JSON.stringify(body));
  }
});

test("media types, codings and queries", async () => {
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data"]) {
    const answer = await worker.score({ events, now }, { headers: { "content-type": type } });
    assert.deepEqual(code(answer), [415, "unsupported_media_type"], type);
  }
  const utf8 = await worker.score({ events, now }, { headers: { "content-type": "application/json; charset=utf-8" } });
  assert.equal(utf8.status, 200);
  const gzip = await worker.score({ events, now }, { headers: { "content-encoding": "gzip" } });
  assert.deepEqual(code(gzip), [415, "unsupported_encoding"]);
  assert.deepEqual(code(await worker.score({ events, now }, { query: "?feature=true" })), [400, "invalid_query"]);
  assert.deepEqual(code(await worker.score({ events, now }, { query: "?features=maybe" })), [400, "invalid_query"]);
});

const mistakes = [
  ["an unknown kind", { kind: "stolen" }, "unknown_kind"],
  ["an empty kind", { kind: "" }, "unknown_kind"],
  ["a kind of another type", { kind: 7 }, "invalid_event"],
  ["a list in place of its fields", [null, "purchase", now], "invalid_event"],
  ["a misspelt field", { amuont: 1 }, "invalid_event"],
  ["an amount that is a list", { amount: [1] }, "invalid_event"],
  ["an amount that is true", { amount: true }, "invalid_event"],
  ["a NaN amount", { amount: "NaN" }, "invalid_amount"],
  ["an infinite amount", { amount: "Infinity" }, "invalid_amount"],
  ["a negative amount", { amount: -1 }, "invalid_amount"],
  ["an enormous amount", { amount: 1e300 }, "invalid_amount"],
  ["an amount in exponents", { amount: "1e3" }, "invalid_amount"],
  ["an amount given twice", { amountMinor: 100 }, "invalid_amount"],
  ["a negative discount", { discount: "-1" }, "invalid_amount"],
  ["a time before 1970", { time: -1 }, "invalid_time"],
  ["a time in the year 200000", { time: 6e15 }, "invalid_time"],
  ["a time of 1e300", { time: 1e300 }, "invalid_time"],
  ["a fraction of a millisecond", { time: 1.5 }, "invalid_time"],
  ["a day that does not exist", { time: "2017-02-30" }, "invalid_time"],
  ["a time in words", { time: "yesterday" }, "invalid_time"],
  ["no time", { time: undefined }, "invalid_event"],
  ["a negative quantity", { quantity: -1 }, "invalid_quantity"],
  ["a huge quantity", { quantity: 1e12 }, "invalid_quantity"],
  ["an empty item", { item: "" }, "invalid_text"],
  ["an item that is a list", { item: ["a"] }, "invalid_event"],
  ["an item of 257 bytes", { item: "x".repeat(257) }, "invalid_text"],
];

const wrong = (change) => (Array.isArray(change) ? change : { ...event, ...change });

for (const [what, change, expected] of mistakes) {
  test(`${what} is ${expected}`, async () => {
    const answer = await worker.score({ events: [event, wrong(change)], now });
    assert.deepEqual(code(answer), [422, expected]);
    assert.match(answer.json.error.message, /^event 1: /);
  });
}

test("a time to score at that is none", async () => {
  for (const bad of [-1, 6e15, 1.5, "soon", "", "2017-13-01"]) {
    assert.deepEqual(code(await worker.score({ events, now: bad })), [422, "invalid_time"], String(bad));
    assert.deepEqual(code(await worker.score({ members: [{ events }], now: bad })), [422, "invalid_time"]);
  }
});

test("a batch scores the members that it can", async () => {
  const bad = mistakes.map(([member, change]) => ({ member, events: [wrong(change)] }));
  const members = bad.flatMap((member) => [member, { member: "good", events }]);
  members.push(7, null, { member: "odd", event: [] }, { events, now: "never" }, { state: "%%%" });
  const { status, json } = await worker.score({ members, now });
  assert.equal(status, 200);
  const codes = json.results.map((result) => result.error?.code ?? "scored");
  const expected = mistakes.flatMap(([, , problem]) => [problem, "scored"]);
  assert.deepEqual(codes, [...expected, "invalid_request", "invalid_request", "invalid_request", "invalid_time", "invalid_state"]);
  assert.equal(json.results.at(-3).member, "odd", "a refused member is named");
  const alone = (await worker.score({ events, now, member: "good" })).json;
  for (const result of json.results.filter((r) => r.member === "good")) assert.deepEqual(result, alone);
});

test("a key given twice refuses the whole body, also one with a bad event, and is not quoted at length", async () => {
  const key = "k".repeat(100_000);
  const twice = `{"members":[{"member":"good","events":[]},{"member":"odd","events":[{"${key}":1,"${key}":2}]}]}`;
  const answer = await worker.score(twice);
  assert.deepEqual(code(answer), [400, "invalid_request"]);
  assert.ok(answer.text.length < 500, answer.text.slice(0, 500));
});

test("an answer never repeats what it was not asked for", async () => {
  const { json } = await worker.score({ events, now });
  assert.deepEqual(["member", "features", "state"].filter((key) => key in json), []);
  const asked = (await worker.score({ events, now, member: "m" }, { query: "?features=true&returnState=true" })).json;
  assert.ok(asked.features.length > 0 && asked.state.length > 0 && asked.member === "m");
  const query = (await worker.score({ events, now, features: true }, { query: "?features=false" })).json;
  assert.equal("features" in query, false, "the query goes before the body");
});

test("without `now`, the moment is the request's", async () => {
  const { json } = await worker.score({ events });
  assert.ok(Math.abs(json.now - Date.now()) < 60_000);
});
