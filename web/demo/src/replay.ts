export const DAY = 86_400_000;

/**
 * The clock of the replay: a position in time that plays, pauses and jumps, in whole days.
 *
 * `now` is the last millisecond of the day, so that a day's purchases count on that day.
 */
export class Replay {
  #position: number;
  #frame = 0;
  #previous = 0;
  daysPerSecond = 7;

  constructor(
    public start: number,
    readonly end: number,
    opening: number,
    private readonly onDay: () => void,
    private readonly onPlaying: (playing: boolean) => void,
  ) {
    this.#position = opening;
  }

  get day(): number {
    return Math.floor(this.#position / DAY) * DAY;
  }

  get now(): number {
    return this.day + DAY - 1;
  }

  get playing(): boolean {
    return this.#frame !== 0;
  }

  /** Says from which day on there is something to replay. */
  startAt(start: number): void {
    this.start = Math.floor(start / DAY) * DAY;
    this.#position = Math.max(this.#position, this.start);
  }

  /** Jumps to a day. */
  seek(position: number): void {
    const before = this.day;
    this.#position = Math.min(Math.max(position, this.start), this.end);
    if (this.day !== before) this.onDay();
  }

  toggle(): void {
    if (this.playing) this.pause();
    else this.play();
  }

  play(): void {
    if (this.playing) return;
    if (this.day >= this.end) this.seek(this.start);
    this.#previous = performance.now();
    this.#frame = requestAnimationFrame((time) => this.#tick(time));
    this.onPlaying(true);
  }

  pause(): void {
    if (!this.playing) return;
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.onPlaying(false);
  }

  #tick(time: number): void {
    const seconds = Math.max(0, time - this.#previous) / 1000;
    this.#previous = time;
    this.seek(this.#position + seconds * this.daysPerSecond * DAY);
    if (this.day >= this.end) {
      this.pause();
      return;
    }
    this.#frame = requestAnimationFrame((next) => this.#tick(next));
  }
}
