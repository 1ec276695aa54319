// Who may call what: tokens, methods, paths, and browsers' origins.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { TOKEN, sample, start } from "./support/worker.js";

const { bundle, events, now } = sample();
const code = (answer) => [answer.status, answer.json?.error?.code];

describe("with a token configured", () => {
  let worker;
  before(async () => {
    worker = await start({ bundle });
  });
  after(() => worker.stop());

  test("health is open, and is the only open route", async () => {
    const health = await worker.fetch("/healthz", { auth: false });
    assert.equal(health.status, 200);
    for (const path of ["/v1/model", "/v1/score", "/bundle.tcb", "/", "/assets/bundle.tcb"]) {
      const answer = await worker.fetch(path, { auth: false });
      assert.deepEqual(code(answer), [401, "unauthorized"], path);
      assert.match(answer.headers.get("www-authenticate"), /^Bearer/);
    }
    assert.deepEqual(code(await worker.score({ events, now }, { auth: false })), [401, "unauthorized"]);
  });

  test("only the exact token passes", async () => {
    const near = [`${TOKEN}x`, TOKEN.slice(0, -1), TOKEN.toUpperCase()].map((token) => `Bearer ${token}`);
    const wrong = ["", "Bearer", `Basic ${TOKEN}`, TOKEN, ...near];
    for (const authorization of wrong) {
      const answer = await worker.fetch("/v1/model", { auth: false, headers: { authorization } });
      assert.equal(answer.status, 401, authorization);
    }
    assert.equal((await worker.fetch("/v1/model")).status, 200);
  });

  test("wrong paths and methods", async () => {
    for (const path of ["/", "/v1", "/v1/scores", "/v1/score/", "/bundle.tcb", "/v1/%73core"]) {
      assert.deepEqual(code(await worker.fetch(path)), [404, "not_found"], path);
    }
    for (const [method, path, allow] of [
      ["GET", "/v1/score", "POST"],
      ["PUT", "/v1/score", "POST"],
      ["DELETE", "/v1/model", "GET, HEAD"],
      ["POST", "/healthz", "GET, HEAD"],
      ["OPTIONS", "/v1/score", "POST"],
    ]) {
      const answer = await worker.fetch(path, { method });
      assert.deepEqual(code(answer), [405, "method_not_allowed"], `${method} ${path}`);
      assert.equal(answer.headers.get("allow"), allow);
    }
  });

  test("HEAD answers like GET, without a body", async () => {
    for (const path of ["/healthz", "/v1/model"]) {
      const answer = await worker.fetch(path, { method: "HEAD" });
      assert.deepEqual([answer.status, answer.text], [200, ""]);
    }
  });

  test("no origin is allowed by default", async () => {
    const headers = { origin: "https://shop.example", "access-control-request-method": "POST" };
    const preflight = await worker.fetch("/v1/score", { method: "OPTIONS", headers, auth: false });
    assert.equal(preflight.status, 401);
    const answer = await worker.fetch("/healthz", { headers });
    assert.equal(answer.headers.get("access-control-allow-origin"), null);
  });

  test("the model is described", async () => {
    const { json } = await worker.fetch("/v1/model");
    assert.equal(json.schemaHash, (await worker.fetch("/healthz")).json.schemaHash);
    const { json: scored } = await worker.score({ events, now, features: true });
    assert.equal(json.features.length, scored.features.length);
    assert.equal(json.tiers.length, scored.probabilities.length);
    assert.deepEqual(json.limits, { bodyBytes: 1048576, members: 256, events: 10000, timeMs: 2000 });
    assert.equal(json.schemaHash, scored.schemaHash);
  });
});

describe("without a usable token", () => {
  for (const [what, token] of [["none", null], ["an empty one", ""], ["a short one", "secret"]]) {
    test(`${what}: every protected route is closed`, async () => {
      const worker = await start({ bundle, token });
      try {
        for (const authorization of [undefined, "Bearer ", "Bearer secret", "Bearer undefined"]) {
          const headers = authorization === undefined ? {} : { authorization };
          for (const path of ["/v1/model", "/nothing"]) {
            const answer = await worker.fetch(path, { headers, auth: false });
            assert.deepEqual(code(answer), [503, "token_not_configured"]);
          }
          const scored = await worker.score({ events, now }, { headers, auth: false });
          assert.deepEqual(code(scored), [503, "token_not_configured"]);
        }
        assert.equal((await worker.fetch("/healthz")).status, 200);
      } finally {
        await worker.stop();
      }
    });
  }
});

test("a listed origin may call from a browser, another may not", async () => {
  const vars = { TIERCAST_ALLOW_ORIGIN: "https://shop.example https://m.shop.example" };
  const worker = await start({ bundle, vars });
  try {
    const origin = "https://m.shop.example";
    const ask = { method: "OPTIONS", auth: false };
    const headers = { origin, "access-control-request-method": "POST" };
    const preflight = await worker.fetch("/v1/score", { ...ask, headers });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get("access-control-allow-origin"), origin);
    assert.match(preflight.headers.get("access-control-allow-headers"), /authorization/);
    const scored = await worker.score({ events, now }, { headers: { origin } });
    assert.equal(scored.headers.get("access-control-allow-origin"), origin);
    assert.equal(scored.headers.get("vary"), "Origin");
    const refused = await worker.fetch("/v1/score", { ...ask, headers: { origin: "https://evil.example" } });
    assert.deepEqual([refused.status, refused.headers.get("access-control-allow-origin")], [401, null]);
  } finally {
    await worker.stop();
  }
});

test("two tokens are valid while one replaces the other", async () => {
  const worker = await start({ bundle, token: "old-token-0123456789 new-token-0123456789" });
  try {
    for (const token of ["old-token-0123456789", "new-token-0123456789"]) {
      const answer = await worker.fetch("/v1/model", { auth: false, headers: { authorization: `Bearer ${token}` } });
      assert.equal(answer.status, 200);
    }
  } finally {
    await worker.stop();
  }
});
