import type { Assessment } from "./types.js";

/** What an assessment says in words: of the section that scores, not of the bundle's JSON. */
export interface Names {
  schemaHash: string;
  /** Of the tiers, the lowest first. */
  tiers: string[];
}

/** Builds an assessment from what `wasm/src/answer.rs` leaves of it: numbers, vectors, and texts, one a line. */
export function assessment(
  names: Names,
  now: number,
  numbers: Float64Array,
  values: Float32Array,
  texts: string,
): Assessment {
  // By index: taking a typed array apart by its iterator is slower than the rest of this function.
  const number = (index: number) => numbers[index] as number;
  const [tier, standingTier, nextTier] = [number(0), number(2), number(5)];
  const [spend = "", periodStart = "", periodEnd = "", amount = "", by = "", ...warnings] = texts.split("\n");
  const name = (tier: number) => names.tiers[tier - 1] ?? "";
  const features = values.length - names.tiers.length;
  return {
    now,
    schemaHash: names.schemaHash,
    features: values.slice(0, features),
    probabilities: values.slice(features),
    tier,
    tierName: name(tier),
    expectedTier: number(1),
    standing: {
      tier: standingTier,
      tierName: name(standingTier),
      spend,
      spendMinor: number(3),
      exact: number(4) === 1,
      periodStart,
      periodEnd,
      next: nextTier ? { tier: nextTier, tierName: name(nextTier), amount, amountMinor: number(6), by } : null,
    },
    warnings,
  };
}
