/// <reference lib="esnext.disposable" preserve="true" />
import type { Member as Engine } from "../pkg/tiercast_wasm.js";
import { disposable } from "./disposable.js";
import { TiercastError } from "./errors.js";
import { written } from "./events.js";
import type { Running } from "./running.js";
import type { Scorer } from "./scorer.js";
import type {
  Assessment,
  AssignOptions,
  Decision,
  MemberEvent,
  Observed,
  PointsOptions,
  Profile,
  Reason,
  Recommendation,
  RecommendOptions,
  RewardOptions,
  Risk,
  RiskOptions,
  Statement,
} from "./types.js";

/**
 * What a scorer gives its members.
 *
 * @internal
 */
export interface Answers {
  running: Running;
  /** The assessment that the engine has just left. */
  assessment(now: number): Assessment;
  /** The features' names. */
  features(): readonly string[];
  /** The profile that the engine has just left. */
  profile(now: number): Profile;
  /** What became of the events that it has just taken in. */
  observed(): Observed;
}

/** What the engine calls what it answers in JSON. */
const ASK = { recommend: 0, assign: 1, reward: 2, points: 3, risk: 4 } as const;

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
  readonly #answers: Answers;

  private constructor(scorer: Scorer, engine: Engine, answers: Answers) {
    this.scorer = scorer;
    this.#engine = engine;
    this.#answers = answers;
  }

  /** @internal */
  static of(scorer: Scorer, engine: Engine, answers: Answers): Member {
    return new Member(scorer, engine, answers);
  }

  /** How many events the state holds in detail. */
  get eventCount(): number {
    return this.#open().eventCount;
  }

  /**
   * Takes in what happened: one event, or many in any order. All are taken or none is.
   *
   * @throws {@link TiercastError} `invalid_event`, `unknown_kind`, `invalid_amount`, `invalid_time`,
   * `invalid_quantity`, `invalid_text` or `invalid_origin`; the member is then as it was.
   */
  observe(events: MemberEvents): Observed {
    const list = isMany(events) ? Array.from(events, plain) : [plain(events)];
    const bytes = written(list);
    this.#do((engine) => engine.observe(bytes));
    return this.#answers.observed();
  }

  /**
   * Scores the member as of `now` (a Date or milliseconds since 1970; default: this moment).
   * Events after `now` are not seen, so any past moment can be asked about.
   *
   * @throws {@link TiercastError} `invalid_time`; `too_late` when the history at that moment is no longer known.
   */
  assess(now: Date | number = new Date()): Assessment {
    // What is no number yet may run anything meanwhile, also dispose().
    const moment = Number(now);
    this.#do((engine) => engine.assess(moment));
    return this.#answers.assessment(moment);
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
    const moment = Number(now);
    this.#do((engine) => engine.explain(moment));
    const numbers = new Float32Array(this.#answers.running.bytes());
    const number = (at: number) => numbers[at] as number;
    const features = this.#answers.features();
    const reasons: Reason[] = [];
    for (let at = 0; at < numbers.length; at += 4) {
      const [index, value, typical, effect] = [number(at), number(at + 1), number(at + 2), number(at + 3)];
      reasons.push({ feature: features[index] ?? "", value, typical, effect });
    }
    return reasons;
  }

  /**
   * How the member behaves as of `now`: a behaviour embedding, the chance of no purchase in the next period, the days to
   * the next one, a segment and interests.
   *
   * @throws {@link TiercastError} `invalid_input` when the bundle has no profiles (`info.profile` is then absent); otherwise
   * as {@link Member.assess} does.
   */
  profile(now: Date | number = new Date()): Profile {
    const moment = Number(now);
    this.#do((engine) => engine.profile(moment));
    return this.#answers.profile(moment);
  }

  /**
   * Which items the member will buy next, the most wanted first, with the reasons; computed here, of the member's own events.
   *
   * @throws {@link TiercastError} `invalid_input` when the bundle recommends nothing (`info.recommend` is then absent) or an
   * option is out of range; otherwise as {@link Member.assess} does.
   */
  recommend(options: RecommendOptions = {}, now: Date | number = new Date()): Recommendation[] {
    const moment = Number(now);
    return this.#ask("recommend", moment, encoded(options));
  }

  /**
   * Which offer of points the member gets in the period around `now`, with the chance with which it was taken.
   *
   * The policy sees the member as known when the period began: whoever asks again within it, on whatever machine, gets the
   * same answer, until the cap or what is excluded moves.
   *
   * @throws {@link TiercastError} `invalid_input` when the bundle has no such policy (`info.reward` is then absent), an option
   * is out of range or no action is left; `model_failed` when the policy gives no chances; otherwise as {@link Member.assess}
   * does.
   */
  reward(options: RewardOptions): Decision {
    const { moment, bytes } = asked(options);
    return this.#ask("reward", moment, bytes);
  }

  /**
   * Which tier of service the member gets in the period around `now`: never below what the shop's rules promise. Otherwise
   * as {@link Member.reward}.
   *
   * @throws {@link TiercastError} as {@link Member.reward} does; `info.assign` is absent from a bundle without such a policy.
   */
  assign(options: AssignOptions): Decision {
    const { moment, bytes } = asked(options);
    return this.#ask("assign", moment, bytes);
  }

  /**
   * The member's points at `now`: all events up to then, in the one order that they have, and all redemptions. Nothing is kept:
   * who needs a balance that outlives the member's bounded history keeps a statement and gives it as the next one's opening.
   *
   * @throws {@link TiercastError} `invalid_input` when the bundle has no points (`info.points` is then absent), when a
   * redemption is of more points than there were, or when the opening contradicts itself or is of a later moment; `too_late`
   * when events that earned points were forgotten; `invalid_time`.
   */
  points(options: PointsOptions = {}): Statement {
    const { moment, bytes } = asked(options);
    return this.#ask("points", moment, bytes);
  }

  /**
   * How likely the event that happened at `now` is fraud: observe it first, of a kind in `info.risk.each`.
   *
   * @throws {@link TiercastError} `invalid_input` when the bundle judges no risk (`info.risk` is then absent) or an option is out
   * of range; otherwise as {@link Member.assess} does.
   */
  risk(options: RiskOptions = {}, now: Date | number = new Date()): Risk {
    return this.#ask("risk", Number(now), encoded(options));
  }

  /** The features alone, as of `now`: a row for {@link Scorer.scoreBatch}. */
  features(now: Date | number = new Date()): Float32Array {
    const moment = Number(now);
    this.#do((engine) => engine.features(moment));
    return new Float32Array(this.#answers.running.bytes());
  }

  /** The whole state in a few bytes an event; keep it wherever the shop keeps the member. */
  saveState(): Uint8Array {
    this.#open().save();
    return new Uint8Array(this.#answers.running.bytes());
  }

  /** Frees the engine's memory. */
  dispose(): void {
    this.#engine?.free();
    this.#engine = undefined;
  }

  #ask<T>(what: keyof typeof ASK, moment: number, options: Uint8Array): T {
    this.#do((engine) => engine.ask(ASK[what], moment, options));
    return JSON.parse(this.#answers.running.text()) as T;
  }

  #do(call: (engine: Engine) => boolean): void {
    const engine = this.#open();
    this.#answers.running.done(() => call(engine));
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

/** The moment that is asked about, and the other options as the engine reads them. */
function asked(options: { now?: Date | number }): { moment: number; bytes: Uint8Array } {
  // What is no object is for the engine to refuse.
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    return { moment: 0, bytes: encoded(options) };
  }
  const { now = new Date(), ...others } = options;
  return { moment: Number(now), bytes: encoded(others) };
}

/** Options as the engine reads them, outside of its memory. */
export function encoded(options: unknown): Uint8Array {
  try {
    return new TextEncoder().encode(JSON.stringify(options, inMs));
  } catch (cause) {
    throw new TiercastError("invalid_input", "these are no options: JSON cannot hold them", { cause });
  }
}

/** Dates as numbers; JSON has already made texts of them. */
function inMs(this: Record<string, unknown>, key: string, value: unknown): unknown {
  const given = this[key];
  return given instanceof Date ? given.getTime() : value;
}

/** Copies an event before it is written, so that no getter or proxy runs meanwhile. */
export function plain(event: MemberEvent): MemberEvent {
  if (typeof event !== "object" || event === null || Array.isArray(event)) return event;
  const copy = { ...event };
  if (copy.time instanceof Date) copy.time = copy.time.getTime();
  return copy;
}
