//! The shop's rules for points, and what one event earns by them.
//!
//! An event is one line of an order, and points are rounded down for each event on its own. So what an event earns depends
//! on nothing but the event: lines may arrive late or in any order, and a purchase that is split into lines never earns more
//! than the whole, because the sum of what is rounded down is at most the sum rounded down.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    bonus::{Bonus, MAX_BONUSES},
    ledger::{MAX_POINTS, ratio},
};
use crate::{
    error::{Result, bail},
    event::{Event, EventKind, EventRules},
    money::MAX_MINOR,
    time::{DAY_MS, Duration},
};

/// The most points that the rate gives for [`PointsRules::per`], and the most minor units that a point is worth.
const MAX_RATE: u32 = 1000;
/// The largest amount that a rate is given for: 10 million dollars in cents.
const MAX_PER: u32 = 1_000_000_000;
/// The most points that a value is given for: a sum of minor units can still be multiplied by it.
const MAX_REDEEM: u32 = 1_000_000;
/// The largest percentage of a tier. With those of all bonuses, 32 times 2500, that is at most 100,000, so that the
/// largest product, an amount of 10¹¹ times a rate of 1000 times that, is 10¹⁹ and fits 64 bits.
const MAX_TIER_PERCENT: u32 = 20_000;
/// How points are earned, how long they last and what they are worth.
///
/// Events earn in whole points, rounded down for each event. Percentages add up: a tier of 150 % and a bonus of 100 % make
/// 250 % of what the rate alone gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointsRules {
    /// Points that `per` minor units of a purchase earn, 1 to 1000.
    pub points: u32,
    /// Minor units that earn `points`, 1 to 10⁹: 100 for one point a dollar.
    pub per: u32,
    /// What each tier earns in percent of the rate, tier 1 first: 100 is the rate itself, at most 20,000.
    pub tiers: Vec<u32>,
    /// What is earned on top, at most [`MAX_BONUSES`].
    #[serde(default)]
    pub bonuses: Vec<Bonus>,
    /// The most points of one event; unlimited if none.
    #[serde(default)]
    pub cap_per_event: Option<u64>,
    /// The most points earned on one UTC day; unlimited if none.
    #[serde(default)]
    pub cap_per_day: Option<u64>,
    /// Whole days after which points expire, at the end of that UTC day; never if none.
    #[serde(default)]
    pub expires: Option<Duration>,
    /// So many points are worth `redeem_minor`, 1 to 10⁶.
    pub redeem_points: u32,
    /// Minor units that `redeem_points` are worth, 0 to 1000 times as many.
    pub redeem_minor: u32,
    /// The fewest points of a redemption.
    #[serde(default)]
    pub min_redeem: u64,
    /// Share of the points that is expected never to be redeemed, in percent, 0 to 100: what a liability is lowered by.
    #[serde(default)]
    pub breakage_percent: u8,
}

crate::wire::fields!(PointsRules {
    points,
    per,
    tiers,
    bonuses,
    cap_per_event,
    cap_per_day,
    expires,
    redeem_points,
    redeem_minor,
    min_redeem,
    breakage_percent,
});

/// What an event earns: `points = base + bonus − capped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Earned {
    /// Points earned; below 0 what a return takes back.
    pub points: i64,
    /// What the rate alone gives.
    pub base: i64,
    /// What the tier and bonuses change of it.
    pub bonus: i64,
    /// What the caps keep back, never below 0.
    pub capped: u64,
}

/// What there is to know of a bundle's rules for points.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PointsInfo<'r> {
    /// Points that `per_minor` earn.
    pub points: u32,
    /// Minor units that earn `points`.
    pub per_minor: u32,
    /// What each tier earns in percent of the rate.
    pub tiers: &'r [u32],
    /// Names of the bonuses.
    pub bonuses: Vec<&'r str>,
    /// Days after which points expire; none if never.
    pub expires_days: Option<i64>,
    /// Points that are worth `redeem_minor`.
    pub redeem_points: u32,
    /// Minor units that `redeem_points` are worth.
    pub redeem_minor: u32,
    /// The fewest points of a redemption.
    pub min_redeem: u64,
}

impl PointsRules {
    /// Checks the rules for a shop of so many tiers and these events.
    ///
    /// # Errors
    /// `invalid_spec` for the first of [`PointsRules::mistakes`].
    pub fn check(&self, tiers: usize, events: &EventRules) -> Result<()> {
        match self.mistakes(tiers, events).first() {
            Some((path, message)) => bail!(InvalidSpec, "points.{path}: {message}"),
            None => Ok(()),
        }
    }

