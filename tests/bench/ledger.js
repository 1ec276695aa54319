// Turns measures into the ledger's entries, and compares them with the committed ledger.
import { median, quantile, ratio } from "./measure.js";

export const ORT = "onnxruntime-web";
export const OURS = "ours";
/** Ours where a model needs kernels that tiers do not. */
export const ALL = "ours, all kernels";
const RUNTIMES = ["Node", "Chromium"];
const MODELS = ["mlp", "trees", "conv1d", "gru"];
const BATCH = 1024;

/** How many times faster than onnxruntime a model must be: one row, 1,024 rows, and 1,024 rows natively. */
const SPEED = {
  mlp: [6, 2, 1],
  trees: [3, 1.2, 2],
  conv1d: [3, 1.2, 1],
  gru: [3, 1.2, 1],
};

/**
 * Every bar that the measures can answer, in the order of the issue.
 *
 * An entry: `name`, `group` (which bar, 1 to 7), `measure` (as `--only` calls it), `unit`, `ours`; with a peer also
 * `peer`, `of` (its name), `ratio` and `spread` (quartiles of the rounds' ratios); `bar` is `{ ratio }` (at least), or
 * `{ most }` of ours or of the ratio. An entry without a bar only informs.
 */
export function entries(measures) {
  const list = [];
  const adds = (measure) => (entry) => list.push({ measure, ...entry, met: met(entry) });
  const of = (name) => RUNTIMES.filter((runtime) => measures[`${name} ${runtime}`]);
  if (measures.sizes) sizes(measures.sizes, adds("size"));
  for (const runtime of of("cold")) cold(runtime, measures[`cold ${runtime}`], adds("cold"));
  for (const rows of [1, BATCH])
    for (const runtime of of("score")) speed(runtime, rows, measures[`score ${runtime}`], adds("score"));
  if (measures.native) native(measures.native, adds("native"));
  for (const runtime of of("events")) events(runtime, measures[`events ${runtime}`], adds("events"));
  if (measures.edge) edge(measures.edge, adds("edge"));
  if (measures.memory) memory(measures.memory, adds("memory"));
  return list;
}

function met({ bar, ours, ratio: times }) {
  if (!bar) return undefined;
  if (bar.ratio !== undefined) return times >= bar.ratio;
  return (bar.ofRatio ? times : ours) <= bar.most;
}

const fewest = (x) => (typeof x === "number" ? Number(x.toPrecision(4)) : x);

function against(of, ours, peer) {
  const { ratio: times, spread } = ratio(ours, peer);
  return {
    ours: fewest(median(ours)),
    peer: fewest(median(peer)),
    of,
    ratio: fewest(times),
    spread: spread.map(fewest),
  };
}

function sizes(all, add) {
  const [ours, peer] = [all[OURS].bytes, all[ORT].bytes];
  add({ group: 1, name: "download", unit: "bytes", ours, bar: { most: 60_000 } });
  const times = fewest(peer / ours);
  add({
    group: 1,
    name: "download, times smaller",
    unit: "bytes",
    ours,
    peer,
    of: ORT,
    ratio: times,
    bar: { ratio: 55 },
  });
  add({ group: 1, name: "download, all kernels", unit: "bytes", ours: all[ALL].bytes });
}

function cold(runtime, { mlp, tier, history }, add) {
  const name = `cold start, mlp, ${runtime}`;
  add({ group: 2, name, unit: "ms", ...against(ORT, mlp[OURS].start, mlp[ORT].start), bar: { ratio: 40 } });
  if (runtime !== "Node") return;
  add({ group: 2, name: `cold start, tier bundle, 3 events, ${runtime}`, unit: "ms", ...alone(tier.start), bar: { most: 5 } });
  add({ group: 2, name: `cold start, tier bundle, 200 events, ${runtime}`, unit: "ms", ...alone(history.start) });
}

const alone = (times) => ({
  ours: fewest(median(times)),
  spread: [quantile(times, 0.25), quantile(times, 0.75)].map(fewest),
});

