// Asks Prometheus everything that dashboard.json shows, as Grafana would, and how the rules of alerts.json are. Prints a line
// for each panel; exits with 1 when a query is refused, a rule cannot be computed or no worker is scraped.
//     node check.js PROMETHEUS_URL
import { readFileSync } from "node:fs";

const [prometheus] = process.argv.slice(2);
const dashboard = JSON.parse(readFileSync(new URL("dashboard.json", import.meta.url), "utf8"));
const failures = [];

async function api(path, query = {}) {
  const response = await fetch(new URL(`api/v1/${path}`, prometheus), path.startsWith("query") ? { method: "POST", body: new URLSearchParams(query) } : {});
  const answer = await response.json();
  if (answer.status !== "success") throw new Error(answer.error);
  return answer.data;
}

const { activeTargets } = await api("targets");
for (const { labels, health, lastError } of activeTargets) if (health !== "up") failures.push(`${labels.instance} is ${health}: ${lastError}`);
const instance = activeTargets.find(({ health }) => health === "up")?.labels.instance;
if (instance === undefined) failures.push("no worker is scraped");

/** Grafana's variables, as it would set them for the last five minutes. */
const VARIABLES = { instance, __rate_interval: "20s", __interval: "5s", __range: "5m" };
const whole = (expr) => expr.replace(/\$\{?(\w+)\}?/g, (found, name) => VARIABLES[name] ?? found);
const end = Date.now() / 1000;

/** How many series a query finds. */
async function series({ expr, instant }) {
  const query = whole(expr);
  const { result } = instant ? await api("query", { query, time: end }) : await api("query_range", { query, start: end - 300, end, step: 5 });
  return result.length;
}

let empty = 0;
for (const panel of dashboard.panels.filter(({ type }) => type !== "row")) {
  const found = [];
  for (const target of panel.targets) {
    try {
      found.push(await series(target));
    } catch (error) {
      failures.push(`panel ${panel.title}: ${error.message}\n    ${whole(target.expr)}`);
    }
  }
  const sum = found.reduce((a, b) => a + b, 0);
  if (sum === 0) empty += 1;
  console.log(`  ${panel.title.padEnd(32)} ${sum === 0 ? "no data" : `${sum} series`}`);
}
for (const { name, expr } of dashboard.annotations.list) {
  await series({ expr }).catch((error) => failures.push(`annotation ${name}: ${error.message}`));
}

const { groups } = await api("rules");
const rules = groups.flatMap((group) => group.rules);
for (const rule of rules) if (rule.health === "err") failures.push(`rule ${rule.name}: ${rule.lastError}`);
const firing = rules.filter((rule) => rule.state === "firing" || rule.state === "pending");
for (const { name, state, alerts } of firing) console.log(`  ${state}: ${name} (${alerts.length})`);
console.log(`  ${dashboard.panels.filter(({ type }) => type !== "row").length} panels, ${empty} without data; ${rules.length} rules, ${firing.length} alerts pending or firing`);
for (const failure of failures) console.error(failure);
process.exit(failures.length > 0 ? 1 : 0);
