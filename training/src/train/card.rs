//! The model card in a bundle: data, protocol, figures and caveats, for whoever meets the bundle without the project.

use serde_json::{Value, json};

use super::record::RunRecord;
use crate::evaluate::{
    board::{Boards, Entry},
    words,
};

/// The card as JSON.
pub(super) fn write(run: &RunRecord, boards: &Boards) -> Value {
    let figures = boards.0.iter().map(|board| {
        let line = |entry: Option<&Entry>| {
            entry.map(|entry| json!({"measures": entry.measures, "versusRule": entry.versus_rule}))
        };
        let figure = json!({
            "rows": board.rows,
            "members": board.members,
            "model": line(board.entry(&run.selected, run.decode)),
            "sameTierRule": line(board.rule()),
        });
        (board.split.clone(), figure)
    });
    let mut card = json!({
        "summary": words::headline(run, boards),
        "project": run.project,
        "producer": run.producer,
        "model": run.selected,
        "decode": run.decode,
        "selectedBy": run.selected_by,
        "seed": run.seed,
        "data": run.data,
        "tiers": run.tiers,
        "metrics": figures.collect::<serde_json::Map<_, _>>(),
        "notes": words::notes(run, boards),
    });
    if let Some(recommend) = &run.recommend {
        card["recommend"] = json!(recommend);
    }
    card
}
