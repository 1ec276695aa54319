// A store of bundles with a signed release in it, as `tiercast deploy` writes it.
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KEYS, root, sample, start } from "./worker.js";

export const { bundle } = sample();
/** Another that scores the same members. */
export const other = readFileSync(join(root, "tests", "fixtures", "ranks.tcb"));
export const { publicKey, privateKey } = generateKeyPairSync("ed25519");
export const vars = { ...KEYS, TIERCAST_RELEASE_KEY: Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url").toString("base64"), TIERCAST_RELEASE_SECONDS: "1" };
export const objects = ["WATCH"];
export const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
export const pin = (bytes) => ({ sha256: hash(bytes), bytes: bytes.length });
export const key = (bytes) => `bundles/${hash(bytes)}.tcb`;

/** What lies in the store as release.json. */
export function pointer(release, { secret = privateKey, change = (text) => text } = {}) {
  const payload = JSON.stringify({ format: 1, ...release });
  const signature = sign(null, Buffer.from(`tiercast release 1\n${payload}`), secret).toString("base64");
  return JSON.stringify({ payload: change(payload), signature });
}

/** A bundle that is tried, the other one unless it is given. */
export const trial = (stage, share = 1, { bytes = other, ...more } = {}) => ({ ...pin(bytes), stage, share, minRequests: 20, maxFailures: 0.1, ...more });

/** A worker with bundles in its store, released like this, which is the first release of `bundle` unless it says otherwise. */
export function released(release, { bundles = [bundle, other], r2 = false, ...more } = {}) {
  const store = new Map(bundles.map((bytes) => [key(bytes), bytes]));
  const text = typeof release === "object" ? pointer({ serial: 1, stable: pin(bundle), ...release }) : release;
  if (text !== undefined) store.set("release.json", text);
  return start({ bundle: null, vars, objects, store, r2, ...more });
}
