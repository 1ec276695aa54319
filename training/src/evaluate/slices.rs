//! For whom the predictions are good: the same figures within slices of the held-out rows.
//!
//! A slice is told from others by what is known of its rows: the date, the fold, the tier, or a column of a table that the
//! user gives. Intervals are from resamples of the slice's members, as everywhere in the report.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;
use tiercast_core::Timestamp;

use super::{attributes::Attributes, board::Verdict};
use crate::{
    metrics::{Estimate, Measure, RESAMPLES, percentile},
    models::Kind,
    train::{
        predictions::{CROSS_VALIDATION, Predictions, TEST},
        record::RunRecord,
    },
};

/// Slices of fewer members are put together, and no verdict is given on so few: their figures are mostly noise.
const FEWEST_MEMBERS: usize = 30;
/// Slices of one column that stand alone at most; the smallest are put together.
const MOST_SLICES: usize = 16;

/// The slices by one column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slicing {
    /// What tells them apart.
    pub by: String,
    /// In the order of their values; `others` last.
    pub slices: Vec<Slice>,
}

/// How good the bundle's model is on some rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Slice {
    /// The value.
    pub name: String,
    /// Rows.
    pub rows: usize,
    /// Members they belong to.
    pub members: usize,
    /// Share of the rows whose tier is exactly right.
    pub accuracy: Estimate,
    /// Mean absolute error, in tiers.
    pub mae: Estimate,
    /// Mean error, in tiers: above 0 the tiers decided on are too high.
    pub bias: Estimate,
    /// MAE less the rule's, on the same resamples: below 0 the model is better.
    pub versus_rule: Estimate,
}

impl Slice {
    /// Whether the model is better than the rule here; none where so few members cannot tell.
    pub fn verdict(&self) -> Option<Verdict> {
        (self.members >= FEWEST_MEMBERS).then(|| Verdict::of(self.versus_rule, Measure::Mae))
    }
}

/// Where a value stands among the others of its column, and how it is called.
pub type Label = (u32, String);

/// The slices by what every run knows, then those by the columns of the user's table.
pub fn all(predictions: &Predictions, run: &RunRecord, split: &str, attributes: &Attributes) -> Vec<Slicing> {
    let held = Held::new(predictions, run, &[split]);
    let both = Held::new(predictions, run, &[CROSS_VALIDATION, TEST]);
    let folds = Held::new(predictions, run, &[CROSS_VALIDATION]);
    let tier = |at: u8| (u32::from(at), run.tiers[usize::from(at) - 1].name.clone());
    let date = |row: &Row| {
        let name = Timestamp::from_ms(predictions.as_of[row.at]).map(|date| date.date()).unwrap_or_default();
        let test = predictions.split[row.at] == TEST;
        (u32::from(test), if test { format!("{name}, the test") } else { name })
    };
    let fold = |row: &Row| {
        let fold = predictions.fold[row.at].unwrap_or_default();
        (fold as u32, format!("fold {fold}"))
    };
    let mut found = vec![
        held.slicing("tier of the current period", run.seed, |row| tier(row.rule)),
        held.slicing("tier that was decided", run.seed, |row| tier(row.decided)),
        both.slicing("as-of date", run.seed, date),
        folds.slicing("fold of the cross-validation", run.seed, fold),
    ];
    for (at, column) in attributes.columns.iter().enumerate() {
        let label = |row: &Row| attributes.label(&predictions.member[row.at], at);
        found.push(held.slicing(column, run.seed, label));
    }
    found.retain(|slicing| slicing.slices.len() > 1);
    found
}

/// A held-out row, as a place in the predictions of the bundle's model.
struct Row {
    at: usize,
    target: u8,
    decided: u8,
    rule: u8,
}

struct Held<'a> {
    predictions: &'a Predictions,
    rows: Vec<Row>,
}

impl<'a> Held<'a> {
    fn new(predictions: &'a Predictions, run: &RunRecord, splits: &[&str]) -> Self {
        let of = |split: &&str| {
            // Every model holds out the same rows in the same order.
            let ours = predictions.of(&run.selected, split);
            let rule = predictions.of(Kind::SameTier.name(), split);
            ours.into_iter().zip(rule).collect::<Vec<_>>()
        };
        let row = |(ours, rule): (usize, usize)| Row {
            at: ours,
            target: predictions.target[ours],
            decided: predictions.decoded[ours],
            rule: predictions.decoded[rule],
        };
        Self { predictions, rows: splits.iter().flat_map(of).map(row).collect() }
    }

