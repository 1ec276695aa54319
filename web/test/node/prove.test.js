// What a bundle says of itself, against what it does.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { Scorer } from "tiercast";
import { withSection } from "../../../edge-worker/tests/support/bundle.js";
import { BUNDLE, household } from "../support/fixtures.js";

const NOW = Date.UTC(2017, 8, 15);
let bundle;
let scorer;

before(async () => {
  bundle = await readFile(BUNDLE);
  scorer = await Scorer.load(bundle);
});

/** What a JSON section of the fixture holds. */
function contentOf(section) {
  const line = bundle.indexOf(section.padEnd(16, "\0"), 0, "latin1");
  const from = Number(bundle.readBigUInt64LE(line + 16));
  return JSON.parse(bundle.subarray(from, from + Number(bundle.readBigUInt64LE(line + 24))));
}

/** The fixture with a section changed, and check sums that fit. */
function changed(section, change) {
  const json = contentOf(section);
  return Scorer.load(withSection(bundle, section, Buffer.from(JSON.stringify(change(json) ?? json))));
}

test("a bundle proves itself with every vector it carries", async () => {
  assert.ok(contentOf("vectors").length > 3);
  assert.equal(scorer.prove(), contentOf("vectors").length);
  const fewer = await changed("vectors", (vectors) => vectors.slice(0, 3));
  assert.equal(fewer.prove(), 3);
});

test("a vector that differs anywhere is named", async () => {
  const changes = {
    feature: (vector) => (vector.features[0] = vector.features[0].replace(/.$/, (digit) => (digit === "0" ? "1" : "0"))),
    "feature too few": (vector) => vector.features.pop(),
    probability: (vector) => (vector.probabilities[1] += 2 ** -20),
    "probability too many": (vector) => vector.probabilities.push(0),
    tier: (vector) => (vector.tier = (vector.tier % scorer.info.tiers.length) + 1),
    moment: (vector) => (vector.now += 40 * 86_400_000),
  };
  for (const [what, change] of Object.entries(changes)) {
    const other = await changed("vectors", (vectors) => void change(vectors[2]));
    assert.throws(
      () => other.prove(),
      (error) => error.code === "model_failed" && error.message.includes(JSON.stringify(contentOf("vectors")[2].name)),
      what,
    );
  }
  const refused = await changed("vectors", (vectors) => void (vectors[1].events = [{ kind: "nothing", time: 0 }]));
  assert.throws(() => refused.prove(), { code: "unknown_kind" });
});

test("nothing is decided by the manifest's text, and a forged one does not prove itself", async () => {
  const forgeries = [
    (manifest) => void manifest.tiers.forEach((tier) => (tier.name = "Forged")),
    (manifest) => void manifest.tiers.reverse(),
    (manifest) => void manifest.tiers.pop(),
    (manifest) => void manifest.features.push(...manifest.features),
    (manifest) => void (manifest.schemaHash = "0".repeat(64)),
  ];
  const honest = scorer.member(household(1)).assess(NOW);
  for (const forge of forgeries) {
    const forged = await changed("manifest", forge);
    assert.deepEqual(forged.member(household(1)).assess(NOW), honest);
    assert.equal(forged.row.length, scorer.row.length);
    assert.throws(() => forged.prove(), { name: "TiercastError", code: "bundle_section" });
  }
});

test("a manifest that is no JSON stops nobody from scoring, and says so to who reads it", async () => {
  const broken = await Scorer.load(withSection(bundle, "manifest", Buffer.from("{")));
  assert.ok(broken.member(household(1)).assess(NOW).tier >= 1);
  assert.throws(() => broken.info, { code: "bundle_section" });
  assert.throws(() => broken.prove(), { code: "bundle_section" });
  broken.dispose();
  assert.throws(() => broken.info, { code: "bundle_section" });
});
