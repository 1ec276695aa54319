/** Node: files are read from disk, and a string that is not an address is a path. */
import { readFile } from "node:fs/promises";
import * as binding from "../../pkg/tiercast_wasm.js";
import { Engine } from "../engine.js";
import { setPlatform } from "../platform.js";

setPlatform({
  // Every Node that this package runs in has SIMD.
  engines: [
    new Engine(
      () => binding,
      () => new URL("../../pkg/tiercast_wasm_bg.wasm", import.meta.url),
    ),
    new Engine(
      () => import("../../pkg/all/tiercast_wasm.js"),
      () => new URL("../../pkg/all/tiercast_wasm_bg.wasm", import.meta.url),
    ),
  ],
  open(location) {
    const text = String(location);
    if (/^(https?|data|blob):/i.test(text)) return fetch(text);
    return readFile(text.startsWith("file:") ? new URL(text) : text);
  },
});

export * from "../index.js";
