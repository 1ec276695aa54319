import type { BundleInfo, Recommendation, Why } from "tiercast";
import { byId, el, setText } from "./dom.js";
import { inSentenceCase, percent } from "./format.js";

/** Items shown. */
const SHOWN = 6;
/** How much the list's order is given to diversity, where variety is asked for. */
const VARIETY = 0.3;

/** What the member will buy next, where the bundle recommends. */
export class RecommendView {
  readonly #list = byId("offers");
  readonly #newOnly = byId<HTMLInputElement>("offers-new");
  readonly #varied = byId<HTMLInputElement>("offers-varied");

  constructor(
    info: NonNullable<BundleInfo["recommend"]>,
    private readonly tiers: BundleInfo["tiers"],
    changed: () => void,
  ) {
    byId("recommend").hidden = false;
    setText(byId("offers-period"), `within ${info.periodDays} days, of ${info.items.toLocaleString("en")} items`);
    for (const box of [this.#newOnly, this.#varied]) box.addEventListener("change", changed);
  }

  /** What to ask the member for. */
  get options(): { count: number; newOnly: boolean; diversity: number } {
    return { count: SHOWN, newOnly: this.#newOnly.checked, diversity: this.#varied.checked ? VARIETY : 0 };
  }

  show(list: Recommendation[]): void {
    const most = Math.max(...list.map(({ probability }) => probability), Number.MIN_VALUE);
    this.#list.replaceChildren(...list.map((one) => this.#row(one, most)));
    byId("no-offers").hidden = list.length > 0;
    const welcome = list[0]?.reasons.find((why) => why.kind === "welcome");
    byId("offers-step").hidden = !welcome;
    setText(byId("offers-step"), welcome ? `A new member, at the shop’s welcome step “${welcome.step}”.` : "");
  }

  #row({ item, name, probability, reasons }: Recommendation, most: number): HTMLElement {
    const fill = el("i");
    fill.style.width = `${(probability / most) * 100}%`;
    const [why] = reasons;
    return el(
      "li",
      { title: `Item ${item}` },
      el("span", { class: "what" }, inSentenceCase(name ?? item)),
      el("span", { class: "track", "aria-hidden": "true" }, fill),
      el("span", { class: "value" }, percent(probability)),
      el("span", { class: "why" }, why ? this.#sentence(why) : ""),
    );
  }

  #sentence(why: Why): string {
    switch (why.kind) {
      case "habit":
        return why.orders === 2
          ? `Bought twice, last ${ago(why.daysSince)}`
          : `Bought ${why.orders} times, every ${days(why.everyDays)}; last ${ago(why.daysSince)}`;
      case "before":
        return `Bought once, ${ago(why.daysSince)}`;
      case "together":
        return `Bought by those who buy ${inSentenceCase(why.name ?? why.with)}`;
      case "category":
        return `${inSentenceCase(why.category)} is ${percent(why.share)} of what it buys lately`;
      case "popular":
        return `${percent(why.share)} of members bought it in the last period`;
      case "popularInTier":
        return `${percent(why.share)} of ${this.tiers[why.tier - 1]?.name ?? "such"} members buy it`;
      case "welcome":
        return `New here: ${why.step}`;
    }
  }
}

function days(number: number): string {
  const whole = Math.round(number);
  return whole <= 1 ? "day" : `${whole} days`;
}

function ago(number: number): string {
  const whole = Math.floor(number);
  return whole === 0 ? "today" : whole === 1 ? "yesterday" : `${whole} days ago`;
}
