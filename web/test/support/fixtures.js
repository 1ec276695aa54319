import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const repository = new URL("../../../", import.meta.url);

/** A file of parity vectors, with the path of its bundle. That it is missing or empty is an error. */
export async function vectors(file) {
  const { bundle, cases } = JSON.parse(await readFile(file, "utf8"));
  if (!cases.length) throw new Error(`${file} has no cases`);
  return { bundle: fileURLToPath(new URL(bundle, repository)), cases };
}

/** The files of members' vectors: the committed ones, and those of real members where a run was given them. */
export function memberVectorFiles() {
  const real = process.env.TIERCAST_REAL_VECTORS;
  const committed = fileURLToPath(new URL("tests/vectors/members.json", repository));
  return real ? [committed, real] : [committed];
}

/** The bundles that are damaged in known ways. */
export const DAMAGE = fileURLToPath(new URL("tests/vectors/damage.json", repository));

/** The bundle that the vectors were made with. */
export const BUNDLE = fileURLToPath(new URL("tests/fixtures/fixture.tcb", repository));

/** The same members and model, kept as ONNX. */
export const ONNX_BUNDLE = fileURLToPath(new URL("tests/fixtures/fixture-onnx.tcb", repository));

/** The same members, with profiles, which need all kernels. */
export const PROFILE_BUNDLE = fileURLToPath(new URL("tests/fixtures/profile.tcb", repository));

/** The same members, with recommendations, which need all kernels. */
export const RECOMMEND_BUNDLE = fileURLToPath(new URL("tests/fixtures/recommend.tcb", repository));

/** The same members, with policies and rules for points, which need all kernels. */
export const DECIDE_BUNDLE = fileURLToPath(new URL("tests/fixtures/decide.tcb", repository));

/** The same members, with what judges risk, which needs all kernels. */
export const RISK_BUNDLE = fileURLToPath(new URL("tests/fixtures/risk.tcb", repository));

/** The same members and another model, decoding by ranks. */
export const RANKS_BUNDLE = fileURLToPath(new URL("tests/fixtures/ranks.tcb", repository));

/** Models on their own (`tests/fixtures/models.py`): one for every build, and one that needs all kernels. */
export const DENSE_MODEL = fileURLToPath(new URL("tests/fixtures/model-dense.tcb", repository));
export const CONV_MODEL = fileURLToPath(new URL("tests/fixtures/model-conv.tcb", repository));

/** A made-up household: about two baskets a week through 2017, the same on every run. */
export function household(seed, events = 200) {
  let state = seed;
  const random = () => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return state / 4294967296;
  };
  const categories = ["GROCERY", "PRODUCE", "MEAT", "DRUG GM", "PASTRY", "DELI"];
  const start = Date.UTC(2017, 0, 1);
  return Array.from({ length: events }, (_, i) => {
    const basket = Math.floor(i / 5);
    const day = Math.floor((basket / (events / 5)) * 365);
    return {
      id: `${seed}-${i}`,
      kind: "purchase",
      time: start + day * 86_400_000 + 36_000_000 + (basket % 9) * 3_600_000,
      amount: (0.5 + random() * (6 + 5 * Math.sin(day / 58))).toFixed(2),
      discount: random() < 0.3 ? (random() * 2).toFixed(2) : "0",
      quantity: 1 + Math.floor(random() * 3),
      item: String(Math.floor(random() * 400)),
      category: categories[Math.floor(random() * categories.length)],
      channel: String(1 + Math.floor(random() * 3)),
      order: `${seed}-${basket}`,
    };
  });
}
