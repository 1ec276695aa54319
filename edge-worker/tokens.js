// Signed tokens (RFC 7515 and RFC 7519): whose signature and times are good is found out here, by the platform's
// cryptography; what they allow, and whom they are for, in src/claims.rs.
import { bytesOf, wordsOf } from "./seal.js";

/** The header Authorization is the third line. */
const SIGNED = /^.*\n.*\nbearer +(ey[\w-]+\.[\w-]+\.[\w-]+) *\n/i;

/** Bytes of an Ed25519 key. */
const PUBLIC_KEY = 32;

/** Each key with the one algorithm that it is for. They are fixed for each deployed version. */
let keys;

/** As WebCrypto names it. */
export const ED25519 = { name: "Ed25519" };

/** The bytes of base64. */
export const binary = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const unpacked = (part) => binary(part.replaceAll("-", "+").replaceAll("_", "/"));
const read = (part) => JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(unpacked(part)));

async function keysOf(env) {
  const secrets = wordsOf(env.TIERCAST_JWT_SECRET).map((secret) => ["HS256", { name: "HMAC", hash: "SHA-256" }, bytesOf(secret)]);
  const open = wordsOf(env.TIERCAST_JWT_PUBLIC_KEY).map((key) => ["EdDSA", ED25519, binary(key)]);
  return Promise.all(
    [...secrets, ...open].map(async ([algorithm, kind, bytes]) => ({ algorithm, kind, key: await keyOf(kind, bytes) })),
  );
}

/** A key to verify with; before a public key's own bytes may stand what kind of key it is. */
export function keyOf(kind, bytes) {
  const own = kind === ED25519 ? bytes.subarray(-PUBLIC_KEY) : bytes;
  return crypto.subtle.importKey("raw", own, kind, false, ["verify"]);
}

/** The token in what `headOf` wrote, if it is one that could be signed. */
export function signedIn(head) {
  return SIGNED.exec(head)?.[1];
}

/** The claims of a good token as a line of JSON, `expired` for one whose time is over, nothing for any other. */
export async function claimsOf(token, env) {
  // Settings that are no keys are answered for by src/config.rs.
  keys ??= await keysOf(env).catch(() => []);
  try {
    const [header, payload, signature] = token.split(".");
    const { alg, crit } = read(header);
    // Whatever is critical is something that is unknown here.
    if (crit !== undefined || !(await isSigned(`${header}.${payload}`, unpacked(signature), alg))) return "";
    return inTime(read(payload), Number(env.TIERCAST_JWT_LEEWAY_S ?? 0));
  } catch {
    return ""; // Not base64url, UTF-8 or JSON.
  }
}

/** Whether one of the keys for just this algorithm verifies. */
async function isSigned(signed, signature, algorithm) {
  for (const { algorithm: own, kind, key } of keys) {
    if (own === algorithm && (await crypto.subtle.verify(kind, key, signature, bytesOf(signed)))) return true;
  }
  return false;
}

/** Claims within their times, which are seconds, with so many of leeway. */
function inTime(claims, leeway) {
  const { exp, nbf = 0 } = claims;
  const now = Math.floor(Date.now() / 1000);
  if (!Number.isFinite(exp) || !Number.isFinite(nbf) || nbf > now + leeway) return "";
  return exp <= now - leeway ? "expired" : JSON.stringify(claims);
}
