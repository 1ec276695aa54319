//! What the figures say, in sentences: the same ones in the report, on the terminal and in the bundle's card.

use super::board::{Board, Boards, Entry, Verdict};
use crate::{
    metrics::{Estimate, Measure},
    train::{
        predictions::TEST,
        record::{ModelRecord, RunRecord},
        search::Searched,
        stack::Part,
    },
};

/// A model's name for people.
pub fn model(name: &str) -> &str {
    match name {
        "same-tier" => "the same-tier rule",
        "linear" => "linear regression",
        "logistic" => "logistic regression",
        "svm" => "the linear SVM",
        "dnn" => "the neural network",
        "ridge" => "ridge regression on spend",
        "blend" => "the blend",
        "boosting" => "gradient boosting",
        "boosting-rank" => "gradient boosting on ranks",
        "ordinal" => "ordered logistic regression",
        "corn" => "the ordinal neural network",
        "hurdle" => "the hurdle model",
        "cnn" => "the convolutional network",
        "gru" => "the recurrent network",
        "transformer" => "the attention network",
        other => other,
    }
}

/// The same without its article, for tables and charts.
pub fn short(name: &str) -> &str {
    let name = model(name);
    name.strip_prefix("the ").unwrap_or(name)
}

/// Which model wins, or that none beats the rule.
pub fn headline(run: &RunRecord, boards: &Boards) -> String {
    let Some((board, entry)) =
        boards.first().and_then(|board| Some((board, board.entry(&run.selected, run.decode)?)))
    else {
        return "There is nothing to judge.".into();
    };
    let (verdict, _) = versus(entry, run.selected_by);
    let name = capitalized(model(&run.selected));
    match verdict {
        Verdict::Better => format!("{name} beats the same-tier rule"),
        Verdict::Unclear if winners(board, run).is_empty() => "No model beats the same-tier rule".into(),
        Verdict::Unclear => format!("{name} is level with the same-tier rule"),
        Verdict::Worse => format!("The same-tier rule beats {}", model(&run.selected)),
    }
}

/// The sentence under the headline: by how much, where, and how sure.
pub fn finding(run: &RunRecord, boards: &Boards) -> String {
    let Some((board, entry)) =
        boards.first().and_then(|board| Some((board, board.entry(&run.selected, run.decode)?)))
    else {
        return String::new();
    };
    let Some(rule) = board.rule() else { return String::new() };
    let measure = run.selected_by;
    let (ours, theirs) = (entry.measures.get(measure).value, rule.measures.get(measure).value);
    let (verdict, difference) = versus(entry, measure);
    let chance = match verdict {
        Verdict::Unclear => "which chance alone could give",
        _ => "more than chance would give",
    };
    let name = model(&run.selected);
    let figures = match measure {
        Measure::Mae => format!("{name} is {ours:.3} tiers off on average and the rule {theirs:.3}"),
        Measure::Accuracy => format!(
            "{name} has {:.1} % of tiers exactly right and the rule {:.1} %",
            ours * 100.0,
            theirs * 100.0
        ),
        _ => format!("{name} has {} {ours:.3} and the rule {theirs:.3}", measure.label()),
    };
    format!(
        "Judged on {}, {figures}: a difference of {}, {chance}.",
        rows(board),
        signed_interval(difference)
    )
}

/// Trained models that beat the rule on the board, by the run's measure and decoder.
pub fn winners<'a>(board: &'a Board, run: &RunRecord) -> Vec<&'a str> {
    let asked = board.entries.iter().filter(|entry| entry.decode == Some(run.decode));
    let better = asked.filter(|entry| versus(entry, run.selected_by).0 == Verdict::Better);
    better.map(|entry| entry.model.as_str()).collect()
}

/// What a reader should know before trusting the figures.
pub fn notes(run: &RunRecord, boards: &Boards) -> Vec<String> {
    let mut notes: Vec<String> =
        Some(run.source.clone()).filter(|source| !source.is_empty()).into_iter().collect();
    notes.extend([
        "A tier here is net spend in the next period, cut at thresholds; it is not a tier that a shop has granted."
            .to_owned(),
        "Tiers, imputation, outlier limits and scaling were fitted to training rows only. In cross-validation no member is on both sides; the out-of-time test judges a later period of largely the same members."
            .to_owned(),
        "The same-tier rule cuts current spend where the training rows have the same shares. It decides its own tier; its probabilities are how often each tier followed in training."
            .to_owned(),
    ]);
    if let Some(board) = boards.first() {
        notes.push(match board.split.as_str() {
            TEST => "The model was chosen in cross-validation; the test had no say in it.".into(),
            _ => "There is no out-of-time test, and the model was chosen by these same figures: expect somewhat worse ones on a later period.".into(),
        });
        let beaten = winners(board, run);
        if beaten.is_empty() {
            notes.push(format!(
                "No trained model beats the same-tier rule in {} with the {} decoder.",
                run.selected_by.label(),
                super::board::decode_name(Some(run.decode))
            ));
        }
    }
    notes.extend(run.models.iter().find(|model| model.name == run.selected).map(fitted_to_held_out));
    notes.retain(|note| !note.is_empty());
    let settings = run.models.iter().filter_map(|model| Some(searched(&model.name, model.search.as_ref()?)));
    notes.extend(settings);
    if run.models.iter().any(|model| model.search.as_ref().is_some_and(|search| search.replaced)) {
        notes.push(
            "Settings were searched on the folds of the cross-validation: its figures are a little too good for those that replaced the defaults, and the best of many is in part luck. The test had no say in them."
                .into(),
        );
    }
    notes.extend(run.data.warnings.iter().cloned());
    if !run.data.constant.is_empty() {
        notes.push(format!(
            "Never varies on the training rows, so is no input: {}.",
            run.data.constant.join(", ")
        ));
    }
    notes
}

