/** The engine that runs any ONNX model, for Cloudflare Workers. */
import * as binding from "../../pkg/onnx/tiercast_wasm.js";
import wasm from "../../pkg/onnx/tiercast_wasm_bg.wasm";
import { Engine } from "../engine.js";

/** Give it to {@link LoadOptions.onnx}. */
export const engine: Engine = new Engine(
  () => binding,
  () => wasm,
);
