// What src/runtime.rs asks of a request, in one call each: every call from Rust into JavaScript costs.

// The most bytes of a refused body that are still read: closing on its caller could cost it the answer.
const DISCARDED = 16 << 20;

/** The body, whose stated length is within the limit. */
export function whole(request) {
  return request.arrayBuffer();
}

/** The body, or enough of it to see that it is over the limit. */
export async function bounded(request, limit) {
  const body = new Uint8Array(limit + 1);
  let length = 0;
  for await (const chunk of request.body ?? []) {
    if (length <= limit) body.set(chunk.subarray(0, limit + 1 - length), length);
    length += chunk.byteLength;
    if (length > limit + DISCARDED) break;
  }
  return body.buffer.slice(0, length);
}

/** Reads what the caller of a refused request still sends. */
export async function discard(request) {
  let left = DISCARDED;
  for await (const chunk of request.body ?? []) if ((left -= chunk.byteLength) < 0) break;
}

/** Lets the clock move on. */
export function pause() {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** An answer with a body of its own, or none. */
export function answer(body, init) {
  return new Response(body, init);
}
