/// <reference lib="esnext.disposable" preserve="true" />
import type { Member as MemberEngine, Scorer as ScorerEngine } from "../pkg/tiercast_wasm.js";
import { assessment, type Names } from "./assessment.js";
import { asBytes, asFloats, describe, readBytes } from "./bytes.js";
import { disposable } from "./disposable.js";
import { type LoadOptions, load } from "./engine.js";
import { asTiercastError, TiercastError } from "./errors.js";
import { written } from "./events.js";
import { type Answers, encoded, Member, type MemberEvents, plain } from "./member.js";
import type { BytesSource } from "./platform.js";
import { prove, type ScoredBy } from "./prove.js";
import { Room } from "./room.js";
import type { Running } from "./running.js";
import { parse } from "./section.js";
import type { BundleInfo, Earned, EarnOptions, Interest, MemberEvent, Profile } from "./types.js";

/** What the engine calls a bundle's texts; the names of tiers follow the last, then of features, then of profiles. */
const TEXT = { manifest: 0, card: 1, vectors: 2, schemaHash: 3, currency: 4, tiers: 5 } as const;

/** What it calls the numbers that a bundle scores by; the tiers' thresholds follow the last, then the cuts. */
const NUMBER = { engine: 0, decode: 1, exponent: 2, tiers: 3 } as const;

/**
 * A loaded bundle: the features, the model and the shop's tier rules, ready to score.
 *
 * Scoring never changes a scorer or a member, and one scorer serves any number of members.
 */
export class Scorer {
  #engine: ScorerEngine | undefined;
  readonly #running: Running;
  readonly #row: Room<typeof Float32Array>;
  readonly #probabilities: Room<typeof Float32Array>;
  readonly #answers: Answers;
  #info: BundleInfo | undefined;
  #names: Names | undefined;
  #features: string[] | undefined;
  readonly #profileNames: string[] = [];
  /** Texts that {@link Scorer.info} may still need after `dispose()`. */
  #kept: string[] | undefined;

  private constructor(running: Running, bytes: Uint8Array) {
    const { binding, memory } = running;
    const engine = running.done(() => binding.Scorer.load(running.outside(bytes)));
    const room = <T extends typeof Float32Array | typeof Float64Array>(type: T, address: number, length: number) =>
      new Room(memory, type, address, length, engine);
    const numbers = room(Float64Array, engine.numbers(), engine.numbersLength());
    const values = room(Float32Array, engine.values(), engine.valuesLength());
    this.#engine = engine;
    this.#running = running;
    this.#row = room(Float32Array, engine.row(), engine.rowLength());
    this.#probabilities = room(Float32Array, engine.probabilities(), engine.probabilitiesLength());
    this.#answers = {
      running,
      assessment: (now) => {
        const texts = running.text();
        return assessment(this.#named(), now, numbers.view, values.view, texts);
      },
      features: () => this.#featureNames(),
      profile: (now) => this.#profile(now, new Float32Array(running.bytes())),
      observed: () => {
        const [added, duplicates, tooLate] = numbers.view as unknown as [number, number, number];
        return { added, duplicates, tooLate };
      },
    };
  }

  /** What the bundle says about itself. It is for people to read: nothing is scored by it. */
  get info(): BundleInfo {
    this.#info ??= deepFreeze({ ...(this.#json(TEXT.manifest) as BundleInfo), card: this.#json(TEXT.card) });
    return this.#info;
  }

  /**
   * Loads a bundle (`.tcb`). A string is an address; in Node it may also be a file path.
   *
   * @throws {@link TiercastError} `unavailable` when something cannot be read, `wasm_failed` when the engine does not
   * start, `not_a_bundle`, `bundle_truncated`, `bundle_hash`, `bundle_version`, `bundle_section`, `invalid_spec`,
   * `schema_mismatch` or `invalid_model` when the bundle is not one this version can use, `unsupported_model` when its
   * model needs what {@link LoadOptions} did not offer.
   */
  static load(bundle: BytesSource, options: LoadOptions = {}): Promise<Scorer> {
    return load(readBytes(bundle, "the bundle"), options, (running, bytes) => new Scorer(running, bytes));
  }

  /** A new member, with the given history or none. */
  member(events?: MemberEvents): Member {
    const member = this.#member((engine) => engine.member());
    try {
      if (events !== undefined) member.observe(events);
    } catch (cause) {
      member.dispose();
      throw cause;
    }
    return member;
  }

