/// <reference lib="esnext.disposable" preserve="true" />
import type { Member as MemberEngine, Scorer as ScorerEngine } from "../pkg/tiercast_wasm.js";
import { assessment, NUMBERS } from "./assessment.js";
import { describe, isInstance, readBytes } from "./bytes.js";
import { disposable } from "./disposable.js";
import { type LoadOptions, load, type Running } from "./engine.js";
import { asTiercastError, guarded, TiercastError } from "./errors.js";
import { Member, type MemberEvents } from "./member.js";
import type { BytesSource } from "./platform.js";
import { prove, type Vector } from "./prove.js";
import { Room } from "./room.js";
import type { BundleInfo } from "./types.js";

/**
 * A loaded bundle: the features, the model and the shop's tier rules, ready to score.
 *
 * Scoring never changes a scorer or a member, and one scorer serves any number of members.
 */
export class Scorer {
  /** What the bundle says about itself. */
  readonly info: BundleInfo;
  #engine: ScorerEngine | undefined;
  readonly #row: Room<typeof Float32Array>;
  readonly #probabilities: Room<typeof Float32Array>;
  readonly #numbers: Room<typeof Float64Array>;
  readonly #values: Room<typeof Float32Array>;

  private constructor(engine: ScorerEngine, memory: Running["memory"]) {
    this.#engine = engine;
    this.info = deepFreeze({ ...JSON.parse(engine.json("manifest")), card: JSON.parse(engine.json("card")) });
    const { features, tiers } = this.info;
    this.#row = new Room(memory, Float32Array, engine.row(), features.length, engine);
    this.#probabilities = new Room(memory, Float32Array, engine.probabilities(), tiers.length, engine);
    this.#numbers = new Room(memory, Float64Array, engine.numbers(), NUMBERS, engine);
    this.#values = new Room(memory, Float32Array, engine.values(), features.length + tiers.length, engine);
  }

  /**
   * Loads a bundle (`.tcb`). A string is an address; in Node it may also be a file path.
   *
   * @throws {@link TiercastError} `unavailable` when something cannot be read, `wasm_failed` when the engine does not
   * start, `not_a_bundle`, `bundle_truncated`, `bundle_hash`, `bundle_version`, `bundle_section`, `schema_mismatch`
   * or `invalid_model` when the bundle is not one this version can use, `unsupported_model` when its model needs what
   * {@link LoadOptions} did not offer.
   */
  static load(bundle: BytesSource, options: LoadOptions = {}): Promise<Scorer> {
    return load(
      readBytes(bundle, "the bundle"),
      options,
      ({ binding, memory }, bytes) => new Scorer(new binding.Scorer(bytes), memory),
    );
  }

  /** A new member, with the given history or none. */
  member(events?: MemberEvents): Member {
    const member = this.#member((engine) => engine.member());
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
    return this.#member((engine) => engine.restore(bytes as Uint8Array));
  }

  /**
   * One row of raw features inside the engine's memory, `info.features.length` numbers: write it, then call
   * {@link Scorer.scoreRow}. NaN is a missing value.
   *
   * Ask for it each time (it costs nothing): an older view loses its content when the engine's memory grows, as when a
   * member or a bundle is loaded, and must not be written after `dispose()`.
   */
  get row(): Float32Array {
    this.#open();
    return this.#row.view;
  }

  /**
   * Scores {@link Scorer.row}. Nothing is copied and nothing allocated.
   *
   * @returns the probabilities of the tiers, inside the engine's memory: the next call overwrites them, and what holds
   * of a view of the row holds of this one.
   */
  scoreRow(): Float32Array {
    const engine = this.#open();
    try {
      engine.scoreRow();
    } catch (cause) {
      throw asTiercastError(cause);
    }
    return this.#probabilities.view;
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
    return prove(this, JSON.parse(guarded(() => this.#open().json("vectors"))) as Vector[]);
  }

  /** Frees the engine's memory. Members made from this scorer stay usable. */
  dispose(): void {
    this.#engine?.free();
    this.#engine = undefined;
  }

  #member(make: (engine: ScorerEngine) => MemberEngine): Member {
    const engine = guarded(() => make(this.#open()));
    return Member.of(this, engine, (now, texts) =>
      assessment(this.info, now, this.#numbers.view, this.#values.view, texts),
    );
  }

  #open(): ScorerEngine {
    if (!this.#engine) throw new TiercastError("disposed", "this scorer was disposed; load the bundle again");
    return this.#engine;
  }
}

/** `using scorer = await Scorer.load(…)` frees it at the end of the block. */
export interface Scorer extends Disposable {}
disposable(Scorer.prototype);

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
