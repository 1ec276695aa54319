/** Browsers and bundlers: the `new URL(…, import.meta.url)` form is what bundlers recognise as an asset. */
import { setPlatform } from "../platform.js";

setPlatform({
  defaultWasm: () => new URL("../../pkg/tiercast_wasm_bg.wasm", import.meta.url),
  open: (location) => fetch(location),
});

export * from "../index.js";
