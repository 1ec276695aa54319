import type { Names } from "./assessment.js";
import { TiercastError } from "./errors.js";
import type { Scorer } from "./scorer.js";
import type { Assessment, MemberEvent } from "./types.js";

/** A member, and what every runtime must compute for it. */
export interface Vector {
  name: string;
  events: MemberEvent[];
  now: number;
  /** The raw features' bits, eight hexadecimal digits each. */
  features: string[];
  probabilities: number[];
  tier: number;
}

/** Computes a bundle's own vectors through the calls that everybody uses, and compares. */
export function prove(scorer: Scorer, names: Names, inputs: number, vectors: Vector[]): number {
  const { schemaHash, tiers, features } = scorer.info;
  const said = [schemaHash, features.length, ...tiers.map(({ name }) => name)];
  if (JSON.stringify(said) !== JSON.stringify([names.schemaHash, inputs, ...names.tiers])) {
    throw new TiercastError(
      "bundle_section",
      "the bundle's manifest names other features or tiers than it scores by; train again",
    );
  }
  const same =
    scorer.info.engine === "plan"
      ? (found: number, expected: number) => Object.is(found, Math.fround(expected))
      : // tract orders its sums by the machine's vector width.
        (found: number, expected: number) => Math.abs(found - expected) <= 1e-5;
  for (const { name, events, now, features, probabilities, tier } of vectors) {
    const found = assessed(scorer, events, now);
    const bits = new Uint32Array(found.features.buffer);
    const agree =
      features.length === bits.length &&
      features.every((expected, i) => bits[i] === Number.parseInt(expected, 16)) &&
      probabilities.length === found.probabilities.length &&
      probabilities.every((expected, i) => same(found.probabilities[i] as number, expected)) &&
      found.tier === tier;
    if (!agree) {
      throw new TiercastError(
        "model_failed",
        `vector ${JSON.stringify(name)}: expected tier ${tier} of ${probabilities}, found ${found.tier} of ${found.probabilities}, or other features; use the files of one version of this package`,
      );
    }
  }
  return vectors.length;
}

function assessed(scorer: Scorer, events: MemberEvent[], now: number): Assessment {
  const member = scorer.member(events);
  try {
    return member.assess(now);
  } finally {
    member.dispose();
  }
}
