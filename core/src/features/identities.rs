//! Which identities a history may hold: a Bloom filter, which mostly spares looking through the history.
//!
//! Invariant: it never denies an identity that is kept. It may admit one that is not, about one in a hundred.
//! Identities that somebody chose so that they are all admitted cost a look through the history each, and no more.

use alloc::{collections::VecDeque, vec::Vec};

use crate::{event::Event, order};

/// Bits for each identity that there is room for; each sets two.
const BITS: usize = 16;

/// How many identities are looked for one by one, before all of them are sorted.
const SUSPECTS: usize = 32;

#[derive(Clone, Debug, Default)]
pub(super) struct Identities {
    /// A power of two of words, or none.
    words: Vec<u64>,
    /// Identities that were added, those that the history has forgotten since included.
    added: usize,
}

impl Identities {
    /// The identities of a history, with room for as many again.
    pub(super) fn of(log: &VecDeque<Event>) -> Self {
        let mut identities = Self::room(log.len());
        log.iter().for_each(|event| identities.set(event.id));
        identities
    }

    /// The same, unless two events have one identity.
    pub(super) fn of_distinct(log: &VecDeque<Event>) -> Option<Self> {
        let mut identities = Self::room(log.len());
        let mut suspects = Vec::new();
        for event in log {
            if identities.may_hold(event.id) {
                suspects.push(event.id);
            }
            identities.set(event.id);
        }
        let once = |id: &u64| log.iter().filter(|event| event.id == *id).count() == 1;
        let distinct = if suspects.len() <= SUSPECTS {
            suspects.iter().all(once)
        } else {
            let mut ids: Vec<u64> = log.iter().map(|event| event.id).filter(|&id| id != 0).collect();
            order::sort(&mut ids);
            ids.is_sorted_by(|a, b| a < b)
        };
        distinct.then_some(identities)
    }

    fn room(events: usize) -> Self {
        let words = (events.max(8) * 2 * BITS / 64).next_power_of_two();
        Self { words: alloc::vec![0; words], added: 0 }
    }

    /// Adds the identity of an event that the history now holds; 0 is none.
    pub(super) fn add(&mut self, id: u64, log: &VecDeque<Event>) {
        if self.added * BITS < self.words.len() * 64 {
            self.set(id);
        } else {
            *self = Self::of(log);
        }
    }

    /// Whether the history may hold an identity; no event has identity 0.
    pub(super) fn may_hold(&self, id: u64) -> bool {
        let has = |hash: u32| {
            let (word, bit) = self.place(hash);
            self.words.get(word).is_some_and(|word| word & bit != 0)
        };
        id != 0 && has(id as u32) && has((id >> 32) as u32)
    }

    fn set(&mut self, id: u64) {
        if id == 0 {
            return;
        }
        for hash in [id as u32, (id >> 32) as u32] {
            let (word, bit) = self.place(hash);
            if let Some(word) = self.words.get_mut(word) {
                *word |= bit;
            }
        }
        self.added += 1;
    }

    /// The word and the bit in it for one half of an identity.
    fn place(&self, hash: u32) -> (usize, u64) {
        let words = self.words.len().wrapping_sub(1);
        ((hash >> 6) as usize & words, 1 << (hash & 63))
    }
}

/// What may be kept follows from what is kept: two states differ by their histories only.
impl PartialEq for Identities {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Identities {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{EventKind, hash},
        time::Timestamp,
    };
    use alloc::format;

    fn event(n: u32) -> Event {
        Event {
            time: Timestamp::from_ms(i64::from(n)).unwrap(),
            id: hash(&format!("basket {n}")),
            kind: EventKind::Purchase,
            order: 0,
            item: 0,
            category: 0,
            channel: 0,
            quantity: 1000,
            amount: 1,
            discount: 0,
            origin: crate::Origin::default(),
        }
    }

    #[test]
    fn an_identity_that_comes_twice_is_found() {
        let mut log: VecDeque<Event> = (0..300).map(event).collect();
        assert!(Identities::of_distinct(&log).is_some());
        log.extend((300..310).map(|n| Event { id: 0, ..event(n) }));
        assert!(Identities::of_distinct(&log).is_some(), "0 is none");
        for twice in [1, 50] {
            let mut log = log.clone();
            log.extend((0..twice).map(event));
            assert!(Identities::of_distinct(&log).is_none());
        }
        // Chosen so that the filter admits every one of them.
        let chosen = (0..300).map(|n| Event { id: (1 << 32 | 1) + (n << 26), ..event(0) });
        assert!(Identities::of_distinct(&chosen.collect()).is_some());
    }

    #[test]
    fn what_is_kept_is_never_denied_and_little_else_is_admitted() {
        let (mut log, mut identities) = (VecDeque::new(), Identities::default());
        for n in 0..10_000 {
            assert!(n < 1000 || log.len() == 300);
            log.push_back(event(n));
            if log.len() > 300 {
                log.pop_front();
            }
            identities.add(event(n).id, &log);
            assert!(log.iter().all(|kept| identities.may_hold(kept.id)));
        }
        let admitted = (10_000..20_000).filter(|&n| identities.may_hold(event(n).id)).count();
        assert!(admitted < 200, "{admitted} of 10000 strangers");
        assert!(identities.words.len() <= 300 * 2 * BITS / 64 * 2, "{} words", identities.words.len());
        assert!(!identities.may_hold(0));
    }
}
