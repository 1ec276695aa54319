// Made-up traffic for a worker on loopback, so that there is something to watch: about five requests a second of made-up
// members, most of them good, some refused, some risky. Ends when standard input closes, and by itself after two hours.
//     node traffic.js URL TOKEN_FILE
import { readFileSync } from "node:fs";

const [url, tokenFile] = process.argv.slice(2);
const token = readFileSync(tokenFile, "utf8").trim();
const { hostname } = new URL(url);
if (!["127.0.0.1", "localhost", "[::1]"].includes(hostname)) throw new Error(`made-up traffic goes to loopback only, not to ${hostname}`);

const HOURS = 2;
const PAUSE_MS = 130;
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const DUPLICATE = 0.15;
/** How often a member buys, in days, and about how much at a time: a member of each kind gets another tier. */
const KINDS = [[60, 12], [18, 22], [9, 30], [6, 55], [4, 95]];
const CATEGORIES = ["GROCERY", "DRUG GM", "MEAT", "PRODUCE", "DELI"];

let seed = 7;
/** A number in [0, 1), the same in every run. */
function random() {
  seed = (seed * 1_664_525 + 1_013_904_223) % 4_294_967_296;
  return seed / 4_294_967_296;
}
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];

let made = 0;
function purchase(member, time, usual, more = {}) {
  const amount = (usual * (0.5 + random())).toFixed(2);
  const place = { device: `${member.name} phone`, card: `${member.name} card`, ip: `203.0.113.${member.at}`, latitude: 52 + member.at / 50, longitude: 13 };
  return { id: `made-up ${++made}`, kind: "purchase", time, amount, quantity: 1 + below(4), item: `item ${below(40)}`, category: pick(CATEGORIES), channel: pick(["web", "shop"]), order: `order ${made}`, ...place, ...more };
}

/** What a member bought in the last 200 days. */
function history(member, now) {
  const [days, usual] = KINDS[member.at % KINDS.length];
  const events = [];
  for (let time = now - 200 * DAY * random(); time < now; time += days * DAY * (0.4 + 1.2 * random())) events.push(purchase(member, Math.round(time), usual));
  return events;
}

const members = Array.from({ length: 80 }, (_, at) => ({ at, name: `made-up member ${at}` }));
const stored = new Map();

function ask(method, path, value, headers = {}) {
  const body = value === undefined || typeof value === "string" ? value : JSON.stringify(value);
  const sent = { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": "application/json" }), ...headers };
  return fetch(new URL(path, url), { method, headers: sent, body, signal: AbortSignal.timeout(10_000) });
}

/** One member's question, or now and then a batch of them. */
function question(path, member, now, options) {
  if (random() < 0.9) return ask("POST", path, { now, member: member.name, events: history(member, now), ...(options && { options }) });
  const batch = Array.from({ length: 2 + below(8) }, () => pick(members));
  return ask("POST", path, { now, members: batch.map((one) => ({ member: one.name, events: history(one, now) })), ...(options && { options }) });
}

/** Bought just now; one in twelve of the judged on a new device, an hour after an order on the other side of the earth. */
function risk(member, now) {
  const events = history(member, now - DAY);
  const odd = random() < 1 / 12;
  events.push(purchase(member, now - 60 * MINUTE, 30));
  events.push(purchase(member, now, odd ? 900 : 30, odd ? { device: `stolen ${made}`, ip: "198.51.100.9", latitude: -33, longitude: 151 } : {}));
  return ask("POST", "/v1/risk", { now, member: member.name, events, options: { reasons: 2 } });
}

const place = (member, rest = "") => `/v1/members/${encodeURIComponent(member.name)}${rest}`;

/** A member's newest orders; now and then a batch that was sent before. */
function observe(member, now) {
  const before = stored.get(member.name);
  const events = before === undefined ? history(member, now) : random() < DUPLICATE ? before : [purchase(member, now, KINDS[member.at % KINDS.length][1])];
  if (events.length === 0) events.push(purchase(member, now, 20));
  stored.set(member.name, events);
  return ask("POST", place(member, "/events"), { events });
}

/** A member that is stored, once there is one. */
const known = () => pick(members.filter(({ name }) => stored.size === 0 || stored.has(name)));

function erase(member) {
  stored.delete(member.name);
  return ask("DELETE", place(member));
}

/** What is refused, each with another code. */
const MISTAKES = [
  () => ask("POST", "/v1/score", '{"events": ['),
  () => ask("POST", "/v1/score", { events: "none" }),
  (member, now) => ask("POST", "/v1/score", { now, events: [{ kind: "purchase", time: now, amount: "a lot" }] }),
  (member, now) => ask("POST", "/v1/score", { now, events: [{ kind: "gift", time: now }] }),
  () => ask("GET", "/v1/model", undefined, { authorization: "Bearer of-nobody-at-all" }),
  () => ask("GET", "/v1/scores"),
  () => ask("GET", "/v1/score"),
  () => ask("GET", "/v1/members/nobody/assessment"),
];

/** What is asked and how often; only what the bundle answers. */
function kinds(model) {
  const all = [
    [40, (member, now) => question("/v1/score", member, now)],
    [14, risk, "risk"],
    [8, (member, now) => question("/v1/recommend", member, now), "recommend"],
    [4, (member, now) => question("/v1/assign", member, now), "assign"],
    [4, (member, now) => question("/v1/reward", member, now), "reward"],
    [4, (member, now) => question("/v1/points", member, now), "points"],
    [22, observe],
    [12, () => ask("GET", place(known(), "/assessment"))],
    [4, () => ask("GET", place(known(), "/risk")), "risk"],
    [2, () => ask("GET", place(known()))],
    [1, () => erase(known())],
    [2, () => ask("GET", "/v1/model")],
    [3, () => ask("GET", "/healthz")],
    [4, (member, now) => pick(MISTAKES)(member, now)],
  ];
  return all.filter(([, , needed]) => needed === undefined || model[needed] !== undefined);
}

function choose(kinds) {
  let left = random() * kinds.reduce((sum, [weight]) => sum + weight, 0);
  return kinds.find(([weight]) => (left -= weight) < 0)[1];
}

let stopped = false;
process.stdin.resume();
process.stdin.on("close", () => (stopped = true));

const model = await (await ask("GET", "/v1/model")).json();
if (model.error) throw new Error(`the worker does not say what it answers: ${model.error.code}: ${model.error.message}`);
const asked = kinds(model);
const start = Date.now();
let unanswered = 0;
while (!stopped && Date.now() - start < HOURS * 60 * MINUTE) {
  const now = Date.now();
  try {
    await (await choose(asked)(pick(members), now)).arrayBuffer();
  } catch (error) {
    if (stopped) break;
    // Once is a worker that starts afresh; often is one that is gone.
    if (++unanswered > 20) throw new Error("the worker answered twenty requests with nothing", { cause: error });
  }
  // Busier and quieter in turn, every five minutes.
  const wave = 1 + 0.5 * Math.sin(((now - start) / (5 * MINUTE)) * 2 * Math.PI);
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * wave * (0.5 + random())));
}
if (!stopped) console.error(`made-up traffic ended after ${HOURS} hours; start \`cargo xtask watch\` again for more`);
process.exit(0);
