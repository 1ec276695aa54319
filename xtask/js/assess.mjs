// One member's history into one comparable row. Plain JavaScript without imports: Node and a page run these lines.

/** Scores every member as of `now` with the public API of the package. */
export function assessAll(scorer, members, now) {
  return members.map(({ member, events }) => {
    const state = scorer.member(events);
    try {
      const { features, probabilities, tier, standing } = state.assess(now);
      const profile = scorer.info.profile && profileRow(state.profile(now));
      return { member, bits: bits(features), probabilities: Array.from(probabilities), tier, standing, ...profile };
    } finally {
      state.dispose();
    }
  });
}

/** A profile as `tiercast score` writes it. */
export function profileRow({ churn, nextPurchase, segmentName, interests, embedding }) {
  const named = interests.map(({ category, share }) => ({ name: category, share }));
  return { churn, nextPurchase, segment: segmentName, interests: named, embedding: Array.from(embedding) };
}

/** The bits of 32-bit floats as hexadecimal digits, so that JSON cannot round them. */
export function bits(features) {
  const words = new Uint32Array(Float32Array.from(features).buffer);
  return Array.from(words, (word) => word.toString(16).padStart(8, "0"));
}
