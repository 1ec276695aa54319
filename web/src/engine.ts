import init from "../pkg/tiercast_wasm.js";
import { isInstance, open } from "./bytes.js";
import { TiercastError } from "./errors.js";
import { type BytesSource, platform, type WasmSource } from "./platform.js";

let started: Promise<void> | undefined;

/** Compiles and starts the WebAssembly once; a failed start can be tried again. */
export function startEngine(source: WasmSource | undefined): Promise<void> {
  started ??= start(source).catch((error: unknown) => {
    started = undefined;
    throw error;
  });
  return started;
}

async function start(source: WasmSource | undefined): Promise<void> {
  const module = await compile(source ?? (await platform().defaultWasm()));
  // The generated binding keeps the first module that links, so a foreign one must not get that far.
  if (!WebAssembly.Module.exports(module).some(({ name }) => name === "scorer_new")) {
    throw wasmFailed("it is not the scoring engine");
  }
  try {
    await init({ module_or_path: module });
  } catch (cause) {
    throw wasmFailed(cause);
  }
}

async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  if (isInstance(source, "WebAssembly.Module")) return source as WebAssembly.Module;
  const opened = await open(source as BytesSource, "the WebAssembly file");
  try {
    if (opened instanceof Uint8Array) return await WebAssembly.compile(opened as BufferSource);
    // Streaming insists on the media type; servers that do not know .wasm send another one.
    const streams = opened.headers.get("content-type")?.startsWith("application/wasm");
    if (streams && WebAssembly.compileStreaming) return await WebAssembly.compileStreaming(opened);
    return await WebAssembly.compile(await opened.arrayBuffer());
  } catch (cause) {
    throw wasmFailed(cause);
  }
}

function wasmFailed(cause: unknown): TiercastError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new TiercastError(
    "wasm_failed",
    `the WebAssembly did not start (${reason}); use the file of the same version of this package`,
    { cause },
  );
}
