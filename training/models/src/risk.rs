//! Which rows are frauds, with labels and without, and how well that is told.
//!
//! Rows of numbers in, scores out, the riskiest highest. Without labels: an isolation forest ([`isolation`]) and what a small
//! network cannot reconstruct ([`autoencoder`]). With labels: logistic regression and boosted trees ([`supervised`]), whose scores
//! become probabilities on later rows ([`calibration`]), and the thresholds that an analyst would write ([`rules`]). What is measured:
//! [`curve`], [`alerts`], [`cost`], with intervals by [`resample`]; [`reasons`] say which inputs raised a score.
//!
//! Invariants: a number that is missing is NaN and an infinite one is refused; scoring changes nothing; the same rows and seed give the
//! same bits on any number of threads. Which column of a table means what is the program's business.

use anyhow::{bail, ensure};

pub mod alerts;
pub mod autoencoder;
pub mod calibration;
pub mod cost;
pub mod curve;
pub mod isolation;
pub mod reasons;
pub mod resample;
pub mod rules;
pub mod supervised;
mod units;

/// Rows of numbers, n × width, row after row; NaN is missing, none is infinite.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    width: usize,
    values: Vec<f32>,
}

impl Inputs {
    /// Takes n × `width` numbers.
    ///
    /// # Errors
    /// When there is no input, a row is not whole, or a number is infinite.
    pub fn new(width: usize, values: Vec<f32>) -> anyhow::Result<Self> {
        ensure!(width > 0, "there is no input to tell risk by");
        ensure!(
            values.len().is_multiple_of(width),
            "{} numbers are no whole rows of {width} inputs",
            values.len()
        );
        if let Some(at) = values.iter().position(|x| x.is_infinite()) {
            bail!(
                "row {}: input {} is infinite; leave out what is not known",
                at / width + 1,
                at % width + 1
            );
        }
        Ok(Self { width, values })
    }

    /// Inputs a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All numbers, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One row.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..(at + 1) * self.width]
    }

    /// One input of all rows.
    pub fn column(&self, input: usize) -> impl Iterator<Item = f32> + '_ {
        self.values.iter().skip(input).step_by(self.width).copied()
    }

    /// The rows at these places.
    #[must_use]
    pub fn select(&self, at: &[usize]) -> Self {
        Self { width: self.width, values: at.iter().flat_map(|at| self.row(*at)).copied().collect() }
    }

    /// The same rows with more inputs after their own, one list of n numbers for each.
    #[must_use]
    pub fn beside(&self, columns: &[&[f64]]) -> Self {
        let more = |at: usize| columns.iter().map(move |column| column[at] as f32);
        let row = |at: usize| self.row(at).iter().copied().chain(more(at));
        Self { width: self.width + columns.len(), values: (0..self.len()).flat_map(row).collect() }
    }

    /// Each input's median over the rows that have it, of an even number the lower of the two in the middle; NaN where none has it.
    pub fn medians(&self) -> Vec<f32> {
        let median = |input| {
            let mut values: Vec<f32> = self.column(input).filter(|x| !x.is_nan()).collect();
            values.sort_unstable_by(f32::total_cmp);
            values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f32::NAN)
        };
        (0..self.width).map(median).collect()
    }
}

/// Rows of which it is known what they were.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// The rows, n.
    pub inputs: &'a Inputs,
    /// Which are frauds, n.
    pub fraud: &'a [bool],
}

impl Labelled<'_> {
    /// How many frauds.
    pub fn frauds(&self) -> usize {
        self.fraud.iter().filter(|fraud| **fraud).count()
    }

    fn check(&self) -> anyhow::Result<()> {
        let (rows, labels, frauds) = (self.inputs.len(), self.fraud.len(), self.frauds());
        ensure!(rows == labels, "{rows} rows have {labels} labels");
        ensure!(frauds > 0, "none of {rows} rows is a fraud; there is nothing to learn from");
        ensure!(frauds < rows, "all {rows} rows are frauds; there is nothing to tell them from");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
