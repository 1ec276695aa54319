//! Formulas that look at a member's last event against the earlier ones: what risk is told by as it happens.

use super::{formula::days, spec::Stat};
use crate::{
    event::Event,
    time::{DAY_MS, Timestamp},
};

const HOUR_MS: i64 = 3_600_000;
/// What counts as no time at all.
const LEAST_MS: i64 = 60_000;
/// Kilometres that nobody has to have moved: places are cells, and often those of a network.
const LEAST_KM: f64 = 50.0;
/// How far apart times of day are that are odd to each other.
const ODD_MS: i64 = 2 * HOUR_MS;

/// Speeds between successive events with a place, km/h; NaN below two.
pub(super) fn speed(events: &[&Event], stat: Stat) -> f64 {
    let mut placed = events.iter().filter(|event| !event.origin.place.is_none());
    let Some(mut from) = placed.next() else { return f64::NAN };
    let (mut sum, mut count, mut highest, mut last) = (0.0, 0_u32, 0.0_f64, f64::NAN);
    for to in placed {
        let kilometres = from.origin.place.distance(to.origin.place).unwrap_or_default();
        let hours = (to.time.ms() - from.time.ms()).max(LEAST_MS) as f64 / HOUR_MS as f64;
        last = if kilometres < LEAST_KM { 0.0 } else { kilometres / hours };
        (sum, count, highest, from) = (sum + last, count + 1, highest.max(last), to);
    }
    match stat {
        _ if count == 0 => f64::NAN,
        Stat::Max => highest,
        Stat::Last => last,
        _ => sum / f64::from(count),
    }
}

/// The share of the earlier events that were at another time of day than the last; NaN without earlier ones.
pub(super) fn oddness(events: &[&Event]) -> f64 {
    let Some((last, earlier)) = events.split_last().filter(|(_, earlier)| !earlier.is_empty()) else {
        return f64::NAN;
    };
    let is_odd = |event: &&&Event| {
        let apart = (event.time.ms() - last.time.ms()).rem_euclid(DAY_MS);
        apart.min(DAY_MS - apart) > ODD_MS
    };
    earlier.iter().filter(is_odd).count() as f64 / earlier.len() as f64
}

/// Days since the first event with the name of the last one; NaN if that has none.
pub(super) fn familiarity(events: &[&Event], now: Timestamp, name: impl Fn(&Event) -> u32) -> f64 {
    let known = events.last().map_or(0, |last| name(last));
    let first = events.iter().find(|event| known != 0 && name(event) == known);
    first.map_or(f64::NAN, |first| days(now.ms() - first.time.ms()))
}
