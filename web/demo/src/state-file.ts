import type { Member } from "tiercast";
import { byId, el, setText } from "./dom.js";
import { showMistake } from "./mistakes.js";

/** Saving the member's state into a file, and opening one. */
export class StateFile {
  readonly #error = byId("state-error");

  constructor(
    private readonly member: () => { name: string; state: Member },
    private readonly restore: (bytes: Uint8Array, name: string) => void,
  ) {
    byId("save").addEventListener("click", () => this.#save());
    const chosen = byId<HTMLInputElement>("restore");
    chosen.addEventListener("change", async () => {
      const file = chosen.files?.[0];
      chosen.value = "";
      if (file) this.#open(new Uint8Array(await file.arrayBuffer()), file.name);
    });
  }

  /** Says how large the file would be. */
  show(): void {
    const { state } = this.member();
    const kilobytes = (state.saveState().length / 1000).toFixed(1);
    setText(byId("state-size"), `This one is ${kilobytes} kB for ${state.eventCount.toLocaleString("en")} events.`);
  }

  #save(): void {
    const { name, state } = this.member();
    const url = URL.createObjectURL(new Blob([state.saveState() as BlobPart], { type: "application/octet-stream" }));
    el("a", { href: url, download: `${name.toLowerCase().replace(/[^\w-]+/g, "-")}.state` }).click();
    // Some browsers read the address only after this turn.
    setTimeout(() => URL.revokeObjectURL(url));
  }

  #open(bytes: Uint8Array, fileName: string): void {
    this.#error.replaceChildren();
    try {
      this.restore(bytes, fileName.replace(/\.state$/, ""));
    } catch (error) {
      showMistake(this.#error, error);
    }
  }
}
