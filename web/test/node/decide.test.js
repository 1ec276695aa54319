// Which offer and which tier of service a member gets: as the bundle's vectors say, the same whoever asks, within what is allowed.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { Scorer } from "tiercast";
import { withSection } from "../../../edge-worker/tests/support/bundle.js";
import { BUNDLE, DECIDE_BUNDLE } from "../support/fixtures.js";
import { contentOf } from "../support/sections.js";

const DAY = 86_400_000;
const NOW = Date.UTC(2024, 6, 1);

let bundle;
let vectors;
let scorer;

before(async () => {
  bundle = await readFile(DECIDE_BUNDLE);
  vectors = contentOf(bundle, "vectors");
  scorer = await Scorer.load(bundle);
});

/** A member whose offer is far from certain, so that draws differ. */
const undecided = (from = scorer) => from.member(vectors.find(({ name }) => name === "one very large").events);
const names = Array.from({ length: 400 }, (_, i) => `member ${i}`);
const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);

test("a bundle proves its decisions, and notices others", async () => {
  assert.ok(vectors.every(({ decisions }) => decisions.length === 2));
  assert.equal(scorer.prove(), vectors.length);
  const changes = [
    ({ decisions }) => (decisions[0].propensity -= 1e-6),
    ({ decisions }) => (decisions[1].action = "400 points"),
    ({ decisions }) => decisions.reverse(),
    ({ decisions }) => decisions.pop(),
    (vector) => delete vector.decisions,
  ];
  for (const change of changes) {
    const [first, ...rest] = structuredClone(vectors);
    change(first);
    const other = await Scorer.load(withSection(bundle, "vectors", Buffer.from(JSON.stringify([first, ...rest]))));
    assert.throws(() => other.prove(), { code: "model_failed" }, String(change));
  }
  const none = withSection(bundle, "vectors", Buffer.from(JSON.stringify([{ ...vectors[0], decisions: "none" }])));
  await assert.rejects(async () => (await Scorer.load(none)).prove(), { code: "bundle_section" });
});

test("a decision is the vectors', with the bundle that took it", () => {
  for (const { name, events, now, decisions } of vectors) {
    const member = scorer.member(events);
    const found = [member.assign({ member: name, now }), member.reward({ member: name, now: new Date(now) })];
    assert.deepEqual(found.map((decision) => ({ ...decision, bundle: "" })), decisions, name);
    assert.ok(found.every((decision) => /^[0-9a-f]{16}$/.test(decision.bundle)));
  }
});

test("what there is to know of the policies is in the info", () => {
  const { assign, reward, tiers } = scorer.info;
  assert.deepEqual(assign.actions.map(({ name }) => name), tiers.map(({ name }) => name));
  assert.deepEqual([assign.period, reward.period, reward.cap], ["quarter", "month", 450]);
  assert.deepEqual(reward.actions.map(({ points }) => points).sort((a, b) => a - b), [0, 50, 100, 400]);
  for (const { evidence, explore } of [assign, reward]) {
    assert.ok(evidence.lower > evidence.incumbent && evidence.lower <= evidence.value && explore === 0.05);
  }
});

test("chances sum to 1, and the propensity is that of the action", () => {
  for (const { events, name, now } of vectors) {
    for (const task of ["assign", "reward"]) {
      const found = scorer.member(events)[task]({ member: name, now, reasons: 10 });
      const action = scorer.info[task].actions[found.index];
      assert.ok(Math.abs(sum(found.chances) - 1) < 1e-6, `${name}: ${found.chances}`);
      assert.deepEqual([found.propensity, found.action, found.points], [found.chances[found.index], action.name, action.points]);
      assert.ok(found.reasons.every(({ effect }, i) => effect > 0 && effect <= (found.reasons[i - 1]?.effect ?? Infinity)));
      assert.ok(found.reasons.every(({ feature }) => scorer.info.features.some(({ name }) => name === feature)));
    }
  }
});

test("the same member gets the same offer all through a period, also after a reload", async () => {
  const other = await Scorer.load(bundle);
  const member = undecided();
  const restored = other.restoreState(member.saveState());
  for (const name of names.slice(0, 20)) {
    const first = member.reward({ member: name, now: NOW });
    assert.deepEqual(restored.reward({ member: name, now: NOW }), first);
    assert.deepEqual(restored.reward({ member: name, now: NOW + 31 * DAY - 1 }), first);
    assert.equal([first.periodStart, first.periodEnd].join(), "2024-07-01,2024-07-31");
  }
  const [name] = names;
  const before = member.reward({ member: name, now: NOW + DAY });
  member.observe({ kind: "purchase", time: NOW + 3_600_000, amount: "900.00" });
  assert.deepEqual(member.reward({ member: name, now: NOW + DAY }), before, "what is bought in the period changes nothing");
  const next = names.map((name) => member.reward({ member: name, now: NOW + 31 * DAY }).action);
  assert.ok(new Set(next).size > 1);
});

