type Numbers = typeof Float32Array | typeof Float64Array;

/** Owners of rooms: while someone holds a view, what it looks into must not be freed. */
const owners = new WeakMap<ArrayBufferView, object>();

/**
 * Numbers at a fixed place in the engine's memory.
 *
 * When the memory grows, views of it lose their content; so a view is asked for each time, which costs next to nothing
 * when nothing grew.
 */
export class Room<T extends Numbers> {
  readonly #memory: WebAssembly.Memory;
  readonly #type: T;
  readonly #address: number;
  readonly #length: number;
  readonly #owner: object;
  #view: InstanceType<T>;

  constructor(memory: WebAssembly.Memory, type: T, address: number, length: number, owner: object) {
    this.#memory = memory;
    this.#type = type;
    this.#address = address;
    this.#length = length;
    this.#owner = owner;
    this.#view = this.#look();
  }

  get view(): InstanceType<T> {
    if (this.#view.buffer !== this.#memory.buffer) this.#view = this.#look();
    return this.#view;
  }

  #look(): InstanceType<T> {
    const view = new this.#type(this.#memory.buffer, this.#address, this.#length) as InstanceType<T>;
    owners.set(view, this.#owner);
    return view;
  }
}
