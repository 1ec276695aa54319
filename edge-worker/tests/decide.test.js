// Which tier of service and which offer a member gets, and the member's points, at the edge.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { contentOf } from "../../web/test/support/sections.js";
import { root, sample, start } from "./support/worker.js";

const bundle = readFileSync(join(root, "tests", "fixtures", "decide.tcb"));
const vectors = contentOf(bundle, "vectors");
const code = ({ status, json }) => [status, json?.error?.code];
const TASKS = ["assign", "reward"];

let worker;
before(async () => {
  worker = await start({ bundle });
});
after(() => worker.stop());

/** POST /v1/{route} with a value, or a text as it is. */
function ask(route, value, { query = "", from = worker } = {}) {
  const headers = { "content-type": "application/json" };
  const body = typeof value === "string" ? value : JSON.stringify(value);
  return from.fetch(`/v1/${route}${query}`, { method: "POST", headers, body });
}

test("the bundle proves itself, and says what it decides by", async () => {
  const health = await worker.fetch("/healthz");
  assert.deepEqual([health.status, health.json?.vectors], [200, vectors.length]);
  const { assign, reward, points } = (await worker.fetch("/v1/model")).json;
  assert.deepEqual([assign.period, reward.cap, points.expiresDays], ["quarter", 450, 90]);
  assert.ok(reward.evidence.lower > reward.evidence.incumbent);
});

test("decisions and points are the vectors': one member, and many", async () => {
  const members = vectors.map(({ name, events, now }) => ({ member: name, events, now }));
  for (const [at, task] of TASKS.entries()) {
    for (const [i, member] of members.entries()) {
      const { status, json } = await ask(task, member);
      assert.equal(status, 200);
      assert.deepEqual({ ...json.decision, bundle: "" }, vectors[i].decisions[at], member.member);
      assert.deepEqual(Object.keys(json), ["member", "now", "decision", "observed"]);
    }
    const { results } = (await ask(task, { members })).json;
    assert.deepEqual(results.map(({ decision }) => ({ ...decision, bundle: "" })), vectors.map(({ decisions }) => decisions[at]));
  }
  const { json } = await ask("points", members[3]);
  assert.deepEqual([json.points, Object.keys(json)], [vectors[3].points, ["member", "now", "points", "observed"]]);
  const { results } = (await ask("points", { members })).json;
  assert.deepEqual(results.map(({ points }) => points), vectors.map(({ points }) => points));
});

test("options are the call's, a member's own go before them, and a state stands for the events", async () => {
  const { name, events, now } = vectors.find(({ decisions }) => decisions[1].points === 50);
  const free = await ask("reward", { member: name, events, now, returnState: true, options: { given: 450, reasons: 0 } });
  assert.deepEqual([free.json.decision.action, free.json.decision.propensity, free.json.decision.reasons], ["none", 1, []]);
  const { state } = free.json;
  const members = [{ member: name, state }, { member: name, state, options: { exclude: ["none", "100 points", "400 points"] } }, { state }];
  const { results } = (await ask("reward", { now, members, options: { given: 450 } })).json;
  assert.deepEqual(results.map(({ decision, error }) => decision?.action ?? error.code), ["none", "50 points", "invalid_input"]);
  const again = await ask("reward", { member: name, state, now: now + 30 * 86_400_000 });
  const first = await ask("reward", { member: name, events, now });
  assert.deepEqual(again.json.decision, first.json.decision, "the same all through the period");
});

