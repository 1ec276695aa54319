// Rewrites a section of a bundle: the table of 40-byte lines (name, offset, length, check sum) after a 16-byte head.
import { checksum } from "./state.js";

const HEAD = 16;
const LINE = 40;
const ALIGN = 16;

/** The bundle with `content` as its section `name`, whole and with check sums that fit. */
export function withSection(bundle, name, content) {
  const lines = Array.from({ length: bundle.readUInt32LE(12) }, (_, i) => bundle.subarray(HEAD + i * LINE, HEAD + (i + 1) * LINE));
  const sections = lines.map((line) => {
    const known = line.toString("latin1", 0, 16).replace(/\0+$/, "");
    const offset = Number(line.readBigUInt64LE(16));
    const whole = bundle.subarray(offset, offset + Number(line.readBigUInt64LE(24)));
    return { name: known, content: known === name ? content : whole };
  });
  const parts = [Buffer.from(bundle.subarray(0, HEAD + lines.length * LINE))];
  let end = parts[0].length;
  for (const [i, section] of sections.entries()) {
    const gap = (ALIGN - (end % ALIGN)) % ALIGN;
    parts.push(Buffer.alloc(gap), section.content);
    const at = HEAD + i * LINE;
    parts[0].writeBigUInt64LE(BigInt(end + gap), at + 16);
    parts[0].writeBigUInt64LE(BigInt(section.content.length), at + 24);
    parts[0].writeBigUInt64LE(checksum(section.content), at + 32);
    end += gap + section.content.length;
  }
  return Buffer.concat(parts);
}

/** The bundle with another currency, or another capacity under 128, in what scoring reads of its declaration. */
export function withRules(bundle, { currency = "USD", capacity }) {
  const scorer = sectionOf(bundle, "scorer");
  const declared = "\x03USD\x02\x02\x05stamp\x0cfailed_login";
  const at = scorer.indexOf(declared, 0, "latin1");
  if (at < 0) throw new Error("the bundle's declaration is not the fixture's");
  const changed = Buffer.from(scorer);
  changed.write(currency, at + 1, "latin1");
  const end = at + declared.length;
  const kept = capacity === undefined ? changed.subarray(end, end + 2) : Buffer.of(capacity);
  return withSection(bundle, "scorer", Buffer.concat([changed.subarray(0, end), kept, changed.subarray(end + 2)]));
}

function sectionOf(bundle, name) {
  for (let at = HEAD; at < HEAD + bundle.readUInt32LE(12) * LINE; at += LINE) {
    if (bundle.toString("latin1", at, at + 16).replace(/\0+$/, "") !== name) continue;
    const offset = Number(bundle.readBigUInt64LE(at + 16));
    return bundle.subarray(offset, offset + Number(bundle.readBigUInt64LE(at + 24)));
  }
  throw new Error(`the bundle has no section ${name}`);
}
