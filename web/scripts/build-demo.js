// Builds the demo page into a folder of static files (demo/dist if no other is given):
//   node scripts/build-demo.js [--out DIR] [--bundle FILE.tcb] [--members FILE.json]
// The page reads bundle.tcb and members.json beside it; what is not given here is placed there later.
import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const web = fileURLToPath(new URL("..", import.meta.url));

export async function buildDemo({ out, bundle, members }) {
  await mkdir(out, { recursive: true });
  await build({
    entryPoints: [join(web, "demo/src/main.ts"), join(web, "demo/src/main.css")],
    outdir: out,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    conditions: ["browser"],
    logLevel: "warning",
    // The page names the WebAssembly file itself; the package's default address is for bundlers that copy assets.
    logOverride: { "empty-import-meta": "silent" },
    absWorkingDir: web,
  });
  await Promise.all([
    copyFile(join(web, "demo/index.html"), join(out, "index.html")),
    copyFile(join(web, "pkg/tiercast_wasm_bg.wasm"), join(out, "tiercast.wasm")),
    bundle && copyFile(bundle, join(out, "bundle.tcb")),
    members && copyFile(members, join(out, "members.json")),
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { out: { type: "string" }, bundle: { type: "string" }, members: { type: "string" } },
  });
  const from = process.env.INIT_CWD ?? process.cwd();
  const given = (path) => path && resolve(from, path);
  const out = given(values.out) ?? join(web, "demo/dist");
  await buildDemo({ out, bundle: given(values.bundle), members: given(values.members) });
  console.log(`demo page in ${out}`);
}
