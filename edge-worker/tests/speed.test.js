// What a request costs: processor time of the workerd process, which does not depend on who else uses the machine
// as much as latency does. The bound is wide; what the README reports is measured by `tests/bench/edge.js`.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { sample, start } from "./support/worker.js";

const { bundle, events, now } = sample();
const linux = process.platform === "linux" && existsSync("/proc/self/stat");
const TICKS = linux ? Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" })) : 1;

let worker;
let started;
before(async () => {
  started = performance.now();
  // The largest batch here is a little over what is let in by default.
  worker = await start({ bundle, vars: { TIERCAST_MAX_BODY_BYTES: String(4 << 20) } });
});
after(() => worker.stop());

/** Processor seconds of our own workerd, which is a child of this process. */
function cpu() {
  const stats = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(stat).filter(Boolean);
  const mine = stats.filter(({ parent, name }) => parent === process.pid && name.startsWith("workerd"));
  return mine.reduce((sum, { ticks }) => sum + ticks, 0) / TICKS;
}

function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [, name] = text.match(/\((.*)\)/);
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { name, parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined; // The process ended while it was looked at.
  }
}

async function measure(what, requests, body) {
  const ask = body ? () => worker.score(body) : () => worker.fetch("/healthz");
  const latencies = [];
  const from = cpu();
  for (let i = 0; i < requests; i += 1) {
    const at = performance.now();
    const { status } = await ask();
    latencies.push(performance.now() - at);
    assert.equal(status, 200);
  }
  const ms = ((cpu() - from) * 1000) / requests;
  latencies.sort((a, b) => a - b);
  const quantile = (q) => latencies[Math.floor(q * (latencies.length - 1))].toFixed(2);
  console.log(`${what}: ${ms.toFixed(3)} ms CPU a request; latency p50 ${quantile(0.5)} ms, p95 ${quantile(0.95)} ms`);
  return ms;
}

test("what starting and scoring cost", { skip: linux ? false : "processor time is read from /proc" }, async () => {
  const before = cpu();
  console.log(`starting workerd and compiling the module: ${(before * 1000).toFixed(0)} ms CPU`);
  const at = performance.now();
  await worker.score({ events, now });
  const [ready, first, load] = [at - started, performance.now() - at, (cpu() - before) * 1000].map((ms) => ms.toFixed(0));
  console.log(`workerd ready in ${ready} ms; first request (loads the bundle) ${first} ms, ${load} ms CPU`);
  await measure("warm-up", 200, { events: events.slice(0, 5), now });
  await measure("health", 500);
  await measure("one member, no events", 500, { events: [], now });
  const small = await measure("one member, 20 events", 500, { events: events.slice(0, 20), now });
  const { state } = (await worker.score({ events, now, returnState: true })).json;
  await measure(`one member, ${events.length} events`, 200, { events, now });
  await measure(`one member, state of ${events.length} events and 1 more`, 200, { state, events: events.slice(0, 1), now });
  const members = Array.from({ length: 256 }, (_, i) => ({ member: `m${i}`, events: events.slice(0, 20) }));
  const batch = await measure("256 members, 20 events each", 20, { members, now });
  console.log(`a member in a batch: ${((batch * 1000) / 256).toFixed(0)} µs CPU`);
  assert.ok(small < 10, `one member costs ${small} ms: over the 10 ms that the smallest plan allows`);
});
