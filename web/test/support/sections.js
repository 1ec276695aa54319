/** A section of a bundle, as bytes: its name is in the table, with its offset and length behind it. */
export function bytesOf(bundle, section) {
  const line = bundle.indexOf(section.padEnd(16, "\0"), 0, "latin1");
  const from = Number(bundle.readBigUInt64LE(line + 16));
  return bundle.subarray(from, from + Number(bundle.readBigUInt64LE(line + 24)));
}

/** What a JSON section holds. */
export function contentOf(bundle, section) {
  return JSON.parse(bytesOf(bundle, section));
}
