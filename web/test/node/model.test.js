import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Model, Scorer } from "tiercast";
import { withSection } from "../../../edge-worker/tests/support/bundle.js";
import { BUNDLE, CONV_MODEL, DENSE_MODEL } from "../support/fixtures.js";
import { answers, conv, dense, rowsOf } from "../support/models.js";

for (const [name, file, compute, inputShape, outputShape] of [
  ["of the smallest build", DENSE_MODEL, dense, [4], [2]],
  ["that needs all kernels", CONV_MODEL, conv, [2, 6], [3, 4]],
]) {
  test(`a model ${name} says what it is and computes it, row by row and at once`, async () => {
    const model = await Model.load(file);
    const { input, output, engine, ...info } = model.info;
    assert.deepEqual([input, output, engine], ["x", "y", "plan"]);
    assert.deepEqual([info.inputShape, info.outputShape], [inputShape, outputShape]);
    const width = model.input.length;
    const rows = rowsOf(width, 300);
    const expected = answers(compute, rows, width);
    assert.deepEqual(Array.from(model.runBatch(rows)), expected);
    const found = [];
    for (let i = 0; i < 300; i++) {
      model.input.set(rows.subarray(i * width, (i + 1) * width));
      found.push(...model.run());
    }
    assert.deepEqual(found, expected);
    assert.throws(() => model.runBatch(new Float32Array(width + 1)), { name: "TiercastError", code: "invalid_input" });
    assert.throws(() => model.runBatch([1]), { code: "invalid_input" });
    model.dispose();
    for (const use of [() => model.input, () => model.run(), () => model.runBatch(rows)]) {
      assert.throws(use, { code: "disposed" });
    }
  });
}

test("a model is not a scorer, and a scorer's bundle not a model", async () => {
  await assert.rejects(Model.load(BUNDLE), { code: "bundle_section" });
  await assert.rejects(Scorer.load(DENSE_MODEL), { code: "bundle_section" });
});

test("a model whose manifest is no JSON is refused, and leaves nothing in memory", async () => {
  const bytes = await readFile(DENSE_MODEL);
  const broken = withSection(bytes, "manifest", Buffer.from("{"));
  const good = await Model.load(bytes);
  const refuse = () => assert.rejects(Model.load(broken), { name: "TiercastError", code: "bundle_section" });
  for (let i = 0; i < 50; i++) await refuse();
  const before = good.input.buffer.byteLength;
  // Without a turn of the event loop in which a finaliser could free it.
  for (let i = 0; i < 2000; i++) await refuse();
  assert.equal(good.input.buffer.byteLength, before);
});
