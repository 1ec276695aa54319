// Starts the built worker in real workerd, with any bundle and any settings, and talks HTTP to it.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Log, LogLevel, Miniflare, Response } from "miniflare";
import { checkAnswer } from "./openapi.js";

export const edge = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
export const root = join(edge, "..");
export const TOKEN = "test-token-0123456789";

/** What members are stored with. */
export const KEYS = {
  TIERCAST_MEMBER_KEY: "member-key-0123456789-0123456789-0",
  TIERCAST_STATE_KEY: "state-key-0123456789-0123456789-01",
};

const built = ["index.js", "index_bg.wasm"].map((name) => join(edge, "build", name));
for (const path of built) {
  if (!existsSync(path)) throw new Error(`${path} is missing: run \`cargo xtask build\` first`);
}

/** The files of parity vectors, each with the bytes of its bundle; real members' too, where they were made. */
function files() {
  const folder = join(root, "tests", "vectors");
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
  if (names.length === 0) throw new Error(`no parity vectors in ${folder}: run \`cargo xtask vectors\``);
  const real = process.env.TIERCAST_REAL_VECTORS;
  const paths = [...names.map((name) => join(folder, name)), ...(real ? [real] : [])];
  return paths.map(read).filter((file) => !digests(file));
}

function read(path) {
  const vector = JSON.parse(readFileSync(path, "utf8"));
  if (vector.format !== 1) throw new Error(`${path} has format ${vector.format}`);
  const bundleBytes = readFileSync(resolve(root, vector.bundle));
  return { ...vector, name: basename(path), real: path === process.env.TIERCAST_REAL_VECTORS, bundleBytes };
}

// Digests of real members are compared natively, where their vectors are made.
const digests = ({ cases }) => cases.every((c) => "sha256" in c);
const scores = ({ cases }) => cases.every((c) => Array.isArray(c.events));
const damages = ({ cases }) => cases.every((c) => "keep" in c || "set" in c);

/** Members and what must be computed for them; files of another kind are damaged bundles, or unknown. */
export function vectors() {
  const unknown = files().filter((file) => !scores(file) && !damages(file));
  if (unknown.length > 0) throw new Error(`no test here reads ${unknown.map((file) => file.name)}`);
  return files().filter(scores);
}

/** Bundles that were damaged, and the code with which each is refused. */
export function damagedBundles() {
  return files().filter(damages).flatMap(({ bundleBytes, cases }) => {
    return cases.map(({ name, keep = bundleBytes.length, set, error }) => {
      const bytes = Buffer.from(bundleBytes.subarray(0, keep));
      if (set) bytes[set[0]] = set[1];
      return { name, bytes, error };
    });
  });
}

/** A real member to vary: events that score, the moment, and the bundle they belong to. */
export function sample() {
  const { bundleBytes, cases } = vectors().find((file) => !file.real);
  const good = cases.filter((c) => c.error === undefined && c.events.length >= 3);
  const best = good.reduce((a, b) => (b.events.length > a.events.length && b.events.length <= 200 ? b : a));
  return { bundle: bundleBytes, events: best.events, now: best.now, expected: best };
}

/**
 * A worker on loopback. `bundle` is what its ASSETS binding serves: bytes, null for a 404, or a function.
 * `token: null` leaves the secret unset; `members` is the folder in which members are stored, or true for one that ends
 * with the worker, or false for no binding. `objects` are bound as well: `DEVICES`, `WATCH`. `store` is a Map of what BUNDLES
 * holds, as a KV namespace, or with `r2` as a bucket; `limit` is how many requests a caller may send in a minute. `change`
 * works on the script before it is started.
 */
export async function start({ bundle, vars = {}, token = TOKEN, assets = true, members = true, objects = [], store, r2 = false, limit, change }) {
  const serve = typeof bundle === "function" ? bundle : () => respond(bundle);
  const miniflare = new Miniflare({
    log: new Log(LogLevel.ERROR),
    cf: false,
    host: "127.0.0.1",
    port: 0,
    modulesRoot: join(edge, "build"),
    modules: [
      { type: "ESModule", path: built[0], ...(change && { contents: change(readFileSync(built[0], "utf8")) }) },
      { type: "CompiledWasm", path: built[1] },
    ],
    compatibilityDate: "2026-04-01",
    bindings: { ...vars, ...(token === null ? {} : { TIERCAST_TOKEN: token }) },
    serviceBindings: assets ? { ASSETS: serve } : {},
    durableObjects: Object.fromEntries([...(members ? ["MEMBERS"] : []), ...objects].map((name) => [name, { className: CLASSES[name], useSQLite: true }])),
    ...(store && (r2 ? { r2Buckets: ["BUNDLES"] } : { kvNamespaces: ["BUNDLES"] })),
    ...(limit && { ratelimits: { LIMITER: { simple: { limit, period: 60 } } } }),
    ...(typeof members === "string" && { durableObjectsPersist: members }),
    // Past miniflare's own entry worker, so that its time and its rules are not measured.
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  });
  await miniflare.ready;
  const url = new URL(await miniflare.unsafeGetDirectURL());
  const worker = new Worker(miniflare, url, token);
  if (store) worker.store = r2 ? await miniflare.getR2Bucket("BUNDLES") : await miniflare.getKVNamespace("BUNDLES");
  for (const [key, value] of store ?? []) await worker.store.put(key, typeof value === "string" ? value : new Uint8Array(value).buffer);
  return worker;
}

/** The classes of objects, by their bindings. */
const CLASSES = { MEMBERS: "Member", DEVICES: "Device", WATCH: "Watch" };

function respond(bundle) {
  return bundle === null ? new Response("not found", { status: 404 }) : new Response(bundle);
}

class Worker {
  constructor(miniflare, url, token) {
    Object.assign(this, { miniflare, url, token });
  }

  /** Any request; the answer is checked against openapi.json. */
  async fetch(path, { method = "GET", headers = {}, body, auth = true, duplex, signal } = {}) {
    const sent = { ...(auth && this.token ? { authorization: `Bearer ${this.token}` } : {}), ...headers };
    const response = await fetch(new URL(path, this.url), { method, headers: sent, body, duplex, signal });
    const text = await response.text();
    const answer = { status: response.status, headers: response.headers, text, json: undefined };
    if (text !== "" && response.headers.get("content-type") === "application/json") answer.json = JSON.parse(text);
    checkAnswer(method, new URL(path, this.url).pathname, answer);
    return answer;
  }

  /** POST /v1/score with a value, or with text or bytes as they are. */
  score(value, { query = "", headers = {}, ...rest } = {}) {
    const body = typeof value === "string" || Buffer.isBuffer(value) ? value : JSON.stringify(value);
    return this.fetch(`/v1/score${query}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
      ...rest,
    });
  }

  /** POST, PUT, GET or DELETE under /v1/members/{id}; `id` is encoded here. */
  member(method, id, rest = "", value = undefined, options = {}) {
    const body = value === undefined || typeof value === "string" || Buffer.isBuffer(value) ? value : JSON.stringify(value);
    const headers = { ...(body === undefined ? {} : { "content-type": "application/json" }), ...options.headers };
    return this.fetch(`/v1/members/${encodeURIComponent(id)}${rest}`, { ...options, method, headers, body });
  }

  observe(id, events, options) {
    return this.member("POST", id, "/events", { events }, options);
  }

  stop() {
    return this.miniflare.dispose();
  }
}
