/// <reference lib="esnext.disposable" preserve="true" />
import { Scorer as Engine } from "../pkg/tiercast_wasm.js";
import { describe, isInstance, readBytes } from "./bytes.js";
import { disposable } from "./disposable.js";
import { startEngine } from "./engine.js";
import { guarded, TiercastError } from "./errors.js";
import { Member, type MemberEvents } from "./member.js";
import type { BytesSource, WasmSource } from "./platform.js";
import type { BundleInfo } from "./types.js";

/** What {@link Scorer.load} may be told. */
export interface LoadOptions {
  /**
   * Where the WebAssembly comes from, when not from beside this package: a compiled module, an address, a
   * response or bytes. The first successful load decides for the whole page or process.
   */
  wasm?: WasmSource;
}

/**
 * A loaded bundle: the features, the model and the shop's tier rules, ready to score.
 *
 * Scoring never changes a scorer or a member, and one scorer serves any number of members.
 */
export class Scorer {
  /** What the bundle says about itself. */
  readonly info: BundleInfo;
  #engine: Engine | undefined;

  private constructor(engine: Engine) {
    this.#engine = engine;
    this.info = deepFreeze(guarded(() => engine.info() as BundleInfo));
  }

  /**
   * Loads a bundle (`.tcb`). A string is an address; in Node it may also be a file path.
   *
   * @throws {@link TiercastError} `unavailable` when something cannot be read, `wasm_failed` when the engine does not
   * start, `not_a_bundle`, `bundle_truncated`, `bundle_hash`, `bundle_version`, `bundle_section`, `schema_mismatch`
   * or `invalid_model` when the bundle is not one this version can use.
   */
  static async load(bundle: BytesSource, options: LoadOptions = {}): Promise<Scorer> {
    const [bytes] = await settled([readBytes(bundle, "the bundle"), startEngine(options.wasm)]);
    return new Scorer(guarded(() => new Engine(bytes)));
  }

  /** A new member, with the given history or none. */
  member(events?: MemberEvents): Member {
    const member = Member.of(
      this,
      guarded(() => this.#open().member()),
    );
    if (events !== undefined) member.observe(events);
    return member;
  }

  /**
   * A member from what {@link Member.saveState} returned, under a bundle with the same features.
   *
   * @throws {@link TiercastError} `invalid_state`, `state_version` or `schema_mismatch`.
   */
  restoreState(state: Uint8Array | ArrayBuffer): Member {
    const bytes = isInstance(state, "ArrayBuffer") ? new Uint8Array(state as ArrayBuffer) : state;
    if (!ArrayBuffer.isView(bytes)) {
      throw new TiercastError(
        "invalid_input",
        `a state is a Uint8Array as saveState() returns; this is ${describe(state)}`,
      );
    }
    return Member.of(
      this,
      guarded(() => this.#open().restore(bytes as Uint8Array)),
    );
  }

  /**
   * Scores many rows of raw features at once.
   *
   * @param rows row after row, `info.features.length` numbers each, in that order; NaN is a missing value.
   * @returns row after row, the probabilities of the tiers `1…info.tiers.length`, which sum to 1.
   * @throws {@link TiercastError} `invalid_input` when the length is not a whole number of rows.
   */
  scoreBatch(rows: Float32Array): Float32Array {
    if (!(rows instanceof Float32Array)) {
      throw new TiercastError("invalid_input", `scoreBatch takes a Float32Array of rows; this is ${describe(rows)}`);
    }
    return guarded(() => this.#open().scoreBatch(rows));
  }

  /**
   * Computes the parity cases that travel in the bundle and compares.
   *
   * @returns how many were checked.
   * @throws {@link TiercastError} `model_failed` naming the first case that differs.
   */
  prove(): number {
    return guarded(() => this.#open().prove());
  }

  /** Frees the engine's memory. Members made from this scorer stay usable. */
  dispose(): void {
    this.#engine?.free();
    this.#engine = undefined;
  }

  #open(): Engine {
    if (!this.#engine) throw new TiercastError("disposed", "this scorer was disposed; load the bundle again");
    return this.#engine;
  }
}

/** `using scorer = await Scorer.load(…)` frees it at the end of the block. */
export interface Scorer extends Disposable {}
disposable(Scorer.prototype);

/** Waits for all before it reports the first failure, so that none is left unhandled. */
async function settled<A, B>(tasks: [Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled(tasks);
  return Promise.all(tasks);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
