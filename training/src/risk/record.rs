//! What was found, as JSON has it: everything that the terminal and the page say.

use serde::Serialize;

use super::feedback::Feedback;
use crate::models::risk::{
    calibration::Reliability, cost::Outcome, curve::Figures, resample::Interval, supervised::Settings,
};

/// The version of the JSON.
pub(super) const FORMAT: u32 = 1;

/// The whole report.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The version of this record.
    pub(super) format: u32,
    /// What made it.
    pub(super) producer: String,
    /// The table, as it was named.
    pub(super) table: String,
    /// Inputs of a row: columns, or `column=value`.
    pub(super) inputs: Vec<String>,
    /// Rows that models were first fitted to.
    pub(super) earlier: Part,
    /// Rows to learn from that chose among these.
    pub(super) later: Part,
    /// Rows that judge.
    pub(super) test: Part,
    /// Rows of the test that are left out, because one to learn from has the same inputs.
    pub(super) duplicates: Part,
    /// What feedback changed.
    pub(super) feedback: Option<Feedback>,
    /// The version of a file of rules.
    pub(super) rules_version: Option<String>,
    /// Alerts in a day of 24 hours.
    pub(super) alerts_per_day: f64,
    /// Alerts in the test.
    pub(super) alerts: f64,
    /// What looking at an alert costs.
    pub(super) review_cost: f64,
    /// What a missed fraud costs, in words.
    pub(super) missed_cost: String,
    /// Decides all draws.
    pub(super) seed: u64,
    /// Resamples behind intervals.
    pub(super) rounds: usize,
    /// The model that later rows chose.
    pub(super) chosen: Option<String>,
    /// The rule to beat: the one that finds most frauds at the test's alerts, so that the test chooses among rules and not among models.
    pub(super) baseline: Option<String>,
    /// What was found, in a few words.
    pub(super) headline: String,
    /// How much, and how sure.
    pub(super) finding: String,
    /// What to know before trusting it.
    pub(super) notes: Vec<String>,
    /// The models.
    pub(super) models: Vec<ModelRecord>,
}

/// Some of the rows.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Part {
    pub(super) rows: usize,
    /// None without labels.
    pub(super) frauds: Option<usize>,
    /// Times of the first and the last one.
    pub(super) from: String,
    pub(super) to: String,
    /// Days of 24 hours from the one to the other.
    pub(super) days: f64,
}

/// A model.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModelRecord {
    pub(super) name: String,
    /// Its name for people.
    pub(super) title: String,
    /// What it is.
    pub(super) about: String,
    /// What it was fitted with.
    pub(super) settings: serde_json::Value,
    /// What the later rows said of it when it was fitted to the earlier ones.
    pub(super) validation: Option<ValidationRecord>,
    /// All settings that were tried, with what the later rows said of each.
    pub(super) tried: Vec<TriedRecord>,
    /// What the test says of it; none without labels.
    pub(super) figures: Option<FiguresRecord>,
    /// The rows of the test that it alerts first.
    pub(super) top: Vec<Alert>,
}

/// What chose among models and settings.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ValidationRecord {
    pub(super) average_precision: f64,
    pub(super) auc: f64,
    /// Of probabilities.
    pub(super) log_loss: Option<f64>,
}

impl ValidationRecord {
    pub(super) fn new(figures: Figures, log_loss: Option<f64>) -> Self {
        Self { average_precision: figures.average_precision, auc: figures.auc, log_loss }
    }
}

/// Settings that were tried.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct TriedRecord {
    pub(super) settings: Settings,
    pub(super) validation: ValidationRecord,
}

/// What the test says of a model; intervals are 95 %.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FiguresRecord {
    pub(super) average_precision: Interval,
    pub(super) auc: Interval,
    /// The share of the frauds that the alerts find.
    pub(super) recall: Interval,
    /// The share of the alerts that are frauds.
    pub(super) precision: f64,
    /// Frauds that the alerts find; of rows with one score at the cut their mean.
    pub(super) found: f64,
    /// Frauds that are missed, of a thousand.
    pub(super) missed_per_thousand: Interval,
    /// The share of the frauds that the rule to beat misses by which fewer are missed at as many alerts; none for that rule.
    pub(super) fewer_missed: Option<Interval>,
    /// The same against each rule.
    pub(super) against: Vec<Against>,
    /// By how much the average precision is above the rule's.
    pub(super) ahead: Option<Interval>,
    /// What comes of the threshold that the later rows chose.
    pub(super) cost: Outcome,
    /// What missing every fraud costs.
    pub(super) cost_of_none: f64,
    /// Of probabilities.
    pub(super) reliability: Option<Reliability>,
    /// Precision by recall, as pairs of recall and precision.
    pub(super) precision_recall: Vec<[f64; 2]>,
    /// What other numbers of alerts find.
    pub(super) by_alerts: Vec<ByAlerts>,
    /// What other thresholds cost.
    pub(super) by_threshold: Vec<Outcome>,
}

/// A model held against a rule.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Against {
    /// The rule's name.
    pub(super) rule: String,
    /// The share of the frauds that it misses by which fewer are missed at as many alerts.
    pub(super) fewer_missed: Interval,
}

/// What so many alerts find.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ByAlerts {
    /// Alerts in a day.
    pub(super) per_day: f64,
    /// Alerts in the test.
    pub(super) alerts: f64,
    /// Frauds among them.
    pub(super) found: f64,
}

/// A row that is alerted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Alert {
    /// Its place in the table, from 1.
    pub(super) row: usize,
    pub(super) id: Option<String>,
    pub(super) time: String,
    pub(super) amount: Option<f64>,
    /// A probability where the model gives one.
    pub(super) score: f64,
    pub(super) fraud: Option<bool>,
    /// The inputs that raise its score most; none of a rule.
    pub(super) reasons: Vec<ReasonRecord>,
}

/// An input's part in a score.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ReasonRecord {
    pub(super) input: String,
    /// None where it is missing.
    pub(super) value: Option<f32>,
    /// The median of the rows that were learned from.
    pub(super) typical: Option<f32>,
    /// What the score loses when the input becomes typical; of probabilities, the logarithm of the odds.
    pub(super) effect: f64,
}

impl Report {
    /// One of the models, by name.
    pub(super) fn model(&self, name: Option<&String>) -> Option<&ModelRecord> {
        self.models.iter().find(|model| Some(&model.name) == name)
    }
}
