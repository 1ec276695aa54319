//! `run.json`: what was trained on what, and how; with the predictions, all that a report needs.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tiercast_core::Decode;

use super::{
    effects::Effect,
    profile::ProfileRecord,
    provenance::Provenance,
    quality::FeatureQuality,
    search::Searched,
    stack::{Calibration, Part},
};
use crate::{metrics::Measure, models::CurvePoint, recommend::RecommendRecord, whole};

/// The version of `run.json`.
pub const FORMAT: u32 = 1;

/// A training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The program and version that wrote it.
    pub producer: String,
    /// The project's name.
    pub project: String,
    /// Where the data comes from and under what terms; may be empty.
    #[serde(default)]
    pub source: String,
    /// The seed of every random choice.
    pub seed: u64,
    /// What the rows were.
    pub data: DataRecord,
    /// The tiers of the final fit, lowest first.
    pub tiers: Vec<TierRecord>,
    /// How probabilities became tiers.
    pub decode: Decode,
    /// The measure in cross-validation that chose the bundle's model.
    pub selected_by: Measure,
    /// The bundle's model.
    pub selected: String,
    /// All models, in the order of the project file.
    pub models: Vec<ModelRecord>,
    /// What the selected model relies on, most first.
    pub importance: Vec<Importance>,
    /// How it answers to its most important features.
    #[serde(default)]
    pub effects: Vec<Effect>,
    /// What each feature's values are like, in the order of the schema, of the sequence at its latest step.
    #[serde(default)]
    pub quality: Vec<FeatureQuality>,
    /// The profile in the bundle; none where no network over a sequence was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileRecord>,
    /// What the bundle recommends; none where the project declares no `[recommend]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommend: Option<RecommendRecord>,
    /// What it takes to get this run again.
    #[serde(default)]
    pub provenance: Provenance,
}

/// The rows of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataRecord {
    /// ISO code of the currency.
    pub currency: String,
    /// Digits of its minor unit.
    pub currency_exponent: u8,
    /// Hash of the feature schema.
    pub schema_hash: String,
    /// Declared features.
    pub features: usize,
    /// Inputs of the selected model, after its transform.
    pub inputs: usize,
    /// Features that never vary on the training rows, and so are no input.
    pub constant: Vec<String>,
    /// As-of dates of the training rows.
    pub train_as_of: Vec<String>,
    /// As-of dates of the test rows.
    pub test_as_of: Vec<String>,
    /// Training rows.
    pub train_rows: usize,
    /// Members with a training row.
    pub train_members: usize,
    /// Training rows of all members, which the networks learned from; none where no others are than those above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streamed_rows: Option<u64>,
    /// Test rows.
    pub test_rows: usize,
    /// Folds of the cross-validation.
    pub folds: usize,
    /// What is wrong with the rows without making them useless: targets that the table does not cover to their end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A tier as cut on the training targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TierRecord {
    /// Its name.
    pub name: String,
    /// Net spend from which a member has it, a decimal.
    pub at_least: String,
    /// The same in minor units.
    pub at_least_minor: i64,
    /// Share of the training targets.
    pub train_share: f64,
}

/// A model of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelRecord {
    /// Its name in the project file.
    pub name: String,
    /// The ONNX file, relative to the run's folder; none for the rule, which looks at spend and not at features.
    pub file: Option<String>,
    /// Numbers in the exported model: weights and biases, those that are not trained among them, or leaves of trees.
    pub parameters: usize,
    /// The L2 penalty chosen.
    pub l2: Option<f64>,
    /// What training was set to; null for a model without settings.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
    /// How the settings were found; none where they are the defaults without a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Searched>,
    /// What its probabilities went through after training; none for the rule and the blend, and where it is turned off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// What a blend is made of; empty for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// Loss by step: on an inner split of the training rows, whose validation part is the members set aside.
    pub curve: Vec<CurvePoint>,
    /// Largest absolute difference of a probability on the training rows, for trees on some of them, between what
    /// trained it (for trees our own code, for all others Burn) and tract.
    pub tract_difference: Option<f32>,
    /// The same on all of them between what trained it and the compact engine, with weights stored as the bundle stores them.
    #[serde(default)]
    pub plan_difference: Option<f32>,
}

/// How much the ranked probability score worsens when one feature is shuffled among the held-out rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Importance {
    /// The feature.
    pub feature: String,
    /// What it is, as a phrase.
    pub description: String,
    /// Mean worsening over the shuffles.
    pub worsening: f64,
    /// Standard deviation over the shuffles.
    pub spread: f64,
}

impl RunRecord {
    /// Writes `run.json`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join("run.json");
        let text = serde_json::to_string_pretty(self)? + "\n";
        whole::write(&path, text.as_bytes())
    }

    /// Reads `run.json`.
    ///
    /// # Errors
    /// When it is missing, is not a run, or has another version.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("run.json");
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; `tiercast train -o RUN` writes it", path.display()))?;
        let record: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a training run", path.display()))?;
        if record.format != FORMAT {
            bail!("{} has format {}; this build reads {FORMAT}; train again", path.display(), record.format);
        }
        Ok(record)
    }
}
