export type { Engine, LoadOptions, OnnxEngine } from "./engine.js";
export { type ErrorCode, TiercastError } from "./errors.js";
export { Member, type MemberEvents } from "./member.js";
export { Model, type ModelInfo } from "./model.js";
export type { BytesSource, WasmSource } from "./platform.js";
export { Scorer } from "./scorer.js";
export type {
  Assessment,
  AssignOptions,
  BundleInfo,
  Currency,
  Decision,
  DecisionReason,
  Earned,
  EarnOptions,
  EventKind,
  Feature,
  Interest,
  MemberEvent,
  NextTier,
  Observed,
  PointsAt,
  PointsOptions,
  PolicyInfo,
  Profile,
  Reason,
  Recommendation,
  RecommendOptions,
  RewardOptions,
  Risk,
  RiskInfo,
  RiskOptions,
  Standing,
  Statement,
  Tier,
  Why,
} from "./types.js";
