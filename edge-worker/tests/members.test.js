// Members that live at the edge: what is stored is what was sent, by bits, whatever came between.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { withRules } from "./support/bundle.js";
import { inFolder } from "./support/folder.js";
import { forged } from "./support/state.js";
import { KEYS, root, sample, start, vectors } from "./support/worker.js";

const { bundle, events: some, now } = sample();
const named = (events, prefix = "event") => events.map((event, i) => ({ ...event, id: `${prefix}-${i}` }));
const events = named(some);
const code = ({ status, json }) => [status, json?.error?.code];
const none = { added: 0, duplicate: 0, tooLate: 0 };
/** Events that are one day apart, from a number on. */
const days = (from, count) => {
  return Array.from({ length: count }, (_, i) => ({ kind: "purchase", time: now - (2000 - from - i) * 86_400_000, id: `day-${from + i}`, amount: "5.00" }));
};

/** What POST /v1/score makes of the same events, with the state. */
async function scored(worker, list, query = "?features=true") {
  const { json } = await worker.score({ events: list, now, returnState: true }, { query });
  return json;
}

describe("one worker", () => {
  let worker;
  before(async () => {
    worker = await start({ bundle, vars: { ...KEYS, TIERCAST_MAX_BODY_BYTES: "16777216" } });
  });
  after(() => worker.stop());

  test("events go in, and the assessment and the state are those of POST /v1/score, by bits", async () => {
    const stored = await worker.observe("round", events);
    assert.equal(stored.status, 200);
    const { state, ...expected } = await scored(worker, events);
    assert.deepEqual(stored.json, { observed: expected.observed, events: events.length, lastTime: Math.max(...events.map(({ time }) => new Date(time).getTime())) });
    const { text } = await worker.member("GET", "round", `/assessment?features=true&now=${now}`);
    assert.equal(text, (await worker.score({ state, now, features: true })).text);
    const plain = await worker.member("GET", "round", `/assessment?now=${encodeURIComponent(new Date(now).toISOString())}`);
    assert.equal(plain.text, (await worker.score({ state, now })).text);
    const exported = (await worker.member("GET", "round")).json;
    assert.equal(exported.state, state);
    assert.equal(exported.events, events.length);
    assert.ok(exported.firstTime <= exported.lastTime && exported.created <= exported.changed);
    assert.deepEqual(exported.audit.map(({ who, what }) => [who, what]), [
      ["TIERCAST_TOKEN", "assessment"],
      ["TIERCAST_TOKEN", "assessment"],
      ["TIERCAST_TOKEN", "export"],
    ]);
  });

  test("every vector: the stored member is assessed as POST /v1/score assesses", async () => {
    let compared = 0;
    for (const [i, { events: sent, now: moment, error }] of vectors().find(({ real }) => !real).cases.entries()) {
      if (error !== undefined || sent.length === 0) continue;
      const list = named(sent, `v${i}`);
      assert.equal((await worker.observe(`vector ${i}`, list)).status, 200);
      const { status, json } = await worker.score({ events: list, now: moment, returnState: true });
      // With identities of their own some are too many to be known at that moment.
      if (status !== 200) continue;
      const { state } = json;
      const expected = await worker.score({ state, now: moment, features: true });
      const found = await worker.member("GET", `vector ${i}`, `/assessment?features&now=${moment}`);
      assert.equal(found.text, expected.text);
      compared += 1;
    }
    assert.ok(compared >= 20, `${compared} vectors were compared`);
  });

  test("a moment that was forgotten is refused as POST /v1/score refuses it", async () => {
    await worker.observe("forgotten", days(0, 300));
    const answer = await worker.member("GET", "forgotten", `/assessment?now=${days(10, 1)[0].time}`);
    assert.deepEqual(code(answer), [422, "too_late"]);
    assert.deepEqual((await worker.observe("forgotten", days(0, 3))).json.observed, { ...none, tooLate: 3 });
  });

  test("neither order nor portions nor repetition matter", async () => {
    const { state } = await scored(worker, events);
    const orders = { reversed: [...events].reverse(), turned: [...events.slice(7), ...events.slice(0, 7)] };
    for (const [id, list] of Object.entries(orders)) {
      for (let at = 0; at < list.length; at += 5) await worker.observe(id, list.slice(at, at + 5));
      const { json } = await worker.observe(id, list);
      assert.deepEqual(json.observed, { ...none, duplicate: list.length });
      assert.equal((await worker.member("GET", id)).json.state, state, id);
    }
  });

  test("a repeated batch writes nothing, and an earlier twin takes the place of the later", async () => {
    await worker.observe("twin", events);
    const { changed } = (await worker.member("GET", "twin")).json;
    await new Promise((resolve) => setTimeout(resolve, 20));
    await worker.observe("twin", events);
    assert.equal((await worker.member("GET", "twin")).json.changed, changed);
    const [first, ...rest] = events;
    const earlier = { ...first, time: now - 3_000 * 86_400_000 };
    assert.deepEqual((await worker.observe("twin", [earlier])).json.observed, { ...none, duplicate: 1 });
    assert.equal((await worker.member("GET", "twin")).json.state, (await scored(worker, [earlier, ...rest])).state);
  });

  test("a batch is taken whole or not at all", async () => {
    await worker.observe("whole", events.slice(0, 3));
    const { state } = (await worker.member("GET", "whole")).json;
    const [, , , good, ...more] = events;
    for (const [bad, expected] of [
      [{ ...good, id: undefined }, [422, "invalid_event"]],
      [{ ...good, id: "" }, [422, "invalid_text"]],
      [{ ...good, kind: "stolen" }, [422, "unknown_kind"]],
      [{ ...good, amuont: 1 }, [422, "invalid_event"]],
      [7, [422, "invalid_event"]],
    ]) {
      const answer = await worker.observe("whole", [...more, bad]);
      assert.deepEqual(code(answer), expected);
      assert.match(answer.json.error.message, new RegExp(`^event ${more.length}: `));
    }
    assert.ok((await worker.observe("whole", [{ ...good, id: undefined }])).json.error.hint.includes("id"));
    for (const body of [{}, { events: [good], now }, { member: "m", events: [good] }, { events: [good], state }, { state }, [], "{"]) {
      assert.equal((await worker.member("POST", "whole", "/events", body)).status, 400, JSON.stringify(body));
    }
    assert.equal((await worker.member("GET", "whole")).json.state, state);
  });

  test("many small batches are put together, and the history stays bounded", async () => {
    const sent = days(0, 400);
    for (let at = 0; at < sent.length; at += 2) assert.equal((await worker.observe("many", sent.slice(at, at + 2))).status, 200);
    const { json } = await worker.member("GET", "many");
    assert.deepEqual([json.events, json.state], [256, (await scored(worker, sent)).state]);
    const large = Array.from({ length: 9_000 }, (_, i) => ({ kind: "view", time: now - 9_000 + i, id: `large-${i}` }));
    const { json: stored } = await worker.observe("large", large);
    assert.deepEqual([stored.observed.added, stored.events], [9_000, 256]);
  });

  test("requests that come together are taken one after the other", async () => {
    const sent = days(0, 200);
    const answers = await Promise.all(
      sent.flatMap((event, i) => [worker.observe("together", [event, sent[(i + 1) % sent.length]]), worker.member("GET", "together")]),
    );
    const stored = answers.filter(({ json }) => json.observed);
    assert.equal(stored.length, sent.length);
    assert.equal(stored.reduce((sum, { json }) => sum + json.observed.added, 0), sent.length);
    assert.equal((await worker.member("GET", "together")).json.state, (await scored(worker, sent)).state);
  });

  test("a caller who leaves holds up nobody", async () => {
    const sent = days(0, 100);
    const left = sent.map((event, i) => worker.observe("left", [event], { signal: AbortSignal.timeout(1 + (i % 9)) }).catch(() => undefined));
    await Promise.all(left);
    const { json } = await worker.observe("left", sent);
    assert.equal(json.observed.added + json.observed.duplicate, sent.length);
    assert.equal((await worker.member("GET", "left")).json.state, (await scored(worker, sent)).state);
  });

  test("two members never mix, however alike their identifiers", async () => {
    const ids = ["a", "A", "a/", "a/events", "a%2Fevents", "../a", "a\u0000", "a ", "ä", "a\u0308", "\u{1f600}", "a".repeat(256)];
    await Promise.all(ids.map((id, i) => worker.observe(id, days(i, 1))));
    for (const [i, id] of ids.entries()) {
      const { json } = await worker.member("GET", id);
      assert.deepEqual([json.events, json.lastTime], [1, days(i, 1)[0].time], id);
    }
  });

  test("what is no identifier, path or query is refused", async () => {
    for (const path of ["", "%", "%zz", "%FF", "a".repeat(257), "%C3%A4".repeat(129)]) {
      assert.deepEqual(code(await worker.fetch(`/v1/members/${path}`)), [400, "invalid_member"], path);
    }
    for (const path of ["a/", "a/b", "a/events/", "a//events", "a/state/x"]) {
      assert.deepEqual(code(await worker.fetch(`/v1/members/${path}`)), [404, "not_found"], path);
    }
    for (const [method, path, allow] of [["GET", "a/events", "POST"], ["POST", "a", "GET, HEAD, DELETE"], ["DELETE", "a/state", "PUT"]]) {
      const answer = await worker.fetch(`/v1/members/${path}`, { method });
      assert.deepEqual([...code(answer), answer.headers.get("allow")], [405, "method_not_allowed", allow]);
    }
    for (const query of ["returnState=true", "now=soon", "features=maybe", "now=%"]) {
      const answer = await worker.member("GET", "round", `/assessment?${query}`);
      assert.ok([400, 422].includes(answer.status), query);
    }
    assert.deepEqual(code(await worker.member("GET", "round", "?features=true")), [400, "invalid_query"]);
  });

  test("nothing is told of whom nothing is stored", async () => {
    for (const rest of ["", "/assessment"]) {
      assert.deepEqual(code(await worker.member("GET", "nobody", rest)), [404, "member_not_found"]);
      assert.equal((await worker.member("HEAD", "nobody", rest)).status, 404);
    }
    const { json } = await worker.observe("nobody", []);
    assert.deepEqual(json, { observed: none, events: 0, lastTime: null });
    assert.deepEqual(code(await worker.member("GET", "nobody")), [404, "member_not_found"]);
  });

  test("a member moves from a device to the edge and back", async () => {
    const { state } = await scored(worker, events);
    const moved = await worker.member("PUT", "moved", "/state", { state });
    assert.deepEqual([moved.status, moved.json.events], [200, events.length]);
    assert.equal((await worker.member("GET", "moved")).json.state, state);
    const again = await worker.member("PUT", "moved", "/state", { state });
    assert.deepEqual(code(again), [409, "member_exists"]);
    assert.match(again.json.error.hint, /DELETE/);
    assert.deepEqual((await worker.observe("moved", events)).json.observed, { ...none, duplicate: events.length });
    for (const [bad, expected] of [
      ["AAAA", "invalid_state"],
      ["%", "invalid_state"],
      [forged(state, (bytes) => (bytes[5] ^= 1)), "schema_mismatch"],
    ]) {
      assert.deepEqual(code(await worker.member("PUT", "new", "/state", { state: bad })), [422, expected]);
    }
    assert.deepEqual(code(await worker.member("GET", "new")), [404, "member_not_found"]);
  });

  test("bodies are limited and of JSON, with a stated length or without", async () => {
    const body = JSON.stringify({ events });
    const chunks = (text) => ({ method: "POST", body: new Blob([text]).stream(), duplex: "half" });
    const headers = { "content-type": "application/json" };
    const inChunks = await worker.fetch("/v1/members/chunks/events", { ...chunks(body), headers });
    assert.equal(inChunks.json.observed.added, events.length);
    assert.deepEqual(code(await worker.fetch("/v1/members/chunks/events", chunks(body))), [415, "unsupported_media_type"]);
    const large = `${" ".repeat(17 << 20)}{}`;
    assert.deepEqual(code(await worker.fetch("/v1/members/chunks/events", { ...chunks(large), headers })), [413, "body_too_large"]);
    assert.deepEqual(code(await worker.member("POST", "chunks", "/events", large)), [413, "body_too_large"]);
    const many = Array.from({ length: 10_001 }, (_, i) => ({ kind: "view", time: now, id: `${i}` }));
    assert.deepEqual(code(await worker.observe("chunks", many)), [413, "too_many_events"]);
  });

  test("the audit keeps the newest thousand", async () => {
    await worker.observe("audited", events.slice(0, 2));
    for (let i = 0; i < 1_005; i += 1) await worker.member("GET", "audited", "/assessment");
    const { audit } = (await worker.member("GET", "audited")).json;
    assert.equal(audit.length, 1_001, "a thousand, and the export that tells them");
    assert.equal((await worker.member("GET", "audited")).json.audit.length, 1_001);
  });
});

