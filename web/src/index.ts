export type { Engine, LoadOptions, OnnxEngine } from "./engine.js";
export { type ErrorCode, TiercastError } from "./errors.js";
export { Member, type MemberEvents } from "./member.js";
export { Model, type ModelInfo } from "./model.js";
export type { BytesSource, WasmSource } from "./platform.js";
export { Scorer } from "./scorer.js";
export type {
  Assessment,
  BundleInfo,
  Currency,
  EventKind,
  Feature,
  Interest,
  MemberEvent,
  NextTier,
  Observed,
  Profile,
  Reason,
  Recommendation,
  RecommendOptions,
  Standing,
  Tier,
  Why,
} from "./types.js";
