import { Scorer } from "tiercast";
import { namePeriod, showAbout } from "./about.js";
import { DecideView } from "./decide.js";
import { byId, el, setText } from "./dom.js";
import { EventForm } from "./event-form.js";
import { FeaturesView } from "./features.js";
import { FeedView } from "./feed.js";
import { ForecastView } from "./forecast.js";
import { Formats } from "./format.js";
import { loadHistories, type MemberHistory } from "./history.js";
import { Latency } from "./latency.js";
import { inWords } from "./mistakes.js";
import { worthWatching } from "./opening.js";
import { ProfileView } from "./profile.js";
import { RecommendView } from "./recommend.js";
import { DAY, Replay } from "./replay.js";
import { SequenceView } from "./sequence.js";
import { reached, Session } from "./session.js";
import { StandingView } from "./standing.js";
import { StateFile } from "./state-file.js";
import { type Point, Timeline } from "./timeline.js";

/** How far into the year the page opens: far enough that there is something to see. */
const OPENING = 0.62;

/** Someone of whom nothing is known yet. */
const NOBODY: MemberHistory = { name: "New member", events: [] };

async function start(): Promise<void> {
  const before = performance.now();
  const [scorer, histories] = await Promise.all([
    Scorer.load(new URL("bundle.tcb", location.href)),
    loadHistories("members.json"),
  ]);
  const app = new App(scorer, histories, performance.now() - before);
  byId("app").hidden = false;
  byId("status").hidden = true;
  app.open(worthWatching(scorer, histories) ?? NOBODY);
}

/** Wires the views to the replay and to the member on stage. */
class App {
  readonly #latency = new Latency();
  readonly #replay: Replay;
  readonly #timeline: Timeline;
  readonly #standing: StandingView;
  readonly #forecast: ForecastView;
  readonly #profile: ProfileView | undefined;
  readonly #recommend: RecommendView | undefined;
  readonly #decide: DecideView | undefined;
  readonly #features: FeaturesView;
  readonly #sequence: SequenceView;
  readonly #feed: FeedView;
  readonly #form: EventForm;
  readonly #stateFile: StateFile;
  #session: Session;
  #announcement = 0;
  /** The choice that stands for a restored state, and what choosing it again does. */
  readonly #fromFile = el("option", { hidden: true });
  #reopen = () => {};
  /** The first day of all members. */
  readonly #first: number;

