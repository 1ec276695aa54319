//! Whether a table reaches far enough for an as-of date: the one rule of `check`, `features` and `train`.

use anyhow::bail;
use tiercast_core::{DAY_MS, Period, Timestamp};

/// A target that ends this much after the last event is still taken as covered: shops close for a holiday.
const TAIL_MS: i64 = 3 * DAY_MS;

/// How events from a first to a last one cover an as-of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Something is known before it, and its target period is over.
    Whole,
    /// The table ends before the target period does.
    Cut,
    /// There is no event before it.
    NothingBefore,
    /// There is no event from it on: every target would be 0.
    NothingAfter,
}

impl Coverage {
    /// Judges one as-of date.
    pub fn of(as_of: Timestamp, period: Period, (first, last): (Timestamp, Timestamp)) -> Self {
        let (_, end) = period.around(as_of);
        match () {
            () if as_of <= first => Self::NothingBefore,
            () if as_of > last => Self::NothingAfter,
            () if end.ms() - last.ms() > TAIL_MS => Self::Cut,
            () => Self::Whole,
        }
    }
}

/// The warnings of as-of dates whose target is cut.
///
/// # Errors
/// When nothing is known before an as-of date, or nothing happens from it on.
pub fn warnings(
    as_ofs: &[Timestamp],
    period: Period,
    span: (Timestamp, Timestamp),
) -> anyhow::Result<Vec<String>> {
    let mut warnings = Vec::new();
    let table = format!("the table has events from {} to {}", span.0.date(), span.1.date());
    for &as_of in as_ofs {
        let (date, end) = (as_of.date(), period.around(as_of).1.date());
        match Coverage::of(as_of, period, span) {
            Coverage::Whole => {}
            Coverage::Cut => warnings.push(format!(
                "The target of {date} runs to {end}, but {table}: members look poorer than they are."
            )),
            Coverage::NothingBefore => bail!(
                "nothing is known of anyone at the as-of date {date}: {table}; \
                 take it out of [split] or add older events"
            ),
            Coverage::NothingAfter => bail!(
                "nothing happens from the as-of date {date} on, so every target would be 0: {table}; \
                 take it out of [split] train or test, or add the events up to {end}"
            ),
        }
    }
    Ok(warnings)
}
