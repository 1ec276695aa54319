//! Each member once, of what a cluster gives.
//!
//! Ballista 55.0.0 gives rows twice after an executor was lost: a stage that was running is rolled back and all of its tasks
//! are done again, but what those gave that were done before stays among the inputs of the next stage, or in the answer
//! itself. (Two executors of one core, three stages, one executor killed: while the second stage runs, the answer has the
//! rows of some of its 16 partitions twice, side by side; while the third runs, all rows twice, one time after the other.)
//! Both times the rows are the same, because a task's result depends on its input alone; two that are not the same are an
//! error. Rows come by member, so an answer that begins again is one that is whole up to the last member, and the rest can be
//! asked for.

use anyhow::{Context, bail};
use datafusion::arrow::{
    array::{AsArray, BooleanArray, RecordBatch, StringArray},
    compute::filter_record_batch,
};

/// What is said of an answer that begins again.
pub(crate) const BEGINS_AGAIN: &str = "the answer begins again";

/// Rows by member, of which the last one is remembered.
#[derive(Debug, Default)]
pub(super) struct Once {
    last: Option<RecordBatch>,
    /// Rows that came twice.
    pub(super) repeated: u64,
}

impl Once {
    /// The last member so far.
    pub(super) fn last_member(&self) -> Option<&str> {
        self.last.as_ref().map(|last| last.column(0).as_string::<i32>().value(0))
    }

    /// A batch without the rows that were there already; none if members do not go on by name.
    ///
    /// # Errors
    /// When a member comes twice with different rows.
    pub(super) fn take(&mut self, batch: &RecordBatch) -> anyhow::Result<Option<RecordBatch>> {
        if batch.num_rows() == 0 {
            return Ok(Some(batch.clone()));
        }
        let members: &StringArray = batch.column(0).as_string_opt().context("a member is a text")?;
        let before = self.last.clone();
        let mut is_new = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let member = members.value(row);
            let (name, last) = match (row, &before) {
                (0, None) => {
                    is_new.push(true);
                    continue;
                }
                (0, Some(last)) => (last.column(0).as_string::<i32>().value(0), (last, 0)),
                _ => (members.value(row - 1), (batch, row - 1)),
            };
            if name > member {
                return Ok(None);
            }
            if name == member && last.0.slice(last.1, 1) != batch.slice(row, 1) {
                bail!(
                    "the cluster gave two different answers for member {member}, as it can where an executor was lost; \
                     give the command again"
                );
            }
            is_new.push(name != member);
        }
        self.last = Some(batch.slice(batch.num_rows() - 1, 1));
        let repeated = is_new.iter().filter(|is_new| !**is_new).count();
        self.repeated += repeated as u64;
        match repeated {
            0 => Ok(Some(batch.clone())),
            _ => Ok(Some(filter_record_batch(batch, &BooleanArray::from(is_new))?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::{
        array::{ArrayRef, Float32Array},
        datatypes::Float32Type,
    };

    use super::*;

    fn batch(rows: &[(&str, f32)]) -> RecordBatch {
        let members: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
        let made: ArrayRef = Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| row.1)));
        RecordBatch::try_from_iter([("member", members), ("made", made)]).unwrap()
    }

    #[test]
    fn rows_that_come_twice_are_left_out_and_two_answers_are_an_error() {
        let mut once = Once::default();
        let mut found = Vec::new();
        let batches = [
            batch(&[("a", 1.0), ("b", f32::NAN), ("b", f32::NAN)]),
            batch(&[]),
            batch(&[("b", f32::NAN), ("c", 3.0)]),
            batch(&[("d", 4.0)]),
        ];
        for batch in &batches {
            let taken = once.take(batch).unwrap().unwrap();
            let made = taken.column(1).as_primitive::<Float32Type>().values().to_vec();
            found.extend(
                taken.column(0).as_string::<i32>().iter().map(|name| name.unwrap().to_owned()).zip(made),
            );
        }
        let names: Vec<&str> = found.iter().map(|row| row.0.as_str()).collect();
        assert_eq!((names, once.repeated), (vec!["a", "b", "c", "d"], 2));
        let error = once.take(&batch(&[("d", 4.5)])).unwrap_err().to_string();
        assert!(error.contains("two different answers for member d"), "{error}");
        assert!(once.take(&batch(&[("c", 3.0)])).unwrap().is_none(), "it begins again");
        assert_eq!(once.last_member(), Some("d"));
    }
}
