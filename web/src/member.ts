/// <reference lib="esnext.disposable" preserve="true" />
import type { Member as Engine } from "../pkg/tiercast_wasm.js";
import { disposable } from "./disposable.js";
import { guarded, TiercastError } from "./errors.js";
import type { Scorer } from "./scorer.js";
import type { Assessment, MemberEvent, Observed } from "./types.js";

/** One event or many. */
export type MemberEvents = MemberEvent | Iterable<MemberEvent>;

/**
 * One member's history, compact and bounded, from which everything about the member is scored.
 *
 * Made by {@link Scorer.member} or {@link Scorer.restoreState}. `observe` is the only method that changes it.
 */
export class Member {
  /** The scorer this member is scored by. */
  readonly scorer: Scorer;
  #engine: Engine | undefined;

  private constructor(scorer: Scorer, engine: Engine) {
    this.scorer = scorer;
    this.#engine = engine;
  }

  /** @internal */
  static of(scorer: Scorer, engine: Engine): Member {
    return new Member(scorer, engine);
  }

  /** How many events the state holds in detail. */
  get eventCount(): number {
    return guarded(() => this.#open().eventCount);
  }

  /**
   * Takes in what happened: one event, or many in any order. All are taken or none is.
   *
   * @throws {@link TiercastError} `invalid_event`, `unknown_kind`, `invalid_amount`, `invalid_time`,
   * `invalid_quantity` or `invalid_text`; the member is then as it was.
   */
  observe(events: MemberEvents): Observed {
    const list = isMany(events) ? Array.from(events, plain) : [plain(events)];
    const [added = 0, duplicates = 0, tooLate = 0] = guarded(() => this.#open().observe(list));
    return { added, duplicates, tooLate };
  }

  /**
   * Scores the member as of `now` (a Date or milliseconds since 1970; default: this moment).
   * Events after `now` are not seen, so any past moment can be asked about.
   *
   * @throws {@link TiercastError} `invalid_time`; `too_late` when the history at that moment is no longer known.
   */
  assess(now: Date | number = new Date()): Assessment {
    return guarded(() => this.#open().assess(Number(now)) as Assessment);
  }

  /** The features alone, as of `now`: a row for {@link Scorer.scoreBatch}. */
  features(now: Date | number = new Date()): Float32Array {
    return guarded(() => this.#open().features(Number(now)));
  }

  /** The whole state in a few bytes an event; keep it wherever the shop keeps the member. */
  saveState(): Uint8Array {
    return guarded(() => this.#open().save());
  }

  /** Frees the engine's memory. */
  dispose(): void {
    this.#engine?.free();
    this.#engine = undefined;
  }

  #open(): Engine {
    if (!this.#engine) throw new TiercastError("disposed", "this member was disposed; restore it from a saved state");
    return this.#engine;
  }
}

/** `using member = scorer.member()` frees it at the end of the block. */
export interface Member extends Disposable {}
disposable(Member.prototype);

function isMany(events: MemberEvents): events is Iterable<MemberEvent> {
  return typeof events === "object" && events !== null && Symbol.iterator in events;
}

/** Copies an event before the engine sees it, so that no getter or proxy runs inside the engine. */
function plain(event: MemberEvent): unknown {
  if (typeof event !== "object" || event === null || Array.isArray(event)) return event;
  const copy = { ...event };
  if (copy.time instanceof Date) copy.time = copy.time.getTime();
  return copy;
}
