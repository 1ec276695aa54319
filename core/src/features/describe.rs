//! Features in words, for reports and pages.

use alloc::{
    format,
    string::{String, ToString},
};

use serde::Serialize;

use super::{Each, FeatureDecl, FeatureSchema, Of, Op, Stat};

/// A feature's name, unit and meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FeatureInfo {
    /// Its name in the vector.
    pub name: String,
    /// `days`, a currency code, `count`, `units`, `ratio`, `code`, `km/h` or `number`.
    pub unit: String,
    /// What it is, as a phrase.
    pub description: String,
}

impl FeatureSchema {
    /// Says in words what each feature is, in the order of the vector.
    pub fn describe(&self) -> impl Iterator<Item = FeatureInfo> {
        let currency = &self.spec().events.currency.code;
        self.spec().features.iter().map(move |decl| FeatureInfo {
            name: decl.name.clone(),
            unit: unit(decl, currency),
            description: phrase(decl),
        })
    }
}

fn unit(decl: &FeatureDecl, currency: &str) -> String {
    let unit = match (decl.op, decl.of) {
        (Op::Recency | Op::Tenure | Op::Onset | Op::Familiarity, _) => "days",
        (Op::Speed, _) => "km/h",
        (Op::Gap, _) if decl.stat == Some(Stat::Variation) => "ratio",
        (Op::Gap, _) => "days",
        (Op::Trend | Op::Share | Op::DiscountShare | Op::RefundShare | Op::Oddness, _) => "ratio",
        (Op::Calendar, _) => "number",
        (Op::Lag, Some(Of::Day)) => "days",
        (Op::Mode, _) | (Op::Lag, Some(Of::Item | Of::Category | Of::Channel)) => "code",
        (Op::NetSpend, _) | (_, Some(Of::Amount | Of::Discount)) => currency,
        (_, Some(Of::Quantity)) => "units",
        _ => "count",
    };
    unit.to_string()
}

fn phrase(decl: &FeatureDecl) -> String {
    let kinds = match decl.events.as_slice() {
        [] => "purchase".to_string(),
        [any] if any == "*" => "any".to_string(),
        kinds => kinds.join(" or "),
    };
    let of = decl.of.map_or("", of_word);
    let stat = decl.stat.map_or("", stat_word);
    let value = decl.value.as_deref().unwrap_or_default();
    let what = match decl.op {
        Op::Recency => return format!("days since the last {kinds} event"),
        Op::Tenure => return format!("days since the first {kinds} event"),
        Op::Calendar => return stat.to_string(),
        Op::Count => format!("number of {kinds} events"),
        Op::Sum => format!("sum of {of} over {kinds} events"),
        Op::NetSpend => "purchases less returns".to_string(),
        Op::Mean => format!("mean {of} of {kinds} events"),
        Op::Max => format!("largest {of} of {kinds} events"),
        Op::Distinct => format!("number of different {} of {kinds} events", plural(of)),
        Op::Gap => format!("{stat} gap between days with {kinds} events"),
        Op::Decayed => {
            let half_life = decl.half_life.map_or(String::new(), |d| d.to_string());
            format!("{of} of {kinds} events, halved every {half_life}")
        }
        Op::Trend => format!("change of {of} of {kinds} events, later half against earlier half"),
        Op::Share => format!("share of {of} {value:?} in the amount of {kinds} events"),
        Op::DiscountShare => format!("share of discounts in the price of {kinds} events"),
        Op::Mode => format!("most frequent {of} of {kinds} events"),
        Op::Speed => format!("{} speed between places of {kinds} events", speed_word(decl.stat)),
        Op::Onset => return format!("days from the first event to the first {kinds} event"),
        Op::RefundShare => "returns as a share of purchases".to_string(),
        Op::Oddness => format!("share of {kinds} events at another time of day than the last"),
        Op::Familiarity => format!("days since the {of} of the last {kinds} event was first seen"),
        Op::Lag => return format!("{} of {}", lag_word(decl.of), nth_last(decl, &kinds)),
    };
    match (decl.window, decl.skip) {
        (None, None) => format!("{what}, whole history"),
        (Some(window), None) => format!("{what}, last {window}"),
        (None, Some(skip)) => format!("{what}, until {skip} ago"),
        (Some(window), Some(skip)) => format!("{what}, {window} until {skip} ago"),
    }
}

fn lag_word(of: Option<Of>) -> &'static str {
    match of {
        Some(Of::Day) => "days since the first event",
        Some(Of::Count) => "number of events",
        Some(of @ (Of::Amount | Of::Discount | Of::Quantity | Of::DeviceMembers)) => of_word(of),
        Some(Of::Item) => "dearest item",
        Some(Of::Channel) => "channel of the dearest event",
        _ => "category of the dearest event",
    }
}

/// `the last order with purchase events`, `the 2nd last day with return events`, `the 3rd last purchase event`.
fn nth_last(decl: &FeatureDecl, kinds: &str) -> String {
    let one = match decl.each {
        Some(Each::Order) => format!("order with {kinds} events"),
        Some(Each::Day) => format!("day with {kinds} events"),
        _ => format!("{kinds} event"),
    };
    let nth = decl.lag.unwrap_or(1);
    let ending = match (nth % 10, nth % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    if nth == 1 { format!("the last {one}") } else { format!("the {nth}{ending} last {one}") }
}

fn of_word(of: Of) -> &'static str {
    match of {
        Of::Amount => "amount",
        Of::Discount => "discount",
        Of::Quantity => "quantity",
        Of::Count => "number",
        Of::Item => "item",
        Of::Category => "category",
        Of::Channel => "channel",
        Of::Order => "order",
        Of::Day => "day",
        Of::Device => "device",
        Of::Card => "card",
        Of::Address => "address",
        Of::Network => "network",
        Of::DeviceMembers => "number of members of the device",
    }
}

fn plural(of: &str) -> String {
    let ending = if of.ends_with('s') { "es" } else { "s" };
    format!("{of}{ending}")
}

fn speed_word(stat: Option<Stat>) -> &'static str {
    match stat {
        Some(Stat::Max) => "highest",
        Some(Stat::Last) => "latest",
        _ => "mean",
    }
}

fn stat_word(stat: Stat) -> &'static str {
    match stat {
        Stat::Mean => "mean",
        Stat::Std => "standard deviation of the",
        Stat::Max => "longest",
        Stat::Last => "latest",
        Stat::Variation => "relative variation of the",
        Stat::Month => "month of the year",
        Stat::Weekday => "weekday, Monday is 0",
        Stat::YearSin => "sine of the turn of the year",
        Stat::YearCos => "cosine of the turn of the year",
        Stat::WeekSin => "sine of the turn of the week",
        Stat::WeekCos => "cosine of the turn of the week",
    }
}
