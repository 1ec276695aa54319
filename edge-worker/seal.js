// Records at rest: AES-256-GCM under keys that HKDF-SHA-256 (RFC 5869) derives from TIERCAST_STATE_KEY, one a member.
//
// A record is a format byte, four bytes that say which secret, twelve random ones, and what is sealed with its tag. The
// member's object is in the key and is authenticated, so that no record can be read as another member's.
// The format is also `FORMAT` in src/kept.rs.

const FORMAT = 1;
const ID = 4;
const NONCE = 12;
const HEAD = 1 + ID + NONCE;

export const bytesOf = (text) => new TextEncoder().encode(text);

/** Secrets that a space separates. */
export const wordsOf = (text) => (text ?? "").split(/[\s,]+/).filter((word) => word !== "");

const hkdf = (info) => ({ name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: bytesOf(info) });

/** The secrets as HKDF takes them, each with what names it in a record. They are fixed for each deployed version. */
let secrets;

function secretsOf(env) {
  const words = wordsOf(env.TIERCAST_STATE_KEY);
  return Promise.all(
    words.map(async (word) => {
      const secret = await crypto.subtle.importKey("raw", bytesOf(word), "HKDF", false, ["deriveBits", "deriveKey"]);
      return { secret, id: new Uint8Array(await crypto.subtle.deriveBits(hkdf("tiercast key id"), secret, 8 * ID)) };
    }),
  );
}

/** What seals and opens the records of one object: the first secret seals, all open. */
export async function sealOf(object, env) {
  const aes = { name: "AES-GCM", length: 256 };
  secrets ??= await secretsOf(env);
  const keys = await Promise.all(
    secrets.map(async ({ secret, id }) => {
      return { id, key: await crypto.subtle.deriveKey(hkdf(`tiercast state ${object}`), secret, aes, false, ["encrypt", "decrypt"]) };
    }),
  );
  const cipher = (iv) => ({ name: "AES-GCM", iv, additionalData: bytesOf(object) });
  return {
    /** The record of these bytes. */
    async seal(bytes) {
      const [{ id, key }] = keys;
      const nonce = crypto.getRandomValues(new Uint8Array(NONCE));
      const sealed = new Uint8Array(await crypto.subtle.encrypt(cipher(nonce), key, bytes));
      const record = new Uint8Array(HEAD + sealed.length);
      record[0] = FORMAT;
      record.set(id, 1);
      record.set(nonce, 1 + ID);
      record.set(sealed, HEAD);
      return record;
    },
    /** The bytes of a record; it throws when they were sealed with another secret, for another object, or changed. */
    async open(record) {
      const key = keys.find(({ id }) => record[0] === FORMAT && id.every((byte, i) => byte === record[1 + i]))?.key;
      if (!key) throw new Error("no secret opens this record");
      return new Uint8Array(await crypto.subtle.decrypt(cipher(record.subarray(1 + ID, HEAD)), key, record.subarray(HEAD)));
    },
  };
}
