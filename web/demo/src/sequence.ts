import type { Assessment, BundleInfo, Feature } from "tiercast";
import { byId, el, setText } from "./dom.js";
import { type Formats, inSentenceCase } from "./format.js";

/** What `tiercast train` calls a number of a step of the sequence, the latest step first: `order_1_amount`. */
const STEP = /^(order|day|event)_(\d+)_(\w+)$/;

/** What heads a column; the codes of names mean nothing to a person. */
const HEADS: Record<string, string> = {
  day: "Days ago",
  amount: "Amount",
  discount: "Discount",
  quantity: "Units",
  count: "Items",
};

/** Whether a feature is a number of a step of the sequence. */
export function isStep({ name }: Feature): boolean {
  return STEP.test(name);
}

/** A number of a step, and its place in the vector. */
interface Step {
  each: string;
  nth: number;
  of: string;
  feature: Feature;
  index: number;
}

interface Row {
  row: HTMLElement;
  cells: { step: Step; cell: HTMLElement }[];
}

/** The last orders as the networks read them: a row each, the latest first, folded away until somebody looks. */
export class SequenceView {
  readonly #details = byId<HTMLDetailsElement>("sequence");
  readonly #rows: Row[];
  #latest: Assessment | undefined;

  constructor(
    info: BundleInfo,
    private readonly formats: Formats,
  ) {
    const steps = info.features.flatMap(step);
    const columns = [...new Set(steps.map(({ of }) => of))];
    const last = Math.max(0, ...steps.map(({ nth }) => nth));
    this.#rows = Array.from({ length: last }, (_, i) => row(steps.filter(({ nth }) => nth === i + 1)));
    this.#details.hidden = last === 0;
    const each = steps[0]?.each ?? "";
    setText(byId("sequence-title"), `The last ${last} ${each}s, the latest first`);
    const heads = [inSentenceCase(each), ...columns.map((of) => HEADS[of] ?? "")];
    byId("sequence-heads").replaceChildren(...heads.map((head) => el("th", { scope: "col" }, head)));
    byId("sequence-rows").replaceChildren(...this.#rows.map(({ row }) => row));
    this.#details.addEventListener("toggle", () => this.#draw());
  }

  show(assessment: Assessment): void {
    this.#latest = assessment;
    this.#draw();
  }

  #draw(): void {
    if (!this.#details.open || !this.#latest) return;
    const { features } = this.#latest;
    const value = ({ index }: Step) => features[index] ?? Number.NaN;
    for (const { row, cells } of this.#rows) {
      // A member with fewer orders has no number of any kind there.
      row.hidden = cells.every(({ step }) => Number.isNaN(value(step)));
      for (const { step, cell } of cells) setText(cell, this.#text(step, value(step)));
    }
    const none = this.#rows.every(({ row }) => row.hidden);
    byId("sequence-none").hidden = !none;
    byId("sequence-table").hidden = none;
  }

  #text({ of, feature }: Step, value: number): string {
    return of === "day" ? String(Math.floor(value)) : this.formats.feature(feature, value);
  }
}

function step(feature: Feature, index: number): Step[] {
  const [, each = "", nth = "", of = ""] = STEP.exec(feature.name) ?? [];
  return of in HEADS ? [{ each, nth: Number(nth), of, feature, index }] : [];
}

function row(steps: Step[]): Row {
  const cells = steps.map((step) => ({ step, cell: el("td") }));
  const nth = el("th", { scope: "row" }, String(steps[0]?.nth ?? ""));
  return { row: el("tr", {}, nth, ...cells.map(({ cell }) => cell)), cells };
}
