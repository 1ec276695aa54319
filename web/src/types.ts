/** The built-in kinds of events; a shop can declare more. */
export type EventKind =
  | "purchase"
  | "return"
  | "view"
  | "cart"
  | "search"
  | "session"
  | "login"
  | "review"
  | "coupon"
  | (string & {});

/**
 * Something a member did. Required are `kind` and `time`; an unknown field is refused.
 * Names (`id`, `item`, `category`, `channel`, `order`, `device`, `card`, `address`) are texts or whole numbers; 5 and `"5"` are the same name.
 */
export interface MemberEvent {
  /** What happened. */
  kind: EventKind;
  /** When: a Date, milliseconds since 1970, or an ISO 8601 date or date-time in UTC. */
  time: Date | number | string;
  /** Identity: an event whose identity is known is not counted again. */
  id?: string | number | undefined;
  /** What was paid (or, for a return, paid back) in major units; text such as `"12.34"` is exact. Never negative. */
  amount?: number | string | undefined;
  /** The same in minor units; give one of the two. */
  amountMinor?: number | undefined;
  /** {@link MemberEvent.amountMinor} as tables name the column. */
  amount_minor?: number | undefined;
  /** What was taken off the price, as `amount`. */
  discount?: number | string | undefined;
  /** The same in minor units; give one of the two. */
  discountMinor?: number | undefined;
  /** {@link MemberEvent.discountMinor} as tables name the column. */
  discount_minor?: number | undefined;
  /** Units, 1 if absent. */
  quantity?: number | undefined;
  /** The item's identifier. */
  item?: string | number | undefined;
  /** The item's category. */
  category?: string | number | undefined;
  /** The channel or store. */
  channel?: string | number | undefined;
  /** The order or basket; lines of one order share it. */
  order?: string | number | undefined;
  /** The device that it came from. */
  device?: string | number | undefined;
  /** The card or other means that it was paid with: a token, never the number. */
  card?: string | number | undefined;
  /** The address that it goes to. */
  address?: string | number | undefined;
  /** The IP address that it came from; of it only the network is kept, as a hash. */
  ip?: string | undefined;
  /** Where it came from, in degrees, with `longitude`; kept to about ten kilometres. */
  latitude?: number | undefined;
  /** Where it came from, in degrees, with `latitude`. */
  longitude?: number | undefined;
  /** How many members the shop has seen with the device until then, this one included. */
  deviceMembers?: number | undefined;
  /** {@link MemberEvent.deviceMembers} as tables name the column. */
  device_members?: number | undefined;
}

/** What {@link Member.observe} did. */
export interface Observed {
  /** Events that are part of the history now. */
  added: number;
  /** Events whose identity was known; of each identity the earliest event counts. */
  duplicates: number;
  /** Events older than what the bounded history still holds; they changed nothing. */
  tooLate: number;
}

/** What a bundle says about a member at a moment. */
export interface Assessment {
  /** The moment, milliseconds since 1970. */
  now: number;
  /** Hash of the feature schema. */
  schemaHash: string;
  /** The raw features in the order of `info.features`; NaN is a missing value. */
  features: Float32Array;
  /** Probability of each tier in the period that starts at `now`, tier 1 first; they sum to 1. */
  probabilities: Float32Array;
  /** The tier decided on, from 1. */
  tier: number;
  /** Its name. */
  tierName: string;
  /** The mean of the tiers, weighted by probability. */
  expectedTier: number;
  /** Where the member stands in the current period by the shop's own rules. */
  standing: Standing;
  /** What limits this answer, in words; usually empty. */
  warnings: string[];
}

/** A feature's part in what the model expects. */
export interface Reason {
  /** Its name. */
  feature: string;
  /** The member's value; NaN is missing. */
  value: number;
  /** The usual value among the members that the model was trained on; NaN if it is mostly missing. */
  typical: number;
  /** By how many tiers the member's value, against the typical one, raises `expectedTier`; negative lowers it. */
  effect: number;
}

/** How a member behaves, by a network over the member's sequence. */
export interface Profile {
  /** The moment, milliseconds since 1970. */
  now: number;
  /** The behaviour embedding: numbers between −1 and 1. Members whose embeddings point the same way behave alike. */
  embedding: Float32Array;
  /** Probability of no purchase in the period that starts at `now`. */
  churn: number;
  /** Expected days to the next purchase, given that it is within the period. */
  nextPurchase: number;
  /** The segment with the nearest centre: its index, the largest is 0. */
  segment: number;
  /** Its name, made of what sets it apart. */
  segmentName: string;
  /** The categories that recent spend went to, most first. */
  interests: Interest[];
}

/** A category's part in a member's recent spend. */
export interface Interest {
  /** The category. */
  category: string;
  /** Its share of the purchases, those without a category included, each counting the less the older it is. */
  share: number;
}

