//! The formulas themselves: the only place where a feature is computed.
//!
//! Sums of money and units are sums of whole numbers, divided once; everything else runs over the events in
//! canonical order with `libm`, so the bits are the same for any order of arrival and on any target.

use alloc::vec::Vec;

use super::{
    spec::{FeatureDecl, Of, Op, Stat},
    state::{KindTotals, MemberState},
};
use crate::{
    error::{Result, bail},
    event::{Event, EventKind, EventRules, short_hash},
    math,
    time::{DAY_MS, Timestamp},
};

/// A checked declaration, ready to be computed.
#[derive(Clone, Debug)]
pub(super) struct Formula {
    kinds: Vec<EventKind>,
    skip: i64,
    window: Option<i64>,
    op: Compiled,
}

#[derive(Clone, Debug)]
enum Compiled {
    Recency,
    Tenure,
    Sum(Value),
    Mean(Value),
    Max(Value),
    Distinct(Name),
    Gap(Stat),
    Decayed(Value, f64),
    Trend(Value, i64),
    Share(Name, u32),
    DiscountShare,
    Calendar(Stat),
    Mode(Name),
}

/// A number of an event, and how many of its whole units make one of the feature's.
#[derive(Clone, Copy, Debug)]
struct Value {
    of: Of,
    scale: f64,
}

/// A hashed name of an event, or its day.
#[derive(Clone, Copy, Debug)]
enum Name {
    Item,
    Category,
    Channel,
    Order,
    Day,
}

impl Formula {
    pub(super) fn compile(decl: &FeatureDecl, rules: &EventRules) -> Result<Self> {
        check_fields(decl)?;
        let value = || value(decl, rules);
        let op = match decl.op {
            Op::Recency => Compiled::Recency,
            Op::Tenure => Compiled::Tenure,
            Op::Count => Compiled::Sum(Value { of: Of::Count, scale: 1.0 }),
            Op::Sum => Compiled::Sum(value()?),
            Op::Mean => Compiled::Mean(value()?),
            Op::Max => Compiled::Max(value()?),
            Op::Distinct => Compiled::Distinct(name(decl)?),
            Op::Gap => {
                Compiled::Gap(stat(decl, &[Stat::Mean, Stat::Std, Stat::Max, Stat::Last, Stat::Variation])?)
            }
            Op::Decayed => Compiled::Decayed(value()?, decl.half_life.map_or(f64::NAN, |d| d.ms() as f64)),
            Op::Trend => Compiled::Trend(value()?, decl.window.map_or(0, |w| w.ms() / 2)),
            Op::Share => {
                Compiled::Share(grouping(decl)?, short_hash(decl.value.as_deref().unwrap_or_default()))
            }
            Op::DiscountShare => Compiled::DiscountShare,
            Op::Calendar => Compiled::Calendar(stat(
                decl,
                &[Stat::Month, Stat::Weekday, Stat::YearSin, Stat::YearCos, Stat::WeekSin, Stat::WeekCos],
            )?),
            Op::Mode => Compiled::Mode(grouping(decl)?),
        };
        let skip = decl.skip.map_or(0, |skip| skip.ms());
        Ok(Self { kinds: kinds(decl, rules)?, skip, window: decl.window.map(|w| w.ms()), op })
    }

    /// The feature's value at `now`; NaN if it is missing.
    pub(super) fn at(&self, state: &MemberState, now: Timestamp) -> f64 {
        match &self.op {
            Compiled::Recency => self.recency(state, now),
            Compiled::Tenure => self.tenure(state, now),
            Compiled::Sum(value) => self.total(state, now, *value).1,
            Compiled::Mean(value) => {
                let (count, total) = self.total(state, now, *value);
                if count == 0 { f64::NAN } else { total / count as f64 }
            }
            Compiled::Max(value) => self
                .events(state, now)
                .map(|e| value.units(e))
                .max()
                .map_or(f64::NAN, |units| value.major(units)),
            Compiled::Distinct(name) => self.distinct(state, now, *name),
            Compiled::Gap(stat) => self.gap(state, now, *stat),
            Compiled::Decayed(value, half_life) => {
                self
                .events(state, now)
                .map(|e| value.major(value.units(e)) * math::exp2(-((now.ms() - e.time.ms()) as f64) / half_life))
                .sum::<f64>()
                // An empty sum of floats is -0.0.
                + 0.0
            }
            Compiled::Trend(value, half) => self.trend(state, now, *value, *half),
            Compiled::Share(name, code) => {
                let amount = Value::amount();
                let of_name = self.events(state, now).filter(|e| name.code(e) == *code);
                ratio(amount.sum(of_name), amount.sum(self.events(state, now)))
            }
            Compiled::DiscountShare => {
                let off = self.events(state, now).map(|e| i128::from(e.discount)).sum();
                let paid: i128 = self.events(state, now).map(|e| i128::from(e.amount)).sum();
                ratio(off, off + paid)
            }
            Compiled::Calendar(stat) => calendar(*stat, now),
            Compiled::Mode(name) => self.mode(state, now, *name),
        }
    }

