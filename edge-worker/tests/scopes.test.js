// Signed tokens: what each scope opens, and what is no token.
import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { bearer as withToken, part, token as anyToken, soon } from "./support/token.js";
import { KEYS, TOKEN, sample, start } from "./support/worker.js";

const { bundle, events: some, now } = sample();
const events = some.map((event, i) => ({ ...event, id: `event-${i}` }));
const SECRETS = ["new-jwt-secret-0123456789-0123456789", "old-jwt-secret-0123456789-0123456789"];
const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const RAW = Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url");
const vars = { ...KEYS, TIERCAST_JWT_SECRET: SECRETS.join(" "), TIERCAST_JWT_PUBLIC_KEY: RAW.toString("base64") };

const code = ({ status, json }) => [status, json?.error?.code];

/** Signed with the newer secret, unless it says otherwise. */
const token = (claims, options) => anyToken(claims, { secret: SECRETS[0], ...options });

/** What who may ask is answered; the bundle of this test judges no risk. */
const opened = (name) => (name === "judge" ? [422] : [200, 204, 409]);

const ed25519 = (claims) => token(claims, { header: { alg: "EdDSA" }, secret: privateKey });

describe("with keys", () => {
  let worker;
  before(async () => {
    worker = await start({ bundle, vars, objects: ["WATCH"] });
    await worker.score({ events, now });
    await worker.observe("m", events);
  });
  after(() => worker.stop());

  /** Every kind of request with this token: the statuses. */
  async function all(bearer) {
    const options = withToken(bearer);
    const answers = {
      score: await worker.score({ events, now }, options),
      many: await worker.score({ members: [{ events }], now }, options),
      model: await worker.fetch("/v1/model", options),
      observe: await worker.observe("m", events, options),
      put: await worker.member("PUT", "m", "/state", { state: "AAAA" }, options),
      assess: await worker.member("GET", "m", "/assessment", undefined, options),
      judge: await worker.member("GET", "m", "/risk", undefined, options),
      watch: await worker.fetch("/metrics", options),
      export: await worker.member("GET", "m", "", undefined, options),
      erase: await worker.member("DELETE", "someone", "", undefined, options),
    };
    return Object.fromEntries(Object.entries(answers).map(([name, answer]) => [name, answer]));
  }

  const OPEN = {
    score: ["score", "many", "model"],
    write: ["observe", "put"],
    read: ["assess", "judge", "export"],
    watch: ["watch"],
    admin: ["score", "many", "model", "observe", "put", "assess", "judge", "watch", "export", "erase"],
    "read score": ["score", "many", "model", "assess", "judge", "export"],
    "admins READ": [],
  };
  for (const [scope, open] of Object.entries(OPEN)) {
    for (const [kind, make] of [["a secret", token], ["an Ed25519 key", ed25519]]) {
      test(`scope ${scope}, signed with ${kind}`, async () => {
        const found = await all(make({ scope }));
        for (const [name, answer] of Object.entries(found)) {
          if (open.includes(name)) {
            assert.ok(opened(name).includes(answer.status), `${name}: ${answer.text}`);
          } else {
            assert.deepEqual(code(answer), [403, "forbidden"], name);
            assert.match(answer.json.error.message, /lacks the scope (score|write|read|admin|watch)$/);
          }
        }
      });
    }
  }

  test("a token without scope may nothing, and health needs none", async () => {
    for (const answer of Object.values(await all(token({})))) assert.deepEqual(code(answer), [403, "forbidden"]);
    assert.equal((await worker.fetch("/healthz", { auth: false })).status, 200);
  });

  test("the audit has the token's name", async () => {
    const options = { auth: false, headers: { authorization: `Bearer ${token({ scope: "read", sub: "büro \"7\"" })}` } };
    const { audit } = (await worker.member("GET", "m", "", undefined, options)).json;
    assert.equal(audit.at(-1).who, "büro \"7\"");
    assert.ok(!JSON.stringify(audit).includes("eyJ") && !JSON.stringify(audit).includes(TOKEN));
  });

  test("a late token is said to be late, and only then", async () => {
    const late = token({ scope: "admin", exp: soon(-5) });
    for (const answer of Object.values(await all(late))) {
      assert.deepEqual(code(answer), [401, "token_expired"]);
      assert.match(answer.headers.get("www-authenticate"), /^Bearer/);
    }
    const forgedAndLate = token({ scope: "admin", exp: soon(-5) }, { secret: "another-secret-0123456789-0123456789" });
    assert.deepEqual(code((await all(forgedAndLate)).model), [401, "unauthorized"]);
  });

  test("a token is refused once its time is over", async () => {
    const short = token({ scope: "read", exp: soon(2) });
    assert.equal((await all(short)).export.status, 200);
    await new Promise((resolve) => setTimeout(resolve, 3_100));
    assert.deepEqual(code((await all(short)).export), [401, "token_expired"]);
  });

  test("what nobody signed for us is refused", async () => {
    const [header, claims, signature] = token({ scope: "admin" }).split(".");
    const unsigned = part({ alg: "none" });
    const publicAsSecret = [RAW, RAW.toString("base64"), publicKey.export({ type: "spki", format: "pem" })];
    const bad = {
      "another secret": token({ scope: "admin" }, { secret: "another-secret-0123456789-0123456789" }),
      "other claims under the signature": `${header}.${part({ scope: "admin", sub: "x", exp: soon(999) })}.${signature}`,
      "another header under the signature": `${part({ alg: "HS256" })}.${claims}.${signature}`,
      "a cut signature": `${header}.${claims}.${signature.slice(0, -4)}`,
      "alg none": `${unsigned}.${claims}.`,
      "alg none with a signature": `${unsigned}.${claims}.${signature}`,
      "alg None": `${part({ alg: "None" })}.${claims}.${signature}`,
      "HS512": `${part({ alg: "HS512" })}.${claims}.${createHmac("sha512", SECRETS[0]).update(`${part({ alg: "HS512" })}.${claims}`).digest("base64url")}`,
      "an HS256 signature as EdDSA": token({ scope: "admin" }, { header: { alg: "HS256" } }).replace(/^[^.]+/, part({ alg: "EdDSA" })),
      ...Object.fromEntries(publicAsSecret.map((secret, i) => [`the public key as a secret, ${i}`, token({ scope: "admin" }, { secret })])),
      "no time": token({ scope: "admin", exp: undefined }),
      "a time that is no number": token({ scope: "admin", exp: "tomorrow" }),
      "not yet": token({ scope: "admin", nbf: soon(60) }),
      "another audience": token({ scope: "admin", aud: "other" }),
      "nobody": token({ scope: "admin", sub: undefined }),
      "an empty name": token({ scope: "admin", sub: "" }),
      "a critical header that is unknown": token({ scope: "admin" }, { header: { alg: "HS256", crit: ["x"], x: 1 } }),
      "two parts": `${header}.${claims}`,
      "four parts": `${header}.${claims}.${signature}.x`,
      "the word for a late one": "expired",
    };
    for (const [what, bearer] of Object.entries(bad)) {
      const options = { auth: false, headers: { authorization: `Bearer ${bearer}` } };
      for (const answer of [await worker.fetch("/v1/model", options), await worker.member("GET", "m", "", undefined, options)]) {
        assert.deepEqual(code(answer), [401, "unauthorized"], what);
      }
    }
    for (const aud of ["tiercast", ["other", "tiercast"]]) assert.equal((await all(token({ scope: "score", aud }))).model.status, 200);
  });

  test("both secrets verify, and the configured token still opens everything", async () => {
    for (const secret of SECRETS) assert.equal((await all(token({ scope: "score" }, { secret }))).score.status, 200);
    const found = await all(TOKEN);
    assert.ok(Object.entries(found).every(([name, { status }]) => opened(name).includes(status)));
  });
});

