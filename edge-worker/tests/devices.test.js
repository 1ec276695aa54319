// Members of a device: counted while events come in, forgotten with the member, and readable by nobody.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { filesIn, inFolder } from "./support/folder.js";
import { KEYS, root, sample, start } from "./support/worker.js";

const bundle = readFileSync(join(root, "tests", "fixtures", "risk.tcb"));
const { now, bundle: judgesNone } = sample();
const order = (id, more = {}) => ({ kind: "purchase", time: now, id, amount: "5.00", device: "phone-of-many", ...more });
const objects = ["DEVICES"];

/** The state that a history with these events has. */
async function stateOf(worker, events) {
  return (await worker.score({ events, now, returnState: true })).json.state;
}

const kept = async (worker, member) => (await worker.member("GET", member)).json.state;

test("each member is counted once, from the first event on, and is forgotten when erased", async () => {
  const worker = await start({ bundle, vars: KEYS, objects });
  try {
    for (const [i, member] of ["a", "b", "c"].entries()) {
      assert.equal((await worker.observe(member, [order("1")])).status, 200);
      assert.equal(await kept(worker, member), await stateOf(worker, [order("1", { deviceMembers: i + 1 })]), member);
    }
    await worker.observe("a", [order("2")]);
    assert.equal(await kept(worker, "a"), await stateOf(worker, [order("1", { deviceMembers: 1 }), order("2", { deviceMembers: 3 })]));
    assert.equal((await worker.member("DELETE", "a")).status, 204);
    await worker.observe("d", [order("1")]);
    assert.equal(await kept(worker, "d"), await stateOf(worker, [order("1", { deviceMembers: 3 })]));
    await worker.observe("e", [order("1", { deviceMembers: 40 }), order("2", { device: "another" }), order("3", { device: undefined })]);
    const told = [order("1", { deviceMembers: 40 }), order("2", { device: "another", deviceMembers: 1 }), order("3", { device: undefined })];
    assert.equal(await kept(worker, "e"), await stateOf(worker, told), "what the shop says is left as it is");
  } finally {
    await worker.stop();
  }
});

test("what is answered with the events is what is answered later, and it is audited", async () => {
  const worker = await start({ bundle, vars: KEYS, objects });
  try {
    const stored = await worker.member("POST", "m", "/events?risk=true&reasons=1", { events: [order("1")] });
    assert.deepEqual([stored.status, Object.keys(stored.json)], [200, ["observed", "events", "lastTime", "risk"]]);
    const later = (await worker.member("GET", "m", "/risk?reasons=1")).json;
    assert.deepEqual(later, { now: stored.json.lastTime, risk: stored.json.risk });
    const alone = await worker.fetch("/v1/risk", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ events: [order("1", { deviceMembers: 1 })], now, options: { reasons: 1 } }),
    });
    assert.deepEqual(alone.json.risk, stored.json.risk);
    const { audit } = (await worker.member("GET", "m")).json;
    assert.deepEqual(audit.map(({ what }) => what), ["risk", "risk", "export"]);
  } finally {
    await worker.stop();
  }
});

test("a bundle that judges no risk counts nobody, and refuses to judge before it stores", async () => {
  const worker = await start({ bundle: judgesNone, vars: KEYS, objects });
  try {
    await worker.observe("a", [order("1")]);
    assert.equal(await kept(worker, "a"), await stateOf(worker, [order("1")]));
    const refused = await worker.member("POST", "a", "/events?risk", { events: [order("2")] });
    assert.deepEqual([refused.status, refused.json.error.code], [422, "no_risk"]);
    assert.equal((await worker.member("GET", "a")).json.events, 1);
  } finally {
    await worker.stop();
  }
});

test("neither the device nor its members can be read where they are stored", async () => {
  await inFolder(async (folder) => {
    const worker = await start({ bundle, vars: KEYS, objects, members: folder });
    for (const member of ["somebody-in-plain", "another-in-plain"]) await worker.observe(member, [order("1")]);
    await worker.stop();
    const files = filesIn(folder);
    assert.ok(files.some(({ path }) => path.includes("Device")), "the device's object was stored");
    for (const { path, bytes } of files) {
      for (const name of ["phone-of-many", "somebody-in-plain", "another-in-plain"]) assert.ok(!bytes.includes(name), `${name} in ${path}`);
    }
  });
});
