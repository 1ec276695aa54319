import type { BundleInfo } from "tiercast";
import { byId, el, setText } from "./dom.js";
import type { Formats } from "./format.js";
import type { TimedEvent } from "./history.js";
import { showMistake } from "./mistakes.js";

/** The form that adds an event of the visitor's own on the replay's day. */
export class EventForm {
  readonly #form = byId<HTMLFormElement>("add");
  readonly #kind = byId<HTMLSelectElement>("kind");
  readonly #amount = byId<HTMLInputElement>("amount");
  readonly #category = byId<HTMLInputElement>("category");
  readonly #item = byId<HTMLInputElement>("item");
  readonly #error = byId("add-error");
  readonly #undo = byId<HTMLButtonElement>("undo");

  /** `add` observes the event or throws; `undo` forgets all that were added. */
  constructor(
    info: BundleInfo,
    private readonly formats: Formats,
    private readonly time: () => number,
    private readonly add: (event: TimedEvent) => void,
    undo: () => void,
  ) {
    this.#kind.replaceChildren(
      ...info.eventKinds.map((kind) => el("option", { value: kind }, kind.charAt(0).toUpperCase() + kind.slice(1))),
    );
    setText(byId("amount-unit"), `(${formats.symbol})`);
    this.#form.addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#send();
    });
    this.#form.addEventListener("input", () => this.#clearError());
    this.#undo.addEventListener("click", () => {
      undo();
      this.#amount.focus();
    });
  }

  /** Offers the categories that the history buys from. */
  offer(events: TimedEvent[]): void {
    const categories = new Set(events.map(({ category }) => category).filter((name) => name !== undefined));
    byId("categories").replaceChildren(...[...categories].sort().map((value) => el("option", { value })));
  }

  /** Follows the replay: the day that an event would be added on, and how many were. */
  show(now: number, mine: number): void {
    setText(byId("add-date"), this.formats.day(now));
    this.#undo.hidden = mine === 0;
    setText(this.#undo, mine > 1 ? `Remove my ${mine} events` : "Remove my event");
  }

  #send(): void {
    this.#clearError();
    try {
      this.add(this.#event());
      this.#amount.value = "";
      this.#item.value = "";
      this.#amount.focus();
    } catch (error) {
      showMistake(this.#error, error);
      this.#amount.setAttribute("aria-invalid", "true");
      this.#amount.focus();
    }
  }

  /** The event as typed: checking it is the scorer's business. */
  #event(): TimedEvent {
    const event: TimedEvent = { kind: this.#kind.value, time: this.time(), id: crypto.randomUUID() };
    const typed = { amount: this.#amount, category: this.#category, item: this.#item };
    for (const [field, input] of Object.entries(typed) as [keyof typeof typed, HTMLInputElement][]) {
      const text = input.value.trim();
      if (text) event[field] = text;
    }
    return event;
  }

  #clearError(): void {
    this.#error.replaceChildren();
    this.#amount.removeAttribute("aria-invalid");
  }
}
