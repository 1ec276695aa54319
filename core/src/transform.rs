//! Fitted steps between the raw features and the model's input.
//!
//! Each column takes one feature through its steps, in 64-bit, and gives one or more 32-bit inputs. The steps'
//! numbers are fitted by training, on training rows only; here they are only applied.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Quoted, Result, bail},
    features::category_code,
    math,
};

/// The most inputs that a model can have.
const MAX_INPUTS: usize = 65_536;

/// The feature that a column reads, and which inputs it gives.
pub(crate) type Span = (u32, core::ops::Range<usize>);

/// All columns of a model's input, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transform {
    /// The columns.
    pub columns: Vec<Column>,
}

crate::wire::fields!(Transform { columns });

/// One feature and what is done to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in the model's input.
    pub name: String,
    /// Index of the feature in the raw vector.
    pub source: u32,
    /// Applied first to last. Those that give several inputs or test for missing values come last.
    pub steps: Vec<Step>,
}

crate::wire::fields!(Column { name, source, steps });

/// A fitted step. A missing value (NaN) passes every step but `Impute` and the expanding ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Puts this number in place of a missing value.
    Impute(f64),
    /// Limits the value to a range.
    Clip {
        /// The smallest value let through.
        low: f64,
        /// The largest value let through.
        high: f64,
    },
    /// sign(x) · log(1 + |x|).
    Log1p,
    /// (x − mean) / std.
    Standardize {
        /// Mean of the training rows.
        mean: f64,
        /// Standard deviation of the training rows, not 0.
        std: f64,
    },
    /// Position in the training distribution, 0 to 1, linear between ascending knots at equal ranks.
    Quantile {
        /// At least two, ascending.
        knots: Vec<f64>,
    },
    /// One input per listed value: 1 where equal, else 0. A missing or unlisted value gives zeros.
    OneHot {
        /// The values.
        values: Vec<f64>,
    },
    /// One input per bucket: 1 where the value's hash falls, else 0. A missing value gives zeros.
    Hash {
        /// Number of buckets.
        buckets: u32,
    },
    /// 1 where the value is missing, else 0.
    IsMissing,
    /// Place of the value in a list, from 0: what trees read of a code. An unlisted value is missing.
    Ordinal {
        /// The values, each once.
        values: Vec<f64>,
    },
}

crate::wire::variants!(Step { Impute(value), Clip { low, high }, Log1p, Standardize { mean, std }, Quantile { knots }, OneHot { values }, Hash { buckets }, IsMissing, Ordinal { values } });

impl Transform {
    /// Checks the steps against each other and against the number of raw features.
    ///
    /// # Errors
    /// `invalid_spec` naming the column.
    pub fn check(&self, features: usize) -> Result<()> {
        if self.columns.is_empty() {
            bail!(InvalidSpec, "the transform has no columns");
        }
        if self.columns.iter().fold(0_usize, |width, c| width.saturating_add(c.width())) > MAX_INPUTS {
            bail!(InvalidSpec, "the transform gives more than {MAX_INPUTS} inputs");
        }
        for column in &self.columns {
            if column.source as usize >= features {
                bail!(
                    InvalidSpec,
                    "column {} reads feature {} of {features}",
                    Quoted(&column.name),
                    column.source
                );
            }
            for (i, step) in column.steps.iter().enumerate() {
                let last = i + 1 == column.steps.len();
                if !step.is_sound() || (step.ends_column() && !last) {
                    bail!(
                        InvalidSpec,
                        "column {}: step {} is out of place or has impossible numbers",
                        Quoted(&column.name),
                        i + 1
                    );
                }
            }
        }
        Ok(())
    }

    /// How many inputs the model gets.
    pub fn width(&self) -> usize {
        self.columns.iter().map(Column::width).sum()
    }

    /// The inputs' names, in order.
    pub fn names(&self) -> Vec<String> {
        self.columns.iter().flat_map(Column::names).collect()
    }

    /// Of each column.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut from = 0;
        let span = |column: &Column| {
            let start = from;
            from += column.width();
            (column.source, start..from)
        };
        self.columns.iter().map(span).collect()
    }

    /// Appends the inputs of one raw row to `out`.
    ///
    /// `raw` must have as many values as [`Transform::check`] was told; a shorter row reads as missing.
    pub fn apply(&self, raw: &[f32], out: &mut Vec<f32>) {
        for column in &self.columns {
            column.apply(raw.get(column.source as usize).copied().unwrap_or(f32::NAN), out);
        }
    }
}

impl Column {
    fn width(&self) -> usize {
        match self.steps.last() {
            Some(Step::OneHot { values }) => values.len(),
            Some(Step::Hash { buckets }) => *buckets as usize,
            _ => 1,
        }
    }

    fn names(&self) -> Vec<String> {
        match self.steps.last() {
            Some(Step::OneHot { values }) => values.iter().map(|v| format!("{}={v}", self.name)).collect(),
            Some(Step::Hash { buckets }) => (0..*buckets).map(|b| format!("{}#{b}", self.name)).collect(),
            _ => alloc::vec![self.name.clone()],
        }
    }

    fn apply(&self, raw: f32, out: &mut Vec<f32>) {
        let mut x = f64::from(raw);
        for step in &self.steps {
            match step {
                Step::OneHot { values } => {
                    out.extend(values.iter().map(|value| if *value == x { 1.0 } else { 0.0 }));
                    return;
                }
                Step::Hash { buckets } => {
                    let hit = (!x.is_nan()).then(|| bucket(x, *buckets));
                    out.extend((0..*buckets).map(|b| if Some(b) == hit { 1.0 } else { 0.0 }));
                    return;
                }
                step => x = step.apply(x),
            }
        }
        out.push(if x.is_nan() { f32::NAN } else { x as f32 });
    }
}

