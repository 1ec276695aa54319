/** The smallest module with a 128-bit vector in it: a function that makes one and drops it. */
const VECTOR = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 9, 1, 7, 0, 65, 0, 253, 15, 26, 11];

/** Whether this engine has fixed-width SIMD, as all have had since 2021 to 2023. */
export function hasSimd(): boolean {
  return WebAssembly.validate(new Uint8Array(VECTOR));
}
