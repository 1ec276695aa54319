//! A risk model's folder: risk.json, by which it goes into a bundle, and risk.onnx.

use std::{fs, path::Path};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tiercast_core::{RiskCondition, RiskEvidence, RiskModel, RiskRule, Transform};

use crate::{models::risk::supervised::Settings, policy::record::digest, whole};

/// The version of `risk.json`.
pub const FORMAT: u32 = 1;
/// The files of the folder.
pub const JSON: &str = "risk.json";
/// The trees.
pub const ONNX: &str = "risk.onnx";

/// What the folder says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The program and version that wrote it.
    pub producer: String,
    /// Which features it reads.
    pub schema_hash: String,
    /// What the shop calls it, with its version.
    pub name: String,
    /// The kinds of events that it was learned from.
    pub each: Vec<String>,
    /// The probability from which on an alert is raised.
    pub threshold: f32,
    /// The shop's own rules.
    pub rules: Vec<RuleRecord>,
    /// Each feature's median over the rows that were learned from; none where it is mostly missing.
    pub typical: Vec<Option<f32>>,
    /// The fitted steps between raw features and the trees.
    pub transform: Transform,
    /// How it did on later rows.
    pub evidence: RiskEvidence,
    /// How it was learned.
    pub settings: Settings,
    /// SHA-256 of risk.onnx, which is what was judged.
    pub onnx: String,
}

/// A rule, its features by their place in the schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleRecord {
    name: String,
    all: Vec<(u32, bool, f32)>,
}

impl From<RiskRule> for RuleRecord {
    fn from(rule: RiskRule) -> Self {
        let all = rule.all.iter().map(|condition| (condition.feature, condition.at_least, condition.value));
        Self { all: all.collect(), name: rule.name }
    }
}

impl From<RuleRecord> for RiskRule {
    fn from(rule: RuleRecord) -> Self {
        let condition = |(feature, at_least, value)| RiskCondition { feature, at_least, value };
        Self { all: rule.all.into_iter().map(condition).collect(), name: rule.name }
    }
}

/// Numbers as JSON can hold them.
pub(super) fn told(values: &[f32]) -> Vec<Option<f32>> {
    values.iter().map(|value| Some(*value).filter(|value| !value.is_nan())).collect()
}

impl RiskRecord {
    /// What a bundle holds of it.
    pub fn model(self) -> RiskModel {
        RiskModel {
            name: self.name,
            each: self.each,
            transform: self.transform,
            typical: self.typical.into_iter().map(|value| value.unwrap_or(f32::NAN)).collect(),
            threshold: self.threshold,
            rules: self.rules.into_iter().map(Into::into).collect(),
            evidence: self.evidence,
        }
    }
}

/// Writes the folder, risk.json last.
pub(super) fn write(folder: &Path, record: &RiskRecord, onnx: &[u8]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    whole::write(&folder.join(ONNX), onnx)?;
    whole::write(&folder.join(JSON), (serde_json::to_string_pretty(record)? + "\n").as_bytes())
}

/// Reads a folder.
///
/// # Errors
/// When it is none, is of another version, or its trees are not those that were judged.
pub fn read(folder: &Path) -> anyhow::Result<(RiskRecord, Vec<u8>)> {
    let open = |name: &str| {
        let path = folder.join(name);
        fs::read(&path)
            .with_context(|| format!("cannot read {}; `tiercast risk train` writes it", path.display()))
    };
    let path = folder.join(JSON);
    let json: serde_json::Value =
        serde_json::from_slice(&open(JSON)?).with_context(|| format!("{} is not JSON", path.display()))?;
    if json["format"] != FORMAT {
        bail!("{} has format {}; this build reads {FORMAT}", path.display(), json["format"]);
    }
    let record: RiskRecord = serde_json::from_value(json).with_context(|| path.display().to_string())?;
    let onnx = open(ONNX)?;
    ensure!(
        record.onnx == digest(&onnx),
        "{} is not what was judged; learn it again with `tiercast risk train`",
        folder.join(ONNX).display()
    );
    Ok((record, onnx))
}