test("a restart keeps everything, also under a bundle with another model, and one with profiles", async () => {
  await inFolder(async (folder) => {
    const with_ = (name) => ({ bundle: readFileSync(join(root, "tests", "fixtures", name)), vars: KEYS, members: folder });
    let worker = await start({ bundle, vars: KEYS, members: folder });
    for (let at = 0; at < events.length; at += 3) await worker.observe("kept", events.slice(at, at + 3));
    const { state } = await scored(worker, events);
    await worker.stop();
    for (const name of ["profile.tcb", "ranks.tcb", "decide.tcb"]) {
      worker = await start(with_(name));
      try {
        assert.equal((await worker.member("GET", "kept")).json.state, state, name);
        const profile = name === "profile.tcb";
        const found = await worker.member("GET", "kept", `/assessment?features=true&profile=${profile}&now=${now}`);
        assert.equal(found.text, (await worker.score({ state, now, features: true, profile })).text, name);
        const refused = await worker.member("GET", "kept", "/assessment?profile=true");
        assert.deepEqual(code(refused), profile ? [200, undefined] : [422, "no_profiles"]);
        assert.deepEqual((await worker.observe("kept", events)).json.observed, { ...none, duplicate: events.length });
      } finally {
        await worker.stop();
      }
    }
  });
});

