//! How a shop declares its features: flat records that read the same from TOML and from JSON.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{event::EventRules, time::Duration};

/// Everything that turns a member's events into a feature vector, as declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    /// The currency and the kinds of events.
    pub events: EventRules,
    /// Events kept per member, 1 to 65,536: the bound on a member's memory (80 bytes an event).
    pub capacity: u32,
    /// The features, in the order of the vector.
    pub features: Vec<FeatureDecl>,
}

/// One declared feature. Which of the optional fields apply depends on `op`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureDecl {
    /// Its name in the vector, unique.
    pub name: String,
    /// The formula.
    pub op: Op,
    /// What the formula is applied to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Of>,
    /// The kinds it looks at; `["purchase"]` if absent, `["*"]` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// How far back it looks; the whole history if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// How long before now the window ends; nothing if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Duration>,
    /// After how long an event counts half (`decayed`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_life: Option<Duration>,
    /// The name whose share is taken (`share`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Which statistic (`gap`, `speed`, `calendar`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stat: Option<Stat>,
    /// What counts as one (`lag`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<Each>,
    /// Which one before now, 1 is the latest, at most 256 (`lag`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u32>,
}

/// The formulas. `v` is the value named by `of`; sums run over the matching events in the window.
///
/// Over the whole history, `recency`, `tenure`, `count`, `sum` and `mean` include forgotten events; the others see the
/// events that are kept, and an assessment warns when that makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Op {
    /// Days since the last matching event; missing if there is none.
    Recency,
    /// Days since the first matching event, the forgotten ones included; missing if there is none.
    Tenure,
    /// Number of matching events.
    Count,
    /// Σ v.
    Sum,
    /// Σ amount of purchases − Σ amount of returns: what the shop's tiers look at. May be negative.
    NetSpend,
    /// Σ v / number of events; missing if there is none.
    Mean,
    /// Largest v; missing if there is no event.
    Max,
    /// Number of different items, categories, channels, orders, days, devices, cards, addresses or networks.
    Distinct,
    /// Statistic of the days between successive active days; missing below two active days.
    Gap,
    /// Σ v · 2^(−age / half_life).
    Decayed,
    /// (recent − earlier) / (recent + earlier), where both are Σ v over half the window; 0 if both are 0.
    Trend,
    /// Σ amount of the named category or channel / Σ amount; missing if nothing was paid.
    Share,
    /// Σ discount / Σ (amount + discount); missing if that is 0.
    DiscountShare,
    /// A property of `now` itself.
    Calendar,
    /// Code of the most frequent category or channel: 24 bits of its hash, an exact float; missing if there is none.
    Mode,
    /// One number of the n-th last order, day or event: a step of the sequence that convolutional, recurrent and attention
    /// models read. Σ v over its events, for `day` the days since its first event, for a name the code, as of `mode`, of
    /// its event with the largest amount. Missing if there are fewer, or no name.
    Lag,
    /// Statistic of the speeds in km/h at which the member would have moved between successive events with a place:
    /// kilometres along the great circle / hours, at least a minute. Under 50 km nobody moved, as places are that inexact.
    /// Missing below two such events.
    Speed,
    /// Days from the member's first event of any kind to the first matching one; missing if there is none.
    Onset,
    /// Σ amount of returns / Σ amount of purchases; missing if nothing was bought.
    RefundShare,
    /// Share of the earlier matching events whose time of day (UTC) is over two hours from that of the last one; missing
    /// below two events.
    Oddness,
    /// Days since the first matching event with the name of the last one: 0 if that is new; missing if it has none.
    Familiarity,
}

crate::wire::variants!(Op {
    Recency,
    Tenure,
    Count,
    Sum,
    Mean,
    Max,
    Distinct,
    Gap,
    Decayed,
    Trend,
    Share,
    DiscountShare,
    Calendar,
    Mode,
    NetSpend,
    Lag,
    Speed,
    Onset,
    RefundShare,
    Oddness,
    Familiarity,
});

/// What a formula is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Of {
    /// Money paid, in major units.
    Amount,
    /// Money taken off, in major units.
    Discount,
    /// Units.
    Quantity,
    /// 1 for each event.
    Count,
    /// Item.
    Item,
    /// Category.
    Category,
    /// Channel or store.
    Channel,
    /// Order or basket.
    Order,
    /// UTC day.
    Day,
    /// Device.
    Device,
    /// Card or other means of payment.
    Card,
    /// Address that an order goes to.
    Address,
    /// Network of the IP address.
    Network,
    /// How many members were seen with the event's device, as the shop told; at most 255, 0 if it did not.
    DeviceMembers,
}

crate::wire::variants!(Of {
    Amount,
    Discount,
    Quantity,
    Count,
    Item,
    Category,
    Channel,
    Order,
    Day,
    Device,
    Card,
    Address,
    Network,
    DeviceMembers
});

/// What counts as one step of a sequence: events that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Each {
    /// Every event on its own.
    Event,
    /// Events of one order; an event without an order on its own.
    Order,
    /// Events of one UTC day.
    Day,
}

crate::wire::variants!(Each { Event, Order, Day });

/// Which statistic of gaps, or which property of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stat {
    /// Mean gap in days.
    Mean,
    /// Population standard deviation of the gaps in days.
    Std,
    /// Longest gap in days.
    Max,
    /// Latest gap in days.
    Last,
    /// Standard deviation / mean.
    Variation,
    /// Month of `now`, 1–12.
    Month,
    /// Weekday of `now`, Monday 0 – Sunday 6.
    Weekday,
    /// sin of the turn of the year (365.2425 days).
    YearSin,
    /// cos of the turn of the year.
    YearCos,
    /// sin of the turn of the week, Monday 00:00 UTC at 0.
    WeekSin,
    /// cos of the turn of the week.
    WeekCos,
}

crate::wire::variants!(Stat {
    Mean,
    Std,
    Max,
    Last,
    Variation,
    Month,
    Weekday,
    YearSin,
    YearCos,
    WeekSin,
    WeekCos
});
