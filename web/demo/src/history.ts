import type { MemberEvent } from "tiercast";

/** The file that `tiercast members` writes. */
export interface MembersFile {
  members: { member: string; events: MemberEvent[] }[];
}

/** An event on the page's own clock, with names as text. */
export interface TimedEvent extends MemberEvent {
  time: number;
  item?: string | undefined;
  category?: string | undefined;
}

/** A member whose past can be replayed. */
export interface MemberHistory {
  name: string;
  events: TimedEvent[];
}

/** Reads the members, each with its events in order of time. */
export async function loadHistories(address: string): Promise<MemberHistory[]> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address} answered ${response.status}`);
  const { members } = (await response.json()) as MembersFile;
  return members
    .map(({ member, events }) => ({
      name: /^\d+$/.test(member) ? `Member ${member}` : member,
      events: events.map(timed).sort((a, b) => a.time - b.time),
    }))
    .sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
}

function timed(event: MemberEvent): TimedEvent {
  return { ...event, time: new Date(event.time).getTime(), item: text(event.item), category: text(event.category) };
}

function text(name: string | number | undefined): string | undefined {
  return name === undefined ? undefined : String(name);
}

/** Lines of one order, or a single event: what a person would call one thing that happened. */
export interface Happening {
  time: number;
  kind: string;
  lines: TimedEvent[];
  mine: boolean;
}

/** Groups order lines, oldest first. */
export function happenings(events: TimedEvent[], mine: ReadonlySet<TimedEvent>): Happening[] {
  const orders = new Map<string, Happening>();
  const all: Happening[] = [];
  for (const event of events) {
    const key = event.order ? `${event.kind}/${event.order}` : "";
    const known = key ? orders.get(key) : undefined;
    if (known) {
      known.lines.push(event);
      continue;
    }
    const happening = { time: event.time, kind: event.kind, lines: [event], mine: mine.has(event) };
    if (key) orders.set(key, happening);
    all.push(happening);
  }
  return all;
}
