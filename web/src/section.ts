import { TiercastError } from "./errors.js";

/** What a JSON section of a bundle says. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw unreadable(`a section of the bundle is not JSON (${cause})`, cause);
  }
}

/** A section that the engine does not read, and that does not say what it should. */
export function unreadable(reason: string, cause?: unknown): TiercastError {
  return new TiercastError("bundle_section", `${reason}; train again`, { cause });
}