    fn slicing(&self, by: &str, seed: u64, label: impl Fn(&Row) -> Label) -> Slicing {
        let mut groups = BTreeMap::<Label, Vec<&Row>>::new();
        self.rows.iter().for_each(|row| groups.entry(label(row)).or_default().push(row));
        let groups = self.pooled(groups);
        let slices = groups.iter().map(|(name, rows)| self.slice(name, rows, seed)).collect();
        Slicing { by: by.to_owned(), slices }
    }

    /// Small groups as one, which comes last; a single one keeps its name.
    fn pooled(&self, groups: BTreeMap<Label, Vec<&'a Row>>) -> Vec<(String, Vec<&'a Row>)>
    where
        Self: 'a,
    {
        let size = |rows: &[&Row]| Reverse(self.of_members(rows).len());
        let mut largest: Vec<_> = groups.iter().map(|(label, rows)| (size(rows), label.clone())).collect();
        largest.retain(|(Reverse(members), _)| *members >= FEWEST_MEMBERS);
        largest.sort_unstable();
        largest.truncate(MOST_SLICES);
        let stand: BTreeSet<Label> = largest.into_iter().map(|(_, label)| label).collect();
        let (kept, small): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|(label, _)| stand.contains(label));
        let mut found: Vec<_> = kept.into_iter().map(|((_, name), rows)| (name, rows)).collect();
        match small.len() {
            0 => {}
            1 => found.extend(small.into_iter().map(|((_, name), rows)| (name, rows))),
            n => found.push((
                format!("others ({n} values)"),
                small.into_iter().flat_map(|(_, rows)| rows).collect(),
            )),
        }
        found
    }

    /// Each member's sums: rows, hits, absolute errors, errors, the rule's absolute errors.
    fn of_members(&self, rows: &[&Row]) -> Vec<[f64; 5]> {
        let mut members = BTreeMap::<&str, [f64; 5]>::new();
        for row in rows {
            let (target, decided) = (f64::from(row.target), f64::from(row.decided));
            let error = decided - target;
            let hit = if row.decided == row.target { 1.0 } else { 0.0 };
            let parts = [1.0, hit, error.abs(), error, (f64::from(row.rule) - target).abs()];
            let sums = members.entry(self.predictions.member[row.at].as_str()).or_default();
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        members.into_values().collect()
    }

    fn slice(&self, name: &str, rows: &[&Row], seed: u64) -> Slice {
        let members = self.of_members(rows);
        let [accuracy, mae, bias, versus_rule] = estimates(&members, seed);
        let name = name.to_owned();
        Slice { name, rows: rows.len(), members: members.len(), accuracy, mae, bias, versus_rule }
    }
}

/// Accuracy, MAE, bias and MAE less the rule's, from the members' sums.
fn estimates(members: &[[f64; 5]], seed: u64) -> [Estimate; 4] {
    let figures = |sums: [f64; 5]| {
        let [rows, hits, absolute, error, rule] = sums;
        [hits / rows, absolute / rows, error / rows, (absolute - rule) / rows]
    };
    let add = |mut sums: [f64; 5], member: &[f64; 5]| {
        sums.iter_mut().zip(member).for_each(|(sum, part)| *sum += part);
        sums
    };
    let value = figures(members.iter().fold([0.0; 5], add));
    let mut rng = StdRng::seed_from_u64(seed);
    let resamples: Vec<[f64; 4]> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..members.len()).map(|_| &members[rng.random_range(0..members.len())]);
            figures(drawn.fold([0.0; 5], add))
        })
        .collect();
    std::array::from_fn(|at| {
        let mut values: Vec<f64> = resamples.iter().map(|resample| resample[at]).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (low, high) = (percentile(&values, 0.025, value[at]), percentile(&values, 0.975, value[at]));
        Estimate { value: value[at], low, high }
    })
}

#[cfg(test)]
mod tests;