/** What a list of recommendations shall be like. */
export interface RecommendOptions {
  /** Items of the list, 1 to 100; 10 by default. */
  count?: number;
  /** Only items that the member has not bought before. */
  newOnly?: boolean;
  /** Items, categories, groups and brands to leave out. */
  exclude?: string[];
  /** The items that there are; without it, all. */
  available?: string[];
  /** What the odds of an item, or of every item of a category, group or brand, are multiplied by: above 0, up to 1000. */
  boost?: Record<string, number>;
  /** How much of the order is given to diversity, 0 to 1; by default what the bundle says. */
  diversity?: number;
  /** Whether a new member gets the list of its step of the shop's welcome, where the bundle has one; true by default. */
  welcome?: boolean;
}

/** An item that a member may want. */
export interface Recommendation {
  /** The item's identifier, as in events. */
  item: string;
  /** What people call it, if the bundle knows. */
  name?: string;
  /** Its category, if it has one. */
  category?: string;
  /** Probability that the member buys it within `info.recommend.periodDays` days, without boosts. */
  probability: number;
  /** Why it is in the list, the strongest reason first. */
  reasons: Why[];
}

/** Why an item is in a list. */
export type Why =
  /** The member buys it again and again. */
  | { kind: "habit"; orders: number; everyDays: number; daysSince: number }
  /** The member has bought it once. */
  | { kind: "before"; daysSince: number }
  /** Members who buy that item, which this member knows, buy this one. */
  | { kind: "together"; with: string; name?: string }
  /** The member cares about its category: the share of what was bought lately. */
  | { kind: "category"; category: string; share: number }
  /** That share of the active members bought it in the last period. */
  | { kind: "popular"; share: number }
  /** That share of the tier's members buys it in a period. */
  | { kind: "popularInTier"; tier: number; share: number }
  /** The member is new, and at this step of the shop's welcome. The last of an item's reasons. */
  | { kind: "welcome"; step: string };

/** For whom a decision is, and what it shall take into account. */
export interface RewardOptions {
  /**
   * Whom the decision is for: any text, 1 to 256 bytes, that is the member's own and stays the same, such as a pseudonym.
   * The draw is made of it, and it goes nowhere else.
   */
  member: string;
  /** Points that the member was already given in this period, which count against the policy's cap; 0 by default. */
  given?: number;
  /** Names of actions that are out of the question. */
  exclude?: string[];
  /** Reasons at most, 0 to 10; 3 by default. */
  reasons?: number;
  /** The moment, a Date or milliseconds since 1970; this moment by default. */
  now?: Date | number;
}

/** The same for a tier of service. */
export interface AssignOptions extends RewardOptions {
  /** The tier of service that the member has now, from 1; the tier by the shop's rules by default. */
  current?: number;
}

/** What a member gets in the period around a moment: log it whole, it is what the next policy is judged and learned by. */
export interface Decision {
  /** What was decided on: a tier of service, or an offer of points. */
  task: "assign" | "reward";
  /** The policy's name and version. */
  policy: string;
  /** The bundle's fingerprint, 16 hexadecimal digits. */
  bundle: string;
  /** The action's name. */
  action: string;
  /** Its index among the policy's actions, from 0; for tiers, one less than the tier. */
  index: number;
  /** Points that it offers. */
  points: number;
  /** The chance with which it was taken, above 0 and at most 1. */
  propensity: number;
  /** The chance of each action, in the order of `info.assign.actions` or `info.reward.actions`; 0 for one that was out. */
  chances: number[];
  /** First day of the period that the decision holds for, UTC. */
  periodStart: string;
  /** Last day of it. */
  periodEnd: string;
  /** What moved the policy towards this action, the strongest first; none for an experiment. */
  reasons: DecisionReason[];
}

/** A feature's part in a decision. */
export interface DecisionReason {
  /** Its name. */
  feature: string;
  /** By how much the member's value, against the typical one, raises the chance or the value of the action taken; above 0. */
  effect: number;
}

/** Points, and the moment that they are about: when they expire, or were redeemed. */
export interface PointsAt {
  /** The moment; in answers milliseconds since 1970. */
  at: Date | number;
  /** How many. */
  points: number;
}

/** What is known of a member's points besides the events. */
export interface PointsOptions {
  /** The moment, a Date or milliseconds since 1970; this moment by default. */
  now?: Date | number;
  /** What the member redeemed, in any order. */
  redemptions?: PointsAt[];
  /** An earlier statement, which stands for all events and redemptions up to and including its moment. */
  opening?: Statement;
}