test("draws follow the chances", () => {
  const member = undecided();
  const found = names.map((name) => member.reward({ member: name, now: NOW, reasons: 0 }));
  const { chances, reasons } = found[0];
  assert.equal(reasons.length, 0);
  for (const [index, chance] of chances.entries()) {
    const share = found.filter((one) => one.index === index).length / names.length;
    // Four standard deviations.
    assert.ok(Math.abs(share - chance) < 4 * Math.sqrt((chance * (1 - chance)) / names.length), `${share} of ${chance}`);
  }
});

test("what was given counts against the cap, and what is excluded is out", () => {
  const member = undecided();
  const [hundred, fourHundred, fifty, none] = [0, 1, 2, 3];
  const chances = (options) => member.reward({ member: "m", now: NOW, ...options }).chances;
  const out = (options) => [...chances(options).keys()].filter((index) => chances(options)[index] === 0);
  assert.deepEqual(out({ given: 50 }), []);
  assert.deepEqual(out({ given: 51 }), [fourHundred]);
  assert.deepEqual(out({ given: 351 }), [hundred, fourHundred]);
  assert.deepEqual(out({ given: 401 }), [hundred, fourHundred, fifty]);
  const spent = member.reward({ member: "m", now: NOW, given: 2 ** 53 });
  assert.deepEqual([spent.action, spent.points, spent.propensity], ["none", 0, 1]);
  assert.deepEqual(out({ exclude: ["none", "50 points"] }), [fifty, none]);
  assert.ok(Math.abs(sum(chances({ exclude: ["none"] })) - 1) < 1e-6);
  const all = scorer.info.reward.actions.map(({ name }) => name);
  assert.throws(() => chances({ exclude: all }), { code: "invalid_input", message: /no action is left/ });
  assert.throws(() => chances({ given: 450, exclude: ["none"] }), { code: "invalid_input" });
});

test("nobody is assigned a tier below what the rules promise", () => {
  for (const { events, name, now, points } of vectors) {
    const { index, chances } = scorer.member(events).assign({ member: name, now });
    assert.ok(index + 1 >= points.tier && chances.slice(0, points.tier - 1).every((chance) => chance === 0), name);
  }
  const promised = vectors.find(({ points }) => points.tier === 3);
  const held = scorer.member(promised.events).assign({ member: "m", now: promised.now, exclude: ["Gold", "Platinum"] });
  assert.equal(held.action, "Silver");
});

test("a decision changes nothing", () => {
  const member = undecided();
  const before = member.saveState();
  member.reward({ member: "m", now: NOW });
  member.assign({ member: "m", now: NOW });
  assert.deepEqual(member.saveState(), before);
});

test("options that are none are refused, by a code", () => {
  const member = undecided();
  const refused = [
    {}, { member: "" }, { member: "m".repeat(257) }, { member: 5 }, { member: null }, { member: "m", mebmer: "m" },
    { member: "m", given: -1 }, { member: "m", given: 1.5 }, { member: "m", given: Number.NaN }, { member: "m", given: "5" },
    { member: "m", given: 5n }, { member: "m", exclude: "none" }, { member: "m", exclude: ["nothing"] },
    { member: "m", current: 0 }, { member: "m", current: 6 }, { member: "m", reasons: 11 }, { member: "m", reasons: -1 },
    undefined, null, 7, [], ["m", 0], "m",
  ];
  for (const task of ["assign", "reward"]) {
    for (const options of refused) {
      const asked = options && typeof options === "object" && !Array.isArray(options) ? { ...options, now: NOW } : options;
      assert.throws(() => member[task](asked), { name: "TiercastError", code: "invalid_input" }, String(options));
    }
    for (const now of [0.5, Number.NaN, new Date(Number.NaN), -1e15]) {
      assert.throws(() => member[task]({ member: "m", now }), { code: "invalid_time" }, String(now));
    }
  }
  const other = scorer.member();
  other.dispose();
  assert.throws(() => other.reward({ member: "m" }), { code: "disposed" });
});

test("a bundle without policies says so", async () => {
  const other = await Scorer.load(await readFile(BUNDLE));
  assert.deepEqual([other.info.assign, other.info.reward], [undefined, undefined]);
  for (const task of ["assign", "reward"]) {
    assert.throws(() => other.member()[task]({ member: "m" }), { code: /invalid_input|unsupported_model/ });
  }
});
