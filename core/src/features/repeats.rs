//! Which events of a sequence repeat a name: each event with the one before it of the same name, found in one pass.
//! That answers how many names a window has for every window of the sequence.
//!
//! Names are found in a table whose entries are roots of binary trees over the bits of their hashes: a name is at most
//! 32 steps away, whoever chose the hashes, and about one if nobody did.

use alloc::vec::Vec;
use core::ops::Range;

use crate::event::Event;

/// Stands for the event before one without a name, so that no window counts it.
const UNNAMED: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// For each event one more than the place of the one before it with the same name, 0 if it is the first.
    before: Vec<u32>,
    /// For each root, of which there is a power of two, one more than the place of its name, 0 for none.
    roots: Vec<u32>,
    names: Vec<Name>,
}

#[derive(Debug)]
struct Name {
    hash: u32,
    /// One more than the place of the last event with this name.
    last: u32,
    /// As at a root, by the next bit of the hash.
    children: [u32; 2],
}

/// The place of a known name, or where a new one belongs: at a root, or as a child of a name.
enum Place {
    Known(usize),
    Root(usize),
    Child(usize, usize),
}

impl Repeats {
    /// Takes a sequence of events, of whose names it is given the hashes; 0 is no name.
    pub(super) fn find(&mut self, events: &[&Event], hash: impl Fn(&Event) -> u32) {
        self.roots.clear();
        self.roots.resize(events.len().next_power_of_two(), 0);
        self.names.clear();
        self.names.reserve(events.len());
        let mut before = core::mem::take(&mut self.before);
        before.clear();
        before.resize(events.len(), UNNAMED);
        let (mut known, mut at) = (0, 0);
        for ((event, slot), place) in events.iter().zip(&mut before).zip(0..) {
            let hash = hash(event);
            if hash != known {
                self.leave(known, at, place);
                known = hash;
                if hash != 0 {
                    at = self.place(hash);
                    *slot = self.names.get(at).map_or(0, |name| name.last);
                }
            } else if hash != 0 {
                // The lines of an order follow each other.
                *slot = place;
            }
        }
        self.leave(known, at, events.len() as u32);
        self.before = before;
    }

    /// Notes where the event after the last one with a name is.
    fn leave(&mut self, hash: u32, at: usize, next: u32) {
        if let Some(name) = self.names.get_mut(at).filter(|_| hash != 0) {
            name.last = next;
        }
    }

    /// The place of a name among the names; a new one is added.
    #[inline(always)] // A third of the time where code is optimised for size.
    fn place(&mut self, hash: u32) -> usize {
        let new = self.names.len();
        let link = match self.seek(hash) {
            Place::Known(at) => return at,
            Place::Root(at) => self.roots.get_mut(at),
            Place::Child(at, bit) => self.names.get_mut(at).and_then(|name| name.children.get_mut(bit)),
        };
        if let Some(link) = link {
            *link = new as u32 + 1;
        }
        self.names.push(Name { hash, last: 0, children: [0, 0] });
        new
    }

    /// Where a name is, or belongs.
    #[inline(always)] // As above.
    fn seek(&self, hash: u32) -> Place {
        let mask = self.roots.len().wrapping_sub(1) as u32;
        let root = (hash & mask) as usize;
        let mut rest = hash >> mask.trailing_ones();
        let mut place = Place::Root(root);
        let mut link = self.roots.get(root).copied().unwrap_or_default() as usize;
        while let Some(name) = self.names.get(link.wrapping_sub(1)) {
            if name.hash == hash {
                return Place::Known(link - 1);
            }
            let bit = (rest & 1) as usize;
            place = Place::Child(link - 1, bit);
            link = name.children.get(bit).copied().unwrap_or_default() as usize;
            rest >>= 1;
        }
        place
    }

    /// How many names a window of the sequence has.
    pub(super) fn distinct(&self, window: Range<usize>) -> usize {
        let start = window.start as u32;
        self.before.get(window).unwrap_or_default().iter().filter(|&&before| before <= start).count()
    }

    /// The hashes of all names of the sequence.
    pub(super) fn names(&self) -> impl Iterator<Item = u32> {
        self.names.iter().map(|name| name.hash)
    }

    /// The places in a window of the events with a name, the last one first.
    pub(super) fn places(&self, hash: u32, window: Range<usize>) -> impl Iterator<Item = usize> {
        let last = match self.seek(hash) {
            Place::Known(at) => self.names.get(at).and_then(|name| (name.last as usize).checked_sub(1)),
            _ => None,
        };
        let before = |place: &usize| (*self.before.get(*place)? as usize).checked_sub(1);
        core::iter::successors(last, before)
            .take_while(move |&place| place >= window.start)
            .filter(move |&place| place < window.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::EventKind, time::Timestamp};
    use alloc::collections::BTreeSet;

    fn find(repeats: &mut Repeats, items: &[u32]) {
        let event = |item: &u32| Event {
            time: Timestamp::default(),
            id: 0,
            kind: EventKind::Purchase,
            order: 0,
            item: *item,
            category: 0,
            channel: 0,
            quantity: 0,
            amount: 0,
            discount: 0,
            origin: crate::Origin::default(),
        };
        let events: Vec<Event> = items.iter().map(event).collect();
        repeats.find(&events.iter().collect::<Vec<_>>(), |event| event.item);
    }

    /// Hashes that nobody chose, hashes that share their low bits, and the same few again and again.
    fn sequences() -> [Vec<u32>; 4] {
        let mixed = |n: u32| n.wrapping_mul(0x9e37_79b9) ^ (n.wrapping_mul(0x85eb_ca6b) >> 7);
        [
            (0..700).map(|n| mixed(n % 311)).collect(),
            (0..700).map(|n| mixed(n) << 16).collect(),
            (0..700).map(|n| n / 9 % 5).collect(),
            (0..33).map(|n| 1_u32.checked_shl(n).unwrap_or(0)).collect(),
        ]
    }

    #[test]
    fn windows_have_the_names_that_a_set_finds() {
        for hashes in sequences() {
            let mut repeats = Repeats::default();
            find(&mut repeats, &[7, 7, 9]);
            find(&mut repeats, &hashes);
            for from in (0..hashes.len()).step_by(29) {
                for to in (from..=hashes.len()).step_by(13) {
                    let names: BTreeSet<u32> = hashes[from..to].iter().copied().filter(|&h| h != 0).collect();
                    assert_eq!(repeats.distinct(from..to), names.len());
                    for hash in names {
                        let mut places: Vec<usize> = repeats.places(hash, from..to).collect();
                        places.reverse();
                        let found = (from..to).filter(|&at| hashes[at] == hash);
                        assert!(found.eq(places), "{hash} in {from}..{to}");
                    }
                }
            }
            assert_eq!(repeats.places(12_345, 0..hashes.len()).count(), 0);
        }
    }

    #[test]
    fn chosen_hashes_cost_at_most_32_steps() {
        let mut repeats = Repeats::default();
        let chosen: Vec<u32> = (0..4096).map(|n| (n << 16) | 1).collect();
        find(&mut repeats, &chosen);
        let depth = |at: usize| {
            let under = |at: &usize| {
                let parent = |name: &Name| name.children.contains(&(*at as u32 + 1));
                repeats.names.iter().position(parent)
            };
            core::iter::successors(Some(at), under).count()
        };
        let deepest = (0..chosen.len()).map(depth).max().unwrap();
        assert!((13..=32).contains(&deepest), "{deepest} steps");
    }
}
