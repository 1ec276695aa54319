// A snapshot changed on purpose: its check sum is made to fit again, so that what it guards is reached.
import { createHash } from "node:crypto";

const TAIL = 4;

/** The base64 of a state after `change` has worked on its bytes. */
export function forged(state, change) {
  const bytes = Buffer.from(state, "base64");
  const body = bytes.subarray(0, bytes.length - TAIL);
  change(body);
  createHash("sha256").update(body).digest().copy(bytes, body.length, 0, TAIL);
  return bytes.toString("base64");
}
