// What watches the worker asks only for what /metrics gives: dashboard.json, alerts.json and their tests.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { KEYS, root, sample, start } from "./support/worker.js";

const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
const dashboard = JSON.parse(read("watch/dashboard.json"));
const { groups } = JSON.parse(read("watch/alerts.json"));
const rules = groups.flatMap((group) => group.rules);
const alerts = rules.filter((rule) => rule.alert !== undefined);
const panels = dashboard.panels.filter(({ type }) => type !== "row");

const PLAIN = ["score", "recommend", "assign", "reward", "points", "risk", "model", "health", "metrics", "other"];
const MEMBERS = ["events", "assessment", "risk", "export", "state", "erase"].map((name) => `member_${name}`);
const ANY = /^.+$/;
const BUNDLE = /^[0-9a-f]{12}$/;
const STAGES = ["stable", "shadow", "canary"];
const ROUTE = [...PLAIN, ...MEMBERS];
const BOUNDS = ["0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"];

/** Every series of /metrics, with its labels and their values. */
const SERIES = {
  tiercast_requests_total: { route: ROUTE, status: /^[1-5]\d\d$/ },
  tiercast_errors_total: { code: /^[a-z_]+$/ },
  tiercast_request_duration_seconds_bucket: { route: ROUTE, le: BOUNDS },
  tiercast_request_duration_seconds_sum: { route: ROUTE },
  tiercast_request_duration_seconds_count: { route: ROUTE },
  tiercast_scores_total: { tier: ["1", "2", "3", "4", "5"] },
  tiercast_events_total: { outcome: ["added", "duplicate", "too_late"] },
  tiercast_risk_judged_total: {},
  tiercast_risk_alerts_total: {},
  tiercast_bundle_requests_total: { bundle: BUNDLE, stage: STAGES, outcome: ["ok", "failed", "differs"] },
  tiercast_bundle_info: { bundle: BUNDLE, stage: STAGES },
  tiercast_release_serial: {},
  tiercast_release_withdrawn: { bundle: BUNDLE },
  tiercast_drift_members: {},
  tiercast_feature_psi: { feature: ANY },
  tiercast_score_psi: {},
  tiercast_build_info: { version: ANY },
  tiercast_watch_flushes_total: {},
};
/** Those that Prometheus itself makes. */
const OWN = { up: {}, ALERTS: { alertname: ANY, alertstate: ["pending", "firing"], severity: ["critical", "warning"] } };
const SCRAPED = { job: ["tiercast"], instance: ANY };
/** What a rule recorded has the labels that it is summed by. */
const recorded = rules.filter((rule) => rule.record !== undefined).map(({ record, expr }) => {
  const [, by] = /sum by \(([^)]*)\)/.exec(expr);
  return [record, Object.fromEntries(by.split(",").filter((label) => label.trim() !== "le").map((label) => [label.trim(), ANY]))];
});
const KNOWN = { ...SERIES, ...OWN, ...Object.fromEntries(recorded) };

/** PromQL's own words, as far as they are used. */
const WORDS = new Set(["sum", "count", "max", "topk", "rate", "increase", "changes", "histogram_quantile", "absent", "vector", "label_replace", "label_values", "and", "or", "unless"]);

/** What a query says without its durations and texts: what is left in front of braces or parentheses is a name. */
const plain = (expr) => expr.replace(/\[[^\]]*\]|\boffset \w+/g, " ").replace(/\{[^}]*\}|'[^']*'/g, (part) => (part.startsWith("{") ? part : " "));

/** Fails where a query names a series, a label or a label's value that is not there; gives the labels of all its series. */
function check(expr, where) {
  const labels = [];
  const text = plain(expr).replace(/\b(?:by|on) \(([^)]*)\)/g, (found, list) => (labels.push(...list.split(/, */)), " "));
  const names = [];
  for (const [, name, braces = ""] of text.matchAll(/([a-zA-Z_][\w:]*)\s*(\{[^}]*\})?/g)) {
    if (WORDS.has(name)) continue;
    assert.ok(KNOWN[name], `${where}: no series is called ${name}`);
    names.push(name);
    const known = { ...KNOWN[name], ...SCRAPED };
    for (const [, label, operator, value] of braces.matchAll(/(\w+)(=~|!~|!=|=)['"]([^'"]*)['"]/g)) {
      assert.ok(known[label], `${where}: ${name} has no label ${label}`);
      if (value.startsWith("$")) continue;
      if (operator.includes("~")) matches(value, known[label], `${where}: ${name}{${label}}`);
      else holds(known[label], value, `${where}: ${name}{${label}}`);
    }
  }
  assert.ok(names.length > 0, `${where} asks for nothing`);
  const all = new Set(names.flatMap((name) => Object.keys({ ...KNOWN[name], ...SCRAPED })));
  for (const label of labels) assert.ok(all.has(label), `${where}: none of ${names} has the label ${label}`);
  return all;
}

function holds(known, value, where) {
  assert.ok(Array.isArray(known) ? known.includes(value) : known.test(value), `${where}: there is no ${value}`);
}

