//! Which items come into question for a member, and what the ranker is told of each.

// Every index is of an item, below the lengths that `Shelf::new` has compared.
#![allow(clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::{
    catalogue::{Item, NO_LABEL, Shelf},
    habits::{Habits, Own},
    rows::largest,
};
use crate::{
    error::{Result, bail},
    features::MemberState,
    order,
    time::Timestamp,
};

/// Own items that are looked at at most, those that count most first.
const OWN: usize = 256;
/// Items that come in by their factors, and as many by their neighbours.
const NEAR: usize = 100;
/// Items that come in because many buy them.
const POPULAR: usize = 60;

/// What the ranker reads of each candidate, in this order. NaN is missing.
///
/// Days are since or between purchases; shares of a label are of the member's affinities; a weight is
/// Σ 2^(−age / half-life) over the orders with the item.
pub const RANKER_INPUTS: [&str; 25] = [
    "own_orders",
    "own_share_of_orders",
    "own_weight",
    "own_recent_weight",
    "own_days_since",
    "own_gap_days",
    "own_due",
    "item_again",
    "item_gap_days",
    "item_due",
    "item_buyers",
    "item_recent",
    "item_trend",
    "item_discounted",
    "factors",
    "factors_of_best",
    "neighbours",
    "category_share",
    "group_share",
    "brand_share",
    "price_ratio",
    "member_discounted",
    "member_orders",
    "member_recent_orders",
    "member_days_since",
];

/// A member's candidates.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// Their places in the catalogue, ascending.
    pub items: Vec<u32>,
    /// What the ranker reads of each, [`RANKER_INPUTS`] numbers a row.
    pub inputs: Vec<f32>,
    pub(super) habits: Habits,
    /// Share of the affinities that each label has.
    pub(super) shares: Vec<f32>,
}

/// Room for every item's scores, used again.
#[derive(Clone, Debug, Default)]
pub struct CandidateRoom {
    factors: Vec<f32>,
    neighbours: Vec<f32>,
}

impl Shelf {
    /// What a member cares about, as known at `now`: places of items, ascending, each with Σ weight · 2^(−age / half-life) over
    /// the orders with it (1) and the times it was put into a cart (0.3) or looked at (0.1).
    pub fn affinities(&self, state: &MemberState, now: Timestamp) -> Vec<(u32, f32)> {
        Habits::of(self, state, now).affinities
    }

    /// The places of the `count` items with the largest products with the member's vector, exactly, among those `allowed`.
    pub fn nearest(
        &self,
        affinities: &[(u32, f32)],
        count: usize,
        allowed: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        let mut scores = Vec::new();
        self.catalogue().factors.scores(affinities, &mut scores);
        largest(&scores, count, |at| allowed(at as u32))
    }

    /// The places of the `count` items most alike to what a member cares about, among those `allowed`.
    pub fn alike(&self, affinities: &[(u32, f32)], count: usize, allowed: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut scores = Vec::new();
        self.catalogue().neighbours.scores(affinities, &mut scores);
        largest(&scores, count, |at| scores[at] > 0.0 && allowed(at as u32))
    }

    /// How alike two items are by their vectors, −1 to 1.
    pub fn likeness(&self, a: u32, b: u32) -> f32 {
        self.catalogue().factors.items.cosine(a as usize, b as usize)
    }

