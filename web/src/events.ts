import { describe } from "./bytes.js";
import { TiercastError } from "./errors.js";
import type { MemberEvent } from "./types.js";

/** What a field may hold; whether what it holds makes sense is the core's business. */
type Shape = "text" | "name" | "number" | "amount" | "time";

/** An event's fields, in the order in which the engine reads them (`wasm/src/events.rs`). */
const FIELDS: readonly { name: keyof MemberEvent; shape: Shape; alias?: keyof MemberEvent }[] = [
  { name: "kind", shape: "text" },
  { name: "time", shape: "time" },
  { name: "id", shape: "name" },
  { name: "amount", shape: "amount" },
  { name: "amountMinor", shape: "amount", alias: "amount_minor" },
  { name: "discount", shape: "amount" },
  { name: "discountMinor", shape: "amount", alias: "discount_minor" },
  { name: "quantity", shape: "number" },
  { name: "item", shape: "name" },
  { name: "category", shape: "name" },
  { name: "channel", shape: "name" },
  { name: "order", shape: "name" },
  { name: "device", shape: "name" },
  { name: "card", shape: "name" },
  { name: "address", shape: "name" },
  { name: "ip", shape: "text" },
  { name: "latitude", shape: "number" },
  { name: "longitude", shape: "number" },
  { name: "deviceMembers", shape: "number", alias: "device_members" },
];
const NAMES = new Set<string>(FIELDS.map(({ name }) => name));
/** As tables name the columns. */
const ALIASES = new Set<string>(FIELDS.flatMap(({ alias }) => alias ?? []));
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
  if (typeof event !== "object" || event === null || Array.isArray(event)) {
    throw refusal(index, `expected an object with kind and time; this is ${describe(event)}`);
  }
  for (const name of Object.keys(event)) {
    if (!NAMES.has(name) && !ALIASES.has(name) && event[name as keyof MemberEvent] !== undefined) {
      throw refusal(index, `unknown field ${JSON.stringify(name)}; there are ${[...NAMES].join(", ")}`);
    }
  }
  // By index: a first history is written before the engine has compiled this, and iterators are slow until then.
  for (let i = 0; i < FIELDS.length; i++) {
    const { name, shape, alias } = FIELDS[i] as (typeof FIELDS)[number];
    let value: unknown = event[name];
    if (alias !== undefined && event[alias] !== undefined) {
      if (value !== undefined) throw refusal(index, `${name} and ${alias} are the same; give one`);
      value = event[alias];
    }
    if (value === undefined || value === null) {
      if (i < REQUIRED) throw refusal(index, `${name} is missing`);
      room(1);
      bytes[end++] = 0;
    } else if (!writeValue(value, shape)) {
      const found = shape === "name" && typeof value === "number" ? "" : `; this is ${describe(value)}`;
      throw refusal(index, `${name} must be ${NEEDS[shape]}${found}`);
    }
  }
}

/** False if the field cannot hold it. */
function writeValue(value: unknown, shape: Shape): boolean {
  if (typeof value === "string" && shape !== "number") {
    writeText(value);
  } else if (typeof value === "number" && shape === "name") {
    if (!Number.isInteger(value) || Math.abs(value) > 2 ** 53) return false;
    writeText(String(value));
  } else if (typeof value === "number" && shape !== "text") {
    room(9);
    bytes[end] = 1;
    data.setFloat64(end + 1, value, true);
    end += 9;
  } else {
    return false;
  }
  return true;
}

function refusal(index: number, reason: string): TiercastError {
  return new TiercastError("invalid_event", `event ${index}: not an event: ${reason}`);
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
