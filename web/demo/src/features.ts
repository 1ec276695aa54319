import type { Assessment, BundleInfo, Feature } from "tiercast";
import { byId, el, setText, svg } from "./dom.js";
import { type Formats, featureName } from "./format.js";
import { DAY, type Replay } from "./replay.js";
import { isStep } from "./sequence.js";
import type { Point } from "./timeline.js";

/** So that a position is a percentage as well. */
const WIDTH = 100;
const HEIGHT = 24;

/** How many features are shown before "Show all": of each family of names the first, then the second, and so on. */
const FIRST = 12;

interface Row {
  feature: Feature;
  /** Its place in the vector. */
  index: number;
  value: HTMLElement;
  line: SVGPathElement;
  dot: HTMLElement;
  ahead: HTMLElement;
  y: (value: number) => number;
}

/** Each feature's value on the day and its course through the year; the sequence's steps have a table of their own. */
export class FeaturesView {
  readonly #rows: Row[];

  constructor(
    private readonly replay: Replay,
    info: BundleInfo,
    private readonly formats: Formats,
  ) {
    const places = [...info.features.entries()].filter(([, feature]) => !isStep(feature));
    this.#rows = places.map(([index, feature]) => addRow(feature, index));
    this.#revealAll();
  }

  draw(points: Point[]): void {
    for (const row of this.#rows) {
      const values = points.map(({ assessment }) => assessment.features[row.index] ?? Number.NaN);
      row.y = scale(values);
      row.line.setAttribute(
        "d",
        course(points, values, (now) => this.#x(now), row.y),
      );
    }
  }

  show(assessment: Assessment): void {
    const x = this.#x(assessment.now);
    for (const row of this.#rows) {
      const value = assessment.features[row.index] ?? Number.NaN;
      setText(row.value, this.formats.feature(row.feature, value));
      row.dot.hidden = Number.isNaN(value);
      row.dot.style.left = `${x}%`;
      row.ahead.style.left = `${x}%`;
      row.dot.style.top = `${(row.y(value) / HEIGHT) * 100}%`;
    }
  }

  #x(now: number): number {
    const { start, end } = this.replay;
    return ((now - (start + DAY - 1)) / (end - start || DAY)) * WIDTH;
  }

  #revealAll(): void {
    const list = byId("feature-list");
    const button = byId<HTMLButtonElement>("all-features");
    button.hidden = this.#rows.length <= FIRST;
    const first = firstOfFamilies(this.#rows.map(({ feature }) => feature.name));
    const set = (all: boolean) => {
      button.setAttribute("aria-expanded", String(all));
      setText(button, all ? "Show fewer" : `Show all ${this.#rows.length}`);
      [...list.children].forEach((row, i) => {
        (row as HTMLElement).hidden = !all && !first.has(i);
      });
    };
    button.addEventListener("click", () => set(button.getAttribute("aria-expanded") !== "true"));
    set(false);
  }
}

function addRow(feature: Feature, index: number): Row {
  const value = el("span", { class: "value" });
  const line = svg("path", { "vector-effect": "non-scaling-stroke" });
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" }, line);
  const dot = el("i");
  const ahead = el("b");
  const spark = el("div", { class: "spark", "aria-hidden": "true" }, chart, ahead, dot);
  const name = el(
    "dt",
    { title: feature.description },
    featureName(feature),
    el("span", { class: "sr" }, `: ${feature.description}`),
  );
  byId("feature-list").append(el("div", {}, name, el("dd", {}, value, spark)));
  return { feature, index, value, line, dot, ahead, y: () => HEIGHT };
}

function firstOfFamilies(names: string[]): Set<number> {
  const family = (name: string) => name.split("_")[0];
  const rank = (i: number) => names.slice(0, i).filter((name) => family(name) === family(names[i] ?? "")).length;
  const order = [...names.keys()].sort((a, b) => rank(a) - rank(b) || a - b);
  return new Set(order.slice(0, FIRST));
}

function scale(values: number[]): (value: number) => number {
  const known = values.filter((value) => !Number.isNaN(value));
  const low = Math.min(0, ...known);
  const high = Math.max(low + Number.EPSILON, ...known);
  return (value) => (Number.isNaN(value) ? HEIGHT : HEIGHT - 2 - ((value - low) / (high - low)) * (HEIGHT - 4));
}

/** A line through the known values, broken where the feature is missing. */
function course(points: Point[], values: number[], x: (now: number) => number, y: (value: number) => number): string {
  let pen = "M";
  return values
    .map((value, i) => {
      if (Number.isNaN(value)) {
        pen = "M";
        return "";
      }
      const step = `${pen}${x(points[i]?.now ?? 0).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
      return step;
    })
    .join("");
}
