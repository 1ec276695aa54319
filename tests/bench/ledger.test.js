// What the ledger concludes from measures, and how it is kept: a step of `cargo xtask test`. Needs none of the peers.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { merged, ofRun, placed } from "./keep.js";
import { ALL, entries, ORT, OURS, regressions, UNEXPLAINED, withBounds } from "./ledger.js";
import { interleave, median, near, nearEnough, quantile, ratio } from "./measure.js";
import { markdown, place } from "./table.js";

const MODELS = ["mlp", "trees", "conv1d", "gru"];
const MEASURES = ["size", "cold", "score", "native", "events", "edge", "memory"];
const all = (value) => Object.fromEntries(MODELS.map((model) => [model, value]));

/** Measures in which everything is exactly twice as slow as `times` says onnxruntime is fast. */
function measures(ours = 1, peer = 10) {
  const rows = { 1: { [OURS]: [ours], [ORT]: [peer] }, 1024: { [OURS]: [ours], [ORT]: [peer], onnxruntime: [peer] } };
  return {
    sizes: {
      [OURS]: { bytes: 50_000, files: {} },
      [ALL]: { bytes: 90_000, files: {} },
      [ORT]: { bytes: 3_600_000, files: {} },
    },
    "cold Node": { mlp: { [OURS]: { start: [4] }, [ORT]: { start: [240] } }, tier: { start: [4.5] }, history: { start: [6] } },
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
  assert.deepEqual(new Set(list.map(({ measure }) => measure)), new Set(MEASURES));
  assert.deepEqual(
    list.filter(({ met }) => !met).map(({ name, bar }) => [name, bar]),
    [
      ["download, all kernels", undefined],
      ["cold start, tier bundle, 200 events, Node", undefined],
    ],
  );
  assert.equal(new Set(list.map(({ name }) => name)).size, list.length);
});

test("what is not a number meets no bar and is near nothing", () => {
  const bad = measures();
  bad.edge.gzip = Number.NaN;
  bad["score Node"] = all({ 1: { [OURS]: [Number.NaN], [ORT]: [1] }, 1024: { [OURS]: [Number.NaN], [ORT]: [1] } });
  const missed = entries(bad).filter(({ met }) => met === false);
  assert.equal(missed.length, 9);
  assert.equal(regressions(entries(bad), entries(measures()), MEASURES).length, 9);
  nearEnough("a", 0.99e-4);
  for (const difference of [1e-4, Number.NaN, Number.POSITIVE_INFINITY])
    assert.throws(() => nearEnough("a", difference), /a is off by/);
  near("a")([0.5, 0.25], Float32Array.of(0.5, 0.25));
  assert.throws(() => near("a")([0.5, Number.NaN], Float32Array.of(0.5, 0.25)), /off by NaN/);
  assert.throws(() => near("a")([0.5], Float32Array.of(0.5, 0.25)), /1 scores instead of 2/);
});

test("a missed bar is told with its amount and its reason, or that none is given", () => {
  const list = withBounds(entries(measures(2, 10)), { "1 row, mlp, Node": "calls cost." });
  const bound = (name) => list.find((entry) => entry.name === name).bound;
  assert.equal(bound("1 row, mlp, Node"), "5 of 6 times: calls cost.");
  assert.equal(bound("1 row, mlp, Chromium"), `5 of 6 times: ${UNEXPLAINED}`);
  assert.equal(bound("1 row, gru, Node"), undefined);
  const text = markdown(ofRun(run("a"), { entries: list, matrix: [], sizes: [], cold: [] }));
  assert.match(text, /\*\*missed\*\*/);
  assert.match(text, /5 of 6 times: calls cost\./);
  assert.match(text, /\| 1 \| download, all kernels \| 90 KB \|  \|  \|  \|  \|/);
});

test("growth, a larger worker and a slower request are misses", () => {
  const bad = { ...measures(), memory: { used: 1e6, after: 1e6 + 65536 } };
  bad.edge = { gzip: 300_001, ours: [131], hello: [100], startup: [51], startupHello: [45] };
  const missed = entries(bad).filter(({ met }) => !met);
  assert.deepEqual(
    missed.filter(({ bar }) => bar).map(({ group }) => group),
    [6, 6, 6, 7],
  );
});

const run = (commit, machine = "m") => ({ date: "2026-01-01", commit, machine, versions: { Node: "20" } });
const rows = (found) => ({
  entries: found,
  matrix: [{ measure: "score", where: "Node", model: "mlp", rows: 1, times: {} }],
  sizes: [{ measure: "size", name: OURS, bytes: 50_000, files: {} }],
  cold: [{ measure: "cold", where: "Node", name: "ours, mlp", script: 1, start: 2 }],
});

