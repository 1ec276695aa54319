// Scores the members of a file in Node, through the package's own entry point:
//   node node.mjs BUNDLE MEMBERS NOW OUT
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { assessAll } from "./assess.mjs";

const [bundle, members, now, out] = process.argv.slice(2);
// Resolved by its name from its own folder, so that the export map is what decides.
const entry = createRequire(new URL("../../web/package.json", import.meta.url)).resolve("tiercast");
const { Scorer } = await import(pathToFileURL(entry));
const scorer = await Scorer.load(bundle);
const { members: list } = JSON.parse(readFileSync(members, "utf8"));
writeFileSync(out, JSON.stringify(assessAll(scorer, list, Date.parse(now))));
