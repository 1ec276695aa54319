// One job in this fresh Node process: in-node.js FILES JOB OPTIONS-AS-JSON. Prints its result as JSON.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as jobs from "./jobs.js";

const [folder, job, options] = process.argv.slice(2);
const assets = {
  browser: false,
  bytes: async (name) => new Uint8Array(await readFile(join(folder, name))),
  json: async (name) => JSON.parse(await readFile(join(folder, name), "utf8")),
  module: (name) => import(`./contestants/${name}.js`),
};
const result = await jobs[job](assets, JSON.parse(options ?? "{}"));
process.stdout.write(JSON.stringify(result), () => process.exit(0));