  /**
   * A member from what {@link Member.saveState} returned, under a bundle with the same features.
   *
   * @throws {@link TiercastError} `invalid_state`, `state_version` or `schema_mismatch`.
   */
  restoreState(state: ArrayBuffer | ArrayBufferView): Member {
    const bytes = asBytes(state);
    if (!bytes) {
      throw new TiercastError(
        "invalid_input",
        `a state is a Uint8Array as saveState() returns; this is ${describe(state)}`,
      );
    }
    return this.#member((engine) => engine.restore(this.#running.outside(bytes)));
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
    let done: boolean;
    try {
      done = engine.scoreRow();
    } catch (cause) {
      throw asTiercastError(cause);
    }
    if (!done) throw this.#running.refusal();
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
    const floats = asFloats(rows);
    if (!floats) {
      throw new TiercastError("invalid_input", `scoreBatch takes a Float32Array of rows; this is ${describe(rows)}`);
    }
    const engine = this.#open();
    this.#running.done(() => engine.scoreBatch(this.#running.outside(floats)));
    return new Float32Array(this.#running.bytes());
  }

  /**
   * What one event earns by the shop's rules for points: what a page says beside a price, before it is bought.
   *
   * @throws {@link TiercastError} `invalid_input` when the bundle has no points (`info.points` is then absent) or no such
   * tier; otherwise as {@link Member.observe} does.
   */
  earn(event: MemberEvent, options: EarnOptions): Earned {
    const asked = encoded(options);
    const copy = plain(event);
    const engine = this.#open();
    const bytes = written([copy]);
    this.#running.done(() => engine.earn(bytes, asked));
    return JSON.parse(this.#running.text()) as Earned;
  }

  /**
   * Computes the parity cases that travel in the bundle and compares, and compares {@link Scorer.info} with what it
   * scores by: the schema's hash, the engine, the decoding, the currency, the tiers, and the names of features, segments
   * and categories. The rest of it (name, version, card, kinds of events, period, units, descriptions) is only what the
   * trainer wrote.
   *
   * @returns how many cases were checked: none if the bundle carries none.
   * @throws {@link TiercastError} `model_failed` naming the first case that differs; `bundle_section` when the bundle
   * says something else of itself than it does, or its cases cannot be read.
   */
  prove(): number {
    return prove(this, this.#scoredBy(), this.#json(TEXT.vectors));
  }

  /** Frees the engine's memory. {@link Scorer.info} and members made from this scorer stay usable. */
  dispose(): void {
    if (!this.#engine) return;
    this.#named();
    this.#featureNames();
    this.#allProfileNames();
    this.#kept = [this.#text(TEXT.manifest), this.#text(TEXT.card)];
    this.#engine.free();
    this.#engine = undefined;
  }

  #member(make: (engine: ScorerEngine) => MemberEngine | undefined): Member {
    const engine = this.#open();
    return Member.of(this, this.#running.done(() => make(engine)), this.#answers);
  }

  #named(): Names {
    this.#names ??= {
      schemaHash: this.#text(TEXT.schemaHash),
      tiers: Array.from(this.#probabilities.view, (_, tier) => this.#text(TEXT.tiers + tier)),
    };
    return this.#names;
  }

  #featureNames(): string[] {
    const from = TEXT.tiers + this.#probabilities.view.length;
    this.#features ??= Array.from(this.#row.view, (_, feature) => this.#text(from + feature));
    return this.#features;
  }

  /** Of what `Member::profile` in `wasm/` leaves. */
  #profile(now: number, numbers: Float32Array): Profile {
    const number = (index: number) => numbers[index] as number;
    const [segment, segments, interests] = [number(2), number(3), number(4)];
    const interest = (at: number): Interest => ({
      category: this.#profileName(segments + number(at)),
      share: number(at + 1),
    });
    return {
      now,
      embedding: numbers.slice(5 + 2 * interests),
      churn: number(0),
      nextPurchase: number(1),
      segment,
      segmentName: this.#profileName(segment),
      interests: Array.from({ length: interests }, (_, i) => interest(5 + 2 * i)),
    };
  }

  /** The names of segments and, behind them, of categories; empty behind the last. */
  #profileName(which: number): string {
    const from = TEXT.tiers + this.#named().tiers.length + this.#featureNames().length;
    this.#profileNames[which] ??= this.#text(from + which);
    return this.#profileNames[which] as string;
  }

  #allProfileNames(): string[] {
    let count = 0;
    while (this.#profileName(count) !== "") count++;
    return this.#profileNames.slice(0, count);
  }

  #scoredBy(): ScoredBy {
    const engine = this.#open();
    const { schemaHash, tiers } = this.#named();
    const cuts: number[] = [];
    for (let at = NUMBER.tiers + tiers.length; !Number.isNaN(engine.number(at)); at++) cuts.push(engine.number(at));
    return {
      schemaHash,
      engine: engine.number(NUMBER.engine),
      decode: engine.number(NUMBER.decode),
      cuts,
      currency: this.#text(TEXT.currency),
      exponent: engine.number(NUMBER.exponent),
      tiers: tiers.map((name, tier) => ({ name, atLeastMinor: engine.number(NUMBER.tiers + tier) })),
      features: this.#featureNames(),
      profile: this.#allProfileNames(),
    };
  }

  #text(which: number): string {
    this.#open().text(which);
    return this.#running.text();
  }

  /** @throws {@link TiercastError} `bundle_section`: the engine does not read these sections. */
  #json(which: number): unknown {
    return parse(this.#kept?.[which] ?? this.#text(which));
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
