//! The columns of an assessment, and the same row as CSV and as JSON.
//!
//! The member comes before all of them, from whoever gathered its events.

use std::sync::Arc;

use anyhow::bail;
use datafusion::{
    arrow::{
        array::{
            ArrayRef, Decimal128Array, Float32Array, StringArray, StructArray, TimestampMillisecondArray,
            UInt8Array, UInt64Array,
        },
        datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
    },
    error::Result,
};
use serde::Serialize;
use tiercast_core::{Decision, Interest, Profile, Recommendation, Scorer, Standing, Task};

use super::assess::{Scored, Wanted};

/// What the names of feature columns begin with, so that they meet no other column.
const FEATURE: &str = "feature_";
/// The columns of a profile, before its embedding.
const PROFILE: [&str; 4] = ["churn", "next_purchase", "segment", "interests"];

/// The columns of a decision, after the name of its task: action, points, propensity, policy.
const DECISION: [&str; 4] = ["", "_points", "_propensity", "_policy"];

/// The column of an embedding's `at`-th number, from 1.
pub(crate) fn embedding_column(at: usize) -> String {
    format!("embedding_{at}")
}

/// Which columns there are.
pub(super) struct Layout {
    tiers: usize,
    exponent: u8,
    /// The features' names.
    names: Vec<String>,
    wanted: Wanted,
    /// What is decided on, in the order of a row's decisions; nothing where no decisions are wanted.
    tasks: Vec<&'static str>,
    /// Whether the bundle has profiles, and how many numbers of an embedding are written.
    profile: Option<usize>,
    /// What the bundle is called.
    bundle: String,
    fields: Fields,
}

/// An object of JSON: core's assessment. The member comes before it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    as_of: String,
    tier: u8,
    tier_name: &'a str,
    expected_tier: f32,
    probabilities: &'a [f32],
    standing: &'a Standing,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<Because<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recommendations: Option<&'a [Recommendation]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    decisions: &'a [Decision],
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile>,
}

/// A reason, its feature by name.
#[derive(Serialize)]
struct Because<'a> {
    feature: &'a str,
    value: f32,
    typical: f32,
    effect: f32,
}

impl Layout {
    pub(super) fn new(scorer: &Scorer, wanted: Wanted, bundle: &str) -> anyhow::Result<Self> {
        let spec = scorer.profile_spec();
        if wanted.embedding && spec.is_none() {
            bail!(
                "the bundle has no profiles, and so no embeddings; train one with a network over a [sequence], or leave \
                 --embedding out"
            );
        }
        if wanted.recommend > 0 && scorer.catalogue().is_none() {
            bail!(
                "the bundle recommends nothing; train one with a [recommend] table, or leave --recommend out"
            );
        }
        let decided = Task::ALL.into_iter().filter(|task| wanted.decide && scorer.policy(*task).is_some());
        let tasks: Vec<&str> = decided.map(Task::name).collect();
        if wanted.decide && tasks.is_empty() {
            bail!("the bundle has no policy; put one in with `tiercast bundle`, or leave --decide out");
        }
        let schema = scorer.bundle().schema();
        let mut layout = Self {
            tiers: scorer.bundle().rules().len(),
            exponent: schema.spec().events.currency.exponent,
            names: schema.names().map(str::to_owned).collect(),
            wanted,
            tasks,
            profile: spec.map(|spec| if wanted.embedding { spec.embedding as usize } else { 0 }),
            bundle: bundle.to_owned(),
            fields: Fields::empty(),
        };
        layout.fields = layout.columns_of();
        Ok(layout)
    }

    /// The columns after the member.
    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The columns of a table.
    pub(super) fn schema(&self) -> SchemaRef {
        let member = Arc::new(Field::new("member", DataType::Utf8, false));
        Arc::new(Schema::new(std::iter::once(member).chain(self.fields.iter().cloned()).collect::<Vec<_>>()))
    }

    /// The first line of a CSV file.
    pub(super) fn header(&self) -> String {
        let names = std::iter::once("member".to_owned()).chain(self.names());
        names.map(|name| quoted(&name)).collect::<Vec<_>>().join(",")
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let head = ["as_of", "tier", "tier_name", "expected_tier"].map(str::to_owned);
        let probabilities = (1..=self.tiers).map(|tier| format!("p{tier}"));
        let tail = ["standing_tier", "spend", "to_next_tier", "warnings"].map(str::to_owned);
        let reasons = (self.wanted.reasons > 0).then(|| "reasons".to_owned());
        let recommendations = (self.wanted.recommend > 0).then(|| "recommendations".to_owned());
        let decisions = self.tasks.iter().flat_map(|task| DECISION.map(|column| format!("{task}{column}")));
        let reasons = reasons.into_iter().chain(recommendations).chain(decisions);
        let profile = if self.profile.is_some() { PROFILE.as_slice() } else { &[] };
        let profile = profile.iter().map(|name| (*name).to_owned());
        let embedding = (1..=self.profile.unwrap_or_default()).map(embedding_column);
        let features = self.names.iter().filter(|_| self.wanted.features);
        let features = features.map(|name| format!("{FEATURE}{name}"));
        let head = head.into_iter().chain(probabilities).chain(tail).chain(reasons);
        head.chain(["bundle".to_owned()]).chain(profile).chain(embedding).chain(features)
    }

