//! What is known of members when something is decided about them, whatever came after.
//!
//! Dates may lie outside the tables and members may have been quiet for long: `[split] active_within` is for training only.

use anyhow::bail;
use indicatif::ProgressBar;
use tiercast_core::Timestamp;

use super::{BuildOptions, Building, RawRows};
use crate::{
    dataset::{Dataset, RowKey},
    project::Project,
};

/// The features of those members and dates that `keep` wants, of all with an event before the date; what happens at the date
/// itself is not known yet.
///
/// Spend and next purchase are there, too, and mean nothing where the tables end before the period does.
///
/// # Errors
/// When a table cannot be read or a row is not a valid event, and when no row is left.
pub(crate) fn known(
    project: &Project,
    dates: &[Timestamp],
    options: &BuildOptions,
    progress: &ProgressBar,
    keep: impl Fn(&RowKey) -> bool,
) -> anyhow::Result<Dataset> {
    let mut building = Building::new(project, dates, options, progress)?;
    building.points.active_within = None;
    building.any_date = true;
    let (mut rows, width) = (RawRows::default(), building.points.schema.len());
    let folded = building.run(false, |batch| {
        let mut some = RawRows::default();
        some.extend(batch)?;
        let wanted: Vec<usize> = (0..some.len()).filter(|at| keep(&some.keys[*at])).collect();
        rows.append(some.select(&wanted, width));
        Ok(())
    })?;
    if rows.len() == 0 {
        bail!(
            "the tables know nobody at these dates; use dates after the first events, and the tables' own members"
        );
    }
    folded.dataset(rows, building.points)
}
