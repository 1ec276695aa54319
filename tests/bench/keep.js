// The ledger as it is kept: what a run measured, beside what only earlier runs did. Every row says in which run it was
// measured (`run`, a place in `runs`) and by what (`measure`, as `--only` calls it).

const KEYS = {
  entries: ({ name }) => name,
  matrix: ({ where, model, rows }) => `${where} ${model} ${rows}`,
  sizes: ({ name }) => name,
  cold: ({ where, name }) => `${where} ${name}`,
};
const LISTS = Object.keys(KEYS);

const each = (change) => Object.fromEntries(LISTS.map((list) => [list, change(list)]));

/** The ledger of one run: `{ date, commit, machine, versions }` and its rows. */
export function ofRun(run, rows) {
  return { runs: [run], ...each((list) => rows[list].map((row) => ({ ...row, run: 0 }))) };
}

/** A ledger's entries with the machine that each was measured on. */
export const placed = ({ runs, entries }) => entries.map((entry) => ({ ...entry, machine: runs[entry.run].machine }));

/** Puts the rows of a run where the ledger has them. What it measured and found no more is dropped, and runs without rows. */
export function merged(old, now, measured) {
  const lists = each((list) => {
    const key = KEYS[list];
    const fresh = new Map(now[list].map((row) => [key(row), { ...row, run: row.run + old.runs.length }]));
    const rows = old[list].filter((row) => fresh.has(key(row)) || !measured.includes(row.measure));
    const kept = rows.map((row) => fresh.get(key(row)) ?? row);
    const known = new Set(rows.map(key));
    return [...kept, ...[...fresh].filter(([name]) => !known.has(name)).map(([, row]) => row)];
  });
  const runs = [...old.runs, ...now.runs];
  const used = runs.map((_, i) => i).filter((i) => LISTS.some((list) => lists[list].some(({ run }) => run === i)));
  return {
    runs: used.map((i) => runs[i]),
    ...each((list) => lists[list].map((row) => ({ ...row, run: used.indexOf(row.run) }))),
  };
}
