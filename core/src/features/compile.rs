//! From declarations to formulas: checks them, and brings those together that share work.

use alloc::vec::Vec;

use super::{
    formula::{Column, Compute, Formula, Formulas, Group, Name, Shared, Step, Value},
    spec::{Each, FeatureDecl, FeatureSpec, Of, Op, Stat},
};
use crate::{
    error::{Quoted, Result, bail},
    event::{EventKind, EventRules, short_hash},
};

/// Older than any event: the age at which a window over the whole history begins.
const WHOLE: i64 = i64::MAX;
/// The most steps that a sequence can have.
const MAX_LAG: u32 = 256;

impl Formulas {
    pub(super) fn compile(spec: &FeatureSpec) -> Result<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for (slot, decl) in spec.features.iter().enumerate() {
            check_fields(decl)?;
            let (shared, compute) = formula(decl, &spec.events)?;
            let kinds = kinds(decl, &spec.events)?;
            match groups.iter_mut().find(|group| group.kinds == kinds) {
                Some(group) => group.add(slot, decl, shared, compute),
                None => {
                    let mut group = Group { kinds, ages: Vec::new(), columns: Vec::new() };
                    group.add(slot, decl, shared, compute);
                    groups.push(group);
                }
            }
        }
        Ok(Self { groups })
    }
}

impl Group {
    fn add(&mut self, slot: usize, decl: &FeatureDecl, shared: Shared, mut compute: Compute) {
        let youngest = decl.skip.map_or(0, |skip| skip.ms());
        let mut oldest = decl.window.map_or(WHOLE, |window| youngest + window.ms());
        if let Compute::Trend(_, middle) = &mut compute {
            let half = decl.window.map_or(0, |window| window.ms() / 2);
            *middle = self.place(youngest + half);
            oldest = youngest + 2 * half;
        }
        let (from, to) = (self.place(oldest), self.place(youngest));
        let formula = Formula { slot, from, to, whole: oldest == WHOLE && youngest == 0, compute };
        let age = |place: usize| self.ages.get(place).copied().unwrap_or_default();
        let fits = |column: &&mut Column| {
            column.shared == shared && (!shared.is_of_a_window() || (column.from, column.to) == (from, to))
        };
        match self.columns.iter_mut().find(fits) {
            Some(column) => {
                column.from = if age(from) > age(column.from) { from } else { column.from };
                column.to = if age(to) < age(column.to) { to } else { column.to };
                column.formulas.push(formula);
            }
            None => self.columns.push(Column { shared, from, to, formulas: alloc::vec![formula] }),
        }
    }

    /// The place of an age among those at which windows begin and end.
    fn place(&mut self, age: i64) -> usize {
        if let Some(place) = self.ages.iter().position(|known| *known == age) {
            return place;
        }
        self.ages.push(age);
        self.ages.len() - 1
    }
}

/// How a feature is computed, and from what that it may share with others.
fn formula(decl: &FeatureDecl, rules: &EventRules) -> Result<(Shared, Compute)> {
    let compute = match decl.op {
        Op::Recency => Compute::Recency,
        Op::Tenure => Compute::Tenure,
        Op::Count => Compute::Sum(Value { of: Of::Count, scale: 1.0 }),
        Op::Sum => Compute::Sum(value(decl, rules)?),
        Op::NetSpend => Compute::NetSpend(rules.currency.scale() as f64),
        Op::Mean => Compute::Mean(value(decl, rules)?),
        Op::Max => Compute::Max(value_of_one(decl, rules)?),
        Op::Distinct => return Ok((Shared::Repeats(name(decl)?), Compute::Distinct)),
        Op::Gap => {
            let stat = stat(decl, &[Stat::Mean, Stat::Std, Stat::Max, Stat::Last, Stat::Variation])?;
            return Ok((Shared::Gaps, Compute::Gap(stat)));
        }
        Op::Decayed => {
            let half_life = decl.half_life.map_or(f64::NAN, |half_life| half_life.ms() as f64);
            return Ok((Shared::Weights(half_life), Compute::Decayed(value(decl, rules)?)));
        }
        // Its middle is known once it has a place among the ages.
        Op::Trend => Compute::Trend(value(decl, rules)?, 0),
        Op::Share => {
            let hash = short_hash(decl.value.as_deref().unwrap_or_default());
            return Ok((Shared::Repeats(grouping(decl)?), Compute::Share(hash)));
        }
        Op::DiscountShare => Compute::DiscountShare,
        Op::Calendar => Compute::Calendar(stat(
            decl,
            &[Stat::Month, Stat::Weekday, Stat::YearSin, Stat::YearCos, Stat::WeekSin, Stat::WeekCos],
        )?),
        Op::Mode => {
            let code = if grouping(decl)? == Name::Category { Name::CategoryCode } else { Name::ChannelCode };
            return Ok((Shared::Repeats(code), Compute::Mode));
        }
        Op::Lag => return lag(decl, rules),
        Op::Speed => Compute::Speed(stat(decl, &[Stat::Mean, Stat::Max, Stat::Last])?),
        Op::Onset => Compute::Onset,
        Op::RefundShare => Compute::RefundShare,
        Op::Oddness => Compute::Oddness,
        Op::Familiarity => Compute::Familiarity(name(decl)?),
    };
    Ok((Shared::Nothing, compute))
}