/// What was fitted to predictions on held-out rows: the parts of a blend, or a calibration; nothing where there is neither.
fn fitted_to_held_out(selected: &ModelRecord) -> String {
    let mut parts: Vec<&Part> = selected.parts.iter().filter(|part| part.weight > 0.0).collect();
    if !parts.is_empty() {
        parts.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        let parts: Vec<String> =
            parts.iter().map(|part| format!("{} × {:.2}", short(&part.model), part.weight)).collect();
        return format!(
            "The blend adds up {}, each part’s logarithms of probabilities times its weight, fitted to held-out rows; in cross-validation each fold’s weights are from the other folds.",
            parts.join(", ")
        );
    }
    let kept = selected.calibration.as_ref().filter(|calibration| calibration.kept);
    kept.map_or_else(String::new, |calibration| {
        format!(
            "Its probabilities are calibrated on held-out rows, which took the expected calibration error in cross-validation from {:.3} to {:.3}.",
            calibration.before.ece, calibration.after.ece
        )
    })
}

/// What came of the search for a model's settings.
pub fn searched(name: &str, searched: &Searched) -> String {
    let name = capitalized(short(name));
    let tried = format!(
        "{name}: {} settings tried{}, {} of them in every fold",
        searched.trials,
        if searched.cut_short { " before the time was over" } else { "" },
        searched.finalists
    );
    let Some(best) = &searched.best else {
        return format!("{tried}; none could be held against the defaults, which stay.");
    };
    let figures = format!(
        "log-loss {:.4} against {:.4}, {}",
        best.loss,
        searched.default_loss.unwrap_or(f64::INFINITY),
        signed_interval(best.difference)
    );
    match searched.replaced {
        true => format!("{tried}; those of trial {} take the place of the defaults ({figures}).", best.trial),
        false => format!("{tried}; the defaults are as good as the best of the others ({figures})."),
    }
}

/// Better, worse or unclear, and the difference itself.
pub fn versus(entry: &Entry, measure: Measure) -> (Verdict, Estimate) {
    let difference = entry.versus_rule.map(|differences| differences.get(measure)).unwrap_or_default();
    (Verdict::of(difference, measure), difference)
}

/// `2,317 members in a later period`, `4,581 rows of 2,393 members held out fold by fold`.
pub fn rows(board: &Board) -> String {
    let held = if board.split == TEST { "in a later period" } else { "held out fold by fold" };
    let members = format!("{} members", thousands(board.members));
    if board.rows == board.members {
        return format!("{members} {held}");
    }
    format!("{} rows of {members} {held}", thousands(board.rows))
}

/// `−0.021 (95 % interval −0.035 to −0.007)`.
pub fn signed_interval(estimate: Estimate) -> String {
    format!(
        "{} (95 % interval {} to {})",
        signed(estimate.value),
        signed(estimate.low),
        signed(estimate.high)
    )
}

/// Three decimals with a proper sign.
pub fn signed(x: f64) -> String {
    let text = format!("{:.3}", x.abs());
    match x {
        _ if text == "0.000" => text,
        x if x < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// Three significant digits: `0.0123`, `4.5`, `1,230`.
pub fn short_number(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let digits = 2 - x.abs().log10().floor() as i32;
    if digits <= 0 {
        return format!("{}{}", if x < 0.0 { "−" } else { "" }, thousands(x.abs().round() as usize));
    }
    let text = format!("{:.*}", digits.min(9) as usize, x.abs());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}{text}", if x < 0.0 { "−" } else { "" })
}

/// `1,469,307`.
pub fn thousands(n: usize) -> String {
    indicatif::HumanCount(n as u64).to_string()
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_typographic_and_zero_has_none() {
        assert_eq!(signed(-0.0214), "−0.021");
        assert_eq!(signed(0.5), "+0.500");
        assert_eq!(signed(-0.0001), "0.000");
        assert_eq!(thousands(1_469_307), "1,469,307");
        let figures = [0.0, 0.01234, -4.5, 42.0, 1234.4].map(short_number);
        assert_eq!(figures, ["0", "0.0123", "−4.5", "42", "1,234"]);
        assert_eq!(capitalized("the rule"), "The rule");
        assert_eq!(short("svm"), "linear SVM");
    }
}
