import type { Scorer } from "tiercast";
import type { MemberHistory } from "./history.js";
import { DAY } from "./replay.js";

/** How many members are looked at. */
const CONSIDERED = 12;

/** The member to open with: of those neither quiet nor busy, the one that changed tiers most. */
export function worthWatching(scorer: Scorer, histories: MemberHistory[]): MemberHistory | undefined {
  const bySize = [...histories].sort((a, b) => a.events.length - b.events.length);
  const first = Math.max(0, Math.floor((bySize.length - CONSIDERED) / 2));
  const changes = bySize
    .slice(first, first + CONSIDERED)
    .map((history) => ({ history, count: tierChanges(scorer, history) }));
  return changes.sort((a, b) => b.count - a.count)[0]?.history;
}

/** How often the tier at a period's end differs from that of the period before. */
function tierChanges(scorer: Scorer, { events }: MemberHistory): number {
  const member = scorer.member();
  const tiers: number[] = [];
  let from = events[0]?.time ?? 0;
  const last = events.at(-1)?.time ?? -1;
  while (from <= last) {
    const end = Date.parse(member.assess(from).standing.periodEnd) + DAY - 1;
    member.observe(events.filter(({ time }) => time >= from && time <= end));
    tiers.push(member.assess(end).standing.tier);
    from = end + 1;
  }
  member.dispose();
  return tiers.filter((tier, i) => i > 0 && tier !== tiers[i - 1]).length;
}
