// openapi.json is whole: its references resolve, its examples are real, and its codes are those in the source.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openapi } from "./support/openapi.js";
import { edge, root } from "./support/worker.js";

const responses = Object.values(openapi.components.responses);
const documented = new Set(responses.flatMap((response) => response["x-codes"]));

test("every reference resolves and every component is used", () => {
  const text = JSON.stringify(openapi);
  const refs = [...text.matchAll(/"\$ref":"#\/components\/(\w+\/\w+)"/g)];
  const used = new Set(refs.map(([, ref]) => ref));
  for (const ref of used) {
    const [kind, name] = ref.split("/");
    assert.ok(openapi.components[kind][name], `${ref} does not exist`);
  }
  // No path can list the answer to a path that does not exist.
  for (const kind of ["schemas", "responses"]) {
    for (const name of Object.keys(openapi.components[kind])) if (name !== "NotFound") assert.ok(used.has(`${kind}/${name}`), `${name} is unused`);
  }
});

test("every code that the worker or core can give is documented, and in the README", () => {
  const files = readdirSync(join(edge, "src")).map((name) => readFileSync(join(edge, "src", name), "utf8"));
  const source = files.map((text) => text.split("#[cfg(test)]")[0]).join("\n");
  const own = [...source.matchAll(/Problem::new\(\s*\d+,\s*"(\w+)"/g)].map(([, code]) => code);
  const [, refusals] = readFileSync(join(edge, "src", "release.rs"), "utf8").match(/const REFUSALS([^]*?)\n\];/);
  own.push(...[...refusals.matchAll(/\(?\s*"((?:release|bundle)_\w+)",/g)].map(([, code]) => code));
  assert.ok(own.length > 25 && own.includes("release_old"), "the codes were found in the source");
  const readme = readFileSync(join(edge, "README.md"), "utf8");
  for (const code of own) {
    assert.ok(documented.has(code), `${code} is not in openapi.json`);
    assert.ok(readme.includes(`\`${code}\``), `${code} is not in README.md`);
  }
  const core = readFileSync(join(root, "core", "src", "error.rs"), "utf8");
  const kinds = [...core.matchAll(/Self::\w+ => "(\w+)"/g)].map(([, code]) => code);
  // A row of the wrong length cannot be sent: rows are made by core itself.
  for (const code of kinds.filter((kind) => kind !== "invalid_input")) {
    assert.ok(documented.has(code), `core's ${code} is not in openapi.json`);
  }
});

test("the enumeration of codes is the sum of the responses'", () => {
  assert.deepEqual([...openapi.components.schemas.Error.properties.code.enum].sort(), [...documented].sort());
});

test("the ways to choose a tier are core's", () => {
  const core = readFileSync(join(root, "core", "src", "tasks", "tier.rs"), "utf8");
  const [, variants] = core.match(/variants!\(Decode \{([^}]+)\}\)/);
  const { properties } = openapi.components.schemas.Model;
  assert.deepEqual(properties.decode.enum, variants.split(",").map((name) => name.trim().toLowerCase()));
});

test("the version is the crate's", () => {
  const manifest = readFileSync(join(root, "Cargo.toml"), "utf8");
  const [, version] = manifest.match(/\[workspace\.package\]\nversion = "([^"]+)"/);
  assert.equal(openapi.info.version, version);
});
