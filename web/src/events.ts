import { describe } from "./bytes.js";
import { TiercastError } from "./errors.js";
import type { MemberEvent } from "./types.js";

/** What a field may hold; whether what it holds makes sense is the core's business. */
type Shape = "text" | "name" | "number" | "amount" | "time";

/** An event's fields, in the order in which the engine reads them (`wasm/src/events.rs`). */
const FIELDS: readonly (readonly [keyof MemberEvent, Shape])[] = [
  ["kind", "text"],
  ["time", "time"],
  ["id", "name"],
  ["amount", "amount"],
  ["amountMinor", "amount"],
  ["discount", "amount"],
  ["discountMinor", "amount"],
  ["quantity", "number"],
  ["item", "name"],
  ["category", "name"],
  ["channel", "name"],
  ["order", "name"],
];
const NAMES = new Set<string>(FIELDS.map(([name]) => name));
const REQUIRED = 2;

const NEEDS: Record<Shape, string> = {
  text: "a text",
  name: "a text or a whole number",
  number: "a number",
  amount: "a number or a text",
  time: "a Date, milliseconds since 1970, or a date as text",
};

/** The core takes texts of up to 256 bytes; of a longer one it needs only enough to refuse it. */
const LONGEST = 1000;

const utf8 = new TextEncoder();
let bytes = new Uint8Array(1024);
let data = new DataView(bytes.buffer);
let end = 0;

/**
 * Writes events as the engine reads them. The bytes are good until the next call, so the events must be plain copies:
 * a getter or proxy could call this again in the middle.
 */
export function written(events: readonly MemberEvent[]): Uint8Array {
  end = 0;
  events.forEach(writeEvent);
  return bytes.subarray(0, end);
}

function writeEvent(event: MemberEvent, index: number): void {
  const refuse = (reason: string) =>
    new TiercastError("invalid_event", `event ${index}: not an event: ${reason}`);
  if (typeof event !== "object" || event === null || Array.isArray(event)) {
    throw refuse(`expected an object with kind and time; this is ${describe(event)}`);
  }
  for (const name of Object.keys(event)) {
    if (!NAMES.has(name) && event[name as keyof MemberEvent] !== undefined) {
      throw refuse(`unknown field ${JSON.stringify(name)}; there are ${[...NAMES].join(", ")}`);
    }
  }
  for (const [i, [name, shape]] of FIELDS.entries()) {
    const value: unknown = event[name];
    if (value === undefined || value === null) {
      if (i < REQUIRED) throw refuse(`${name} is missing`);
      room(1);
      bytes[end++] = 0;
    } else if (typeof value === "number" && shape === "name") {
      if (!Number.isInteger(value) || Math.abs(value) > 2 ** 53) throw refuse(`${name} must be ${NEEDS.name}`);
      writeText(String(value));
    } else if (typeof value === "number" && shape !== "text") {
      room(9);
      bytes[end] = 1;
      data.setFloat64(end + 1, value, true);
      end += 9;
    } else if (typeof value === "string" && shape !== "number") {
      writeText(value);
    } else {
      throw refuse(`${name} must be ${NEEDS[shape]}; this is ${describe(value)}`);
    }
  }
}

function writeText(given: string): void {
  const text = given.length > LONGEST ? given.slice(0, LONGEST) : given;
  room(3 + 3 * text.length);
  const from = end + 3;
  const length = writeAscii(text, from) ? text.length : utf8.encodeInto(text, bytes.subarray(from)).written;
  bytes[end] = 2;
  data.setUint16(end + 1, length, true);
  end = from + length;
}

/** Most texts are short and plain, and the general encoder costs more to call than they do to write. */
function writeAscii(text: string, at: number): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return false;
    bytes[at + i] = code;
  }
  return true;
}

function room(more: number): void {
  if (end + more <= bytes.length) return;
  const larger = new Uint8Array(2 * (end + more));
  larger.set(bytes.subarray(0, end));
  bytes = larger;
  data = new DataView(bytes.buffer);
}
