// What lies on disk: never an identifier or a plain event, and nothing at all after an erasure.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { renameSync } from "node:fs";
import { test } from "node:test";
import { filesIn, inFolder } from "./support/folder.js";
import { KEYS, sample, start } from "./support/worker.js";

const { bundle, events: some, now } = sample();
const MEMBER = "erika.mustermann@example.com";
const events = some.map((event, i) => ({ ...event, id: `order-line-${i}-of-erika`, item: `peculiar-item-${i}` }));
const [OLD, NEW] = ["old-state-key-0123456789-0123456789", "new-state-key-0123456789-0123456789"];
const code = ({ status, json }) => [status, json?.error?.code];

/** Runs one worker over a folder and waits until it has ended. */
async function during(folder, work, vars = KEYS) {
  const worker = await start({ bundle, vars, members: folder });
  try {
    return await work(worker);
  } finally {
    await worker.stop();
  }
}

const held = (folder, bytes) => filesIn(folder).filter((file) => file.bytes.includes(bytes)).map(({ path }) => path);
const databases = (folder) => filesIn(folder).map(({ path }) => path).filter((path) => /[0-9a-f]{64}\.sqlite$/.test(path));

/** Pieces of a file that look random, as sealed bytes do and as neither text nor the database's own structure does. */
function pieces(bytes) {
  const found = [];
  for (let at = 0; at + 32 <= bytes.length; at += 32) {
    const piece = bytes.subarray(at, at + 32);
    if (new Set(piece).size >= 26) found.push(piece);
  }
  return found;
}

test("neither the member nor an event can be read on disk, while it is stored and while it is used", async () => {
  await inFolder(async (folder) => {
    await during(folder, async (worker) => {
      for (let at = 0; at < events.length; at += 4) await worker.observe(MEMBER, events.slice(at, at + 4));
      await worker.member("GET", MEMBER, "/assessment");
      const { state } = (await worker.member("GET", MEMBER)).json;
      const plain = Buffer.from(state, "base64");
      const look = () => {
        assert.ok(databases(folder).length === 1, "the member is on disk");
        const texts = [MEMBER, encodeURIComponent(MEMBER), ...events.flatMap(({ id, item }) => [id, item])].map((text) => Buffer.from(text));
        const hashes = [MEMBER, ...events.map(({ id }) => id)].map((text) => createHash("sha256").update(text).digest());
        for (const bytes of [...texts, ...hashes, ...hashes.map((hash) => Buffer.from(hash.toString("hex")))]) {
          assert.deepEqual(held(folder, bytes), []);
        }
        const windows = Array.from({ length: (plain.length >> 3) - 4 }, (_, i) => plain.subarray(12 + 8 * i, 28 + 8 * i));
        const telling = windows.filter((window) => new Set(window).size >= 8);
        assert.ok(telling.length > events.length);
        for (const window of telling) assert.deepEqual(held(folder, window), []);
      };
      look();
      for (const value of Object.values(KEYS)) assert.deepEqual(held(folder, Buffer.from(value)), []);
    });
    assert.ok(filesIn(folder).some(({ bytes }) => bytes.includes("TIERCAST_TOKEN")), "the audit is not encrypted: looking does find what is there");
  });
});

test("an erasure leaves no byte of the member on disk, and a second one changes nothing", async () => {
  await inFolder(async (folder) => {
    await during(folder, async (worker) => {
      await worker.observe(MEMBER, events);
      for (let i = 0; i < 70; i += 1) await worker.observe(MEMBER, [{ kind: "view", time: now - i, id: `view ${i}` }]);
      await worker.member("GET", MEMBER);
    });
    // Of the member's own files: beside them the platform keeps an index of objects, whose check sums look as random.
    const own = filesIn(folder).filter(({ path }) => /[0-9a-f]{64}\.sqlite/.test(path));
    const before = own.flatMap(({ bytes }) => pieces(bytes));
    assert.ok(before.length > 100, `${before.length} pieces of sealed bytes were found`);
    await during(folder, async (worker) => {
      const erased = await worker.member("DELETE", MEMBER);
      assert.deepEqual([erased.status, erased.text], [204, ""]);
      assert.equal((await worker.member("DELETE", MEMBER)).status, 204);
      assert.deepEqual(code(await worker.member("GET", MEMBER)), [404, "member_not_found"]);
    });
    for (const piece of before) assert.deepEqual(held(folder, piece), []);
    assert.deepEqual(held(folder, Buffer.from("TIERCAST_TOKEN")), [], "the audit is erased as well");
    await during(folder, async (worker) => {
      assert.deepEqual(code(await worker.member("GET", MEMBER)), [404, "member_not_found"]);
      const { json } = await worker.observe(MEMBER, events);
      assert.equal(json.observed.added, events.length, "whoever was erased may come again, as new");
      assert.equal((await worker.member("GET", MEMBER)).json.audit.length, 1);
    });
  });
});

