// Seeded garbage through every entry: a refusal is fine, a stopped engine or a changed member is not.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { Scorer, TiercastError } from "tiercast";
import { BUNDLE, DECIDE_BUNDLE, household } from "../support/fixtures.js";

const NAMES = ["kind", "time", "id", "amount", "amountMinor", "discount", "quantity", "item", "category", "order", "x"];
const VALUES = [
  undefined,
  null,
  true,
  0,
  -0,
  -1,
  1,
  1.5,
  NaN,
  Infinity,
  -Infinity,
  2 ** 31,
  2 ** 53,
  2 ** 63,
  1e308,
  5e-324,
  10n ** 30n,
  -1n,
  "",
  "0",
  "1e5",
  "-0.00",
  "\u0000",
  "\ud800",
  "é".repeat(200),
  "purchase",
  "2017-01-01",
  [],
  {},
  [[]],
  new Date(0),
  new Date(NaN),
  Symbol("s"),
  () => 1,
  new Map(),
  new Uint8Array(3),
];

function generator(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Runs a call; its refusal must be coded and must not be a defect. */
function refusal(call, about) {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof TiercastError && error.code !== "internal", `${about}: ${error}`);
    return error.code;
  }
}

let scorer;
let bundle;
before(async () => {
  bundle = new Uint8Array(await readFile(BUNDLE));
  scorer = await Scorer.load(bundle);
});

test("garbage events", () => {
  const pick = generator(1);
  const member = scorer.member(household(1, 30));
  for (let round = 0; round < 4000; round++) {
    const event = { kind: "purchase", time: 1.5e12 + round };
    for (let change = pick(4); change >= 0; change--) event[NAMES[pick(NAMES.length)]] = VALUES[pick(VALUES.length)];
    const before = round % 16 === 0 ? member.saveState() : undefined;
    const refused = refusal(() => member.observe(event), `round ${round}`);
    if (refused && before) assert.deepEqual(member.saveState(), before);
  }
  assert.ok(member.assess(4e12).tier >= 1);
});

test("garbage moments and rows", () => {
  const member = scorer.member();
  for (const value of VALUES) {
    if (typeof value !== "symbol") refusal(() => member.assess(value), String(value));
    refusal(() => scorer.scoreBatch(value), "rows");
    refusal(() => scorer.restoreState(value), "state");
  }
  const width = scorer.info.features.length;
  for (const value of [NaN, Infinity, -Infinity, 3.4e38, -3.4e38, 1e-45]) {
    const scores = scorer.scoreBatch(new Float32Array(width).fill(value));
    assert.ok(
      scores.every((p) => p >= 0 && p <= 1),
      `rows of ${value}`,
    );
  }
});

test("bundles and states with bytes changed, cut and repeated", async () => {
  const pick = generator(2);
  const state = scorer.member(household(2, 40)).saveState();
  for (let round = 0; round < 1500; round++) {
    for (const original of [bundle, state]) {
      const bytes = original.slice(0, pick(8) ? original.length : pick(original.length));
      for (let change = pick(3); change >= 0; change--) bytes[pick(bytes.length)] = pick(256);
      if (original === state) refusal(() => scorer.restoreState(bytes).assess(4e12), `state, round ${round}`);
      else if (round < 300) {
        const outcome = await Scorer.load(bytes).then(
          (loaded) => loaded.dispose(),
          (error) => error,
        );
        assert.ok(
          outcome === undefined || (outcome instanceof TiercastError && outcome.code !== "internal"),
          String(outcome),
        );
      }
    }
  }
});

test("garbage options of decisions and points", async () => {
  const pick = generator(3);
  const deciding = await Scorer.load(await readFile(DECIDE_BUNDLE));
  const member = deciding.member([{ kind: "purchase", time: 1.5e12, amount: 500 }]);
  const at = 1.5e12 + 1;
  const opening = member.points({ now: at });
  const calls = {
    reward: { member: "m", now: at, given: 10, exclude: ["none"], reasons: 2 },
    assign: { member: "m", now: at, current: 2 },
    points: { now: at + 1, redemptions: [{ at: at + 1, points: 5 }], opening },
    earn: { tier: 1, earnedToday: 5 },
  };
  const event = { kind: "purchase", time: at, amount: 5 };
  const ask = (name, options) => (name === "earn" ? deciding.earn(event, options) : member[name](options));
  const good = Object.entries(calls).map(([name, options]) => ask(name, options));
  let answered = 0;
  for (let round = 0; round < 4000; round++) {
    const [name, options] = Object.entries(calls)[pick(4)];
    const changed = structuredClone(options);
    const holder = [changed, changed.opening, changed.redemptions?.[0]].filter(Boolean)[pick(changed.opening ? 3 : 1)];
    const keys = [...Object.keys(holder), "x"];
    // A moment that is no number is JavaScript's to refuse.
    const key = keys.filter((key) => key !== "now")[pick(keys.length - Number("now" in holder))];
    holder[key] = VALUES[pick(VALUES.length)];
    const refused = refusal(() => ask(name, changed), `round ${round}: ${name}`);
    answered += Number(refused === undefined);
  }
  assert.ok(answered > 100 && answered < 3900, `${answered} were answered`);
  assert.deepEqual(Object.entries(calls).map(([name, options]) => ask(name, options)), good);
});
