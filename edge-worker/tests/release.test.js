// Bundles from a store: only what is signed answers, a trial gets its share, and a trial that fails ends by itself.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { bytesOf } from "../../web/test/support/sections.js";
import { withSection } from "./support/bundle.js";
import { bundle, hash, key, objects, other, pin, pointer, released, trial, vars } from "./support/release.js";
import { root, sample, start } from "./support/worker.js";

const { events, now } = sample();

/** A bundle that proves itself, having nothing to prove, and fails for every member: its weights are no numbers. */
const failing = (() => {
  const plan = Buffer.from(bytesOf(bundle, "plan"));
  for (let at = plan.length - 400; at + 4 <= plan.length; at += 4) plan.writeUInt32LE(0x7fc00000, at);
  return withSection(withSection(bundle, "plan", plan), "vectors", Buffer.from("[]"));
})();

/** Asks until what is answered is so, while the worker looks into its store again. */
async function until(ask, wanted) {
  for (let i = 0; i < 100; i += 1) {
    const found = await ask();
    if (wanted(found)) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("it did not come about in ten seconds");
}

const deployed = async (worker) => (await worker.fetch("/healthz")).json?.bundle;
/** What a bundle says, which tells the two apart. */
const said = ({ json }) => String(json.probabilities);
const saidOf = async (worker, member) => said(await worker.score({ member, events, now }));
const metric = async (worker, pattern) => (await worker.fetch("/metrics")).text.split("\n").filter((line) => pattern.test(line));

for (const r2 of [false, true]) {
  test(`what is released answers, and the next release takes its place: ${r2 ? "R2" : "KV"}`, async () => {
    const worker = await released({ serial: 1, stable: pin(bundle) }, { r2 });
    try {
      assert.equal(await deployed(worker), hash(bundle));
      assert.equal((await worker.observe("m", [{ ...events[0], id: "e" }])).status, 200);
      const before = said(await worker.member("GET", "m", `/assessment?now=${now}`));
      await worker.store.put("release.json", pointer({ serial: 2, stable: pin(other) }));
      await until(() => deployed(worker), (found) => found === hash(other));
      const after = await until(() => worker.member("GET", "m", `/assessment?now=${now}`), (answer) => said(answer) !== before);
      assert.equal(after.status, 200, "the history is read as the new bundle reads it");
      assert.deepEqual(await metric(worker, /^tiercast_release_serial/), ["tiercast_release_serial 2"]);
    } finally {
      await worker.stop();
    }
  });
}

describe("what nobody released answers nobody", () => {
  const good = { serial: 1, stable: pin(bundle) };
  const foreign = generateKeyPairSync("ed25519").privateKey;
  const cases = {
    "no release": [undefined, "release_missing"],
    "another's signature": [pointer(good, { secret: foreign }), "release_signature"],
    "another payload under the signature": [pointer(good, { change: (text) => text.replace("1", "2") }), "release_signature"],
    "no JSON": ["hello", "release_signature"],
    "no object": ["7", "release_signature"],
    "another format": [pointer({ ...good, format: 2 }), "release_malformed"],
    "more than is known": [pointer({ ...good, more: 1 }), "release_malformed"],
    "a bundle that is not there": [pointer({ ...good, stable: { sha256: "0".repeat(64), bytes: 1 } }), "bundle_missing"],
  };
  for (const [name, [release, code]] of Object.entries(cases)) {
    test(name, async () => {
      const worker = await released(release);
      try {
        const { status, json } = await worker.fetch("/healthz");
        assert.deepEqual([status, json.error.code], [503, code]);
        assert.equal((await worker.score({ events, now })).json.error.code, code);
      } finally {
        await worker.stop();
      }
    });
  }

  test("other bytes under the bundle's name, and without a key nothing", async () => {
    for (const [more, code] of [
      [{ swap: true }, "bundle_hash"],
      [{ vars: { ...vars, TIERCAST_RELEASE_KEY: "" } }, "release_signature"],
      [{ vars: { ...vars, TIERCAST_RELEASE_KEY: "AAAA" } }, "invalid_configuration"],
    ]) {
      const { swap, ...options } = more;
      const worker = await released(good, options);
      try {
        if (swap) await worker.store.put(key(bundle), new Uint8Array(other).buffer);
        assert.equal((await worker.fetch("/healthz")).json.error.code, code);
      } finally {
        await worker.stop();
      }
    }
  });
});

test("a release that the command line signed is taken for one", async () => {
  const store = new Map([["release.json", readFileSync(join(root, "tests", "fixtures", "release.json"), "utf8")]]);
  // The public key of RFC 8032's first test.
  const key = Buffer.from("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "hex").toString("base64");
  for (const [TIERCAST_RELEASE_KEY, code] of [[key, "bundle_missing"], [vars.TIERCAST_RELEASE_KEY, "release_signature"]]) {
    const worker = await start({ bundle: null, vars: { ...vars, TIERCAST_RELEASE_KEY }, objects, store });
    try {
      assert.equal((await worker.fetch("/healthz")).json.error.code, code);
    } finally {
      await worker.stop();
    }
  }
});

test("a release that cannot be taken over leaves the one that answers", async () => {
  const worker = await released({ serial: 5, stable: pin(bundle) });
  try {
    assert.equal(await deployed(worker), hash(bundle));
    await worker.store.put("release.json", pointer({ serial: 6, stable: pin(other) }, { secret: generateKeyPairSync("ed25519").privateKey }));
    await until(() => deployed(worker).then(() => metric(worker, /^tiercast_errors_total.*release_signature/)), (lines) => lines.length > 0);
    assert.equal(await deployed(worker), hash(bundle));
  } finally {
    await worker.stop();
  }
});

test("an older release does not come back", async () => {
  const worker = await released({ serial: 5 });
  try {
    assert.equal(await deployed(worker), hash(bundle));
    await worker.store.put("release.json", pointer({ serial: 4, stable: pin(other) }));
    await until(() => deployed(worker).then(() => metric(worker, /^tiercast_errors_total.*release_old/)), (lines) => lines.length > 0);
    assert.equal(await deployed(worker), hash(bundle));
  } finally {
    await worker.stop();
  }
});

test("a canary that lacks what the stable bundle has refuses nobody, and is withdrawn", async () => {
  const judges = readFileSync(join(root, "tests", "fixtures", "risk.tcb"));
  const worker = await released({ stable: pin(judges), next: trial("canary") }, { bundles: [judges, other] });
  try {
    const ask = () => worker.fetch("/v1/risk", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ member: "m", events: [{ kind: "purchase", time: now, amount: "5.00" }], now }) });
    await until(
      async () => {
        for (let i = 0; i < 10; i += 1) assert.equal((await ask()).status, 200);
        assert.equal((await worker.member("POST", `s${Math.random()}`, "/events?risk", { events: [{ ...events[0], id: "e" }] })).status, 200);
        return metric(worker, /^tiercast_release_withdrawn/);
      },
      (lines) => lines.length > 0,
    );
  } finally {
    await worker.stop();
  }
});

