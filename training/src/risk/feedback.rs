//! What analysts found of transactions that they looked at: it overrides the table's labels.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use crate::policy::log::Source;

/// What feedback changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Feedback {
    /// Rows of the feedback.
    pub(super) rows: usize,
    /// Rows that it is about and whose label it confirms.
    pub(super) confirmed: usize,
    /// Those that became frauds.
    pub(super) became_fraud: usize,
    /// Those that became none.
    pub(super) became_none: usize,
    /// Rows of the feedback whose id the table does not have.
    pub(super) unknown: usize,
}

/// A label, if a text is one.
pub(super) fn label(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "1.0" | "true" => Some(true),
        "0" | "0.0" | "false" => Some(false),
        _ => None,
    }
}

/// Reads a table with the columns id and label.
///
/// # Errors
/// When it cannot be read, lacks a column, or has a value that is no label.
pub(super) async fn read(path: &Path) -> anyhow::Result<Vec<(String, bool)>> {
    let read = async {
        let source = Source::find(path).await?;
        let table = source.read(&["id".to_owned(), "label".to_owned()]).await?;
        let (ids, labels) = (table.texts("id")?, table.texts("label")?);
        let one = |row: usize| {
            let text = labels.value(row);
            let fraud = label(text).with_context(|| {
                format!(
                    "column \"label\", row {}: {text:?} is no label; give 1 for a fraud and 0 for none",
                    row + 1
                )
            })?;
            Ok((ids.value(row).to_owned(), fraud))
        };
        (0..table.rows).map(one).collect::<anyhow::Result<_>>()
    };
    read.await.with_context(|| path.display().to_string())
}

/// Puts what was found in the place of labels.
///
/// # Errors
/// When an id is given two labels, or stands for several rows of the table.
pub(super) fn apply(
    found: &[(String, bool)],
    ids: &[String],
    fraud: &mut [bool],
) -> anyhow::Result<Feedback> {
    let mut said: HashMap<&str, bool> = HashMap::new();
    for (id, label) in found {
        if said.insert(id, *label).is_some_and(|before| before != *label) {
            bail!("the feedback gives {id:?} two labels; keep the one that holds");
        }
    }
    let mut feedback = Feedback { rows: found.len(), ..Feedback::default() };
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (id, fraud) in ids.iter().zip(fraud) {
        let Some(label) = said.get(id.as_str()) else { continue };
        let times = seen.entry(id).or_default();
        *times += 1;
        ensure!(
            *times == 1,
            "the feedback is about {id:?}, which several rows of the table are called; --id must name one row"
        );
        match (*fraud, *label) {
            (false, true) => feedback.became_fraud += 1,
            (true, false) => feedback.became_none += 1,
            _ => feedback.confirmed += 1,
        }
        *fraud = *label;
    }
    feedback.unknown = said.len() - seen.len();
    Ok(feedback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_are_counted_and_made() {
        let ids = ["a", "b", "c", "d"].map(str::to_owned);
        let mut fraud = [true, false, true, false];
        let found = [("a", false), ("b", true), ("c", true), ("x", true), ("a", false)];
        let found = found.map(|(id, label)| (id.to_owned(), label));
        let feedback = apply(&found, &ids, &mut fraud).unwrap();
        assert_eq!(fraud, [false, true, true, false]);
        let counted = Feedback { rows: 5, confirmed: 1, became_fraud: 1, became_none: 1, unknown: 1 };
        assert_eq!(feedback, counted);
    }

    #[test]
    fn feedback_that_is_not_clear_is_refused() {
        let found = [("a".to_owned(), true), ("a".to_owned(), false)];
        let error = apply(&found, &["a".to_owned()], &mut [false]).unwrap_err().to_string();
        assert!(error.contains("two labels"), "{error}");
        let twice = ["a".to_owned(), "a".to_owned()];
        let error = apply(&found[..1], &twice, &mut [false; 2]).unwrap_err().to_string();
        assert!(error.contains("several rows"), "{error}");
    }
}
