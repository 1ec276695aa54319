import { TiercastError } from "./errors.js";
import { type BytesSource, platform } from "./platform.js";

/** Follows a source to a response or to bytes; `what` names it in error messages. */
export async function open(source: BytesSource, what: string): Promise<Response | Uint8Array> {
  if (isInstance(source, "ArrayBuffer")) return new Uint8Array(source as ArrayBuffer);
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
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
