// Mutated bodies, from a seed: each gets an answer that openapi.json describes, none makes the worker fail, and a
// good request afterwards is answered as before.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { contentOf } from "../../web/test/support/sections.js";
import { forged } from "./support/state.js";
import { KEYS, root, sample, start } from "./support/worker.js";

const SEED = Number(process.env.TIERCAST_FUZZ_SEED ?? 20171001);
const RUNS = Number(process.env.TIERCAST_FUZZ_RUNS ?? 500);
const MEMBER_RUNS = Number(process.env.TIERCAST_FUZZ_MEMBER_RUNS ?? 5000);
const { bundle, events, now } = sample();

const deciding = readFileSync(join(root, "tests", "fixtures", "decide.tcb"));

let worker;
let decider;
before(async () => {
  [worker, decider] = await Promise.all([start({ bundle, vars: KEYS }), start({ bundle: deciding })]);
});
after(() => Promise.all([worker.stop(), decider.stop()]));

/** Marsaglia's xorshift32: the same bodies for the same seed, everywhere. */
function generator(seed) {
  let x = seed | 0 || 1;
  const next = () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
  return { below: (n) => Math.floor(next() * n), of: (list) => list[Math.floor(next() * list.length)] };
}

const NUMBERS = [0, -0, -1, 1.5, 1e308, -1e308, 2 ** 53, 2 ** 63, now];
const TEXTS = ["", "0", "NaN", "9".repeat(400), "\u0000", "\u{1f600}".repeat(70), "2199-12-31T23:59:59.999Z", "1970-01-01", "data"];
const ODD = [null, true, false, ...NUMBERS, ...TEXTS, [], {}, [[]], { kind: {} }];

/** Every place in a value where something can be changed: its holder and the key. */
function places(value, found = []) {
  if (value === null || typeof value !== "object") return found;
  for (const key of Object.keys(value)) {
    found.push([value, key]);
    places(value[key], found);
  }
  return found;
}

const structural = [
  (random, holder, key) => {
    holder[key] = structuredClone(random.of(ODD));
  },
  (random, holder, key) => {
    if (Array.isArray(holder)) holder.splice(Number(key), 1);
    else delete holder[key];
  },
  (random, holder, key) => {
    if (Array.isArray(holder)) holder.push(...Array.from({ length: random.below(40) }, () => structuredClone(holder[key])));
    else holder[`${key}_`] = holder[key];
  },
  (random, holder, key) => {
    if (typeof holder[key] === "number") holder[key] *= random.of([-1, 0, 0.1, 1000, 1e15, 1e300]);
    // Twice what a body may have is enough: a text can be chosen again.
    if (typeof holder[key] === "string") holder[key] = holder[key].repeat(Math.min(random.below(400), (2 << 20) / (holder[key].length + 1)));
  },
];

function mutated(random, bodies) {
  const body = structuredClone(random.of(bodies));
  for (let i = random.below(4); i >= 0; i -= 1) {
    const all = places(body);
    if (all.length > 0) random.of(structural)(random, ...random.of(all));
  }
  const text = Buffer.from(JSON.stringify(body));
  for (let i = random.below(3) - 1; i > 0 && text.length > 0; i -= 1) text[random.below(text.length)] = random.below(256);
  return random.below(10) === 0 ? text.subarray(0, random.below(text.length + 1)) : text;
}

test(`${RUNS} mutated bodies from seed ${SEED}`, async () => {
  const random = generator(SEED);
  const few = events.slice(0, 6);
  const plain = { now, events: few, features: true, returnState: true };
  const { json: expected } = await worker.score(plain);
  const flip = (bytes) => {
    for (let i = random.below(4); i >= 0; i -= 1) bytes[4 + random.below(bytes.length - 4)] ^= 1 << random.below(8);
  };
  const statuses = new Map();
  for (let run = 0; run < RUNS; run += 1) {
    const state = random.below(2) ? expected.state : forged(expected.state, flip);
    const members = [{ member: "a", events: few }, { member: "b", state }];
    const bodies = [plain, { now, state, events: few }, { now, members }, { now, state, features: true }];
    const body = mutated(random, bodies);
    const answer = await worker.score(body);
    const what = `run ${run}: ${answer.status} for ${body.toString().slice(0, 400)}`;
    assert.ok([200, 400, 413, 422].includes(answer.status), what);
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
  }
  assert.deepEqual((await worker.score(plain)).json, expected, "a good request is answered as before");
  console.log(`fuzz: ${[...statuses].sort().map(([status, n]) => `${n} × ${status}`).join(", ")}`);
  for (const status of [200, 400, 422]) {
    assert.ok(statuses.get(status) > RUNS / 50, `hardly any ${status}: the mutations are one-sided`);
  }
});

