//! The formulas themselves: the only place where a feature is computed.
//!
//! Sums of money and units are sums of whole numbers, divided once; everything else runs over the events in
//! canonical order with `libm`, so the bits are the same for any order of arrival and on any target.
//!
//! What several formulas need is worked out once: a [`Selection`] for those over the same kinds of events, and a fact
//! about each of its events for those of a [`Column`]. A sum over a window is then a difference of running totals.

use alloc::vec::Vec;
use core::{cmp::Reverse, ops::Range};

use super::{
    live,
    repeats::Repeats,
    selection::Selection,
    spec::{Each, Of, Stat},
    state::{KindTotals, MemberState},
};
use crate::{
    event::{Event, EventKind},
    math,
    time::{DAY_MS, Timestamp},
};

/// The formulas of a schema.
#[derive(Clone, Debug)]
pub(super) struct Formulas {
    pub(super) groups: Vec<Group>,
}

/// Formulas over events of the same kinds; no kinds are all kinds.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) kinds: Vec<EventKind>,
    /// The ages in milliseconds at which their windows begin and end.
    pub(super) ages: Vec<i64>,
    pub(super) columns: Vec<Column>,
}

/// Formulas that share a fact about each event.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) shared: Shared,
    /// Between which two of the group's ages their windows lie.
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) formulas: Vec<Formula>,
}

/// What the formulas of a column share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shared {
    Nothing,
    /// Which events repeat a name.
    Repeats(Name),
    /// What an event still counts, by the half-life in milliseconds.
    Weights(f64),
    /// The days between successive active days; all formulas have the same window.
    Gaps,
    /// Where the last orders, days or events begin, the latest first; all formulas have the same window.
    Steps(Each),
}

impl Shared {
    /// Whether only formulas of one window can share it.
    pub(super) fn is_of_a_window(self) -> bool {
        matches!(self, Self::Gaps | Self::Steps(_))
    }
}

/// A checked declaration: its place in the vector, its window between two of the group's ages, and how it is computed.
#[derive(Clone, Debug)]
pub(super) struct Formula {
    pub(super) slot: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    /// Whether the window is the whole history, forgotten events included.
    pub(super) whole: bool,
    pub(super) compute: Compute,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Compute {
    Recency,
    Tenure,
    Sum(Value),
    /// With the minor units of one unit of money.
    NetSpend(f64),
    Mean(Value),
    Max(Value),
    Distinct,
    Gap(Stat),
    Decayed(Value),
    /// With the age in the middle of the window.
    Trend(Value, usize),
    Share(u32),
    DiscountShare,
    Calendar(Stat),
    Mode,
    /// Of the step with so many later ones.
    Lag(usize, Step),
    Speed(Stat),
    Onset,
    RefundShare,
    Oddness,
    Familiarity(Name),
}

/// A number of some events that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Days since the first of them.
    Age,
    Sum(Value),
    /// The name of the one with the largest amount, the first of those alike.
    Code(Name),
}

/// A number of an event, and how many of its whole units make one of the feature's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) of: Of,
    pub(super) scale: f64,
}

/// A hashed name of an event, or its day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Name {
    Item,
    Category,
    Channel,
    Order,
    Day,
    CategoryCode,
    ChannelCode,
    Device,
    Card,
    Address,
    Network,
}

impl Formulas {
    /// Computes the features at `now`, each into its place.
    pub(super) fn compute(&self, state: &MemberState, now: Timestamp, out: &mut [f32]) {
        let mut selection = Selection::new(state, now);
        for group in &self.groups {
            selection.select(&group.kinds, &group.ages);
            for column in &group.columns {
                column.prepare(&mut selection);
                for formula in &column.formulas {
                    let value = formula.at(&selection) as f32;
                    if let Some(slot) = out.get_mut(formula.slot) {
                        // One bit pattern for "missing": what a NaN's sign and payload are differs between targets.
                        *slot = if value.is_nan() { f32::NAN } else { value };
                    }
                }
            }
        }
    }
}

