// How a member behaves: the numbers that the bundle's vectors say, the names, and interests by their formula.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { Scorer } from "tiercast";
import { withSection } from "../../../edge-worker/tests/support/bundle.js";
import { BUNDLE, PROFILE_BUNDLE } from "../support/fixtures.js";
import { contentOf } from "../support/sections.js";
import { hexBits } from "../support/vectors.js";

const DAY = 86_400_000;
const NOW = Date.UTC(2024, 5, 30);
/** Half of the first training period, the last quarter of 2023, as `training/src/train/profile.rs` chooses it. */
const HALF_LIFE = 46 * DAY;

let bundle;
let scorer;

before(async () => {
  bundle = await readFile(PROFILE_BUNDLE);
  scorer = await Scorer.load(bundle);
});

const bought = (category, amount, days) => ({ kind: "purchase", time: NOW - days * DAY, amount, category });

/** A few baskets of the first categories that interests can name. */
function shopper() {
  const [first, second, third] = scorer.info.profile.categories;
  return scorer.member([
    bought(first, "12.00", 92),
    bought(second, "8.00", 46),
    bought(third, "1.50", 3),
    bought("a category of nobody else", "4.00", 0),
    { kind: "return", time: NOW - DAY, amount: "8.00", category: second },
    { kind: "view", time: NOW - DAY, category: third },
  ]);
}

test("a bundle with profiles proves itself, and notices a profile with other bits", async () => {
  const vectors = contentOf(bundle, "vectors");
  assert.ok(vectors.length > 3 && vectors.every(({ profile }) => profile.length === scorer.info.profile.embedding + 2));
  assert.equal(scorer.prove(), vectors.length);
  const changes = [
    ({ profile }) => (profile[0] += 2 ** -20),
    ({ profile }) => profile.pop(),
    (vector) => delete vector.profile,
  ];
  for (const change of changes) {
    const [first, ...rest] = structuredClone(vectors);
    change(first);
    const other = await Scorer.load(withSection(bundle, "vectors", Buffer.from(JSON.stringify([first, ...rest]))));
    assert.throws(() => other.prove(), { code: "model_failed" });
  }
});

test("what a manifest says of profiles is proved too", async () => {
  const forgeries = [
    (manifest) => (manifest.profile.segments[0].name = "forged"),
    (manifest) => manifest.profile.categories.pop(),
    (manifest) => delete manifest.profile,
  ];
  for (const forge of forgeries) {
    const manifest = contentOf(bundle, "manifest");
    forge(manifest);
    const forged = await Scorer.load(withSection(bundle, "manifest", Buffer.from(JSON.stringify(manifest))));
    assert.throws(() => forged.prove(), { code: "bundle_section" });
    assert.deepEqual(
      { ...forged.member(contentOf(bundle, "vectors")[0].events).profile(NOW) },
      { ...scorer.member(contentOf(bundle, "vectors")[0].events).profile(NOW) },
    );
  }
});

test("a profile has the vectors' bits and the documented shape", () => {
  const { segments, categories, embedding: width } = scorer.info.profile;
  for (const { name, events, now, profile: expected } of contentOf(bundle, "vectors")) {
    const profile = scorer.member(events).profile(now);
    const { embedding, churn, nextPurchase, segment, segmentName, interests } = profile;
    assert.deepEqual(hexBits(Float32Array.of(...embedding, churn, nextPurchase)), hexBits(Float32Array.from(expected)), name);
    assert.equal(profile.now, now);
    assert.ok(embedding instanceof Float32Array && embedding.length === width);
    assert.ok(embedding.every((x) => x >= -1 && x <= 1));
    assert.ok(churn >= 0 && churn <= 1 && nextPurchase >= 0);
    assert.equal(segmentName, segments[segment].name);
    assert.ok(interests.length <= 5 && interests.every(({ category }) => categories.includes(category)));
    assert.ok(interests.reduce((sum, { share }) => sum + share, 0) <= 1 + 1e-6);
    assert.ok(interests.every(({ share }, i) => share > 0 && (i === 0 || share <= interests[i - 1].share)));
  }
});