    fn columns_of(&self) -> Fields {
        let decimal = DataType::Decimal128(18, self.exponent.cast_signed());
        self.names()
            .map(|name| match name.as_str() {
                "tier_name" | "segment" | "bundle" => Field::new(name, DataType::Utf8, false),
                "warnings" | "interests" | "reasons" | "recommendations" => {
                    Field::new(name, DataType::Utf8, true)
                }
                "as_of" => {
                    Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false)
                }
                name if name.ends_with(DECISION[1]) && self.is_of_decision(name) => {
                    Field::new(name, DataType::UInt64, false)
                }
                name if !name.ends_with(DECISION[2]) && self.is_of_decision(name) => {
                    Field::new(name, DataType::Utf8, false)
                }
                "tier" | "standing_tier" => Field::new(name, DataType::UInt8, false),
                "spend" => Field::new(name, decimal.clone(), false),
                "to_next_tier" => Field::new(name, decimal.clone(), true),
                _ => Field::new(name, DataType::Float32, false),
            })
            .collect()
    }

    /// Rows as columns.
    pub(super) fn columns(&self, rows: &[Scored]) -> Result<StructArray> {
        let texts = |get: &dyn Fn(&Scored) -> Option<String>| -> ArrayRef {
            Arc::new(rows.iter().map(get).collect::<StringArray>())
        };
        let tiers = |get: fn(&Scored) -> u8| -> ArrayRef {
            Arc::new(rows.iter().map(|row| Some(get(row))).collect::<UInt8Array>())
        };
        let floats = |get: &dyn Fn(&Scored) -> f32| -> ArrayRef {
            Arc::new(Float32Array::from_iter_values(rows.iter().map(get)))
        };
        let money = |get: fn(&Scored) -> Option<i64>| -> Result<ArrayRef> {
            let minor = rows.iter().map(|row| get(row).map(i128::from)).collect::<Decimal128Array>();
            Ok(Arc::new(minor.with_precision_and_scale(18, self.exponent.cast_signed())?))
        };
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        let as_of = rows.iter().map(|row| row.assessment.now.ms());
        let mut columns = vec![
            Arc::new(TimestampMillisecondArray::from_iter_values(as_of).with_timezone("UTC")),
            tiers(|row| row.assessment.tier),
            texts(&|row| Some(row.assessment.tier_name.clone())),
            floats(&|row| row.assessment.expected_tier),
        ];
        columns.extend((0..self.tiers).map(|tier| floats(&|row| row.assessment.probabilities[tier])));
        columns.push(tiers(|row| row.assessment.standing.tier));
        columns.push(money(|row| Some(row.assessment.standing.spend_minor))?);
        columns.push(money(|row| row.assessment.standing.next.as_ref().map(|next| next.amount_minor))?);
        columns.push(texts(&|row| filled(row.assessment.warnings.join("; "))));
        if self.wanted.reasons > 0 {
            columns.push(texts(&|row| filled(self.reasons(row))));
        }
        if self.wanted.recommend > 0 {
            columns.push(texts(&|row| Some(list(row))));
        }
        for at in 0..self.tasks.len() {
            columns.push(texts(&|row| Some(row.decisions[at].action.clone())));
            let points = rows.iter().map(|row| row.decisions[at].points);
            columns.push(Arc::new(UInt64Array::from_iter_values(points)));
            columns.push(floats(&|row| row.decisions[at].propensity));
            columns.push(texts(&|row| Some(row.decisions[at].policy.clone())));
        }
        columns.push(texts(&|_| Some(self.bundle.clone())));
        if let Some(numbers) = self.profile {
            let float =
                |get: &dyn Fn(&Profile) -> f32| floats(&|row| row.profile.as_ref().map_or(f32::NAN, get));
            columns.push(float(&|profile| profile.churn));
            columns.push(float(&|profile| profile.next_purchase));
            columns.push(texts(&|row| row.profile.as_ref().map(|profile| profile.segment_name.clone())));
            columns.push(texts(&|row| filled(interests(row.profile.as_ref()))));
            columns.extend((0..numbers).map(|at| float(&|profile| profile.embedding[at])));
        }
        if self.wanted.features {
            let width = self.names.len();
            columns.extend((0..width).map(|feature| floats(&|row| row.assessment.features[feature])));
        }
        Ok(StructArray::try_new(self.fields.clone(), columns, None)?)
    }

    /// A row as a line of CSV, after the member.
    pub(super) fn csv(&self, row: &Scored) -> String {
        let Scored { assessment, profile, .. } = row;
        let standing = &assessment.standing;
        let mut fields = vec![
            assessment.now.to_string(),
            assessment.tier.to_string(),
            quoted(&assessment.tier_name),
            assessment.expected_tier.to_string(),
        ];
        fields.extend(assessment.probabilities.iter().map(f32::to_string));
        fields.push(standing.tier.to_string());
        fields.push(standing.spend.clone());
        fields.push(standing.next.as_ref().map_or(String::new(), |next| next.amount.clone()));
        fields.push(quoted(&assessment.warnings.join("; ")));
        if self.wanted.reasons > 0 {
            fields.push(quoted(&self.reasons(row)));
        }
        if self.wanted.recommend > 0 {
            fields.push(quoted(&list(row)));
        }
        for decision in &row.decisions {
            fields.extend([quoted(&decision.action), decision.points.to_string()]);
            fields.extend([decision.propensity.to_string(), quoted(&decision.policy)]);
        }
        fields.push(self.bundle.clone());
        if let (Some(numbers), Some(profile)) = (self.profile, profile) {
            fields.extend([profile.churn.to_string(), profile.next_purchase.to_string()]);
            fields.extend([quoted(&profile.segment_name), quoted(&interests(Some(profile)))]);
            fields.extend(profile.embedding.iter().take(numbers).map(f32::to_string));
        }
        if self.wanted.features {
            let known = |value: &f32| if value.is_nan() { String::new() } else { value.to_string() };
            fields.extend(assessment.features.iter().map(known));
        }
        fields.join(",")
    }

    /// A row as an object of JSON, without the member.
    pub(super) fn json(&self, row: &Scored) -> String {
        let Scored { assessment, profile, reasons, recommendations, decisions } = row;
        let of = |(numbers, profile): (usize, &Profile)| match numbers {
            0 => Profile { embedding: Vec::new(), ..profile.clone() },
            _ => profile.clone(),
        };
        let because = reasons.iter().map(|reason| Because {
            feature: &self.names[reason.feature as usize],
            value: reason.value,
            typical: reason.typical,
            effect: reason.effect,
        });
        let line = Line {
            as_of: assessment.now.to_string(),
            tier: assessment.tier,
            tier_name: &assessment.tier_name,
            expected_tier: assessment.expected_tier,
            probabilities: &assessment.probabilities,
            standing: &assessment.standing,
            warnings: &assessment.warnings,
            reasons: (self.wanted.reasons > 0).then(|| because.collect()),
            recommendations: (self.wanted.recommend > 0).then_some(recommendations.as_slice()),
            decisions,
            features: self.wanted.features.then_some(assessment.features.as_slice()),
            profile: self.profile.zip(profile.as_ref()).map(of),
        };
        // Texts, numbers and lists of them cannot fail.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// Whether a column is one of a decision's.
    fn is_of_decision(&self, name: &str) -> bool {
        let of = |task: &&str| DECISION.iter().any(|column| name.strip_prefix(*task) == Some(*column));
        self.tasks.iter().any(of)
    }

    /// `spend_91d +0.42, recency -0.20`: by how many tiers.
    fn reasons(&self, row: &Scored) -> String {
        let reasons = row.reasons.iter().filter(|reason| reason.effect != 0.0);
        let words =
            reasons.map(|reason| format!("{} {:+.2}", self.names[reason.feature as usize], reason.effect));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// The recommendations as JSON, as every runtime gives them.
fn list(row: &Scored) -> String {
    // Texts, numbers and lists of them cannot fail.
    serde_json::to_string(&row.recommendations).unwrap_or_default()
}

/// `GROCERY 62 %, MEAT 12 %`.
fn interests(profile: Option<&Profile>) -> String {
    let interest = |interest: &Interest| format!("{} {:.0} %", interest.category, interest.share * 100.0);
    let all = profile.iter().flat_map(|profile| &profile.interests).map(interest);
    all.collect::<Vec<_>>().join(", ")
}

/// A CSV field, in quotes where it needs them (RFC 4180).
pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
