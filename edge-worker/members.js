// Members that live at the edge: an object with a database of its own for each. It stores, seals and queues; what is
// decided is decided in src/act.rs, and what is stored is described in src/kept.rs.
//
// An object does one thing at a time: whatever it waits for, nothing that was asked later comes between. Nobody is answered
// before what was written is on disk: the platform holds answers back until then.
import { DurableObject } from "cloudflare:workers";
import { bundles, refresh } from "./bundles.js";
import { AT_ONCE, OF_A_MEMBER, forget, seen } from "./devices.js";
import * as tiercast from "./index.js";
import { bounded } from "./request.js";
import { sealOf } from "./seal.js";
import { failed, headOf, noted, revive } from "./start.js";
import { telling } from "./watch.js";

const TABLES = `
  CREATE TABLE IF NOT EXISTS state (part INTEGER PRIMARY KEY, record BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS news (seq INTEGER PRIMARY KEY, record BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS devices (name TEXT PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS audit (at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL);`;

/** Bytes of a row, of which the platform takes two million. Only a history of tens of thousands of events has two. */
const PART = 1 << 20;

/** Entries that the audit keeps. */
const AUDIT = 1000;

/** What an object is asked for, as `Visit::url` in src/members.rs numbers it. */
const [OBSERVE, EXPORT, ERASE] = ["0", "2", "4"];

/** Asks a member's object; `url` says which, and what. */
export async function visit(url, request, env) {
  const { method, headers } = request;
  const order = { method, headers: headers.has("origin") ? { origin: headers.get("origin") } : {} };
  if (method === "POST" || method === "PUT") {
    // Read here, as far as the limit: of a stream that is passed on, the connection could be closed before its end was seen.
    const reading = headers.has("content-length") ? request.arrayBuffer() : bounded(request, tiercast.member_limit());
    order.body = await reading.catch(() => null);
  }
  try {
    const [, , , , object] = url.split("/");
    return await env.MEMBERS.get(env.MEMBERS.idFromName(object)).fetch(url, order);
  } catch (error) {
    noted(error);
    return tiercast.member_instead("unavailable", headOf(request));
  }
}

/** How many objects this isolate has had: what the histories in the module's memory are numbered by. */
let objects = 0;

/** A member. */
export class Member extends DurableObject {
  #handle = (objects += 1);
  #last = Promise.resolve();
  #seal;

  async fetch(request) {
    const body = await request.arrayBuffer().then((buffer) => new Uint8Array(buffer), () => undefined);
    const done = this.#last.then(() => this.#answer(request, body)).catch((error) => {
      // What is in memory may be ahead of what is stored.
      this.#handle = objects += 1;
      return failed(error);
    });
    this.#last = done;
    refresh(this.env, this.ctx);
    telling(this.env, this.ctx);
    return done;
  }

  async #answer(request, body) {
    revive();
    const head = `${request.method}\n${request.url}\n\n${request.headers.get("origin") ?? ""}`;
    const [, , , deed, object] = request.url.split("/");
    if (deed === ERASE) {
      if (!(await this.#forget(object))) return tiercast.member_instead("unavailable", head);
      await this.ctx.storage.deleteAll();
      tiercast.member_forget(this.#handle);
      return tiercast.member_instead("erased", head);
    }
    if (tiercast.member_lacks_bundle(this.env)) await bundles(this.env);
    if (!tiercast.member_ready()) {
      const refusal = tiercast.member_load(head, this.env);
      if (refusal) return refusal;
    }
    this.#seal ??= await sealOf(object, this.env);
    const counts = deed === OBSERVE && this.env.DEVICES ? await this.#seen(body, object) : [];
    // Another release may come while the records are opened: they are read as the bundle that answers reads them.
    while (!tiercast.member_holds(this.#handle)) {
      if (!(await this.#open(head))) return tiercast.member_instead("unreadable", head);
    }
    const audit = deed === EXPORT && this.#stored() ? this.#audit() : "[]";
    const [response, record, whole, who, what] = tiercast.member_act(this.#handle, head, body, audit, new Uint16Array(counts), Date.now());
    if (record) this.#store(await this.#seal.seal(record), whole);
    if (who) this.#note(who, what);
    return response;
  }

  /** Whether anything was ever stored: looking must not make tables. */
  #stored(table = "state") {
    return this.ctx.storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = ?", table).toArray().length > 0;
  }

  /** With how many members the devices of a body of events were seen. */
  async #seen(body, object) {
    const devices = tiercast.member_devices(body).slice(0, AT_ONCE);
    if (devices.length === 0) return [];
    // Noted first, so that an erasure finds all of them.
    const { sql } = this.ctx.storage;
    sql.exec(TABLES);
    const noted = new Set(this.#devices());
    const own = devices.filter((device) => noted.has(device) || (noted.size < OF_A_MEMBER && noted.add(device)));
    own.forEach((device) => sql.exec("INSERT OR IGNORE INTO devices VALUES (?)", device));
    const counts = await seen(this.env, own, object);
    return devices.map((device) => counts[own.indexOf(device)] ?? 0);
  }

  /** Has all devices forget the member; false where they cannot be asked. What was done need not be done again. */
  async #forget(object) {
    const devices = this.#devices();
    if (devices.length > 0 && !this.env.DEVICES) return false;
    for (let at = 0; at < devices.length; at += AT_ONCE) {
      const some = devices.slice(at, at + AT_ONCE);
      await forget(this.env, some, object);
      some.forEach((device) => this.ctx.storage.sql.exec("DELETE FROM devices WHERE name = ?", device));
    }
    return true;
  }

  #devices() {
    if (!this.#stored("devices")) return [];
    return this.ctx.storage.sql.exec("SELECT name FROM devices").toArray().map(({ name }) => name);
  }

  /** Takes what is stored into the module's memory; false when it cannot be read. */
  async #open(head) {
    const { sql } = this.ctx.storage;
    const records = (table, key) => sql.exec(`SELECT record FROM ${table} ORDER BY ${key}`).toArray().map(({ record }) => new Uint8Array(record));
    const plain = [];
    if (this.#stored()) {
      const parts = records("state", "part");
      try {
        if (parts.length > 0) plain.push(await this.#seal.open(joined(parts)));
        for (const record of records("news", "seq")) plain.push(await this.#seal.open(record));
      } catch {
        return false;
      }
    }
    return tiercast.member_open(this.#handle, head, plain);
  }

  /** Stores a record: one more row, or in place of all. */
  #store(record, whole) {
    const { sql } = this.ctx.storage;
    if (!whole) {
      sql.exec("INSERT INTO news (record) VALUES (?)", record);
      return;
    }
    this.ctx.storage.transactionSync(() => {
      sql.exec(`${TABLES} DELETE FROM state; DELETE FROM news;`);
      for (let at = 0; at < record.length; at += PART) {
        sql.exec("INSERT INTO state VALUES (?, ?)", at / PART, record.subarray(at, at + PART));
      }
    });
  }

  /** The audit's entries as JSON. */
  #audit() {
    return JSON.stringify(this.ctx.storage.sql.exec("SELECT at, who, what FROM audit ORDER BY rowid").toArray());
  }

  #note(who, what) {
    const { sql } = this.ctx.storage;
    sql.exec("INSERT INTO audit VALUES (?, ?, ?)", Date.now(), who, what);
    sql.exec("DELETE FROM audit WHERE rowid <= (SELECT max(rowid) FROM audit) - ?", AUDIT);
  }
}

function joined(parts) {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}
