// What the edge worker costs beside a hello-world worker in Rust: processor time of their workerd processes, in rounds
// that alternate between the two. Prints one JSON object.
//
// Both workers have the same version of the `worker` crate, the same build, and entry classes of their own that are
// leaner than the one that worker-build generates. Both are asked over kept connections by the same client. The
// comparison is the strict one: hello world answers a GET without a body. `helloPost` sends it our body and token, which
// it does not read. Start-up is the whole process's; `startupWorkerd` is that of workerd with an empty script.
//
//     node tests/bench/edge.js [--rounds N] [--requests N] [--connections N]
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { ask, children, cpu, request as requestOf } from "./workerd.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const { Log, LogLevel, Miniflare, Response } = createRequire(join(root, "package.json"))("miniflare");
const folders = { ours: join(root, "edge-worker", "build"), hello: join(root, "tests", "bench", "hello-worker", "build") };
const FILES = ["index.js", "index_bg.wasm"];
const TOKEN = "bench-token-0123456789";
const STARTS = 5;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "25" },
    requests: { type: "string", default: "400" },
    connections: { type: "string", default: "4" },
  },
});
const [rounds, requests, connections] = ["rounds", "requests", "connections"].map((name) => Number(values[name]));

/** A worker in its own workerd, with the process that is its. */
async function start(name, bundle) {
  const before = new Set(children());
  const miniflare = new Miniflare({
    log: new Log(LogLevel.ERROR),
    cf: false,
    host: "127.0.0.1",
    port: 0,
    ...scripts(name),
    compatibilityDate: "2026-04-01",
    bindings: { TIERCAST_TOKEN: TOKEN },
    serviceBindings: { ASSETS: () => new Response(bundle) },
    // Past miniflare's own entry worker, which would be measured too.
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  });
  await miniflare.ready;
  const { port } = new URL(await miniflare.unsafeGetDirectURL());
  const pid = children().find((child) => !before.has(child));
  return { miniflare, port: Number(port), pid, startup: cpu(pid) };
}

/** What miniflare is to run; an empty worker for a name that has no folder. */
function scripts(name) {
  const folder = folders[name];
  if (!folder) return { modules: true, script: "export default { fetch() {} }" };
  const modules = FILES.map((file, i) => ({ type: ["ESModule", "CompiledWasm"][i], path: join(folder, file) }));
  return { modulesRoot: folder, modules };
}

/** An HTTP request as bytes, with our token if it has a body. */
function request(method, path, body = "") {
  return requestOf(method, path, body ? { authorization: `Bearer ${TOKEN}` } : {}, body);
}

/** Processor microseconds of a request, over `requests` of them. */
async function round({ port, pid }, bytes) {
  const before = cpu(pid);
  await Promise.all(Array.from({ length: connections }, () => ask(port, bytes, Math.ceil(requests / connections))));
  return ((cpu(pid) - before) * 1000) / (Math.ceil(requests / connections) * connections);
}

/** A member with `count` events: those of the parity vectors, in turn, an hour apart. */
function member(count, now) {
  const { cases } = JSON.parse(readFileSync(join(root, "tests", "vectors", "members.json"), "utf8"));
  const known = cases.filter((c) => c.error === undefined && c.events.length > 0).flatMap((c) => c.events);
  const time = (i) => now - (count - i) * 3_600_000;
  return Array.from({ length: count }, (_, i) => ({ ...known[i % known.length], id: `event-${i}`, time: time(i) }));
}

/** The requests that are measured: [worker, bytes]. */
async function cases(ours, hello) {
  const now = Date.UTC(2017, 9, 1);
  const events = member(201, now);
  const score = (body) => request("POST", "/v1/score", JSON.stringify({ now, ...body }));
  const { state } = JSON.parse(await ask(ours.port, score({ events: events.slice(0, 200), returnState: true }), 1));
  const typical = score({ state, events: events.slice(200) });
  return {
    hello: [hello, request("GET", "/")],
    helloPost: [hello, typical],
    ours: [ours, typical],
    oursStateBack: [ours, score({ state, events: events.slice(200), returnState: true })],
    ours1: [ours, score({ events: events.slice(0, 1) })],
    ours20: [ours, score({ events: events.slice(0, 20) })],
    ours200: [ours, score({ events: events.slice(0, 200) })],
    oursHealth: [ours, request("GET", "/healthz")],
  };
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const rounded = (list) => list.map((x) => Number(x.toFixed(2)));

const bundle = readFileSync(join(root, "tests", "fixtures", "fixture.tcb"));
const startup = { workerd: [], hello: [], ours: [] };
for (let i = 0; i < STARTS; i += 1) {
  for (const name of Object.keys(startup)) {
    const worker = await start(name, bundle);
    startup[name].push(worker.startup);
    await worker.miniflare.dispose();
  }
}
const [ours, hello] = [await start("ours", bundle), await start("hello", bundle)];
const loading = cpu(ours.pid);
const measured = await cases(ours, hello);
const firstRequest = cpu(ours.pid) - loading;
const costs = Object.fromEntries(Object.keys(measured).map((name) => [name, []]));
// The first rounds are not kept: V8 compiles the workers while they run.
for (let i = -5; i < rounds; i += 1) {
  for (const [name, [worker, bytes]] of Object.entries(measured)) {
    const cost = await round(worker, bytes);
    if (i >= 0) costs[name].push(cost);
  }
}
await ours.miniflare.dispose();
await hello.miniflare.dispose();

const sizes = FILES.map((file) => gzipSync(readFileSync(join(folders.ours, file)), { level: 9 }).length);
const ratios = Object.keys(costs).map((name) => [name, median(costs[name].map((cost, i) => cost / costs.hello[i]))]);
console.log(
  JSON.stringify({
    scored: "POST /v1/score: the state of a member with 200 events, and one new event",
    gzip: sizes.reduce((sum, size) => sum + size, 0),
    startup: rounded(startup.ours),
    startupHello: rounded(startup.hello),
    startupWorkerd: rounded(startup.workerd),
    firstRequest: Number(firstRequest.toFixed(2)),
    medians: Object.fromEntries(Object.entries(costs).map(([name, list]) => [name, Number(median(list).toFixed(1))])),
    ratios: Object.fromEntries(ratios.map(([name, ratio]) => [name, Number(ratio.toFixed(3))])),
    bytes: Object.fromEntries(Object.entries(measured).map(([name, [, bytes]]) => [name, bytes.length])),
    ...Object.fromEntries(Object.entries(costs).map(([name, list]) => [name, rounded(list)])),
  }),
);
