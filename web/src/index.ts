export { type ErrorCode, TiercastError } from "./errors.js";
export { Member, type MemberEvents } from "./member.js";
export type { BytesSource, WasmSource } from "./platform.js";
export { type LoadOptions, Scorer } from "./scorer.js";
export type {
  Assessment,
  BundleInfo,
  Currency,
  EventKind,
  Feature,
  MemberEvent,
  NextTier,
  Observed,
  Standing,
  Tier,
} from "./types.js";
