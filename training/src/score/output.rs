//! Assessments as Parquet, CSV, JSON lines or a JSON array.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
};

use anyhow::bail;
use datafusion::{
    arrow::{
        array::{
            ArrayRef, Decimal128Array, Float32Array, RecordBatch, StringArray, TimestampMillisecondArray,
            UInt8Array,
        },
        datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    },
    parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties},
};
use serde::Serialize;
use tiercast_core::{Interest, Profile, ProfileSpec, Scorer, Standing};

use super::Scored;
use crate::whole::Whole;

/// What the names of feature columns begin with, so that they meet no other column.
const FEATURE: &str = "feature_";
/// The columns of a profile, before its embedding.
const PROFILE: [&str; 4] = ["churn", "next_purchase", "segment", "interests"];

/// The column of an embedding's `at`-th number, from 1.
pub(crate) fn embedding_column(at: usize) -> String {
    format!("embedding_{at}")
}

/// A file of scores being written, beside the place where it appears when it is whole.
pub(super) struct Output {
    layout: Layout,
    sink: Sink,
    whole: Whole,
}

enum Sink {
    Parquet(Box<ArrowWriter<File>>),
    Csv(BufWriter<File>),
    Json { file: BufWriter<File>, array: bool, rows: u64 },
}

/// Which columns there are.
struct Layout {
    tiers: usize,
    exponent: u8,
    features: Option<Vec<String>>,
    /// Whether the bundle has profiles, and how many numbers of an embedding are written.
    profile: Option<usize>,
}

/// One line of JSON: core's assessment with the member it is of.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    member: &'a str,
    as_of: String,
    tier: u8,
    tier_name: &'a str,
    expected_tier: f32,
    probabilities: &'a [f32],
    standing: &'a Standing,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile>,
}

impl Output {
    /// `embedding` writes a profile's embedding too.
    pub(super) fn create(
        path: &Path,
        scorer: &Scorer,
        features: bool,
        embedding: bool,
    ) -> anyhow::Result<Self> {
        let bundle = scorer.bundle();
        if embedding && scorer.profile_spec().is_none() {
            bail!(
                "the bundle has no profiles, and so no embeddings; train one with a network over a [sequence], or leave \
                 --embedding out"
            );
        }
        let numbers = |spec: &ProfileSpec| if embedding { spec.embedding as usize } else { 0 };
        let layout = Layout {
            tiers: bundle.rules().len(),
            exponent: bundle.schema().spec().events.currency.exponent,
            features: features.then(|| bundle.schema().names().map(str::to_owned).collect()),
            profile: scorer.profile_spec().map(numbers),
        };
        let ending = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !matches!(ending, "parquet" | "csv" | "json" | "ndjson" | "jsonl") {
            bail!("{} should end in .parquet, .csv, .ndjson or .json", path.display());
        }
        let (whole, file) = Whole::create(path)?;
        let sink = match ending {
            "parquet" => {
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                Sink::Parquet(Box::new(ArrowWriter::try_new(file, layout.schema(), Some(properties))?))
            }
            "csv" => {
                let mut file = BufWriter::new(file);
                writeln!(file, "{}", layout.names().map(|name| quoted(&name)).collect::<Vec<_>>().join(","))?;
                Sink::Csv(file)
            }
            _ => Sink::Json { file: BufWriter::new(file), array: ending == "json", rows: 0 },
        };
        Ok(Self { layout, sink, whole })
    }

    pub(super) fn write(&mut self, rows: &[Scored]) -> anyhow::Result<()> {
        match &mut self.sink {
            Sink::Parquet(writer) => writer.write(&self.layout.batch(rows)?)?,
            Sink::Csv(file) => {
                for row in rows {
                    writeln!(file, "{}", self.layout.fields(row).join(","))?;
                }
            }
            Sink::Json { file, array, rows: written } => {
                for row in rows {
                    let before = match (*array, *written) {
                        (false, _) => "",
                        (true, 0) => "[\n",
                        (true, _) => ",\n",
                    };
                    file.write_all(before.as_bytes())?;
                    serde_json::to_writer(&mut *file, &self.layout.line(row))?;
                    if !*array {
                        file.write_all(b"\n")?;
                    }
                    *written += 1;
                }
            }
        }
        Ok(())
    }

    pub(super) fn close(self) -> anyhow::Result<()> {
        match self.sink {
            Sink::Parquet(writer) => drop(writer.close()?),
            Sink::Csv(mut file) => file.flush()?,
            Sink::Json { mut file, array, rows } => {
                if array {
                    file.write_all(if rows == 0 { b"[]\n" } else { b"\n]\n" })?;
                }
                file.flush()?;
            }
        }
        self.whole.appear()
    }
}

impl Layout {
    fn names(&self) -> impl Iterator<Item = String> {
        let head = ["member", "as_of", "tier", "tier_name", "expected_tier"].map(str::to_owned);
        let probabilities = (1..=self.tiers).map(|tier| format!("p{tier}"));
        let tail = ["standing_tier", "spend", "to_next_tier", "warnings"].map(str::to_owned);
        let features = self.features.iter().flatten().map(|name| format!("{FEATURE}{name}"));
        let profile = if self.profile.is_some() { PROFILE.as_slice() } else { &[] };
        let embedding = (1..=self.profile.unwrap_or_default()).map(embedding_column);
        let profile = profile.iter().map(|name| (*name).to_owned()).chain(embedding);
        head.into_iter().chain(probabilities).chain(tail).chain(profile).chain(features)
    }

