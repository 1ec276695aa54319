// Arrays as they come: of a class of their own, behind a proxy, of another realm, of the engine's own memory.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { runInNewContext } from "node:vm";
import { Model, Scorer } from "tiercast";
import { BUNDLE, DENSE_MODEL, household } from "../support/fixtures.js";
import { hexBits } from "../support/vectors.js";

const NOW = Date.UTC(2017, 8, 15);
let scorer;
let model;
before(async () => {
  [scorer, model] = await Promise.all([Scorer.load(BUNDLE), Model.load(DENSE_MODEL)]);
});

/** Says that it is shorter than it is. */
class Short extends Float32Array {
  get length() {
    return 0;
  }
}

/** Both calls that take rows, each with a width that its rows have. */
const takers = () => [
  [(rows) => scorer.scoreBatch(rows), scorer.info.features.length],
  [(rows) => model.runBatch(rows), model.input.length],
];

test("rows are what an array holds, not what its class says", () => {
  for (const [take, width] of takers()) {
    const plain = Float32Array.from({ length: 3 * width }, (_, i) => (i % 7) / 4);
    const expected = hexBits(take(plain));
    const own = Object.defineProperties(plain.slice(), { length: { value: 1 }, set: { value: () => {} } });
    const foreign = runInNewContext("Float32Array").from(plain);
    for (const rows of [new Short(plain.buffer), own, foreign]) assert.deepEqual(hexBits(take(rows)), expected);
    const lies = new Proxy(plain, { get: (array, name) => (name === "length" ? 0 : Reflect.get(array, name, array)) });
    assert.throws(() => take(lies), { name: "TiercastError", code: "invalid_input" });
    assert.deepEqual(hexBits(take(plain)), expected, "nothing was overwritten");
  }
});

test("rows may lie in the engine's own memory, which grows while they are scored", () => {
  for (const [take, width] of takers()) {
    // Whatever is there, also what no row should hold: it comes out as that of a copy does.
    const outcome = (rows) => {
      try {
        return hexBits(take(rows));
      } catch (error) {
        return error.code;
      }
    };
    const { buffer } = scorer.row;
    const inside = new Float32Array(buffer, 0, width * Math.floor(buffer.byteLength / 4 / width));
    const copy = inside.slice();
    const found = outcome(inside);
    assert.equal(inside.length, 0, "the memory has grown, and its old views are empty");
    assert.deepEqual(found, outcome(copy));
  }
});

test("a state may lie in any buffer and be seen by any view", () => {
  const member = scorer.member(household(7, 40));
  const state = member.saveState();
  assert.equal(state.length % 2, 0, "a state of two-byte words");
  const inside = new Uint8Array(state.length + 5);
  inside.set(state, 3);
  const views = [
    new Uint16Array(state.slice().buffer),
    new DataView(state.slice().buffer),
    new DataView(inside.buffer, 3, state.length),
    inside.subarray(3, -2),
  ];
  for (const view of views) {
    assert.deepEqual(scorer.restoreState(view).saveState(), state);
  }
});
