// What a bundle says of itself, against what it does.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { Scorer } from "tiercast";
import { withSection } from "../../../edge-worker/tests/support/bundle.js";
import { BUNDLE, household, RANKS_BUNDLE } from "../support/fixtures.js";
import * as sections from "../support/sections.js";

const NOW = Date.UTC(2017, 8, 15);
let bundle;
let scorer;

before(async () => {
  bundle = await readFile(BUNDLE);
  scorer = await Scorer.load(bundle);
});

const bytesOf = (section, of = bundle) => sections.bytesOf(of, section);
const contentOf = (section, of = bundle) => sections.contentOf(of, section);

/** The fixture with a section that says something else, and check sums that fit. */
function saying(section, json, of = bundle) {
  return Scorer.load(withSection(of, section, Buffer.from(JSON.stringify(json))));
}

/** The fixture with a section changed. */
function changed(section, change, of = bundle) {
  const json = contentOf(section, of);
  return saying(section, change(json) ?? json, of);
}

test("a bundle proves itself with every vector it carries", async () => {
  assert.ok(contentOf("vectors").length > 3);
  assert.equal(scorer.prove(), contentOf("vectors").length);
  const fewer = await changed("vectors", (vectors) => vectors.slice(0, 3));
  assert.equal(fewer.prove(), 3);
});

test("a vector that differs anywhere is named", async () => {
  const changes = {
    "feature with more": (vector) => (vector.features[0] += "z"),
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
    (manifest) => void manifest.features.reverse(),
    (manifest) => void (manifest.decode = "argmax"),
    (manifest) => void (manifest.cuts = [1, 2, 3, 4]),
    (manifest) => void (manifest.engine = "onnx"),
    (manifest) => void (manifest.tiers[1].atLeastMinor -= 1),
    (manifest) => void (manifest.tiers[1].atLeast = "99.99"),
    (manifest) => void (manifest.currency.code = "EUR"),
    (manifest) => void (manifest.currency.exponent = 0),
    () => [],
    () => ({}),
    () => 7,
    () => "manifest",
    (manifest) => ({ ...manifest, tiers: [null] }),
    (manifest) => ({ ...manifest, features: {} }),
  ];
  const honest = scorer.member(household(1)).assess(NOW);
  const reasons = scorer.member(household(1)).explain(NOW);
  for (const forge of forgeries) {
    const forged = await changed("manifest", forge);
    assert.deepEqual(forged.member(household(1)).assess(NOW), honest);
    assert.deepEqual(forged.member(household(1)).explain(NOW), reasons);
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

test("a manifest that is null proves nothing", async () => {
  const broken = await saying("manifest", null);
  assert.throws(() => broken.prove(), { name: "TiercastError", code: "bundle_section" });
});

test("vectors that are none are refused, and an empty list of them proves nothing wrong", async () => {
  const [vector] = contentOf("vectors");
  const without = Object.keys(vector).map((key) => [{ ...vector, [key]: undefined }]);
  const wrong = [{ ...vector, probabilities: [null] }, { ...vector, events: "none" }, { ...vector, features: {} }];
  for (const vectors of [null, {}, "none", 7, [null], [{}], [7], ...without, ...wrong.map((one) => [one])]) {
    const broken = await saying("vectors", vectors);
    assert.throws(() => broken.prove(), { name: "TiercastError", code: "bundle_section" }, JSON.stringify(vectors));
  }
  assert.equal((await saying("vectors", [])).prove(), 0);
});

test("what a manifest calls the engine makes no comparison looser", async () => {
  const near = contentOf("vectors");
  for (const { probabilities } of near) probabilities[0] += 2 ** -20;
  const other = withSection(bundle, "vectors", Buffer.from(JSON.stringify(near)));
  const looser = await changed("manifest", (manifest) => void (manifest.engine = "onnx"), other);
  assert.throws(() => looser.prove(), { name: "TiercastError" });
});

test("decoding by ranks is proved, with its cuts", async () => {
  const ranks = await readFile(RANKS_BUNDLE);
  const own = await Scorer.load(ranks);
  assert.deepEqual([own.info.decode, own.info.cuts.length], ["ranks", own.info.tiers.length - 1]);
  assert.equal(own.prove(), contentOf("vectors", ranks).length);
  for (const forge of [(cuts) => cuts.reverse(), (cuts) => (cuts[0] += 0.25), (cuts) => cuts.pop()]) {
    const forged = await changed("manifest", ({ cuts }) => void forge(cuts), ranks);
    assert.throws(() => forged.prove(), { code: "bundle_section" });
  }
});

test("a name that begins with a byte order mark keeps it", async () => {
  const marked = (section, of) => {
    const text = bytesOf(section, of).toString("latin1").replace("Basic", "\u00ef\u00bb\u00bfBa");
    return withSection(of, section, Buffer.from(text, "latin1"));
  };
  const own = await Scorer.load(marked("manifest", marked("scorer", bundle)));
  assert.equal(own.member().assess(NOW).standing.tierName, "\ufeffBa");
  assert.equal(own.prove(), contentOf("vectors").length);
});
