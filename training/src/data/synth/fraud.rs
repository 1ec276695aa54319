//! Planted fraud, of which the generator knows the truth: rings, takeovers and refund abuse.
//!
//! - **A ring**: four to twelve accounts that one crew opens on one to three devices, buys with on a new card each time, coupons
//!   always, and leaves after some days.
//! - **A takeover**: somebody else signs in to a member's account, from far away and on a device of their own, perhaps after
//!   failed attempts, and has expensive goods sent elsewhere.
//! - **Refund abuse**: a member who sends most of what is dear back.
//!
//! Honest members travel, change devices and cards, send gifts, share a computer and forget passwords, too.
//! A member's events still depend on the seed and the member's number alone.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tiercast_core::DAY_MS;

use super::{
    catalogue,
    member::{END, Happening, Item, Paid, START, mix},
    whence::{CITIES, Home, Whence, identity, network},
};

/// Of so many neighbouring numbers one to some are a ring, in half of the cases.
const BLOCK: u64 = 500;
const MINUTE: i64 = 60_000;
/// Categories whose goods are easily sold on: electronics, toys, clothing, beauty.
const DEAR: [usize; 4] = [9, 11, 7, 4];

/// What kind of fraud an order is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scheme {
    Ring,
    Takeover,
    Refunds,
}

impl Scheme {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Takeover => "takeover",
            Self::Refunds => "refunds",
        }
    }
}

/// The history of a member with where everything came from and with what fraudsters do, and the orders that are fraud.
pub(super) fn dressed(
    seed: u64,
    number: u64,
    mut events: Vec<Happening>,
) -> (Vec<Happening>, Vec<(u32, Scheme)>) {
    let mut rng = StdRng::seed_from_u64(mix(mix(seed ^ 0xf4a0d) ^ number));
    if let Some(ring) = Ring::of(seed, number) {
        let events = ring.history(number, &mut rng);
        let orders = events.iter().filter_map(|event| event.order);
        let last = orders.max().map_or(0, |last| last + 1);
        return (events, (0..last).map(|order| (order, Scheme::Ring)).collect());
    }
    let home = Home::draw(number, &mut rng);
    for event in &mut events {
        event.whence = Some(home.at(event.time, event, &mut rng));
    }
    forget_passwords(&mut events, &mut rng);
    let mut fraud = Vec::new();
    if events.len() > 5 && rng.random_bool(0.04) {
        take_over(number, &mut events, &mut fraud, &mut rng);
    }
    if rng.random_bool(0.012) {
        abuse_refunds(&mut events, &mut fraud, &mut rng);
    }
    events.retain(|event| (START..END).contains(&event.time));
    events.sort_by_key(|event| event.time);
    (events, fraud)
}

/// Honest members fail to sign in now and then.
fn forget_passwords(events: &mut Vec<Happening>, rng: &mut StdRng) {
    let mut failed = Vec::new();
    for event in events.iter().filter(|event| event.kind == "session") {
        if rng.random_bool(0.03) {
            for attempt in 1..=rng.random_range(1..3) {
                let time = event.time - attempt * rng.random_range(5_000..40_000);
                failed.push(Happening { time, kind: "failed_login", ..event.clone() });
            }
        }
    }
    events.append(&mut failed);
}

fn take_over(number: u64, events: &mut Vec<Happening>, fraud: &mut Vec<(u32, Scheme)>, rng: &mut StdRng) {
    let known = events[rng.random_range(events.len() / 4..events.len())].clone();
    let mut order = next_order(events);
    // Somewhere in the day after what the member did, at any hour.
    let mut now = known.time + rng.random_range(30..1440) * MINUTE;
    let city = rng.random_range(0..CITIES.len());
    // Some crews rent a network near their victim.
    let place = if rng.random_bool(0.25) { known.whence.map(|whence| whence.place) } else { None };
    let [a, b, c] = network(180, city, rng);
    let crew = Whence {
        device: identity(number, 900),
        card: None,
        address: None,
        ip: [a, b, c, rng.random_range(1..255)],
        place: place.unwrap_or(CITIES[city]),
        device_members: 1,
    };
    let event = |time, kind| online(time, kind, crew);
    // Half know the password.
    if rng.random_bool(0.5) {
        for _ in 0..rng.random_range(2..9) {
            events.push(event(now, "failed_login"));
            now += rng.random_range(3_000..50_000);
        }
    }
    events.extend([event(now, "session"), event(now + 1_000, "login")]);
    let on_file = known_card(events);
    for _ in 0..rng.random_range(1..4) {
        now += rng.random_range(2..45) * MINUTE;
        let card = if rng.random_bool(0.6) { on_file } else { None };
        let card = card.unwrap_or_else(|| identity(number, 901 + u64::from(order)));
        let address = identity(number, 950 + rng.random_range(0..2));
        let whence = Whence { card: Some(card), address: Some(address), ..crew };
        for _ in 0..rng.random_range(1..3) {
            events.push(bought(now, "web", dear(rng), order, 1.0, whence));
        }
        fraud.push((order, Scheme::Takeover));
        order += 1;
    }
}

