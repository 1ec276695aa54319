//! Small shops for tests.

use std::{fs, path::Path};

pub(crate) use rows::{ladder, members};

use crate::{
    data::synth,
    locate::Problem,
    models::{Rows, mix},
    project::Project,
};

#[path = "../models/src/tests/rows.rs"]
mod rows;

/// A project of synthetic members in a folder.
pub(crate) fn synthetic(folder: &Path, members: u64) -> Project {
    synth::generate(members, 7, folder, true).unwrap();
    Project::load(&folder.join("tiercast.toml")).unwrap()
}

/// A project file over `events.csv` with the canonical columns.
pub(crate) const SMALL: &str = r#"[project]
name = "small"

[currency]
code = "USD"
exponent = 2

[[events]]
table = "events.csv"

[events.columns]
member = "member"
kind = "kind"
time = "at"
id = "id"
amount = "amount"

[tiers]
names = ["low", "high"]
period = "month"
shares = [0.5, 0.5]

[split]
train = ["2024-02-01", "2024-03-01"]
test = ["2024-04-01"]

[[features]]
name = "recency"
op = "recency"

[[features]]
name = "spend"
op = "sum"
of = "amount"
window = "60d"
"#;

/// Rows that fit [`SMALL`].
pub(crate) const ROWS: &str = "member,kind,at,id,amount
a,purchase,2024-01-05T10:00:00,1,10.00
a,purchase,2024-02-01T00:00:00,2,5.50
a,return,2024-02-20T10:00:00,3,2.00
b,purchase,2024-01-31T23:59:59,4,7.25
b,purchase,2024-04-28T10:00:00,5,1.00
";

/// The project of [`SMALL`], after replacing a text in it, over the given rows.
pub(crate) fn small(folder: &Path, rows: &str, change: (&str, &str)) -> Project {
    fs::write(folder.join("events.csv"), rows).unwrap();
    let path = folder.join("tiercast.toml");
    fs::write(&path, changed(change)).unwrap();
    Project::load(&path).unwrap()
}

/// The text of [`SMALL`] with one change.
pub(crate) fn changed((from, to): (&str, &str)) -> String {
    assert!(SMALL.contains(from), "{from}");
    SMALL.replacen(from, to, 1)
}

/// Lines, columns and messages.
pub(crate) fn places(problems: &[Problem]) -> Vec<(usize, usize, &str)> {
    problems.iter().map(|problem| (problem.line, problem.column, problem.message.as_str())).collect()
}
