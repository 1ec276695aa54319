/** Cloudflare Workers: WebAssembly must be imported as a module, it cannot be compiled from bytes. */
import * as binding from "../../pkg/all/tiercast_wasm.js";
// Nobody downloads a Worker, so it has every kernel at once.
import wasm from "../../pkg/all/tiercast_wasm_bg.wasm";
import { Engine } from "../engine.js";
import { setPlatform } from "../platform.js";

setPlatform({
  engines: [
    new Engine(
      () => binding,
      () => wasm,
    ),
  ],
  open: (location) => fetch(location),
});

export * from "../index.js";