  constructor(
    private readonly scorer: Scorer,
    histories: MemberHistory[],
    private readonly loadMs: number,
  ) {
    const { info } = scorer;
    const formats = new Formats(info);
    const { start, end } = span(histories);
    this.#first = start;
    const opening = start + OPENING * (end - start);
    this.#replay = new Replay(
      start,
      end,
      opening,
      () => this.#show(),
      (playing) => this.#onPlaying(playing),
    );
    this.#timeline = new Timeline(this.#replay, info, formats);
    this.#standing = new StandingView(info, formats);
    this.#forecast = new ForecastView(info);
    this.#profile = info.profile && new ProfileView(info.profile);
    this.#recommend = info.recommend && new RecommendView(info.recommend, info.tiers, () => this.#show());
    this.#decide = DecideView.has(info) ? new DecideView(info, formats) : undefined;
    this.#features = new FeaturesView(this.#replay, info, formats);
    this.#sequence = new SequenceView(info, formats);
    this.#feed = new FeedView(info, formats);
    this.#session = new Session(scorer, this.#latency, NOBODY);
    this.#form = new EventForm(
      info,
      formats,
      () => this.#replay.now,
      (event) => this.#changed(() => this.#session.add(event)),
      () => this.#changed(() => this.#session.undo()),
    );
    this.#stateFile = new StateFile(
      () => ({ name: this.#session.history.name, state: this.#session.member }),
      (bytes, name) => this.#restore(bytes, name),
    );
    namePeriod(info);
    showAbout(info);
    this.#listen(histories);
  }

  open(history: MemberHistory): void {
    byId<HTMLSelectElement>("member").value = history.name;
    this.#stage(new Session(this.scorer, this.#latency, history));
  }

  #restore(bytes: Uint8Array, name: string): void {
    this.#stage(new Session(this.scorer, this.#latency, { name, events: [] }, bytes));
    this.#fromFile.replaceChildren(`${name}, from a file`);
    this.#fromFile.hidden = false;
    this.#fromFile.selected = true;
    this.#reopen = () => this.#restore(bytes, name);
  }

  #listen(histories: MemberHistory[]): void {
    const select = byId<HTMLSelectElement>("member");
    select.replaceChildren(
      ...histories.map(({ name, events }) =>
        el("option", { value: name }, `${name} · ${events.length.toLocaleString("en")} events`),
      ),
      el("option", { value: NOBODY.name }, "A new member"),
      this.#fromFile,
    );
    select.addEventListener("change", () => {
      if (this.#fromFile.selected) this.#reopen();
      else this.open(histories.find(({ name }) => name === select.value) ?? NOBODY);
    });
    byId("play").addEventListener("click", () => this.#replay.toggle());
    const speed = byId<HTMLSelectElement>("speed");
    speed.addEventListener("change", () => {
      this.#replay.daysPerSecond = Number(speed.value);
    });
  }

  /** Puts a member on stage; when it cannot be shown, the one before stays. */
  #stage(session: Session): void {
    const points = this.#year(session);
    this.#session.dispose();
    this.#session = session;
    this.#form.offer(session.history.events);
    this.#draw(points);
  }

  /** Redraws after `change`; when it throws, nothing has changed. */
  #changed(change: () => void): void {
    change();
    this.#draw(this.#year(this.#session));
  }

  #year(session: Session): Point[] {
    return session.year(this.#first, this.#replay.end);
  }

  #draw(points: Point[]): void {
    this.#replay.startAt(points[0]?.now ?? this.#first);
    this.#timeline.draw(points, reached(points));
    this.#features.draw(points);
    this.#feed.draw(this.#session.happenings(), this.#session.savedState !== undefined);
    this.#show();
  }

  #show(): void {
    const { now } = this.#replay;
    const assessment = this.#session.assess(now);
    const summary = this.#forecast.summary(assessment);
    this.#timeline.move(assessment, summary);
    this.#standing.show(assessment.standing);
    this.#forecast.show(assessment);
    this.#profile?.show(this.#session.profile(now));
    this.#recommend?.show(this.#session.recommend(now, this.#recommend.options));
    this.#decide?.show(this.#session.decide(now), assessment.standing);
    this.#features.show(assessment);
    this.#sequence.show(assessment);
    this.#feed.show(now);
    this.#form.show(now, this.#session.mine);
    this.#stateFile.show();
    const { microseconds, scores } = this.#latency;
    setText(
      byId("latency"),
      `${microseconds.toFixed(0)} µs a score, features included: the mean of the last ${scores} scores on this device. Loaded in ${this.loadMs.toFixed(0)} ms.`,
    );
    if (!this.#replay.playing) this.#announce(`${summary}. ${this.#standing.nextStep(assessment.standing)}.`);
  }

  /** Tells assistive technology once things have come to rest, not on every day that passes. */
  #announce(text: string): void {
    clearTimeout(this.#announcement);
    this.#announcement = window.setTimeout(() => setText(byId("live"), text), 600);
  }

  #onPlaying(playing: boolean): void {
    byId("play").classList.toggle("playing", playing);
    setText(byId("play-label"), playing ? "Pause" : "Play");
    if (!playing) this.#show();
  }
}

/** The days that the members' events lie in. */
function span(histories: MemberHistory[]): { start: number; end: number } {
  const times = histories
    .flatMap(({ events }) => [events[0]?.time, events.at(-1)?.time])
    .filter((t) => t !== undefined);
  const day = (ms: number) => Math.floor(ms / DAY) * DAY;
  const end = day(times.length ? Math.max(...times) : Date.now());
  return { start: times.length ? day(Math.min(...times)) : end - 365 * DAY, end };
}

start().catch((error: unknown) => {
  const { text, code } = inWords(error);
  byId("status").replaceChildren("The page could not start. ", text, " ", el("code", {}, code));
  throw error;
});
