// What the ledger concludes from measures: run with `node --test`. Needs none of the peers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { entries, ORT, OURS, regressions, UNEXPLAINED, withBounds } from "./ledger.js";
import { interleave, median, quantile, ratio } from "./measure.js";
import { markdown } from "./table.js";

const MODELS = ["mlp", "trees", "conv1d", "gru"];
const all = (value) => Object.fromEntries(MODELS.map((model) => [model, value]));

/** Measures in which everything is exactly twice as slow as `times` says onnxruntime is fast. */
function measures(ours = 1, peer = 10) {
  const rows = { 1: { [OURS]: [ours], [ORT]: [peer] }, 1024: { [OURS]: [ours], [ORT]: [peer], onnxruntime: [peer] } };
  return {
    sizes: { [OURS]: { bytes: 50_000, files: {} }, [ORT]: { bytes: 3_600_000, files: {} } },
    "cold Node": { mlp: { [OURS]: { start: [4] }, [ORT]: { start: [240] } }, tier: { start: [4.5] } },
    "score Node": all(rows),
    "score Chromium": all(rows),
    native: all(rows),
    "events Node": [19, 18, 30],
    edge: { gzip: 290_000, ours: [110], hello: [100], startup: [40], startupHello: [35] },
    memory: { used: 1_900_000, after: 1_900_000 },
  };
}

test("quantiles lie between neighbours and skip rounds that were left out", () => {
  assert.equal(median([3, null, 1]), 2);
  assert.equal(quantile([0, 10, 20, 30], 0.25), 7.5);
  assert.deepEqual(ratio([1, 2, 4], [10, null, 20]), { ratio: 7.5, spread: [6.25, 8.75] });
});

test("every bar of the issue has an entry, and a good run meets all", () => {
  const list = entries(measures());
  assert.deepEqual([...new Set(list.map(({ group }) => group))], [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(
    list.filter(({ met }) => !met),
    [],
  );
  assert.equal(new Set(list.map(({ name }) => name)).size, list.length);
});

test("a missed bar is told with its amount and its reason, or that none is given", () => {
  const list = withBounds(entries(measures(2, 10)), { "1 row, mlp, Node": "calls cost." });
  const bound = (name) => list.find((entry) => entry.name === name).bound;
  assert.equal(bound("1 row, mlp, Node"), "5 of 6 times: calls cost.");
  assert.equal(bound("1 row, mlp, Chromium"), `5 of 6 times: ${UNEXPLAINED}`);
  assert.equal(bound("1 row, gru, Node"), undefined);
  const text = markdown({ machine: "m", versions: {}, entries: list, matrix: [], sizes: {}, cold: [] });
  assert.match(text, /\*\*missed\*\*/);
  assert.match(text, /5 of 6 times: calls cost\./);
});

test("growth, a larger worker and a slower request are misses", () => {
  const bad = { ...measures(), memory: { used: 1e6, after: 1e6 + 65536 } };
  bad.edge = { gzip: 300_001, ours: [131], hello: [100], startup: [51], startupHello: [45] };
  const missed = entries(bad).filter(({ met }) => !met);
  assert.deepEqual(
    missed.map(({ group }) => group),
    [6, 6, 6, 7],
  );
});

test("a regression is more than 15 % in a size or 30 % in a ratio", () => {
  const before = entries(measures());
  assert.deepEqual(regressions(entries(measures(1.4)), before), []);
  assert.equal(regressions(entries(measures(1.5)), before).filter((text) => text.includes("row")).length, 20);
  const larger = measures();
  larger.sizes[OURS].bytes = 57_501;
  assert.deepEqual(regressions(entries(larger), before), ["download: 57501 bytes, was 50000"]);
  larger.sizes[OURS].bytes = 57_499;
  assert.deepEqual(regressions(entries(larger), before), []);
  const busy = measures();
  busy.edge.ours = [144];
  assert.match(regressions(entries(busy), before).join(), /worker, CPU a request/);
});

test("contestants take turns, and a slow one is asked less often", async () => {
  const log = [];
  const contestant = (name, nanoseconds) => ({
    name,
    slice: (repeats) => {
      log.push(name);
      return nanoseconds * repeats;
    },
  });
  const rounds = 14;
  const times = await interleave([contestant("quick", 1e5), contestant("slow", 1e9)], { rounds, warm: 0 });
  assert.deepEqual(times.quick, Array(rounds).fill(100));
  assert.equal(times.slow.filter((time) => time !== null).length, 7);
  assert.deepEqual(log.slice(2, 8), ["quick", "slow", "quick", "quick", "slow", "quick"]);
});
