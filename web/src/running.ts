import { asTiercastError, TiercastError } from "./errors.js";

/**
 * The JavaScript that is generated with a WebAssembly module; that of every build has this shape.
 *
 * @internal
 */
export type Binding = typeof import("../pkg/tiercast_wasm.js");

/** A mark at the start of a text is part of it: a name must come out as it is. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * An engine that runs: its calls, and what they leave in its memory (`wasm/src/left.rs`).
 *
 * @internal
 */
export class Running {
  constructor(
    readonly binding: Binding,
    readonly memory: WebAssembly.Memory,
  ) {}

  /** The same numbers outside the engine's memory, where they are while a call makes it grow. */
  outside<T extends Float32Array | Uint8Array>(numbers: T): T {
    return numbers.buffer === this.memory.buffer ? (numbers.slice() as T) : numbers;
  }

  /** What a call returns; a call that was refused returns nothing or false, and this throws why. */
  done<T>(call: () => T): NonNullable<T> {
    let outcome: T;
    try {
      outcome = call();
    } catch (cause) {
      throw asTiercastError(cause);
    }
    if (!outcome) throw this.refusal();
    return outcome;
  }

  /** Why the last call was refused. */
  refusal(): TiercastError {
    return asTiercastError(this.text());
  }

  /** The text that the last call left. */
  text(): string {
    const { binding } = this;
    return utf8.decode(new Uint8Array(this.memory.buffer, binding.left(), binding.leftLength()));
  }

  /** A copy of the bytes that the last call left. */
  bytes(): ArrayBuffer {
    const at = this.binding.left();
    return (this.memory.buffer as ArrayBuffer).slice(at, at + this.binding.leftLength());
  }
}
