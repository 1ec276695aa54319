/// <reference lib="esnext.disposable" preserve="true" />
import type { Member as Engine } from "../pkg/tiercast_wasm.js";
import { disposable } from "./disposable.js";
import { guarded, TiercastError } from "./errors.js";
import { written } from "./events.js";
import type { Scorer } from "./scorer.js";
import type { Assessment, MemberEvent, Observed, Reason } from "./types.js";

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
  readonly #answer: (now: number, texts: string) => Assessment;

  private constructor(scorer: Scorer, engine: Engine, answer: (now: number, texts: string) => Assessment) {
    this.scorer = scorer;
    this.#engine = engine;
    this.#answer = answer;
  }

  /** @internal */
  static of(scorer: Scorer, engine: Engine, answer: (now: number, texts: string) => Assessment): Member {
    return new Member(scorer, engine, answer);
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
    const bytes = written(list);
    const [added = 0, duplicates = 0, tooLate = 0] = guarded(() => this.#open().observe(bytes));
    return { added, duplicates, tooLate };
  }

  /**
   * Scores the member as of `now` (a Date or milliseconds since 1970; default: this moment).
   * Events after `now` are not seen, so any past moment can be asked about.
   *
   * @throws {@link TiercastError} `invalid_time`; `too_late` when the history at that moment is no longer known.
   */
  assess(now: Date | number = new Date()): Assessment {
    const moment = Number(now);
    return this.#answer(
      moment,
      guarded(() => this.#open().assess(moment)),
    );
  }

  /**
   * Why the model expects what it expects as of `now`: every feature that it sees, the strongest first.
   *
   * An effect is by how many tiers the member's value, against the typical one, raises `expectedTier` when nothing else
   * changes. Effects do not add up where features act together, and are about the model, not about causes.
   *
   * @throws {@link TiercastError} as {@link Member.assess} does.
   */
  explain(now: Date | number = new Date()): Reason[] {
    const numbers = guarded(() => this.#open().explain(Number(now)));
    const number = (at: number) => numbers[at] as number;
    const { features } = this.scorer.info;
    const reasons: Reason[] = [];
    for (let at = 0; at < numbers.length; at += 4) {
      const [index, value, typical, effect] = [number(at), number(at + 1), number(at + 2), number(at + 3)];
      reasons.push({ feature: features[index]?.name ?? "", value, typical, effect });
    }
    return reasons;
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

/** Copies an event before it is written, so that no getter or proxy runs meanwhile. */
function plain(event: MemberEvent): MemberEvent {
  if (typeof event !== "object" || event === null || Array.isArray(event)) return event;
  const copy = { ...event };
  if (copy.time instanceof Date) copy.time = copy.time.getTime();
  return copy;
}