test("the segments are described", () => {
  const { model, segments, categories } = scorer.info.profile;
  assert.equal(model, "transformer");
  assert.ok(segments.length >= 1 && new Set(segments.map(({ name }) => name)).size === segments.length);
  assert.ok(segments.every(({ share }, i) => share > 0 && (i === 0 || share <= segments[i - 1].share)));
  assert.ok(Math.abs(segments.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-5);
  assert.ok(categories.length >= 3);
  assert.throws(() => segments.push({}), TypeError);
});

test("interests are shares of what was bought, each purchase counting the less the older it is", () => {
  const [first, second, third] = scorer.info.profile.categories;
  const weight = (amount, days) => amount * 2 ** ((-days * DAY) / HALF_LIFE);
  const weights = [
    [second, weight(8, 46)],
    [first, weight(12, 92)],
    [third, weight(1.5, 3)],
  ];
  const all = weight(4, 0) + weights.reduce((sum, [, part]) => sum + part, 0);
  const member = shopper();
  const { interests } = member.profile(NOW);
  assert.deepEqual(interests.map(({ category }) => category), [second, first, third]);
  interests.forEach(({ share }, i) => assert.ok(Math.abs(share - weights[i][1] / all) < 1e-6));
  member.observe({ kind: "purchase", time: NOW, amount: "100.00", category: third });
  assert.equal(member.profile(NOW).interests[0].category, third);
  assert.equal(member.profile(NOW - DAY).interests[0].category, second);
});

test("who bought nothing has a profile without interests", () => {
  const { interests, churn, segmentName } = scorer.member().profile(NOW);
  assert.deepEqual(interests, []);
  assert.ok(churn >= 0 && churn <= 1 && segmentName !== "");
});

test("a profile changes nothing, nor do assessments between", () => {
  const member = shopper();
  const before = member.saveState();
  const profile = member.profile(NOW);
  const assessment = member.assess(NOW);
  assert.deepEqual(member.profile(NOW), profile);
  assert.deepEqual(member.assess(NOW), assessment);
  assert.deepEqual(member.saveState(), before);
  assert.deepEqual(scorer.restoreState(before).profile(NOW), profile);
});

test("a moment is a date, a number, or what becomes one", () => {
  const member = shopper();
  const profile = member.profile(NOW);
  assert.deepEqual(member.profile(new Date(NOW)), profile);
  assert.deepEqual(member.profile({ valueOf: () => (member.assess(NOW - DAY), NOW) }), profile);
  const proxied = new Proxy(new Date(NOW), { get: (date, name) => Reflect.get(date, name, date)?.bind?.(date) });
  assert.deepEqual(member.profile(proxied), profile);
  for (const wrong of [Number.NaN, 0.5, Number.POSITIVE_INFINITY, "soon"]) {
    assert.throws(() => member.profile(wrong), { code: "invalid_time" });
  }
  assert.ok(member.profile().now <= Date.now());
});

test("a member outlives its scorer with all names", async () => {
  const own = await Scorer.load(bundle);
  const { events, now } = contentOf(bundle, "vectors")[0];
  const member = own.member(events);
  own.dispose();
  assert.deepEqual({ ...member.profile(now) }, { ...scorer.member(events).profile(now) });
  assert.deepEqual(own.info.profile, scorer.info.profile);
  member.dispose();
  assert.throws(() => member.profile(now), { code: "disposed" });
});

test("a bundle without profiles refuses", async () => {
  const tiers = await Scorer.load(BUNDLE);
  assert.equal(tiers.info.profile, undefined);
  const member = tiers.member([bought("tea", "5.00", 3)]);
  assert.throws(() => member.profile(NOW), { name: "TiercastError", code: "invalid_input", message: /no profiles/ });
  assert.ok(member.assess(NOW).tier >= 1);
});

test("a module for tiers alone, given by hand, says what it lacks", async () => {
  const { execFile } = await import("node:child_process");
  const { promisify } = await import("node:util");
  const load = (wasm) => `
    import { Scorer } from "tiercast";
    const wasm = new URL(${JSON.stringify(wasm)}, import.meta.resolve("tiercast/tiercast.wasm"));
    const loaded = Scorer.load(${JSON.stringify(PROFILE_BUNDLE)}, { wasm });
    console.log(await loaded.then((scorer) => scorer.prove() > 0, (error) => error.code));
  `;
  const outcome = async (wasm) => {
    const cwd = new URL("../..", import.meta.url);
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", load(wasm)], { cwd });
    return stdout.trim();
  };
  const builds = ["tiercast_wasm_bg.wasm", "all/tiercast_wasm_bg.wasm", "scalar/tiercast_wasm_bg.wasm"];
  assert.deepEqual(await Promise.all(builds.map(outcome)), ["unsupported_model", "true", "true"]);
});
