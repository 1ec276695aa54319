// Every parity vector, over HTTP in real workerd: features and probabilities by bits, decisions and error codes exactly.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { start, vectors } from "./support/worker.js";

const bitsOf = (value) => {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value === null ? Number.NaN : value);
  return view.getUint32(0).toString(16).padStart(8, "0");
};

/** A case as a request: its snapshot, if it has one, is the state that its events come after. */
function sent({ events, now, snapshot }) {
  return { events, now, ...(snapshot === undefined ? {} : { state: Buffer.from(snapshot, "hex").toString("base64") }) };
}

function agree(found, expected) {
  assert.deepEqual(found.features.map(bitsOf), expected.features);
  assert.deepEqual(found.probabilities.map(bitsOf), expected.probabilities.map(bitsOf));
  assert.equal(found.tier, expected.tier);
  assert.deepEqual(found.standing, expected.standing);
}

for (const { name, real, bundleBytes, cases } of vectors()) {
  describe(name, () => {
    let worker;
    before(async () => {
      worker = await start({ bundle: bundleBytes, vars: { TIERCAST_MAX_BODY_BYTES: "16777216" } });
    });
    after(() => worker.stop());

    for (const expected of cases) {
      test(expected.name, async () => {
        const { status, json } = await worker.score({ ...sent(expected), features: true });
        if (expected.error !== undefined) return assert.equal(json.error?.code, expected.error);
        assert.equal(status, 200);
        agree(json, expected);
      });
    }

    test("all of them in batches", async () => {
      for (let from = 0; from < cases.length; from += 100) {
        const some = cases.slice(from, from + 100);
        const members = some.map((c) => ({ member: c.name, ...sent(c) }));
        const { status, json } = await worker.score({ members, features: true });
        assert.equal(status, 200);
        assert.deepEqual(json.results.map((result) => result.member), some.map((c) => c.name));
        for (const [i, expected] of some.entries()) {
          if (expected.error !== undefined) assert.equal(json.results[i].error?.code, expected.error);
          else agree(json.results[i], expected);
        }
      }
      if (real) console.log(`${cases.length} real members agree`);
    });
  });
}