    fn matches(&self, kind: EventKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    fn events<'s>(
        &'s self,
        state: &'s MemberState,
        now: Timestamp,
    ) -> impl DoubleEndedIterator<Item = &'s Event> {
        state.window(now, self.skip, self.window).filter(|event| self.matches(event.kind))
    }

    /// Totals of forgotten events, for a formula that looks at the whole history.
    fn forgotten<'s>(&'s self, state: &'s MemberState) -> impl Iterator<Item = &'s KindTotals> {
        let whole = self.window.is_none() && self.skip == 0;
        state.forgotten.totals.iter().filter(move |totals| whole && self.matches(totals.kind))
    }

    fn recency(&self, state: &MemberState, now: Timestamp) -> f64 {
        let kept = self.events(state, now).next_back().map(|event| event.time);
        let last = kept.or_else(|| self.forgotten(state).map(|totals| totals.last).max());
        last.map_or(f64::NAN, |last| days(now.ms() - last.ms()))
    }

    fn tenure(&self, state: &MemberState, now: Timestamp) -> f64 {
        let forgotten = self.forgotten(state).map(|totals| totals.first).min();
        let first = forgotten.or_else(|| self.events(state, now).next().map(|event| event.time));
        first.map_or(f64::NAN, |first| days(now.ms() - first.ms()))
    }

    /// How many events match, and the sum of their values.
    fn total(&self, state: &MemberState, now: Timestamp, value: Value) -> (u64, f64) {
        let mut count = 0;
        let mut units = 0;
        for event in self.events(state, now) {
            count += 1;
            units += i128::from(value.units(event));
        }
        for totals in self.forgotten(state) {
            count = u64::saturating_add(count, totals.count);
            units += value.forgotten_units(totals);
        }
        (count, value.major_sum(units))
    }

    fn distinct(&self, state: &MemberState, now: Timestamp, name: Name) -> f64 {
        let mut codes: Vec<u32> =
            self.events(state, now).map(|e| name.code(e)).filter(|&code| code != 0).collect();
        codes.sort_unstable();
        codes.dedup();
        codes.len() as f64
    }

    fn gap(&self, state: &MemberState, now: Timestamp, stat: Stat) -> f64 {
        let mut active: Vec<i64> = self.events(state, now).map(|event| event.time.day()).collect();
        active.dedup();
        let gaps: Vec<f64> = active.iter().zip(active.iter().skip(1)).map(|(a, b)| (b - a) as f64).collect();
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

    fn trend(&self, state: &MemberState, now: Timestamp, value: Value, half: i64) -> f64 {
        let sum = |skip: i64| {
            value.sum(state.window(now, skip, Some(half)).filter(|event| self.matches(event.kind)))
        };
        let (recent, earlier) = (sum(self.skip), sum(self.skip + half));
        if recent + earlier == 0 { 0.0 } else { ratio(recent - earlier, recent + earlier) }
    }

    fn mode(&self, state: &MemberState, now: Timestamp, name: Name) -> f64 {
        let mut codes: Vec<u32> =
            self.events(state, now).map(|e| name.code(e)).filter(|&c| c != 0).map(category_code).collect();
        codes.sort_unstable();
        let mut best = (0, f64::NAN);
        for run in codes.chunk_by(|a, b| a == b) {
            if let Some(&code) = run.first().filter(|_| run.len() > best.0) {
                best = (run.len(), f64::from(code));
            }
        }
        best.1
    }
}

impl Value {
    fn amount() -> Self {
        Self { of: Of::Amount, scale: 1.0 }
    }

    fn units(self, event: &Event) -> i64 {
        match self.of {
            Of::Amount => event.amount,
            Of::Discount => event.discount,
            Of::Quantity => i64::from(event.quantity),
            _ => 1,
        }
    }

    fn forgotten_units(self, totals: &KindTotals) -> i128 {
        match self.of {
            Of::Amount => i128::from(totals.amount),
            Of::Discount => i128::from(totals.discount),
            Of::Quantity => i128::from(totals.quantity),
            _ => i128::from(totals.count),
        }
    }

