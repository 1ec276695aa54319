// Interleaved timing, the same in Node and in Chromium.
//
// In every round each contestant runs one slice, so whatever slows the machine for a while slows all of them, and a
// ratio is taken round by round. A contestant too slow for every round takes part in every k-th: in seven at least, or
// in three when a call takes more than a second.

/** How long one contestant runs in one round, in milliseconds. */
const SLICE = 2;
/** How long each contestant runs before anything counts: the compilers' upper tiers take over in that time. */
const WARM_UP = 400;

const clamp = (x, low, high) => Math.max(low, Math.min(x, Math.floor(high)));

/** Runs a contestant `repeats` times on successive rows, and returns microseconds a call. */
async function slice({ run, sync, slice }, repeats, from) {
  // Native contestants time themselves, in nanoseconds.
  if (slice) return (await slice(repeats, from)) / repeats / 1000;
  let sum = 0;
  const before = performance.now();
  if (sync) for (let i = 0; i < repeats; i++) sum += run(from + i)[0];
  else for (let i = 0; i < repeats; i++) sum += (await run(from + i))[0];
  const time = performance.now() - before;
  if (!Number.isFinite(sum)) throw new Error("a score is not a number");
  return (time * 1000) / repeats;
}

async function warmUp(contestant, limit) {
  let [calls, time] = [0, Infinity];
  const start = performance.now();
  do {
    const repeats = Math.max(1, Math.min(1000, Math.floor((SLICE * 1000) / time)));
    time = await slice(contestant, repeats, calls);
    calls += repeats;
  } while (performance.now() - start < limit);
  return time;
}

/**
 * @param contestants `{ name, run(i), sync }`, or `{ name, slice(repeats, from) }`.
 * @returns microseconds a call: `{ name: [one of each round, or null] }`.
 */
export async function interleave(contestants, { rounds, warm = WARM_UP }) {
  const field = [];
  for (const contestant of contestants) {
    const time = await warmUp(contestant, warm);
    const repeats = Math.max(1, Math.round((SLICE * 1000) / time));
    const every = time > 1e6 ? Math.ceil(rounds / 3) : clamp(Math.round(time / (SLICE * 10_000)), 1, rounds / 7);
    field.push({ contestant, repeats, every, times: [] });
  }
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 ? [...field].reverse() : field;
    for (const { contestant, repeats, every, times } of order) {
      times[round] = round % every ? null : await slice(contestant, repeats, round * repeats);
    }
  }
  return Object.fromEntries(field.map(({ contestant, times }) => [contestant.name, times]));
}

/**
 * Loads every contestant, checks that all give the reference's scores, and times 1 row and all rows.
 *
 * @returns `{ "1": { name: times }, "1024": { name: times } }`, microseconds a call.
 */
export async function scoring(modules, assets, model, options) {
  const { inputs, outputs } = await assets.json(`${model}.json`);
  const rows = new Float32Array((await assets.bytes(`${model}.rows`)).slice().buffer);
  const expected = new Float32Array((await assets.bytes(`${model}.expected`)).slice().buffer);
  const count = rows.length / inputs;
  const views = Array.from({ length: count }, (_, i) => rows.subarray(i * inputs, (i + 1) * inputs));
  const [ones, manys] = [[], []];
  for (const { name, load } of modules) {
    const loaded = await load(assets, model);
    if (!loaded) continue;
    const { one, many, sync } = loaded;
    const check = near(`${name} on ${model}`);
    check(await many(rows, count), expected);
    for (let i = 0; i < 32; i++) check(await one(views[i]), expected.subarray(i * outputs, (i + 1) * outputs));
    ones.push({ name, sync, run: (i) => one(views[i % count]) });
    manys.push({ name, sync, run: () => many(rows, count) });
  }
  return {
    1: await interleave(ones, options),
    [count]: await interleave(manys, options),
  };
}

/** How far a score may be from the reference's. */
const NEAR = 1e-4;

/** Makes sure of a difference that was found elsewhere; NaN is too far. */
export function nearEnough(who, difference) {
  if (!(difference < NEAR)) throw new Error(`${who} is off by ${difference}`);
}

/** Makes sure that someone's scores are those of the reference. */
export const near = (who) => (scores, expected) => {
  if (scores.length !== expected.length)
    throw new Error(`${who} gives ${scores.length} scores instead of ${expected.length}`);
  expected.forEach((score, i) => nearEnough(who, Math.abs(scores[i] - score)));
};

const sorted = (times) => times.filter((time) => time !== null).sort((a, b) => a - b);

/** A quantile, between neighbours. */
export function quantile(values, q) {
  const list = sorted(values);
  const at = (list.length - 1) * q;
  const [low, high] = [list[Math.floor(at)], list[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}

export const median = (values) => quantile(values, 0.5);

/** How many times faster `ours` is: the ratio of medians, and the quartiles of the rounds' own ratios. */
export function ratio(ours, peer) {
  const each = ours.map((time, i) => (time === null || peer[i] === null ? null : peer[i] / time));
  return { ratio: median(peer) / median(ours), spread: [quantile(each, 0.25), quantile(each, 0.75)] };
}
