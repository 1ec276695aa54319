//! Lists of ten for all members, made in some way and judged by what was bought.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
};

use tiercast_core::{MemberState, Shelf, Timestamp, name_hash};

use super::{
    Way, goods,
    judge::{Judged, Scores, TOP},
};
use crate::models::threads;

/// What lists are made of and judged by.
pub(super) struct Lists<'a> {
    pub(super) shelf: &'a Shelf,
    hashes: Vec<u32>,
    known: Vec<Known<'a>>,
    bought: &'a [HashSet<u32>],
}

/// What is known of a member.
pub(super) struct Known<'a> {
    pub(super) state: &'a MemberState,
    pub(super) affinities: Vec<(u32, f32)>,
    /// Orders with each item bought, by place.
    pub(super) own: HashMap<u32, u32>,
    /// Hashes of all that was bought.
    before: HashSet<u32>,
}

impl<'a> Lists<'a> {
    pub(super) fn new(
        shelf: &'a Shelf,
        (members, now): (&'a [MemberState], Timestamp),
        bought: &'a [HashSet<u32>],
    ) -> Self {
        let hashes = shelf.catalogue().items.iter().map(|item| name_hash(&item.id)).collect();
        let known = |state: &'a MemberState| {
            let mut orders = HashSet::new();
            let mut own = HashMap::new();
            for event in goods::purchases(state) {
                let Some(place) = shelf.place(event.item) else { continue };
                if orders.insert((place, event.order, event.time)) {
                    *own.entry(place).or_default() += 1;
                }
            }
            let before = goods::purchases(state).map(|event| event.item).collect();
            Known { state, affinities: shelf.affinities(state, now), own, before }
        };
        Self { shelf, hashes, known: threads::map(members.iter().collect(), known), bought }
    }

    /// Judges the lists that a way gives of a member and of which items it may take: all, or only new ones.
    pub(super) fn judge(
        &self,
        new: bool,
        way: impl Fn(&Known<'_>, &dyn Fn(u32) -> bool) -> Vec<u32> + Sync,
    ) -> Scores {
        let Ok(scores) = self.try_judge::<Infallible>(new, |known, allowed| Ok(way(known, allowed)));
        scores
    }

    /// The same of a way that may fail.
    ///
    /// # Errors
    /// The way's.
    pub(super) fn try_judge<E: Send>(
        &self,
        new: bool,
        way: impl Fn(&Known<'_>, &dyn Fn(u32) -> bool) -> Result<Vec<u32>, E> + Sync,
    ) -> Result<Scores, E> {
        let members: Vec<(&Known<'_>, &HashSet<u32>)> =
            self.known.iter().zip(self.bought).filter(|(_, bought)| !bought.is_empty()).collect();
        let judged = threads::map(members, |(known, bought)| {
            let allowed = |at: u32| !(new && known.own.contains_key(&at));
            let counts = |item: &&u32| !(new && known.before.contains(*item));
            Ok(Judged {
                list: way(known, &allowed)?,
                bought: bought.iter().filter(counts).copied().collect(),
            })
        });
        Ok(Scores::of(self.shelf, &self.hashes, &judged.into_iter().collect::<Result<Vec<_>, E>>()?))
    }

    pub(super) fn way(
        &self,
        name: &str,
        way: impl Fn(&Known<'_>, &dyn Fn(u32) -> bool) -> Vec<u32> + Sync,
    ) -> Way {
        Way { name: name.into(), all: self.judge(false, &way), new: self.judge(true, &way) }
    }

    /// The places with the highest values, of equal ones the first.
    pub(super) fn top(&self, allowed: &dyn Fn(u32) -> bool, value: impl Fn(u32) -> f32) -> Vec<u32> {
        let places = (0..self.hashes.len() as u32).filter(|at| allowed(*at));
        let mut found: Vec<(f32, u32)> = places.map(|at| (value(at), at)).collect();
        let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if found.len() > TOP {
            found.select_nth_unstable_by(TOP, order);
            found.truncate(TOP);
        }
        found.sort_by(order);
        found.into_iter().map(|(_, at)| at).collect()
    }

    pub(super) fn popular(&self, allowed: &dyn Fn(u32) -> bool) -> Vec<u32> {
        self.top(allowed, |at| self.shelf.catalogue().items[at as usize].recent)
    }
}
