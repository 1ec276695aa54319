// A trap of the module: its caller is told so, everybody else is answered, and a trial that traps ends.
import assert from "node:assert/strict";
import { test } from "node:test";
import { released, trial } from "./support/release.js";
import { KEYS, sample, start } from "./support/worker.js";

const { bundle, events, now } = sample();

/** The script, in which a request with the header x-trap is one that the module traps at. */
function trapping(script) {
  const begin = /async function \w+\((\w+),\w+\)\{let \w+=\w+\(\1\),\w+=/;
  assert.equal(script.split(begin).length, 3, "the entry's function is found, once");
  const changed = script.replace(begin, (found, request) => {
    const body = found.indexOf("{") + 1;
    return `${found.slice(0, body)}if(${request}.headers.has("x-trap"))throw new WebAssembly.RuntimeError("trap");${found.slice(body)}`;
  });
  return changed;
}

const trap = (worker) => worker.score({ member: "a", events, now }, { headers: { "x-trap": "1" } });

test("a trap is a 500 in JSON, is counted, and the next request is answered", async () => {
  const worker = await start({ bundle, vars: KEYS, objects: ["WATCH"], change: trapping });
  try {
    await worker.observe("m", [{ ...events[0], id: "e" }]);
    for (let i = 0; i < 5; i += 1) {
      const { status, json } = await trap(worker);
      assert.deepEqual([status, json.error.code], [500, "internal_error"]);
      assert.equal((await worker.fetch("/healthz")).status, 200);
      assert.equal((await worker.score({ events, now })).status, 200);
    }
    assert.equal((await worker.observe("m", [{ ...events[0], id: "e" }])).json.observed.duplicate, 1);
    const { text } = await worker.fetch("/metrics");
    assert.match(text, /^tiercast_errors_total\{code="internal_error"\} 5$/m);
    assert.match(text, /^tiercast_requests_total\{route="score",status="500"\} [1-5]$/m);
  } finally {
    await worker.stop();
  }
});

test("with bundles from a store nobody goes without one, and a trial under way is withdrawn", async () => {
  const worker = await released({ next: trial("canary", 0.5, { minRequests: 8 }) }, { change: trapping });
  try {
    assert.equal((await worker.fetch("/healthz")).status, 200);
    for (let i = 0; i < 10; i += 1) {
      assert.equal((await trap(worker)).status, 500);
      assert.equal((await worker.score({ member: `m${i}`, events, now })).status, 200, "at once");
    }
    for (let i = 0; i < 100 && !/^tiercast_release_withdrawn/m.test((await worker.fetch("/metrics")).text); i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.match((await worker.fetch("/metrics")).text, /^tiercast_release_withdrawn/m);
  } finally {
    await worker.stop();
  }
});
