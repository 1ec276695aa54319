import type { Engine } from "./engine.js";

/** What differs between browsers, Node and workerd. Each entry file sets it once, before anything else runs. */
export interface Platform {
  /** The package's own engines, the smallest first: a model that one cannot run is given to the next. */
  engines: readonly Engine[];
  /** Reads what a string or URL names. */
  open(location: string | URL): Promise<Response | Uint8Array>;
}

/** Where the WebAssembly can come from. */
export type WasmSource = WasmModule | BytesSource;

// Node's types do not declare WebAssembly, so that naming it here would break programs without the DOM's types.
type WasmModule = typeof globalThis extends { WebAssembly: { Module: { prototype: infer Module } } } ? Module : object;

/** Where bytes can come from: themselves, or something that leads to them. */
export type BytesSource = string | URL | Request | Response | ArrayBuffer | ArrayBufferView;

let current: Platform | undefined;

export function setPlatform(platform: Platform): void {
  current = platform;
}

export function platform(): Platform {
  if (!current) throw new Error("import tiercast by its package name, not by an inner file");
  return current;
}
