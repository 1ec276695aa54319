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
import { entries, OURS, ORT, regressions, UNEXPLAINED, withBounds } from "./ledger.js";
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

const wasm = (name) => ({ [basename(name)]: join(root, name) });
const MODULES = {
  tier: wasm("web/pkg/tiercast_wasm_bg.wasm"),
  ort: wasm("tests/bench/node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"),
  tract: wasm("web/pkg/onnx/tiercast_wasm_bg.wasm"),
  tfjs: wasm("tests/bench/node_modules/@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm"),
};
const CALLED = { tier: OURS, ort: ORT, tract: "tract in wasm", tfjs: "tfjs" };

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
  for (const [name, modules] of Object.entries(MODULES)) {
    const files = scripts[name].map((path, i) => [i === 0 ? "script" : basename(path), path]);
    to.sizes[CALLED[name]] = await download({ ...Object.fromEntries(files), ...modules });
  }
}

/** Starts take turns, as everything does. */
async function measureCold(run) {
  const names = ["ours", "ort", "tract", "tfjs"];
  const empty = () => ({ import: [], start: [] });
  const mlp = Object.fromEntries(names.map((name) => [CALLED[name] ?? name, empty()]));
  const tier = empty();
  const note = (list, once) => {
    list.import.push(once.import);
    list.start.push(once.start);
  };
  for (let round = 0; round < STARTS; round++) {
    for (const name of names) note(mlp[CALLED[name] ?? name], await run("cold", { contestant: name, model: "mlp" }));
    note(tier, await run("coldTier"));
  }
  return { mlp, tier };
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
  to.memory = await node("memory", { contestant: "tier", scores: SCORES });
}

function matrix(measures) {
  const list = [];
  const add = (where, model, times) => {
    for (const rows of [1, 1024]) {
      const medians = Object.entries(times[rows]).map(([name, each]) => [name, Number(median(each).toPrecision(4))]);
      list.push({ where, model, rows, times: Object.fromEntries(medians) });
    }
  };
  for (const where of ["Node", "Chromium"])
    for (const [model, times] of Object.entries(measures[`score ${where}`] ?? {})) add(where, model, times);
  for (const [model, times] of Object.entries(measures.native ?? {})) add("native", model, times);
  return list;
}

function starts(measures) {
  const list = [];
  for (const where of ["Node", "Chromium"]) {
    const { mlp, tier } = measures[`cold ${where}`] ?? {};
    for (const [name, { import: script, start }] of Object.entries(mlp ?? {}))
      list.push({ where, name: `${name}, mlp`, script: median(script), start: median(start) });
    if (tier) list.push({ where, name: "ours, tier bundle", script: median(tier.import), start: median(tier.start) });
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

/** Replaces in `old` what `now` has under the same key, and keeps the order of `now` first seen. */
function merged(old = [], now, key) {
  const fresh = new Map(now.map((one) => [key(one), one]));
  const kept = old.map((one) => fresh.get(key(one)) ?? one);
  const known = new Set(old.map(key));
  return [...kept, ...now.filter((one) => !known.has(key(one)))];
}

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
  const measures = await measureAll(groups);

  const reasons = JSON.parse(await readFile(here("bounds.json"), "utf8"));
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim();
  const measured = { date: new Date().toISOString().slice(0, 10), commit };
  const found = withBounds(entries(measures), reasons).map((entry) => ({ ...entry, ...measured }));
  const ledger = JSON.parse(await readFile(here("ledger.json"), "utf8").catch(() => "{}"));
  const now = {
    machine: `${cpus().length} × ${cpus()[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform}`,
    versions: await versions(),
    entries: found,
    matrix: matrix(measures),
    sizes: measures.sizes ?? {},
    cold: starts(measures),
  };
  console.log(markdown(now));
  if (flags.check) return check(found, ledger.entries ?? []);
  if (flags.quick) return;
  const whole = {
    ...now,
    entries: withBounds(flags.only ? merged(ledger.entries, found, ({ name }) => name) : found, reasons),
    matrix: merged(flags.only && ledger.matrix, now.matrix, ({ where, model, rows }) => `${where} ${model} ${rows}`),
    sizes: { ...(flags.only && ledger.sizes), ...now.sizes },
    cold: merged(flags.only && ledger.cold, now.cold, ({ where, name }) => `${where} ${name}`),
  };
  await writeFile(here("ledger.json"), `${JSON.stringify(whole, null, 1)}\n`);
  for (const file of [here("README.md"), join(root, "README.md")]) await place(file, markdown(whole));
}

function check(found, committed) {
  if (!committed.length) throw new Error("there is no ledger.json to compare with; run `cargo xtask bench` once");
  const worse = regressions(found, committed);
  const unexplained = found
    .filter(({ bound }) => bound?.includes(UNEXPLAINED))
    .map(({ name, bound }) => `${name}: ${bound}`);
  for (const text of [...worse, ...unexplained]) console.error(`  bench: ${text}`);
  if (worse.length + unexplained.length) process.exitCode = 1;
  else console.error(`  bench: ${found.length} entries, none worse than the ledger allows`);
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
