//! Intervals over members: percentiles of resamples, and the empirical Bernstein bound.

use std::collections::BTreeMap;

use anyhow::ensure;

use super::{
    Estimate, Interval, Options,
    terms::{Estimator, Row},
};
use crate::{mix, threads};

/// Estimates, in the order asked for.
pub(super) struct Found {
    pub(super) members: usize,
    pub(super) estimates: Vec<Estimate>,
}

/// Sums of one member's rows: how many, their weight, and base and correction of each estimator.
struct Sums {
    width: usize,
    /// Member after member, by their numbers.
    by_member: Vec<f64>,
}

/// Estimates with both intervals.
///
/// # Errors
/// When there are fewer than two members, or an estimate is beyond all numbers.
pub(super) fn estimates(
    rows: &[Row],
    members: &[u64],
    asked: &[Estimator],
    options: &Options,
) -> anyhow::Result<Found> {
    let mut places: BTreeMap<u64, usize> = members.iter().map(|member| (*member, 0)).collect();
    places.values_mut().enumerate().for_each(|(at, place)| *place = at);
    ensure!(places.len() > 1, "the log has rows of {} member; an interval needs two or more", places.len());
    let place: Vec<usize> = members.iter().map(|member| places[member]).collect();
    let sums = Sums::of(rows, &place, places.len(), asked);
    let all = sums.total(0..places.len());
    let values = values(asked, &all);
    let resampled = resample(&sums, asked, options);
    let ends = ends(rows, options);
    let estimates = asked.iter().zip(&values).enumerate().map(|(at, (estimator, value))| {
        let shares = Shares::of(rows, &place, places.len(), *estimator, ends);
        Estimate {
            value: *value,
            bootstrap: percentiles(resampled.iter().map(|round| round[at]).collect(), options.level),
            bernstein: bernstein(*value, &shares, options.level),
            range: shares.range(),
        }
    });
    let estimates: Vec<Estimate> = estimates.collect();
    ensure!(
        estimates.iter().all(|estimate| estimate.bernstein.low.is_finite() && estimate.range.is_finite()),
        "an estimate is beyond all numbers; rewards are too large, or propensities too small: scale or check them"
    );
    Ok(Found { members: places.len(), estimates })
}

impl Sums {
    fn of(rows: &[Row], place: &[usize], members: usize, asked: &[Estimator]) -> Self {
        let width = 2 + 2 * asked.len();
        let mut by_member = vec![0.0; members * width];
        for (row, place) in rows.iter().zip(place) {
            let sums = &mut by_member[place * width..(place + 1) * width];
            sums[0] += 1.0;
            sums[1] += row.weight;
            for (sums, estimator) in sums[2..].chunks_mut(2).zip(asked) {
                sums.iter_mut().zip(estimator.terms(row)).for_each(|(sum, term)| *sum += term);
            }
        }
        Self { width, by_member }
    }

    /// The sums of some members together, each as often as it is named.
    fn total(&self, members: impl Iterator<Item = usize>) -> Vec<f64> {
        let mut total = vec![0.0; self.width];
        for member in members {
            let sums = &self.by_member[member * self.width..(member + 1) * self.width];
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        total
    }

    fn members(&self) -> usize {
        self.by_member.len() / self.width
    }
}

fn values(asked: &[Estimator], total: &[f64]) -> Vec<f64> {
    let of =
        |(estimator, sums): (&Estimator, &[f64])| estimator.value([sums[0], sums[1]], total[1], total[0]);
    asked.iter().zip(total[2..].chunks(2)).map(of).collect()
}

/// Each round has its own numbers, so that threads change nothing.
fn resample(sums: &Sums, asked: &[Estimator], options: &Options) -> Vec<Vec<f64>> {
    let members = sums.members();
    threads::map((0..options.rounds as u64).collect(), |round| {
        let start = mix(options.seed ^ mix(round));
        let draw = |at: usize| below(mix(start.wrapping_add(at as u64)), members);
        values(asked, &sums.total((0..members).map(draw)))
    })
}

/// A number below `most` from 64 random bits.
fn below(bits: u64, most: usize) -> usize {
    ((u128::from(bits) * most as u128) >> 64) as usize
}

/// The middle share of some values.
fn percentiles(mut values: Vec<f64>, level: f64) -> Interval {
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        let below = place as usize;
        let above = (below + 1).min(values.len() - 1);
        values[below] + (values[above] - values[below]) * (place - below as f64)
    };
    Interval { low: at((1.0 - level) / 2.0), high: at(f64::midpoint(1.0, level)) }
}

/// The smallest and the largest reward.
fn ends(rows: &[Row], options: &Options) -> [f64; 2] {
    let seen = rows
        .iter()
        .fold([f64::MAX, f64::MIN], |[low, high], row| [low.min(row.reward), high.max(row.reward)]);
    // A log that went beyond what was said to be possible has said so.
    options.rewards.map_or(seen, |[low, high]| [low.min(seen[0]), high.max(seen[1])])
}

/// What each member adds to an estimate, so that the estimate is their mean, and the ends of what it could add.
struct Shares {
    seen: Vec<f64>,
    lowest: f64,
    highest: f64,
}

impl Shares {
    fn of(rows: &[Row], place: &[usize], members: usize, estimator: Estimator, ends: [f64; 2]) -> Self {
        let count = rows.len() as f64;
        let weight: f64 = rows.iter().map(|row| row.weight).sum();
        let sum: f64 = rows.iter().map(|row| estimator.terms(row)[1]).sum();
        let ratio = estimator.ratio(sum, weight, count);
        // A ratio's linear part (the delta method); the terms as they are where there is no ratio.
        let term = |row: &Row| {
            let [base, correction] = estimator.terms(row);
            match estimator.is_self_normalised() {
                true if weight > 0.0 => base + ratio + (correction - ratio * row.weight) * (count / weight),
                _ => base + correction,
            }
        };
        let mut shares = vec![[0.0; 3]; members];
        for (row, place) in rows.iter().zip(place) {
            let [a, b] = ends.map(|reward| term(&Row { reward, ..*row }));
            let terms = [term(row), a.min(b), a.max(b)];
            shares[*place].iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
        let scale = members as f64 / count;
        let part = |at: usize| shares.iter().map(move |share| share[at] * scale);
        Self {
            lowest: part(1).fold(f64::MAX, f64::min),
            highest: part(2).fold(f64::MIN, f64::max),
            seen: part(0).collect(),
        }
    }

    fn range(&self) -> f64 {
        (self.highest - self.lowest).max(0.0)
    }
}

/// Maurer & Pontil (2009), theorem 4, for both sides at once: √(2·V·ln(4/δ)/m) + 7·R·ln(4/δ)/(3·(m − 1)).
fn bernstein(value: f64, shares: &Shares, level: f64) -> Interval {
    let members = shares.seen.len() as f64;
    let mean = shares.seen.iter().sum::<f64>() / members;
    let variance = shares.seen.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (members - 1.0);
    let log = (4.0 / (1.0 - level)).ln();
    let half = (2.0 * variance * log / members).sqrt() + 7.0 * shares.range() * log / (3.0 * (members - 1.0));
    Interval { low: value - half, high: value + half }
}
