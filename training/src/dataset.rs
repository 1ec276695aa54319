//! What models learn from: one row per member and as-of date.

use tiercast_core::{FeatureSchema, Timestamp};

/// Which member, and when it is looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// The member's identifier in the shop's table.
    pub member: String,
    /// Features know the events before this instant; the target period starts at it.
    pub as_of: Timestamp,
}

/// One row per (member, as_of): what was known at `as_of`, and what happened in the period that starts there.
///
/// Rows are sorted by (as_of, member).
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Names, order and hash of the features.
    pub schema: FeatureSchema,
    /// The key of each row.
    pub rows: Vec<RowKey>,
    /// Row-major, `rows.len() × schema.len()`; NaN is missing.
    pub features: Vec<f32>,
    /// Net spend in minor units in the period that ends at `as_of`: what the same-tier rule looks at.
    pub current_spend: Vec<i64>,
    /// Net spend in minor units in `[as_of, as_of + period)`.
    pub target_spend: Vec<i64>,
    /// Days from `as_of` to the first purchase before `as_of + period`; NaN where there is none.
    pub next_purchase: Vec<f32>,
    /// The most frequent categories of purchases, for a profile's interests; empty where no sequence is declared.
    pub categories: Vec<String>,
    /// The as-of dates whose target period the table does not cover to its end, in words.
    pub warnings: Vec<String>,
}

impl Dataset {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The features of one row.
    ///
    /// # Panics
    /// When `row` is not below [`len`](Self::len).
    pub fn row(&self, row: usize) -> &[f32] {
        let width = self.schema.len();
        &self.features[row * width..(row + 1) * width]
    }
}
