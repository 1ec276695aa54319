import type { BundleInfo, Interest, Profile } from "tiercast";
import { byId, el, setText } from "./dom.js";
import { inSentenceCase, percent } from "./format.js";

/** How the member shops, where the bundle has profiles. */
export class ProfileView {
  readonly #interests = byId("interests");
  readonly #rows: { row: HTMLElement; name: HTMLElement; fill: HTMLElement; value: HTMLElement }[] = [];

  constructor(private readonly info: NonNullable<BundleInfo["profile"]>) {
    byId("profile").hidden = false;
  }

  /** Without a profile nothing is known of the member yet. */
  show(profile: Profile | undefined): void {
    setText(byId("segment"), profile ? inSentenceCase(profile.segmentName) : "Not known yet");
    setText(byId("segment-share"), profile ? this.#share(profile.segment) : "");
    setText(byId("churn"), profile ? percent(profile.churn) : "–");
    setText(byId("next-purchase"), profile ? days(profile.nextPurchase) : "–");
    this.#showInterests(profile?.interests ?? []);
  }

  #share(segment: number): string {
    const { segments } = this.info;
    return `${percent(segments[segment]?.share ?? 0)} of members, one of ${segments.length} segments`;
  }

  #showInterests(interests: Interest[]): void {
    while (this.#rows.length < interests.length) this.#addRow();
    this.#rows.forEach(({ row, name, fill, value }, i) => {
      const interest = interests[i];
      row.hidden = interest === undefined;
      if (!interest) return;
      setText(name, inSentenceCase(interest.category));
      name.title = interest.category;
      fill.style.width = `${interest.share * 100}%`;
      setText(value, percent(interest.share));
    });
    byId("no-interests").hidden = interests.length > 0;
  }

  #addRow(): void {
    const [name, fill, value] = [el("span", { class: "name" }), el("i"), el("span", { class: "value" })];
    const row = el("li", {}, name, el("span", { class: "track", "aria-hidden": "true" }, fill), value);
    this.#interests.append(row);
    this.#rows.push({ row, name, fill, value });
  }
}

function days(number: number): string {
  const whole = Math.max(1, Math.round(number));
  return whole === 1 ? "1 day" : `${whole} days`;
}
