/** Node: files are read from disk, and a string that is not an address is a path. */
import { readFile } from "node:fs/promises";
import { setPlatform } from "../platform.js";

setPlatform({
  defaultWasm: () => new URL("../../pkg/tiercast_wasm_bg.wasm", import.meta.url),
  open(location) {
    const text = String(location);
    if (/^(https?|data|blob):/i.test(text)) return fetch(text);
    return readFile(text.startsWith("file:") ? new URL(text) : text);
  },
});

export * from "../index.js";
