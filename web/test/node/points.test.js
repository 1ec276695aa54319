// A member's points, against sums made by hand. The fixture: a point a dollar, by tier 100, 110, 125, 150 and 200 %, ten for a
// stamp, at most 500 a day, gone after 90 days, 100 of them a dollar, redeemed from 100 on, 15 % never.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { Scorer } from "tiercast";
import { withSection } from "../../../edge-worker/tests/support/bundle.js";
import { BUNDLE, DECIDE_BUNDLE } from "../support/fixtures.js";
import { contentOf } from "../support/sections.js";

const HOUR = 3_600_000;
const day = (text) => Date.parse(`${text}T12:00:00Z`);
const midnight = (text) => Date.parse(`${text}T00:00:00Z`);

const BEFORE = [
  { kind: "purchase", time: day("2024-01-10"), amount: "120.99" },
  { kind: "stamp", time: day("2024-01-20") },
  { kind: "return", time: day("2024-01-25"), amount: "20.50" },
];
// Bronze by the 100.49 of the quarter before: 110 %.
const AFTER = [{ kind: "purchase", time: day("2024-04-05"), amount: "10.00" }];

let bundle;
let scorer;

before(async () => {
  bundle = await readFile(DECIDE_BUNDLE);
  scorer = await Scorer.load(bundle);
});

test("an event earns by the rate, the tier, the bonuses and the caps", () => {
  const earns = [
    [{ amount: "12.99" }, { tier: 1 }, { points: 12, base: 12, bonus: 0, capped: 0 }],
    [{ amount: "10.00" }, { tier: 3 }, { points: 12, base: 10, bonus: 2, capped: 0 }],
    [{ amount: 300 }, { tier: 5 }, { points: 500, base: 300, bonus: 300, capped: 100 }],
    [{ amount: 300 }, { tier: 5, earnedToday: 450 }, { points: 50, base: 300, bonus: 300, capped: 550 }],
    [{ kind: "return", amount: "10.00" }, { tier: 2 }, { points: -11, base: -10, bonus: -1, capped: 0 }],
    [{ kind: "stamp" }, { tier: 5 }, { points: 10, base: 0, bonus: 10, capped: 0 }],
    [{ kind: "view" }, { tier: 5 }, { points: 0, base: 0, bonus: 0, capped: 0 }],
  ];
  for (const [event, options, earned] of earns) {
    const whole = { kind: "purchase", time: new Date(), ...event };
    assert.deepEqual(scorer.earn(whole, options), earned, JSON.stringify(event));
  }
});

test("a statement is what became of all points", () => {
  const member = scorer.member(BEFORE);
  const now = midnight("2024-02-01");
  const statement = {
    at: now,
    balance: 110, // 120 + 10 − 20
    earned: 130,
    redeemed: 0,
    expired: 0,
    reversed: 20,
    short: 0,
    // A return takes what was earned last: the stamp, and ten of the purchase.
    expiring: [{ at: midnight("2024-04-10"), points: 110 }],
    valueMinor: 110,
    redeemable: 110,
    liabilityMinor: 93, // ⌊110 · 85 %⌋
    breakage: 0,
    tier: 1,
    spendMinor: 10_049,
    earnedToday: 0,
  };
  assert.deepEqual(member.points({ now }), statement);
  assert.deepEqual(member.points({ now: new Date(now), redemptions: [] }), statement);
  const redeemed = { at: new Date(day("2024-01-30")), points: 100 };
  const { balance, redeemable, expiring } = member.points({ now, redemptions: [redeemed] });
  assert.deepEqual([balance, redeemable, expiring[0].points], [10, 0, 10]);
  assert.equal(member.points({ now: day("2024-01-29"), redemptions: [redeemed] }).balance, 110, "not yet redeemed");
  member.observe(AFTER);
  const later = member.points({ now: midnight("2024-04-10"), redemptions: [redeemed] });
  assert.deepEqual([later.balance, later.expired, later.tier, later.earned], [11, 10, 2, 141]);
  assert.equal(later.breakage, 90, "10 of 110, per mille");
});

test("a statement goes on from an earlier one, of which the events are not needed any more", () => {
  const now = midnight("2024-06-01");
  const redemptions = [{ at: day("2024-01-30"), points: 60 }, { at: day("2024-04-06"), points: 30 }];
  const whole = scorer.member([...BEFORE, ...AFTER]).points({ now, redemptions });
  for (const until of ["2024-02-01", "2024-01-25", "2024-04-05", "2024-05-01"]) {
    const opening = scorer.member([...BEFORE, ...AFTER]).points({ now: day(until), redemptions });
    const recent = scorer.member([...BEFORE, ...AFTER].filter(({ time }) => time > day(until)));
    assert.deepEqual(recent.points({ now, redemptions, opening }), whole, until);
  }
});

