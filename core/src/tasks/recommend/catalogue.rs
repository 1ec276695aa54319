//! What a bundle knows of a shop's items, and how they are found by the hashes that events carry.

use alloc::{string::String, vec::Vec};

use super::{factors::Factors, neighbours::Neighbours, rows::largest, welcome::Welcome};
use crate::{
    error::{Result, bail},
    event::short_hash,
    order,
    time::Duration,
};

/// The most items of a catalogue: their numbers fit into 16 bits, with one to spare.
pub const MAX_ITEMS: usize = 65_535;
/// Stands for no label.
pub const NO_LABEL: u32 = u32::MAX;
/// Items that are offered for being bought by many.
const POPULAR: usize = 200;

/// All that recommending needs beside the ranker.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalogue {
    /// Where the factors come from, for example `als`.
    pub model: String,
    /// The stretch of time that a probability is about, and over which what is popular now is counted, milliseconds.
    pub period: i64,
    /// After how long a purchase counts half, milliseconds.
    pub half_life: i64,
    /// The items, those that most members have bought first.
    pub items: Vec<Item>,
    /// The texts of categories, groups and brands.
    pub labels: Vec<String>,
    /// For each tier, the items that most of its members buy in a period, most first.
    pub favourites: Vec<Vec<Favourite>>,
    /// What is known of items by what was bought with them, as vectors.
    pub factors: Factors,
    /// The same, as items most often bought by the same members.
    pub neighbours: Neighbours,
    /// Share of the rows without a purchase that the ranker has learned from: what its odds are to be multiplied by.
    pub kept: f32,
    /// How much of a list's order is given to its diversity where nobody says, 0 to 1.
    pub diversity: f32,
    /// What new members are shown, if the shop has declared it.
    pub welcome: Option<Welcome>,
}

crate::wire::fields!(Catalogue {
    model,
    period,
    half_life,
    items,
    labels,
    favourites,
    factors,
    neighbours,
    kept,
    diversity,
    welcome
});

/// An item, and what is known of it by what all members bought.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its identifier, as in events.
    pub id: String,
    /// What people call it; may be empty.
    pub name: String,
    /// Its category, a place in the labels or [`NO_LABEL`].
    pub category: u32,
    /// A wider class than the category, for example a department.
    pub group: u32,
    /// Who makes it.
    pub brand: u32,
    /// Median price of a unit, minor units; NaN if unknown.
    pub price: f32,
    /// Share of its purchases with a discount.
    pub discounted: f32,
    /// Share of all members who ever bought it.
    pub buyers: f32,
    /// Share of the members active in the last period who bought it then.
    pub recent: f32,
    /// Share of its buyers who bought it again within a period of a purchase.
    pub again: f32,
    /// Median days from one purchase to the same member's next one; NaN if nobody bought it twice.
    pub gap: f32,
}

crate::wire::fields!(Item {
    id,
    name,
    category,
    group,
    brand,
    price,
    discounted,
    buyers,
    recent,
    again,
    gap
});

/// An item of a tier's, and the share of the tier's members who buy it in a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Favourite {
    /// Its place in the catalogue.
    pub item: u32,
    /// Share of the members.
    pub share: f32,
}

crate::wire::fields!(Favourite { item, share });

/// A catalogue whose items can be found.
#[derive(Clone, Debug)]
pub struct Shelf {
    pub(super) catalogue: Catalogue,
    /// Hashes of the items' identifiers, ascending, each with its place.
    hashes: Vec<(u32, u32)>,
    /// The same by place, and the labels' hashes.
    by_place: Vec<u32>,
    labels: Vec<u32>,
    /// The items that were bought by most members lately.
    pub(super) popular: Vec<u32>,
}

impl Shelf {
    /// Checks a catalogue's parts against each other.
    ///
    /// # Errors
    /// `invalid_spec`.
    pub fn new(catalogue: Catalogue) -> Result<Self> {
        let (items, labels) = (catalogue.items.len(), catalogue.labels.len());
        if !(1..=MAX_ITEMS).contains(&items) {
            bail!(InvalidSpec, "{items} items; a catalogue has 1 to {MAX_ITEMS}");
        }
        Duration::from_ms(catalogue.period)?;
        Duration::from_ms(catalogue.half_life)?;
        catalogue.factors.check(items)?;
        catalogue.neighbours.check(items)?;
        catalogue.welcome.as_ref().map_or(Ok(()), Welcome::check)?;
        let label = |at: u32| at == NO_LABEL || (at as usize) < labels;
        let share = |x: f32| (0.0..=1.0).contains(&x);
        for item in &catalogue.items {
            let known = [item.category, item.group, item.brand].into_iter().all(label);
            let shares = [item.discounted, item.buyers, item.recent, item.again].into_iter().all(share);
            let numbers =
                [item.price, item.gap].into_iter().all(|x| x.is_nan() || (0.0..f32::INFINITY).contains(&x));
            if !(known && shares && numbers) {
                bail!(InvalidSpec, "what is said of item {:?} is out of range", item.id);
            }
        }
        let mut favourites = catalogue.favourites.iter().flatten();
        let sound = favourites.all(|favourite| (favourite.item as usize) < items && share(favourite.share));
        let kept = catalogue.kept > 0.0 && catalogue.kept <= 1.0;
        if !sound || !kept || !share(catalogue.diversity) {
            bail!(InvalidSpec, "a catalogue's favourites, share of rows or diversity are out of range");
        }
        let by_place: Vec<u32> = catalogue.items.iter().map(|item| short_hash(&item.id)).collect();
        let labels = catalogue.labels.iter().map(|label| short_hash(label)).collect();
        let mut hashes: Vec<(u32, u32)> = by_place.iter().copied().zip(0..).collect();
        order::sort(&mut hashes);
        let recent: Vec<f32> = catalogue.items.iter().map(|item| item.recent).collect();
        let popular = largest(&recent, POPULAR, |_| true);
        Ok(Self { catalogue, hashes, by_place, labels, popular })
    }

    /// The catalogue.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The place of the item with a hash; of two with the same hash, the one that more members have bought.
    pub fn place(&self, hash: u32) -> Option<u32> {
        let at = self.hashes.partition_point(|(known, _)| *known < hash);
        self.hashes.get(at).filter(|(known, _)| *known == hash).map(|(_, place)| *place)
    }

    pub(super) fn item(&self, at: u32) -> Option<&Item> {
        self.catalogue.items.get(at as usize)
    }

    pub(super) fn item_hash(&self, at: u32) -> u32 {
        self.by_place.get(at as usize).copied().unwrap_or_default()
    }

    pub(super) fn label_hash(&self, at: u32) -> u32 {
        self.labels.get(at as usize).copied().unwrap_or_default()
    }

    pub(super) fn label(&self, at: u32) -> &str {
        self.catalogue.labels.get(at as usize).map_or("", |label| label)
    }
}
