//! Why an item is in a list.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{
    candidates::Candidates,
    catalogue::{NO_LABEL, Shelf},
};

/// Share of what a member cares about from which on a category is a reason.
const MUCH: f32 = 0.02;
/// Reasons of an item at most, but for the welcome.
const MOST: usize = 3;

/// A reason, in words that a page can put into sentences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Why {
    /// The member buys it again and again: so many orders, every so many days, the last so many days ago.
    Habit {
        /// Orders with it.
        orders: u32,
        /// Mean days between them.
        every_days: f32,
        /// Days since the last.
        days_since: f32,
    },
    /// The member has bought it once.
    Before {
        /// Days since.
        days_since: f32,
    },
    /// Members who buy that item, which this member knows, buy this one.
    Together {
        /// The other item's identifier.
        with: String,
        /// What people call it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        name: String,
    },
    /// The member cares about its category.
    Category {
        /// The category.
        category: String,
        /// Its share of what the member cares about.
        share: f32,
    },
    /// Many buy it now.
    Popular {
        /// Share of the members active in the last period who bought it then.
        share: f32,
    },
    /// Many of a tier's members buy it.
    PopularInTier {
        /// The tier, 1…K.
        tier: u32,
        /// Share of the tier's members who buy it in a period.
        share: f32,
    },
    /// The member is new, and at this step of the shop's welcome. The last of an item's reasons.
    Welcome {
        /// The step's name.
        step: String,
    },
}

impl Shelf {
    /// Why a candidate is one, the strongest reason first: the member's own habit, then what it was bought with, then its
    /// category, then how many buy it.
    pub(super) fn reasons(&self, candidates: &Candidates, at: u32) -> Vec<Why> {
        let mut reasons = Vec::new();
        let Some(item) = self.item(at) else { return reasons };
        let habits = &candidates.habits;
        if let Some(own) = habits.own(at) {
            let days_since = habits.days_since(own.last);
            let every_days = own.gap();
            reasons.push(match every_days > 0.0 {
                true => Why::Habit { orders: own.orders, every_days, days_since },
                false => Why::Before { days_since },
            });
        } else if let Some(with) = self.bought_with(candidates, at) {
            reasons.push(with);
        }
        let share = candidates.shares.get(item.category as usize).copied().unwrap_or_default();
        if item.category != NO_LABEL && share >= MUCH {
            reasons.push(Why::Category { category: self.label(item.category).to_string(), share });
        }
        if item.recent > 0.0 {
            reasons.push(Why::Popular { share: item.recent });
        }
        reasons.truncate(MOST);
        reasons
    }

    /// The item among those the member cares about whose neighbour this one is most.
    fn bought_with(&self, candidates: &Candidates, at: u32) -> Option<Why> {
        let mut best: Option<(f32, u32)> = None;
        for (item, affinity) in &candidates.habits.affinities {
            let mut of = self.catalogue().neighbours.of(*item as usize);
            let Some((_, alike)) = of.find(|(neighbour, _)| *neighbour == at as usize) else { continue };
            if best.is_none_or(|(most, _)| affinity * alike > most) {
                best = Some((affinity * alike, *item));
            }
        }
        let with = self.item(best?.1)?;
        Some(Why::Together { with: with.id.clone(), name: with.name.clone() })
    }

    /// The reason of an item in the list of somebody of whom nothing is known.
    pub(super) fn popular_in(&self, at: u32, tier: u32) -> Vec<Why> {
        let of = self.catalogue().favourites.get(tier as usize);
        let favourite = of.and_then(|favourites| favourites.iter().find(|favourite| favourite.item == at));
        favourite
            .map(|favourite| Why::PopularInTier { tier: tier + 1, share: favourite.share })
            .into_iter()
            .collect()
    }
}
