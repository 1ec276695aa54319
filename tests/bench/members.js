// What storing a member's event at the edge costs, beside a hello-world worker that does one write of a Durable Object's
// database for each request: processor time of their workerd processes and requests a second, in rounds that alternate
// between the two. Then a soak: the memory of our workerd before and after many events. Prints one JSON object.
//
// Both are asked over kept connections by the same client, one event a request, with the same bodies, about the same
// members. Hello world is plain JavaScript: it stores the body that it is sent, and reads nothing of it.
//
//     node tests/bench/members.js [--rounds N] [--requests N] [--connections N] [--members N] [--soak N] [--soakMembers N]
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ask, children, cpu, memory, request } from "./workerd.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const { Log, LogLevel, Miniflare, Response } = createRequire(join(root, "package.json"))("miniflare");
const build = join(root, "edge-worker", "build");
const FILES = ["index.js", "index_bg.wasm"];
const TOKEN = "bench-token-0123456789";
const SETTINGS = {
  TIERCAST_TOKEN: TOKEN,
  TIERCAST_MEMBER_KEY: "bench-member-key-0123456789-0123456789",
  TIERCAST_STATE_KEY: "bench-state-key-0123456789-0123456789",
};
const HELLO = `
import { DurableObject } from "cloudflare:workers";
export class Member extends DurableObject {
  constructor(context, env) {
    super(context, env);
    context.storage.sql.exec("CREATE TABLE IF NOT EXISTS news (seq INTEGER PRIMARY KEY, record BLOB NOT NULL)");
  }
  async fetch(request) {
    this.ctx.storage.sql.exec("INSERT INTO news (record) VALUES (?)", await request.arrayBuffer());
    return new Response("stored");
  }
}
export default {
  fetch(request, { MEMBERS }) {
    return MEMBERS.get(MEMBERS.idFromName(new URL(request.url).pathname)).fetch(request);
  },
};`;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    requests: { type: "string", default: "2000" },
    connections: { type: "string", default: "8" },
    members: { type: "string", default: "200" },
    soak: { type: "string", default: "100000" },
    soakMembers: { type: "string", default: "1000" },
  },
});
const [rounds, requests, connections, members, soak, soakMembers] = ["rounds", "requests", "connections", "members", "soak", "soakMembers"].map((name) => Number(values[name]));

/** A worker in its own workerd, which stores under a folder of its own, with objects of these classes. */
async function start(folder, scripts, classes) {
  const before = new Set(children());
  const miniflare = new Miniflare({
    log: new Log(LogLevel.ERROR),
    cf: false,
    host: "127.0.0.1",
    port: 0,
    ...scripts,
    compatibilityDate: "2026-04-01",
    bindings: SETTINGS,
    serviceBindings: { ASSETS: () => new Response(bundle) },
    durableObjects: Object.fromEntries(Object.entries(classes).map(([name, className]) => [name, { className, useSQLite: true }])),
    durableObjectsPersist: folder,
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  });
  await miniflare.ready;
  const { port } = new URL(await miniflare.unsafeGetDirectURL());
  return { miniflare, port: Number(port), pid: children().find((child) => !before.has(child)) };
}

let sent = 0;
const NOW = Date.UTC(2017, 9, 1);

/** One new event of one of `count` members, in turn. */
function event(count) {
  sent += 1;
  const line = { id: `line-${sent}`, kind: "purchase", time: NOW + sent * 1000, amountMinor: 1250, item: `item-${sent % 97}`, category: "GROCERY", order: `order-${sent}` };
  return request("POST", `/v1/members/member-${sent % count}/events`, { Authorization: `Bearer ${TOKEN}` }, JSON.stringify({ events: [line] }));
}

/** So many events over all connections: seconds and processor microseconds each. */
async function send({ port, pid }, events, count) {
  const each = Math.ceil(events / connections);
  const [from, spent] = [performance.now(), cpu(pid)];
  await Promise.all(Array.from({ length: connections }, () => ask(port, () => event(count), each)));
  const total = each * connections;
  return { seconds: (performance.now() - from) / 1000 / total, micros: ((cpu(pid) - spent) * 1000) / total };
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const rounded = (number, digits = 3) => Number(number.toFixed(digits));

const bundle = readFileSync(join(root, "tests", "fixtures", "fixture.tcb"));
const folder = mkdtempSync(join(tmpdir(), "tiercast-bench-members-"));
const scripts = { modulesRoot: build, modules: FILES.map((file, i) => ({ type: ["ESModule", "CompiledWasm"][i], path: join(build, file) })) };
const workers = {
  hello: await start(join(folder, "hello"), { modules: true, script: HELLO }, { MEMBERS: "Member" }),
  ours: await start(join(folder, "ours"), scripts, { MEMBERS: "Member", DEVICES: "Device", WATCH: "Watch" }),
};
const costs = { hello: [], ours: [] };
// The first rounds are not kept: V8 compiles the workers while they run, and the members are stored for the first time.
for (let i = -3; i < rounds; i += 1) {
  for (const [name, worker] of Object.entries(workers)) {
    const cost = await send(worker, requests, members);
    if (i >= 0) costs[name].push(cost);
  }
}
await workers.hello.miniflare.dispose();
const ratio = (of) => rounded(median(costs.ours.map((cost, i) => costs.hello[i][of] / cost[of])));
const report = (name) => ({
  perSecond: Math.round(1 / median(costs[name].map(({ seconds }) => seconds))),
  micros: rounded(median(costs[name].map(({ micros }) => micros)), 1),
});
const result = { members, connections, requests: rounds * requests, hello: report("hello"), ours: report("ours"), throughput: ratio("seconds"), processor: ratio("micros") };

const used = [memory(workers.ours.pid)];
const PARTS = 10;
for (let i = 0; soak > 0 && i < PARTS; i += 1) {
  await send(workers.ours, soak / PARTS, soakMembers);
  used.push(memory(workers.ours.pid));
}
await workers.ours.miniflare.dispose();
rmSync(folder, { recursive: true, force: true });
console.log(JSON.stringify({ ...result, soak: { events: soak, members: soakMembers, megabytes: used.map((bytes) => rounded(bytes / 1e6, 1)) } }));
