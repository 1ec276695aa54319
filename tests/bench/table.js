// The ledger as Markdown, between two marks of a file.
import { readFile, writeFile } from "node:fs/promises";

const [BEGIN, END] = ["<!-- bench:begin -->", "<!-- bench:end -->"];

const number = (x) =>
  (x >= 1000 ? Math.round(x) : Number(x.toPrecision(3))).toLocaleString("en", { maximumFractionDigits: 6 });

function amount(value, unit) {
  if (unit !== "bytes") return `${number(value)} ${unit}`;
  return value >= 1e6 ? `${number(value / 1e6)} MB` : value >= 1000 ? `${number(value / 1000)} KB` : `${value} B`;
}

function wanted({ bar, unit }) {
  if (!bar) return "";
  if (bar.ratio !== undefined) return `≥ ${bar.ratio}×`;
  return bar.ofRatio ? `≤ ${bar.most}×` : `≤ ${amount(bar.most, unit)}`;
}

function line(entry) {
  const { group, name, unit, ours, peer, of, ratio, spread, met } = entry;
  const other = peer === undefined ? "" : `${amount(peer, unit)} (${of})`;
  const times = ratio === undefined ? "" : `${number(ratio)}${spread ? ` (${spread.map(number).join("–")})` : ""}`;
  const verdict = met === undefined ? "" : met ? "met" : "**missed**";
  const cells = [group, name, amount(ours, unit), other, times, wanted(entry), verdict];
  return `| ${cells.join(" | ")} |`;
}

function bars(entries) {
  const missed = entries.filter(({ bound }) => bound).map(({ name, bound }) => `- *${name}*: ${bound}`);
  return [
    "| bar | what | ours | peer | ratio (quartiles of the rounds) | wanted | |",
    "|---|---|---|---|---|---|---|",
    ...entries.map(line),
    ...(missed.length ? ["", "Missed, by how much, and what bounds it:", "", ...missed] : []),
  ];
}

/** Microseconds of everyone: a line for each runtime, model and number of rows. */
function everyone(matrix) {
  const names = [...new Set(matrix.flatMap(({ times }) => Object.keys(times)))];
  return [
    `| µs a call | ${names.join(" | ")} |`,
    `|---|${names.map(() => "---").join("|")}|`,
    ...matrix.map(({ where, model, rows, times }) => {
      const cells = names.map((name) => (times[name] === undefined ? "" : number(times[name])));
      return `| ${where}, ${model}, ${rows} | ${cells.join(" | ")} |`;
    }),
  ];
}

function downloads(sizes) {
  return [
    "| download, gzip −9 | in all | of it |",
    "|---|---|---|",
    ...sizes.map(({ name, bytes, files }) => {
      const parts = Object.entries(files).map(([file, size]) => `${file} ${amount(size, "bytes")}`);
      return `| ${name} | ${amount(bytes, "bytes")} | ${parts.join(", ")} |`;
    }),
  ];
}

function starts(cold) {
  return [
    "| first start, ms: script + engine, model, first score | script | the rest |",
    "|---|---|---|",
    ...cold.map(({ where, name, script, start }) => `| ${where}, ${name} | ${number(script)} | ${number(start)} |`),
  ];
}

/** A sentence for each run: what it measured, if there are several, and on what. */
function measured(runs, entries) {
  return runs.map(({ date, commit, machine, versions }, i) => {
    const measures = new Set(entries.filter(({ run }) => run === i).map(({ measure }) => measure));
    const what = runs.length > 1 ? `Measured (${[...measures].join(", ")})` : "Measured";
    const words = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
    return `${what} on ${machine}, ${date}, at commit ${commit}, with ${words.join(", ")}.`;
  });
}

/** The whole text between the marks. */
export function markdown({ runs, entries, matrix, sizes, cold }) {
  return [
    ...measured(runs, entries).flatMap((sentence) => [sentence, ""]),
    ...bars(entries),
    "",
    ...everyone(matrix),
    "",
    ...starts(cold),
    "",
    ...downloads(sizes),
  ].join("\n");
}

/** Puts a text between the marks of a file. */
export async function place(path, text) {
  const old = await readFile(path, "utf8");
  const [from, to] = [old.indexOf(BEGIN), old.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${path} has no ${BEGIN} and ${END} to put the tables between`);
  await writeFile(path, `${old.slice(0, from + BEGIN.length)}\n${text}\n${old.slice(to)}`);
}
