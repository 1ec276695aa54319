// Signed tokens as anybody with the secret could make them.
import { createHmac, sign } from "node:crypto";

/** A part of a token. */
export const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A time from now, in seconds. */
export const soon = (seconds = 60) => Math.floor(Date.now() / 1000) + seconds;

/** A token that says this, and is good for a minute unless it says otherwise. */
export function token(claims, { header = { alg: "HS256", typ: "JWT" }, secret }) {
  const signed = `${part(header)}.${part({ exp: soon(), sub: "shop", ...claims })}`;
  const signature = header.alg === "EdDSA" ? sign(null, Buffer.from(signed), secret) : createHmac("sha256", secret).update(signed).digest();
  return `${signed}.${signature.toString("base64url")}`;
}

/** The options of a request with a token in place of the worker's own. */
export const bearer = (text) => ({ auth: false, headers: { authorization: `Bearer ${text}` } });
