import assert from "node:assert/strict";
import { copyFile, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build as esbuild } from "esbuild";
import { Miniflare } from "miniflare";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { build as viteBuild } from "vite";
import { launch, openPage } from "../support/chromium.js";
import { BUNDLE, ONNX_BUNDLE } from "../support/fixtures.js";
import { pack, projectWith, run } from "../support/package.js";
import { serve } from "../support/serve.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** What every runtime is asked to do, and what it must answer. */
const SCORE = `
  const member = scorer.member([{ kind: "purchase", time: "2017-05-02", amount: "120.00" }]);
  const { standing, tier } = member.assess(Date.UTC(2017, 4, 3));
  const answer = JSON.stringify({ spend: standing.spend, tierName: standing.tierName, scored: tier >= 1 });
`;
const ANSWER = { spend: "120.00", tierName: "Bronze", scored: true };

let packed;

before(async () => {
  packed = await pack();
});

after(() => packed?.remove());

test("the tarball holds what is needed and nothing else", () => {
  const unexpected = packed.files.filter(
    (path) =>
      !/^(dist\/.+\.(js|d\.ts)|pkg\/((all|onnx)\/)?tiercast_wasm\.js|pkg\/((all|scalar|onnx)\/)?tiercast_wasm_bg\.wasm|README\.md|package\.json)$/.test(path),
  );
  assert.deepEqual(unexpected, []);
  for (const path of [
    "dist/index.d.ts",
    "dist/entry/node.js",
    "dist/entry/browser.js",
    "dist/entry/workerd.js",
    "dist/entry/onnx.js",
    "dist/entry/onnx-workerd.js",
    "dist/entry/onnx.d.ts",
    ...["", "all/", "scalar/", "onnx/"].map((folder) => `pkg/${folder}tiercast_wasm_bg.wasm`),
    "README.md",
  ]) {
    assert.ok(packed.files.includes(path), path);
  }
});

test("publint finds nothing", async () => {
  const project = await projectWith(packed, "publint", {});
  const pkgDir = join(project, "node_modules/tiercast");
  const { messages, pkg } = await publint({ pkgDir, strict: true, pack: false });
  assert.deepEqual(
    messages.map((message) => formatMessage(message, pkg)),
    [],
  );
});

test("are the types wrong? no", async () => {
  const attw = join(root, "node_modules/.bin/attw");
  const wasm = ["tiercast.wasm", "tiercast-all.wasm", "tiercast-scalar.wasm", "tiercast-onnx.wasm"];
  const options = ["--profile", "esm-only", "--no-color", "--no-emoji", "--exclude-entrypoints", ...wasm];
  await run(attw, [packed.tarball, ...options]).catch((error) => assert.fail(error.stdout));
});

test("TypeScript accepts the README's example, with the types of Node and of a browser", async () => {
  const project = await projectWith(packed, "typed", {
    "main.ts": `
      import { Model, Scorer, TiercastError, type Assessment, type LoadOptions, type Reason } from "tiercast";
      const options: LoadOptions = { onnx: () => import("tiercast/onnx") };
      using scorer = await Scorer.load("bundle.tcb", options);
      scorer.row[0] = 1;
      const first: number | undefined = scorer.scoreRow()[0];
      using model = await Model.load("model.tcb", { onnx: await import("tiercast/onnx") });
      model.input.fill(0);
      const out: Float32Array = model.run();
      const shapes: number[] = [...model.info.inputShape, ...model.info.outputShape, out.length, first ?? 0];
      const member = scorer.member();
      member.observe({ kind: "purchase", time: new Date(), amount: "12.34", item: "sku-1" });
      member.observe({ kind: "purchase", time: 0, amount_minor: 1234, discount_minor: 5 });
      const assessment: Assessment = member.assess();
      const next: string | undefined = assessment.standing.next?.amount;
      const why: Reason[] = member.explain();
      console.log(why[0]?.feature, shapes);
      try { scorer.restoreState(member.saveState()); } catch (e) { if (e instanceof TiercastError) next === e.code; }
      // @ts-expect-error an event needs a kind
      member.observe({ time: 0 });
    `,
  });
  const settings = [
    ["--module", "nodenext", "--lib", "es2022", "--types", "node", "--typeRoots", join(root, "node_modules/@types")],
    ["--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2022,dom", "--types", ""],
  ];
  for (const setting of settings) {
    const options = [
      "--noEmit",
      "--strict",
      "--exactOptionalPropertyTypes",
      "--target",
      "es2022",
      ...setting,
      "main.ts",
    ];
    await run(join(root, "node_modules/.bin/tsc"), options, { cwd: project }).catch((error) =>
      assert.fail(error.stdout),
    );
  }
});