test("points go on from a statement, and are told with redemptions", async () => {
  const { events, now, points } = vectors.find(({ points }) => points.balance > 100);
  const redemptions = [{ at: now, points: 100 }];
  const redeemed = (await ask("points", { events, now, options: { redemptions } })).json.points;
  assert.deepEqual([redeemed.balance, redeemed.redeemed], [points.balance - 100, 100]);
  const later = now + 86_400_000;
  const onward = await ask("points", { events: [], now: later, options: { redemptions, opening: redeemed } });
  const whole = await ask("points", { events, now: later, options: { redemptions } });
  assert.deepEqual(onward.json.points, whole.json.points);
  const stamps = Array.from({ length: 300 }, (_, id) => ({ kind: "stamp", id: `${id}`, time: now + id * 3_600_000 }));
  const forgotten = await ask("points", { events: stamps, now: now + 300 * 3_600_000 });
  assert.deepEqual(code(forgotten), [422, "too_late"]);
  assert.match(forgotten.json.error.hint, /opening/);
});

test("what is no list of options is refused", async () => {
  const { name: member, events, now } = vectors[0];
  const asked = { member, events, now };
  const shapes = [{ gvien: 1 }, 3, [], { exclude: "none" }, { given: -1 }, { given: 1.5 }, { member }];
  for (const task of TASKS) {
    for (const options of shapes) {
      assert.deepEqual(code(await ask(task, { ...asked, options })), [400, "invalid_request"], JSON.stringify(options));
      assert.deepEqual(code(await ask(task, { members: [asked], options })), [400, "invalid_request"]);
      const { results } = (await ask(task, { members: [{ ...asked, options }, asked] })).json;
      assert.deepEqual(results.map(({ error }) => error?.code), ["invalid_request", undefined]);
    }
    for (const options of [{ exclude: ["nothing"] }, { current: 0 }, { current: 9 }, { reasons: 11 }]) {
      assert.deepEqual(code(await ask(task, { ...asked, options })), [422, "invalid_input"], JSON.stringify(options));
    }
    assert.deepEqual(code(await ask(task, { events, now })), [422, "invalid_input"], "a decision is for somebody");
    assert.deepEqual(code(await worker.fetch(`/v1/${task}`)), [405, "method_not_allowed"]);
  }
  for (const options of [{ redemptions: [[now, 1]] }, { redemptions: 1 }, { opening: [] }, { opening: {} }, { openings: null }]) {
    assert.deepEqual(code(await ask("points", { ...asked, options })), [400, "invalid_request"], JSON.stringify(options));
  }
  for (const points of [0, 1]) {
    const options = { redemptions: [{ at: now, points }] };
    assert.deepEqual(code(await ask("points", { ...asked, options })), [422, "invalid_input"], "there are none to redeem");
  }
  const twice = `{"member":"m","events":[],"options":{"given":1,"given":2}}`;
  assert.deepEqual(code(await ask("reward", twice)), [400, "invalid_request"]);
  for (const route of [...TASKS, "points"]) {
    assert.deepEqual(code(await ask(route, { ...asked, features: true })), [400, "invalid_request"]);
    assert.deepEqual(code(await ask(route, { ...asked, recommend: {} })), [400, "invalid_request"]);
    assert.deepEqual(code(await ask(route, asked, { query: "?profile" })), [400, "invalid_request"]);
  }
  assert.deepEqual(code(await worker.score({ ...asked, options: {} })), [400, "invalid_request"]);
  const { results } = (await worker.score({ members: [{ ...asked, options: {} }] })).json;
  assert.equal(results[0].error.code, "invalid_request");
});

test("a bundle without policies and points refuses, and says what to do", async () => {
  const { bundle, events, now } = sample();
  const other = await start({ bundle });
  try {
    for (const [route, refusal, hint] of [["assign", "no_policy", /bundle/], ["reward", "no_policy", /bundle/], ["points", "no_points", /\[points\]/]]) {
      const refused = await ask(route, { member: "m", events, now }, { from: other });
      assert.deepEqual(code(refused), [422, refusal]);
      assert.match(refused.json.error.hint, hint);
    }
    const model = (await other.fetch("/v1/model")).json;
    assert.ok(["assign", "reward", "points"].every((key) => !(key in model)));
  } finally {
    await other.stop();
  }
});
