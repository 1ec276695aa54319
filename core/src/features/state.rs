//! What is kept of a member: a bounded log of events in canonical order, and totals of those it had to forget.
//!
//! Invariant: the state after any set of events does not depend on the order in which they arrived, as long as
//! none came too late. [`MemberState::observe`] is the only mutation.
//!
//! - **Duplicates.** Of two events with the same identity the earlier one stays (in canonical order), whichever
//!   arrived first. Events without an identity always count.
//! - **Out of order.** An event is put where its time belongs. One that is older than the newest forgotten event is
//!   left out and reported as [`Observed::TooLate`], because the history around it is gone; so is an event that was
//!   forgotten and is sent again.
//! - **Memory.** At most `capacity` events of 80 bytes (allocated to the next power of two), 4 to 16 bytes an event to
//!   know identities again, and 56 bytes for each kind of event.
//! - **Time.** An event that is newer than those kept is taken in in constant time on average, another one in time linear
//!   in the history; so is a duplicate.

use alloc::{collections::VecDeque, vec::Vec};

use serde::Serialize;

use super::{FeatureSchema, identities::Identities};
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
    /// Its identity was known; the earlier of the two events stays.
    Duplicate,
    /// It is older than what was already forgotten; nothing changed.
    TooLate,
}

/// A member's history, bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    pub(super) capacity: usize,
    /// The currency of its amounts, as a hash.
    pub(super) money: [u8; 8],
    pub(super) log: VecDeque<Event>,
    pub(super) identities: Identities,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// An empty history with the schema's capacity and currency.
    pub fn new(schema: &FeatureSchema) -> Self {
        Self::with_room(schema, 0)
    }

    /// The same, with memory for so many events, as far as they are kept.
    pub fn with_room(schema: &FeatureSchema, events: usize) -> Self {
        let capacity = schema.spec().capacity as usize;
        Self {
            capacity,
            money: schema.money_hash(),
            log: VecDeque::with_capacity(events.min(capacity)),
            identities: Identities::default(),
            forgotten: Forgotten::default(),
        }
    }

    /// Takes one event into the history, and says what became of it.
    pub fn observe(&mut self, event: Event) -> Observed {
        let forgotten = self.forgotten.newest.is_some_and(|newest| event <= newest);
        if let Some(at) = self.place_of(event.id) {
            if !forgotten && self.log.get(at).is_some_and(|known| event < *known) {
                self.log.remove(at);
                self.insert(event);
            }
            return Observed::Duplicate;
        }
        if forgotten {
            return Observed::TooLate;
        }
        self.insert(event);
        self.forget();
        self.identities.add(event.id, &self.log);
        Observed::Added
    }

    /// Takes events into the history, as [`MemberState::observe`] would one by one; at once where they are sorted, new by
    /// having no identity, and leave nothing to forget.
    pub fn observe_all(&mut self, events: &[Event]) {
        let is_after = self.log.back().is_none_or(|last| events.first().is_none_or(|first| last <= first));
        let fit = self.forgotten.newest.is_none() && self.log.len() + events.len() <= self.capacity;
        if fit && is_after && events.is_sorted() && events.iter().all(|event| event.id == 0) {
            self.log.extend(events);
        } else {
            events.iter().for_each(|event| {
                self.observe(*event);
            });
        }
    }

    /// Whether [`MemberState::observe`] would change anything by this event: it is new, or takes the place of a later
    /// one with its identity.
    pub fn is_news(&self, event: &Event) -> bool {
        let forgotten = self.forgotten.newest.is_some_and(|newest| *event <= newest);
        let known = self.place_of(event.id).and_then(|at| self.log.get(at));
        !forgotten && known.is_none_or(|known| event < known)
    }

    /// Makes a kept history one of this schema: cut to its capacity, oldest events first.
    ///
    /// # Errors
    /// `schema_mismatch` when its amounts are in another currency; it is then as it was.
    pub fn fit(&mut self, schema: &FeatureSchema) -> Result<()> {
        if self.money != schema.money_hash() {
            bail!(SchemaMismatch, "the member's history is in another currency; observe the events again");
        }
        self.capacity = schema.spec().capacity as usize;
        self.forget();
        Ok(())
    }

    /// Where the event with an identity is.
    fn place_of(&self, id: u64) -> Option<usize> {
        if !self.identities.may_hold(id) {
            return None;
        }
        self.log.iter().position(|known| known.id == id)
    }

    fn insert(&mut self, event: Event) {
        if self.log.back().is_none_or(|last| *last <= event) {
            self.log.push_back(event);
        } else {
            let at = self.log.partition_point(|known| *known <= event);
            self.log.insert(at, event);
        }
    }

    /// Forgets the oldest events beyond the capacity.
    pub(super) fn forget(&mut self) {
        while self.log.len() > self.capacity {
            if let Some(oldest) = self.log.pop_front() {
                self.forgotten.add(oldest);
            }
        }
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

    /// Whether the features at `now` can still be computed exactly: an event after `now` may have pushed out one before
    /// it, so nothing may have been forgotten once the history reaches beyond `now`.
    pub fn knows(&self, now: Timestamp) -> bool {
        self.forgotten.newest.is_none() || self.last_time().is_none_or(|last| last <= now)
    }

    /// Net spend of the forgotten events since `start`, and whether that is all that is known to have happened since.
    pub(crate) fn forgotten_spend(&self, start: Timestamp) -> (i64, bool) {
        let of = |kind| self.forgotten.totals.iter().filter(move |t| t.kind == kind && t.last >= start);
        let money = of(EventKind::Purchase).chain(of(EventKind::Return));
        let exact = money.clone().all(|totals| totals.first >= start);
        let spend =
            money.filter(|totals| totals.first >= start).fold(0_i64, |spend, totals| match totals.kind {
                EventKind::Return => spend.saturating_sub(totals.amount),
                _ => spend.saturating_add(totals.amount),
            });
        (spend, exact)
    }

    /// The time of the newest event.
    pub fn last_time(&self) -> Option<Timestamp> {
        self.log.back().or(self.forgotten.newest.as_ref()).map(|event| event.time)
    }

    /// Whether an event at or after `from` was forgotten, so that what looks back that far sees too little.
    pub fn forgot_since(&self, from: i64) -> bool {
        self.forgotten.newest.is_some_and(|newest| newest.time.ms() >= from)
    }

    /// The events known at `now` whose age in milliseconds is below `age`, in two pieces.
    pub(super) fn known(&self, now: Timestamp, age: i64) -> [&[Event]; 2] {
        let between = |events: &'_ [Event]| {
            let until = |ms: i64| events.partition_point(|event| event.time.ms() <= ms);
            let to = until(now.ms());
            until(now.ms() - age).min(to)..to
        };
        let (older, newer) = self.log.as_slices();
        [older, newer].map(|events| events.get(between(events)).unwrap_or_default())
    }
}

impl Forgotten {
    fn add(&mut self, event: Event) {
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
            totals.count = totals.count.saturating_add(1);
            totals.amount = totals.amount.saturating_add(event.amount);
            totals.discount = totals.discount.saturating_add(event.discount);
            totals.quantity = totals.quantity.saturating_add(u64::from(event.quantity));
        }
    }
}

impl KindTotals {
    fn none(kind: EventKind, first: Timestamp) -> Self {
        Self { kind, first, last: first, count: 0, amount: 0, discount: 0, quantity: 0 }
    }
}
