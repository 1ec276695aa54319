/**
 * The stable names of everything that can go wrong. The first group is the core's, the same in every
 * runtime; the second belongs to this package.
 */
export type ErrorCode =
  | "invalid_event"
  | "unknown_kind"
  | "invalid_amount"
  | "invalid_time"
  | "invalid_quantity"
  | "invalid_text"
  | "invalid_origin"
  | "too_late"
  | "invalid_spec"
  | "invalid_duration"
  | "not_a_bundle"
  | "bundle_version"
  | "bundle_truncated"
  | "bundle_hash"
  | "bundle_section"
  | "schema_mismatch"
  | "invalid_state"
  | "state_version"
  | "invalid_model"
  | "unsupported_model"
  | "model_failed"
  | "invalid_input"
  /** The bundle or the WebAssembly file could not be fetched or read. */
  | "unavailable"
  /** The WebAssembly file could not be compiled, or belongs to another version of the package. */
  | "wasm_failed"
  /** The scorer or member was used after `dispose()`. */
  | "disposed"
  /** A defect of Tiercast itself; please report it. */
  | "internal";

/** Every error this package throws or rejects with. Test `code`; show `message` to a person. */
export class TiercastError extends Error {
  /** The stable name of what went wrong. A later version may add names. */
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TiercastError";
    this.code = code;
  }
}

/** The engine's refusals are a code, a line end, and the message; everything else that is thrown is a defect. */
export function asTiercastError(cause: unknown): TiercastError {
  if (cause instanceof TiercastError) return cause;
  if (typeof cause === "string" && cause.includes("\n")) {
    const end = cause.indexOf("\n");
    return new TiercastError(cause.slice(0, end) as ErrorCode, cause.slice(end + 1));
  }
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new TiercastError("internal", `the scoring engine stopped unexpectedly (${detail}); reload and report this`, {
    cause,
  });
}
