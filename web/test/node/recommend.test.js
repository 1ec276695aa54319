// What a member will buy next: the lists that the bundle's vectors say, the rules of a call, and reasons that are so.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { Scorer } from "tiercast";
import { withSection } from "../../../edge-worker/tests/support/bundle.js";
import { BUNDLE, RECOMMEND_BUNDLE } from "../support/fixtures.js";
import { contentOf } from "../support/sections.js";

const DAY = 86_400_000;
const NOW = Date.UTC(2024, 5, 30);

let bundle;
let vectors;
let scorer;

before(async () => {
  bundle = await readFile(RECOMMEND_BUNDLE);
  vectors = contentOf(bundle, "vectors");
  scorer = await Scorer.load(bundle);
});

/** The items of a list of the shop's most sold: enough of them to choose from. */
const popular = () => scorer.member().recommend({ count: 20 }, NOW).map(({ item }) => item);
const items = (list) => list.map(({ item }) => item);

/** Somebody who buys one item every nine days, and has bought another once. */
function regular() {
  const [often, once] = popular();
  const bought = (item, days) => ({ kind: "purchase", time: NOW - days * DAY, amount: "3.00", item, order: `${days}` });
  return { often, once, member: scorer.member([...[39, 30, 21, 12].map((days) => bought(often, days)), bought(once, 5)]) };
}

test("a bundle proves its lists, and notices others", async () => {
  assert.ok(vectors.every(({ recommendations }) => recommendations.length === 10));
  assert.ok(vectors.some(({ recommendations }) => recommendations[0].reasons.at(-1).kind === "welcome"), "one of a new member");
  assert.equal(scorer.prove(), vectors.length);
  const changes = [
    ({ recommendations }) => (recommendations[0].probability += 1e-6),
    ({ recommendations }) => recommendations.reverse(),
    ({ recommendations }) => recommendations.pop(),
  ];
  for (const change of changes) {
    const [first, ...rest] = structuredClone(vectors);
    change(first);
    const other = await Scorer.load(withSection(bundle, "vectors", Buffer.from(JSON.stringify([first, ...rest]))));
    assert.throws(() => other.prove(), { code: "model_failed" });
  }
});

test("a list has the vectors' items, probabilities and reasons", () => {
  for (const { name, events, now, recommendations } of vectors) {
    assert.deepEqual(scorer.member(events).recommend({}, now), recommendations, name);
  }
});

test("what there is to know is in the info", () => {
  assert.deepEqual(Object.keys(scorer.info.recommend).sort(), ["diversity", "factors", "items", "model", "periodDays"]);
  assert.equal(scorer.info.recommend.periodDays, 28);
});

test("probabilities fall, and reasons tell of the member's own purchases", () => {
  const { often, once, member } = regular();
  const list = member.recommend({ count: 50 }, NOW);
  assert.ok(list.every(({ probability }, i) => probability > 0 && probability <= (list[i - 1]?.probability ?? 1)));
  const reasonOf = (item) => list.find((one) => one.item === item)?.reasons[0];
  assert.deepEqual(reasonOf(often), { kind: "habit", orders: 4, everyDays: 9, daysSince: 12 });
  assert.deepEqual(reasonOf(once), { kind: "before", daysSince: 5 });
  const known = new Set([often, once]);
  const together = list.flatMap(({ reasons }) => reasons.filter(({ kind }) => kind === "together"));
  assert.ok(together.length > 0 && together.every((reason) => known.has(reason.with)));
});

test("rules of a call: new, left out, available, boosted, diverse", () => {
  const { often, once, member } = regular();
  const all = member.recommend({}, NOW);
  const fresh = items(member.recommend({ newOnly: true }, NOW));
  assert.ok(fresh.length === 10 && !fresh.includes(often) && !fresh.includes(once));
  const category = all[0].category;
  assert.ok(member.recommend({ exclude: [category] }, NOW).every((one) => one.category !== category));
  assert.ok(!items(member.recommend({ exclude: [all[3].item] }, NOW)).includes(all[3].item));
  const stock = items(all).slice(4, 7);
  // These and no others; in what order is for the ranker to say anew, whose inputs are places among the candidates.
  assert.deepEqual(items(member.recommend({ available: stock }, NOW)).sort(), [...stock].sort());
  assert.deepEqual(member.recommend({ available: [] }, NOW), []);
  const last = all.at(-1);
  const boosted = member.recommend({ boost: { [last.item]: 1000 } }, NOW);
  assert.deepEqual(boosted[0], last, "first in the list, with the probability that it has");
  const categories = (list) => new Set(list.map((one) => one.category)).size;
  assert.ok(categories(member.recommend({ diversity: 0.8 }, NOW)) > categories(member.recommend({ diversity: 0 }, NOW)));
});

