//! Reference figures: what scikit-learn gives on the same data and protocol, to stand beside ours.
//!
//! Cells are accuracy, macro-F1, MAE and quadratic-weighted kappa. They are the project's own study of the data sets,
//! made once before these models were written; nobody else has published them.

use serde::Serialize;
use tiercast_core::Decode;

use crate::evaluate::board::Board;

/// A data set's reference figures beside ours.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// What was measured on what.
    pub protocol: String,
    /// One standard error of an accuracy.
    pub standard_error: f64,
    /// Line by line.
    pub lines: Vec<Line>,
}

/// One model of the reference study.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What the model is called.
    pub name: &'static str,
    /// Accuracy, macro-F1, MAE, kappa.
    pub reference: [f64; 4],
    /// The same of our model of that kind; none where we have no such model.
    pub ours: Option<[f64; 4]>,
    /// Whether ours is worse by more than one standard error, in accuracy or in MAE: a defect to be found.
    pub falls_short: bool,
}

/// The name, our model and decoder, the reference figures.
type Reference = (&'static str, Option<(&'static str, Decode)>, [f64; 4]);

struct Known {
    project: &'static str,
    protocol: &'static str,
    rows: usize,
    standard_error: f64,
    lines: &'static [Reference],
}

const SAME_TIER: Option<(&str, Decode)> = Some(("same-tier", Decode::Median));
/// Ours is the normal distribution around the prediction, whose median is the rounded prediction until it is calibrated.
const LINEAR_ROUNDED: &str = "linear regression, rounded (ours: calibrated, its median)";
const LINEAR: Option<(&str, Decode)> = Some(("linear", Decode::Median));
const LOGISTIC: Option<(&str, Decode)> = Some(("logistic", Decode::Argmax));
const LOGISTIC_MEDIAN: Option<(&str, Decode)> = Some(("logistic", Decode::Median));
const BOOSTING: Option<(&str, Decode)> = Some(("boosting", Decode::Argmax));
const BOOSTING_MEDIAN: Option<(&str, Decode)> = Some(("boosting", Decode::Median));
const BLEND: Option<(&str, Decode)> = Some(("blend", Decode::Ranks));

const KNOWN: [Known; 3] = [
    Known {
        project: "complete-journey",
        protocol: "Complete Journey, quarters, out of time: targets up to the third quarter train, the fourth tests",
        rows: 2317,
        standard_error: 0.010,
        lines: &[
            ("majority", None, [0.389, 0.112, 1.19, 0.0]),
            ("same tier", SAME_TIER, [0.621, 0.600, 0.441, 0.800]),
            (LINEAR_ROUNDED, LINEAR, [0.571, 0.513, 0.477, 0.767]),
            ("logistic", LOGISTIC, [0.625, 0.581, 0.447, 0.790]),
            ("logistic, median", LOGISTIC_MEDIAN, [0.620, 0.581, 0.438, 0.793]),
            ("gradient boosting", BOOSTING, [0.621, 0.588, 0.451, 0.789]),
            ("histogram boosting, median", BOOSTING_MEDIAN, [0.618, 0.585, 0.441, 0.796]),
        ],
    },
    Known {
        project: "complete-journey-half",
        protocol: "Complete Journey, first half to second half, five folds",
        rows: 2393,
        standard_error: 0.010,
        lines: &[
            ("majority", None, [0.399, 0.114, 1.15, 0.0]),
            ("same tier", SAME_TIER, [0.634, 0.606, 0.422, 0.810]),
            (LINEAR_ROUNDED, LINEAR, [0.564, 0.479, 0.475, 0.772]),
            ("logistic", LOGISTIC, [0.620, 0.568, 0.437, 0.804]),
            ("logistic, median", LOGISTIC_MEDIAN, [0.628, 0.588, 0.421, 0.808]),
            ("gradient boosting", BOOSTING, [0.630, 0.597, 0.430, 0.804]),
            ("histogram boosting, median", BOOSTING_MEDIAN, [0.632, 0.602, 0.422, 0.805]),
            ("blend of ridge, boosting and same tier", BLEND, [0.638, 0.617, 0.409, 0.822]),
        ],
    },
    Known {
        project: "cdnow",
        protocol: "CDNOW, 39 weeks to 39 weeks, five folds",
        rows: 23_570,
        standard_error: 0.003,
        lines: &[
            ("majority", None, [0.701, 0.165, 0.748, 0.0]),
            ("same tier", SAME_TIER, [0.623, 0.329, 0.738, 0.459]),
            (LINEAR_ROUNDED, LINEAR, [0.566, 0.275, 0.656, 0.494]),
            ("logistic", LOGISTIC, [0.722, 0.269, 0.639, 0.396]),
            ("logistic, median", LOGISTIC_MEDIAN, [0.687, 0.337, 0.592, 0.483]),
            ("gradient boosting", BOOSTING, [0.719, 0.279, 0.633, 0.401]),
            ("histogram boosting, median", BOOSTING_MEDIAN, [0.687, 0.338, 0.588, 0.485]),
        ],
    },
];

/// The reference figures for a project of a known name on about the known number of rows.
pub fn compare(project: &str, board: &Board) -> Option<Comparison> {
    let known = KNOWN
        .iter()
        .find(|known| known.project == project && known.rows.abs_diff(board.rows) * 50 <= known.rows)?;
    let lines = known.lines.iter().map(|(name, ours, reference)| {
        let measures =
            ours.and_then(|(model, decode)| board.entry(model, decode)).map(|entry| entry.measures);
        let falls_short = measures.is_some_and(|ours| {
            reference[0] - ours.accuracy.value > known.standard_error
                || ours.mae.value - reference[2] > ours.mae.standard_error()
        });
        let ours = measures
            .map(|ours| [ours.accuracy, ours.macro_f1, ours.mae, ours.kappa].map(|estimate| estimate.value));
        Line { name, reference: *reference, ours, falls_short }
    });
    Some(Comparison {
        protocol: known.protocol.to_owned(),
        standard_error: known.standard_error,
        lines: lines.collect(),
    })
}
