/** Mean time of the most recent scores. Browsers round their clock, so one score alone cannot be timed. */
export class Latency {
  #recent: number[] = [];

  /** Runs one score and remembers how long it took. */
  time<T>(score: () => T): T {
    const before = performance.now();
    const result = score();
    this.#recent.push(performance.now() - before);
    if (this.#recent.length > 400) this.#recent.shift();
    return result;
  }

  get scores(): number {
    return this.#recent.length;
  }

  /** Microseconds a score, features included. */
  get microseconds(): number {
    return (this.#recent.reduce((sum, ms) => sum + ms, 0) * 1000) / Math.max(1, this.#recent.length);
  }
}
