// What `cargo xtask bench --training` concludes from times and from probabilities of the rows held out.
import { UNEXPLAINED } from "./ledger.js";
import { median, ratio } from "./measure.js";

/**
 * Which model is compared with whose, and how fast it must be: at least so many times as fast as the peer. A row without
 * `fast` is a whole training, whose numbers of rounds or epochs differ: its time only informs, its quality counts.
 * `scores` is false where the peer has no probabilities: then only what is decided is compared.
 */
export const ROWS = [
  { model: "linear", peer: "scikit-learn", named: "linear: Ridge on the tier", fast: 1 },
  { model: "ridge", peer: "scikit-learn", named: "ridge: Ridge on √spend", fast: 1 },
  { model: "logistic", peer: "scikit-learn", named: "logistic: LogisticRegression", fast: 1 },
  { model: "svm", peer: "scikit-learn", named: "svm: LinearSVC", fast: 1, scores: false },
  { model: "ordinal", peer: "mord", named: "ordinal: LogisticAT", fast: 1 },
  { model: "boosting", peer: "scikit-learn", named: "boosting, 100 rounds: HistGradientBoosting", fast: 1 },
  { model: "boosting", peer: "LightGBM", named: "boosting, 100 rounds: LightGBM", fast: 1 },
  { model: "network", peer: "scikit-learn", named: "dnn, 10 epochs: MLPClassifier", fast: 1 },
  { model: "network", peer: "PyTorch", named: "dnn, 10 epochs: PyTorch", fast: 1 / 1.5 },
  { model: "boosting-stopped", peer: "scikit-learn", named: "boosting, early stopping: HistGradientBoosting" },
  { model: "boosting-stopped", peer: "LightGBM", named: "boosting, early stopping: LightGBM" },
  { model: "network-stopped", peer: "scikit-learn", named: "dnn, early stopping: MLPClassifier" },
];

/** The set without whole trainings: boosting gains from more rounds than it may have there. */
export const MADE_UP = "made-up";
export const rowsOf = (set) => ROWS.filter(({ fast }) => fast || set !== MADE_UP);

/** The mean and its standard error. */
function mean(values) {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const square = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (values.length - 1);
  return { mean, error: Math.sqrt(square / values.length) };
}

/** How good probabilities are, row after row, for tiers from 1: log-loss and accuracy. */
export function quality(probabilities, targets, tiers) {
  if (probabilities.length !== targets.length * tiers)
    throw new Error(`${probabilities.length} probabilities for ${targets.length} rows`);
  const row = (i) => probabilities.subarray(i * tiers, (i + 1) * tiers);
  const indices = [...targets.keys()];
  return {
    loss: mean(indices.map((i) => -Math.log(Math.max(row(i)[targets[i] - 1], 1e-6)))),
    accuracy: mean(indices.map((i) => (row(i).indexOf(Math.max(...row(i))) === targets[i] - 1 ? 1 : 0))),
  };
}

const round = (x) => Number(x.toPrecision(4));

/**
 * One entry for each set and each of its rows.
 *
 * @param measures `{ [set]: { targets, tiers, ours: { [model]: { times, chose, probabilities } }, peers: { "model peer": … } } }`;
 * times are milliseconds, one of each round.
 */
export function entries(measures) {
  return Object.entries(measures).flatMap(([set, { targets, tiers, ours, peers }]) =>
    rowsOf(set).map((row) => {
      const [mine, other] = [ours[row.model], peers[`${row.model} ${row.peer}`]];
      const { ratio: times, spread } = ratio(mine.times, other.times);
      const [a, b] = [mine, other].map(({ probabilities }) => quality(probabilities, targets, tiers));
      const entry = {
        set,
        name: row.named,
        of: row.peer,
        ours: round(median(mine.times)),
        peer: round(median(other.times)),
        ratio: round(times),
        spread: spread.map(round),
        chose: [mine.chose, other.chose],
        accuracy: [a.accuracy.mean, b.accuracy.mean, b.accuracy.error].map(round),
        loss: row.scores === false ? undefined : [a.loss.mean, b.loss.mean, b.loss.error].map(round),
      };
      return { ...entry, fast: row.fast && round(row.fast), met: row.fast && times >= row.fast, good: good(entry) };
    }),
  );
}

/** Within one standard error of the peer, or better, in each measure. What is not a number is not. */
function good({ accuracy, loss }) {
  const [ours, peer, error] = accuracy;
  return ours >= peer - error && (!loss || loss[0] <= loss[1] + loss[2]);
}

/** Gives each missed bar its sentence. `reasons` are by set and name, or by name for all sets. */
export function withBounds(list, reasons) {
  return list.map((entry) => {
    const { met, good, name, set, ratio, fast, accuracy, loss } = entry;
    const reason = reasons[`${set}, ${name}`] ?? reasons[name] ?? UNEXPLAINED;
    const missed = [];
    if (met === false) missed.push(`${ratio} of ${fast} times as fast`);
    if (!good) missed.push(`accuracy ${accuracy[0]} and ${accuracy[1]}${loss ? `, log-loss ${loss[0]} and ${loss[1]}` : ""}`);
    return missed.length ? { ...entry, bound: `${missed.join("; ")}: ${reason}` } : entry;
  });
}

const digits = (x) => x.toFixed(3).replace(/^0/, "");
const time = (ms) => (ms >= 1000 ? `${round2(ms / 1000)} s` : `${round2(ms)} ms`);
const round2 = (x) => Number(x.toPrecision(3));

function line(entry) {
  const { name, ours, peer, ratio, spread, fast, met, accuracy, loss, good } = entry;
  const pair = (values) => (values ? `${digits(values[0])} / ${digits(values[1])} ± ${digits(values[2])}` : "");
  const bar = fast === undefined ? "" : `≥ ${round2(fast)}× ${met ? "met" : "**missed**"}`;
  const times = `${round2(ratio)} (${spread.map(round2).join("–")})`;
  const cells = [name, time(ours), time(peer), times, bar, pair(loss), pair(accuracy), good ? "met" : "**missed**"];
  return `| ${cells.join(" | ")} |`;
}

/** The ledger as Markdown. */
export function markdown({ run, sets, entries }) {
  const words = Object.entries(run.versions).map(([name, version]) => `${name} ${version}`);
  const tables = sets.flatMap(({ name, rows, held, dense, plain, tiers }) => {
    const list = entries.filter(({ set }) => set === name);
    const missed = list.filter(({ bound }) => bound);
    return [
      "",
      `**${name}**: ${rows.toLocaleString("en")} rows, ${held.toLocaleString("en")} held out, ${dense} dense and ${plain} plain inputs, ${tiers} tiers.`,
      "",
      "| model: peer | ours | peer | times as fast (quartiles) | speed | log-loss, ours / peer | accuracy, ours / peer | quality |",
      "|---|---|---|---|---|---|---|---|",
      ...list.map(line),
      ...(missed.length ? ["", ...missed.map(({ name, bound }) => `- *${name}*: ${bound}`)] : []),
    ];
  });
  return [
    `Measured on ${run.machine}, ${run.date}, at commit ${run.commit}, ${run.threads} threads, ${run.rounds} rounds, with ${words.join(", ")}.`,
    ...tables,
  ].join("\n");
}
