//! Where an honest member's events come from: a home, a few devices and cards, some travel, a forgotten password.

use rand::{RngExt, rngs::StdRng};
use tiercast_core::DAY_MS;

use super::member::{Happening, START};

/// What is told of where an event came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Whence {
    pub(super) device: u64,
    pub(super) card: Option<u64>,
    pub(super) address: Option<u64>,
    pub(super) ip: [u8; 4],
    /// Latitude and longitude in degrees.
    pub(super) place: (f64, f64),
    /// Members that were seen with the device until then.
    pub(super) device_members: u8,
}

/// Cities by their coordinates; most members live in the first ones.
pub(super) const CITIES: [(f64, f64); 16] = [
    (40.71, -74.01),
    (34.05, -118.24),
    (41.88, -87.63),
    (29.76, -95.37),
    (33.45, -112.07),
    (39.95, -75.17),
    (32.72, -117.16),
    (47.61, -122.33),
    (39.74, -104.99),
    (25.76, -80.19),
    (44.98, -93.27),
    (35.23, -80.84),
    (51.51, -0.13),
    (19.43, -99.13),
    (43.65, -79.38),
    (52.37, 4.90),
];

/// A member's two years of places and things.
pub(super) struct Home {
    number: u64,
    city: usize,
    network: [u8; 3],
    mobile: [u8; 3],
    /// A device that somebody else of the household uses, too.
    shared: bool,
    /// Times at which a new device, card and address take the place of the last.
    devices: Vec<i64>,
    cards: Vec<i64>,
    moves: Vec<i64>,
    /// Stretches of travel, and where to.
    travel: Vec<(i64, i64, usize)>,
}

impl Home {
    pub(super) fn draw(number: u64, rng: &mut StdRng) -> Self {
        let changes = |a_year: f64, rng: &mut StdRng| -> Vec<i64> {
            let change = |_| rng.random_bool(a_year / 3.0).then(|| START + rng.random_range(0..731) * DAY_MS);
            (0..6).filter_map(change).collect()
        };
        let city = (CITIES.len() as f64 * rng.random::<f64>().powf(1.7)) as usize;
        Self {
            number,
            city,
            network: network(10, city, rng),
            mobile: network(100, city, rng),
            // Both of a pair, or neither.
            shared: super::member::mix(number & !1) % 100 < 12,
            devices: changes(0.7, rng),
            cards: changes(0.5, rng),
            moves: changes(0.15, rng),
            travel: changes(1.2, rng)
                .into_iter()
                .map(|from| {
                    let days = rng.random_range(2..12);
                    (from, from + days * DAY_MS, rng.random_range(0..CITIES.len()))
                })
                .collect(),
        }
    }

    /// Where something comes from at a time.
    pub(super) fn at(&self, time: i64, happening: &Happening, rng: &mut StdRng) -> Whence {
        let since = |changes: &[i64]| changes.iter().filter(|change| **change <= time).count() as u64;
        let away = self.travel.iter().find(|(from, to, _)| (*from..*to).contains(&time));
        let city = away.map_or(self.city, |(.., city)| *city);
        // The household's device is that of its first member.
        let (owner, shared) = if self.shared { (self.number & !1, 2) } else { (self.number, 1) };
        let app = happening.channel == "app";
        let network = match away {
            Some(_) => [100 + city as u8, (self.number % 251) as u8, (time / (7 * DAY_MS) % 250) as u8],
            None if app && rng.random_bool(0.5) => self.mobile,
            None => self.network,
        };
        let [a, b, c] = network;
        let (latitude, longitude) = CITIES[city];
        let near = |degrees: f64, rng: &mut StdRng| degrees + 0.2 * (rng.random::<f64>() - 0.5);
        let buys = happening.kind == "purchase";
        let gift = buys && rng.random_bool(0.05);
        Whence {
            device: identity(owner, 1 + since(&self.devices) * 2 + u64::from(app)),
            card: buys.then(|| identity(self.number, 100 + since(&self.cards))),
            address: buys.then(|| match gift {
                true => identity(self.number, 300 + rng.random_range(0..4)),
                false => identity(owner, 200 + since(&self.moves)),
            }),
            ip: [a, b, c, rng.random_range(1..255)],
            place: (near(latitude, rng), near(longitude, rng)),
            device_members: shared,
        }
    }
}

/// One of a city's networks.
pub(super) fn network(first: u8, city: usize, rng: &mut StdRng) -> [u8; 3] {
    [first + city as u8, rng.random_range(0..40), rng.random_range(0..250)]
}

/// The name of somebody's n-th thing.
pub(super) fn identity(owner: u64, n: u64) -> u64 {
    super::member::mix(owner.wrapping_mul(1_000_003) ^ n.wrapping_mul(0x9e37_79b9))
}
