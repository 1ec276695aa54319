// What is measured inside a runtime. The same code runs in Node and in a page; `assets` says where things are.
import { near, scoring } from "./measure.js";

/** All contestants on one model, interleaved. */
export async function score(assets, { contestants, model, ...options }) {
  const modules = await Promise.all(contestants.map((name) => assets.module(name)));
  return scoring(modules, assets, model, options);
}

/** Milliseconds of a first start in this process or page: the script alone, then engine, model and first score. */
export async function cold(assets, { contestant, model }) {
  const { inputs, outputs } = await assets.json(`${model}.json`);
  const row = new Float32Array((await assets.bytes(`${model}.rows`)).slice(0, inputs * 4).buffer);
  const before = performance.now();
  const { load } = await assets.module(contestant);
  const imported = performance.now();
  const { one } = await load(assets, model);
  const first = await one(row);
  const after = performance.now();
  const expected = new Float32Array((await assets.bytes(`${model}.expected`)).slice(0, outputs * 4).buffer);
  near(`the first score of ${contestant} on ${model}`)(first, expected);
  return { import: imported - before, start: after - imported };
}

/** The same for a tier bundle: engine, bundle, the first assessment of a member with some of its latest events. */
export async function coldTier(assets, { events }) {
  const { history, now } = await assets.json("events.json");
  const before = performance.now();
  const { Scorer } = await assets.module("tier");
  const imported = performance.now();
  const scorer = await Scorer.load(await assets.bytes("tier.tcb"));
  const { tier } = scorer.member(history.slice(-events)).assess(now);
  const after = performance.now();
  if (!(tier >= 1)) throw new Error("the first assessment has no tier");
  return { import: imported - before, start: after - imported };
}

/** Microseconds, one of each round, for a new event, its assessment and the explanation: members with 200 events. */
export async function events(assets, { rounds }) {
  const MEMBERS = 200;
  const { Scorer } = await assets.module("tier");
  const scorer = await Scorer.load(await assets.bytes("tier.tcb"));
  const { history, next, now } = await assets.json("events.json");
  const known = scorer.member(history);
  if (known.eventCount !== history.length) throw new Error(`the history has ${known.eventCount} events`);
  const state = known.saveState();
  const times = [];
  for (let round = -10; round < rounds; round++) {
    const members = Array.from({ length: MEMBERS }, () => scorer.restoreState(state));
    const before = performance.now();
    for (const member of members) {
      member.observe(next);
      assessed(member, now);
    }
    const time = ((performance.now() - before) * 1000) / MEMBERS;
    if (members.some((member) => member.eventCount !== history.length + 1)) throw new Error("an event was lost");
    members.forEach((member) => member.dispose());
    if (round >= 0) times.push(time);
  }
  return times;
}

/** Everything a page shows of a member: tier, probabilities, standing, and what moved the score. */
function assessed(member, now) {
  const { probabilities, standing } = member.assess(now);
  const reasons = member.explain(now);
  if (!probabilities || !standing || !reasons.length) throw new Error("the assessment is not whole");
}

/** Bytes of WebAssembly memory: with a tier bundle in use, and after so many scores. */
export async function memory(assets, { scores }) {
  const memories = watchMemories();
  const bytes = () => [...memories].reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
  const { Scorer } = await assets.module("tier");
  const scorer = await Scorer.load(await assets.bytes("tier.tcb"));
  const { history, now } = await assets.json("events.json");
  const member = scorer.member(history);
  const row = member.features(now);
  assessed(member, now);
  const used = bytes();
  if (used === 0) throw new Error("the engine's memory was not seen");
  // The whole assessment is slower than a row and gets a tenth of the calls.
  for (let i = 0; i < scores; i++) {
    if (i % 10 === 0) assessed(member, now);
    else scorer.scoreBatch(row);
  }
  return { used, after: bytes(), scores };
}

/** Every memory that a module makes or is given from now on. */
function watchMemories() {
  const memories = new Set();
  const seen = (exports) => {
    for (const value of Object.values(exports)) if (value instanceof WebAssembly.Memory) memories.add(value);
  };
  const { instantiate, instantiateStreaming, Instance, Memory } = WebAssembly;
  const watch =
    (start) =>
    async (...args) => {
      const result = await start(...args);
      seen((result.instance ?? result).exports);
      return result;
    };
  WebAssembly.instantiate = watch(instantiate);
  if (instantiateStreaming) WebAssembly.instantiateStreaming = watch(instantiateStreaming);
  WebAssembly.Instance = new Proxy(Instance, {
    construct(target, args) {
      const instance = new target(...args);
      seen(instance.exports);
      return instance;
    },
  });
  WebAssembly.Memory = new Proxy(Memory, {
    construct(target, args) {
      const made = new target(...args);
      memories.add(made);
      return made;
    },
  });
  return memories;
}
