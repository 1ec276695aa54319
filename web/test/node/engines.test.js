// The builds of the engine: with and without SIMD, small and whole, and the one for ONNX.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Scorer } from "tiercast";
import { hasSimd } from "../../dist/simd.js";
import { BUNDLE, CONV_MODEL, household, memberVectorFiles, ONNX_BUNDLE, vectors } from "../support/fixtures.js";
import { allDifferences, hexBits } from "../support/vectors.js";

const run = promisify(execFile);
const pkg = (path) => fileURLToPath(new URL(`../../pkg/${path}`, import.meta.url));

/** Bits of many scores of one build, in a process of its own: an engine starts once. */
async function bitsOf(wasm) {
  const script = `
    import { Scorer } from "tiercast";
    import { household } from ${JSON.stringify(new URL("../support/fixtures.js", import.meta.url).href)};
    import { hexBits } from ${JSON.stringify(new URL("../support/vectors.js", import.meta.url).href)};
    const scorer = await Scorer.load(${JSON.stringify(BUNDLE)}, { wasm: ${JSON.stringify(pkg(wasm))} });
    const rows = new Float32Array(500 * scorer.info.features.length);
    for (let i = 0; i < rows.length; i++) rows[i] = i % 17 ? (((13 * i) % 1009) - 100) / 16 : NaN;
    const members = [1, 2, 3].map((seed) => scorer.member(household(seed)));
    console.log([
      ...hexBits(scorer.scoreBatch(rows)),
      ...members.flatMap((member) => hexBits(member.assess(${Date.UTC(2017, 8, 15)}).probabilities)),
      ...members.flatMap((member) => hexBits(Float32Array.from(member.explain(${Date.UTC(2017, 8, 15)}), (r) => r.effect))),
    ].join());
  `;
  const cwd = new URL("../..", import.meta.url);
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd, maxBuffer: 1 << 24 });
  return stdout.trim().split(",");
}

test("every build of the compact engine gives the same bits", async () => {
  const [tiers, ...others] = await Promise.all(
    ["", "all/", "scalar/"].map((folder) => bitsOf(`${folder}tiercast_wasm_bg.wasm`)),
  );
  assert.ok(tiers.length > 2500);
  for (const other of others) assert.deepEqual(other, tiers);
});

test("the build without SIMD is inlined as little as the others", async () => {
  const [all, scalar] = await Promise.all(
    ["all/", "scalar/"].map(async (folder) => (await readFile(pkg(`${folder}tiercast_wasm_bg.wasm`))).length),
  );
  assert.ok(scalar < 1.1 * all, `${scalar} bytes, with SIMD ${all}`);
});

test("the build without SIMD has none, and this Node is seen to have it", async () => {
  assert.equal(hasSimd(), true);
  // A 128-bit vector type (0x7b) is a local or a value of some function in the others only.
  const usesSimd = async (path) => {
    const text = await run("node_modules/.bin/wasm-dis", ["--enable-simd", "--all-features", pkg(path)], {
      cwd: new URL("../../..", import.meta.url),
      maxBuffer: 1 << 28,
    });
    return /\bv128\b/.test(text.stdout);
  };
  assert.deepEqual(
    await Promise.all(["tiercast_wasm_bg.wasm", "scalar/tiercast_wasm_bg.wasm"].map(usesSimd)),
    [true, false],
  );
});

test("a bundle that keeps its ONNX model asks for the engine that runs it", async () => {
  await assert.rejects(Scorer.load(ONNX_BUNDLE), (error) => {
    assert.equal(error.code, "unsupported_model");
    assert.match(error.message, /tiercast\/onnx/);
    return true;
  });
});

