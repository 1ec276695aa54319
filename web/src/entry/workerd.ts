/** Cloudflare Workers: WebAssembly must be imported as a module, it cannot be compiled from bytes. */
import wasm from "../../pkg/tiercast_wasm_bg.wasm";
import { setPlatform } from "../platform.js";

setPlatform({
  defaultWasm: () => wasm,
  open: (location) => fetch(location),
});

export * from "../index.js";
