// Tiercast's build of tract, which runs the ONNX that a bundle keeps.
import { Model } from "tiercast";
import { engine } from "tiercast/onnx";

export const name = "tract in wasm";

export async function load(assets, model) {
  const tract = await Model.load(await assets.bytes(`${model}.tract.tcb`), { onnx: { engine } });
  const one = (row) => {
    tract.input.set(row);
    return tract.run();
  };
  return { one, many: (rows) => tract.runBatch(rows), sync: true };
}
