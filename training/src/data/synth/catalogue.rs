//! What the synthetic shop sells, and when people want it.

/// A kind of goods.
pub(super) struct Category {
    pub(super) name: &'static str,
    /// How often it is bought, relative to the others.
    pub(super) weight: f64,
    /// Typical price in cents.
    pub(super) price: f64,
    /// Share of lines that come back.
    pub(super) returned: f64,
    /// Month of highest demand, 1–12, and how much higher it is than the mean.
    pub(super) peak: (f64, f64),
}

const fn category(name: &'static str, weight: f64, price: f64, returned: f64, peak: (f64, f64)) -> Category {
    Category { name, weight, price, returned, peak }
}

pub(super) const CATEGORIES: [Category; 12] = [
    category("grocery", 9.0, 420.0, 0.002, (12.0, 0.1)),
    category("fresh", 7.0, 380.0, 0.002, (6.0, 0.1)),
    category("drinks", 4.0, 650.0, 0.002, (7.0, 0.3)),
    category("household", 3.0, 890.0, 0.01, (3.0, 0.1)),
    category("beauty", 2.0, 1_650.0, 0.03, (12.0, 0.3)),
    category("baby", 0.8, 1_900.0, 0.02, (1.0, 0.0)),
    category("pets", 1.2, 1_450.0, 0.01, (1.0, 0.0)),
    category("clothing", 1.8, 3_900.0, 0.18, (10.0, 0.3)),
    category("home", 0.9, 4_800.0, 0.08, (11.0, 0.4)),
    category("electronics", 0.4, 14_900.0, 0.09, (12.0, 0.9)),
    category("garden", 0.7, 2_400.0, 0.04, (5.0, 0.9)),
    category("toys", 0.8, 2_200.0, 0.05, (12.0, 1.2)),
];

/// Items of a category.
pub(super) const ITEMS: u32 = 300;

/// The spend in a quarter, in cents, that the shop's own tiers ask for; members near the next one hurry.
pub(super) const TIERS: [i64; 4] = [15_000, 40_000, 90_000, 200_000];

impl Category {
    /// Demand in a month (0 is the start of the year, 12 its end) relative to the mean.
    pub(super) fn season(&self, month: f64) -> f64 {
        let (peak, height) = self.peak;
        let turn = std::f64::consts::TAU * (month + 0.5 - peak) / 12.0;
        1.0 + height * turn.cos()
    }
}

/// The list price of an item in cents: the category's price, spread by the item's rank.
pub(super) fn price(category: usize, rank: u32) -> f64 {
    // A golden-ratio walk spreads prices evenly without a table.
    let spread = (f64::from(rank) * 0.618_033_988_749_895).fract();
    (CATEGORIES[category].price * (0.4 + 1.6 * spread * spread)).round().max(49.0)
}

/// What is off in a week of the two years: nothing in most, up to 40 % in promotion weeks.
pub(super) fn promotion(week: i64) -> f64 {
    match week % 13 {
        4 => 0.2,
        8 => 0.15,
        // The weeks before the end of a year.
        11 if week % 52 > 40 => 0.4,
        _ => 0.0,
    }
}
