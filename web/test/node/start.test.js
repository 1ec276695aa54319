// Each case needs a process of its own: the WebAssembly starts once.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { BUNDLE } from "../support/fixtures.js";

const WASM = fileURLToPath(new URL("../../pkg/tiercast_wasm_bg.wasm", import.meta.url));
const run = promisify(execFile);

async function inProcess(script) {
  const prelude = `
    import { readFile } from "node:fs/promises";
    import { Scorer } from "tiercast";
    const bundle = ${JSON.stringify(BUNDLE)}, wasmFile = ${JSON.stringify(WASM)};
    const code = (promise) => promise.then(() => "ok", (error) => error.code);
  `;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", prelude + script], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
  });
  return stdout.trim();
}

test("the WebAssembly can be a path, bytes, a response of any media type, or a compiled module", async () => {
  const forms = [
    "wasmFile",
    "await readFile(wasmFile)",
    "new Response(await readFile(wasmFile))",
    "new Response(await readFile(wasmFile), { headers: { 'content-type': 'application/wasm' } })",
    "await WebAssembly.compile(await readFile(wasmFile))",
  ];
  for (const form of forms) {
    assert.equal(await inProcess(`console.log(await code(Scorer.load(bundle, { wasm: ${form} })))`), "ok", form);
  }
});

test("a start that fails says why and can be tried again", async () => {
  const output = await inProcess(`
    const tries = [
      await code(Scorer.load(bundle, { wasm: "/no/such.wasm" })),
      await code(Scorer.load(bundle, { wasm: new Uint8Array([0, 97, 115, 109, 9, 9]) })),
      await code(Scorer.load(bundle, { wasm: new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]) })),
      await code(Scorer.load(bundle, { wasm: 7 })),
      await code(Scorer.load("/no/such.tcb")),
      await code(Scorer.load(bundle)),
    ];
    console.log(tries.join());
  `);
  assert.equal(output, "unavailable,wasm_failed,wasm_failed,invalid_input,unavailable,ok");
});

test("many loads at once start it once", async () => {
  const output = await inProcess(`
    const scorers = await Promise.all([1, 2, 3].map(() => Scorer.load(bundle)));
    console.log(scorers.every((scorer) => scorer.member().assess(0).tier >= 1));
  `);
  assert.equal(output, "true");
});
