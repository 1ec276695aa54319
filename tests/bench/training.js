// Training against other trainers, as `cargo xtask bench --training` calls it once everything is built:
//
//   training.js ROWS PYTHON TORCH PROGRAM [--quick]
//
// ROWS holds the sets that PROGRAM wrote. A run that is not quick writes training.json and the tables of TRAINING.md.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { place } from "./table.js";
import { entries, MADE_UP, markdown, rowsOf, withBounds } from "./training-ledger.js";

const { values: flags, positionals } = parseArgs({ allowPositionals: true, options: { quick: { type: "boolean" } } });
const [folder, python, torch, program] = positionals;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const SETS = ["complete-journey", "cdnow", MADE_UP];
const THREADS = 2;
/** Rounds, and how long one contestant may take in all of them: what is slow has fewer, but three. */
const [ROUNDS, FEWEST, PATIENCE_MS] = flags.quick ? [1, 1, 0] : [15, 3, 20_000];

/** A contestant: a process that waits, blocked, for its turn. */
class Contestant {
  constructor(command, ...args) {
    const env = { ...process.env, OMP_NUM_THREADS: THREADS, OPENBLAS_NUM_THREADS: THREADS, RAYON_NUM_THREADS: THREADS };
    // Some machines set these two, together, for other processors than theirs: numpy is slow then.
    delete env.OPENBLAS_CORETYPE;
    delete env.OPENBLAS_L2_SIZE;
    this.process = spawn(command, args, { env, stdio: ["pipe", "pipe", "inherit"] });
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  async read() {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`${this.process.spawnargs.join(" ")} ended`);
    return JSON.parse(value);
  }

  async ask(...words) {
    this.process.stdin.write(`${words.join(" ")}\n`);
    return this.read();
  }

  async end() {
    this.process.stdin.end();
    await once(this.process, "exit");
  }
}

/** Times ours and the peers of a model in turns, in an order that turns with each round. */
async function duel(ask, rows) {
  const field = rows.map((row) => ({ row, times: [] }));
  const total = () => Math.max(...field.map(({ times }) => times.reduce((sum, time) => sum + time, 0)));
  for (const one of field) one.warm = await ask(one.row);
  for (let round = 0; round < ROUNDS && (round < FEWEST || total() < PATIENCE_MS); round++) {
    for (const one of round % 2 ? [...field].reverse() : field) {
      const { ns, chose } = await ask(one.row);
      one.times[round] = ns / 1e6;
      one.chose = chose;
    }
  }
  return field;
}

async function measure(set, contestants, scratch) {
  const sizes = JSON.parse(await readFile(join(folder, set, "set.json"), "utf8"));
  const targets = await readFile(join(folder, set, "held.tier"));
  const [ours, peers] = [{}, {}];
  const file = (model, peer) => join(scratch, `${model}.${peer}`);
  const ask = ({ model, peer }) =>
    peer === "ours"
      ? contestants.ours.ask(set, model, file(model, peer))
      : contestants[peer].ask(set, model, peer, file(model, peer));
  const rows = rowsOf(set);
  for (const model of new Set(rows.map(({ model }) => model))) {
    const names = ["ours", ...rows.filter((row) => row.model === model).map(({ peer }) => peer)];
    const started = Date.now();
    for (const { row, times, chose } of await duel(ask, names.map((peer) => ({ model, peer })))) {
      const bytes = await readFile(file(model, row.peer));
      const probabilities = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
      const found = { times, chose, probabilities };
      if (row.peer === "ours") ours[model] = found;
      else peers[`${model} ${row.peer}`] = found;
    }
    console.error(`  bench: ${set}, ${model}: ${((Date.now() - started) / 1000).toFixed(0)} s`);
  }
  return { targets, tiers: sizes.tiers, ours, peers, sizes };
}

const git = (...args) => execFileSync("git", args, { cwd: here("../../"), encoding: "utf8" }).trim();
const machine = () =>
  `${cpus().length} × ${cpus()[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform}`;

async function main(scratch) {
  const fit = (command, script) => new Contestant(command, here(script), folder, THREADS);
  const [learn, net] = [fit(python, "training.py"), fit(torch, "training_torch.py")];
  const contestants = {
    ours: new Contestant(program, "fit", folder, THREADS),
    "scikit-learn": learn,
    LightGBM: learn,
    mord: learn,
    PyTorch: net,
  };
  const run = {
    date: new Date().toISOString().slice(0, 10),
    commit: git("describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"),
    machine: machine(),
    threads: THREADS,
    rounds: `${FEWEST} to ${ROUNDS}`,
    versions: { ...(await learn.read()), ...(await net.read()) },
  };
  const measures = {};
  for (const set of SETS) measures[set] = await measure(set, contestants, scratch);
  await Promise.all([contestants.ours, learn, net].map((contestant) => contestant.end()));
  const reasons = JSON.parse(await readFile(here("bounds-training.json"), "utf8"));
  const sets = SETS.map((name) => ({ name, ...measures[name].sizes }));
  const ledger = { run, sets, entries: withBounds(entries(measures), reasons) };
  console.log(markdown(ledger));
  if (flags.quick) return;
  await writeFile(here("training.json"), `${JSON.stringify(ledger, null, 1)}\n`);
  await place(here("TRAINING.md"), markdown(ledger));
}

const scratch = await mkdtemp(join(tmpdir(), "bench-"));
try {
  await main(scratch);
} finally {
  await rm(scratch, { recursive: true });
}
