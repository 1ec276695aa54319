// onnxruntime-web, its smallest build (wasm without WebGPU; it has ai.onnx.ml), one thread.
import * as ort from "onnxruntime-web";

export const name = "onnxruntime-web";

export async function load(assets, model) {
  ort.env.wasm.numThreads = 1;
  if (assets.browser) ort.env.wasm.wasmPaths = "/tests/bench/node_modules/onnxruntime-web/dist/";
  const session = await ort.InferenceSession.create(await assets.bytes(`${model}.onnx`), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  const run = async (rows, count) => {
    const tensor = new ort.Tensor("float32", rows, [count, rows.length / count]);
    return (await session.run({ [input]: tensor }))[output].data;
  };
  return { one: (row) => run(row, 1), many: run };
}