impl Column {
    fn prepare(&self, selection: &mut Selection<'_>) {
        let now = selection.now().ms();
        let (events, repeats, numbers) = selection.begin(self.from, self.to);
        match self.shared {
            Shared::Nothing => {}
            Shared::Repeats(name) => repeats.find(events, |event| name.code(event)),
            Shared::Weights(half_life) => {
                numbers.resize(events.len(), 0.0);
                // The lines of an order have one age; it is never negative.
                let (mut known, mut weight) = (-1, 0.0);
                for (event, slot) in events.iter().zip(numbers) {
                    let age = now - event.time.ms();
                    if age != known {
                        known = age;
                        weight = math::exp2(-(age as f64) / half_life);
                    }
                    *slot = weight;
                }
            }
            Shared::Gaps => {
                numbers.reserve(events.len());
                let mut last = None;
                for day in events.iter().map(|event| event.time.day()) {
                    if let Some(last) = last.filter(|&last| last != day) {
                        numbers.push((day - last) as f64);
                    }
                    last = Some(day);
                }
            }
            Shared::Steps(each) => {
                let lags = self.formulas.iter().map(|formula| match formula.compute {
                    Compute::Lag(lag, _) => lag + 1,
                    _ => 0,
                });
                begins(events, each, lags.max().unwrap_or_default(), numbers);
            }
        }
    }
}

/// The places at which the last steps begin, the latest first, at most `most`.
fn begins(events: &[&Event], each: Each, most: usize, places: &mut Vec<f64>) {
    let is_one = |a: &Event, b: &Event| match each {
        Each::Event => false,
        Each::Order => a.order == b.order && a.order != 0,
        Each::Day => a.time.day() == b.time.day(),
    };
    let mut later: Option<&Event> = None;
    for (place, event) in events.iter().enumerate().rev() {
        if later.is_some_and(|later| !is_one(event, later)) {
            // Places are below 65,536, and so exact.
            places.push(place as f64 + 1.0);
            if places.len() == most {
                return;
            }
        }
        later = Some(event);
    }
    if later.is_some() {
        places.push(0.0);
    }
}

impl Formula {
    /// The feature's value; NaN if it is missing.
    fn at(&self, selection: &Selection<'_>) -> f64 {
        let events = selection.events(self.from, self.to);
        // Sums of validated amounts are exact in a float.
        let sum = |of| selection.sum(of, self.from, self.to) as f64;
        let window = || selection.places(self.from, self.to);
        match self.compute {
            Compute::Recency => self.recency(selection),
            Compute::Tenure => self.tenure(selection),
            Compute::Sum(value) => self.total(selection, value).1,
            Compute::NetSpend(scale) => self.net_spend(selection) as f64 / scale,
            Compute::Mean(value) => {
                let (count, total) = self.total(selection, value);
                if count == 0 { f64::NAN } else { total / count as f64 }
            }
            Compute::Max(value) => {
                events.iter().map(|e| value.units(e)).max().map_or(f64::NAN, |units| value.major(units))
            }
            Compute::Distinct => selection.repeats.distinct(window()) as f64,
            Compute::Gap(stat) => gap(&selection.numbers, stat),
            Compute::Decayed(value) => {
                let weights = selection.numbers.get(window()).unwrap_or_default();
                events.iter().zip(weights).map(|(e, weight)| value.major(value.units(e)) * weight).sum::<f64>()
                // An empty sum of floats is -0.0.
                + 0.0
            }
            Compute::Trend(value, middle) => {
                let earlier = selection.sum(value.of, self.from, middle) as f64;
                let recent = selection.sum(value.of, middle, self.to) as f64;
                if recent + earlier == 0.0 { 0.0 } else { (recent - earlier) / (recent + earlier) }
            }
            Compute::Share(name) => {
                let of_name = selection.repeats.places(name, window());
                ratio(of_name.fold(0.0, |sum, place| sum + selection.amount(place) as f64), sum(Of::Amount))
            }
            Compute::DiscountShare => ratio(sum(Of::Discount), sum(Of::Discount) + sum(Of::Amount)),
            Compute::Calendar(stat) => calendar(stat, selection.now()),
            Compute::Mode => mode(&selection.repeats, window()),
            Compute::Lag(lag, step) => {
                let place = |lag: usize| selection.numbers.get(lag).map(|place| *place as usize);
                let Some(start) = place(lag) else { return f64::NAN };
                let end = lag.checked_sub(1).and_then(place).unwrap_or(events.len());
                step.of(events.get(start..end).unwrap_or_default(), selection.now())
            }
            Compute::Speed(stat) => live::speed(events, stat),
            Compute::Onset => self.onset(selection),
            Compute::RefundShare => self.refund_share(selection),
            Compute::Oddness => live::oddness(events),
            Compute::Familiarity(name) => {
                live::familiarity(events, selection.now(), |event| name.code(event))
            }
        }
    }

