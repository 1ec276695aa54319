//! A table whose times are not what they are read as.

use std::fmt;

use tiercast_core::Timestamp;

/// A table whose numbers, read as milliseconds, all lie long ago: they are something else.
#[derive(Debug)]
pub struct OldTimes {
    /// The table's place in the project.
    pub table: usize,
    pub(super) name: String,
    pub(super) newest: i64,
}

impl OldTimes {
    /// 1990-01-01, before which no shop kept such tables.
    pub(super) const BEFORE_MS: i64 = 631_152_000_000;

    /// What to do.
    pub const HELP: &str = "numbers are milliseconds since 1970. In the project file, for \
        seconds write `time = \"column * 1000\"`; for yyyymmdd write \
        `time = \"CAST(CAST(column AS VARCHAR) AS DATE)\"`";

    /// What was found.
    pub fn found(&self) -> String {
        let newest = Timestamp::from_ms(self.newest)
            .map_or_else(|_| format!("{} ms", self.newest), |time| time.to_string());
        format!("the newest event is of {newest}")
    }
}

impl fmt::Display for OldTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}: {}: {}", self.name, self.found(), Self::HELP)
    }
}

impl std::error::Error for OldTimes {}
