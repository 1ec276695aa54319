/** The engine that runs any ONNX model, for browsers, bundlers and Node. */
import * as binding from "../../pkg/onnx/tiercast_wasm.js";
import { Engine } from "../engine.js";

/** Give it to {@link LoadOptions.onnx}. */
export const engine: Engine = new Engine(
  () => binding,
  () => new URL("../../pkg/onnx/tiercast_wasm_bg.wasm", import.meta.url),
);