    /// Totals of forgotten events, for a formula that looks at the whole history.
    fn forgotten<'s>(&self, selection: &Selection<'s>) -> impl Iterator<Item = &'s KindTotals> {
        selection.forgotten().filter(|_| self.whole)
    }

    fn recency(&self, selection: &Selection<'_>) -> f64 {
        let kept = selection.events(self.from, self.to).last().map(|event| event.time);
        let last = kept.or_else(|| self.forgotten(selection).map(|totals| totals.last).max());
        last.map_or(f64::NAN, |last| days(selection.now().ms() - last.ms()))
    }

    fn tenure(&self, selection: &Selection<'_>) -> f64 {
        self.first(selection).map_or(f64::NAN, |first| days(selection.now().ms() - first.ms()))
    }

    fn first(&self, selection: &Selection<'_>) -> Option<Timestamp> {
        let forgotten = self.forgotten(selection).map(|totals| totals.first).min();
        let kept = selection.events(self.from, self.to).first().map(|event| event.time);
        forgotten.or(kept)
    }

    fn onset(&self, selection: &Selection<'_>) -> f64 {
        match (selection.first_of_all(), self.first(selection)) {
            (Some(first), Some(matching)) => days(matching.ms() - first.ms()),
            _ => f64::NAN,
        }
    }

    /// The group has purchases and returns.
    fn refund_share(&self, selection: &Selection<'_>) -> f64 {
        let kept = selection.events(self.from, self.to).iter().map(|event| (event.kind, event.amount));
        let forgotten = self.forgotten(selection).map(|totals| (totals.kind, totals.amount));
        let (returned, bought) =
            kept.chain(forgotten).fold((0_i64, 0_i64), |(returned, bought), (kind, amount)| match kind {
                EventKind::Return => (returned.saturating_add(amount), bought),
                _ => (returned, bought.saturating_add(amount)),
            });
        ratio(returned as f64, bought as f64)
    }

    /// What was paid less what was paid back, minor units.
    fn net_spend(&self, selection: &Selection<'_>) -> i64 {
        let net = |kind, amount: i64| if kind == EventKind::Return { amount.wrapping_neg() } else { amount };
        let kept = selection.events(self.from, self.to).iter().map(|event| net(event.kind, event.amount));
        let forgotten = self.forgotten(selection).map(|totals| net(totals.kind, totals.amount));
        // Exact, unless forgotten totals are at their limit.
        kept.chain(forgotten).fold(0, i64::saturating_add)
    }

    /// How many events match, and the sum of their values.
    fn total(&self, selection: &Selection<'_>, value: Value) -> (u64, f64) {
        let mut count = selection.events(self.from, self.to).len() as u64;
        let mut units = selection.sum(value.of, self.from, self.to);
        for totals in self.forgotten(selection) {
            count = count.saturating_add(totals.count);
            units = units.saturating_add(value.forgotten_units(totals));
        }
        (count, value.major(units))
    }
}

