//! Whom to treat now: the members known at the log's last time, and the table that says so.

use std::{path::Path, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray},
    datatypes::{Field, Schema},
};

use super::{Args, Joined, ways::worth};
use crate::{
    features,
    models::uplift::{Learner, Prediction, budget},
};

/// What is said of one member, and whether to treat.
pub(super) struct Target {
    pub(super) member: String,
    /// In units of the outcome.
    pub(super) uplift: f64,
    /// Money.
    pub(super) cost: f64,
    /// The uplift's value less the cost, money.
    pub(super) gain: f64,
    pub(super) treat: bool,
}

/// Chooses: the expected cost of all who are treated is within the budget.
pub(super) fn choose(args: &Args, joined: &Joined, said: &[Prediction]) -> Vec<Target> {
    let learner = Learner::from(args.learner);
    let gains: Vec<f64> = said.iter().map(|said| worth(args, learner, said)).collect();
    let costs: Vec<f64> = said.iter().map(|said| said.cost).collect();
    let chosen = budget::choose(&gains, &costs, args.budget, 0.0);
    let of = |at: usize| Target {
        member: joined.rows.rows[joined.last[at]].member.clone(),
        uplift: said[at].uplift(learner),
        cost: said[at].cost,
        gain: gains[at],
        treat: chosen[at],
    };
    (0..said.len()).map(of).collect()
}

/// Writes `member`, `uplift`, `expected_cost`, `expected_gain` and `treat`, the greatest gain first.
pub(super) fn write(path: &Path, targets: &[Target]) -> anyhow::Result<()> {
    let mut sorted: Vec<&Target> = targets.iter().collect();
    sorted.sort_by(|a, b| b.gain.total_cmp(&a.gain).then_with(|| a.member.cmp(&b.member)));
    let numbers = |get: fn(&Target) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(sorted.iter().map(|target| get(target))))
    };
    let treat: BooleanArray = sorted.iter().map(|target| Some(target.treat)).collect();
    let columns: [(&str, ArrayRef); 5] = [
        ("member", Arc::new(StringArray::from_iter_values(sorted.iter().map(|target| &target.member)))),
        ("uplift", numbers(|target| target.uplift)),
        ("expected_cost", numbers(|target| target.cost)),
        ("expected_gain", numbers(|target| target.gain)),
        ("treat", Arc::new(treat)),
    ];
    let fields =
        columns.each_ref().map(|(name, column)| Field::new(*name, column.data_type().clone(), false));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    features::write_parquet(path, &RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns)?)
}
