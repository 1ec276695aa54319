import type { BundleInfo } from "tiercast";
import { byId, el } from "./dom.js";
import { type Formats, inSentenceCase } from "./format.js";
import type { Happening } from "./history.js";

/** How many of the latest happenings are listed. */
const SHOWN = 8;

/** The latest things that happened up to the day, newest first. */
export class FeedView {
  #all: Happening[] = [];
  #shown = -1;
  #none = "";

  constructor(
    private readonly info: BundleInfo,
    private readonly formats: Formats,
  ) {}

  draw(all: Happening[], restored: boolean): void {
    this.#none = restored ? "This history is inside the saved state; only what you add is listed." : "Nothing yet.";
    this.#all = all;
    this.#shown = -1;
  }

  show(now: number): void {
    const after = this.#all.findIndex(({ time }) => time > now);
    const count = after < 0 ? this.#all.length : after;
    if (count === this.#shown) return;
    this.#shown = count;
    const latest = this.#all.slice(Math.max(0, count - SHOWN), count).reverse();
    byId("feed").replaceChildren(
      ...(latest.length ? latest.map((happening) => this.#row(happening)) : [el("li", { class: "empty" }, this.#none)]),
    );
  }

  #row({ time, kind, lines, mine }: Happening): HTMLElement {
    const spent = lines.reduce((sum, line) => sum + this.#minor(line.amount, line.amountMinor), 0);
    const named = [...new Set(lines.map((line) => line.category ?? line.item).filter((name) => name !== undefined))];
    const detail =
      named.slice(0, 3).map(inSentenceCase).join(", ") + (named.length > 3 ? ` and ${named.length - 3} more` : "");
    const what = lines.length > 1 ? `${inSentenceCase(kind)}, ${lines.length} items` : inSentenceCase(kind);
    return el(
      "li",
      mine ? { class: "mine" } : {},
      el("time", { datetime: new Date(time).toISOString() }, this.formats.time(time)),
      el("span", { class: "what" }, mine ? `${what} (yours)` : what),
      el("span", { class: "value" }, spent ? `${kind === "return" ? "−" : ""}${this.formats.money(spent)}` : ""),
      el("span", { class: "detail" }, detail),
    );
  }

  #minor(major: number | string | undefined, minor: number | undefined): number {
    return minor ?? Math.round(Number(major ?? 0) * 10 ** this.info.currency.exponent);
  }
}
