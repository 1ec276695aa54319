//! Every prediction of a run on rows it was not trained on, as a Parquet table, so that figures can be recomputed.

use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc};

use anyhow::{Context, bail};
use datafusion::{
    arrow::{
        array::{
            ArrayRef, AsArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray,
            TimestampMillisecondArray, UInt8Array,
        },
        datatypes::{
            DataType, Field, Float32Type, Int32Type, Int64Type, Schema, TimeUnit, TimestampMillisecondType,
            UInt8Type,
        },
    },
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};

use tiercast_core::{Decode, expected_tier};

use crate::{features::write_parquet, models::cuts};

/// Rows held out in cross-validation.
pub const CROSS_VALIDATION: &str = "cv";
/// Rows of the out-of-time test.
pub const TEST: &str = "test";

/// Predictions, row after row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Tiers, and so probabilities a row.
    pub tiers: usize,
    /// Which model.
    pub model: Vec<String>,
    /// [`CROSS_VALIDATION`] or [`TEST`].
    pub split: Vec<String>,
    /// The fold that held the row out, from 1; none in the test.
    pub fold: Vec<Option<i32>>,
    /// Whose row.
    pub member: Vec<String>,
    /// What was known when, milliseconds since 1970.
    pub as_of: Vec<i64>,
    /// The tier that came, 1…K, by the thresholds of the training rows.
    pub target: Vec<u8>,
    /// The net spend behind it, minor units.
    pub target_spend: Vec<i64>,
    /// `tiers` a row.
    pub probabilities: Vec<f32>,
    /// The tier decided on with the run's decoder; the rule's own tier for the rule.
    pub decoded: Vec<u8>,
}

