// The whole bench, as `cargo xtask bench` calls it once everything is built:
//
//   run.js CACHE PYTHON NATIVE [--check] [--quick] [--only NAME]…
//
// CACHE/models holds models, rows and bundles. A whole run, not quick, writes ledger.json and the tables; `--only`
// replaces the entries that it measured; `--check` and `--quick` write nothing.
import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { household } from "../../web/test/support/fixtures.js";
import { bundle } from "./build.js";
import { merged, ofRun, placed } from "./keep.js";
import { ALL, entries, OURS, ORT, regressions, UNEXPLAINED, withBounds } from "./ledger.js";
import { median } from "./measure.js";
import { inChromium, inNode, native } from "./runtimes.js";
import { download } from "./sizes.js";
import { markdown, place } from "./table.js";

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { check: { type: "boolean" }, quick: { type: "boolean" }, only: { type: "string", multiple: true } },
});
const [cache, python, program] = positionals;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const root = here("../../");
const models = join(cache, "models");

const MODELS = ["mlp", "trees", "conv1d", "gru"];
const CONTESTANTS = ["ours", "ort", "tract", "tfjs", "js"];
const ROUNDS = flags.quick ? 11 : 61;
const STARTS = flags.quick ? 5 : 25;
const SCORES = flags.quick ? 100_000 : 1_000_000;

const CALLED = { ours: OURS, tier: OURS, ort: ORT, tract: "tract in wasm", tfjs: "tfjs" };
/** What is downloaded to score: whose scripts, and which module. */
const DOWNLOADS = {
  [OURS]: ["tier", "web/pkg/tiercast_wasm_bg.wasm"],
  // As when a page names that module itself: `wasm: …tiercast-all.wasm`.
  [ALL]: ["ours", "web/pkg/all/tiercast_wasm_bg.wasm"],
  [ORT]: ["ort", "tests/bench/node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"],
  [CALLED.tract]: ["tract", "web/pkg/onnx/tiercast_wasm_bg.wasm"],
  [CALLED.tfjs]: ["tfjs", "tests/bench/node_modules/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm"],
};

const GROUPS = {
  size: measureSizes,
  cold: (to) => eachRuntime(measureCold, "cold", to),
  score: (to) => eachRuntime(measureScores, "score", to),
  native: measureNative,
  events: (to) => eachRuntime((run) => run("events", { rounds: ROUNDS }), "events", to),
  edge: measureEdge,
  memory: measureMemory,
};

const node = inNode(models);
const chromium = await inChromium(models, join(cache, "built"));
const scripts = await bundle([...CONTESTANTS, "tier"], join(cache, "built"));

async function eachRuntime(measure, name, to) {
  to[`${name} Node`] = await measure(node);
  to[`${name} Chromium`] = await measure(chromium.run);
}

async function measureSizes(to) {
  to.sizes = {};
  for (const [name, [contestant, module]] of Object.entries(DOWNLOADS)) {
    const files = scripts[contestant].map((path, i) => [i === 0 ? "script" : basename(path), path]);
    to.sizes[name] = await download({ ...Object.fromEntries(files), [basename(module)]: join(root, module) });
  }
}

/** Starts take turns, as everything does. */
async function measureCold(run) {
  const names = ["ours", "ort", "tract", "tfjs"];
  const empty = () => ({ import: [], start: [] });
  const mlp = Object.fromEntries(names.map((name) => [CALLED[name], empty()]));
  const tier = empty();
  const history = empty();
  const note = (list, once) => {
    list.import.push(once.import);
    list.start.push(once.start);
  };
  for (let round = 0; round < STARTS; round++) {
    for (const name of names) note(mlp[CALLED[name]], await run("cold", { contestant: name, model: "mlp" }));
    note(tier, await run("coldTier", { events: 3 }));
    note(history, await run("coldTier", { events: 200 }));
  }
  return { mlp, tier, history };
}

async function measureScores(run) {
  const result = {};
  for (const model of MODELS) result[model] = await run("score", { contestants: CONTESTANTS, model, rounds: ROUNDS });
  return result;
}

async function measureNative(to) {
  to.native = {};
  for (const model of MODELS) {
    const programs = {
      [OURS]: [program, "ours", models, model],
      onnxruntime: [python, here("native.py"), models, model],
      tract: [program, "tract", models, model],
    };
    to.native[model] = await native(programs, [1, 1024], { rounds: ROUNDS });
  }
}

async function measureEdge(to) {
  const args = [here("edge.js"), "--rounds", String(Math.min(ROUNDS, 25))];
  to.edge = JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" }));
}

async function measureMemory(to) {
  to.memory = await node("memory", { scores: SCORES });
}

