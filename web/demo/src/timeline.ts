import type { Assessment, BundleInfo } from "tiercast";
import { byId, el, setText, svg } from "./dom.js";
import type { Formats } from "./format.js";
import { DAY, type Replay } from "./replay.js";
import { tierColor } from "./tiers.js";

const WIDTH = 1000;
const HEIGHT = 160;

/** A moment of the year and what was forecast then. */
export interface Point {
  now: number;
  assessment: Assessment;
}

/** The year at a glance: stacked tier probabilities, the periods beneath, and the day under the hand. */
export class Timeline {
  readonly #chart = byId<SVGSVGElement>("chart");
  readonly #scrub = byId<HTMLInputElement>("scrub");
  readonly #past = svg("rect", { y: 0, height: HEIGHT, x: 0 });
  readonly #areas = svg("g");
  readonly #dimmed = svg("g", { class: "ahead" });
  readonly #cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT });

  constructor(
    private readonly replay: Replay,
    private readonly info: BundleInfo,
    private readonly formats: Formats,
  ) {
    const clip = svg("clipPath", { id: "past" }, this.#past);
    const shown = svg("g", { "clip-path": "url(#past)" }, this.#areas);
    this.#chart.replaceChildren(svg("defs", {}, clip), this.#dimmed, shown, this.#cursor);
    byId("legend").replaceChildren(
      ...info.tiers.map((tier, i) => {
        const swatch = el("i");
        swatch.style.background = tierColor(i, info.tiers.length);
        return el("span", {}, swatch, tier.name);
      }),
    );
    this.#scrub.addEventListener("input", () => {
      replay.pause();
      replay.seek(Number(this.#scrub.value) * DAY);
    });
  }

  /** Draws a year's forecasts; the days ahead stay faint until the replay reaches them. */
  draw(points: Point[], reached: Map<string, string>): void {
    this.#scrub.min = String(this.replay.start / DAY);
    this.#scrub.max = String(this.replay.end / DAY);
    const paths = stack(points, this.info.tiers.length, (now) => this.#x(now));
    const draw = () =>
      paths.map((d, i) => {
        const path = svg("path", { d });
        path.style.fill = tierColor(i, paths.length);
        return path;
      });
    this.#areas.replaceChildren(...draw());
    this.#dimmed.replaceChildren(...draw());
    this.#drawPeriods(points, reached);
  }

  /** Moves the cursor to the replay's day. */
  move(assessment: Assessment, summary: string): void {
    const x = this.#x(this.replay.now);
    this.#past.setAttribute("width", String(x));
    this.#cursor.setAttribute("x1", String(x));
    this.#cursor.setAttribute("x2", String(x));
    this.#scrub.value = String(this.replay.day / DAY);
    this.#scrub.setAttribute("aria-valuetext", `${this.formats.day(this.replay.day)}: ${summary}`);
    setText(byId("date"), this.formats.day(assessment.now));
  }

  #drawPeriods(points: Point[], reached: Map<string, string>): void {
    const standings = new Map(points.map(({ assessment: { standing } }) => [standing.periodStart, standing]));
    byId("periods").replaceChildren(
      ...[...standings.values()].map((standing) => {
        const [first, last] = [Date.parse(standing.periodStart), Date.parse(standing.periodEnd)];
        const from = Math.max(first, this.replay.start);
        const to = Math.min(last, this.replay.end) + DAY;
        const segment = el("div");
        segment.style.flexGrow = String(to - from);
        // The first and the last period may be a few days wide: too narrow to be named.
        if ((to - from) / (this.replay.end - this.replay.start) < 0.1) return segment;
        segment.append(
          el("span", {}, this.formats.period(first, last)),
          el("span", {}, ...reachedIn(reached.get(standing.periodStart))),
        );
        return segment;
      }),
    );
  }

  #x(now: number): number {
    const { start, end } = this.replay;
    return ((now - (start + DAY - 1)) / (end - start || DAY)) * WIDTH;
  }
}

function reachedIn(tier: string | undefined): (Node | string)[] {
  return tier ? [el("b", {}, tier), " reached"] : ["still open"];
}

/** One closed path a tier, the lowest tier at the bottom. */
function stack(points: Point[], tiers: number, x: (now: number) => number): string[] {
  const xs = points.map(({ now }) => x(now).toFixed(1));
  let floor = points.map(() => 0);
  const paths: string[] = [];
  for (let tier = 0; tier < tiers; tier++) {
    const ceiling = points.map(({ assessment }, i) => (floor[i] ?? 0) + (assessment.probabilities[tier] ?? 0));
    const edge = (heights: number[]) => heights.map((h, i) => `${xs[i]} ${(HEIGHT * (1 - h)).toFixed(1)}`);
    paths.push(`M${edge(ceiling).join("L")}L${edge(floor).reverse().join("L")}Z`);
    floor = ceiling;
  }
  return paths;
}
