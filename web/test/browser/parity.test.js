import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, openPage } from "../support/chromium.js";
import {
  BUNDLE,
  CONV_MODEL,
  DAMAGE,
  DECIDE_BUNDLE,
  DENSE_MODEL,
  ONNX_BUNDLE,
  PROFILE_BUNDLE,
  RANKS_BUNDLE,
  RECOMMEND_BUNDLE,
  RISK_BUNDLE,
  memberVectorFiles,
  vectors,
} from "../support/fixtures.js";
import { serve } from "../support/serve.js";

const web = fileURLToPath(new URL("../..", import.meta.url));
let browser;
let server;

before(async () => {
  [browser, server] = await Promise.all([launch(), serve(web)]);
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/** A blank page of the server's origin, in which the package's browser entry runs as it is, unbundled. */
async function blankPage(origin) {
  const opened = await openPage(browser);
  await opened.page.route("**/blank", (route) =>
    route.fulfill({ contentType: "text/html", body: "<!doctype html><title>t</title>" }),
  );
  await opened.page.goto(`${origin}blank`);
  return opened;
}

async function pageWithVectors(file) {
  const opened = await blankPage(server.url);
  const { bundle, cases } = await vectors(file);
  await opened.page.route("**/cases.json", (route) =>
    route.fulfill({ contentType: "application/json", body: JSON.stringify(cases) }),
  );
  await opened.page.route("**/bundle.tcb", (route) =>
    route.fulfill({ contentType: "application/octet-stream", path: bundle }),
  );
  return { ...opened, cases };
}

for (const file of memberVectorFiles()) {
  test(`members have the same bits, scores and decisions in a page: ${file}`, async (t) => {
    const { page, context, cases, errors } = await pageWithVectors(file);
    const found = await page.evaluate(async () => {
      const [{ Scorer }, { allDifferences }, cases] = await Promise.all([
        import("/dist/entry/browser.js"),
        import("/test/support/vectors.js"),
        fetch("/cases.json").then((response) => response.json()),
      ]);
      return allDifferences(await Scorer.load("/bundle.tcb"), cases);
    });
    assert.deepEqual(found, []);
    assert.deepEqual(errors, []);
    t.diagnostic(`${cases.length} members agree in Chromium`);
    await context.close();
  });
}

test("every damaged bundle is refused with its code in a page", async () => {
  const { page, context, cases } = await pageWithVectors(DAMAGE);
  const codes = await page.evaluate(async () => {
    const [{ Scorer, TiercastError }, { damaged }, cases, bundle] = await Promise.all([
      import("/dist/entry/browser.js"),
      import("/test/support/vectors.js"),
      fetch("/cases.json").then((response) => response.json()),
      fetch("/bundle.tcb").then((response) => response.arrayBuffer()),
    ]);
    const outcomes = [];
    for (const damage of cases) {
      const outcome = Scorer.load(damaged(new Uint8Array(bundle), damage));
      outcomes.push(
        await outcome.then(
          () => "loaded",
          (error) => (error instanceof TiercastError ? error.code : String(error)),
        ),
      );
    }
    return outcomes;
  });
  assert.deepEqual(
    codes,
    cases.map(({ error }) => error),
  );
  await context.close();
});

test("a page without SIMD fetches the build without it, which gives the same bits", async () => {
  const { page, context, cases, errors } = await pageWithVectors(memberVectorFiles()[0]);
  const fetched = [];
  page.on("request", (request) => request.url().endsWith(".wasm") && fetched.push(new URL(request.url()).pathname));
  const found = await page.evaluate(async () => {
    WebAssembly.validate = () => false;
    const [{ Scorer }, { allDifferences }, cases] = await Promise.all([
      import("/dist/entry/browser.js"),
      import("/test/support/vectors.js"),
      fetch("/cases.json").then((response) => response.json()),
    ]);
    return allDifferences(await Scorer.load("/bundle.tcb"), cases);
  });
  assert.deepEqual([found, errors], [[], []]);
  assert.ok(cases.length > 0);
  assert.deepEqual(fetched, ["/pkg/scalar/tiercast_wasm_bg.wasm"]);
  await context.close();
});

test("a page fetches the smallest build, and more only for a model that needs it", async () => {
  const { page, context, errors } = await blankPage(server.url);
  const fetched = [];
  page.on("request", (request) => request.url().endsWith(".wasm") && fetched.push(new URL(request.url()).pathname));
  for (const [path, file] of [
    ["bundle", BUNDLE],
    ["ranks", RANKS_BUNDLE],
    ["dense", DENSE_MODEL],
    ["conv", CONV_MODEL],
    ["onnx", ONNX_BUNDLE],
  ]) {
    await page.route(`**/${path}.tcb`, (route) => route.fulfill({ path: file }));
  }
  const compact = await page.evaluate(async () => {
    const { Model, Scorer } = await import("/dist/entry/browser.js");
    const scorer = await Scorer.load("/bundle.tcb");
    const model = await Model.load("/dense.tcb");
    model.input.fill(1);
    const ranks = await Scorer.load("/ranks.tcb");
    return [scorer.prove() > 0, ranks.prove() > 0, ranks.info.decode, model.run().length];
  });
  assert.deepEqual([compact, fetched], [[true, true, "ranks", 2], ["/pkg/tiercast_wasm_bg.wasm"]]);
  const whole = await page.evaluate(async () => {
    const { Model } = await import("/dist/entry/browser.js");
    const model = await Model.load("/conv.tcb");
    model.input.fill(1);
    return model.run().length;
  });
  assert.deepEqual([whole, fetched.slice(1)], [12, ["/pkg/all/tiercast_wasm_bg.wasm"]]);
  const proved = await page.evaluate(async () => {
    const { Scorer } = await import("/dist/entry/browser.js");
    const onnx = () => import("/dist/entry/onnx.js");
    const scorer = await Scorer.load("/onnx.tcb", { onnx });
    return scorer.prove();
  });
  assert.ok(proved > 0);
  assert.deepEqual([fetched.slice(2), errors], [["/pkg/onnx/tiercast_wasm_bg.wasm"], []]);
  await context.close();
});

test("a bundle with profiles proves itself in a page, by the build with all kernels", async () => {
  const { page, context, errors } = await blankPage(server.url);
  const fetched = [];
  page.on("request", (request) => request.url().endsWith(".wasm") && fetched.push(new URL(request.url()).pathname));
  await page.route("**/profile.tcb", (route) => route.fulfill({ path: PROFILE_BUNDLE }));
  const [proved, segmentName, segments] = await page.evaluate(async () => {
    const { Scorer } = await import("/dist/entry/browser.js");
    const scorer = await Scorer.load("/profile.tcb");
    const profile = scorer.member({ kind: "purchase", time: 0, amount: 5 }).profile(86_400_000);
    return [scorer.prove(), profile.segmentName, scorer.info.profile.segments.map(({ name }) => name)];
  });
  assert.ok(proved > 0 && segments.includes(segmentName));
  assert.deepEqual(
    [fetched, errors],
    [["/pkg/tiercast_wasm_bg.wasm", "/pkg/all/tiercast_wasm_bg.wasm"], []],
  );
  await context.close();
});

test("a bundle that recommends proves itself in a page", async () => {
  const { page, context, errors } = await blankPage(server.url);
  await page.route("**/recommend.tcb", (route) => route.fulfill({ path: RECOMMEND_BUNDLE }));
  const [proved, first] = await page.evaluate(async () => {
    const { Scorer } = await import("/dist/entry/browser.js");
    const scorer = await Scorer.load("/recommend.tcb");
    return [scorer.prove(), scorer.member().recommend({ count: 1 }, 0)];
  });
  assert.ok(proved > 0 && first.length === 1 && first[0].reasons[0].kind === "popularInTier");
  assert.deepEqual(errors, []);
  await context.close();
});

test("a bundle that decides and counts points proves itself in a page, by the build with all kernels", async () => {
  const { page, context, errors } = await blankPage(server.url);
  const fetched = [];
  page.on("request", (request) => request.url().endsWith(".wasm") && fetched.push(new URL(request.url()).pathname));
  await page.route("**/decide.tcb", (route) => route.fulfill({ path: DECIDE_BUNDLE }));
  const [proved, offer, points, earned] = await page.evaluate(async () => {
    const { Scorer } = await import("/dist/entry/browser.js");
    const scorer = await Scorer.load("/decide.tcb");
    const [time, now] = [Date.UTC(2024, 0, 5), new Date("2024-02-03")];
    const event = { kind: "purchase", time, amount: 50 };
    const member = scorer.member(event);
    return [scorer.prove(), member.reward({ member: "m", now }), member.points({ now }), scorer.earn(event, { tier: 2 })];
  });
  assert.ok(proved > 0 && offer.task === "reward" && offer.propensity > 0);
  assert.deepEqual([points.balance, earned.points], [50, 55]);
  assert.deepEqual(
    [fetched, errors],
    [["/pkg/tiercast_wasm_bg.wasm", "/pkg/all/tiercast_wasm_bg.wasm"], []],
  );
  await context.close();
});

test("a bundle that judges risk proves itself in a page", async () => {
  const { page, context, errors } = await blankPage(server.url);
  await page.route("**/risk.tcb", (route) => route.fulfill({ path: RISK_BUNDLE }));
  const [proved, risk] = await page.evaluate(async () => {
    const { Scorer } = await import("/dist/entry/browser.js");
    const scorer = await Scorer.load("/risk.tcb");
    const event = { kind: "purchase", time: 86_400_000, amount: 50, device: "d", ip: "203.0.113.7", latitude: 1, longitude: 2 };
    return [scorer.prove(), scorer.member(event).risk({ reasons: 1 }, 86_400_000)];
  });
  assert.ok(proved > 0 && risk.probability > 0 && risk.probability < 1 && risk.reasons.length <= 1);
  assert.deepEqual(errors, []);
  await context.close();
});

test("a server that does not know .wasm, and one that lacks the file", async () => {
  const plain = await serve(web, { ".wasm": "text/plain" });
  const { page, context } = await blankPage(plain.url);
  await page.route("**/bundle.tcb", (route) => route.fulfill({ path: BUNDLE }));
  const outcomes = await page.evaluate(async () => {
    const { Scorer } = await import("/dist/entry/browser.js");
    const missing = await Scorer.load("/bundle.tcb", { wasm: "/missing.wasm" }).catch((error) => error.code);
    const missingBundle = await Scorer.load("/missing.tcb").catch((error) => error.code);
    const scorer = await Scorer.load(new Request("/bundle.tcb"));
    return [missing, missingBundle, scorer.member().assess(0).tier >= 1];
  });
  assert.deepEqual(outcomes, ["unavailable", "unavailable", true]);
  await context.close();
  await plain.close();
});