impl Predictions {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.target.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.target.is_empty()
    }

    /// The rows of one model in one split.
    pub fn of(&self, model: &str, split: &str) -> Vec<usize> {
        (0..self.len()).filter(|row| self.model[*row] == model && self.split[*row] == split).collect()
    }

    /// One row's probabilities.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.probabilities[at * self.tiers..(at + 1) * self.tiers]
    }

    /// The tiers that a decoder chooses for the rows of a model in a split, in their order.
    ///
    /// The cuts by ranks are fitted to rows held out in cross-validation, and never to the row that is decided: for a row
    /// of a fold they come from the other folds, for one of the test from all folds.
    pub fn decide(&self, model: &str, split: &str, decode: Decode) -> Vec<u8> {
        let mut cuts = BTreeMap::new();
        let rows = self.of(model, split).into_iter();
        rows.map(|row| {
            let of_fold =
                || if decode == Decode::Ranks { self.cuts(model, self.fold[row]) } else { Vec::new() };
            decode.decode(self.row(row), cuts.entry(self.fold[row]).or_insert_with(of_fold))
        })
        .collect()
    }

    /// Where the expected tier of a model's rows in cross-validation is cut so that the tiers have the targets' shares;
    /// the rows of one fold can be left out.
    pub fn cuts(&self, model: &str, without: Option<i32>) -> Vec<f32> {
        let mut rows = self.of(model, CROSS_VALIDATION);
        rows.retain(|row| without.is_none() || self.fold[*row] != without);
        let targets: Vec<u8> = rows.iter().map(|row| self.target[*row]).collect();
        let expected = rows.iter().map(|row| expected_tier(self.row(*row))).collect();
        cuts::rank_cuts(self.tiers, expected, &targets)
    }

    /// Writes the table.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let schema = self.schema();
        let as_of = TimestampMillisecondArray::from(self.as_of.clone()).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(&self.model)),
            Arc::new(StringArray::from_iter_values(&self.split)),
            Arc::new(Int32Array::from(self.fold.clone())),
            Arc::new(StringArray::from_iter_values(&self.member)),
            Arc::new(as_of),
            Arc::new(UInt8Array::from(self.target.clone())),
            Arc::new(Int64Array::from(self.target_spend.clone())),
        ];
        for tier in 0..self.tiers {
            let values = self.probabilities.iter().skip(tier).step_by(self.tiers).copied();
            columns.push(Arc::new(Float32Array::from_iter_values(values)));
        }
        columns.push(Arc::new(UInt8Array::from(self.decoded.clone())));
        write_parquet(path, &RecordBatch::try_new(schema, columns)?)
    }

    fn schema(&self) -> Arc<Schema> {
        let field = |name: &str, kind| Field::new(name, kind, false);
        let mut fields = vec![
            field("model", DataType::Utf8),
            field("split", DataType::Utf8),
            Field::new("fold", DataType::Int32, true),
            field("member", DataType::Utf8),
            field("as_of", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
            field("target", DataType::UInt8),
            field("target_spend", DataType::Int64),
        ];
        fields.extend((1..=self.tiers).map(|tier| field(&format!("p{tier}"), DataType::Float32)));
        fields.push(field("decoded", DataType::UInt8));
        Arc::new(Schema::new(fields))
    }

    /// Reads the table back.
    ///
    /// # Errors
    /// When the file is missing, is not Parquet, or has other columns.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path)
            .with_context(|| format!("cannot open {}; `tiercast train -o RUN` writes it", path.display()))?;
        let mut all = Self::default();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
            all.extend(&batch?)
                .with_context(|| format!("{} is not a table of predictions", path.display()))?;
        }
        Ok(all)
    }

    fn extend(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let column =
            |name: &str| batch.column_by_name(name).with_context(|| format!("column {name} is missing"));
        let text = |name: &str| -> anyhow::Result<Vec<String>> {
            let column: &StringArray =
                column(name)?.as_string_opt().with_context(|| format!("{name} is not text"))?;
            Ok(column.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
        };
        let byte = |name: &str| -> anyhow::Result<Vec<u8>> {
            let column = column(name)?.as_primitive_opt::<UInt8Type>();
            Ok(column.with_context(|| format!("{name} is not a tier"))?.values().to_vec())
        };
        self.tiers = batch.num_columns().saturating_sub(8);
        self.model.extend(text("model")?);
        self.split.extend(text("split")?);
        self.member.extend(text("member")?);
        let folds = column("fold")?.as_primitive_opt::<Int32Type>().context("fold is not a number")?;
        self.fold.extend(folds);
        let as_of =
            column("as_of")?.as_primitive_opt::<TimestampMillisecondType>().context("as_of is not a time")?;
        self.as_of.extend(as_of.values());
        let spend = column("target_spend")?
            .as_primitive_opt::<Int64Type>()
            .context("target_spend is not a number")?;
        self.target_spend.extend(spend.values());
        let mut shares = Vec::new();
        for tier in 1..=self.tiers {
            let name = format!("p{tier}");
            let share =
                column(&name)?.as_primitive_opt::<Float32Type>().context("a probability is not a number")?;
            shares.push(share.values());
        }
        let row = |at: usize| shares.iter().map(move |share| share[at]);
        self.probabilities.extend((0..batch.num_rows()).flat_map(row));
        self.target.extend(byte("target")?);
        self.decoded.extend(byte("decoded")?);
        let tiers = 1..=self.tiers as u8;
        if !self.target.iter().chain(&self.decoded).all(|tier| tiers.contains(tier)) {
            bail!("a tier lies outside 1…{}", self.tiers);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_back_as_it_was() {
        let predictions = Predictions {
            tiers: 2,
            model: vec!["dnn".into(), "dnn".into()],
            split: vec![CROSS_VALIDATION.into(), TEST.into()],
            fold: vec![Some(1), None],
            member: vec!["a".into(), "b".into()],
            as_of: vec![0, 86_400_000],
            target: vec![1, 2],
            target_spend: vec![-5, 1234],
            probabilities: vec![0.25, 0.75, 0.5, 0.5],
            decoded: vec![2, 1],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.parquet");
        predictions.write(&path).unwrap();
        assert_eq!(Predictions::read(&path).unwrap(), predictions);
        assert_eq!(predictions.of("dnn", TEST), [1]);
        assert_eq!(predictions.row(1), [0.5, 0.5]);
    }

    /// Two folds of four rows each: the expected tiers of the first are 1.1 … 1.4, those of the second 1.5 … 1.8.
    fn ranked() -> Predictions {
        let expected: Vec<f32> = (1..=8).map(|i| i as f32 / 10.0).collect();
        Predictions {
            tiers: 2,
            model: vec!["dnn".into(); 9],
            split: [vec![CROSS_VALIDATION.into(); 8], vec![TEST.into()]].concat(),
            fold: [vec![Some(1); 4], vec![Some(2); 4], vec![None]].concat(),
            member: vec![String::new(); 9],
            as_of: vec![0; 9],
            target: vec![1, 1, 1, 2, 1, 1, 2, 2, 1],
            target_spend: vec![0; 9],
            probabilities: expected.iter().chain(&[0.55]).flat_map(|p| [1.0 - p, *p]).collect(),
            decoded: Vec::new(),
        }
    }

    #[test]
    fn ranks_are_cut_on_other_rows_than_those_they_decide() {
        let mut predictions = ranked();
        // Half of the second fold's targets are tier 2, so that its median is the first fold's cut, and so on.
        assert!((predictions.cuts("dnn", Some(1))[0] - 1.65).abs() < 1e-6);
        assert!((predictions.cuts("dnn", Some(2))[0] - 1.325).abs() < 1e-6);
        assert_eq!(predictions.decide("dnn", CROSS_VALIDATION, Decode::Ranks), [1, 1, 1, 1, 2, 2, 2, 2]);
        // Five of all eight are tier 1: between 1.5 and 1.6, where the test's row is on the upper side.
        assert!((predictions.cuts("dnn", None)[0] - 1.5375).abs() < 1e-6);
        assert_eq!(predictions.decide("dnn", TEST, Decode::Ranks), [2]);
        // Whatever a fold's own rows are, their cuts stay; and the test's rows move none.
        let (first, all) = (predictions.cuts("dnn", Some(1)), predictions.cuts("dnn", None));
        predictions.target[..4].fill(2);
        assert_eq!(predictions.cuts("dnn", Some(1)), first);
        predictions = ranked();
        predictions.target[8] = 2;
        predictions.probabilities[16..].copy_from_slice(&[0.0, 1.0]);
        assert_eq!(predictions.cuts("dnn", None), all);
    }

    #[test]
    fn a_missing_table_says_what_writes_it() {
        let error = Predictions::read(Path::new("/nonexistent/predictions.parquet")).unwrap_err();
        assert!(format!("{error:#}").contains("tiercast train"), "{error:#}");
    }
}