/** A member's points at a moment: whole numbers, `balance = earned − redeemed − expired − reversed`. */
export interface Statement {
  /** The moment, milliseconds since 1970. */
  at: number;
  /** Points that can be redeemed. */
  balance: number;
  /** All that were ever earned. */
  earned: number;
  /** Those that were redeemed. */
  redeemed: number;
  /** Those that expired. */
  expired: number;
  /** Those that returns took back. */
  reversed: number;
  /** Those that returns should have taken back, had they not been redeemed or expired before. */
  short: number;
  /** What expires when, ascending, if nothing is redeemed; what is missing to the balance never expires. */
  expiring: { at: number; points: number }[];
  /** What the balance is worth when it is redeemed, minor units, rounded down. */
  valueMinor: number;
  /** The balance if it suffices for a redemption, otherwise 0. */
  redeemable: number;
  /** What the balance is expected to cost the shop: its value without the declared breakage, minor units, rounded down. */
  liabilityMinor: number;
  /** Of the points that were redeemed or expired, those that expired, per mille. */
  breakage: number;
  /** The tier by which purchases earn at this moment, from 1: what the net spend of the period before has earned. */
  tier: number;
  /** Net spend so far in the period of the tiers, minor units; below 0 when more was returned than bought. */
  spendMinor: number;
  /** Points earned so far on this UTC day, returns not subtracted. */
  earnedToday: number;
}

/** For whom an event would earn points. */
export interface EarnOptions {
  /** The member's tier, from 1. */
  tier: number;
  /** Points that the member has earned on that UTC day before; 0 by default. */
  earnedToday?: number;
}

/** What an event earns: whole points, `points = base + bonus − capped`. */
export interface Earned {
  /** Points earned; below 0 what a return takes back. */
  points: number;
  /** What the rate alone gives. */
  base: number;
  /** What the tier and bonuses change of it. */
  bonus: number;
  /** What the caps keep back, never below 0. */
  capped: number;
}

/** Where a member stands by spend so far in the current period. Amounts are exact decimals; days are UTC, `2017-03-31`. */
export interface Standing {
  /** The tier that the spend so far earns, from 1. */
  tier: number;
  /** Its name. */
  tierName: string;
  /** Purchases minus returns so far, never below 0, for example `"612.40"`. */
  spend: string;
  /** The same in minor units. */
  spendMinor: number;
  /** Whether all events of the period are still known; if not, the spend is a lower bound. */
  exact: boolean;
  /** First day of the period. */
  periodStart: string;
  /** Last day of the period. */
  periodEnd: string;
  /** What is missing to the next tier; null in the highest. */
  next: NextTier | null;
}

/** The distance to the next tier: "42.00 more by 2017-03-31". */
export interface NextTier {
  /** The next tier. */
  tier: number;
  /** Its name. */
  tierName: string;
  /** The spend that is missing, as an exact decimal. */
  amount: string;
  /** The same in minor units. */
  amountMinor: number;
  /** The last day on which it counts. */
  by: string;
}

/** What a bundle says about itself. */
export interface BundleInfo {
  /** The job: `tier`. */
  task: string;
  /** What the shop calls it. */
  name: string;
  /** The shop's version of it. */
  version: string;
  /** The program and version that wrote it. */
  producer: string;
  /** Kind of model, for example `dnn`. */
  model: string;
  /** Which engine runs it: the compact one, or ONNX through `tiercast/onnx`. */
  engine: "plan" | "onnx";
  /** How the tier is chosen from the probabilities. */
  decode: "argmax" | "median" | "expected" | "ranks";
  /** Of `ranks`: where the tiers' shares are cut. */
  cuts?: number[];
  /** Hash of the feature schema; states and models fit together when it is equal. */
  schemaHash: string;
  /** The currency of every amount. */
  currency: Currency;
  /** The kinds of events that are accepted. */
  eventKinds: string[];
  /** How many events of a member are kept in detail. */
  capacity: number;
  /** The stretch of time over which spend earns a tier. */
  period: "month" | "quarter" | "half" | "year" | { days: { length: number; anchor: string } };
  /** The tiers, the lowest first. */
  tiers: Tier[];
  /** The features, in the order of the vector. */
  features: Feature[];
  /** What {@link Member.profile} answers with; absent from a bundle without profiles. */
  profile?: {
    /** Kind of model, for example `gru`. */
    model: string;
    /** Numbers of an embedding. */
    embedding: number;
    /** The segments, the largest first, with their shares of the training members. */
    segments: { name: string; share: number }[];
    /** The categories that interests may name. */
    categories: string[];
  };
  /** What {@link Member.recommend} answers with; absent from a bundle that recommends nothing. */
  recommend?: {
    /** Where the items' vectors come from: `als`, `bpr` or `two-tower`. */
    model: string;
    /** Items that may be recommended. */
    items: number;
    /** Numbers of an item's vector. */
    factors: number;
    /** Days that a probability is about. */
    periodDays: number;
    /** How much of a list's order is given to its diversity where nobody says. */
    diversity: number;
  };
  /** The policy of {@link Member.assign}, whose actions are the tiers; absent from a bundle without. */
  assign?: PolicyInfo;
  /** The policy of {@link Member.reward}; absent from a bundle without. */
  reward?: PolicyInfo;
  /** What {@link Member.risk} is judged by; absent from a bundle without. */
  risk?: RiskInfo;
  /** The rules of {@link Member.points} and {@link Scorer.earn}; absent from a bundle without. */
  points?: {
    /** Points that `perMinor` earn. */
    points: number;
    /** Minor units that earn `points`. */
    perMinor: number;
    /** What each tier earns in percent of the rate, tier 1 first. */
    tiers: number[];
    /** Names of the bonuses. */
    bonuses: string[];
    /** Days after which points expire; null if never. */
    expiresDays: number | null;
    /** Points that are worth `redeemMinor`. */
    redeemPoints: number;
    /** Minor units that `redeemPoints` are worth. */
    redeemMinor: number;
    /** The fewest points of a redemption. */
    minRedeem: number;
  };
  /** The model card: data, protocol, measures, caveats. */
  card: unknown;
}