function matrix(measures) {
  const list = [];
  const add = (where, model, times) => {
    for (const rows of [1, 1024]) {
      const medians = Object.entries(times[rows]).map(([name, each]) => [name, Number(median(each).toPrecision(4))]);
      const measure = where === "native" ? "native" : "score";
      list.push({ measure, where, model, rows, times: Object.fromEntries(medians) });
    }
  };
  for (const where of ["Node", "Chromium"])
    for (const [model, times] of Object.entries(measures[`score ${where}`] ?? {})) add(where, model, times);
  for (const [model, times] of Object.entries(measures.native ?? {})) add("native", model, times);
  return list;
}

function starts(measures) {
  const list = [];
  for (const where of ["Node", "Chromium"].filter((where) => measures[`cold ${where}`])) {
    const { mlp, tier, history } = measures[`cold ${where}`];
    const add = (name, { import: script, start }) =>
      list.push({ measure: "cold", where, name, script: median(script), start: median(start) });
    for (const [name, times] of Object.entries(mlp)) add(`${name}, mlp`, times);
    add("ours, tier bundle, 3 events", tier);
    add("ours, tier bundle, 200 events", history);
  }
  return list;
}

async function versions() {
  const { packages } = JSON.parse(await readFile(here("package-lock.json"), "utf8"));
  const lock = await readFile(join(root, "Cargo.lock"), "utf8");
  const of = (name) => packages[`node_modules/${name}`].version;
  return {
    Node: process.versions.node,
    Chromium: chromium.version,
    "onnxruntime-web": of("onnxruntime-web"),
    tfjs: of("@tensorflow/tfjs-backend-wasm"),
    tract: /name = "tract-onnx"\nversion = "([^"]+)"/.exec(lock)[1],
    onnxruntime: execFileSync(python, ["-c", "import onnxruntime; print(onnxruntime.__version__)"], {
      encoding: "utf8",
    }).trim(),
    worker: /name = "worker"\nversion = "([^"]+)"/.exec(lock)[1],
  };
}

/** The commit that is measured, with `-dirty` where the tree differs from it. */
const commit = () =>
  execFileSync("git", ["describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"], {
    cwd: root,
    encoding: "utf8",
  }).trim();

const machine = () =>
  `${cpus().length} × ${cpus()[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform}`;

async function measureAll(groups) {
  const measures = {};
  for (const name of groups) {
    const before = Date.now();
    await GROUPS[name](measures);
    console.error(`  bench: ${name}: ${((Date.now() - before) / 1000).toFixed(0)} s`);
  }
  return measures;
}

async function main() {
  const groups = flags.only ?? Object.keys(GROUPS);
  const unknown = groups.find((name) => !GROUPS[name]);
  if (unknown) throw new Error(`no measure is called ${unknown}; there are ${Object.keys(GROUPS).join(", ")}`);
  await writeFile(join(models, "events.json"), JSON.stringify(events()));
  // Before anything is measured: others may commit meanwhile.
  const run = { date: new Date().toISOString().slice(0, 10), commit: commit(), machine: machine(), versions: await versions() };
  const measures = await measureAll(groups);

  const reasons = JSON.parse(await readFile(here("bounds.json"), "utf8"));
  const explained = (ledger) => ({ ...ledger, entries: withBounds(ledger.entries, reasons) });
  const now = explained(
    ofRun(run, {
      entries: entries(measures),
      matrix: matrix(measures),
      sizes: Object.entries(measures.sizes ?? {}).map(([name, size]) => ({ measure: "size", name, ...size })),
      cold: starts(measures),
    }),
  );
  console.log(markdown(now));
  if (flags.quick && !flags.check) return;
  const kept = async () => JSON.parse(await readFile(here("ledger.json"), "utf8"));
  if (flags.check) return check(now, await kept(), groups);
  const whole = explained(flags.only ? merged(await kept(), now, groups) : now);
  await writeFile(here("ledger.json"), `${JSON.stringify(whole, null, 1)}\n`);
  for (const file of [here("README.md"), join(root, "README.md")]) await place(file, markdown(whole));
}

function check(now, committed, groups) {
  const worse = regressions(placed(now), placed(committed), groups);
  const unexplained = now.entries
    .filter(({ bound }) => bound?.includes(UNEXPLAINED))
    .map(({ name, bound }) => `${name}: ${bound}`);
  for (const text of [...worse, ...unexplained]) console.error(`  bench: ${text}`);
  if (worse.length + unexplained.length) process.exitCode = 1;
  else console.error(`  bench: ${now.entries.length} entries, none worse than the ledger allows`);
}

/** A member's history of 200 events, one new event, and the moment after it. */
function events() {
  const history = household(1, 200);
  const now = Date.UTC(2017, 11, 31);
  return { history, next: { ...history.at(-1), id: "new", time: now - 60_000 }, now };
}

try {
  await main();
} finally {
  await chromium.close();
}
