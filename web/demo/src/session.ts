import {
  type Assessment,
  type Decision,
  type Member,
  type Profile,
  type Recommendation,
  type RecommendOptions,
  type Scorer,
  type Statement,
  TiercastError,
} from "tiercast";
import type { Decided } from "./decide.js";
import { type Happening, happenings, type MemberHistory, type TimedEvent } from "./history.js";
import type { Latency } from "./latency.js";
import { DAY } from "./replay.js";
import type { Point } from "./timeline.js";

/** Days between two points of the charts. */
const STEP = 2;

/** Points between two saved states that the replay can go back to. */
const CHECKPOINT = 15;

interface Checkpoint {
  now: number;
  state: Uint8Array;
  /** The points at that moment, from which later ones go on when the events before are forgotten. */
  statement?: Statement | undefined;
}

/**
 * The member on stage, as known on the replay's day: going forward observes what happened meanwhile, going back
 * starts again from a saved state.
 */
export class Session {
  #member: Member;
  #upTo = Number.NEGATIVE_INFINITY;
  #events: TimedEvent[];
  #checkpoints: Checkpoint[];
  readonly #mine = new Set<TimedEvent>();
  /** The member as known at earlier moments, which decisions are about. */
  readonly #earlier = new Map<number, Member>();

  /** A member with a history's events, or with a saved state of which nothing else is known. */
  constructor(
    private readonly scorer: Scorer,
    private readonly latency: Latency,
    readonly history: MemberHistory,
    readonly savedState?: Uint8Array,
  ) {
    this.#member = savedState ? scorer.restoreState(savedState) : scorer.member();
    this.#events = history.events;
    this.#checkpoints = [{ now: this.#upTo, state: this.#member.saveState() }];
  }

  get member(): Member {
    return this.#member;
  }

  /** How many events the visitor added. */
  get mine(): number {
    return this.#mine.size;
  }

  /** Scores the member as known at `now`. */
  assess(now: number): Assessment {
    this.#moveTo(now);
    return this.latency.time(() => this.#member.assess(now));
  }

  /** How the member behaves as known at `now`, once there is something to know. */
  profile(now: number): Profile | undefined {
    this.#moveTo(now);
    return this.#member.eventCount > 0 ? this.#member.profile(now) : undefined;
  }

  /** What the member will buy next, as known at `now`. */
  recommend(now: number, options: RecommendOptions): Recommendation[] {
    this.#moveTo(now);
    return this.#member.recommend(options, now);
  }

  /** What is decided about the member as known at `now`, and the points; absent what the history does not give. */
  decide(now: number): Decided {
    this.#moveTo(now);
    const { info } = this.scorer;
    return {
      reward: info.reward && this.#decided("reward", now),
      assign: info.assign && this.#decided("assign", now),
      points: this.#points(now),
    };
  }

  /** Takes in an event of the visitor's own, or throws and changes nothing. */
  add(event: TimedEvent): void {
    this.#moveTo(event.time);
    const { tooLate } = this.#member.observe(event);
    if (tooLate) throw new TiercastError("too_late", "older than this member's history");
    this.#mine.add(event);
    this.#merge();
    this.#forgetEarlier();
    this.#checkpoints = this.#checkpoints.filter(({ now }) => now < event.time);
  }

  /** Forgets what the visitor added. */
  undo(): void {
    this.#mine.clear();
    this.#merge();
    this.#forgetEarlier();
    this.#checkpoints.length = 1;
    this.#goBack(Number.NEGATIVE_INFINITY);
  }

  happenings(): Happening[] {
    return happenings(this.#events, this.#mine);
  }

  /** The forecasts between two days, for the charts, from the first day that a restored history still reaches. */
  year(start: number, end: number): Point[] {
    const points: Point[] = [];
    let refusal: unknown;
    for (let day = start; day < end + STEP * DAY; day += STEP * DAY) {
      const now = Math.min(day, end) + DAY - 1;
      try {
        points.push({ now, assessment: this.assess(now) });
        if (points.length % CHECKPOINT === 0) this.#remember(now);
      } catch (error) {
        if (!(error instanceof TiercastError && error.code === "too_late")) throw error;
        refusal = error;
      }
    }
    if (points.length === 0) throw refusal;
    return points;
  }

  dispose(): void {
    this.#member.dispose();
    this.#forgetEarlier();
  }

  /**
   * A policy sees the member as known when the period began. Where the history of then is not kept any more, the member is
   * put together again as it was.
   */
  #decided(task: "assign" | "reward", now: number): Decision | undefined {
    const options = { member: this.history.name, now };
    return known(() => this.#member[task](options)) ?? known(() => this.#decidedThen(task, options));
  }

  #decidedThen(task: "assign" | "reward", options: { member: string; now: number }): Decision | undefined {
    const nobody = this.scorer.member();
    const before = Date.parse(nobody[task](options).periodStart) - 1;
    nobody.dispose();
    const then = this.#asOf(before);
    const risen = () => this.#member.assess(options.now).standing.tier > then.assess(before).standing.tier;
    // What the rules promise since then is not known to the member of then.
    return task === "assign" && risen() ? undefined : then[task](options);
  }

  #asOf(now: number): Member {
    const kept = this.#earlier.get(now);
    if (kept) return kept;
    const from = this.#checkpoints.findLast((checkpoint) => checkpoint.now <= now) ?? this.#checkpoints[0];
    const member = from ? this.scorer.restoreState(from.state) : this.scorer.member();
    member.observe(this.#events.filter(({ time }) => time > (from?.now ?? now) && time <= now));
    this.#earlier.set(now, member);
    return member;
  }

  #forgetEarlier(): void {
    for (const member of this.#earlier.values()) member.dispose();
    this.#earlier.clear();
  }

  #moveTo(now: number): void {
    if (now < this.#upTo) this.#goBack(now);
    this.#member.observe(this.#events.filter(({ time }) => time > this.#upTo && time <= now));
    this.#upTo = now;
  }

  #goBack(now: number): void {
    const from = this.#checkpoints.findLast((checkpoint) => checkpoint.now <= now) ?? this.#checkpoints[0];
    if (!from) return;
    this.#member.dispose();
    this.#member = this.scorer.restoreState(from.state);
    this.#upTo = from.now;
  }

  #remember(now: number): void {
    if ((this.#checkpoints.at(-1)?.now ?? 0) >= now) return;
    this.#checkpoints.push({ now, state: this.#member.saveState(), statement: this.#points(now) });
  }

  #points(now: number): Statement | undefined {
    if (!this.scorer.info.points) return undefined;
    const opening = this.#checkpoints.findLast((checkpoint) => checkpoint.now <= now)?.statement;
    return known(() => this.#member.points(opening ? { now, opening } : { now }));
  }

  #merge(): void {
    this.#events = [...this.history.events, ...this.#mine].sort((a, b) => a.time - b.time);
  }
}

/** What a call gives; nothing when it needs a history that was forgotten. */
function known<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof TiercastError && error.code === "too_late") return undefined;
    throw error;
  }
}

/** The tier held at the end of each period that the points contain to its end, by the period's first day. */
export function reached(points: Point[]): Map<string, string> {
  const tiers = new Map<string, string>();
  for (const { assessment } of points) tiers.set(assessment.standing.periodStart, assessment.standing.tierName);
  const last = points.at(-1)?.assessment;
  if (last && last.now < Date.parse(last.standing.periodEnd) + DAY - 1) tiers.delete(last.standing.periodStart);
  return tiers;
}
