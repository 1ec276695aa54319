// Which members a device was seen with: an object for each device, which counts. Neither the device nor a member can be read from
// what it stores: both are the names of objects, which are keyed hashes.
import { DurableObject } from "cloudflare:workers";

const TABLE = "CREATE TABLE IF NOT EXISTS members (name TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID";

/** Milliseconds for which a member counts who does not come back. */
const KEPT = 90 * 86_400_000;

/** Members that are told apart: an event has a byte for their number, and 255 of them stand for more. */
const MOST = 255;

/** Devices that are counted of one request, and kept of one member. */
export const AT_ONCE = 16;
export const OF_A_MEMBER = 1000;

const objectOf = (env, name) => env.DEVICES.get(env.DEVICES.idFromName(name));

/** With how many members each of these devices was seen, this one included. */
export function seen(env, devices, member) {
  return Promise.all(devices.slice(0, AT_ONCE).map((device) => objectOf(env, device).see(member)));
}

/** Forgets that these devices were seen with a member. */
export async function forget(env, devices, member) {
  for (let at = 0; at < devices.length; at += AT_ONCE) {
    await Promise.all(devices.slice(at, at + AT_ONCE).map((device) => objectOf(env, device).forget(member)));
  }
}

/** A device. */
export class Device extends DurableObject {
  async see(member) {
    const { sql } = this.ctx.storage;
    const now = Date.now();
    sql.exec(TABLE);
    sql.exec("DELETE FROM members WHERE at < ?", now - KEPT);
    const count = () => sql.exec("SELECT count(*) AS count FROM members").one().count;
    const is = sql.exec("SELECT 1 FROM members WHERE name = ?", member).toArray().length > 0;
    if (is || count() < MOST) sql.exec("INSERT INTO members VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at", member, now);
    // A device that nobody uses any more leaves nothing.
    await this.ctx.storage.setAlarm(now + KEPT);
    return count();
  }

  forget(member) {
    this.ctx.storage.sql.exec(TABLE);
    this.ctx.storage.sql.exec("DELETE FROM members WHERE name = ?", member);
  }

  async alarm() {
    await this.ctx.storage.deleteAll();
  }
}
