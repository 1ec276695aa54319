import type { BundleInfo, Standing } from "tiercast";
import { byId, el, setText } from "./dom.js";
import type { Formats } from "./format.js";
import { tierColor } from "./tiers.js";

/** Where the member stands by the shop's own rules, and how far the next tier is. */
export class StandingView {
  readonly #rungs: { fill: HTMLElement; label: HTMLElement }[];

  constructor(
    private readonly info: BundleInfo,
    private readonly formats: Formats,
  ) {
    this.#rungs = info.tiers.map((tier, i) => {
      const fill = el("i");
      fill.style.background = tierColor(i, info.tiers.length);
      const label = el("span", {}, el("b", {}, tier.name), el("small", {}, formats.roundMoney(tier.atLeastMinor)));
      return { fill, label };
    });
    byId("ladder").replaceChildren(
      ...this.#rungs.map(({ fill, label }) => el("div", {}, el("div", { class: "rung" }, fill), label)),
    );
  }

  show(standing: Standing): void {
    const { tiers } = this.info;
    const start = this.formats.shortDay(Date.parse(standing.periodStart));
    setText(byId("standing-tier"), standing.tierName);
    setText(
      byId("standing-spend"),
      `${standing.exact ? "" : "at least "}${this.formats.money(standing.spendMinor)} since ${start}`,
    );
    setText(byId("standing-next"), this.nextStep(standing));
    this.#rungs.forEach(({ fill, label }, i) => {
      const from = tiers[i]?.atLeastMinor ?? 0;
      const to = tiers[i + 1]?.atLeastMinor;
      // The top tier has no end: it is full as soon as it is reached.
      const share = to === undefined ? Number(standing.spendMinor >= from) : (standing.spendMinor - from) / (to - from);
      fill.style.width = `${Math.min(Math.max(share, 0), 1) * 100}%`;
      label.classList.toggle("held", i === standing.tier - 1);
    });
  }

  /** "$42.00 more by 31 March for Gold". */
  nextStep({ next }: Standing): string {
    if (!next) return "The highest tier is reached";
    return `${this.formats.money(next.amountMinor)} more by ${this.formats.shortDay(Date.parse(next.by))} for ${next.tierName}`;
  }
}
