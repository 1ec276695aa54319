import type { BundleInfo } from "tiercast";
import { byId, el, setText } from "./dom.js";

/** What the bundle says of its model, and of what a tier means in it. */
export function showAbout(info: BundleInfo): void {
  const { summary, notes } = readCard(info.card);
  setText(
    byId("model"),
    `${info.name} ${info.version}, a ${info.model} model by ${info.producer}. ${summary ? `${summary}.` : ""}`,
  );
  byId("notes").replaceChildren(...notes.map((note) => el("li", {}, note)));
  byId("about").hidden = false;
}

/** Says the shop's period by its name wherever the page speaks of it. */
export function namePeriod({ period }: BundleInfo): void {
  const name = typeof period === "string" && period !== "half" ? period : period === "half" ? "half-year" : "period";
  for (const place of document.querySelectorAll("[data-period]")) setText(place, name);
}

/** A card is free-form: what is not as expected is left out. */
function readCard(card: unknown): { summary: string; notes: string[] } {
  const { summary, notes } = (card ?? {}) as { summary?: unknown; notes?: unknown };
  return {
    summary: typeof summary === "string" ? summary : "",
    notes: Array.isArray(notes) ? notes.filter((note) => typeof note === "string") : [],
  };
}
