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

/** With how many members each of these devices was seen, this one included; 0 where its object does not answer. */
export async function seen(env, devices, member) {
  const found = await Promise.allSettled(devices.map((device) => objectOf(env, device).see(member)));
  return found.map(({ value = 0 }) => value);
}

/** Forgets that these devices, at most `AT_ONCE`, were seen with a member. */
export function forget(env, devices, member) {
  return Promise.all(devices.map((device) => objectOf(env, device).forget(member)));
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
    // Nobody stays longer, and a device that nobody uses any more leaves nothing.
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(now + KEPT);
    return count();
  }

  async forget(member) {
    const { sql } = this.ctx.storage;
    sql.exec(TABLE);
    sql.exec("DELETE FROM members WHERE name = ?", member);
    if (sql.exec("SELECT 1 FROM members LIMIT 1").toArray().length === 0) await this.alarm();
  }

  async alarm() {
    const { sql } = this.ctx.storage;
    sql.exec(TABLE);
    sql.exec("DELETE FROM members WHERE at <= ?", Date.now() - KEPT);
    const { oldest } = sql.exec("SELECT min(at) AS oldest FROM members").one();
    if (oldest !== null) return this.ctx.storage.setAlarm(oldest + KEPT);
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
  }
}
