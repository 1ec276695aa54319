//! One synthetic member's two years.
//!
//! Visits are a Poisson process whose rate drifts from month to month, follows season and weekday, and rises when the
//! end of the quarter and the next tier are both near. After a visit a member may lapse, for good or for months: the
//! "buy till you die" models of customer-base analysis, with the door left open.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, Exp, LogNormal, Normal, Poisson};
use tiercast_core::{DAY_MS, Period, Timestamp};

use super::{
    catalogue::{self, CATEGORIES, ITEMS, TIERS},
    whence::Whence,
};

/// 2023-01-01 and 2025-01-01, milliseconds.
pub(super) const START: i64 = 1_672_531_200_000;
pub(super) const END: i64 = 1_735_689_600_000;
const MONTHS: usize = 24;

/// No rate exceeds the member's own by more than this.
const CEILING: f64 = 6.0;

/// What happened at a time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Happening {
    pub(super) time: i64,
    pub(super) kind: &'static str,
    pub(super) channel: &'static str,
    pub(super) item: Option<Item>,
    pub(super) order: Option<u32>,
    pub(super) paid: Option<Paid>,
    /// Told where fraud is planted.
    pub(super) whence: Option<Whence>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) category: usize,
    pub(super) rank: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Paid {
    pub(super) amount: i64,
    pub(super) discount: i64,
    pub(super) quantity: i64,
}

/// What a member is like.
struct Member {
    rng: StdRng,
    visits_per_day: f64,
    lines: f64,
    taste: [f64; CATEGORIES.len()],
    store: f64,
    app: f64,
    bargain: f64,
    lapse: f64,
    drift: [f64; MONTHS],
    orders: u32,
    quarter: (i64, i64),
    events: Vec<Happening>,
}

/// Everything a member does in the two years, by time, coming `visits` times as often as usual.
pub(super) fn history(seed: u64, number: u64, visits: f64) -> Vec<Happening> {
    let mut member = Member::draw(seed, number);
    member.visits_per_day *= visits;
    member.live();
    member.events.retain(|event| (START..END).contains(&event.time));
    member.events.sort_by_key(|event| event.time);
    member.events
}

impl Member {
    fn draw(seed: u64, number: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(mix(mix(seed) ^ number));
        let level = (0.9 * normal(&mut rng)).min(2.0);
        let mut drift = [0.0; MONTHS];
        let mut step = 0.0;
        for month in &mut drift {
            step = 0.88 * step + 0.22 * normal(&mut rng);
            *month = step;
        }
        let mut taste = [0.0; CATEGORIES.len()];
        for (weight, category) in taste.iter_mut().zip(&CATEGORIES) {
            *weight = category.weight * (0.8 * normal(&mut rng)).exp();
        }
        let store = rng.random::<f64>().sqrt();
        Self {
            visits_per_day: 0.11 * level.exp(),
            lines: 2.2 * (0.6 * normal(&mut rng) + 0.2 * level).exp(),
            taste,
            store,
            app: rng.random(),
            bargain: rng.random::<f64>().powi(2),
            lapse: 0.004 + 0.05 * rng.random::<f64>().powi(3),
            drift,
            orders: 0,
            quarter: (0, 0),
            events: Vec::new(),
            rng,
        }
    }

    fn live(&mut self) {
        // Half were members before the window opens; the others join during it.
        let joined = if self.rng.random_bool(0.5) { 0.0 } else { self.rng.random::<f64>() * 600.0 };
        let mut now = START + (joined * DAY_MS as f64) as i64;
        let gap = Exp::new(self.visits_per_day * CEILING).ok();
        while let Some(wait) = gap.map(|gap| gap.sample(&mut self.rng)) {
            now += (wait * DAY_MS as f64) as i64 + 1;
            if now >= END {
                break;
            }
            let accepted = (self.pace(now) / CEILING).min(1.0);
            if !self.rng.random_bool(accepted) {
                continue;
            }
            self.visit(now);
            if self.rng.random_bool(self.lapse) {
                if self.rng.random_bool(0.45) {
                    break;
                }
                now += (self.pause(150.0) * DAY_MS as f64) as i64;
            }
        }
    }

    /// The rate at a time, relative to the member's own.
    fn pace(&self, now: i64) -> f64 {
        let month = ((now - START) * MONTHS as i64 / (END - START)) as usize;
        let turn = std::f64::consts::TAU * (now - START) as f64 / (365.25 * DAY_MS as f64);
        let season = 1.0 + 0.18 * (turn + 0.4).cos();
        // 2023-01-01 was a Sunday.
        let weekend = if matches!((now - START) / DAY_MS % 7, 0 | 6) { 1.35 } else { 0.86 };
        let promotion = 1.0 + catalogue::promotion((now - START) / (7 * DAY_MS)) * 2.0 * self.bargain;
        let drift = self.drift[month.min(MONTHS - 1)].exp();
        season * weekend * promotion * drift * self.hurry(now)
    }

    /// Members who can still reach the next tier in the last three weeks of a quarter come more often.
    fn hurry(&self, now: i64) -> f64 {
        let (start, end) = quarter(now);
        let spent = if self.quarter.0 == start { self.quarter.1 } else { 0 };
        let near = TIERS.iter().any(|tier| (1..=tier / 6).contains(&(tier - spent)));
        if near && end - now < 21 * DAY_MS { 1.7 } else { 1.0 }
    }

