import type { Assessment, BundleInfo } from "./types.js";

/** How many numbers the engine leaves of an assessment. */
export const NUMBERS = 7;

/** Builds an assessment from what `wasm/src/answer.rs` leaves of it: numbers, vectors, and texts, one a line. */
export function assessment(
  info: BundleInfo,
  now: number,
  numbers: Float64Array,
  values: Float32Array,
  texts: string,
): Assessment {
  // By index: taking a typed array apart by its iterator is slower than the rest of this function.
  const number = (index: number) => numbers[index] as number;
  const [tier, standingTier, nextTier] = [number(0), number(2), number(5)];
  const [spend = "", periodStart = "", periodEnd = "", amount = "", by = "", ...warnings] = texts.split("\n");
  const name = (tier: number) => info.tiers[tier - 1]?.name ?? "";
  return {
    now,
    schemaHash: info.schemaHash,
    features: values.slice(0, info.features.length),
    probabilities: values.slice(info.features.length),
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
