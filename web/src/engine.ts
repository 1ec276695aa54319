import { isInstance, open } from "./bytes.js";
import { asTiercastError, TiercastError } from "./errors.js";
import { type BytesSource, platform, type WasmSource } from "./platform.js";
import { type Binding, Running } from "./running.js";

/** A WebAssembly module of this package and its binding, fetched and started when a bundle first needs it. */
export class Engine {
  readonly #binding: () => Binding | Promise<Binding>;
  readonly #wasm: () => WasmSource | Promise<WasmSource>;
  #running: Promise<Running> | undefined;

  /** @internal */
  constructor(binding: () => Binding | Promise<Binding>, wasm: () => WasmSource | Promise<WasmSource>) {
    this.#binding = binding;
    this.#wasm = wasm;
  }

  /**
   * Starts it once; a failed start can be tried again.
   *
   * @internal
   */
  start(wasm?: WasmSource): Promise<Running> {
    this.#running ??= this.#start(wasm).catch((error: unknown) => {
      this.#running = undefined;
      throw error;
    });
    return this.#running;
  }

  async #start(wasm: WasmSource | undefined): Promise<Running> {
    const [binding, module] = await settled([this.#binding(), compile(wasm ?? (await this.#wasm()))]);
    // The generated binding keeps the first module that links, so a foreign one must not get that far.
    if (!WebAssembly.Module.exports(module).some(({ name }) => name === "scorer_load")) {
      throw wasmFailed("it is not the scoring engine");
    }
    return new Running(binding, await instantiate(binding, module));
  }
}

/** At once where that is allowed: the asynchronous way can take fifty times as long in V8. */
async function instantiate(binding: Binding, module: WebAssembly.Module): Promise<WebAssembly.Memory> {
  try {
    return binding.initSync({ module }).memory;
  } catch {
    // Older Chromium refuses to do it on a page's main thread.
  }
  try {
    return (await binding.default({ module_or_path: module })).memory;
  } catch (cause) {
    throw wasmFailed(cause);
  }
}

/** The engine for bundles that keep their ONNX model, as `import("tiercast/onnx")` gives it. */
export interface OnnxEngine {
  /** Runs any ONNX model. */
  engine: Engine;
}

/** What loading may be told. */
export interface LoadOptions {
  /**
   * Where the WebAssembly comes from, when not from beside this package: a compiled module, an address, a
   * response or bytes. The first successful load decides for the whole page or process.
   */
  wasm?: WasmSource;
  /**
   * For bundles that keep their ONNX model: `() => import("tiercast/onnx")`, which is called, and its megabytes
   * fetched, only when the bundle is one.
   */
  onnx?: OnnxEngine | (() => Promise<OnnxEngine>);
}

/**
 * Makes something of a bundle in the first engine that can run its model.
 *
 * @internal
 */
export async function load<T>(
  bundle: Promise<Uint8Array>,
  options: LoadOptions,
  make: (running: Running, bytes: Uint8Array) => T,
): Promise<T> {
  const [smallest, ...larger] = platform().engines as [Engine, ...Engine[]];
  const [bytes, running] = await settled([bundle, smallest.start(options.wasm)]);
  let outcome = attempt(() => make(running, bytes));
  const unsupported = () => outcome.error?.code === "unsupported_model";
  for (const other of unsupported() ? others(running, bytes, larger, options) : []) {
    const next = await (await other()).start();
    outcome = attempt(() => make(next, bytes));
    if (!unsupported()) break;
  }
  if (outcome.error) throw outcome.error;
  return outcome.value as T;
}

/** Which engines to try when the smallest refused the model. */
function others(
  running: Running,
  bytes: Uint8Array,
  larger: Engine[],
  { wasm, onnx }: LoadOptions,
): (() => Promise<Engine>)[] {
  // More kernels do not help a bundle that keeps its ONNX file.
  const more = wasm === undefined && !running.binding.keepsOnnx(running.outside(bytes)) ? larger.map((engine) => async () => engine) : [];
  return onnx ? [...more, () => onnxEngine(onnx)] : more;
}

async function onnxEngine(given: NonNullable<LoadOptions["onnx"]>): Promise<Engine> {
  return (typeof given === "function" ? await given() : given).engine;
}

function attempt<T>(make: () => T): { value?: T; error?: TiercastError } {
  try {
    return { value: make() };
  } catch (cause) {
    return { error: asTiercastError(cause) };
  }
}

/** Waits for all before it reports the first failure, so that none is left unhandled. */
async function settled<A, B>(tasks: [A | Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled(tasks);
  return Promise.all(tasks);
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
