// A snapshot changed on purpose: its check sum is made to fit again, so that what it guards is reached.

const TAIL = 4;

/** The base64 of a state after `change` has worked on its bytes. */
export function forged(state, change) {
  const bytes = Buffer.from(state, "base64");
  const body = bytes.subarray(0, bytes.length - TAIL);
  change(body);
  bytes.writeUInt32LE(Number(BigInt.asUintN(32, checksum(body))), body.length);
  return bytes.toString("base64");
}

/** As core/src/checksum.rs has it: 64 bits. */
export function checksum(bytes) {
  const padded = Buffer.concat([bytes, Buffer.alloc(8 - (bytes.length % 8))]);
  const mix = (sum, word) => {
    const product = BigInt.asUintN(64, (sum ^ word) * 0xff51afd7ed558ccdn);
    return product ^ (product >> 32n);
  };
  let sum = BigInt(bytes.length);
  for (let at = 0; at < padded.length; at += 8) sum = mix(sum, padded.readBigUInt64LE(at));
  return mix(sum, 0n);
}