    /// The candidates of a member, as known at `now`, among the items that are `allowed`.
    ///
    /// # Errors
    /// `too_late` when the history at `now` was already forgotten.
    pub fn candidates(
        &self,
        room: &mut CandidateRoom,
        state: &MemberState,
        now: Timestamp,
        allowed: impl Fn(u32) -> bool,
    ) -> Result<Candidates> {
        if !state.knows(now) {
            bail!(TooLate, "the history at {now} is gone; raise `capacity`");
        }
        let habits = Habits::of(self, state, now);
        let catalogue = self.catalogue();
        catalogue.factors.scores(&habits.affinities, &mut room.factors);
        catalogue.neighbours.scores(&habits.affinities, &mut room.neighbours);
        let mut own: Vec<&Own> = habits.own.iter().filter(|own| allowed(own.item)).collect();
        order::sort_by(&mut own, |a, b| (b.weight, a.item) < (a.weight, b.item));
        let mut items: Vec<u32> = own.iter().take(OWN).map(|own| own.item).collect();
        let other = |at: usize| allowed(at as u32) && habits.own(at as u32).is_none();
        items.extend(largest(&room.factors, NEAR, other));
        items.extend(largest(&room.neighbours, NEAR, |at| room.neighbours[at] > 0.0 && other(at)));
        items.extend(self.popular.iter().copied().filter(|at| other(*at as usize)).take(POPULAR));
        order::sort(&mut items);
        items.dedup();
        let affinity: f32 = habits.affinities.iter().map(|(_, affinity)| affinity).sum();
        let shares = self.shares(&habits, affinity);
        let mut candidates = Candidates { items, inputs: Vec::new(), habits, shares };
        self.describe(room, &mut candidates);
        Ok(candidates)
    }

    fn shares(&self, habits: &Habits, affinity: f32) -> Vec<f32> {
        let mut shares = alloc::vec![0.0; self.catalogue().labels.len()];
        for (item, weight) in &habits.affinities {
            let Some(item) = self.item(*item) else { continue };
            for label in [item.category, item.group, item.brand].into_iter().filter(|at| *at != NO_LABEL) {
                shares[label as usize] += weight / affinity;
            }
        }
        shares
    }

    fn describe(&self, room: &CandidateRoom, candidates: &mut Candidates) {
        let habits = &candidates.habits;
        let best = candidates.items.iter().fold(0.0_f32, |best, at| best.max(room.factors[*at as usize]));
        let price = self.usual_price(habits);
        let share = |label: u32| if label == NO_LABEL { f32::NAN } else { candidates.shares[label as usize] };
        let since = habits.last.map_or(f32::NAN, |last| habits.days_since(last));
        let mut inputs = Vec::with_capacity(candidates.items.len() * RANKER_INPUTS.len());
        for at in &candidates.items {
            let Some(item) = self.item(*at) else { continue };
            inputs.extend(own_inputs(habits, item, *at));
            let (factors, neighbours) = (room.factors[*at as usize], room.neighbours[*at as usize]);
            inputs.extend([
                item.buyers,
                item.recent,
                item.recent / item.buyers.max(1e-6),
                item.discounted,
                factors,
                if best > 0.0 { factors / best } else { f32::NAN },
                neighbours,
                share(item.category),
                share(item.group),
                share(item.brand),
                item.price / price,
                habits.discounted,
                habits.orders as f32,
                habits.recent_orders as f32,
                since,
            ]);
        }
        candidates.inputs = inputs;
    }

    /// The mean price of what a member cares about, minor units; NaN where no price is known.
    fn usual_price(&self, habits: &Habits) -> f32 {
        let (mut sum, mut weight) = (0.0, 0.0);
        for (item, affinity) in &habits.affinities {
            if let Some(price) = self.item(*item).map(|item| item.price).filter(|price| *price > 0.0) {
                sum += affinity * price;
                weight += affinity;
            }
        }
        sum / weight
    }
}

/// What the member's own purchases say of an item.
fn own_inputs(habits: &Habits, item: &Item, at: u32) -> [f32; 10] {
    let (again, usual) = (item.again, item.gap);
    let Some(own) = habits.own(at) else {
        let none = f32::NAN;
        return [0.0, 0.0, 0.0, 0.0, none, none, none, again, usual, none];
    };
    let (since, gap) = (habits.days_since(own.last), own.gap());
    // Two purchases on one day say nothing of when the next is due.
    let due = |gap: f32| if gap > 0.0 { since / gap } else { f32::NAN };
    [
        own.orders as f32,
        own.orders as f32 / (habits.orders as f32).max(1.0),
        own.weight as f32,
        own.recent as f32,
        since,
        gap,
        due(gap),
        again,
        usual,
        due(usual),
    ]
}