test("looking for a member who is not there stores nothing", async () => {
  await inFolder(async (folder) => {
    await during(folder, async (worker) => {
      for (let i = 0; i < 5; i += 1) {
        await worker.member("GET", `nobody ${i}`);
        await worker.member("GET", `nobody ${i}`, "/assessment");
        await worker.observe(`nobody ${i}`, []);
        await worker.observe(`nobody ${i}`, [{ kind: "stolen", time: now, id: "a" }]);
      }
    });
    assert.deepEqual(filesIn(folder).filter(({ bytes }) => bytes.includes("CREATE TABLE news")), []);
  });
});

test("secrets are rotated: the first writes, both read, and what is put together no longer needs the old", async () => {
  await inFolder(async (folder) => {
    const vars = (TIERCAST_STATE_KEY) => ({ ...KEYS, TIERCAST_STATE_KEY });
    const exported = async (worker) => (await worker.member("GET", "m")).json.state;
    const state = await during(folder, async (worker) => {
      await worker.observe("m", events);
      return exported(worker);
    }, vars(OLD));
    await during(folder, async (worker) => {
      const unreadable = [await worker.member("GET", "m"), await worker.member("GET", "m", "/assessment"), await worker.observe("m", events)];
      for (const answer of unreadable) {
        assert.deepEqual(code(answer), [500, "state_unreadable"], "never a fresh start");
        assert.match(answer.json.error.hint, /TIERCAST_STATE_KEY/);
      }
    }, vars(NEW));
    await during(folder, async (worker) => {
      assert.equal(await exported(worker), state);
      await worker.observe("m", [{ kind: "view", time: now, id: "one more" }]);
    }, vars(`${NEW} ${OLD}`));
    await during(folder, async (worker) => {
      assert.deepEqual(code(await worker.member("GET", "m")), [500, "state_unreadable"], "the snapshot is still under the old");
    }, vars(NEW));
    const whole = await during(folder, async (worker) => {
      for (let i = 0; i < 64; i += 1) await worker.observe("m", [{ kind: "view", time: now - i, id: `view ${i}` }]);
      return exported(worker);
    }, vars(`${NEW} ${OLD}`));
    await during(folder, async (worker) => {
      assert.equal(await exported(worker), whole);
    }, vars(NEW));
  });
});

test("a record that was moved to another member, or changed, is not read; erasing it works", async () => {
  await inFolder(async (folder) => {
    await during(folder, (worker) => worker.observe("a", events.slice(0, 5)));
    const [a] = databases(folder);
    await during(folder, (worker) => worker.observe("b", events.slice(5)));
    const [b] = databases(folder).filter((path) => path !== a);
    for (const end of ["", "-wal", "-shm"]) {
      for (const [from, to] of [[a, "x"], [b, a], ["x", b]]) {
        try {
          renameSync(from === "x" ? `${folder}/x${end}` : `${from}${end}`, to === "x" ? `${folder}/x${end}` : `${to}${end}`);
        } catch (error) {
          assert.equal(error.code, "ENOENT");
        }
      }
    }
    await during(folder, async (worker) => {
      for (const id of ["a", "b"]) assert.deepEqual(code(await worker.member("GET", id)), [500, "state_unreadable"], id);
      assert.equal((await worker.member("DELETE", "a")).status, 204);
      assert.equal((await worker.observe("a", events)).json.observed.added, events.length);
    });
  });
});
