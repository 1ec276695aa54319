import type { BundleInfo, Feature } from "tiercast";

/** Everything the page writes as text: money in the bundle's currency, days in UTC, as the shop's rules count them. */
export class Formats {
  readonly #money: Intl.NumberFormat;
  readonly #round: Intl.NumberFormat;
  readonly #scale: number;
  readonly #day = utc({ day: "numeric", month: "long", year: "numeric" });
  readonly #shortDay = utc({ day: "numeric", month: "long" });
  readonly #time = utc({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  readonly #month = utc({ month: "short" });

  constructor({ currency }: BundleInfo) {
    const style = { style: "currency", currency: currency.code, currencyDisplay: "narrowSymbol" } as const;
    this.#money = new Intl.NumberFormat("en", {
      ...style,
      minimumFractionDigits: currency.exponent,
      maximumFractionDigits: currency.exponent,
    });
    this.#round = new Intl.NumberFormat("en", { ...style, minimumFractionDigits: 0, maximumFractionDigits: 0 });
    this.#scale = 10 ** currency.exponent;
  }

  /** Minor units, exactly. */
  money(minor: number): string {
    return this.#money.format(minor / this.#scale);
  }

  /** Minor units, to the nearest major one: for scales and labels. */
  roundMoney(minor: number): string {
    return this.#round.format(minor / this.#scale);
  }

  /** The currency's symbol. */
  get symbol(): string {
    return this.#money.formatToParts(0).find(({ type }) => type === "currency")?.value ?? "";
  }

  day(ms: number): string {
    return this.#day.format(ms);
  }

  shortDay(ms: number): string {
    return this.#shortDay.format(ms);
  }

  time(ms: number): string {
    return this.#time.format(ms);
  }

  /** A period by its months: "Jan – Mar". */
  period(start: number, end: number): string {
    const [first, last] = [this.#month.format(start), this.#month.format(end)];
    return first === last ? first : `${first} – ${last}`;
  }

  /** A feature's value with its unit; "–" when it is missing. */
  feature({ unit }: Feature, value: number): string {
    if (Number.isNaN(value)) return "–";
    switch (unit) {
      case "days":
        return value < 10 && value % 1
          ? `${value.toFixed(1)} days`
          : `${Math.round(value)} ${value === 1 ? "day" : "days"}`;
      case "ratio":
        return percent(value);
      case "code":
        return value.toString(16);
      case "number":
        return value.toFixed(2);
      case "count":
      case "units":
        return Math.round(value).toLocaleString("en");
      default:
        return this.#money.format(value);
    }
  }
}

export function percent(share: number): string {
  const value = share * 100;
  return `${value > 0 && value < 1 ? "<1" : Math.round(value)}\u202f%`;
}

/** A feature's name as words: `spend_28d` is "Spend, 28 days". */
export function featureName({ name }: Feature): string {
  const words = name
    .replace(/_(\d+)(d|w|h)\b/g, (_, n: string, unit: "d" | "w" | "h") => `, ${n} ${UNITS[unit]}`)
    .replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** "GROCERY" and "grocery" read as "Grocery", "DRUG GM" as "Drug GM". */
export function inSentenceCase(text: string): string {
  const words = text.split(" ").map((word) => (word.length > 2 ? word.toLowerCase() : word));
  const sentence = words.join(" ");
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

const UNITS = { d: "days", w: "weeks", h: "hours" };

function utc(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
}
