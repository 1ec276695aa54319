//! What is kept of a member: a bounded log of events in canonical order, and totals of those it had to forget.
//!
//! Invariant: the state after any set of events does not depend on the order in which they arrived, as long as
//! none was refused as too late. [`MemberState::observe`] is the only mutation.
//!
//! - **Duplicates.** An event whose identity is in the log is ignored; the first one stays. Events without an
//!   identity always count.
//! - **Out of order.** An event is put where its time belongs. One that is older than the newest forgotten
//!   event is refused (`too_late`), because the history around it is gone.
//! - **Memory.** At most `capacity` events of 64 bytes, and one record of 64 bytes for each kind of event.

use alloc::{collections::VecDeque, vec::Vec};
use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::FeatureSchema;
use crate::{
    error::{Result, bail},
    event::{Event, EventKind},
    time::Timestamp,
};

/// What [`MemberState::observe`] did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Observed {
    /// It is part of the history now.
    Added,
    /// Its identity was known; nothing changed.
    Duplicate,
}

/// A member's history, bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    pub(super) capacity: usize,
    pub(super) log: VecDeque<Event>,
    pub(super) forgotten: Forgotten,
}

/// What remains of the events that no longer fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Forgotten {
    /// The newest of them.
    pub(super) newest: Option<Event>,
    pub(super) totals: Vec<KindTotals>,
}

/// Totals of the forgotten events of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KindTotals {
    pub(super) kind: EventKind,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u64,
    pub(super) amount: i64,
    pub(super) discount: i64,
    pub(super) quantity: u64,
}

impl MemberState {
    /// An empty history with the schema's capacity.
    pub fn new(schema: &FeatureSchema) -> Self {
        Self::with_capacity(schema.spec().capacity)
    }

    pub(super) fn with_capacity(capacity: u32) -> Self {
        Self { capacity: capacity as usize, log: VecDeque::new(), forgotten: Forgotten::default() }
    }

    /// Takes one event into the history.
    ///
    /// # Errors
    /// `too_late` when it is older than the newest event already forgotten; the state is then as it was.
    pub fn observe(&mut self, event: Event) -> Result<Observed> {
        if self.forgotten.newest.is_some_and(|newest| event <= newest) {
            bail!(
                TooLate,
                "the event of {} is older than the {} events kept for this member; raise `capacity` or send events sooner",
                event.time,
                self.capacity
            );
        }
        if event.id != 0 && self.log.iter().any(|known| known.id == event.id) {
            return Ok(Observed::Duplicate);
        }
        match self.log.back().map(|last| last.cmp(&event)) {
            Some(Ordering::Greater) => {
                let at = self.log.partition_point(|known| *known <= event);
                self.log.insert(at, event);
            }
            _ => self.log.push_back(event),
        }
        while self.log.len() > self.capacity {
            if let Some(oldest) = self.log.pop_front() {
                self.forgotten.add(oldest);
            }
        }
        Ok(Observed::Added)
    }

    /// The events kept, in canonical order.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> + Clone {
        self.log.iter()
    }

    /// How many events are kept.
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Whether no event was ever observed.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty() && self.forgotten.newest.is_none()
    }

    /// The time of the newest event.
    pub fn last_time(&self) -> Option<Timestamp> {
        self.log.back().or(self.forgotten.newest.as_ref()).map(|event| event.time)
    }

    /// Whether an event at or after `from` was forgotten, so that what looks back that far sees too little.
    pub fn forgot_since(&self, from: i64) -> bool {
        self.forgotten.newest.is_some_and(|newest| newest.time.ms() >= from)
    }

    /// The events known at `now` whose age in milliseconds lies in [skip, skip + window).
    pub(super) fn window(
        &self,
        now: Timestamp,
        skip: i64,
        window: Option<i64>,
    ) -> impl DoubleEndedIterator<Item = &Event> + Clone {
        let end = now.ms() - skip;
        let until = |ms: i64| self.log.partition_point(|event| event.time.ms() <= ms);
        let to = until(end);
        let from = window.map_or(0, |window| until(end - window));
        self.log.range(from.min(to)..to)
    }
}

impl Forgotten {
    pub(super) fn add(&mut self, event: Event) {
        self.newest = Some(event);
        let at = match self.totals.binary_search_by_key(&event.kind, |totals| totals.kind) {
            Ok(at) => at,
            Err(at) => {
                self.totals.insert(at, KindTotals::none(event.kind, event.time));
                at
            }
        };
        if let Some(totals) = self.totals.get_mut(at) {
            totals.last = event.time;
            totals.count += 1;
            totals.amount = totals.amount.saturating_add(event.amount);
            totals.discount = totals.discount.saturating_add(event.discount);
            totals.quantity += u64::from(event.quantity);
        }
    }
}

impl KindTotals {
    fn none(kind: EventKind, first: Timestamp) -> Self {
        Self { kind, first, last: first, count: 0, amount: 0, discount: 0, quantity: 0 }
    }
}
