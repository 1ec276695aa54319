// Where bundles come from: from the assets of the deployed version, or from a store, an R2 bucket or a KV namespace bound as BUNDLES.
// There release.json says which answer, signed with the key whose public half is TIERCAST_RELEASE_KEY. What it says is read and
// decided in src/release.rs; here it is fetched and verified.
import * as tiercast from "./index.js";
import { bytesOf, wordsOf } from "./seal.js";
import { noted, revive } from "./start.js";
import { ED25519, binary, keyOf } from "./tokens.js";
import { known } from "./watch.js";

/** Any host does: the assets look at the path only. */
const ASSET = "https://assets.local/bundle.tcb";

const POINTER = "release.json";

/** What is signed begins with this. */
const SIGNED = "tiercast release 1\n";

/** Milliseconds before a store that failed is asked again. */
const PAUSE = 2000;

let asked = 0;
let failed = 0;
let busy;

/** Looks again, if it is time, without keeping anybody waiting. */
export function refresh(env, context) {
  if (!env.BUNDLES || busy || Date.now() - asked < 1000 * Number(env.TIERCAST_RELEASE_SECONDS ?? 60)) return;
  context.waitUntil(released(env));
}

/** Asks for a bundle, where there is none; what is wrong is answered by src/runtime.rs. */
export function bundles(env) {
  return env.BUNDLES ? released(env) : deployed(env);
}

async function deployed({ ASSETS }) {
  if (!ASSETS) return tiercast.bundle_set(0);
  const found = await ASSETS.fetch(ASSET).then(async ({ status, body }) => [status, new Uint8Array(await new Response(body).arrayBuffer())]).catch(() => [503]);
  tiercast.bundle_set(...found);
}

/** Takes over what the store holds. It says what is wrong to `release_failed`, and fails never. */
function released(env) {
  if (busy) return busy;
  if (Date.now() - failed < PAUSE) return Promise.resolve();
  asked = Date.now();
  busy = take(env)
    .catch((error) => {
      failed = Date.now();
      if (!(error instanceof Refused) && noted(error)) revive();
      tiercast.release_failed(error instanceof Refused ? error.message : "bundle_unreachable");
    })
    .finally(() => (busy = undefined));
  return busy;
}

/** Its message is the code. */
class Refused extends Error {}

async function take(env) {
  const payload = await verified(await read(env, POINTER, "release_missing"), env);
  const { serial: number, stable, next } = parsed(payload);
  // Where nobody knows, the store is believed; a trial that was given up ends when that is known again.
  const { serial, age, withdrawn } = await known(env).catch(() => ({ serial: 0, age: 0, withdrawn: 0 }));
  const bundle = (pin) => (pin && !tiercast.release_has(pin.sha256) ? read(env, `bundles/${pin.sha256}.tcb`, "bundle_missing") : undefined);
  // Without the bundle that is to be tried the stable one answers.
  const tried = withdrawn === number ? undefined : next;
  const bytes = await Promise.all([bundle(stable), Promise.resolve(bundle(tried)).catch(() => undefined)]);
  tiercast.release_set(payload, ...bytes, serial, age, withdrawn);
}

/** The bytes under a key: an R2 bucket answers with an object, a KV namespace with what was asked for. */
async function read({ BUNDLES }, key, missing) {
  const found = "getWithMetadata" in BUNDLES ? await BUNDLES.get(key, "arrayBuffer") : await BUNDLES.get(key).then((object) => object?.arrayBuffer());
  if (!found) throw new Refused(missing);
  return new Uint8Array(found);
}

/** What was signed. */
async function verified(pointer, env) {
  try {
    const { payload, signature } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(pointer));
    const key = await keyOf(ED25519, binary(wordsOf(env.TIERCAST_RELEASE_KEY)[0]));
    if (await crypto.subtle.verify(ED25519, key, binary(signature), bytesOf(SIGNED + payload))) return payload;
  } catch {
    // It is no JSON, or no base64, or there is no key.
  }
  throw new Refused("release_signature");
}

function parsed(payload) {
  try {
    return JSON.parse(payload);
  } catch {
    throw new Refused("release_malformed");
  }
}