impl Step {
    fn ends_column(&self) -> bool {
        matches!(self, Self::OneHot { .. } | Self::Hash { .. } | Self::IsMissing)
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Impute(x) => x.is_finite(),
            Self::Clip { low, high } => low.is_finite() && high.is_finite() && low <= high,
            Self::Standardize { mean, std } => mean.is_finite() && std.is_finite() && *std > 0.0,
            Self::Quantile { knots } => {
                knots.len() >= 2 && knots.iter().all(|k| k.is_finite()) && knots.is_sorted()
            }
            Self::OneHot { values } | Self::Ordinal { values } => {
                (1..=MAX_INPUTS).contains(&values.len()) && values.iter().all(|v| v.is_finite())
            }
            Self::Hash { buckets } => (1..=MAX_INPUTS).contains(&(*buckets as usize)),
            Self::Log1p | Self::IsMissing => true,
        }
    }

    fn apply(&self, x: f64) -> f64 {
        match self {
            Self::Impute(value) if x.is_nan() => *value,
            Self::Clip { low, high } if !x.is_nan() => x.max(*low).min(*high),
            Self::Log1p => math::signed_log1p(x),
            Self::Standardize { mean, std } => (x - mean) / std,
            Self::Quantile { knots } => quantile(x, knots),
            Self::IsMissing => f64::from(u8::from(x.is_nan())),
            Self::Ordinal { values } => {
                values.iter().position(|value| *value == x).map_or(f64::NAN, |at| at as f64)
            }
            _ => x,
        }
    }
}

/// The rank of `x` among ascending knots, 0 to 1; in the middle of the knots that equal it.
fn quantile(x: f64, knots: &[f64]) -> f64 {
    if x.is_nan() {
        return x;
    }
    let below = knots.partition_point(|knot| *knot < x);
    let through = knots.partition_point(|knot| *knot <= x);
    let rank = if through > below {
        (below + through - 1) as f64 / 2.0
    } else {
        match (below.checked_sub(1).and_then(|i| knots.get(i)), knots.get(below)) {
            (Some(low), Some(high)) => (below - 1) as f64 + (x - low) / (high - low),
            (None, _) => 0.0,
            (_, None) => (knots.len() - 1) as f64,
        }
    };
    rank / (knots.len() - 1) as f64
}

/// MurmurHash3's finaliser over the code, so that neighbouring codes do not share a bucket.
fn bucket(x: f64, buckets: u32) -> u32 {
    let mut h = category_code(x as u32);
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    (h ^ (h >> 16)) % buckets.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn run(steps: Vec<Step>, x: f32) -> Vec<f32> {
        let transform = Transform { columns: vec![Column { name: "x".into(), source: 0, steps }] };
        transform.check(1).unwrap();
        let mut out = Vec::new();
        transform.apply(&[x], &mut out);
        assert_eq!(out.len(), transform.width());
        assert_eq!(out.len(), transform.names().len());
        out
    }

    #[test]
    fn steps_do_what_they_say() {
        assert_eq!(run(vec![Step::Impute(2.0)], f32::NAN), [2.0]);
        assert_eq!(run(vec![Step::Clip { low: 0.0, high: 3.0 }], 7.0), [3.0]);
        assert_eq!(run(vec![Step::Log1p], -1.0), [-core::f32::consts::LN_2]);
        assert_eq!(run(vec![Step::Standardize { mean: 3.0, std: 2.0 }], 7.0), [2.0]);
        assert_eq!(run(vec![Step::OneHot { values: vec![1.0, 5.0] }], 5.0), [0.0, 1.0]);
        assert_eq!(run(vec![Step::OneHot { values: vec![1.0] }], f32::NAN), [0.0]);
        assert_eq!(run(vec![Step::IsMissing], f32::NAN), [1.0]);
        let ordinal = || vec![Step::Ordinal { values: vec![9.0, 4.0, 7.0] }];
        assert_eq!([9.0, 7.0].map(|x| run(ordinal(), x)[0]), [0.0, 2.0]);
        assert!([5.0, f32::NAN].iter().all(|x| run(ordinal(), *x)[0].is_nan()));
        assert_eq!(run(vec![Step::Hash { buckets: 4 }], 77.0).iter().sum::<f32>(), 1.0);
        assert!(run(vec![Step::Clip { low: 0.0, high: 3.0 }], f32::NAN)[0].is_nan());
    }

    #[test]
    fn quantiles_interpolate_and_share_ties() {
        let knots = [0.0, 0.0, 0.0, 4.0, 8.0];
        for (x, rank) in [(-1.0, 0.0), (0.0, 0.25), (2.0, 0.625), (4.0, 0.75), (8.0, 1.0), (9.0, 1.0)] {
            assert_eq!(quantile(x, &knots), rank, "{x}");
        }
    }

    #[test]
    fn impossible_transforms_are_refused() {
        let column = |source, steps| Transform { columns: vec![Column { name: "x".into(), source, steps }] };
        for bad in [
            Transform::default(),
            column(1, vec![]),
            column(0, vec![Step::Standardize { mean: 0.0, std: 0.0 }]),
            column(0, vec![Step::IsMissing, Step::Log1p]),
            column(0, vec![Step::Quantile { knots: vec![1.0, 0.0] }]),
            column(0, vec![Step::Impute(f64::NAN)]),
            column(0, vec![Step::Ordinal { values: vec![] }]),
        ] {
            assert_eq!(bad.check(1).unwrap_err().code(), "invalid_spec");
        }
    }
}
