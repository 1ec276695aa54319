//! How well an order of rows finds frauds: ROC AUC, precision by recall, and average precision.
//!
//! Rows come by falling score; rows of one score are one step, as their order would be chance. With F frauds and O others, f and o of them
//! in a step and f₊, o₊ in it and above, each row as often as it counts:
//!
//! - ROC AUC = Σ o·(f₊ − f/2) / (F·O), the chance that a fraud is above another row, ties counting half (Mann & Whitney 1947)
//! - precision f₊ / (f₊ + o₊), recall f₊ / F
//! - average precision = Σ f/F · f₊ / (f₊ + o₊), a sum of steps, without lines between points, which would be too high
//!   (Davis & Goadrich 2006)
//!
//! Where frauds are few, AUC hardly moves with what is on top of the order; average precision is about nothing else.

use serde::{Deserialize, Serialize};

use crate::uplift::qini::Order;

/// Both figures of an order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Area under the ROC curve, ½ for a random order.
    pub auc: f64,
    /// Average precision, the frauds' share for a random order.
    pub average_precision: f64,
}

/// A point of the precision-recall curve: all rows down to some score are taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Rows taken.
    pub taken: f64,
    /// The share of the frauds that is among them.
    pub recall: f64,
    /// The share of them that are frauds.
    pub precision: f64,
}

/// Frauds and others.
#[derive(Clone, Copy, Default)]
struct Counts {
    frauds: f64,
    others: f64,
}

/// Frauds and others of each step; row i counts `times(i)` times.
fn steps<'o>(
    order: &'o Order,
    fraud: &'o [bool],
    times: impl Fn(usize) -> f64 + 'o,
) -> impl Iterator<Item = Counts> + 'o {
    order.steps().map(move |rows| {
        rows.iter().fold(Counts::default(), |mut sum, at| {
            *if fraud[*at] { &mut sum.frauds } else { &mut sum.others } += times(*at);
            sum
        })
    })
}

/// Both figures; none where all rows are of one kind. Row i counts `times(i)` times, which is 1 but in a resample.
pub fn figures(order: &Order, fraud: &[bool], times: impl Fn(usize) -> f64) -> Option<Figures> {
    let (mut above, mut pairs, mut precision) = (Counts::default(), 0.0, 0.0);
    for step in steps(order, fraud, times) {
        pairs += step.others * (above.frauds + step.frauds / 2.0);
        above.frauds += step.frauds;
        above.others += step.others;
        if step.frauds > 0.0 {
            precision += step.frauds * above.frauds / (above.frauds + above.others);
        }
    }
    let Counts { frauds, others } = above;
    let both = frauds > 0.0 && others > 0.0;
    both.then(|| Figures { auc: pairs / (frauds * others), average_precision: precision / frauds })
}

/// The points at which the next lower score begins; none where no row is a fraud.
pub fn points(order: &Order, fraud: &[bool]) -> Vec<Point> {
    let frauds = fraud.iter().filter(|fraud| **fraud).count() as f64;
    if frauds == 0.0 {
        return Vec::new();
    }
    let points = steps(order, fraud, |_| 1.0).scan(Counts::default(), |above, step| {
        above.frauds += step.frauds;
        above.others += step.others;
        let taken = above.frauds + above.others;
        Some(Point { taken, recall: above.frauds / frauds, precision: above.frauds / taken })
    });
    points.collect()
}

/// What taking the first `k` rows finds; of a step that is cut, its mean.
pub fn at(order: &Order, fraud: &[bool], k: f64) -> Point {
    let all = fraud.iter().filter(|fraud| **fraud).count() as f64;
    let (mut taken, mut found) = (0.0, 0.0);
    for step in steps(order, fraud, |_| 1.0) {
        let rows = step.frauds + step.others;
        let share = ((k - taken) / rows).clamp(0.0, 1.0);
        (taken, found) = (taken + share * rows, found + share * step.frauds);
        if share < 1.0 {
            break;
        }
    }
    let of = |x: f64, all: f64| if all > 0.0 { x / all } else { 0.0 };
    Point { taken, recall: of(found, all), precision: of(found, taken) }
}