    fn schema(&self) -> SchemaRef {
        let decimal = DataType::Decimal128(18, self.exponent.cast_signed());
        let fields = self.names().map(|name| match name.as_str() {
            "member" | "tier_name" => Field::new(name, DataType::Utf8, false),
            "segment" => Field::new(name, DataType::Utf8, false),
            "warnings" | "interests" => Field::new(name, DataType::Utf8, true),
            "as_of" => {
                Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false)
            }
            "tier" | "standing_tier" => Field::new(name, DataType::UInt8, false),
            "spend" => Field::new(name, decimal.clone(), false),
            "to_next_tier" => Field::new(name, decimal.clone(), true),
            _ => Field::new(name, DataType::Float32, false),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn batch(&self, rows: &[Scored]) -> anyhow::Result<RecordBatch> {
        let texts = |get: fn(&Scored) -> Option<String>| -> ArrayRef {
            Arc::new(rows.iter().map(get).collect::<StringArray>())
        };
        let tiers = |get: fn(&Scored) -> u8| -> ArrayRef {
            Arc::new(rows.iter().map(|row| Some(get(row))).collect::<UInt8Array>())
        };
        let floats = |get: &dyn Fn(&Scored) -> f32| -> ArrayRef {
            Arc::new(Float32Array::from_iter_values(rows.iter().map(get)))
        };
        let money = |get: fn(&Scored) -> Option<i64>| -> anyhow::Result<ArrayRef> {
            let minor = rows.iter().map(|row| get(row).map(i128::from)).collect::<Decimal128Array>();
            Ok(Arc::new(minor.with_precision_and_scale(18, self.exponent.cast_signed())?))
        };
        let as_of = rows.iter().map(|row| row.assessment.now.ms());
        let mut columns = vec![
            texts(|row| Some(row.member.clone())),
            Arc::new(TimestampMillisecondArray::from_iter_values(as_of).with_timezone("UTC")),
            tiers(|row| row.assessment.tier),
            texts(|row| Some(row.assessment.tier_name.clone())),
            floats(&|row| row.assessment.expected_tier),
        ];
        columns.extend((0..self.tiers).map(|tier| floats(&|row| row.assessment.probabilities[tier])));
        columns.push(tiers(|row| row.assessment.standing.tier));
        columns.push(money(|row| Some(row.assessment.standing.spend_minor))?);
        columns.push(money(|row| row.assessment.standing.next.as_ref().map(|next| next.amount_minor))?);
        columns.push(texts(|row| Some(row.assessment.warnings.join("; ")).filter(|text| !text.is_empty())));
        if let Some(numbers) = self.profile {
            let float =
                |get: &dyn Fn(&Profile) -> f32| floats(&|row| row.profile.as_ref().map_or(f32::NAN, get));
            columns.push(float(&|profile| profile.churn));
            columns.push(float(&|profile| profile.next_purchase));
            columns.push(texts(|row| row.profile.as_ref().map(|profile| profile.segment_name.clone())));
            columns.push(texts(|row| Some(interests(row.profile.as_ref())).filter(|text| !text.is_empty())));
            columns.extend((0..numbers).map(|at| float(&|profile| profile.embedding[at])));
        }
        let width = self.features.as_ref().map_or(0, Vec::len);
        columns.extend((0..width).map(|feature| floats(&|row| row.assessment.features[feature])));
        Ok(RecordBatch::try_new(self.schema(), columns)?)
    }

    fn fields(&self, row: &Scored) -> Vec<String> {
        let Scored { member, assessment, profile } = row;
        let standing = &assessment.standing;
        let mut fields = vec![
            quoted(member),
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
        if let (Some(numbers), Some(profile)) = (self.profile, profile) {
            fields.extend([profile.churn.to_string(), profile.next_purchase.to_string()]);
            fields.extend([quoted(&profile.segment_name), quoted(&interests(Some(profile)))]);
            fields.extend(profile.embedding.iter().take(numbers).map(f32::to_string));
        }
        if self.features.is_some() {
            let known = |value: &f32| if value.is_nan() { String::new() } else { value.to_string() };
            fields.extend(assessment.features.iter().map(known));
        }
        fields
    }

    fn line<'a>(&self, row: &'a Scored) -> Line<'a> {
        let Scored { member, assessment, profile } = row;
        let of = |(numbers, profile): (usize, &Profile)| match numbers {
            0 => Profile { embedding: Vec::new(), ..profile.clone() },
            _ => profile.clone(),
        };
        Line {
            member,
            as_of: assessment.now.to_string(),
            tier: assessment.tier,
            tier_name: &assessment.tier_name,
            expected_tier: assessment.expected_tier,
            probabilities: &assessment.probabilities,
            standing: &assessment.standing,
            warnings: &assessment.warnings,
            features: self.features.as_ref().map(|_| assessment.features.as_slice()),
            profile: self.profile.zip(profile.as_ref()).map(of),
        }
    }
}

/// `GROCERY 62 %, MEAT 12 %`.
fn interests(profile: Option<&Profile>) -> String {
    let interest = |interest: &Interest| format!("{} {:.0} %", interest.category, interest.share * 100.0);
    let all = profile.iter().flat_map(|profile| &profile.interests).map(interest);
    all.collect::<Vec<_>>().join(", ")
}

/// A CSV field, in quotes where it needs them (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