    fn sum<'e>(self, events: impl Iterator<Item = &'e Event>) -> i128 {
        events.map(|event| i128::from(self.units(event))).sum()
    }

    fn major(self, units: i64) -> f64 {
        units as f64 / self.scale
    }

    fn major_sum(self, units: i128) -> f64 {
        units as f64 / self.scale
    }
}

impl Name {
    fn code(self, event: &Event) -> u32 {
        match self {
            Self::Item => event.item,
            Self::Category => event.category,
            Self::Channel => event.channel,
            Self::Order => event.order,
            // Day 0 would read as "none"; timestamps end in 2200, far below the wrap.
            Self::Day => event.time.day() as u32 + 1,
        }
    }
}

/// The part of a name's hash that a 32-bit float holds exactly.
pub(crate) fn category_code(hash: u32) -> u32 {
    (hash & 0x00ff_ffff).max(1)
}

fn days(ms: i64) -> f64 {
    ms as f64 / DAY_MS as f64
}

fn ratio(part: i128, whole: i128) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
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

fn kinds(decl: &FeatureDecl, rules: &EventRules) -> Result<Vec<EventKind>> {
    if decl.events.is_empty() {
        return Ok(alloc::vec![EventKind::Purchase]);
    }
    if decl.events.iter().any(|kind| kind == "*") {
        return Ok(Vec::new());
    }
    decl.events.iter().map(|kind| rules.kind(kind)).collect()
}

fn value(decl: &FeatureDecl, rules: &EventRules) -> Result<Value> {
    let scale = match decl.of {
        Some(Of::Amount | Of::Discount) => rules.currency.scale() as f64,
        Some(Of::Quantity) => 1000.0,
        Some(Of::Count) => 1.0,
        _ => bail!(InvalidSpec, "feature {:?}: `of` must be amount, discount, quantity or count", decl.name),
    };
    Ok(Value { of: decl.of.unwrap_or(Of::Count), scale })
}

fn name(decl: &FeatureDecl) -> Result<Name> {
    Ok(match decl.of {
        Some(Of::Item) => Name::Item,
        Some(Of::Category) => Name::Category,
        Some(Of::Channel) => Name::Channel,
        Some(Of::Order) => Name::Order,
        Some(Of::Day) => Name::Day,
        _ => {
            bail!(InvalidSpec, "feature {:?}: `of` must be item, category, channel, order or day", decl.name)
        }
    })
}

fn grouping(decl: &FeatureDecl) -> Result<Name> {
    match name(decl)? {
        name @ (Name::Category | Name::Channel) => Ok(name),
        _ => bail!(InvalidSpec, "feature {:?}: `of` must be category or channel", decl.name),
    }
}

fn stat(decl: &FeatureDecl, allowed: &[Stat]) -> Result<Stat> {
    match decl.stat {
        Some(stat) if allowed.contains(&stat) => Ok(stat),
        _ => bail!(InvalidSpec, "feature {:?}: `stat` must be one of {allowed:?}, in snake_case", decl.name),
    }
}

/// Refuses a field that the formula would ignore, and misses one that it needs.
fn check_fields(decl: &FeatureDecl) -> Result<()> {
    use Op::*;
    let op = decl.op;
    let needs = |needed: bool, given: bool, field: &str| -> Result<()> {
        if needed && !given {
            bail!(InvalidSpec, "feature {:?}: op {op:?} needs `{field}`", decl.name);
        }
        if !needed && given {
            bail!(InvalidSpec, "feature {:?}: op {op:?} takes no `{field}`; remove it", decl.name);
        }
        Ok(())
    };
    needs(!matches!(op, Recency | Tenure | Count | Gap | DiscountShare | Calendar), decl.of.is_some(), "of")?;
    needs(matches!(op, Gap | Calendar), decl.stat.is_some(), "stat")?;
    needs(matches!(op, Decayed), decl.half_life.is_some(), "half_life")?;
    needs(matches!(op, Share), decl.value.is_some(), "value")?;
    if matches!(op, Trend) {
        needs(true, decl.window.is_some(), "window")?;
    }
    if matches!(op, Tenure | Recency | Calendar) {
        needs(false, decl.window.is_some(), "window")?;
        needs(false, decl.skip.is_some(), "skip")?;
    }
    if matches!(op, Calendar) {
        needs(false, !decl.events.is_empty(), "events")?;
    }
    Ok(())
}