test(`${RUNS} mutated bodies for decisions and points from seed ${SEED}`, async () => {
  const random = generator(SEED);
  const [vector] = contentOf(deciding, "vectors").filter(({ points }) => points.balance > 100);
  const ask = (route, body) => {
    return decider.fetch(`/v1/${route}`, { method: "POST", headers: { "content-type": "application/json" }, body });
  };
  const opening = vector.points;
  const known = { member: "m", now: vector.now, events: vector.events.slice(-6) };
  const decide = { ...known, options: { given: 10, exclude: [], reasons: 2 } };
  const count = { ...known, now: vector.now + 1, options: { redemptions: [{ at: vector.now + 1, points: 5 }], opening } };
  const bodies = {
    reward: [decide, { now: vector.now, members: [decide, known].map(({ now, ...member }) => member), options: { given: 400 } }],
    assign: [{ ...decide, options: { current: 2, exclude: ["Gold"] } }, known],
    points: [count, { now: count.now, members: [count].map(({ now, ...member }) => member), options: { opening } }],
  };
  const routes = Object.keys(bodies);
  const good = async () => Promise.all(routes.map(async (route) => (await ask(route, JSON.stringify(bodies[route][0]))).json));
  const expected = await good();
  assert.ok(expected[0].decision && expected[1].decision && expected[2].points, JSON.stringify(expected));
  const statuses = new Map();
  for (let run = 0; run < RUNS; run += 1) {
    const route = random.of(routes);
    const body = mutated(random, bodies[route]);
    const answer = await ask(route, body);
    assert.ok([200, 400, 413, 422].includes(answer.status), `run ${run}: ${answer.status} for ${body.toString().slice(0, 400)}`);
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
  }
  assert.deepEqual(await good(), expected, "good requests are answered as before");
  console.log(`fuzz: ${[...statuses].sort().map(([status, n]) => `${n} × ${status}`).join(", ")}`);
  for (const status of [200, 400, 422]) {
    assert.ok(statuses.get(status) > RUNS / 50, `hardly any ${status}: the mutations are one-sided`);
  }
});

test(`${MEMBER_RUNS} hostile requests to stored members from seed ${SEED}`, async () => {
  const random = generator(SEED);
  const known = events.slice(0, 6).map((event, i) => ({ ...event, id: `event-${i}` }));
  await worker.observe("victim", known);
  const { json: before } = await worker.member("GET", "victim");
  const news = known.map((event, i) => ({ ...event, id: `news-${i}` }));
  const paths = ["victim", "Victim", "victim%00", "%76ictim%2F", "..%2Fvictim", "victim/", "/victim", "victim%2Fevents", "", "%", "%ff", "a".repeat(300), "victim/../victim2", "%2e%2e/victim", "victim;x", "victim%0A", "victim%0d%0aX:1"];
  const rests = ["", "/events", "/assessment", "/state", "/state/", "/audit", "/events/..", "/%65vents", "//"];
  const queries = ["", "?", "?now=0", "?now=9e9", "?now=%00", "?features=true", "?returnState=true", "?now=2199-12-31&now=x", "?who=00", `?${"a".repeat(5000)}`];
  const bodies = [{ events: news }, { events: [known[0], news[1]] }, { state: before.state }, { events: known }, { events: [{ ...news[0], id: null }] }, {}];
  const routes = [["POST", "/events"], ["PUT", "/state"], ["GET", "/assessment"], ["GET", ""], ["DELETE", ""]];
  const members = ["victim", "Victim", "victim%00", "%76ictim%2F", "..%2Fvictim", "victim;x", "other"];
  // The one that may write would change the victim, rightly: it is sent to others.
  const good = (method, path, rest) => path.includes("ictim") && ((method === "POST" && rest === "/events") || method === "DELETE");
  const statuses = new Map();
  for (let run = 0; run < MEMBER_RUNS; run += 1) {
    let method = random.of(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]);
    let [path, rest] = [random.of(paths), random.of(rests)];
    let query = random.of(queries);
    // Half of them are for a member and by a route that exist, or else hardly any would get as far as a history.
    if (random.below(2)) [path, [method, rest], query] = [random.of(members), random.of(routes), random.of([query, ""])];
    if (good(method, path, rest)) path = random.of(["Victim", "other", "victim%00"]);
    const auth = random.below(10) > 0;
    const headers = random.below(8) ? { "content-type": "application/json" } : {};
    if (random.below(6) === 0) headers.authorization = random.of(["Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer ey.ey.ey", `Bearer ey${"a".repeat(4000)}.b.c`, "Bearer \t"]);
    const body = ["POST", "PUT", "PATCH", "DELETE"].includes(method) ? random.of([mutated(random, bodies), JSON.stringify(random.of(bodies))]) : undefined;
    const what = `run ${run}: ${method} ${path}${rest}`;
    const answer = await worker.fetch(`/v1/members/${path}${rest}${query}`, { method, headers, auth, body });
    assert.ok(answer.status < 500, `${what}: ${answer.status} ${answer.text}`);
    if (!auth || headers.authorization) assert.ok([401, 404, 405].includes(answer.status), `${what}: ${answer.status}`);
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
  }
  const { audit: _, ...after } = (await worker.member("GET", "victim")).json;
  const { audit: __, ...expected } = before;
  assert.deepEqual(after, expected, "the member is as it was");
  console.log(`fuzz: ${[...statuses].sort().map(([status, n]) => `${n} × ${status}`).join(", ")}`);
  for (const status of [200, 204, 400, 401, 404, 405]) {
    assert.ok(statuses.get(status) > MEMBER_RUNS / 500, `hardly any ${status}: the requests are one-sided`);
  }
});
