import { TiercastError } from "tiercast";

/** A refusal in words for someone who is not a programmer; the code stays visible for someone who is. */
export function inWords(error: unknown): { text: string; code: string } {
  const code = error instanceof TiercastError ? error.code : "internal";
  const known: Record<string, string> = {
    invalid_amount:
      "That amount cannot be used. Write a number from 0 up with at most two decimals, such as 24.90. For money paid back choose “Return”.",
    invalid_text: "Category and item can be up to 256 bytes long; please shorten the text.",
    invalid_time: "That day is outside what can be scored.",
    unknown_kind: "This model does not know that kind of event; choose another.",
    too_late: "That is further back than this member’s history is kept.",
    invalid_state:
      "This file is not a member’s state, or it was changed or cut off. Choose a file that this page saved.",
    state_version: "This state was saved by another version of Tiercast and cannot be read here.",
    schema_mismatch: "This state was saved for a shop with another currency or other kinds of events.",
  };
  const text = known[code] ?? (error instanceof Error ? error.message : String(error));
  return { text, code };
}

/** Shows a refusal beside what caused it. */
export function showMistake(place: HTMLElement, error: unknown): void {
  const { text, code } = inWords(error);
  const tag = document.createElement("code");
  tag.textContent = code;
  place.replaceChildren(text, " ", tag);
}
