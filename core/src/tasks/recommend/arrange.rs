//! What becomes of ranked candidates: the rules of a call, the order of a list, and the list of a member not known yet.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    RecommendOptions, Recommendation,
    catalogue::{NO_LABEL, Shelf},
    reasons::Why,
};
use crate::{event::short_hash, order};

/// Items from which a list is chosen for diversity, for each that it shall have.
const POOL: usize = 5;

/// How a list is made of what was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrangement {
    /// Items of the list.
    pub(super) count: usize,
    /// How much of the order is given to diversity, 0 to 1.
    pub(super) diversity: f32,
}

/// Rules of a call, as places and hashes.
pub(super) struct Rules<'s> {
    shelf: &'s Shelf,
    excluded: Vec<u32>,
    available: Option<Vec<u32>>,
    /// By name; of a name there may be several.
    boosts: Vec<(u32, f32)>,
}

impl Shelf {
    /// Chooses `count` of what was found, the most wanted first: each time the one with the most
    /// (1 − diversity) · probability / the best one's − diversity · likeness to what is chosen already.
    pub(super) fn arrange(
        &self,
        found: &[(f32, u32, f32)],
        Arrangement { count, diversity }: Arrangement,
    ) -> Vec<(f32, u32, f32)> {
        if diversity <= 0.0 {
            return found.iter().take(count).copied().collect();
        }
        let best = found.first().map_or(1.0, |(p, ..)| p.max(f32::MIN_POSITIVE));
        let pool = found.iter().take(count.saturating_mul(POOL));
        let mut pool: Vec<((f32, u32, f32), f32)> = pool.map(|candidate| (*candidate, 0.0)).collect();
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count {
            let worth = |(candidate, like): &((f32, u32, f32), f32)| {
                (1.0 - diversity) * candidate.0 / best - diversity * like
            };
            let mut at = None;
            for (place, candidate) in pool.iter().enumerate() {
                let worth = worth(candidate);
                if at.is_none_or(|(_, most)| worth > most) {
                    at = Some((place, worth));
                }
            }
            let Some((place, _)) = at else { break };
            let (next, _) = pool.remove(place);
            for (candidate, like) in &mut pool {
                *like = like.max(self.sameness(candidate.1, next.1));
            }
            chosen.push(next);
        }
        chosen
    }

    /// Half how alike two items' vectors are, and half whether they are of one category.
    fn sameness(&self, a: u32, b: u32) -> f32 {
        let category = |at| self.item(at).map(|item| item.category).filter(|label| *label != NO_LABEL);
        let same = category(a).is_some() && category(a) == category(b);
        0.5 * self.likeness(a, b).max(0.0) + if same { 0.5 } else { 0.0 }
    }

    /// What members buy of whom nothing is known but the chances of the tiers.
    pub(super) fn first_list(
        &self,
        rules: &Rules<'_>,
        how: Arrangement,
        tiers: &[f32],
    ) -> Vec<Recommendation> {
        let mut shares: BTreeMap<u32, (f32, u32, f32)> = BTreeMap::new();
        for ((favourites, p), tier) in self.catalogue().favourites.iter().zip(tiers).zip(0_u32..) {
            for favourite in favourites.iter().filter(|favourite| rules.allow(favourite.item)) {
                let found = shares.entry(favourite.item).or_insert((0.0, tier, 0.0));
                found.0 += p * favourite.share;
                if p * favourite.share > found.2 {
                    (found.1, found.2) = (tier, p * favourite.share);
                }
            }
        }
        let boosted = |(item, (p, ..)): (&u32, &(f32, u32, f32))| (rules.boosted(*item, *p), *item, *p);
        let mut found: Vec<(f32, u32, f32)> = shares.iter().map(boosted).collect();
        order::sort_by(&mut found, |a, b| (b.0, a.1) < (a.0, b.1));
        self.arrange(&found, how)
            .into_iter()
            .filter_map(|(_, item, p)| {
                let (_, tier, _) = shares.get(&item)?;
                self.recommendation(item, p, self.popular_in(item, *tier))
            })
            .collect()
    }

    pub(super) fn recommendation(
        &self,
        at: u32,
        probability: f32,
        reasons: Vec<Why>,
    ) -> Option<Recommendation> {
        let item = self.item(at)?;
        Some(Recommendation {
            item: item.id.clone(),
            name: item.name.clone(),
            category: self.label(item.category).to_string(),
            probability,
            reasons,
        })
    }
}

impl<'s> Rules<'s> {
    pub(super) fn new(shelf: &'s Shelf, options: &RecommendOptions) -> Self {
        let hashes = |texts: &[String]| {
            let mut hashes: Vec<u32> = texts.iter().map(|text| short_hash(text)).collect();
            order::sort(&mut hashes);
            hashes
        };
        let mut rules = Self {
            shelf,
            excluded: hashes(&options.exclude),
            available: options.available.as_deref().map(hashes),
            boosts: Vec::new(),
        };
        rules.boost(&options.boost);
        rules
    }

    /// Adds boosts to those that there are.
    pub(super) fn boost(&mut self, boost: &BTreeMap<String, f32>) {
        self.boosts.extend(boost.iter().map(|(name, by)| (short_hash(name), *by)));
        order::sort_by(&mut self.boosts, |a, b| a.0 < b.0);
    }

    /// The hashes of what an item is called by: its identifier, category, group and brand.
    fn names(&self, at: u32) -> impl Iterator<Item = u32> {
        let item = self.shelf.item(at);
        let labels = item.map(|item| [item.category, item.group, item.brand]).into_iter().flatten();
        let labels = labels.filter(|label| *label != NO_LABEL).map(|label| self.shelf.label_hash(label));
        item.map(|_| self.shelf.item_hash(at)).into_iter().chain(labels)
    }

    pub(super) fn allow(&self, at: u32) -> bool {
        let holds = |hashes: &[u32], hash: u32| hashes.binary_search(&hash).is_ok();
        let there =
            self.available.as_ref().is_none_or(|available| holds(available, self.shelf.item_hash(at)));
        there && (self.excluded.is_empty() || !self.names(at).any(|name| holds(&self.excluded, name)))
    }

    /// A probability after the boosts that concern an item.
    pub(super) fn boosted(&self, at: u32, p: f32) -> f32 {
        if self.boosts.is_empty() {
            return p;
        }
        let by = |name: u32| {
            let from = self.boosts.partition_point(|(known, _)| *known < name);
            self.boosts.iter().skip(from).take_while(move |(known, _)| *known == name).map(|(_, by)| *by)
        };
        let odds: f32 = self.names(at).flat_map(by).product();
        p * odds / (p * odds + (1.0 - p)).max(f32::MIN_POSITIVE)
    }
}
