// Measures the package in Node and in Chromium: node scripts/bench.js [BUNDLE.tcb]
import { readFile, stat } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { launch } from "../test/support/chromium.js";
import { BUNDLE, household } from "../test/support/fixtures.js";
import { serve } from "../test/support/serve.js";

const web = fileURLToPath(new URL("..", import.meta.url));
const bundle = process.argv[2] ?? BUNDLE;
const EVENTS = 600;
const ROWS = 1024;

/** Runs in either runtime; gives the median of each measure. Loads are timed apart, each in a fresh process or page. */
async function measure(Scorer, source, events, rows) {
  const scorer = await Scorer.load(source);
  const now = Date.UTC(2017, 11, 31);
  const member = scorer.member(events);
  const row = member.features(now);
  const batch = new Float32Array(rows * row.length);
  for (let i = 0; i < rows; i++) batch.set(row, i * row.length);
  const median = (repeat, work) => {
    const times = [];
    for (let round = 0; round < 15; round++) {
      const before = performance.now();
      for (let i = 0; i < repeat; i++) work();
      times.push(((performance.now() - before) * 1000) / repeat);
    }
    return times.sort((a, b) => a - b)[7];
  };
  return {
    "assess one member (µs)": median(200, () => member.assess(now)),
    "its features alone (µs)": median(200, () => member.features(now)),
    "score 1 row (µs)": median(500, () => scorer.scoreBatch(row)),
    [`score ${rows} rows (µs)`]: median(10, () => scorer.scoreBatch(batch)),
    [`observe ${events.length} events (µs)`]: median(3, () => scorer.member(events).dispose()),
  };
}

async function inNode(events) {
  const before = performance.now();
  const { Scorer } = await import("tiercast");
  await Scorer.load(bundle);
  const load = performance.now() - before;
  return { "import and first load (ms)": load, ...(await measure(Scorer, bundle, events, ROWS)) };
}

async function inChromium(events) {
  const [server, browser] = await Promise.all([serve(web), launch()]);
  try {
    const page = await browser.newPage();
    await page.route("**/blank", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
    await page.route("**/bundle.tcb", (route) => route.fulfill({ path: bundle }));
    await page.goto(`${server.url}blank`);
    return await page.evaluate(
      async ([script, events, rows]) => {
        const before = performance.now();
        const { Scorer } = await import("/dist/entry/browser.js");
        await Scorer.load("/bundle.tcb");
        const load = performance.now() - before;
        const measure = new Function(`return ${script}`)();
        return { "import and first load (ms)": load, ...(await measure(Scorer, "/bundle.tcb", events, rows)) };
      },
      [String(measure), events, ROWS],
    );
  } finally {
    await browser.close();
    await server.close();
  }
}

const wasm = await readFile(new URL("../pkg/tiercast_wasm_bg.wasm", import.meta.url));
console.log(
  `wasm ${(wasm.length / 1e6).toFixed(2)} MB, gzip -9 ${(gzipSync(wasm, { level: 9 }).length / 1e6).toFixed(2)} MB; bundle ${((await stat(bundle)).size / 1e3).toFixed(0)} kB`,
);
const events = household(1, EVENTS);
const node = await inNode(events);
const chromium = await inChromium(events);
console.table(
  Object.fromEntries(
    Object.keys(node).map((key) => [key, { Node: +node[key].toFixed(1), Chromium: +chromium[key].toFixed(1) }]),
  ),
);
