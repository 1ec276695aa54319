import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Scorer } from "tiercast";
import { BUNDLE, DAMAGE, memberVectorFiles, vectors } from "../support/fixtures.js";
import { allDifferences, damaged } from "../support/vectors.js";

for (const file of memberVectorFiles()) {
  test(`members have the same bits, scores and decisions: ${file}`, async (t) => {
    const { bundle, cases } = await vectors(file);
    assert.deepEqual(allDifferences(await Scorer.load(bundle), cases), []);
    t.diagnostic(`${cases.length} members agree in Node`);
  });
}

test("every damaged bundle is refused with its code", async () => {
  const { bundle, cases } = await vectors(DAMAGE);
  const bytes = new Uint8Array(await readFile(bundle));
  for (const damage of cases) {
    await assert.rejects(
      Scorer.load(damaged(bytes, damage)),
      { name: "TiercastError", code: damage.error },
      damage.name,
    );
  }
});

test("a bundle proves itself", async () => {
  const scorer = await Scorer.load(BUNDLE);
  assert.equal(typeof scorer.prove(), "number");
});
