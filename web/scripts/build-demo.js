// Builds the demo page into a folder of static files (demo/dist if no other is given):
//   node scripts/build-demo.js [--out DIR] [--bundle FILE.tcb] [--members FILE.json]
// The page reads bundle.tcb and members.json beside it; what is not given here is placed there later.
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const web = fileURLToPath(new URL("..", import.meta.url));

/** What the package may fetch, and what it is called beside the page. */
const MODULES = {
  "pkg/tiercast_wasm_bg.wasm": "tiercast.wasm",
  "pkg/all/tiercast_wasm_bg.wasm": "tiercast-all.wasm",
  "pkg/scalar/tiercast_wasm_bg.wasm": "tiercast-scalar.wasm",
};

/** Points `new URL("….wasm", import.meta.url)` beside the page, as bundlers do that copy assets; esbuild does not. */
const modulesBeside = {
  name: "modules-beside",
  setup(build) {
    build.onLoad({ filter: /dist[\\/]entry[\\/]browser\.js$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      const moved = (text, [from, to]) => text.replaceAll(`"../../${from}"`, `"./${to}"`);
      return { contents: Object.entries(MODULES).reduce(moved, source) };
    });
  },
};

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
    plugins: [modulesBeside],
    absWorkingDir: web,
  });
  await Promise.all([
    copyFile(join(web, "demo/index.html"), join(out, "index.html")),
    ...Object.entries(MODULES).map(([from, to]) => copyFile(join(web, from), join(out, to))),
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
