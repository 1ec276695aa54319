// The three places a job runs in: a fresh Node process, a fresh page of Chromium, and native processes that take turns.
import { execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { launch } from "../../web/test/support/chromium.js";
import { interleave, nearEnough } from "./measure.js";
import { serve } from "./serve.js";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const root = here("../..");

/** Runs jobs in Node, each in a process of its own. */
export function inNode(files) {
  return async (job, options = {}) => {
    const args = [here("in-node.js"), files, job, JSON.stringify(options)];
    const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 1 << 26, timeout: 900_000 });
    return JSON.parse(stdout);
  };
}

/** Runs jobs in Chromium, each in a context of its own: nothing is cached between two. */
export async function inChromium(files, built) {
  const [server, browser] = await Promise.all([serve([built, files, root]), launch()]);
  const run = async (job, options = {}) => {
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(server.url);
      return await page.evaluate(
        async ([job, options]) => {
          if (!crossOriginIsolated) throw new Error("the page's clock is coarse");
          const get = async (name) => {
            const response = await fetch(`/${name}`);
            if (!response.ok) throw new Error(`${name}: ${response.status}`);
            return response;
          };
          const assets = {
            browser: true,
            bytes: async (name) => new Uint8Array(await (await get(name)).arrayBuffer()),
            json: async (name) => (await get(name)).json(),
            module: (name) => import(`/web/dist/entry/${name}.js`),
          };
          const jobs = await import("/tests/bench/jobs.js");
          return jobs[job](assets, options);
        },
        [job, options],
      );
    } finally {
      await context.close();
    }
  };
  const close = async () => {
    await browser.close();
    await server.close();
  };
  return { run, close, version: browser.version() };
}

/**
 * Lets native programs take turns on one model: each waits, blocked, until it is asked for a slice.
 *
 * @param programs `{ name: [command, …arguments] }`; each answers `ROWS REPEATS FROM` with nanoseconds.
 */
export async function native(programs, rows, options) {
  const running = [];
  try {
    for (const [name, [command, ...args]] of Object.entries(programs)) {
      const program = await start(name, command, args);
      running.push(program);
      nearEnough(`${name} (${args.join(" ")})`, program.difference);
    }
    const times = {};
    for (const count of rows) {
      const contestants = running.map(({ name, ask }) => ({ name, slice: (n, from) => ask(`${count} ${n} ${from}`) }));
      times[count] = await interleave(contestants, options);
    }
    return times;
  } finally {
    for (const { child } of running) child.stdin.end();
  }
}

async function start(name, command, args) {
  const child = spawn(command, args, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, OMP_NUM_THREADS: "1" },
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${name} ended early; what it said is above`);
    return Number(value);
  };
  const difference = await next();
  const ask = async (line) => {
    child.stdin.write(`${line}\n`);
    return next();
  };
  return { name, child, ask, difference };
}
