// Runs the built worker in workerd on loopback until standard input closes:
//   node worker.mjs BUILD BUNDLE PORT
// Prints one line of JSON: {"url", "token"}.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Log, LogLevel, Miniflare, Response } from "miniflare";

const [build, bundle, port] = process.argv.slice(2);
const token = randomBytes(16).toString("hex");
const secrets = Object.fromEntries(["TIERCAST_MEMBER_KEY", "TIERCAST_STATE_KEY"].map((name) => [name, randomBytes(24).toString("hex")]));
const bytes = readFileSync(bundle);
const miniflare = new Miniflare({
  log: new Log(LogLevel.ERROR),
  cf: false,
  host: "127.0.0.1",
  port: Number(port),
  modulesRoot: build,
  modules: [
    { type: "ESModule", path: join(build, "index.js") },
    { type: "CompiledWasm", path: join(build, "index_bg.wasm") },
  ],
  compatibilityDate: "2026-04-01",
  // A frequent household's year is larger than what the public default lets in. Members that are stored are so while
  // this runs.
  bindings: { TIERCAST_TOKEN: token, TIERCAST_MAX_BODY_BYTES: "8388608", ...secrets },
  durableObjects: {
    MEMBERS: { className: "Member", useSQLite: true },
    DEVICES: { className: "Device", useSQLite: true },
    WATCH: { className: "Watch", useSQLite: true },
  },
  serviceBindings: { ASSETS: () => new Response(bytes) },
});
const url = await miniflare.ready;
console.log(JSON.stringify({ url: url.href, token }));
process.stdin.resume();
process.stdin.on("close", async () => {
  await miniflare.dispose();
  process.exit(0);
});
