// Holds every answer of every test against openapi.json, so that the file stays true.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

export const openapi = JSON.parse(readFileSync(new URL("../../openapi.json", import.meta.url), "utf8"));

const resolve = (node) => {
  let found = node;
  while (found?.$ref) found = found.$ref.slice(2).split("/").reduce((at, key) => at[key], openapi);
  return found;
};

/** Asserts that status, media type, body and error code of an answer are documented for its route. */
export function checkAnswer(method, path, { status, headers, json }) {
  assert.equal(headers.get("cache-control"), "no-store", `${method} ${path} may be cached`);
  const operations = openapi.paths[path] ?? openapi.paths[templateOf(path)];
  const described = operations?.[method.toLowerCase()];
  if (status === 204) {
    assert.ok(method === "OPTIONS" || described?.responses[204], `${method} ${path} answered 204, which openapi.json does not list`);
    return;
  }
  const [type] = headers.get("content-type").split(";");
  const operation = operations?.[method === "HEAD" ? "get" : method.toLowerCase()];
  const response = operation ? resolve(operation.responses[status]) : anyMethod(operations, status);
  assert.ok(response, `${method} ${path} answered ${status}, which openapi.json does not list`);
  if (method === "HEAD") return assert.equal(json, undefined);
  assert.ok(response.content[type], `${method} ${path} answered with ${type}`);
  if (type !== "application/json") return;
  const errors = validate(json, response.content[type].schema);
  assert.deepEqual(errors, [], `${method} ${path} ${status}: ${JSON.stringify(json).slice(0, 300)}`);
  if (response["x-codes"]) {
    assert.ok(response["x-codes"].includes(json.error.code), `${json.error.code} is not listed for ${status}`);
  }
}

/** The path of a stored member as openapi.json has it. */
function templateOf(path) {
  return path.replace(/^(\/v1\/members\/)[^/]*/, "$1{id}");
}

/** A method that the route does not have, or a path that does not exist: refused before either matters. */
function anyMethod(operations, status) {
  const allowed = operations ? ["401", "405", "503"] : ["401", "404", "503"];
  if (!allowed.includes(String(status))) return undefined;
  return Object.values(openapi.components.responses).find((response) => {
    return response.description === resolve(named[status])?.description;
  });
}

const named = {
  401: { $ref: "#/components/responses/Unauthorized" },
  404: { $ref: "#/components/responses/NotFound" },
  405: { $ref: "#/components/responses/MethodNotAllowed" },
  503: { $ref: "#/components/responses/Unavailable" },
};

/** The part of JSON Schema that openapi.json uses; a keyword it does not know is an error, not a pass. */
export function validate(value, schemaOrRef, at = "$") {
  const schema = resolve(schemaOrRef);
  const errors = [];
  for (const [keyword, rule] of Object.entries(schema)) {
    const check = keywords[keyword];
    if (!check) throw new Error(`openapi.json uses ${keyword}, which this test does not check`);
    errors.push(...check(value, rule, at, schema));
  }
  return errors;
}

const typeOf = (value) => {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (Number.isInteger(value)) return "integer";
  return typeof value;
};
const isObject = (value) => typeOf(value) === "object";
const fails = (bad, at, why) => (bad ? [`${at} ${why}`] : []);
const ignored = () => [];

const keywords = {
  description: ignored,
  examples: ignored,
  default: ignored,
  format: ignored,
  contentEncoding: ignored,
  type: (value, rule, at) => {
    const types = [rule].flat();
    const type = typeOf(value);
    return fails(!types.includes(type) && !(type === "integer" && types.includes("number")), at, `is ${type}, not ${types}`);
  },
  const: (value, rule, at) => fails(value !== rule, at, `is not ${rule}`),
  enum: (value, rule, at) => fails(!rule.includes(value), at, `${value} is not in the list`),
  pattern: (value, rule, at) => fails(typeof value === "string" && !new RegExp(rule).test(value), at, `is not ${rule}`),
  minimum: (value, rule, at) => fails(value < rule, at, `is under ${rule}`),
  maximum: (value, rule, at) => fails(value > rule, at, `is over ${rule}`),
  minLength: (value, rule, at) => fails(value?.length < rule, at, "is too short"),
  maxLength: (value, rule, at) => fails(value?.length > rule, at, "is too long"),
  items: (value, rule, at) => (Array.isArray(value) ? value.flatMap((v, i) => validate(v, rule, `${at}[${i}]`)) : []),
  required: (value, rule, at) => {
    return isObject(value) ? rule.filter((k) => !(k in value)).map((k) => `${at} lacks ${k}`) : [];
  },
  properties: (value, rule, at) => {
    if (!isObject(value)) return [];
    return Object.entries(rule).flatMap(([k, s]) => (k in value ? validate(value[k], s, `${at}.${k}`) : []));
  },
  additionalProperties: (value, rule, at, schema) => {
    if (rule !== false || !isObject(value)) return [];
    return Object.keys(value).filter((k) => !(k in schema.properties)).map((k) => `${at} has ${k}`);
  },
  anyOf: (value, rule, at) => fails(!rule.some((s) => validate(value, s, at).length === 0), at, "fits none"),
  oneOf: (value, rule, at) => {
    const tried = rule.map((s) => validate(value, s, at));
    const fitting = tried.filter((found) => found.length === 0).length;
    return fitting === 1 ? [] : [`${at} fits ${fitting} of ${rule.length}`, ...tried.flat()];
  },
};
