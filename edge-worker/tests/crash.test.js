// workerd is killed at random moments while events are sent: what was acknowledged is there afterwards, and nothing twice.
//
// TIERCAST_CRASH_KILLS and TIERCAST_CRASH_EVENTS say how often, and how many events; TIERCAST_CRASH_SEED at which moments.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { inFolder } from "./support/folder.js";
import { KEYS, sample, start } from "./support/worker.js";

const KILLS = Number(process.env.TIERCAST_CRASH_KILLS ?? 10);
const EVENTS = Number(process.env.TIERCAST_CRASH_EVENTS ?? 600);
const SEED = Number(process.env.TIERCAST_CRASH_SEED ?? 20171001);
/** Fewer than a member's history holds, so that none is forgotten. */
const EACH = 150;
const CONNECTIONS = 4;
/** The longest time between two kills, in milliseconds. */
const LONGEST = 300;

const { bundle, now } = sample();
const linux = process.platform === "linux";

function random(seed) {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

/** The workerd processes that this process started and that run. */
function children() {
  return readdirSync("/proc").filter((pid) => {
    try {
      const [, name, state, parent] = readFileSync(`/proc/${pid}/stat`, "utf8").match(/\((.*)\) (.) (\d+)/);
      return name.startsWith("workerd") && state !== "Z" && Number(parent) === process.pid;
    } catch {
      return false; // Not a process, or one that has ended meanwhile.
    }
  });
}

/** Portions of one to three events, and whose they are. */
function portions(next) {
  const members = Math.ceil(EVENTS / EACH);
  const list = [];
  for (let i = 0; i < EVENTS; ) {
    const member = `member ${list.length % members}`;
    const count = Math.min(1 + Math.floor(next() * 3), EVENTS - i);
    const events = Array.from({ length: count }, (_, j) => {
      return { kind: "purchase", time: now - Math.floor(next() * 300 * 86_400_000), id: `event ${i + j}`, amountMinor: i + j };
    });
    list.push({ member, events, acknowledged: false });
    i += count;
  }
  return list;
}

/** Sends what is not acknowledged yet, in its order, until all is or the worker is gone. */
async function send(worker, list) {
  const left = list.filter(({ acknowledged }) => !acknowledged);
  const one = async () => {
    for (let portion = left.shift(); portion; portion = left.shift()) {
      const answer = await worker.observe(portion.member, portion.events);
      assert.equal(answer.status, 200, answer.text);
      portion.acknowledged = true;
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: CONNECTIONS }, one));
  // A connection that broke is what this is about; a wrong answer is not.
  for (const { reason } of ended) if (reason instanceof assert.AssertionError) throw reason;
}

function byMember(list) {
  const members = new Map();
  for (const portion of list) members.set(portion.member, [...(members.get(portion.member) ?? []), portion]);
  return members;
}

/** Whether all that was acknowledged is stored: sent again, none of it is new. */
async function check(worker, list) {
  for (const [member, portions] of byMember(list.filter(({ acknowledged }) => acknowledged))) {
    const events = portions.flatMap(({ events }) => events);
    const { json } = await worker.observe(member, events);
    assert.deepEqual(json.observed, { added: 0, duplicate: events.length, tooLate: 0 }, `${member} lost something`);
  }
}

test(`${KILLS} kills while ${EVENTS} events are sent, from seed ${SEED}`, { skip: linux ? false : "processes are found in /proc" }, async () => {
  const next = random(SEED);
  const list = portions(next);
  let kills = 0;
  let cutShort = 0;
  await inFolder(async (folder) => {
    const open = () => start({ bundle, vars: KEYS, members: folder });
    // A part of the events for each kill, so that there is something to send until the last.
    for (let i = 0; i < KILLS; i += 1) {
      const worker = await open();
      const [pid] = children();
      await check(worker, list);
      const sending = send(worker, list.slice(0, Math.ceil((list.length * (i + 1)) / KILLS)));
      await new Promise((resolve) => setTimeout(resolve, next() * LONGEST));
      process.kill(Number(pid), "SIGKILL");
      kills += 1;
      await sending;
      cutShort += list.slice(0, Math.ceil((list.length * (i + 1)) / KILLS)).some(({ acknowledged }) => !acknowledged);
      await worker.stop();
    }
    const worker = await open();
    try {
      await check(worker, list);
      await send(worker, list);
      assert.ok(list.every(({ acknowledged }) => acknowledged));
      for (const [member, portions] of byMember(list)) {
        const events = portions.flatMap(({ events }) => events);
        const { json } = await worker.member("GET", member);
        const { state } = (await worker.score({ events, now, returnState: true })).json;
        assert.deepEqual([json.events, json.state], [events.length, state], member);
      }
    } finally {
      await worker.stop();
    }
  });
  console.log(`crash: ${kills} kills, ${cutShort} of them while events were under way; ${EVENTS} events acknowledged, none lost, none twice`);
});
