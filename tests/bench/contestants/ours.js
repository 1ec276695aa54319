// Tiercast's compact engine: the package's default entry.
import { Model } from "tiercast";

export const name = "ours";

export async function load(assets, model) {
  const engine = await Model.load(await assets.bytes(`${model}.tcb`));
  const one = (row) => {
    engine.input.set(row);
    return engine.run();
  };
  return { one, many: (rows) => engine.runBatch(rows), sync: true };
}