function speed(runtime, rows, models, add) {
  for (const model of MODELS) {
    const times = models[model][rows];
    const bar = { ratio: SPEED[model][rows === 1 ? 0 : 1] };
    const name = `${rowsText(rows)}, ${model}, ${runtime}`;
    add({ group: rows === 1 ? 3 : 4, name, unit: "µs", ...against(ORT, times[OURS], times[ORT]), bar });
  }
}

function native(models, add) {
  for (const model of MODELS) {
    const times = models[model][BATCH];
    const name = `${rowsText(BATCH)}, ${model}, native`;
    const versus = against("onnxruntime", times[OURS], times.onnxruntime);
    add({ group: 4, name, unit: "µs", ...versus, bar: { ratio: SPEED[model][2] } });
  }
}

const rowsText = (rows) => (rows === 1 ? "1 row" : `${rows.toLocaleString("en")} rows`);

function events(runtime, times, add) {
  add({ group: 5, name: `event to explanation, ${runtime}`, unit: "µs", ...alone(times), bar: { most: 20 } });
}

function edge({ gzip, ours, hello, startup, startupHello }, add) {
  add({ group: 6, name: "worker, deployed", unit: "bytes", ours: gzip, bar: { most: 300_000 } });
  // Ours over hello-world: here less is better.
  const { ratio: times, spread } = ratio(hello, ours);
  const values = { ours: fewest(median(ours)), peer: fewest(median(hello)), of: "hello-world worker" };
  const bar = { most: 1.3, ofRatio: true };
  add({
    group: 6,
    name: "worker, CPU a request",
    unit: "µs",
    ...values,
    ratio: fewest(times),
    spread: spread.map(fewest),
    bar,
  });
  const start = { ...alone(startup), peer: fewest(median(startupHello)), of: "hello-world worker" };
  add({ group: 6, name: "worker, start-up CPU", unit: "ms", ...start, bar: { most: 50 } });
}

function memory({ used, after }, add) {
  add({ group: 7, name: "memory, tier bundle", unit: "bytes", ours: used, bar: { most: 2_000_000 } });
  add({ group: 7, name: "memory, growth over a million scores", unit: "bytes", ours: after - used, bar: { most: 0 } });
}

/** Gives each missed bar its sentence: by how much, and what bounds it. */
export function withBounds(list, reasons) {
  return list.map((entry) => {
    if (entry.met !== false) return entry;
    const { bar, unit } = entry;
    const value = bar.ratio !== undefined || bar.ofRatio ? entry.ratio : entry.ours;
    const limit = bar.ratio ?? bar.most;
    const by =
      bar.ratio !== undefined
        ? `${value} of ${limit} times`
        : `${value} of ${limit}${bar.ofRatio ? " times" : ` ${unit}`}`;
    return { ...entry, bound: `${by}: ${reasons[entry.name] ?? UNEXPLAINED}` };
  });
}

export const UNEXPLAINED = "unexplained; say in bounds.json what bounds it";

/**
 * What got worse than the committed ledger allows: 15 % in a size, 30 % in a ratio, 30 % in a time without a peer if the
 * machine is the same, and whatever is there no more of what was measured.
 *
 * @param measured which measures were taken, as `--only` calls them.
 */
export function regressions(now, before, measured) {
  const fresh = new Map(now.map((entry) => [entry.name, entry]));
  return before.flatMap((was) => {
    const entry = fresh.get(was.name);
    if (!entry) return measured.includes(was.measure) ? [`${was.name}: the ledger has it, this run has not`] : [];
    // What is not a number is worse.
    const [value, old, within] = judged(entry, was);
    return within ? [] : [`${was.name}: ${value}, was ${old}`];
  });
}

function judged(entry, was) {
  const { unit, bar, ours, ratio } = entry;
  if (was.ratio !== undefined) {
    const within = bar.ofRatio ? ratio <= was.ratio * 1.3 : ratio >= was.ratio * 0.7;
    return [`ratio ${ratio}`, was.ratio, within];
  }
  const within = unit === "bytes" ? ours <= was.ours * 1.15 : entry.machine !== was.machine || ours <= was.ours * 1.3;
  return [`${ours} ${unit}`, was.ours, within];
}