test("one of whom nothing is known gets what the tiers buy", () => {
  const list = scorer.member().recommend({}, NOW);
  assert.ok(list.length === 10);
  for (const { reasons } of list) assert.deepEqual(reasons.map(({ kind }) => kind), ["popularInTier", "welcome"]);
});

test("a new member goes through the shop's steps, until the time is over", () => {
  const [first, second, third, fourth] = popular();
  const bought = (item, days) => ({ kind: "purchase", time: NOW - days * DAY, amount: "3.00", item, order: `${days}` });
  const of = (events, options = {}) => scorer.member(events).recommend(options, NOW);
  const step = (events, options) => [...new Set(of(events, options).map(({ reasons }) => reasons.find(({ kind }) => kind === "welcome")?.step))];
  assert.deepEqual(step([]), ["first order"]);
  assert.deepEqual(step([{ kind: "view", time: NOW - 89 * DAY, item: first }]), ["first order"]);
  assert.deepEqual(step([bought(first, 89)]), ["second order"]);
  assert.deepEqual(step([bought(first, 20), bought(second, 10)]), ["something new"]);
  assert.deepEqual(step([bought(first, 90)]), [undefined], "ninety days are over");
  assert.deepEqual(step([bought(first, 9), bought(second, 8), bought(third, 7), bought(fourth, 6)]), [undefined], "no further step");
  assert.deepEqual(step([bought(first, 9)], { welcome: false }), [undefined]);
  // What a step asks for is what a call could ask for.
  const without = (list) => list.map((one) => ({ ...one, reasons: one.reasons.filter(({ kind }) => kind !== "welcome") }));
  for (const [events, options] of [
    [[], { diversity: 0.2 }],
    [[bought(first, 9)], { boost: { grocery: 1.5 } }],
    [[bought(first, 9), bought(second, 8)], { newOnly: true, diversity: 0.4 }],
  ]) {
    assert.deepEqual(without(of(events)), of(events, { ...options, welcome: false }));
  }
  assert.deepEqual(
    without(of([bought(first, 9)], { boost: { grocery: 2 }, diversity: 0.3 })),
    of([bought(first, 9)], { boost: { grocery: 3 }, diversity: 0.3, welcome: false }),
    "boosts multiply, and the call's diversity comes first",
  );
});

test("a list changes nothing and sees no later event", () => {
  const { member } = regular();
  const before = member.saveState();
  const list = member.recommend({}, NOW);
  assert.deepEqual(member.saveState(), before);
  member.observe({ kind: "purchase", time: NOW + DAY, item: popular()[7], amount: 1 });
  assert.deepEqual(member.recommend({}, NOW), list);
});

test("options that are none are refused, by a code", () => {
  const member = scorer.member();
  const refused = [
    { count: 0 }, { count: 101 }, { count: 2.5 }, { cuont: 3 }, { newOnly: 1 }, { exclude: "milk" },
    { boost: { milk: 0 } }, { boost: { milk: Number.NaN } }, { diversity: 2 }, { diversity: Number.NaN, count: null }, { welcome: "yes" },
    null, 7, [10], "ten",
  ];
  for (const options of refused) {
    assert.throws(() => member.recommend(options, NOW), { code: "invalid_input" }, JSON.stringify(options));
  }
  const ring = {};
  ring.exclude = ring;
  assert.throws(() => member.recommend(ring, NOW), { code: "invalid_input" });
  assert.throws(() => member.recommend({}, 0.5), { code: "invalid_time" });
});

test("a bundle that recommends nothing says so", async () => {
  const other = await Scorer.load(await readFile(BUNDLE));
  assert.equal(other.info.recommend, undefined);
  assert.throws(() => other.member().recommend(), { code: /invalid_input|unsupported_model/ });
});
