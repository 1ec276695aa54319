//! Who is looked at when so many alerts a day can be.
//!
//! Days are those of UTC, 24 hours from midnight. Each has the budget of its part that the rows' span covers, rounded to whole alerts: 100 a
//! day are 32 in the last 7.65 hours. A day's alerts are its rows with the highest scores, as somebody would choose who looks at
//! the day's end; of equal scores at the cut each counts the share that is left for them.

use std::ops::RangeInclusive;

use anyhow::ensure;

use crate::uplift::qini::Order;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// How many alerts each day of a span has.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// The first day, in days since 1970.
    first: i64,
    /// Alerts, day by day.
    alerts: Vec<f64>,
}

impl Budget {
    /// The budget of a span of milliseconds since 1970 at `per_day` alerts.
    ///
    /// # Errors
    /// When `per_day` is not a number above 0, or the span has no length.
    pub fn new(span: RangeInclusive<i64>, per_day: f64) -> anyhow::Result<Self> {
        let (from, to) = (*span.start(), *span.end());
        ensure!(per_day.is_finite() && per_day > 0.0, "alerts a day should be above 0, not {per_day}");
        ensure!(from < to, "all rows are of one moment; alerts a day need times that differ");
        let first = from.div_euclid(DAY_MS);
        let alerts = (first..=to.div_euclid(DAY_MS)).map(|day| {
            let covered = to.min((day + 1) * DAY_MS) - from.max(day * DAY_MS);
            (per_day * covered as f64 / DAY_MS as f64).round()
        });
        Ok(Self { first, alerts: alerts.collect() })
    }

    /// The alerts of all days.
    pub fn total(&self) -> f64 {
        self.alerts.iter().sum()
    }

    /// The share, 0 to 1, by which each row is alerted; of rows outside the span nothing.
    pub fn alerted(&self, order: &Order, times_ms: &[i64]) -> Vec<f64> {
        let mut left = self.alerts.clone();
        let mut alerted = vec![0.0; times_ms.len()];
        let day = |at: usize| usize::try_from(times_ms[at].div_euclid(DAY_MS) - self.first).ok();
        for step in order.steps() {
            let mut rows: Vec<(usize, usize)> = step
                .iter()
                .filter_map(|at| {
                    day(*at)
                        .filter(|day| left.get(*day).is_some_and(|left| *left > 0.0))
                        .map(|day| (day, *at))
                })
                .collect();
            rows.sort_unstable();
            for rows in rows.chunk_by(|a, b| a.0 == b.0) {
                let left = &mut left[rows[0].0];
                let share = (*left / rows.len() as f64).min(1.0);
                *left -= share * rows.len() as f64;
                rows.iter().for_each(|(_, at)| alerted[*at] = share);
            }
        }
        alerted
    }
}

/// How many of the marked rows are alerted.
pub fn found(alerted: &[f64], fraud: &[bool]) -> f64 {
    alerted.iter().zip(fraud).filter(|(_, fraud)| **fraud).map(|(share, _)| share).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = DAY_MS / 24;

    #[test]
    fn parts_of_days_have_parts_of_the_budget() {
        let budget = Budget::new(18 * HOUR..=54 * HOUR, 8.0).unwrap();
        // Six hours of the first day, all of the second, six of the third.
        assert_eq!((budget.first, budget.alerts.as_slice()), (0, &[2.0, 8.0, 2.0][..]));
        assert_eq!(budget.total(), 12.0);
        assert!(Budget::new(5..=5, 8.0).is_err() && Budget::new(5..=6, 0.0).is_err());
        // Days before 1970 are days too.
        assert_eq!(Budget::new(-HOUR..=0, 24.0).unwrap().alerts, [1.0, 0.0]);
    }

    #[test]
    fn each_day_has_its_own_highest_and_ties_share() {
        let times = [0, HOUR, 2 * HOUR, 25 * HOUR, 26 * HOUR, 27 * HOUR, 99 * HOUR];
        let scores = [9.0, 8.0, 7.0, 3.0, 3.0, 1.0, 10.0];
        let order = Order::new(&scores);
        let budget = Budget::new(0..=48 * HOUR - 1, 1.0).unwrap();
        let alerted = budget.alerted(&order, &times);
        assert_eq!(alerted, [1.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0]);
        assert!((found(&alerted, &[true, true, false, true, false, false, true]) - 1.5).abs() < 1e-12);
    }
}
