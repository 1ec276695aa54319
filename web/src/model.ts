/// <reference lib="esnext.disposable" preserve="true" />
import type { Model as ModelEngine } from "../pkg/tiercast_wasm.js";
import { asFloats, describe, readBytes } from "./bytes.js";
import { disposable } from "./disposable.js";
import { type LoadOptions, load } from "./engine.js";
import { asTiercastError, TiercastError } from "./errors.js";
import type { BytesSource } from "./platform.js";
import { Room } from "./room.js";
import type { Running } from "./running.js";
import { parse } from "./section.js";

/** What a model's bundle says about itself. */
export interface ModelInfo {
  /** What people call it. */
  name: string;
  /** The program and version that wrote it. */
  producer: string;
  /** Which engine runs it. */
  engine: "plan" | "onnx";
  /** Name of the input. */
  input: string;
  /** Shape of one row of it. */
  inputShape: number[];
  /** Name of the output. */
  output: string;
  /** Shape of one row of it. */
  outputShape: number[];
}

/**
 * A model on its own, from `tiercast import model.onnx`: numbers in, numbers out.
 *
 * The views that it gives are of the engine's memory. Ask for them each time (it costs nothing): an older view loses
 * its content when the memory grows, and must not be written after `dispose()`.
 */
export class Model {
  /** What the bundle says about itself. */
  readonly info: ModelInfo;
  #engine: ModelEngine | undefined;
  readonly #running: Running;
  readonly #input: Room<typeof Float32Array>;
  readonly #output: Room<typeof Float32Array>;

  private constructor(running: Running, bytes: Uint8Array) {
    const { binding, memory } = running;
    const engine = running.done(() => binding.Model.load(running.outside(bytes)));
    this.#engine = engine;
    this.#running = running;
    this.#input = new Room(memory, Float32Array, engine.input(), engine.inputLength(), engine);
    this.#output = new Room(memory, Float32Array, engine.output(), engine.outputLength(), engine);
    engine.json();
    try {
      this.info = Object.freeze(parse(running.text()) as ModelInfo);
    } catch (cause) {
      engine.free();
      throw cause;
    }
  }

  /**
   * Loads a model's bundle (`.tcb`), from where {@link Scorer.load} loads one.
   *
   * @throws {@link TiercastError} as {@link Scorer.load} does; `bundle_section` when the bundle scores members.
   */
  static load(bundle: BytesSource, options: LoadOptions = {}): Promise<Model> {
    return load(readBytes(bundle, "the bundle"), options, (running, bytes) => new Model(running, bytes));
  }

  /** One row of the input, to be written before {@link Model.run}. */
  get input(): Float32Array {
    this.#open();
    return this.#input.view;
  }

  /** Runs {@link Model.input}. Nothing is copied and nothing allocated; the next call overwrites what it returns. */
  run(): Float32Array {
    const engine = this.#open();
    let done: boolean;
    try {
      done = engine.run();
    } catch (cause) {
      throw asTiercastError(cause);
    }
    if (!done) throw this.#running.refusal();
    return this.#output.view;
  }

  /**
   * Runs many rows at once.
   *
   * @throws {@link TiercastError} `invalid_input` when the length is not a whole number of rows.
   */
  runBatch(rows: Float32Array): Float32Array {
    const floats = asFloats(rows);
    if (!floats) {
      throw new TiercastError("invalid_input", `runBatch takes a Float32Array of rows; this is ${describe(rows)}`);
    }
    const engine = this.#open();
    this.#running.done(() => engine.runBatch(this.#running.outside(floats)));
    return new Float32Array(this.#running.bytes());
  }

  /** Frees the engine's memory. */
  dispose(): void {
    this.#engine?.free();
    this.#engine = undefined;
  }

  #open(): ModelEngine {
    if (!this.#engine) throw new TiercastError("disposed", "this model was disposed; load the bundle again");
    return this.#engine;
  }
}

/** `using model = await Model.load(…)` frees it at the end of the block. */
export interface Model extends Disposable {}
disposable(Model.prototype);
