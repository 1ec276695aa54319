import { type ErrorCode, TiercastError } from "./errors.js";
import type { Member } from "./member.js";
import type { Scorer } from "./scorer.js";
import { unreadable } from "./section.js";
import type {
  Assessment,
  BundleInfo,
  Decision,
  MemberEvent,
  Profile,
  Recommendation,
  Risk,
  Statement,
} from "./types.js";

/** What a bundle scores by, of the section that scores. */
export interface ScoredBy {
  schemaHash: string;
  /** An index into {@link ENGINES}. */
  engine: number;
  /** An index into {@link DECODES}. */
  decode: number;
  cuts: number[];
  currency: string;
  exponent: number;
  tiers: { name: string; atLeastMinor: number }[];
  features: string[];
  /** The segments and the categories of profiles; none in a bundle without. */
  profile: string[];
}

/** In the order of the core's enums. */
const ENGINES = ["plan", "onnx"];
const DECODES = ["argmax", "median", "expected", "ranks"];
const REFUSALS: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["invalid_input", "too_late", "unsupported_model"]);

/** A member, and what every runtime must compute for it. */
interface Vector {
  name: string;
  events: MemberEvent[];
  now: number;
  /** The raw features' bits, eight hexadecimal digits each. */
  features: string[];
  probabilities: number[];
  tier: number;
  /** The embedding, the chance of no purchase and the days to the next one, in a bundle with profiles. */
  profile?: number[];
  /** The member's list with the bundle's own options, in a bundle that recommends. */
  recommendations?: Recommendation[];
  /** What the policies decide for a member of the vector's name, without the bundle's fingerprint, as far as it has any. */
  decisions?: Decision[];
  /** The member's points without redemptions, in a bundle with points whose history is whole. */
  points?: Statement;
  /** What is thought of the member, without the bundle's fingerprint, in a bundle that judges risk. */
  risk?: Risk;
}

/** Computes a bundle's own vectors through the calls that everybody uses, and compares. */
export function prove(scorer: Scorer, by: ScoredBy, vectors: unknown): number {
  if (said(scorer.info) !== done(by)) {
    throw unreadable("the bundle's manifest says something else than the bundle scores by");
  }
  if (!Array.isArray(vectors) || !vectors.every(isVector)) {
    throw unreadable("the bundle's vectors cannot be read");
  }
  const same =
    ENGINES[by.engine] === "plan"
      ? (found: number, expected: number) => Object.is(found, Math.fround(expected))
      : // tract orders its sums by the machine's vector width.
        (found: number, expected: number) => Math.abs(found - expected) <= 1e-5;
  for (const vector of vectors) {
    const { name, features, probabilities, tier, profile = [], recommendations, decisions = [], points, risk } = vector;
    const found = computed(scorer, vector, by.profile.length > 0);
    const bits = new Uint32Array(found.features.buffer);
    const agree =
      features.length === bits.length &&
      features.every((expected, i) => bits[i]?.toString(16).padStart(8, "0") === expected) &&
      probabilities.length === found.probabilities.length &&
      probabilities.every((expected, i) => same(found.probabilities[i] as number, expected)) &&
      found.tier === tier &&
      profile.length === found.profile.length &&
      profile.every((expected, i) => Object.is(found.profile[i], Math.fround(expected))) &&
      // Written by the same code, field by field.
      JSON.stringify([found.recommendations, found.decisions, found.points, found.risk]) ===
        JSON.stringify([recommendations, decisions, points, risk]);
    if (!agree) {
      throw new TiercastError(
        "model_failed",
        `vector ${JSON.stringify(name)}: expected tier ${tier} of ${probabilities}, found ${found.tier} of ${found.probabilities}, or other features, another profile, other recommendations, decisions, points or risk; use the files of one version of this package`,
      );
    }
  }
  return vectors.length;
}

/** A manifest's part of what {@link done} gives; undefined if it has another shape. */
function said(info: BundleInfo): string | undefined {
  try {
    const { schemaHash, engine, decode, cuts = [], currency, tiers, features, profile } = info;
    return JSON.stringify([
      [schemaHash, engine, decode, currency.code, currency.exponent],
      cuts.map(Math.fround),
      tiers.map(({ name, atLeast, atLeastMinor }) => [name, Number(atLeast), atLeastMinor]),
      features.map(({ name }) => name),
      profile ? [...profile.segments.map(({ name }) => name), ...profile.categories] : [],
    ]);
  } catch {
    return undefined;
  }
}

function done({ schemaHash, engine, decode, cuts, currency, exponent, tiers, features, profile }: ScoredBy): string {
  return JSON.stringify([
    [schemaHash, ENGINES[engine], DECODES[decode], currency, exponent],
    cuts,
    tiers.map(({ name, atLeastMinor }) => [name, atLeastMinor / 10 ** exponent, atLeastMinor]),
    features,
    profile,
  ]);
}

function isVector(value: unknown): value is Vector {
  const { name, events, now, features, probabilities, tier, ...others } = (value ?? {}) as Partial<Vector>;
  const numbers = [now, tier, ...(Array.isArray(probabilities) ? probabilities : [undefined])];
  return (
    typeof name === "string" &&
    Array.isArray(events) &&
    numbers.every((number) => typeof number === "number") &&
    Array.isArray(features) &&
    [others.profile, others.recommendations, others.decisions].every((list) => list === undefined || Array.isArray(list))
  );
}

/** What a vector is compared with: an assessment and, where the bundle has them, a profile's numbers in order and the rest. */
interface Computed extends Assessment {
  profile: number[];
  recommendations: Recommendation[] | undefined;
  decisions: Decision[];
  points: Statement | undefined;
  risk: Risk | undefined;
}

function computed(scorer: Scorer, { name, events, now, recommendations }: Vector, profiled: boolean): Computed {
  const member = scorer.member(events);
  try {
    return {
      ...member.assess(now),
      profile: profiled ? numbersOf(member.profile(now)) : [],
      recommendations: recommendations && member.recommend({}, now),
      decisions: decided(member, name, now),
      points: unlessRefused(() => member.points({ now })),
      risk: unlessRefused(() => ({ ...member.risk({}, now), bundle: "" })),
    };
  } finally {
    member.dispose();
  }
}

/** The decisions of all policies that there are. */
function decided(member: Member, name: string, now: number): Decision[] {
  const all = [() => member.assign({ member: name, now }), () => member.reward({ member: name, now })];
  // The fingerprint is of the vectors, too.
  return all.flatMap((decide) => unlessRefused(decide) ?? []).map((decision) => ({ ...decision, bundle: "" }));
}

/** What a call gives; nothing where the bundle has no policy, no points or no risk, or the history does not give them. */
function unlessRefused<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof TiercastError && REFUSALS.has(error.code)) return undefined;
    throw error;
  }
}

function numbersOf({ embedding, churn, nextPurchase }: Profile): number[] {
  return [...embedding, churn, nextPurchase];
}