test("a canary answers its share of members, always the same ones, stored or not", async () => {
  const worker = await released({ serial: 1, stable: pin(bundle), next: trial("canary", 0.5) });
  try {
    const names = Array.from({ length: 40 }, (_, i) => `member ${i}`);
    const found = [];
    for (const name of names) found.push(await saidOf(worker, name));
    const [a, b] = [...new Set(found)].map((one) => found.filter((each) => each === one).length);
    assert.ok(Math.min(a, b) >= 10, `${a} and ${b} of 40`);
    for (const [i, name] of names.slice(0, 12).entries()) {
      assert.equal(await saidOf(worker, name), found[i], name);
      const { state } = (await worker.score({ events, now, returnState: true })).json;
      assert.equal((await worker.member("PUT", name, "/state", { state })).status, 200);
      assert.equal(said(await worker.member("GET", name, `/assessment?now=${now}`)), found[i], `${name}, stored`);
    }
    const nameless = said(await worker.score({ events, now }));
    const batch = (await worker.score({ members: names.slice(0, 5).map((member) => ({ member, events })), now })).json.results;
    assert.deepEqual([...new Set(batch.map((json) => said({ json })))], [nameless], "who has no name, and batches, get the stable one");
    assert.equal(await deployed(worker), hash(bundle));
  } finally {
    await worker.stop();
  }
});

test("a shadow answers nobody, and is counted", async () => {
  const worker = await released({ serial: 1, stable: pin(bundle), next: trial("shadow") });
  try {
    const stable = await saidOf(worker, "a");
    for (const name of ["b", "c", "d"]) assert.equal(await saidOf(worker, name), stable);
    const lines = await metric(worker, new RegExp(`^tiercast_bundle_requests_total.bundle="${hash(other).slice(0, 12)}",stage="shadow"`));
    assert.equal(lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0), 4, lines.join("\n"));
    assert.ok(lines.every((line) => /outcome="(ok|differs)"/.test(line)));
  } finally {
    await worker.stop();
  }
});

for (const stage of ["shadow", "canary"]) {
  test(`a ${stage} that fails is withdrawn by itself, and a new release may try again`, async () => {
    const worker = await released({ serial: 3, stable: pin(bundle), next: trial(stage, 0.5, { bytes: failing }) }, { bundles: [bundle, other, failing] });
    try {
      const statuses = [];
      await until(
        async () => {
          for (let i = 0; i < 10; i += 1) statuses.push((await worker.score({ member: `m${statuses.length}`, events, now })).status);
          return metric(worker, /^tiercast_release_withdrawn/);
        },
        (lines) => lines.length > 0,
      );
      assert.deepEqual(await metric(worker, /^tiercast_release_withdrawn/), [`tiercast_release_withdrawn{bundle="${hash(failing).slice(0, 12)}"} 1`]);
      assert.ok(statuses.every((status) => status === 200), "the stable bundle answers where the other fails");
      for (let i = 0; i < 20; i += 1) assert.equal((await worker.score({ member: `after ${i}`, events, now })).status, 200);
      await worker.store.put("release.json", pointer({ serial: 4, stable: pin(bundle), next: trial(stage, 1) }));
      await until(() => worker.score({ member: "a", events, now }).then(() => metric(worker, new RegExp(`^tiercast_bundle_info.*stage="${stage}"`))), (lines) => lines.length > 0);
      assert.deepEqual(await metric(worker, /^tiercast_release_withdrawn/), []);
    } finally {
      await worker.stop();
    }
  });
}
