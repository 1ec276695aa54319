import type { Assessment, BundleInfo } from "tiercast";
import { byId, el, setText } from "./dom.js";
import { percent } from "./format.js";
import { tierColor } from "./tiers.js";

/** The forecast tier and how likely each tier is. */
export class ForecastView {
  readonly #rows: { row: HTMLElement; fill: HTMLElement; value: HTMLElement }[];

  constructor(info: BundleInfo) {
    this.#rows = info.tiers.map((tier, i) => {
      const fill = el("i");
      fill.style.background = tierColor(i, info.tiers.length);
      const value = el("span", { class: "value" });
      const row = el(
        "li",
        {},
        el("span", { class: "name" }, tier.name),
        el("span", { class: "track", "aria-hidden": "true" }, fill),
        value,
      );
      return { row, fill, value };
    });
    // The highest tier on top, as on every ladder.
    byId("bars").replaceChildren(...this.#rows.map(({ row }) => row).reverse());
  }

  show(assessment: Assessment): void {
    setText(byId("forecast-tier"), assessment.tierName);
    setText(byId("forecast-chance"), chance(assessment));
    this.#rows.forEach(({ row, fill, value }, i) => {
      const probability = assessment.probabilities[i] ?? 0;
      fill.style.width = `${probability * 100}%`;
      setText(value, percent(probability));
      row.classList.toggle("chosen", i === assessment.tier - 1);
    });
    const warnings = byId("warnings");
    warnings.hidden = assessment.warnings.length === 0;
    setText(warnings, assessment.warnings.map((text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`).join(" "));
  }

  /** One sentence for the timeline and the live region. */
  summary(assessment: Assessment): string {
    return `forecast ${assessment.tierName}, ${chance(assessment)}; so far ${assessment.standing.tierName}`;
  }
}

/** How sure the forecast is: of the tier or better, since reaching more than one was promised is no failure. */
function chance({ tier, probabilities }: Assessment): string {
  if (tier === 1) return `${percent(probabilities[0] ?? 0)} likely`;
  const orBetter = probabilities.slice(tier - 1).reduce((sum, p) => sum + p, 0);
  return tier === probabilities.length ? `${percent(orBetter)} likely` : `${percent(orBetter)} likely or better`;
}