    /// What is out of range or contradicts itself, for a shop of so many tiers and these events: each time the dotted path
    /// of a field, as `bonuses.0`, and what is wrong, a semicolon, and what would be accepted.
    pub fn mistakes(&self, tiers: usize, events: &EventRules) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut within = |path: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                found.push((path.into(), alloc::format!("{value} is out of range; give {least} to {most}")));
            }
        };
        within("points", self.points.into(), 1, MAX_RATE.into());
        within("per", self.per.into(), 1, MAX_PER.into());
        for (i, percent) in self.tiers.iter().enumerate() {
            within(&alloc::format!("tiers.{i}"), (*percent).into(), 0, MAX_TIER_PERCENT.into());
        }
        within("cap_per_event", self.cap_per_event.unwrap_or(1), 1, MAX_POINTS);
        within("cap_per_day", self.cap_per_day.unwrap_or(1), 1, MAX_POINTS);
        within("redeem_points", self.redeem_points.into(), 1, MAX_REDEEM.into());
        let worth = u64::from(self.redeem_points) * u64::from(MAX_RATE);
        within("redeem_minor", self.redeem_minor.into(), 0, worth);
        within("min_redeem", self.min_redeem, 0, MAX_POINTS);
        within("breakage_percent", self.breakage_percent.into(), 0, 100);
        let mut say = |path: &str, message| found.push((path.into(), message));
        if self.tiers.len() != tiers {
            let given = self.tiers.len();
            say(
                "tiers",
                alloc::format!("{given} percentages for {tiers} tiers; give one for each, tier 1 first"),
            );
        }
        if self.expires.is_some_and(|after| after.ms() % DAY_MS != 0) {
            say("expires", "it is no whole number of days; write it as \"365d\"".into());
        }
        if self.bonuses.len() > MAX_BONUSES {
            say("bonuses", alloc::format!("{} bonuses; at most {MAX_BONUSES}", self.bonuses.len()));
        }
        for (i, bonus) in self.bonuses.iter().enumerate() {
            if let Some(message) = bonus.mistake(events) {
                say(&alloc::format!("bonuses.{i}"), message);
            }
        }
        found
    }

    /// What an event earns in a tier, 1…K, on a UTC day on which `earned_today` points were earned before.
    ///
    /// A purchase earns `⌊amount · points · percent / (per · 100)⌋`, where the percentages of the tier and of the bonuses
    /// add up, within the caps. A return takes back by the same formula, with the tier and the bonuses of its own moment
    /// and without caps; how much of that is there to take is for the [`Ledger`](super::Ledger) to say. Other kinds earn
    /// the points of the bonuses that name them, within the caps.
    ///
    /// For rules that [`PointsRules::check`] accepts nothing overflows. A tier that is none counts as the nearest.
    pub fn earn(&self, event: &Event, tier: u8, earned_today: u64) -> Earned {
        let goods = matches!(event.kind, EventKind::Purchase | EventKind::Return);
        let (percent, fixed) = self
            .bonuses
            .iter()
            .filter(|bonus| bonus.holds(event))
            .fold((self.percent(tier), 0), |(percent, fixed), bonus| {
                (percent + u64::from(bonus.percent), fixed + u64::from(bonus.points))
            });
        if !goods {
            return self.cap(0, fixed, earned_today);
        }
        // An event is validated when it is made; the clamp is for one that was put together by hand.
        let rate = event.amount.clamp(0, MAX_MINOR).unsigned_abs() * u64::from(self.points);
        let per = u64::from(self.per).max(1);
        let (base, all) = (rate / per, rate * percent / (per * 100));
        if event.kind == EventKind::Purchase {
            return self.cap(base, all, earned_today);
        }
        let (base, all) = (-(base as i64), -(all as i64));
        Earned { points: all, base, bonus: all - base, capped: 0 }
    }

    /// The percentage of a tier.
    fn percent(&self, tier: u8) -> u64 {
        let at = usize::from(tier.max(1)) - 1;
        self.tiers.get(at).or(self.tiers.last()).map_or(100, |percent| u64::from(*percent))
    }

    fn cap(&self, base: u64, all: u64, earned_today: u64) -> Earned {
        let room = self.cap_per_day.map_or(u64::MAX, |cap| cap.saturating_sub(earned_today));
        let points = all.min(room).min(self.cap_per_event.unwrap_or(u64::MAX));
        Earned {
            points: points as i64,
            base: base as i64,
            bonus: all as i64 - base as i64,
            capped: all - points,
        }
    }

    /// What points are worth when they are redeemed, minor units, rounded down. Of more than [`MAX_POINTS`] it may be the
    /// largest number.
    pub fn value_minor(&self, points: u64) -> u64 {
        ratio(points, self.redeem_minor.into(), self.redeem_points.into())
    }

    /// What points are expected to cost the shop: their value without the share that is expected never to be redeemed,
    /// minor units, rounded down once. Of more than [`MAX_POINTS`] it may be the largest number.
    pub fn liability_minor(&self, points: u64) -> u64 {
        let kept = 100_u64.saturating_sub(self.breakage_percent.into());
        ratio(points, u64::from(self.redeem_minor) * kept, u64::from(self.redeem_points) * 100)
    }

    /// Says what there is to know, for reports and pages.
    pub fn describe(&self) -> PointsInfo<'_> {
        PointsInfo {
            points: self.points,
            per_minor: self.per,
            tiers: &self.tiers,
            bonuses: self.bonuses.iter().map(|bonus| bonus.name.as_str()).collect(),
            expires_days: self.expires.map(|after| after.ms() / DAY_MS),
            redeem_points: self.redeem_points,
            redeem_minor: self.redeem_minor,
            min_redeem: self.min_redeem,
        }
    }
}
