// `wrangler deploy` as a user runs it, without uploading; and the worker under wrangler's own configuration.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { KEYS, TOKEN, edge, root, sample } from "./support/worker.js";

const run = promisify(execFile);
const wrangler = join(root, "node_modules", "wrangler", "bin", "wrangler.js");
const env = { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false", NO_COLOR: "1" };

test("wrangler deploy --dry-run builds and accepts the worker", async () => {
  const args = [wrangler, "deploy", "--dry-run"];
  const { stdout } = await run(process.execPath, args, { cwd: edge, env, timeout: 600_000 });
  assert.match(stdout, /env\.ASSETS/);
  assert.match(stdout, /env\.MEMBERS/);
  const [, size, unit, gzip] = stdout.match(/Total Upload: ([\d.]+) (\w+) \/ gzip: ([\d.]+)/);
  console.log(`wrangler: upload ${size} ${unit}, gzip ${gzip} ${unit}`);
  assert.equal(unit, "KiB");
  assert.ok(Number(gzip) < 300, "the upload has grown past 300 KB: look at what was linked in");
});

test("wrangler dev serves the bundle from its assets to the worker, and to nobody else", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tiercast-edge-"));
  const { bundle, events, now } = sample();
  for (const name of ["build", "assets", "wrangler.local.toml"]) {
    cpSync(join(edge, name), join(folder, name), { recursive: true });
  }
  mkdirSync(join(folder, "assets"), { recursive: true });
  writeFileSync(join(folder, "assets", "bundle.tcb"), bundle);
  writeFileSync(join(folder, ".dev.vars"), Object.entries({ ...KEYS, TIERCAST_TOKEN: TOKEN }).map(([name, value]) => `${name}=${value}\n`).join(""));
  const loopback = ["--ip", "127.0.0.1", "--port", "0", "--inspector-port", "0"];
  const dev = spawn(
    process.execPath,
    [wrangler, "dev", "--local", "--config", "wrangler.local.toml", ...loopback, "--show-interactive-dev-session=false"],
    { cwd: folder, env, detached: true, stdio: ["ignore", "pipe", "pipe"] },
  );
  const ended = new Promise((resolve) => dev.once("exit", resolve));
  try {
    const url = await ready(dev);
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
    assert.equal((await fetch(`${url}/bundle.tcb`)).status, 401);
    const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
    assert.equal((await fetch(`${url}/bundle.tcb`, { headers })).status, 404);
    const scored = await fetch(`${url}/v1/score`, { method: "POST", headers, body: JSON.stringify({ events, now }) });
    assert.equal((await scored.json()).tier, sample().expected.tier);
    const sent = JSON.stringify({ events: events.map((event, i) => ({ ...event, id: `event-${i}` })) });
    const stored = await fetch(`${url}/v1/members/m/events`, { method: "POST", headers, body: sent });
    assert.equal((await stored.json()).observed.added, events.length);
    const assessed = await fetch(`${url}/v1/members/m/assessment?now=${now}`, { headers });
    assert.equal((await assessed.json()).tier, sample().expected.tier);
  } finally {
    process.kill(-dev.pid, "SIGTERM");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
});

/** The address that wrangler prints once it serves; its output when it does not. */
function ready(dev) {
  return new Promise((resolve, reject) => {
    let output = "";
    const timer = setTimeout(() => reject(new Error(`wrangler dev did not start:\n${output}`)), 90_000);
    const look = (chunk) => {
      output += chunk;
      const found = output.match(/Ready on (http:\/\/[\w.:]+)/);
      if (!found) return;
      clearTimeout(timer);
      resolve(found[1]);
    };
    dev.stdout.on("data", look);
    dev.stderr.on("data", look);
    dev.once("exit", (status) => reject(new Error(`wrangler dev ended with ${status}:\n${output}`)));
  });
}

test("the configuration without [build] is otherwise the one that users deploy", () => {
  const settings = (name) => {
    const text = readFileSync(join(edge, name), "utf8").replace(/\[build\]\n[^[]*?\n\n/, "");
    return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  };
  assert.deepEqual(settings("wrangler.local.toml"), settings("wrangler.toml"));
});

test("the sizes", () => {
  const files = ["index_bg.wasm", "index.js"].map((name) => readFileSync(join(edge, "build", name)));
  const gzip = files.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0);
  console.log(`wasm ${files[0].length} bytes, script ${files[1].length} bytes; gzip -9 of both ${gzip}`);
  assert.ok(gzip <= 300_000, "the worker has grown past 300 KB: look at what was linked in");
});
