// Scores the members of a file through the worker's HTTP interface:
//   node edge.mjs URL TOKEN MEMBERS NOW OUT
import { readFileSync, writeFileSync } from "node:fs";
import { bits, profileRow } from "./assess.mjs";

const [url, token, members, now, out] = process.argv.slice(2);
const PART = 2000;
const { members: list } = JSON.parse(readFileSync(members, "utf8"));
const { profile: profiled } = await ask("v1/model");
const rows = [];
for (const { member, events } of list) rows.push(row(member, await score(events)));
writeFileSync(out, JSON.stringify(rows));

/** A long history goes in parts: the state of one answer with the events of the next. */
async function score(events) {
  let state;
  for (let at = 0; ; at += PART) {
    const part = events.slice(at, at + PART);
    const last = at + PART >= events.length;
    const form = last ? { features: true, profile: profiled !== undefined } : { returnState: true };
    const answer = await ask("v1/score", { now, events: part, ...(state && { state }), ...form });
    if (last) return answer;
    state = answer.state;
  }
}

async function ask(route, body) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const sent = body && { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(new URL(route, url), { headers, ...sent });
  const text = await response.text();
  if (!response.ok) throw new Error(`the worker answered ${response.status}: ${text}`);
  return JSON.parse(text);
}

/** JSON has no NaN: a missing feature is null. */
function row(member, { features, probabilities, tier, standing, profile }) {
  const scored = { member, bits: bits(features.map((x) => x ?? Number.NaN)), probabilities, tier, standing };
  return { ...scored, ...(profile && profileRow(profile)) };
}