impl Step {
    fn of(self, events: &[&Event], now: Timestamp) -> f64 {
        match self {
            Self::Age => events.first().map_or(f64::NAN, |first| days(now.ms() - first.time.ms())),
            Self::Sum(value) => value.major(events.iter().fold(0, |sum, e| sum.wrapping_add(value.units(e)))),
            Self::Code(name) => {
                let dearest = events.iter().reduce(|best, e| if e.amount > best.amount { e } else { best });
                match dearest.map_or(0, |event| code_of(name.code(event))) {
                    0 => f64::NAN,
                    code => f64::from(code),
                }
            }
        }
    }
}

fn gap(gaps: &[f64], stat: Stat) -> f64 {
    let (Some(last), n) = (gaps.last(), gaps.len() as f64) else {
        return f64::NAN;
    };
    let mean = gaps.iter().sum::<f64>() / n;
    let std = || math::sqrt(gaps.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / n);
    match stat {
        Stat::Std => std(),
        Stat::Max => gaps.iter().copied().fold(0.0, f64::max),
        Stat::Last => *last,
        Stat::Variation => std() / mean,
        _ => mean,
    }
}

fn mode(repeats: &Repeats, window: Range<usize>) -> f64 {
    let counts = repeats.names().map(|code| (repeats.places(code, window.clone()).count(), Reverse(code)));
    match counts.max() {
        Some((1.., Reverse(code))) => f64::from(code),
        _ => f64::NAN,
    }
}

impl Value {
    fn units(self, event: &Event) -> i64 {
        match self.of {
            Of::Amount => event.amount,
            Of::Discount => event.discount,
            Of::Quantity => i64::from(event.quantity),
            Of::DeviceMembers => i64::from(event.origin.device_members),
            _ => 1,
        }
    }

    fn forgotten_units(self, totals: &KindTotals) -> i64 {
        let whole = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
        match self.of {
            Of::Amount => totals.amount,
            Of::Discount => totals.discount,
            Of::Quantity => whole(totals.quantity),
            _ => whole(totals.count),
        }
    }

    fn major(self, units: i64) -> f64 {
        units as f64 / self.scale
    }
}

impl Name {
    /// The name's hash, 0 if the event has none.
    #[inline(always)] // Once for each event: a call costs more.
    fn code(self, event: &Event) -> u32 {
        match self {
            Self::Item => event.item,
            Self::Category => event.category,
            Self::Channel => event.channel,
            Self::Order => event.order,
            // Day 0 would read as "none"; timestamps end in 2200, far below the wrap.
            Self::Day => event.time.day() as u32 + 1,
            Self::CategoryCode => code_of(event.category),
            Self::ChannelCode => code_of(event.channel),
            Self::Device => event.origin.device,
            Self::Card => event.origin.card,
            Self::Address => event.origin.address,
            Self::Network => event.origin.network,
        }
    }
}

fn code_of(hash: u32) -> u32 {
    if hash == 0 { 0 } else { category_code(hash) }
}

/// The part of a name's hash that a 32-bit float holds exactly.
pub(crate) fn category_code(hash: u32) -> u32 {
    (hash & 0x00ff_ffff).max(1)
}

pub(super) fn days(ms: i64) -> f64 {
    ms as f64 / DAY_MS as f64
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { f64::NAN } else { part / whole }
}

fn calendar(stat: Stat, now: Timestamp) -> f64 {
    const YEAR_DAYS: f64 = 365.2425;
    // 1970-01-01 was a Thursday.
    let week = days(now.ms()) + 3.0;
    let turn = |days: f64, length: f64| core::f64::consts::TAU * (days / length - math::floor(days / length));
    match stat {
        Stat::Weekday => ((now.day() + 3).rem_euclid(7)) as f64,
        Stat::YearSin => math::sin(turn(days(now.ms()), YEAR_DAYS)),
        Stat::YearCos => math::cos(turn(days(now.ms()), YEAR_DAYS)),
        Stat::WeekSin => math::sin(turn(week, 7.0)),
        Stat::WeekCos => math::cos(turn(week, 7.0)),
        _ => f64::from(now.civil().1),
    }
}
