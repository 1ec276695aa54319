// What all isolates count, added up in one object, and how the trial of a bundle fares. What is counted, and when a trial has
// failed, is decided in src/watch.rs and src/release.rs.
import { DurableObject } from "cloudflare:workers";
import * as tiercast from "./index.js";

const TABLES = `
  CREATE TABLE IF NOT EXISTS series (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS drift (bundle TEXT PRIMARY KEY, at INTEGER NOT NULL, counts BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS release (
    only INTEGER PRIMARY KEY CHECK (only = 0), serial REAL NOT NULL, since REAL NOT NULL, about TEXT NOT NULL,
    requests REAL NOT NULL, failed REAL NOT NULL, withdrawn REAL NOT NULL, what TEXT NOT NULL);
  INSERT OR IGNORE INTO release VALUES (0, 0, 0, '', 0, 0, 0, '');`;

const ADD = "INSERT INTO series VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value";

/** Milliseconds between two times that an isolate tells what it counted. */
const EVERY = 5000;

const DAY = 86_400_000;

/** What an isolate keeps while the object does not answer. */
const UNSENT = 20;

let told = 0;
let unsent = [];
/** What was taken last, and what with a release last: a module that starts afresh knows none for a while. */
let latest = [];
let released = [];

const objectOf = (env) => env.WATCH.get(env.WATCH.idFromName("watch"));

/** Counts an answer, and gives it back. */
export function counted(request, response, from, env, context) {
  if (!env.WATCH) return response;
  tiercast.watch_done(request.method, request.url, response.status, Date.now() - from);
  telling(env, context);
  return response;
}

/** Tells what was counted, if it is time. */
export function telling(env, context) {
  if (!env.WATCH || Date.now() - told < EVERY) return;
  told = Date.now();
  context.waitUntil(tell(env));
}

async function tell(env) {
  latest = tiercast.watch_take();
  if (latest[2] > 0) released = latest;
  unsent = [...unsent, latest].slice(-UNSENT);
  const sent = unsent;
  unsent = [];
  try {
    const { withdrawn } = await objectOf(env).add(sent);
    if (released[2] === withdrawn) released = [];
    tiercast.trial_end(withdrawn);
  } catch {
    unsent = [...sent, ...unsent].slice(-UNSENT);
  }
}

/** Counts a failure that the module cannot count itself; of the module, and with a trial under way, as the trial's. */
export function crashed(trapped) {
  const [, , serial = 0, , , least = 0, most = 0, what = ""] = released;
  const one = trapped && least > 0 ? 1 : 0;
  unsent = [...unsent, [`tiercast_errors_total{code="internal_error"} 1`, "", serial, one, one, least, most, what]].slice(-UNSENT);
}

/** The latest release that any isolate knew, for how long, and the one whose trial was given up. */
export async function known(env) {
  return env.WATCH ? objectOf(env).known() : { serial: 0, age: 0, withdrawn: 0 };
}

/** All series as lines, with what this isolate has counted, and the members counted for the drift of its bundle. */
export async function series(env) {
  await tell(env);
  const [bundle] = latest.slice(-2);
  return objectOf(env).series(bundle);
}

/** The one object that adds up. */
export class Watch extends DurableObject {
  constructor(context, env) {
    super(context, env);
    context.storage.sql.exec(TABLES);
  }

  /** Adds what isolates counted: each what `watch_take` in src/runtime.rs makes. */
  add(all) {
    this.ctx.storage.transactionSync(() => all.forEach((counts) => this.#add(...counts)));
    return this.known();
  }

  #add(lines, about, serial, requests, failed, least, most, what, bundle, members) {
    const { sql } = this.ctx.storage;
    for (const line of lines.split("\n")) {
      const end = line.lastIndexOf(" ");
      if (end > 0) sql.exec(ADD, line.slice(0, end), Number(line.slice(end)));
    }
    if (members?.some((count) => count > 0)) this.#drift(bundle, members);
    const release = this.#release();
    if (serial < release.serial) return;
    const begun = serial > release.serial ? { ...release, serial, since: Date.now(), requests: 0, failed: 0 } : release;
    const [asked, missed] = [begun.requests + requests, begun.failed + failed];
    const gone = least > 0 && begun.withdrawn !== serial && tiercast.trial_fails(asked, missed, least, most);
    sql.exec(
      "UPDATE release SET serial = ?, since = ?, about = ?, requests = ?, failed = ?, withdrawn = ?, what = ?",
      serial, begun.since, about || begun.about, asked, missed, gone ? serial : begun.withdrawn, gone ? what : begun.what,
    );
  }

  #release() {
    return this.ctx.storage.sql.exec("SELECT * FROM release").one();
  }

  known() {
    const { serial, since, withdrawn } = this.#release();
    return { serial, age: Date.now() - since, withdrawn };
  }

  /** Adds members to those counted for a bundle's drift; a day halves what an old one counts. */
  #drift(bundle, members) {
    const { sql } = this.ctx.storage;
    const now = Date.now();
    const before = this.#counts(bundle, now);
    const counts = Float64Array.from(members, (count, i) => count + (before[i] ?? 0));
    sql.exec("INSERT OR REPLACE INTO drift VALUES (?, ?, ?)", bundle, now, counts.buffer);
    sql.exec("DELETE FROM drift WHERE at < ?", now - 7 * DAY);
  }

  #counts(bundle, now) {
    const [row] = this.ctx.storage.sql.exec("SELECT at, counts FROM drift WHERE bundle = ?", bundle ?? "").toArray();
    return row ? new Float64Array(row.counts).map((count) => count * 0.5 ** ((now - row.at) / DAY)) : [];
  }

  series(bundle) {
    const { sql } = this.ctx.storage;
    const lines = sql.exec("SELECT name, value FROM series ORDER BY name").toArray().map(({ name, value }) => `${name} ${value}`);
    const { about, serial, withdrawn, what } = this.#release();
    return { lines: [...lines, about, serial === withdrawn ? what : ""].join("\n"), counts: [...this.#counts(bundle, Date.now())] };
  }
}