/// The card of the member's last purchase.
fn known_card(events: &[Happening]) -> Option<u64> {
    let last = events.iter().filter(|event| event.kind == "purchase").max_by_key(|event| event.time);
    last.and_then(|event| event.whence?.card)
}

/// From some order on most dear goods come back.
fn abuse_refunds(events: &mut Vec<Happening>, fraud: &mut Vec<(u32, Scheme)>, rng: &mut StdRng) {
    let mut order = next_order(events);
    let bought: Vec<Happening> = events.iter().filter(|event| event.kind == "purchase").cloned().collect();
    for purchase in bought.into_iter().skip(4) {
        if !rng.random_bool(0.12) {
            continue;
        }
        let Some(whence) = purchase.whence else { continue };
        let time = purchase.time + rng.random_range(1..600) * MINUTE;
        let line = self::bought(time, purchase.channel, dear(rng), order, 1.0, whence);
        if rng.random_bool(0.8) {
            let back = time + DAY_MS * rng.random_range(3..20);
            events.push(Happening { time: back, kind: "return", ..line.clone() });
        }
        events.push(line);
        fraud.push((order, Scheme::Refunds));
        order += 1;
    }
}

/// A crew's accounts in a block of numbers.
struct Ring {
    first: u64,
    opened: i64,
    city: usize,
    accounts: u64,
    devices: u64,
    networks: [[u8; 3]; 2],
}

impl Ring {
    /// The ring that a number is an account of.
    fn of(seed: u64, number: u64) -> Option<Self> {
        let block = number / BLOCK;
        let mut rng = StdRng::seed_from_u64(mix(mix(seed ^ 0x4165) ^ block));
        let exists = rng.random_bool(0.5);
        let (first, accounts) = (rng.random_range(0..BLOCK - 12), rng.random_range(4..13));
        let city = rng.random_range(0..CITIES.len());
        let ring = Self {
            first: block * BLOCK + first,
            opened: START + rng.random_range(60..690) * DAY_MS,
            city,
            accounts,
            devices: rng.random_range(1..4),
            networks: [network(180, city, &mut rng), network(140, city, &mut rng)],
        };
        (exists && (ring.first..ring.first + ring.accounts).contains(&number)).then_some(ring)
    }

    /// When an account is opened, and its device.
    fn account(&self, number: u64) -> (i64, u64) {
        let place = number - self.first;
        (self.opened + place as i64 * 11 * 60 * MINUTE, place % self.devices)
    }

    fn history(&self, number: u64, rng: &mut StdRng) -> Vec<Happening> {
        let (opened, device) = self.account(number);
        let (mut now, mut events) = (opened, Vec::new());
        let until = opened + rng.random_range(2..15) * DAY_MS;
        let (latitude, longitude) = CITIES[self.city];
        for order in 0.. {
            let [a, b, c] = self.networks[usize::from(rng.random_bool(0.4))];
            let seen = (self.first..self.first + self.accounts)
                .map(|other| self.account(other))
                .filter(|(at, on)| *on == device && *at <= now);
            let whence = Whence {
                device: identity(self.first, 800 + device),
                card: None,
                address: None,
                ip: [a, b, c, rng.random_range(1..255)],
                place: (latitude + 0.05 * rng.random::<f64>(), longitude),
                device_members: seen.count() as u8,
            };
            let event = |time, kind| online(time, kind, whence);
            events.push(event(now, "session"));
            events.push(event(now + 5 * MINUTE, "coupon"));
            let card = identity(number, 700 + u64::from(order));
            let address = identity(self.first, 850 + rng.random_range(0..3));
            let paid = Whence { card: Some(card), address: Some(address), ..whence };
            for _ in 0..rng.random_range(1..3) {
                events.push(bought(now + 6 * MINUTE, "web", dear(rng), order, 0.9, paid));
            }
            now += rng.random_range(3 * 60..40 * 60) * MINUTE;
            if now > until || now >= END - DAY_MS {
                break;
            }
        }
        events
    }
}

/// What happens on the site and is no purchase.
fn online(time: i64, kind: &'static str, whence: Whence) -> Happening {
    Happening { time, kind, channel: "web", item: None, order: None, paid: None, whence: Some(whence) }
}

fn next_order(events: &[Happening]) -> u32 {
    events.iter().filter_map(|event| event.order).max().map_or(0, |last| last + 1)
}

fn dear(rng: &mut StdRng) -> Item {
    Item { category: DEAR[rng.random_range(0..DEAR.len())], rank: rng.random_range(0..catalogue::ITEMS) }
}

fn bought(time: i64, channel: &'static str, item: Item, order: u32, price: f64, whence: Whence) -> Happening {
    let list = catalogue::price(item.category, item.rank);
    let amount = (list * price).round();
    let paid = Paid { amount: amount as i64, discount: (list - amount) as i64, quantity: 1 };
    Happening {
        time,
        kind: "purchase",
        channel,
        item: Some(item),
        order: Some(order),
        paid: Some(paid),
        whence: Some(whence),
    }
}
