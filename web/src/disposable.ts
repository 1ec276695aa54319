/** Adds `using` to a class with `dispose()`, in the engines that know it. */
export function disposable(prototype: Disposable & { dispose(): void }): void {
  // Older engines lack the symbol; a method of the name "undefined" would be no help.
  if (Symbol.dispose) prototype[Symbol.dispose] = prototype.dispose;
}
