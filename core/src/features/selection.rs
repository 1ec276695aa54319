//! A member's events of some kinds as they were known at a moment, with what formulas over them share: running totals,
//! the places where windows begin and end, and one column of facts about each event.
//!
//! Invariant: sums are exact. A validated event has at most 10¹¹ minor units and 2³² thousandths, and a history at most
//! 65,536 events, so no sum leaves an `i64`; sums of amounts that no validation has seen wrap.
//! Buffers are kept from one group of formulas to the next.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    repeats::Repeats,
    spec::Of,
    state::{KindTotals, MemberState},
};
use crate::{
    event::{Event, EventKind},
    time::Timestamp,
};

#[derive(Debug)]
pub(super) struct Selection<'s> {
    state: &'s MemberState,
    now: Timestamp,
    kinds: &'s [EventKind],
    events: Vec<&'s Event>,
    /// The totals before each event, and those behind the last.
    totals: Vec<Totals>,
    /// How many events have each age or are older.
    cuts: Vec<usize>,
    /// Where the column begins.
    start: usize,
    /// Which events of the column repeat a name.
    pub(super) repeats: Repeats,
    /// A number for each event of the column, for each gap in a window, or for each of its last steps.
    pub(super) numbers: Vec<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    amount: i64,
    discount: i64,
    quantity: i64,
}

impl<'s> Selection<'s> {
    pub(super) fn new(state: &'s MemberState, now: Timestamp) -> Self {
        Self {
            state,
            now,
            kinds: &[],
            events: Vec::new(),
            totals: Vec::new(),
            cuts: Vec::new(),
            start: 0,
            repeats: Repeats::default(),
            numbers: Vec::new(),
        }
    }

    /// Selects the events of some kinds (none are all) that are younger than the oldest of these ages, in milliseconds.
    /// From here on an age is its place in `ages`.
    pub(super) fn select(&mut self, kinds: &'s [EventKind], ages: &[i64]) {
        let known = self.state.known(self.now, ages.iter().copied().max().unwrap_or_default());
        let most = known.iter().map(|events| events.len()).sum::<usize>();
        self.kinds = kinds;
        self.events.clear();
        self.events.reserve(most);
        self.totals.clear();
        self.totals.reserve(most + 1);
        let mut totals = Totals::default();
        self.totals.push(totals);
        for events in known {
            for event in events {
                if are(kinds, event.kind) {
                    totals.amount = totals.amount.wrapping_add(event.amount);
                    totals.discount = totals.discount.wrapping_add(event.discount);
                    totals.quantity += i64::from(event.quantity);
                    self.totals.push(totals);
                    self.events.push(event);
                }
            }
        }
        self.cuts.clear();
        self.cuts.reserve(ages.len());
        for &age in ages {
            let last = self.now.ms() - age;
            self.cuts.push(match age {
                0 => self.events.len(),
                _ => self.events.partition_point(|event| event.time.ms() <= last),
            });
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    fn cut(&self, age: usize) -> usize {
        self.cuts.get(age).copied().unwrap_or_default()
    }

    /// The events between two ages, the older one first.
    pub(super) fn events(&self, from: usize, to: usize) -> &[&'s Event] {
        self.events.get(self.cut(from)..self.cut(to)).unwrap_or_default()
    }

    /// The sum of a value over the events between two ages.
    pub(super) fn sum(&self, of: Of, from: usize, to: usize) -> i64 {
        let before = |cut: usize| {
            let totals = self.totals.get(cut).copied().unwrap_or_default();
            match of {
                Of::Amount => totals.amount,
                Of::Discount => totals.discount,
                Of::Quantity => totals.quantity,
                _ => cut as i64,
            }
        };
        before(self.cut(to)).wrapping_sub(before(self.cut(from)))
    }

    /// What was paid at a place of the column.
    pub(super) fn amount(&self, place: usize) -> i64 {
        self.events.get(self.start + place).map_or(0, |event| event.amount)
    }

    /// Totals of the forgotten events of these kinds.
    pub(super) fn forgotten(&self) -> impl Iterator<Item = &'s KindTotals> + use<'s> {
        let kinds = self.kinds;
        self.state.forgotten.totals.iter().filter(|totals| are(kinds, totals.kind))
    }

    /// When the member's first event of any kind was.
    pub(super) fn first_of_all(&self) -> Option<Timestamp> {
        let forgotten = self.state.forgotten.totals.iter().map(|totals| totals.first).min();
        forgotten.or_else(|| self.state.log.front().map(|event| event.time))
    }

    /// Begins a column of facts about the events between two ages.
    pub(super) fn begin(&mut self, from: usize, to: usize) -> (&[&'s Event], &mut Repeats, &mut Vec<f64>) {
        self.start = self.cut(from);
        self.numbers.clear();
        let events = self.events.get(self.start..self.cut(to)).unwrap_or_default();
        (events, &mut self.repeats, &mut self.numbers)
    }

    /// Where the events between two ages are in the column.
    pub(super) fn places(&self, from: usize, to: usize) -> Range<usize> {
        self.cut(from).saturating_sub(self.start)..self.cut(to).saturating_sub(self.start)
    }
}

fn are(kinds: &[EventKind], kind: EventKind) -> bool {
    kinds.is_empty() || kinds.contains(&kind)
}
