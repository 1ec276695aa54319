// What the training ledger concludes from times and probabilities: a step of `cargo xtask test`. Needs none of the peers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { UNEXPLAINED } from "./ledger.js";
import { entries, markdown, quality, ROWS, withBounds } from "./training-ledger.js";

const TARGETS = Uint8Array.of(1, 2, 1, 2);
/** Four rows of two tiers, of which the first `right` are told rightly. */
const told = (right, sure = 0.9) =>
  Float32Array.from([...TARGETS].flatMap((tier, i) => (tier === (i < right ? 1 : 2) ? [sure, 1 - sure] : [1 - sure, sure])));

/** Times of all models, ours and the peers', in milliseconds, and what they tell. */
function measures(ours = 10, peer = 10, mine = told(3), other = told(3)) {
  const found = (time, probabilities) => ({ times: [time, time], chose: 1, probabilities });
  return {
    toy: {
      targets: TARGETS,
      tiers: 2,
      ours: Object.fromEntries(ROWS.map(({ model }) => [model, found(ours, mine)])),
      peers: Object.fromEntries(ROWS.map(({ model, peer: of }) => [`${model} ${of}`, found(peer, other)])),
    },
  };
}

test("quality is the mean log-loss and accuracy with their standard errors", () => {
  const { loss, accuracy } = quality(told(3), TARGETS, 2);
  const losses = [0.9, 0.9, 0.9, 0.1].map((p) => -Math.log(p));
  const mean = losses.reduce((a, b) => a + b) / 4;
  assert.ok(Math.abs(loss.mean - mean) < 1e-6);
  assert.equal(accuracy.mean, 0.75);
  assert.equal(accuracy.error, 0.25);
  assert.throws(() => quality(told(3), TARGETS, 3), /8 probabilities for 4 rows/);
});

test("as fast as the peer meets every bar, and PyTorch may be 1.5 times as fast", () => {
  const bars = (list) => list.filter(({ met }) => met === false).map(({ of }) => of);
  assert.deepEqual(bars(entries(measures())), []);
  assert.deepEqual(bars(entries(measures(14.9))), ROWS.filter(({ fast }) => fast === 1).map(({ peer }) => peer));
  assert.ok(bars(entries(measures(15.1))).includes("PyTorch"));
  // Whole trainings are timed and not held to it.
  assert.ok(entries(measures(1000)).some(({ met, name }) => met === undefined && name.includes("early stopping")));
});

test("quality may be worse by one standard error and no more", () => {
  const all = (list) => list.every(({ good }) => good);
  assert.ok(all(entries(measures(10, 10, told(2), told(3)))), "0.25 is the standard error");
  const worse = entries(measures(10, 10, told(1), told(3)));
  assert.ok(worse.every(({ good }) => !good));
  const unsure = entries(measures(10, 10, told(3, 0.501), told(4)));
  // Margins have no probabilities to be judged.
  assert.deepEqual(
    entries(measures(10, 10, told(4, 0.51), told(4))).filter(({ good }) => good).map(({ name }) => name),
    ROWS.filter(({ scores }) => scores === false).map(({ named }) => named),
  );
  assert.ok(unsure.every(({ good }) => !good));
  assert.ok(entries(measures(10, 10, told(3).fill(Number.NaN))).every(({ good }) => !good));
});

test("a missed bar is told with its amount and its reason, or that none is given", () => {
  const reasons = { "svm: LinearSVC": "everywhere.", "toy, ridge: Ridge on √spend": "here." };
  const list = withBounds(entries(measures(20)), reasons);
  const bound = (name) => list.find((entry) => entry.name === name).bound;
  assert.equal(bound("svm: LinearSVC"), "0.5 of 1 times as fast: everywhere.");
  assert.equal(bound("ridge: Ridge on √spend"), "0.5 of 1 times as fast: here.");
  assert.match(bound("linear: Ridge on the tier"), new RegExp(UNEXPLAINED));
  const run = { machine: "m", date: "d", commit: "c", threads: 2, rounds: "3", versions: { mord: "1" } };
  const sets = [{ name: "toy", rows: 1000, held: 4, dense: 1, plain: 1, tiers: 2 }];
  const text = markdown({ run, sets, entries: list });
  assert.match(text, /\*\*toy\*\*: 1,000 rows, 4 held out/);
  assert.match(text, /\| svm: LinearSVC \| 20 ms \| 10 ms \| 0\.5 \(0\.5–0\.5\) \| ≥ 1× \*\*missed\*\* \|  \| \.750 \/ \.750 ± \.250 \| met \|/);
});
