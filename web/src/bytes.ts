import { TiercastError } from "./errors.js";
import { type BytesSource, platform } from "./platform.js";

/** Follows a source to a response or to bytes; `what` names it in error messages. */
export async function open(source: BytesSource, what: string): Promise<Response | Uint8Array> {
  const given = asBytes(source);
  if (given) return given;
  if (isInstance(source, "Response")) return checked(source as Response, what);
  try {
    if (typeof source === "string" || isInstance(source, "URL")) {
      return checked(await platform().open(source as string | URL), what);
    }
    if (isInstance(source, "Request")) return checked(await fetch(source as Request), what);
  } catch (cause) {
    if (cause instanceof TiercastError) throw cause;
    throw unavailable(what, locationOf(source), cause);
  }
  throw new TiercastError(
    "invalid_input",
    `${what} must be an address, a Request, a Response or bytes; this is ${describe(source)}`,
  );
}

/** Follows a source to its bytes. */
export async function readBytes(source: BytesSource, what: string): Promise<Uint8Array> {
  const opened = await open(source, what);
  if (opened instanceof Uint8Array) return opened;
  try {
    return new Uint8Array(await opened.arrayBuffer());
  } catch (cause) {
    throw unavailable(what, opened.url, cause);
  }
}

/** The bytes of a buffer or of any view of one; undefined if it is neither. */
export function asBytes(source: unknown): Uint8Array | undefined {
  if (isInstance(source, "ArrayBuffer")) return new Uint8Array(source as ArrayBuffer);
  if (!ArrayBuffer.isView(source)) return undefined;
  return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
}

/**
 * A plain view of a Float32Array of any realm; undefined if it is none. The binding allocates by `length` and copies by
 * what is there, so neither may be a subclass's or a proxy's.
 */
export function asFloats(source: unknown): Float32Array | undefined {
  if (own(Symbol.toStringTag, source) !== "Float32Array") return undefined;
  return new Float32Array(
    own("buffer", source) as ArrayBuffer,
    own("byteOffset", source) as number,
    own("length", source) as number,
  );
}

const TYPED_ARRAY = Object.getPrototypeOf(Uint8Array.prototype) as object;

/** What a typed array is by itself, whatever its class says. */
function own(property: "buffer" | "byteOffset" | "length" | symbol, source: unknown): unknown {
  return Object.getOwnPropertyDescriptor(TYPED_ARRAY, property)?.get?.call(source);
}

/** A wrong type in words, for error messages. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return typeof value === "object" ? "another kind of object" : `a ${typeof value}`;
}

function checked(opened: Response | Uint8Array, what: string): Response | Uint8Array {
  if (opened instanceof Uint8Array || opened.ok) return opened;
  throw new TiercastError(
    "unavailable",
    `${what} could not be read: ${opened.url || "the server"} answered ${opened.status}; check the address`,
  );
}

function unavailable(what: string, where: string, cause: unknown): TiercastError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new TiercastError("unavailable", `${what} could not be read from ${where || "its source"}: ${reason}`, {
    cause,
  });
}

function locationOf(source: unknown): string {
  return isInstance(source, "Request") ? (source as Request).url : String(source);
}

/** Whether a value is of a built-in class, also when it comes from another realm (a frame, a test's sandbox). */
export function isInstance(
  value: unknown,
  name: "ArrayBuffer" | "Request" | "Response" | "URL" | "WebAssembly.Module",
): boolean {
  return Object.prototype.toString.call(value) === `[object ${name}]`;
}
