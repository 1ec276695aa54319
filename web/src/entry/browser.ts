/** Browsers and bundlers: the `new URL(…, import.meta.url)` form is what bundlers recognise as an asset. */
import * as binding from "../../pkg/tiercast_wasm.js";
import { Engine } from "../engine.js";
import { setPlatform } from "../platform.js";
import { hasSimd } from "../simd.js";

const scalar = () => new URL("../../pkg/scalar/tiercast_wasm_bg.wasm", import.meta.url);

setPlatform({
  engines: [
    new Engine(
      () => binding,
      () => (hasSimd() ? new URL("../../pkg/tiercast_wasm_bg.wasm", import.meta.url) : scalar()),
    ),
    new Engine(
      () => import("../../pkg/all/tiercast_wasm.js"),
      () => (hasSimd() ? new URL("../../pkg/all/tiercast_wasm_bg.wasm", import.meta.url) : scalar()),
    ),
  ],
  open: (location) => fetch(location),
});

export * from "../index.js";
