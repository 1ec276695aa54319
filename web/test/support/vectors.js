// Runs the language-neutral parity cases. Without imports, so that Node, a page and workerd run the same lines.

/** Says how the outcomes of cases differ from what they expect; an empty list is agreement. */
export function allDifferences(scorer, cases) {
  return cases.flatMap((vector) => differences(scorer, vector).map((difference) => `${vector.name}: ${difference}`));
}

function differences(scorer, vector) {
  const outcome = attempt(scorer, vector);
  if (vector.error !== undefined || outcome.error !== undefined) {
    return outcome.error === vector.error
      ? []
      : [`error ${outcome.error ?? "none"}, expected ${vector.error ?? "none"}`];
  }
  const found = [];
  const { assessment } = outcome;
  const bits = hexBits(assessment.features);
  vector.features.forEach((expected, i) => {
    if (bits[i] !== expected) found.push(`feature ${i} has bits ${bits[i]}, expected ${expected}`);
  });
  if (bits.length !== vector.features.length) found.push(`${bits.length} features, expected ${vector.features.length}`);
  if (assessment.probabilities.length !== vector.probabilities.length) found.push("another number of tiers");
  // A plan gives the same bits everywhere; tract orders its sums by the machine's vector width.
  const same =
    scorer.info.engine === "plan"
      ? (found, expected) => Object.is(found, Math.fround(expected))
      : (found, expected) => Math.abs(found - expected) <= 1e-5;
  vector.probabilities.forEach((expected, i) => {
    if (!same(assessment.probabilities[i], expected)) {
      found.push(`probability ${i} is ${assessment.probabilities[i]}, expected ${expected}`);
    }
  });
  if (assessment.tier !== vector.tier) found.push(`tier ${assessment.tier}, expected ${vector.tier}`);
  const standing = canonical(assessment.standing);
  if (standing !== canonical(vector.standing))
    found.push(`standing ${standing}, expected ${canonical(vector.standing)}`);
  return found;
}

/** The bundle's bytes with the damage that a case describes. */
export function damaged(bytes, { keep, set }) {
  const copy = bytes.slice(0, keep ?? bytes.length);
  if (set) copy[set[0]] = set[1];
  return copy;
}

/** The bits of each number, as eight hexadecimal digits. */
export function hexBits(numbers) {
  const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  return Array.from(words, (word) => word.toString(16).padStart(8, "0"));
}

function attempt(scorer, vector) {
  let member;
  try {
    member = vector.snapshot === undefined ? scorer.member() : scorer.restoreState(bytesOf(vector.snapshot));
    member.observe(vector.events);
    return { assessment: member.assess(vector.now) };
  } catch (error) {
    return { error: error.code ?? String(error) };
  } finally {
    member?.dispose();
  }
}

function bytesOf(hex) {
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}

/** JSON with sorted keys and without absent values. */
function canonical(value) {
  return JSON.stringify(value, (_, inner) => {
    if (inner === null) return undefined;
    if (typeof inner !== "object" || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