test("more kernels are fetched for a plan that needs them, and not for an ONNX file, which they cannot run", async () => {
  const script = (load) => `
    import fs from "node:fs/promises";
    import { syncBuiltinESMExports } from "node:module";
    const { readFile } = fs;
    const read = [];
    fs.readFile = (file, ...rest) => (read.push(String(file)), readFile(file, ...rest));
    syncBuiltinESMExports();
    const { Model, Scorer } = await import("tiercast");
    await ${load}.catch(() => {});
    console.log(read.some((file) => file.includes("/all/")));
  `;
  const fetched = async (load) => {
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script(load)], {
      cwd: new URL("../..", import.meta.url),
    });
    return stdout.trim();
  };
  assert.equal(await fetched(`Model.load(${JSON.stringify(CONV_MODEL)})`), "true");
  assert.equal(await fetched(`Scorer.load(${JSON.stringify(ONNX_BUNDLE)})`), "false");
});

test("with tiercast/onnx it scores as the plan of the same model, and is not loaded for others", async () => {
  let asked = 0;
  const onnx = () => {
    asked++;
    return import("tiercast/onnx");
  };
  const plan = await Scorer.load(BUNDLE, { onnx });
  assert.equal(asked, 0);
  const scorer = await Scorer.load(ONNX_BUNDLE, { onnx });
  assert.deepEqual([asked, scorer.info.engine, plan.info.engine], [1, "onnx", "plan"]);
  const now = Date.UTC(2017, 8, 15);
  const [a, b] = [plan, scorer].map((of) => of.member(household(7)).assess(now));
  assert.deepEqual(hexBits(a.features), hexBits(b.features));
  a.probabilities.forEach((p, i) => assert.ok(Math.abs(p - b.probabilities[i]) <= 1e-5));
  assert.equal(a.tier, b.tier);
  assert.ok(scorer.prove() > 0);
  const { cases } = await vectors(memberVectorFiles()[0]);
  assert.deepEqual(allDifferences(scorer, cases), []);
  // The module itself serves as well as a function that imports it.
  assert.equal((await Scorer.load(await readFile(ONNX_BUNDLE), { onnx: await import("tiercast/onnx") })).info.engine, "onnx");
});

test("events are read from bytes as serde reads them from objects", async () => {
  // The build for ONNX has both ways; its binding is asked directly, because the package uses only one.
  const { engine } = await import("tiercast/onnx");
  const running = await engine.start();
  const { binding } = running;
  const { written } = await import("../../dist/events.js");
  const scorer = binding.Scorer.load(await readFile(ONNX_BUNDLE));
  // More than is held, so that there are events that come too late.
  const history = Array.from({ length: 300 }, (_, i) => ({ kind: "view", id: i, time: Date.UTC(2016, 5, 1) + i }));
  const outcome = (observe) => {
    const member = scorer.member();
    try {
      running.done(() => member.observe(written(history)));
      running.done(() => observe(member));
      const counts = Array.from(new Float64Array(running.memory.buffer, scorer.numbers(), 3));
      member.save();
      return [counts, Buffer.from(running.bytes()).toString("hex")];
    } catch (error) {
      return error.code;
    } finally {
      member.free();
    }
  };
  const time = Date.UTC(2017, 5, 1);
  const late = [history[299], { kind: "view", time }, { kind: "view", time: history[0].time - 1 }];
  const others = [
    { kind: "view", time: "2017-06-01T10:00:00Z", item: "é猫🐈" },
    { kind: "purchase", time, amount: 12.345, discount: 0.1, quantity: 1.5, order: 7 },
    { kind: "purchase", time, amountMinor: 1234, discountMinor: 5, channel: "web" },
    { kind: "purchase", time, amount_minor: 1234, discount_minor: 5 },
    { kind: "purchase", time, amount_minor: 1234, amountMinor: 1234 },
    { kind: "purchase", time, amount: "1,5" },
    { kind: "purchase", time, quantity: "2" },
    { kind: "purchase", time, item: 1.5 },
    { kind: "buy", time },
    { kind: "purchase", time: 1.5 },
    { kind: "purchase" },
    { kind: "purchase", time, item: "x".repeat(257) },
  ];
  for (const events of [household(1, 50), late, ...others.map((event) => [event])]) {
    const bytes = outcome((member) => member.observe(written(events)));
    assert.deepEqual(bytes, outcome((member) => member.observeObjects(events)), JSON.stringify(events[0]));
    if (events === late) assert.deepEqual(bytes[0], [1, 1, 1]);
  }
});
