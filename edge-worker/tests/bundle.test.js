// A worker whose bundle or settings are broken says so, with a code, at health and everywhere else.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Response } from "miniflare";
import { withSection } from "./support/bundle.js";
import { damagedBundles, root, sample, start, vectors } from "./support/worker.js";

const { bundle, events, now } = sample();

/** Runs against a worker that cannot score: all three routes must give the same coded 503. */
async function broken(options, expected) {
  const worker = await start(options);
  try {
    const [health, model] = [await worker.fetch("/healthz"), await worker.fetch("/v1/model")];
    for (const answer of [health, model, await worker.score({ events, now })]) {
      assert.equal(answer.status, 503);
      assert.equal(answer.json.error.code, expected);
    }
  } finally {
    await worker.stop();
  }
}

for (const { name, bytes, error } of damagedBundles()) {
  test(`a damaged bundle: ${name}`, () => broken({ bundle: bytes }, error));
}

test("a bundle that keeps its ONNX file needs another engine", () => {
  return broken({ bundle: readFileSync(join(root, "tests", "fixtures", "fixture-onnx.tcb")) }, "unsupported_model");
});

test("no bundle deployed", () => broken({ bundle: null }, "bundle_missing"));
test("no assets binding", () => broken({ bundle, assets: false }, "bundle_missing"));

test("an assets failure passes; the next request tries again", async () => {
  let calls = 0;
  const worker = await start({
    bundle: () => {
      calls += 1;
      return calls === 1 ? new Response("later", { status: 500 }) : new Response(bundle);
    },
  });
  try {
    const first = await worker.fetch("/healthz");
    assert.deepEqual([first.status, first.json.error.code], [503, "bundle_unreachable"]);
    assert.equal((await worker.fetch("/healthz")).status, 200);
    for (let i = 0; i < 5; i += 1) assert.equal((await worker.score({ events, now })).status, 200);
    assert.equal(calls, 2, "the bundle is fetched once");
  } finally {
    await worker.stop();
  }
});

test("health computes the bundle's own vectors, and notices when they come out otherwise", async () => {
  const proofs = vectors()[0].cases.filter((c) => c.error === undefined && c.events.length < 50).slice(0, 5);
  const own = proofs.map(({ standing, ...proof }) => proof);
  const health = async (list) => {
    const worker = await start({ bundle: withSection(bundle, "vectors", Buffer.from(JSON.stringify(list))) });
    try {
      return await worker.fetch("/healthz");
    } finally {
      await worker.stop();
    }
  };
  const good = await health(own);
  assert.deepEqual([good.status, good.json.vectors], [200, own.length], good.text);
  const wrong = await health([...own.slice(1), { ...own[0], tier: own[0].tier === 1 ? 2 : 1 }]);
  assert.deepEqual([wrong.status, wrong.json.error?.code], [503, "model_failed"]);
});

test("a bundle that decodes by ranks proves itself, and is described as openapi.json says", async () => {
  const worker = await start({ bundle: readFileSync(join(root, "tests", "fixtures", "ranks.tcb")) });
  try {
    const [health, model] = [await worker.fetch("/healthz"), await worker.fetch("/v1/model")];
    assert.equal(health.status, 200, health.text);
    assert.ok(health.json.vectors > 0);
    const { decode, manifest, tiers } = model.json;
    assert.deepEqual([decode, manifest.cuts.length], ["ranks", tiers.length - 1]);
  } finally {
    await worker.stop();
  }
});

test("a bundle without vectors has nothing to prove", async () => {
  const worker = await start({ bundle: withSection(bundle, "vectors", Buffer.from("[]")) });
  try {
    assert.equal((await worker.fetch("/healthz")).json.vectors, 0);
  } finally {
    await worker.stop();
  }
});

test("a setting that cannot be read closes the worker", async () => {
  await broken({ bundle, vars: { TIERCAST_MAX_MEMBERS: "many" } }, "invalid_configuration");
  await broken({ bundle, vars: { TIERCAST_TIME_LIMIT_MS: "-5" } }, "invalid_configuration");
});
