//! What all members' purchases say of each item, as known at a moment.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use tiercast_core::{
    DAY_MS, Event, EventKind, Favourite, Item, MemberState, NO_LABEL, Period, TierRules, Timestamp, net_spend,
};

use super::said::Said;

/// Items that are told of a tier.
const FAVOURITES: usize = 100;

/// The items that most members have bought, by hash, most first, at most `most` of them and none that one member alone has.
pub(super) fn most_bought(members: &[MemberState], most: usize) -> Vec<u32> {
    let mut buyers: HashMap<u32, u32> = HashMap::new();
    for state in members {
        let items: HashSet<u32> = purchases(state).map(|event| event.item).collect();
        items.into_iter().for_each(|item| *buyers.entry(item).or_default() += 1);
    }
    let mut items: Vec<(u32, u32)> = buyers.into_iter().filter(|(_, buyers)| *buyers > 1).collect();
    items.sort_unstable_by_key(|(item, buyers)| (std::cmp::Reverse(*buyers), *item));
    items.truncate(most);
    items.into_iter().map(|(item, _)| item).collect()
}

/// A member's purchases of items that have a name.
pub(super) fn purchases(state: &MemberState) -> impl Iterator<Item = &Event> {
    state.events().filter(|event| event.kind == EventKind::Purchase && event.item != 0)
}

/// What was seen of one item.
#[derive(Default)]
struct Seen {
    lines: u32,
    discounted: u32,
    prices: Vec<f32>,
    buyers: u32,
    recent: u32,
    again: u32,
    gaps: Vec<f32>,
}

/// Describes items, given by hash, and gives the texts of their labels.
///
/// # Errors
/// When nothing is said of an item.
pub(super) fn describe(
    items: &[u32],
    said: &HashMap<u32, Said>,
    members: &[MemberState],
    now: Timestamp,
    period: i64,
) -> anyhow::Result<(Vec<Item>, Vec<String>)> {
    let place: HashMap<u32, usize> = items.iter().copied().zip(0..).collect();
    let mut seen: Vec<Seen> = items.iter().map(|_| Seen::default()).collect();
    let mut active = 0_u32;
    for state in members {
        let mut times: HashMap<usize, Vec<i64>> = HashMap::new();
        let mut lately = false;
        for event in purchases(state) {
            lately |= event.time.ms() > now.ms() - period;
            let Some(at) = place.get(&event.item) else { continue };
            let item = &mut seen[*at];
            item.lines += 1;
            item.discounted += u32::from(event.discount > 0);
            if event.quantity > 0 && event.amount > 0 {
                item.prices.push(event.amount as f32 * 1000.0 / event.quantity as f32);
            }
            times.entry(*at).or_default().push(event.time.ms());
        }
        active += u32::from(lately);
        for (at, mut times) in times {
            let item = &mut seen[at];
            // Lines of one day are one purchase.
            times.dedup_by_key(|time| time.div_euclid(DAY_MS));
            item.buyers += 1;
            item.recent += u32::from(times.last().is_some_and(|last| *last > now.ms() - period));
            item.again += u32::from(times.windows(2).any(|pair| pair[1] - pair[0] <= period));
            item.gaps.extend(times.windows(2).map(|pair| (pair[1] - pair[0]) as f32 / DAY_MS as f32));
        }
    }
    let mut labels = Labels::default();
    let described = items.iter().zip(seen).map(|(hash, seen)| {
        let said = said.get(hash).cloned().context(
            "an item of the events has no text by which it is found again; make `item` in [events.columns] a text or a whole \
             number, for example CAST(item AS VARCHAR)",
        )?;
        let share = |part: u32, of: u32| if of > 0 { part as f32 / of as f32 } else { 0.0 };
        Ok(Item {
            category: labels.place(said.category),
            group: labels.place(said.group),
            brand: labels.place(said.brand),
            id: said.id,
            name: said.name,
            price: median(seen.prices),
            discounted: share(seen.discounted, seen.lines),
            buyers: share(seen.buyers, members.len() as u32),
            recent: share(seen.recent, active).min(1.0),
            again: share(seen.again, seen.buyers),
            gap: median(seen.gaps),
        })
    });
    let described = described.collect::<anyhow::Result<_>>()?;
    Ok((described, labels.texts))
}

/// The middle one, of two the lower; NaN of none.
fn median(mut values: Vec<f32>) -> f32 {
    if values.is_empty() {
        return f32::NAN;
    }
    let middle = (values.len() - 1) / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Texts, each once.
#[derive(Default)]
struct Labels {
    texts: Vec<String>,
    places: HashMap<String, u32>,
}

impl Labels {
    fn place(&mut self, text: String) -> u32 {
        if text.is_empty() {
            return NO_LABEL;
        }
        *self.places.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            self.texts.len() as u32 - 1
        })
    }
}

/// For each tier the items that most of its members bought in the period before `now`; a member's tier is that of the spend
/// in the tier period that ended last.
pub(super) fn favourites(
    items: &[u32],
    members: &[MemberState],
    now: Timestamp,
    length: i64,
    (rules, period): (&TierRules, Period),
) -> Vec<Vec<Favourite>> {
    let place: HashMap<u32, u32> = items.iter().copied().zip(0..).collect();
    let mut counts = vec![HashMap::<u32, u32>::new(); rules.len()];
    let mut sizes = vec![0_u32; rules.len()];
    let (current, _) = period.around(now);
    let before = Timestamp::from_ms(current.ms() - 1).map_or((current, current), |last| period.around(last));
    for state in members.iter().filter(|state| !state.is_empty()) {
        let tier = usize::from(rules.tier_of(net_spend(state.events(), before.0, before.1))) - 1;
        sizes[tier] += 1;
        let lately = purchases(state).filter(|event| event.time.ms() > now.ms() - length);
        let items: HashSet<u32> = lately.filter_map(|event| place.get(&event.item).copied()).collect();
        items.into_iter().for_each(|item| *counts[tier].entry(item).or_default() += 1);
    }
    let list = |(counts, size): (HashMap<u32, u32>, u32)| {
        let mut list: Vec<(u32, u32)> = counts.into_iter().collect();
        list.sort_unstable_by_key(|(item, count)| (std::cmp::Reverse(*count), *item));
        list.truncate(FAVOURITES);
        list.into_iter().map(|(item, count)| Favourite { item, share: count as f32 / size as f32 }).collect()
    };
    counts.into_iter().zip(sizes).map(list).collect()
}
