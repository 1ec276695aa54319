// How likely what a member just did is fraud: as the bundle's vectors say, by what was known at that moment.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { Scorer } from "tiercast";
import { withSection } from "../../../edge-worker/tests/support/bundle.js";
import { BUNDLE, RISK_BUNDLE } from "../support/fixtures.js";
import { contentOf } from "../support/sections.js";

let bundle;
let vectors;
let scorer;

before(async () => {
  bundle = await readFile(RISK_BUNDLE);
  vectors = contentOf(bundle, "vectors");
  scorer = await Scorer.load(bundle);
});

test("a bundle proves what it thinks, and notices another opinion", async () => {
  assert.equal(scorer.prove(), vectors.length);
  const changes = [
    ({ risk }) => (risk.probability += 1e-6),
    ({ risk }) => (risk.alert = !risk.alert),
    ({ risk }) => risk.rules.push("another"),
    ({ risk }) => risk.reasons.pop(),
    (vector) => delete vector.risk,
  ];
  const at = vectors.findIndex(({ risk }) => risk.reasons.length > 0);
  for (const change of changes) {
    const others = structuredClone(vectors);
    change(others[at]);
    const other = await Scorer.load(withSection(bundle, "vectors", Buffer.from(JSON.stringify(others))));
    assert.throws(() => other.prove(), { code: "model_failed" }, String(change));
  }
});

test("an opinion is the vectors', with the bundle that has it", () => {
  for (const { name, events, now, risk } of vectors) {
    const found = scorer.member(events).risk({}, new Date(now));
    assert.match(found.bundle, /^[0-9a-f]{16}$/);
    assert.deepEqual({ ...found, bundle: "" }, risk, name);
    assert.equal(found.alert, found.probability >= scorer.info.risk.threshold || found.rules.length > 0);
  }
});

test("what there is to know of the model is in the info", () => {
  const { each, threshold, rules, evidence } = scorer.info.risk;
  assert.deepEqual([each, rules.map(({ when }) => when)], [["purchase"], ["device_known <= 0.1 and speed_last >= 300"]]);
  assert.ok(threshold > 0 && threshold <= 1);
  assert.ok(evidence.frauds > 0 && evidence.averagePrecision > evidence.frauds / evidence.rows);
});

/** An ordinary customer of many months, at home, up to `now`. */
function customer(now) {
  const home = { device: "phone", ip: "203.0.113.7", latitude: 40.71, longitude: -74.01, deviceMembers: 1 };
  const order = (week) => ({
    ...home, kind: "purchase", id: `o${week}`, order: `o${week}`, time: now - week * 7 * 86_400_000,
    amount: 20 + (week % 5), card: "own", address: "home", item: `i${week % 7}`, category: "grocery", channel: "web",
  });
  return Array.from({ length: 40 }, (_, week) => order(week + 1));
}

test("a stranger's order on a customer's account is riskier than the customer's own, and a rule holds", () => {
  const now = Date.UTC(2024, 5, 4, 12);
  const member = scorer.member(customer(now));
  const next = { kind: "purchase", id: "next", order: "next", time: now, amount: 21, category: "grocery", item: "i1", channel: "web" };
  const own = { ...next, device: "phone", ip: "203.0.113.9", latitude: 40.71, longitude: -74.01, deviceMembers: 1, card: "own", address: "home" };
  const stranger = { ...next, amount: 310, category: "electronics", device: "other", ip: "198.51.100.7", latitude: 51.51, longitude: -0.13, deviceMembers: 1, card: "new", address: "elsewhere" };
  const before = { kind: "session", time: now - 3_600_000, device: "phone", ip: "203.0.113.9", latitude: 40.71, longitude: -74.01, channel: "web" };
  const after = (...events) => scorer.member([...customer(now), ...events]).risk({ reasons: 10 }, now);
  const [honest, fraud] = [after(before, own), after(before, stranger)];
  assert.ok(fraud.probability > 3 * honest.probability, `${fraud.probability} ${honest.probability}`);
  assert.deepEqual([honest.rules, fraud.rules, fraud.alert], [[], ["new and far away"], true]);
  assert.ok(fraud.reasons.length > 0 && fraud.reasons.every(({ effect }) => effect > 0));
  assert.deepEqual(member.risk({ reasons: 0 }, now).reasons, []);
});

test("what cannot be is refused by its name", async () => {
  const member = scorer.member(vectors[2].events);
  for (const options of [{ reasons: 11 }, { reasons: -1 }, { reason: 1 }, { reasons: 1.5 }]) {
    assert.throws(() => member.risk(options, vectors[2].now), { code: "invalid_input" }, JSON.stringify(options));
  }
  assert.throws(() => member.risk({}, Number.NaN), { code: "invalid_time" });
  const other = await Scorer.load(await readFile(BUNDLE));
  assert.equal(other.info.risk, undefined);
  assert.throws(() => other.member([]).risk(), { code: /invalid_input|unsupported_model/ });
});