test("another currency loses nothing, and a smaller capacity cuts as restoring does", async () => {
  await inFolder(async (folder) => {
    const sent = days(0, 120);
    const open = (with_) => start({ bundle: with_, vars: KEYS, members: folder });
    let worker = await open(bundle);
    for (let at = 0; at < sent.length; at += 10) await worker.observe("m", sent.slice(at, at + 10));
    const { state } = (await worker.member("GET", "m")).json;
    await worker.stop();

    worker = await open(withRules(bundle, { currency: "EUR" }));
    for (const answer of [await worker.observe("m", days(120, 1)), await worker.member("GET", "m", "/assessment")]) {
      assert.deepEqual(code(answer), [422, "schema_mismatch"]);
      assert.match(answer.json.error.hint, /nothing is lost/);
    }
    assert.equal((await worker.member("GET", "m")).json.state, state);
    assert.deepEqual(code(await worker.member("PUT", "m", "/state", { state })), [409, "member_exists"]);
    await worker.stop();

    worker = await open(withRules(bundle, { capacity: 100 }));
    const cut = (await worker.score({ state, now, returnState: true })).json.state;
    const { json } = await worker.member("GET", "m");
    assert.deepEqual([json.events, json.state], [100, cut]);
    await worker.stop();

    // Nobody wrote meanwhile: the whole history is still there.
    worker = await open(bundle);
    assert.equal((await worker.member("GET", "m")).json.state, state);
    await worker.stop();

    worker = await open(withRules(bundle, { capacity: 100 }));
    await worker.observe("m", days(120, 1));
    const expected = (await worker.score({ state: cut, events: days(120, 1), now, returnState: true })).json.state;
    assert.equal((await worker.member("GET", "m")).json.state, expected);
    await worker.stop();
    worker = await open(bundle);
    assert.equal((await worker.member("GET", "m")).json.state, expected);
    await worker.stop();
  });
});

