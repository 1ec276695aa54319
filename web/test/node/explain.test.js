import assert from "node:assert/strict";
import { test } from "node:test";
import { Scorer } from "tiercast";
import { BUNDLE, household } from "../support/fixtures.js";

const NOW = Date.UTC(2017, 8, 15);

test("an explanation says by how much each feature moves the expected tier, the strongest first", async () => {
  const scorer = await Scorer.load(BUNDLE);
  const member = scorer.member(household(3));
  const reasons = member.explain(NOW);
  const { features, expectedTier } = member.assess(NOW);
  const names = scorer.info.features.map(({ name }) => name);
  assert.ok(reasons.length > 1 && reasons.length <= names.length);
  assert.equal(new Set(reasons.map(({ feature }) => feature)).size, reasons.length);
  const sizes = reasons.map(({ effect }) => Math.abs(effect));
  assert.deepEqual(sizes, sizes.toSorted?.((a, b) => b - a) ?? [...sizes].sort((a, b) => b - a));
  // The same again from outside: put the typical value in the feature's place and score that.
  for (const { feature, value, typical, effect } of reasons.slice(0, 3)) {
    const index = names.indexOf(feature);
    assert.ok(Object.is(features[index], value));
    const without = features.slice();
    without[index] = typical;
    const expected = Array.from(scorer.scoreBatch(without)).reduce((sum, p, k) => sum + (k + 1) * p, 0);
    assert.ok(Math.abs(expectedTier - expected - effect) < 1e-5, `${feature}: ${expectedTier - expected}, said ${effect}`);
  }
  assert.throws(() => member.explain(-1), { code: "invalid_time" });
  member.dispose();
  assert.throws(() => member.explain(NOW), { code: "disposed" });
});
