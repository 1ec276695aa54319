//! What a threshold is expected to cost: each alert a review, each fraud without an alert what it takes.

use serde::{Deserialize, Serialize};

use crate::uplift::qini::Order;

/// Prices in one unit of money.
#[derive(Clone, Copy, Debug)]
pub struct Prices<'a> {
    /// Of looking at an alert.
    pub review: f64,
    /// Of each row if it is a fraud that was missed, n.
    pub missed: &'a [f64],
}

/// What comes of alerting all rows with at least some score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The score; infinite, which JSON writes as null, where nothing is alerted.
    pub threshold: f64,
    /// Alerts.
    pub alerts: f64,
    /// Frauds among them.
    pub found: f64,
    /// What reviews and missed frauds cost together.
    pub cost: f64,
}

/// The outcome of each threshold that makes a difference, from no alert to all rows.
pub fn outcomes(order: &Order, scores: &[f64], fraud: &[bool], prices: &Prices<'_>) -> Vec<Outcome> {
    let frauds = |at: &usize| if fraud[*at] { Some(prices.missed[*at]) } else { None };
    let mut missed: f64 = (0..fraud.len()).filter_map(|at| frauds(&at)).sum();
    let mut outcome = Outcome { threshold: f64::INFINITY, alerts: 0.0, found: 0.0, cost: missed };
    let mut all = vec![outcome];
    for step in order.steps() {
        outcome.threshold = step.first().map_or(f64::NAN, |at| scores[*at]);
        outcome.alerts += step.len() as f64;
        for price in step.iter().filter_map(frauds) {
            outcome.found += 1.0;
            missed -= price;
        }
        outcome.cost = missed + prices.review * outcome.alerts;
        all.push(outcome);
    }
    all
}

/// The outcome that costs least with at most so many alerts; of several the one with the fewest.
pub fn best(outcomes: &[Outcome], capacity: f64) -> Option<Outcome> {
    let within = outcomes.iter().take_while(|outcome| outcome.alerts <= capacity);
    within.copied().reduce(|best, other| if other.cost < best.cost { other } else { best })
}

/// The outcome of one threshold.
pub fn at(scores: &[f64], fraud: &[bool], prices: &Prices<'_>, threshold: f64) -> Outcome {
    let mut outcome = Outcome { threshold, alerts: 0.0, found: 0.0, cost: 0.0 };
    for ((score, fraud), missed) in scores.iter().zip(fraud).zip(prices.missed) {
        if *score >= threshold {
            outcome.alerts += 1.0;
            outcome.found += f64::from(u8::from(*fraud));
            outcome.cost += prices.review;
        } else if *fraud {
            outcome.cost += missed;
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: [f64; 5] = [0.9, 0.7, 0.7, 0.2, 0.1];
    const FRAUD: [bool; 5] = [true, false, true, false, true];
    const PRICES: Prices<'_> = Prices { review: 2.0, missed: &[10.0, 0.0, 5.0, 0.0, 1.0] };

    #[test]
    fn each_threshold_costs_its_reviews_and_what_is_missed() {
        let all = outcomes(&Order::new(&SCORES), &SCORES, &FRAUD, &PRICES);
        let found: Vec<_> = all.iter().map(|o| (o.alerts, o.found, o.cost)).collect();
        assert_eq!(
            found,
            [(0.0, 0.0, 16.0), (1.0, 1.0, 8.0), (3.0, 2.0, 7.0), (4.0, 2.0, 9.0), (5.0, 3.0, 10.0)]
        );
        for outcome in &all {
            assert_eq!(at(&SCORES, &FRAUD, &PRICES, outcome.threshold), *outcome);
        }
    }

    #[test]
    fn the_best_threshold_keeps_to_the_capacity() {
        let all = outcomes(&Order::new(&SCORES), &SCORES, &FRAUD, &PRICES);
        let best_of = |capacity| best(&all, capacity).map(|o| (o.threshold, o.cost));
        assert_eq!(best_of(5.0), Some((0.7, 7.0)));
        assert_eq!(best_of(2.0), Some((0.9, 8.0)));
        assert_eq!(best_of(0.5), Some((f64::INFINITY, 16.0)));
        // Where reviews cost more than frauds, nobody is alerted.
        let dear = Prices { review: 100.0, ..PRICES };
        let all = outcomes(&Order::new(&SCORES), &SCORES, &FRAUD, &dear);
        assert_eq!(best(&all, 5.0).map(|o| o.alerts), Some(0.0));
    }
}