/// A number of a step of the sequence; the steps are found once for all of them.
fn lag(decl: &FeatureDecl, rules: &EventRules) -> Result<(Shared, Compute)> {
    let lag = decl.lag.unwrap_or_default();
    if !(1..=MAX_LAG).contains(&lag) {
        bail!(
            InvalidSpec,
            "feature {}: `lag` is {lag}; give 1 (the latest) to {MAX_LAG}",
            Quoted(&decl.name)
        );
    }
    let step = match decl.of {
        Some(Of::Amount | Of::Discount | Of::Quantity | Of::Count) => Step::Sum(value(decl, rules)?),
        Some(Of::DeviceMembers) => Step::Sum(value_of_one(decl, rules)?),
        Some(Of::Day) => Step::Age,
        Some(Of::Item) => Step::Code(Name::Item),
        Some(Of::Category) => Step::Code(Name::Category),
        Some(Of::Channel) => Step::Code(Name::Channel),
        _ => bail!(
            InvalidSpec,
            "feature {}: `of` must be day, amount, discount, quantity, count, device_members, item, category or channel",
            Quoted(&decl.name)
        ),
    };
    let each = decl.each.unwrap_or(Each::Event);
    Ok((Shared::Steps(each), Compute::Lag(lag as usize - 1, step)))
}

fn kinds(decl: &FeatureDecl, rules: &EventRules) -> Result<Vec<EventKind>> {
    if matches!(decl.op, Op::NetSpend | Op::RefundShare) {
        return Ok(alloc::vec![EventKind::Purchase, EventKind::Return]);
    }
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
        _ => bail!(
            InvalidSpec,
            "feature {}: `of` must be amount, discount, quantity or count",
            Quoted(&decl.name)
        ),
    };
    Ok(Value { of: decl.of.unwrap_or(Of::Count), scale })
}

/// A value of which no sums are asked for.
fn value_of_one(decl: &FeatureDecl, rules: &EventRules) -> Result<Value> {
    match decl.of {
        Some(of @ Of::DeviceMembers) => Ok(Value { of, scale: 1.0 }),
        _ => value(decl, rules),
    }
}

fn name(decl: &FeatureDecl) -> Result<Name> {
    Ok(match decl.of {
        Some(Of::Item) => Name::Item,
        Some(Of::Category) => Name::Category,
        Some(Of::Channel) => Name::Channel,
        Some(Of::Order) => Name::Order,
        Some(Of::Day) => Name::Day,
        Some(Of::Device) => Name::Device,
        Some(Of::Card) => Name::Card,
        Some(Of::Address) => Name::Address,
        Some(Of::Network) => Name::Network,
        _ => {
            bail!(
                InvalidSpec,
                "feature {}: `of` must be item, category, channel, order, day, device, card, address or network",
                Quoted(&decl.name)
            )
        }
    })
}

fn grouping(decl: &FeatureDecl) -> Result<Name> {
    match name(decl)? {
        name @ (Name::Category | Name::Channel) => Ok(name),
        _ => bail!(InvalidSpec, "feature {}: `of` must be category or channel", Quoted(&decl.name)),
    }
}

fn stat(decl: &FeatureDecl, allowed: &[Stat]) -> Result<Stat> {
    match decl.stat {
        Some(stat) if allowed.contains(&stat) => Ok(stat),
        _ => bail!(
            InvalidSpec,
            "feature {}: `stat` must be mean, std, max, last or variation for a gap; mean, max or last for a speed; month, weekday, year_sin, year_cos, week_sin or week_cos for the calendar",
            Quoted(&decl.name)
        ),
    }
}

/// Refuses a field that the formula would ignore, and misses one that it needs.
fn check_fields(decl: &FeatureDecl) -> Result<()> {
    use Op::*;
    let op = decl.op;
    let needs = |needed: bool, given: bool, field: &str| -> Result<()> {
        if needed && !given {
            bail!(InvalidSpec, "feature {}: op {op:?} needs `{field}`", Quoted(&decl.name));
        }
        if !needed && given {
            bail!(InvalidSpec, "feature {}: op {op:?} takes no `{field}`; remove it", Quoted(&decl.name));
        }
        Ok(())
    };
    needs(
        !matches!(
            op,
            Recency
                | Tenure
                | Count
                | NetSpend
                | Gap
                | DiscountShare
                | Calendar
                | Speed
                | Onset
                | RefundShare
                | Oddness
        ),
        decl.of.is_some(),
        "of",
    )?;
    needs(matches!(op, Gap | Speed | Calendar), decl.stat.is_some(), "stat")?;
    needs(matches!(op, Decayed), decl.half_life.is_some(), "half_life")?;
    needs(matches!(op, Share), decl.value.is_some(), "value")?;
    needs(matches!(op, Lag), decl.each.is_some(), "each")?;
    needs(matches!(op, Lag), decl.lag.is_some(), "lag")?;
    if matches!(op, Trend) {
        needs(true, decl.window.is_some(), "window")?;
    }
    if matches!(op, Tenure | Recency | Onset | Calendar) {
        needs(false, decl.window.is_some(), "window")?;
        needs(false, decl.skip.is_some(), "skip")?;
    }
    if matches!(op, Calendar | NetSpend | RefundShare) {
        needs(false, !decl.events.is_empty(), "events")?;
    }
    Ok(())
}