/** Each of a pattern's alternatives finds something. */
function matches(pattern, known, where) {
  for (const part of pattern.split("|")) {
    if (Array.isArray(known)) assert.ok(known.some((value) => new RegExp(`^(?:${part})$`).test(value)), `${where}: nothing is like ${part}`);
    else if (!/[.*]/.test(part)) holds(known, part, where);
  }
}

test("every panel asks for series that /metrics has", () => {
  for (const { title, targets } of panels) {
    assert.ok(targets.length > 0, `${title} asks for nothing`);
    for (const { expr, legendFormat } of targets) {
      const labels = check(expr, title);
      for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) assert.ok(labels.has(label), `${title}: no label ${label} for the legend`);
    }
  }
  for (const { name, expr } of dashboard.annotations.list) check(expr, name);
  for (const { name, type, query } of dashboard.templating.list.filter(({ type }) => type === "query")) {
    check(query.query.replace(/, \w+\)$/, ")"), `variable ${name} of type ${type}`);
  }
});

test("every rule computes from series that /metrics has", () => {
  for (const { alert, record, expr } of rules) check(expr, alert ?? record);
});

test("what the test itself refuses", () => {
  for (const expr of [
    "tiercast_request_total",
    "sum by (tiers) (rate(tiercast_scores_total[5m]))",
    "sum by (tier) (rate(tiercast_events_total[5m]))",
    "tiercast_scores_total{tier='6'}",
    "tiercast_requests_total{route=~'score|scores'}",
    "tiercast_requests_total{path='score'}",
    "instance:tiercast_requests:rate1h",
  ]) {
    assert.throws(() => check(expr, "it"), assert.AssertionError, expr);
  }
});

test("every series is shown or judged", () => {
  const queries = [...panels.flatMap(({ targets }) => targets), ...rules].map(({ expr }) => expr).join("\n");
  const missing = Object.keys(SERIES).filter((name) => !queries.includes(name));
  assert.deepEqual(missing, ["tiercast_request_duration_seconds_sum", "tiercast_request_duration_seconds_count", "tiercast_watch_flushes_total"]);
});

test("panels have an identity of their own, a description, a unit, and do not overlap", () => {
  const ids = dashboard.panels.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  assert.equal(dashboard.uid, "tiercast-edge");
  const taken = new Set();
  for (const { title, description, datasource, fieldConfig, options, gridPos } of panels) {
    assert.match(description, /^.{10,}\.$/s, title);
    assert.deepEqual(datasource, { type: "prometheus", uid: "${datasource}" }, title);
    assert.ok(fieldConfig.defaults.unit ?? options.yAxis?.unit, `${title} has no unit`);
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        assert.ok(!taken.has(`${x} ${y}`), `${title} lies on another panel`);
        taken.add(`${x} ${y}`);
      }
    }
  }
});

test("an alert says how bad it is, what it means and what to do", () => {
  assert.equal(new Set(alerts.map(({ alert }) => alert)).size, alerts.length);
  for (const { alert, labels, annotations } of alerts) {
    assert.match(labels.severity, /^(critical|warning)$/, alert);
    assert.deepEqual(Object.keys(annotations), ["summary", "description", "action"], alert);
    for (const text of Object.values(annotations)) assert.ok(text.length > 20, `${alert}: ${text}`);
  }
});

test("every alert has a test of its own in which it fires", () => {
  const tests = read("watch/alerts.test.yml");
  for (const { alert } of alerts) assert.ok(tests.includes(alert), `${alert} is not in alerts.test.yml`);
});

test("error codes that alerts look for are documented", () => {
  const readme = read("README.md");
  const codes = rules.flatMap(({ expr }) => [...expr.matchAll(/code=~?'([^']+)'/g)].flatMap(([, list]) => list.split("|")));
  assert.ok(codes.length > 10);
  for (const code of codes) assert.ok(readme.includes(`\`${code}\``), `${code} is not in README.md`);
});

test("the worker gives these series and no others", async () => {
  const bundle = readFileSync(join(root, "tests", "fixtures", "risk.tcb"));
  const worker = await start({ bundle, vars: KEYS, objects: ["WATCH"] });
  const { events, now } = sample();
  try {
    await worker.score({ member: "m", events, now });
    await worker.score("{");
    await worker.observe("m", [{ ...events[0], id: "e" }]);
    await worker.member("GET", "m", "/risk");
    const { status, text } = await worker.fetch("/metrics");
    assert.equal(status, 200);
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    for (const line of lines) {
      const [, name, braces = ""] = /^(\w+)(\{.*\})? \S+$/.exec(line);
      assert.ok(SERIES[name], `${line} is not in the list`);
      const labels = [...braces.matchAll(/(\w+)="([^"]*)"/g)];
      assert.deepEqual(labels.map(([, label]) => label).sort(), Object.keys(SERIES[name]).sort(), line);
      for (const [, label, value] of labels) holds(SERIES[name][label], value, line);
    }
    for (const name of ["requests_total", "errors_total", "scores_total", "events_total", "risk_judged_total", "bundle_requests_total", "bundle_info"]) {
      assert.ok(lines.some((line) => line.startsWith(`tiercast_${name}`)), `${name} is missing`);
    }
  } finally {
    await worker.stop();
  }
});