test("after a rotation the old secret is worth nothing", async () => {
  const worker = await start({ bundle, vars: { ...KEYS, TIERCAST_JWT_SECRET: SECRETS[0] }, token: null });
  const ask = (bearer) => worker.fetch("/v1/model", { auth: false, headers: { authorization: `Bearer ${bearer}` } });
  try {
    assert.equal((await ask(token({ scope: "score" }))).status, 200, "without a configured token as well");
    assert.deepEqual(code(await ask(token({ scope: "score" }, { secret: SECRETS[1] }))), [401, "unauthorized"]);
    assert.deepEqual(code(await ask(ed25519({ scope: "score" }))), [401, "unauthorized"], "no key of this kind");
    assert.deepEqual(code(await worker.fetch("/v1/model", { auth: false })), [401, "unauthorized"]);
  } finally {
    await worker.stop();
  }
});

test("a leeway lets a token be a little late, and no more", async () => {
  const worker = await start({ bundle, vars: { ...vars, TIERCAST_JWT_LEEWAY_S: "30", TIERCAST_JWT_PUBLIC_KEY: publicKey.export({ type: "spki", format: "der" }).toString("base64") } });
  const ask = (bearer) => worker.fetch("/v1/model", { auth: false, headers: { authorization: `Bearer ${bearer}` } });
  try {
    assert.equal((await ask(token({ scope: "score", exp: soon(-20) }))).status, 200);
    assert.deepEqual(code(await ask(token({ scope: "score", exp: soon(-40) }))), [401, "token_expired"]);
    assert.equal((await ask(ed25519({ scope: "score" }))).status, 200, "a key with its kind before it");
  } finally {
    await worker.stop();
  }
});

test("keys that are no keys, and a leeway over a minute, close the worker", async () => {
  for (const bad of [{ TIERCAST_JWT_SECRET: "short" }, { TIERCAST_JWT_PUBLIC_KEY: "AAAA" }, { TIERCAST_JWT_LEEWAY_S: "61" }]) {
    const worker = await start({ bundle, vars: bad });
    try {
      assert.deepEqual(code(await worker.fetch("/v1/model")), [503, "invalid_configuration"]);
    } finally {
      await worker.stop();
    }
  }
});