test("points outlive a history that is bounded, by statements", () => {
  const first = midnight("2024-03-01");
  const stamps = Array.from({ length: 300 }, (_, i) => ({ kind: "stamp", id: i, time: first + i * HOUR }));
  const member = scorer.member(stamps.slice(0, 200));
  const opening = member.points({ now: first + 199 * HOUR });
  assert.equal(opening.balance, 2000);
  member.observe(stamps.slice(200));
  const now = first + 300 * HOUR;
  assert.throws(() => member.points({ now }), { code: "too_late", message: /opening/ });
  assert.equal(member.points({ now, opening }).balance, 3000);
});

test("statements are the vectors', and other ones are noticed", async () => {
  const vectors = contentOf(bundle, "vectors");
  for (const { name, events, now, points } of vectors) assert.deepEqual(scorer.member(events).points({ now }), points, name);
  for (const change of [({ points }) => (points.balance += 1), (vector) => delete vector.points]) {
    const [first, ...rest] = structuredClone(vectors);
    change(first);
    const other = await Scorer.load(withSection(bundle, "vectors", Buffer.from(JSON.stringify([first, ...rest]))));
    assert.throws(() => other.prove(), { code: "model_failed" });
  }
});

test("what there is to know of the rules is in the info", () => {
  const { points } = scorer.info;
  assert.deepEqual(points.tiers, [100, 110, 125, 150, 200]);
  assert.deepEqual([points.points, points.perMinor, points.expiresDays, points.minRedeem], [1, 100, 90, 100]);
  assert.deepEqual([points.redeemPoints, points.redeemMinor, points.bonuses], [100, 100, ["a stamp"]]);
});

test("asking changes nothing", () => {
  const member = scorer.member(BEFORE);
  const before = member.saveState();
  member.points({ now: midnight("2025-01-01") });
  assert.deepEqual(member.saveState(), before);
});

test("what cannot be so is refused, by a code", () => {
  const member = scorer.member(BEFORE);
  const now = midnight("2024-02-01");
  const opening = member.points({ now });
  const at = day("2024-01-30");
  const refused = [
    { redemptions: [{ at, points: 111 }] },
    { redemptions: [{ at, points: 0 }] },
    { redemptions: [{ at: day("2024-01-09"), points: 1 }] },
    { redemptions: [{ at, points: 1.5 }] },
    { redemptions: [{ at: "2024-01-30", points: 1 }] },
    { redemptions: [{ at, points: 1, of: "them" }] },
    { redemptions: [[at, 1]] },
    { redemptions: at },
    { redemtions: [] },
    { opening: { ...opening, at: now + 1 } },
    { opening: { ...opening, balance: 111 } },
    { opening: { ...opening, tier: 6 } },
    { opening: {} },
    { opening: [now] },
    { opening: 7 },
  ];
  for (const options of refused) {
    assert.throws(() => member.points({ now, ...options }), { code: "invalid_input" }, JSON.stringify(options));
  }
  for (const options of [null, 7, [], "points"]) assert.throws(() => member.points(options), { code: "invalid_input" });
  const ring = [];
  ring.push(ring);
  assert.throws(() => member.points({ now, redemptions: ring }), { code: "invalid_input" });
  assert.throws(() => member.points({ now: 0.5 }), { code: "invalid_time" });
  const event = { kind: "purchase", time: now, amount: 1 };
  for (const options of [undefined, null, {}, { tier: 0 }, { tier: 6 }, { tier: 1.5 }, { tier: 1, today: 5 }, [1], 1]) {
    assert.throws(() => scorer.earn(event, options), { code: "invalid_input" }, JSON.stringify(options));
  }
  const events = [[{ ...event, kind: "nothing" }, "unknown_kind"], [{ ...event, amount: -1 }, "invalid_amount"], [null, "invalid_event"]];
  for (const [wrong, code] of events) assert.throws(() => scorer.earn(wrong, { tier: 1 }), { code });
});

test("a bundle without points says so", async () => {
  const other = await Scorer.load(await readFile(BUNDLE));
  assert.equal(other.info.points, undefined);
  assert.throws(() => other.member().points(), { code: /invalid_input|unsupported_model/ });
  const event = { kind: "purchase", time: 0, amount: 1 };
  assert.throws(() => other.earn(event, { tier: 1 }), { code: /invalid_input|unsupported_model/ });
});