test("a regression is more than 15 % in a size, or 30 % in a ratio or a time", () => {
  const before = entries(measures());
  const worse = (measures) => regressions(entries(measures), before, MEASURES);
  assert.deepEqual(worse(measures(1.4)), []);
  assert.equal(worse(measures(1.5)).filter((text) => text.includes("row")).length, 20);
  const larger = measures();
  larger.sizes[OURS].bytes = 57_501;
  assert.deepEqual(worse(larger), ["download: 57501 bytes, was 50000"]);
  larger.sizes[OURS].bytes = 57_499;
  assert.deepEqual(worse(larger), []);
  const busy = measures();
  busy.edge.ours = [144];
  assert.match(worse(busy).join(), /worker, CPU a request/);
  assert.deepEqual(worse({ ...measures(), memory: { used: 1_900_000, after: 1_900_001 } }), [
    "memory, growth over a million scores: 1 bytes, was 0",
  ]);
  const slow = { ...measures(), "events Node": [24.6, 24.8, 25] };
  slow["cold Node"].tier = { start: [5.9] };
  assert.deepEqual(worse(slow), [
    "cold start, tier bundle, 3 events, Node: 5.9 ms, was 4.5",
    "event to explanation, Node: 24.8 µs, was 19",
  ]);
});

test("times of another machine are not compared, and sizes and ratios are", () => {
  const before = placed(ofRun(run("a"), rows(entries(measures()))));
  const other = { ...measures(), "events Node": [90] };
  other.sizes[OURS].bytes = 70_000;
  const now = placed(ofRun(run("b", "slower"), rows(entries(other))));
  assert.deepEqual(
    regressions(now, before, MEASURES).map((text) => text.split(":")[0]),
    ["download"],
  );
});

test("an entry that is there no more is a regression, if it was measured", () => {
  const before = entries(measures());
  const { memory, ...others } = measures();
  assert.equal(memory.used, 1_900_000);
  assert.equal(regressions(entries(others), before, MEASURES).length, 2);
  assert.deepEqual(regressions(entries(others), before, MEASURES.slice(0, -1)), []);
});

test("what a run did not measure keeps its date, commit, machine and versions", () => {
  const old = ofRun(run("a"), rows(entries(measures())));
  const part = { sizes: { ...measures().sizes, [OURS]: { bytes: 40_000, files: {} } } };
  const now = ofRun(run("b", "n"), { ...rows(entries(part)), matrix: [], cold: [] });
  const whole = merged(old, now, ["size"]);
  assert.deepEqual(whole.runs, [run("a"), run("b", "n")]);
  assert.deepEqual(
    whole.entries.map(({ name }) => name),
    old.entries.map(({ name }) => name),
  );
  for (const { measure, run } of whole.entries) assert.equal(run, measure === "size" ? 1 : 0);
  assert.deepEqual([whole.matrix[0].run, whole.cold[0].run, whole.sizes[0].run], [0, 0, 1]);
  assert.equal(whole.entries.find(({ name }) => name === "download").ours, 40_000);
  const text = markdown(whole);
  assert.match(text, /^Measured \(cold, score, native, events, edge, memory\) on m, 2026-01-01, at commit a, with Node 20\.$/m);
  assert.match(text, /^Measured \(size\) on n, 2026-01-01, at commit b, with Node 20\.$/m);
  // A measure's rows that are found no more go, and with the last row its run.
  const fewer = merged(whole, ofRun(run("c"), { ...now, entries: now.entries.slice(0, 2) }), ["size"]);
  assert.deepEqual(fewer.runs, [run("a"), run("c")]);
  assert.equal(fewer.entries.length, old.entries.length - 1);
});

test("tables go between the marks, and a file without marks is an error", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "bench-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "README.md");
  await writeFile(path, "a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n");
  await place(path, "new");
  assert.equal(await readFile(path, "utf8"), "a\n<!-- bench:begin -->\nnew\n<!-- bench:end -->\nb\n");
  await writeFile(path, "<!-- bench:end --><!-- bench:begin -->");
  await assert.rejects(place(path, "new"), /bench:begin/);
});

test("the committed ledger is whole", async () => {
  const read = (name) => readFile(new URL(name, import.meta.url), "utf8");
  const ledger = JSON.parse(await read("ledger.json"));
  assert.deepEqual(new Set(ledger.entries.map(({ measure }) => measure)), new Set(MEASURES));
  for (const list of ["entries", "matrix", "sizes", "cold"])
    for (const { run } of ledger[list]) assert.ok(ledger.runs[run].commit);
  assert.ok((await read("README.md")).includes(markdown(ledger)), "tests/bench/README.md has other tables");
  assert.ok((await read("../../README.md")).includes(markdown(ledger)), "README.md has other tables");
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
