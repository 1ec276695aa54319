import assert from "node:assert/strict";
import { before, test } from "node:test";
import { Scorer } from "tiercast";
import { BUNDLE, household } from "../support/fixtures.js";

const good = { kind: "purchase", time: Date.UTC(2017, 5, 1), amount: "10.00" };

/** Each with the code that it is refused with. */
const BAD = [
  [undefined, "invalid_event"],
  [null, "invalid_event"],
  [7, "invalid_event"],
  ["purchase", "invalid_event"],
  [{}, "invalid_event"],
  [[[]], "invalid_event"],
  [() => good, "invalid_event"],
  [{ ...good, kind: undefined }, "invalid_event"],
  [{ ...good, kind: 7 }, "invalid_event"],
  [{ ...good, kind: "" }, "unknown_kind"],
  [{ ...good, kind: "Purchase" }, "unknown_kind"],
  [{ ...good, amuont: 3 }, "invalid_event"],
  [{ ...good, member: "m1" }, "invalid_event"],
  [{ ...good, time: undefined }, "invalid_event"],
  [{ ...good, time: true }, "invalid_event"],
  [{ ...good, time: {} }, "invalid_event"],
  [{ ...good, time: Number.NaN }, "invalid_time"],
  [{ ...good, time: Number.POSITIVE_INFINITY }, "invalid_time"],
  [{ ...good, time: -1 }, "invalid_time"],
  [{ ...good, time: 1.5 }, "invalid_time"],
  [{ ...good, time: 8.64e15 }, "invalid_time"],
  [{ ...good, time: 1e300 }, "invalid_time"],
  [{ ...good, time: new Date("no date") }, "invalid_time"],
  [{ ...good, time: "2017-02-30" }, "invalid_time"],
  [{ ...good, amount: Number.NaN }, "invalid_amount"],
  [{ ...good, amount: Number.POSITIVE_INFINITY }, "invalid_amount"],
  [{ ...good, amount: -0.01 }, "invalid_amount"],
  [{ ...good, amount: "12,50" }, "invalid_amount"],
  [{ ...good, amount: "" }, "invalid_amount"],
  [{ ...good, amount: {} }, "invalid_event"],
  [{ ...good, amountMinor: 1000 }, "invalid_amount"],
  [{ ...good, amount: undefined, amountMinor: 0.5 }, "invalid_amount"],
  [{ ...good, amount: undefined, amountMinor: Number.NaN }, "invalid_amount"],
  [{ ...good, amount: undefined, amountMinor: 2 ** 52 }, "invalid_amount"],
  [{ ...good, discount: "free" }, "invalid_amount"],
  [{ ...good, quantity: Number.NaN }, "invalid_quantity"],
  [{ ...good, quantity: "2" }, "invalid_event"],
  [{ ...good, quantity: -1 }, "invalid_quantity"],
  [{ ...good, item: "" }, "invalid_text"],
  [{ ...good, item: 47.11 }, "invalid_event"],
  [{ ...good, item: Number.NaN }, "invalid_event"],
  [{ ...good, item: true }, "invalid_event"],
  [{ ...good, category: "x".repeat(10_000_000) }, "invalid_text"],
  [{ ...good, id: {} }, "invalid_event"],
];

let scorer;
before(async () => {
  scorer = await Scorer.load(BUNDLE);
});

test("a bad event is refused with its code and the member stays as it was", () => {
  const member = scorer.member(household(11, 50));
  const state = member.saveState();
  for (const [i, [event, code]] of BAD.entries()) {
    const say = `case ${i}, expected ${code}`;
    assert.throws(() => member.observe(event), { name: "TiercastError", code }, say);
    assert.throws(
      () => member.observe([good, event, good]),
      { name: "TiercastError", code },
      `${say}, among good ones`,
    );
    assert.deepEqual(member.saveState(), state, say);
  }
  assert.deepEqual(member.observe({ ...good }), { added: 1, duplicates: 0, tooLate: 0 });
});

test("a bad moment is refused", () => {
  const member = scorer.member();
  for (const now of [Number.NaN, -1, 0.5, 8.64e15, Number.NEGATIVE_INFINITY, new Date("no date"), "yesterday", {}]) {
    assert.throws(() => member.assess(now), { name: "TiercastError", code: "invalid_time" }, String(now));
    assert.throws(() => member.features(now), { code: "invalid_time" });
  }
});

test("an event that throws while it is read leaves the member usable", () => {
  const member = scorer.member();
  const trap = {
    kind: "purchase",
    get time() {
      throw new RangeError("trap");
    },
  };
  assert.throws(() => member.observe([good, trap]), RangeError);
  assert.equal(member.eventCount, 0);
  assert.equal(member.observe(good).added, 1);
});

test("a number is the same name as its digits", () => {
  const states = [4711, "4711"].map((item) => {
    const member = scorer.member({ ...good, item });
    return member.saveState();
  });
  assert.deepEqual(states[0], states[1]);
});

test("an event older than the bounded history is reported and ignored", () => {
  const many = Array.from({ length: scorer.info.capacity + 10 }, (_, i) => ({ ...good, time: good.time + i }));
  const member = scorer.member(many);
  const state = member.saveState();
  assert.deepEqual(member.observe({ ...good, time: good.time - 1 }), { added: 0, duplicates: 0, tooLate: 1 });
  assert.deepEqual(member.saveState(), state);
});

test("a column's name is read, and is no second amount when it is undefined", () => {
  const { amount, ...bare } = good;
  const state = (event) => scorer.member(event).saveState();
  const expected = state({ ...bare, amountMinor: 1000, discountMinor: 5 });
  for (const same of [
    { amount_minor: 1000, discount_minor: 5 },
    { amountMinor: 1000, amount_minor: undefined, discountMinor: 5, discount_minor: undefined },
    { amountMinor: undefined, amount_minor: 1000, discountMinor: undefined, discount_minor: 5 },
  ]) {
    assert.deepEqual(state({ ...bare, ...same }), expected, Object.keys(same).join());
  }
  assert.throws(() => state({ ...bare, amountMinor: 1000, amount_minor: 1000 }), { code: "invalid_event" });
});

test("what disposes of the member while the moment is read is noticed", () => {
  for (const call of ["assess", "explain", "features"]) {
    const member = scorer.member(good);
    const now = { valueOf: () => (member.dispose(), good.time) };
    assert.throws(() => member[call](now), { name: "TiercastError", code: "disposed" }, call);
  }
});

test("null and absent optional fields are the same", () => {
  const member = scorer.member();
  assert.equal(member.observe({ ...good, item: undefined, quantity: null, discount: null }).added, 1);
});
