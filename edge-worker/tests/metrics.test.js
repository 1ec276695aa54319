// What the worker counts, as Prometheus reads it: how many, and never who.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { bearer, token } from "./support/token.js";
import { KEYS, root, sample, start } from "./support/worker.js";

const { events, now } = sample();
const bundle = readFileSync(join(root, "tests", "fixtures", "risk.tcb"));
const SECRET = "metrics-secret-0123456789-0123456789";

let worker;
before(async () => {
  worker = await start({ bundle, vars: { ...KEYS, TIERCAST_JWT_SECRET: SECRET }, objects: ["WATCH"] });
});
after(() => worker.stop());

/** The series, by name with labels. */
async function series(from = worker) {
  const { status, text, headers } = await from.fetch("/metrics");
  assert.equal(status, 200, text);
  assert.equal(headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  return Object.fromEntries(text.split("\n").filter((line) => line && !line.startsWith("#")).map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]));
}

test("requests, errors, scores, events and alerts are counted", async () => {
  const before = await series();
  const { tier, observed } = (await worker.score({ member: "somebody", events, now })).json;
  await worker.score({ member: "somebody", events, now });
  await worker.score("{");
  await worker.score({ members: [{ events, now }, { events: [{ kind: "stolen", time: now }] }] });
  await worker.observe("secret-member", [{ ...events[0], id: "e" }]);
  await worker.observe("secret-member", [{ ...events[0], id: "e" }]);
  const judged = (await worker.member("GET", "secret-member", "/risk")).json;
  await worker.fetch("/v1/nothing/of-the-kind");
  const found = await series();
  const grown = (name) => (found[`tiercast_${name}`] ?? 0) - (before[`tiercast_${name}`] ?? 0);
  assert.equal(grown('requests_total{route="score",status="200"}'), 3);
  assert.equal(grown('requests_total{route="score",status="400"}'), 1);
  assert.equal(grown('requests_total{route="other",status="404"}'), 1);
  assert.equal(grown('requests_total{route="member_events",status="200"}'), 2);
  assert.equal(grown('errors_total{code="malformed_json"}'), 1);
  assert.equal(grown('errors_total{code="unknown_kind"}'), 1);
  assert.equal(grown(`scores_total{tier="${tier}"}`), 3);
  assert.equal(grown('events_total{outcome="added"}'), 3 * observed.added + 1);
  assert.equal(grown('events_total{outcome="duplicate"}'), 3 * observed.duplicate + 1);
  assert.equal(grown("risk_judged_total"), 1);
  assert.equal(grown("risk_alerts_total"), Number(judged.risk.alert));
  assert.equal(grown('request_duration_seconds_bucket{le="+Inf",route="score"}'), 4);
  assert.equal(grown('request_duration_seconds_count{route="score"}'), 4);
  assert.equal(found['tiercast_build_info{version="0.1.0"}'], 1);
  const { bundle: hash } = (await worker.fetch("/healthz")).json;
  assert.equal(found[`tiercast_bundle_info{bundle="${hash.slice(0, 12)}",stage="stable"}`], 1);
});

test("nobody is named, and every metric says what it is", async () => {
  await worker.observe("secret-member", [{ ...events[0], id: "another", device: "secret-device" }]);
  await worker.score({ member: "somebody", events, now });
  const { text } = await worker.fetch("/metrics");
  assert.doesNotMatch(text, /secret-member|somebody|secret-device|of-the-kind/);
  const lines = text.trimEnd().split("\n");
  let current;
  for (const line of lines) {
    const [, kind, name] = line.match(/^# (HELP|TYPE) (\w+) ./) ?? [];
    if (kind) current = name;
    else assert.match(line, new RegExp(`^${current}(_bucket|_sum|_count)?(\\{[a-z]+="[^"\\\\]*"(,[a-z]+="[^"\\\\]*")*\\})? [0-9.e+-]+$`));
  }
  assert.equal(new Set(lines).size, lines.length, "no line is there twice");
});

test("members assessed are compared with the training rows", async () => {
  const watched = await start({ bundle: sample().bundle, objects: ["WATCH"] });
  try {
    assert.ok(!Object.keys(await series(watched)).some((name) => name.includes("psi")), "nobody is counted yet");
    for (let i = 0; i < 12; i += 1) await watched.score({ events: events.slice(0, 10 * i), now });
    const found = await series(watched);
    assert.equal(found.tiercast_drift_members, 12);
    assert.ok(found.tiercast_score_psi > 0);
    const features = Object.entries(found).filter(([name]) => name.startsWith("tiercast_feature_psi{"));
    assert.ok(features.length > 10 && features.every(([, psi]) => psi >= 0), String(features));
  } finally {
    await watched.stop();
  }
});

test("who may watch may do nothing else, and others may not watch", async () => {
  const ask = async (scope, path = "/metrics") => (await worker.fetch(path, bearer(token({ scope }, { secret: SECRET })))).status;
  assert.equal(await ask("watch"), 200);
  for (const scope of ["score", "read", "write"]) assert.equal(await ask(scope), 403, scope);
  for (const path of ["/v1/model", "/v1/members/secret-member", "/v1/members/secret-member/risk"]) assert.equal(await ask("watch", path), 403, path);
  assert.equal((await worker.fetch("/metrics", { auth: false })).status, 401);
  assert.equal((await worker.fetch("/metrics", { method: "POST" })).status, 405);
});

test("without the object there are no metrics, and everything else works", async () => {
  const alone = await start({ bundle });
  try {
    const { status, json } = await alone.fetch("/metrics");
    assert.deepEqual([status, json.error.code], [503, "metrics_not_configured"]);
    assert.equal((await alone.score({ events, now })).status, 200);
  } finally {
    await alone.stop();
  }
});

test("a caller who sends more than the limit is told so, and others are not", async () => {
  const limited = await start({ bundle, vars: { ...KEYS, TIERCAST_JWT_SECRET: SECRET }, objects: ["WATCH"], limit: 5 });
  try {
    const as = (sub) => limited.score({ events, now }, bearer(token({ scope: "score", sub }, { secret: SECRET })));
    const statuses = [];
    for (let i = 0; i < 7; i += 1) statuses.push((await as("one")).status);
    assert.deepEqual(statuses, [200, 200, 200, 200, 200, 429, 429]);
    const refused = await as("one");
    assert.deepEqual([refused.json.error.code, refused.headers.get("retry-after")], ["rate_limited", "60"]);
    assert.equal((await as("two")).status, 200);
    assert.equal((await limited.fetch("/v1/score", { method: "POST", auth: false })).status, 401);
    const found = await series(limited);
    assert.equal(found['tiercast_errors_total{code="rate_limited"}'], 3);
  } finally {
    await limited.stop();
  }
});
