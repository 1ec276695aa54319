// The interface without copies: rooms inside the engine's memory.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { Scorer } from "tiercast";
import { BUNDLE, household } from "../support/fixtures.js";
import { hexBits } from "../support/vectors.js";

const NOW = Date.UTC(2017, 8, 15);
let bytes;
let scorer;

before(async () => {
  bytes = await readFile(BUNDLE);
  scorer = await Scorer.load(bytes);
});

test("a row that is written in place has the score that it has in a batch, bit by bit", () => {
  for (const seed of [1, 2, 3]) {
    const row = scorer.member(household(seed)).features(NOW);
    scorer.row.set(row);
    const scores = scorer.scoreRow();
    assert.equal(scores.length, scorer.info.tiers.length);
    assert.deepEqual(hexBits(scores.slice()), hexBits(scorer.scoreBatch(row)));
    assert.deepEqual(hexBits(scorer.row.slice()), hexBits(row), "the row is as it was");
  }
});

test("a row's bits do not depend on the batch that it is in", () => {
  const width = scorer.info.features.length;
  const tiers = scorer.info.tiers.length;
  for (const count of [1, 2, 3, 5, 127, 128, 129, 1000]) {
    const batch = new Float32Array(width * count);
    for (let i = 0; i < batch.length; i++) batch[i] = (((13 * i) % 101) - 20) / 4;
    const together = hexBits(scorer.scoreBatch(batch));
    for (const i of [0, 1, count >> 1, count - 1].filter((i) => i < count)) {
      scorer.row.set(batch.subarray(i * width, (i + 1) * width));
      assert.deepEqual(hexBits(scorer.scoreRow().slice()), together.slice(i * tiers, (i + 1) * tiers), `${i} of ${count}`);
    }
  }
});

test("a member's assessment and its explanation leave the row alone", () => {
  const row = scorer.member(household(4)).features(NOW);
  scorer.row.set(row);
  const member = scorer.member(household(5));
  member.assess(NOW);
  member.explain(NOW);
  assert.deepEqual(hexBits(scorer.row.slice()), hexBits(row));
});

test("views are the same until the memory grows, and then hold what they held", () => {
  const { row } = scorer;
  row.fill(1.5);
  assert.equal(scorer.row, row);
  const scores = hexBits(scorer.scoreRow().slice());
  const members = [];
  while (row.length > 0) members.push(scorer.member(household(members.length, 600)));
  assert.notEqual(scorer.row, row);
  assert.ok(scorer.row.every((x) => x === 1.5));
  assert.deepEqual(hexBits(scorer.scoreRow().slice()), scores);
  members.forEach((member) => member.dispose());
});

test("a hundred thousand scores, and a tier bundle in use, stay within 2 MB", async () => {
  // In a fresh process, because memory that other tests took is never given back.
  const { execFileSync } = await import("node:child_process");
  const script = `
    import { Scorer } from "tiercast";
    import { household } from ${JSON.stringify(new URL("../support/fixtures.js", import.meta.url).href)};
    const scorer = await Scorer.load(${JSON.stringify(BUNDLE)});
    const member = scorer.member(household(1, 200));
    const use = () => {
      member.assess(${NOW});
      member.explain(${NOW});
      scorer.prove();
      scorer.scoreBatch(new Float32Array(1024 * scorer.info.features.length));
      scorer.scoreRow();
    };
    use();
    const before = scorer.row.buffer.byteLength;
    for (let i = 0; i < 1e5; i++) scorer.scoreRow();
    for (let i = 0; i < 2000; i++) member.assess(${NOW} + i);
    for (let i = 0; i < 20; i++) use();
    console.log(before, scorer.row.buffer.byteLength);
  `;
  const cwd = new URL("../..", import.meta.url);
  const [used, after] = String(execFileSync(process.execPath, ["--input-type=module", "-e", script], { cwd }))
    .trim()
    .split(" ")
    .map(Number);
  assert.ok(used <= 2 * 2 ** 20, `${used} bytes`);
  assert.equal(after, used);
});

test("loading and disposing again and again takes no more memory", async () => {
  const once = async () => {
    const own = await Scorer.load(bytes);
    own.member(household(1)).dispose();
    const size = own.row.buffer.byteLength;
    own.dispose();
    return size;
  };
  for (let i = 0; i < 5; i++) await once();
  const before = await once();
  for (let i = 0; i < 50; i++) await once();
  assert.equal(await once(), before);
});

test("a disposed scorer has no row", async () => {
  const own = await Scorer.load(bytes);
  own.dispose();
  assert.throws(() => own.row, { code: "disposed" });
  assert.throws(() => own.scoreRow(), { code: "disposed" });
});
