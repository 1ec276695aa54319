// What a page downloads: every script and module, gzip -9.
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

/** @returns `{ files: { name: bytes }, bytes }` after compression. */
export async function download(files) {
  const sizes = {};
  for (const [name, path] of Object.entries(files)) {
    sizes[name] = gzipSync(await readFile(path), { level: 9 }).length;
  }
  return { files: sizes, bytes: Object.values(sizes).reduce((sum, size) => sum + size, 0) };
}
