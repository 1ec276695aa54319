import { execFile } from "node:child_process";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const run = promisify(execFile);

const web = fileURLToPath(new URL("../..", import.meta.url));

/** Packs the package as npm would publish it; the caller removes the folder. */
export async function pack() {
  const folder = await mkdtemp(join(tmpdir(), "tiercast-pack-"));
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: web });
  const packed = JSON.parse(stdout);
  const { filename, files } = Array.isArray(packed) ? packed[0] : Object.values(packed)[0];
  return {
    folder,
    tarball: join(folder, filename),
    files: files.map(({ path }) => path),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** A new project with the tarball installed, and the given files. */
export async function projectWith(packed, name, files) {
  const project = join(packed.folder, name);
  await mkdir(project, { recursive: true });
  await writeFile(join(project, "package.json"), JSON.stringify({ name, private: true, type: "module" }));
  for (const [path, content] of Object.entries(files)) await writeFile(join(project, path), content);
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", packed.tarball], { cwd: project });
  return project;
}