    fn visit(&mut self, start: i64) {
        let hour = 8.0 + 13.0 * self.rng.random::<f64>();
        let mut now = start / DAY_MS * DAY_MS + (hour * 3_600_000.0) as i64;
        if now < start {
            now = start;
        }
        if self.rng.random_bool(self.store.clamp(0.02, 0.98)) {
            self.buy(now, "store");
            return;
        }
        let channel = if self.rng.random_bool(self.app) { "app" } else { "web" };
        self.happen(now, "session", channel, None);
        if channel == "app" && self.rng.random_bool(0.3) {
            self.happen(now + 5_000, "login", channel, None);
        }
        for _ in 0..self.poisson(2.5) {
            now += 1_000 * self.rng.random_range(8..180);
            let item = self.choose(now);
            self.happen(now, "view", channel, Some(item));
            if self.rng.random_bool(0.3) {
                self.happen(now + 4_000, "cart", channel, Some(item));
            }
        }
        if self.rng.random_bool(0.45) {
            self.buy(now + 60_000, channel);
        }
    }

    fn buy(&mut self, now: i64, channel: &'static str) {
        let order = self.orders;
        self.orders += 1;
        let promotion = catalogue::promotion((now - START) / (7 * DAY_MS));
        let coupon = if self.rng.random_bool(0.25 * self.bargain) { 0.1 } else { 0.0 };
        if coupon > 0.0 {
            self.happen(now - 1, "coupon", channel, None);
        }
        for _ in 0..=self.poisson(self.lines) {
            let item = self.choose(now);
            let quantity = if item.category < 4 { 1 + self.poisson(0.4) } else { 1 };
            let off = coupon + if self.rng.random_bool(0.3 + 0.5 * self.bargain) { promotion } else { 0.0 };
            let list = catalogue::price(item.category, item.rank) * quantity as f64;
            let discount = (list * off).round() as i64;
            let paid = Paid { amount: list as i64 - discount, discount, quantity };
            self.spend(now, paid.amount);
            let purchase = Happening {
                time: now,
                kind: "purchase",
                channel,
                item: Some(item),
                order: Some(order),
                paid: Some(paid),
                whence: None,
            };
            self.after(&purchase);
            self.events.push(purchase);
        }
    }

    /// What may follow a purchase: it comes back, or is reviewed.
    fn after(&mut self, purchase: &Happening) {
        let Some(item) = purchase.item else { return };
        if self.rng.random_bool(CATEGORIES[item.category].returned) {
            let time = purchase.time + DAY_MS * self.rng.random_range(2..25);
            let paid = purchase.paid.map(|paid| Paid { discount: 0, ..paid });
            self.events.push(Happening { time, kind: "return", paid, ..purchase.clone() });
        } else if purchase.channel != "store" && self.rng.random_bool(0.03) {
            let time = purchase.time + DAY_MS * self.rng.random_range(3..20);
            self.happen(time, "review", purchase.channel, Some(item));
        }
    }

    fn spend(&mut self, now: i64, amount: i64) {
        let (start, _) = quarter(now);
        let before = if self.quarter.0 == start { self.quarter.1 } else { 0 };
        self.quarter = (start, before + amount);
    }

    fn choose(&mut self, now: i64) -> Item {
        let month = (now - START) as f64 / (365.25 * DAY_MS as f64) * 12.0 % 12.0;
        let weights: [f64; CATEGORIES.len()] =
            std::array::from_fn(|at| self.taste[at] * CATEGORIES[at].season(month));
        let mut left = self.rng.random::<f64>() * weights.iter().sum::<f64>();
        let found = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Popular items first: the rank is a power of a uniform number.
        let rank = (f64::from(ITEMS) * self.rng.random::<f64>().powf(2.5)) as u32;
        Item { category: found.unwrap_or_default(), rank: rank.min(ITEMS - 1) }
    }

    fn happen(&mut self, time: i64, kind: &'static str, channel: &'static str, item: Option<Item>) {
        self.events.push(Happening { time, kind, channel, item, order: None, paid: None, whence: None });
    }

    fn poisson(&mut self, mean: f64) -> i64 {
        Poisson::new(mean).map_or(0, |poisson| poisson.sample(&mut self.rng) as i64)
    }

    fn pause(&mut self, mean: f64) -> f64 {
        LogNormal::new(mean.ln() - 0.5, 1.0).map_or(mean, |wait| wait.sample(&mut self.rng))
    }
}

/// The quarter around a time: its start and its end.
fn quarter(now: i64) -> (i64, i64) {
    let (start, end) = Period::Quarter.around(Timestamp::from_ms(now).unwrap_or_default());
    (start.ms(), end.ms())
}

fn normal(rng: &mut StdRng) -> f64 {
    Normal::new(0.0, 1.0).map_or(0.0, |normal| normal.sample(rng))
}

/// Stafford's finaliser (variant 13 of SplitMix64): neighbouring numbers give unrelated generators.
pub(super) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