/** What a call for {@link Member.risk} shall give. */
export interface RiskOptions {
  /** Reasons at most, 0 to 10; 3 if absent. Without any the answer costs a fraction. */
  reasons?: number;
}

/** What is thought of a member at the moment of an event. */
export interface Risk {
  /** The model's name and version. */
  model: string;
  /** The bundle's fingerprint: log it with the alert. */
  bundle: string;
  /** The calibrated probability that the event is fraud. */
  probability: number;
  /** Whether somebody shall look at it: the probability reaches the threshold, or a rule holds. */
  alert: boolean;
  /** The rules that hold, by name. */
  rules: string[];
  /** What raised the probability, the strongest first; null is a missing value. */
  reasons: { feature: string; value: number | null; typical: number | null; effect: number }[];
}

/** How a bundle judges risk. */
export interface RiskInfo {
  /** Its name and version. */
  name: string;
  /** The kinds of events at which it was trained. */
  each: string[];
  /** The probability from which on an alert is raised. */
  threshold: number;
  /** The shop's own rules, in words. */
  rules: { name: string; when: string }[];
  /** How it did on rows later than all that it was fitted and chosen by. */
  evidence: {
    /** Rows, and how many of them were fraud. */
    rows: number;
    frauds: number;
    averagePrecision: number;
    auc: number;
    /** Share of the rows at or above the threshold, of the frauds among them, and of these that are frauds. */
    alerts: number;
    recall: number;
    precision: number;
    /** The recall of the best rule of thumb at as many alerts. */
    ruleRecall: number;
  };
}

/** What there is to know of a policy. */
export interface PolicyInfo {
  /** Its name and version. */
  name: string;
  /** How it was learned, or `experiment`. */
  learner: string;
  /** What there is to choose from: its name, the points that it offers, and its chance in an experiment. */
  actions: { name: string; points: number; share: number }[];
  /** The stretch of time that a decision holds for. */
  period: BundleInfo["period"];
  /** Points that a member is given in a period at most; 0 is no cap. */
  cap: number;
  /** Share of the decisions that is spread evenly over all actions; 0 for an experiment, which is all chance. */
  explore: number;
  /** Why it may be used: how it did on logged decisions that it was not learned from, per decision; absent for an experiment. */
  evidence?: {
    /** The estimator and the interval. */
    method: string;
    /** The estimate, in the log's unit of reward, after the cost of what was given. */
    value: number;
    /** The lower end of its interval. */
    lower: number;
    /** The upper end. */
    upper: number;
    /** What the log's own policy earned on the same rows. */
    incumbent: number;
    /** Logged decisions. */
    rows: number;
    /** What they are worth to this policy: (Σ w)² / Σ w². */
    effectiveRows: number;
    /** Expected cost of a decision. */
    cost: number;
    /** What it may cost on average; 0 is no budget. */
    budget: number;
  };
}

/** A currency. */
export interface Currency {
  /** ISO 4217 code, for example `USD`. */
  code: string;
  /** Decimals of the minor unit: 2 for USD, 0 for JPY. */
  exponent: number;
}

/** A tier and what earns it. */
export interface Tier {
  /** What the shop calls it. */
  name: string;
  /** Net spend in one period from which a member has it, as an exact decimal. */
  atLeast: string;
  /** The same in minor units. */
  atLeastMinor: number;
}

/** A feature's name, unit and meaning. */
export interface Feature {
  /** Its name in the vector. */
  name: string;
  /** `days`, a currency code, `count`, `units`, `ratio`, `code` or `number`. */
  unit: string;
  /** What it is, as a phrase. */
  description: string;
}
