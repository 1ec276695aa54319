import type { BundleInfo, Decision, DecisionReason, PolicyInfo, Standing, Statement } from "tiercast";
import { byId, el, setText } from "./dom.js";
import { type Formats, featureName, percent } from "./format.js";

/** What is decided about a member, and its points; what the bundle does not give, or the history does not, is absent. */
export interface Decided {
  reward?: Decision | undefined;
  assign?: Decision | undefined;
  points?: Statement | undefined;
}

const UNKNOWN = "Not known";
const FORGOTTEN = "the history that is kept does not reach back far enough";

/** The member's offer, tier of service and points, where the bundle has policies or rules for points. */
export class DecideView {
  constructor(
    private readonly info: BundleInfo,
    private readonly formats: Formats,
  ) {
    byId("decide").hidden = false;
    for (const part of ["reward", "assign", "points"] as const) byId(part).hidden = info[part] === undefined;
  }

  /** Whether a bundle has anything for it. */
  static has({ reward, assign, points }: BundleInfo): boolean {
    return [reward, assign, points].some((part) => part !== undefined);
  }

  show({ reward, assign, points }: Decided, standing: Standing): void {
    const { info } = this;
    if (info.reward) this.#showReward(reward, info.reward);
    if (info.assign) this.#showAssign(assign, info.assign, standing);
    if (info.points) this.#showPoints(points, info.points.minRedeem);
  }

  #showReward(decision: Decision | undefined, policy: PolicyInfo): void {
    setText(byId("reward-title"), `Offer${this.#until(decision)}`);
    setText(byId("reward-action"), decision ? (decision.points > 0 ? decision.action : "No offer") : UNKNOWN);
    setText(byId("reward-chance"), decision ? chance(decision.propensity) : FORGOTTEN);
    this.#showReasons("reward", decision, policy);
  }

  #showAssign(decision: Decision | undefined, policy: PolicyInfo, standing: Standing): void {
    setText(byId("assign-title"), `Tier of service${this.#until(decision)}`);
    setText(byId("assign-action"), decision?.action ?? UNKNOWN);
    setText(byId("assign-rules"), `spend so far: ${standing.tierName}`);
    setText(byId("assign-chance"), decision ? chance(decision.propensity) : FORGOTTEN);
    this.#showReasons("assign", decision, policy);
  }

  #showReasons(part: "reward" | "assign", decision: Decision | undefined, policy: PolicyInfo): void {
    const reasons = decision?.reasons ?? [];
    const why = byId(`${part}-why`);
    why.hidden = decision === undefined;
    const drawn = policy.learner === "experiment" ? "An experiment: drawn whatever the household does" : "Nothing in particular spoke for it";
    setText(why, reasons.length > 0 ? "What spoke for it most" : drawn);
    const most = reasons[0]?.effect ?? 1;
    byId(`${part}-reasons`).replaceChildren(...reasons.map((reason) => this.#row(reason, most)));
  }

  #row({ feature, effect }: DecisionReason, most: number): HTMLElement {
    const known = this.info.features.find(({ name }) => name === feature);
    const fill = el("i");
    fill.style.width = `${(effect / most) * 100}%`;
    return el(
      "li",
      { title: known?.description ?? feature },
      el("span", { class: "name" }, known ? featureName(known) : feature),
      el("span", { class: "track", "aria-hidden": "true" }, fill),
    );
  }

  #showPoints(statement: Statement | undefined, minRedeem: number): void {
    const { formats } = this;
    setText(byId("points-balance"), statement ? count(statement.balance) : UNKNOWN);
    setText(byId("points-value"), statement ? `worth ${formats.money(statement.valueMinor)}` : FORGOTTEN);
    const rows = statement
      ? [
          ["Next to expire", this.#nextExpiry(statement)],
          ["Can be redeemed", statement.balance < minRedeem ? `From ${count(minRedeem)} on` : "Now"],
          ["Earned so far", statement.earned.toLocaleString("en")],
          ["Expired", statement.expired.toLocaleString("en")],
        ]
      : [];
    const row = ([name = "", value = ""]: string[]) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
    byId("points-facts").replaceChildren(...rows.map(row));
  }

  /** Points expire at the end of a day, which is the moment before they are gone. */
  #nextExpiry({ expiring: [next] }: Statement): string {
    return next ? `${next.points.toLocaleString("en")} on ${this.formats.shortDay(next.at - 1)}` : "None";
  }

  #until(decision: Decision | undefined): string {
    return decision ? ` until ${this.formats.shortDay(Date.parse(decision.periodEnd))}` : "";
  }
}

/** How sure an action was, in words. */
function chance(propensity: number): string {
  if (propensity === 1) return "the only one possible";
  return `drawn with a chance of ${propensity > 0.995 ? ">99\u202f%" : percent(propensity)}`;
}

function count(points: number): string {
  return points === 1 ? "1 point" : `${points.toLocaleString("en")} points`;
}