test("without secrets or binding members are refused, and everything else works", async () => {
  const short = { ...KEYS, TIERCAST_STATE_KEY: "short" };
  for (const [what, settings] of Object.entries({
    "no secrets": { vars: {} },
    "a short secret": { vars: short },
    "no binding": { vars: KEYS, members: false },
  })) {
    const worker = await start({ bundle, ...settings });
    try {
      for (const answer of [await worker.observe("m", events), await worker.member("GET", "m"), await worker.member("DELETE", "m")]) {
        assert.deepEqual(code(answer), [503, "members_not_configured"], what);
        assert.match(answer.json.error.hint, /wrangler/);
      }
      assert.equal((await worker.score({ events, now })).status, 200);
    } finally {
      await worker.stop();
    }
  }
});

test("without a usable bundle members are refused and nothing is lost; erasing works", async () => {
  await inFolder(async (folder) => {
    let worker = await start({ bundle, vars: KEYS, members: folder });
    await worker.observe("m", events);
    await worker.stop();
    worker = await start({ bundle: null, vars: KEYS, members: folder });
    assert.deepEqual(code(await worker.observe("m", events)), [503, "bundle_missing"]);
    assert.equal((await worker.member("DELETE", "other")).status, 204);
    await worker.stop();
    worker = await start({ bundle, vars: KEYS, members: folder });
    assert.equal((await worker.member("GET", "m")).json.events, events.length);
    await worker.stop();
  });
});

test("a browser's origin may ask, and is answered with what it needs", async () => {
  const worker = await start({ bundle, vars: { ...KEYS, TIERCAST_ALLOW_ORIGIN: "https://shop.example" } });
  try {
    const headers = { origin: "https://shop.example" };
    const preflight = await worker.member("OPTIONS", "m", "", undefined, { headers, auth: false });
    assert.equal(preflight.status, 204);
    assert.match(preflight.headers.get("access-control-allow-methods"), /PUT, DELETE/);
    for (const answer of [await worker.observe("m", events, { headers }), await worker.member("DELETE", "m", "", undefined, { headers })]) {
      assert.equal(answer.headers.get("access-control-allow-origin"), "https://shop.example");
    }
    assert.equal((await worker.member("GET", "m")).headers.get("access-control-allow-origin"), null);
  } finally {
    await worker.stop();
  }
});