test("installed, it runs in Node", async () => {
  const project = await projectWith(packed, "node", {
    "main.js": `import { Scorer } from "tiercast"; const scorer = await Scorer.load(process.argv[2]); ${SCORE} console.log(answer);`,
  });
  const { stdout, stderr } = await run(process.execPath, ["main.js", BUNDLE], { cwd: project });
  assert.deepEqual([JSON.parse(stdout), stderr], [ANSWER, ""]);
});

test("installed, it runs a bundle that keeps its ONNX model, with tiercast/onnx", async () => {
  const project = await projectWith(packed, "onnx", {
    "main.js": `import { Scorer } from "tiercast";
      const scorer = await Scorer.load(process.argv[2], { onnx: () => import("tiercast/onnx") });
      ${SCORE} console.log(answer);`,
  });
  const { stdout, stderr } = await run(process.execPath, ["main.js", ONNX_BUNDLE], { cwd: project });
  assert.deepEqual([JSON.parse(stdout), stderr], [ANSWER, ""]);
});

test("installed, it runs in a Vite build, in Chromium", async () => {
  const project = await projectWith(packed, "vite", {
    "index.html": `<!doctype html><title>t</title><link rel="icon" href="data:,"><script type="module" src="/main.js"></script>`,
    "main.js": `import { Scorer } from "tiercast"; const scorer = await Scorer.load("/bundle.tcb"); ${SCORE} document.title = answer;`,
  });
  await mkdir(join(project, "public"));
  await copyFile(BUNDLE, join(project, "public/bundle.tcb"));
  await viteBuild({ root: project, logLevel: "error", configFile: false, build: { target: "es2022" } });
  const wasm = (await readdir(join(project, "dist/assets"))).filter((name) => name.endsWith(".wasm"));
  assert.equal(wasm.length, 3, `with SIMD, without, and with all kernels; found ${wasm}`);
  assert.deepEqual(await answerOf(join(project, "dist")), ANSWER);
});

test("installed, it runs unbundled from a page", async () => {
  const project = await projectWith(packed, "plain", {
    "index.html": `<!doctype html><title>t</title><link rel="icon" href="data:,">
      <script type="importmap">{"imports":{"tiercast":"/node_modules/tiercast/dist/entry/browser.js"}}</script>
      <script type="module">import { Scorer } from "tiercast"; const scorer = await Scorer.load("/bundle.tcb"); ${SCORE} document.title = answer;</script>`,
  });
  await copyFile(BUNDLE, join(project, "bundle.tcb"));
  assert.deepEqual(await answerOf(project), ANSWER);
});

test("installed, it runs in workerd", async () => {
  const project = await projectWith(packed, "workerd", {
    "main.js": `import { Scorer } from "tiercast";
      export default { async fetch(request) {
        const scorer = await Scorer.load(await request.arrayBuffer());
        ${SCORE}
        return new Response(answer);
      } };`,
  });
  const out = join(project, "out");
  await esbuild({
    entryPoints: [join(project, "main.js")],
    outdir: out,
    bundle: true,
    format: "esm",
    conditions: ["workerd", "worker", "browser"],
    loader: { ".wasm": "copy" },
    assetNames: "[name]",
    logLevel: "error",
  });
  const miniflare = new Miniflare({
    modulesRoot: out,
    modules: [
      { type: "ESModule", path: join(out, "main.js") },
      { type: "CompiledWasm", path: join(out, "tiercast_wasm_bg.wasm") },
    ],
    compatibilityDate: "2026-04-01",
    cf: false,
  });
  try {
    const response = await miniflare.dispatchFetch("http://localhost/", {
      method: "POST",
      body: await readFile(BUNDLE),
    });
    assert.deepEqual(JSON.parse(await response.text()), ANSWER);
  } finally {
    await miniflare.dispose();
  }
});

/** Serves a folder and waits for its page to write an answer into its title. */
async function answerOf(folder) {
  const server = await serve(folder);
  const browser = await launch();
  try {
    const { page, errors } = await openPage(browser);
    await page.goto(server.url);
    await page.waitForFunction(() => document.title !== "t").catch((error) => assert.fail(`${error}: ${errors}`));
    assert.deepEqual(errors, []);
    return JSON.parse(await page.title());
  } finally {
    await browser.close();
    await server.close();
  }
}
