//! What a member has bought: how often, how lately, how regularly.

use alloc::vec::Vec;

use super::catalogue::Shelf;
use crate::{
    event::{Event, EventKind},
    features::MemberState,
    math, order,
    time::{DAY_MS, Timestamp},
};

/// What an event of a kind counts against a purchase: looking is a weaker sign than buying.
fn weight(kind: EventKind) -> f64 {
    match kind {
        EventKind::Purchase => 1.0,
        EventKind::Cart => 0.3,
        EventKind::View => 0.1,
        _ => 0.0,
    }
}

/// An item that a member has bought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Own {
    /// Its place in the catalogue.
    pub(super) item: u32,
    /// Orders with it.
    pub(super) orders: u32,
    /// The first and the last purchase.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Σ 2^(−age / half-life) over those orders, and the same with a quarter of the half-life.
    pub(super) weight: f64,
    pub(super) recent: f64,
}

impl Own {
    /// Mean days between purchases; NaN after one.
    pub(super) fn gap(&self) -> f32 {
        if self.orders < 2 {
            return f32::NAN;
        }
        ((self.last - self.first) as f64 / DAY_MS as f64 / f64::from(self.orders - 1)) as f32
    }
}

/// What a member's events say, as known at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Habits {
    pub(super) now: i64,
    /// The items bought, by place.
    pub(super) own: Vec<Own>,
    /// What the member cares about: purchases, and less so what was only looked at, each the less the older; by place.
    pub(super) affinities: Vec<(u32, f32)>,
    /// Orders, and those within the last period.
    pub(super) orders: u32,
    pub(super) recent_orders: u32,
    /// The time of the last purchase, if there is one.
    pub(super) last: Option<i64>,
    /// Share of the purchases with a discount.
    pub(super) discounted: f32,
}

/// What tells orders apart: their names, or where there are none the days.
fn order_of(event: &Event) -> u64 {
    match event.order {
        0 => 1 << 32 | (event.time.ms() / DAY_MS) as u64,
        order => u64::from(order),
    }
}

impl Habits {
    pub(super) fn of(shelf: &Shelf, state: &MemberState, now: Timestamp) -> Self {
        let (half_life, period) = (shelf.catalogue().half_life as f64, shelf.catalogue().period);
        let mut habits = Self { now: now.ms(), ..Self::default() };
        let mut orders: Vec<(u64, i64)> = Vec::new();
        let mut signals: Vec<(u32, u32, &Event)> = Vec::new();
        let (mut purchases, mut discounted) = (0_u32, 0_u32);
        for (event, at) in state.events().take_while(|event| event.time <= now).zip(0..) {
            if event.kind == EventKind::Purchase {
                purchases += 1;
                discounted += u32::from(event.discount > 0);
                habits.last = Some(event.time.ms());
                orders.push((order_of(event), event.time.ms()));
            }
            if weight(event.kind) > 0.0
                && let Some(place) = shelf.place(event.item)
            {
                signals.push((place, at, event));
            }
        }
        order::sort(&mut orders);
        orders.dedup_by_key(|(order, _)| *order);
        habits.orders = orders.len() as u32;
        let recent = orders.iter().filter(|(_, time)| *time > now.ms().saturating_sub(period));
        habits.recent_orders = recent.count() as u32;
        habits.discounted = if purchases > 0 { discounted as f32 / purchases as f32 } else { f32::NAN };
        order::sort_by(&mut signals, |a, b| (a.0, a.1) < (b.0, b.1));
        for events in signals.chunk_by(|a, b| a.0 == b.0) {
            habits.take(events, half_life);
        }
        habits
    }

    /// Takes in one item's events, in the order of time.
    fn take(&mut self, events: &[(u32, u32, &Event)], half_life: f64) {
        let Some((item, ..)) = events.first().copied() else { return };
        let mut own = Own { item, orders: 0, first: 0, last: 0, weight: 0.0, recent: 0.0 };
        let (mut affinity, mut counted) = (0.0, None);
        for (_, _, event) in events {
            let halves = (self.now - event.time.ms()) as f64 / half_life;
            if event.kind != EventKind::Purchase {
                affinity += weight(event.kind) * math::exp2(-halves);
                continue;
            }
            if counted == Some(order_of(event)) {
                continue;
            }
            counted = Some(order_of(event));
            if own.orders == 0 {
                own.first = event.time.ms();
            }
            own.orders += 1;
            own.last = event.time.ms();
            own.weight += math::exp2(-halves);
            own.recent += math::exp2(-4.0 * halves);
        }
        affinity += own.weight;
        if own.orders > 0 {
            self.own.push(own);
        }
        // What has faded to nothing would be a division by it.
        if affinity > 1e-9 {
            self.affinities.push((item, affinity as f32));
        }
    }

    pub(super) fn own(&self, item: u32) -> Option<&Own> {
        self.own.get(self.own.binary_search_by_key(&item, |own| own.item).ok()?)
    }

    pub(super) fn days_since(&self, time: i64) -> f32 {
        ((self.now - time) as f64 / DAY_MS as f64) as f32
    }
}
