// Bundles each contestant for the browser, minified alike: what the page loads and what the sizes are taken from.
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/**
 * They lie where the package's own entry lies, so that its addresses hold.
 *
 * @returns `{ name: paths }` of the scripts that are fetched at once; what a script may import later is not among them.
 */
export async function bundle(names, to) {
  const folder = join(to, "web/dist/entry");
  const here = fileURLToPath(new URL(".", import.meta.url));
  const paths = {};
  for (const name of names) {
    const { metafile } = await build({
      entryPoints: [`contestants/${name}.js`],
      absWorkingDir: here,
      outdir: folder,
      bundle: true,
      splitting: true,
      chunkNames: `${name}-[hash]`,
      minify: true,
      format: "esm",
      target: "es2022",
      platform: "browser",
      // The build without WebGPU and WebGL is onnxruntime-web's smallest.
      alias: { "onnxruntime-web": "onnxruntime-web/wasm" },
      external: ["node:*"],
      metafile: true,
      logLevel: "error",
    });
    const entry = Object.keys(metafile.outputs).find((file) => metafile.outputs[file].entryPoint);
    paths[name] = [...needed(entry, metafile.outputs)].map((file) => resolve(here, file));
  }
  return paths;
}

/** A script and those that it imports statically. */
function needed(file, outputs, found = new Set([file])) {
  for (const { path, kind } of outputs[file].imports) {
    if (kind !== "import-statement" || found.has(path) || !outputs[path]) continue;
    found.add(path);
    needed(path, outputs, found);
  }
  return found;
}
