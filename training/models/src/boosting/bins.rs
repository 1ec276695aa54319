//! Inputs as bins: columns of small numbers that stand for ranges of the training rows' values.
//!
//! A cut lies between two values that occur, so that `x <= cut` in a tree parts the training rows as the bins do.

use crate::Rows;

/// The most bins of an input that hold values; one more holds the missing ones.
const MOST_BINS: usize = 254;

/// One input of the training rows.
pub(super) struct Column {
    /// Rising; a value's bin is the number of cuts below it. Missing values have the bin after the last.
    pub(super) cuts: Vec<f32>,
    /// Each row's bin.
    pub(super) codes: Vec<u8>,
    /// Whether a value is missing.
    pub(super) lacks: bool,
}

/// All inputs, in bins.
pub(super) fn columns(rows: &Rows) -> Vec<Column> {
    let values = |input| (0..rows.len()).map(|row| rows.plain_row(row)[input]).collect::<Vec<_>>();
    (0..rows.plain_width).map(|input| Column::new(&values(input))).collect()
}

impl Column {
    fn new(values: &[f32]) -> Self {
        let mut sorted: Vec<f32> = values.iter().copied().filter(|x| !x.is_nan()).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let cuts = cuts(&sorted);
        let code = |x: &f32| match x.is_nan() {
            true => cuts.len() + 1,
            false => cuts.partition_point(|cut| cut < x),
        };
        let codes = values.iter().map(|x| code(x) as u8).collect();
        Self { cuts, codes, lacks: sorted.len() < values.len() }
    }

    /// Bins that hold values; the bin of missing values has this number.
    pub(super) fn bins(&self) -> usize {
        self.cuts.len() + 1
    }
}

/// Between all values that occur if they are few, else so that bins hold equal numbers of rows: a value that is more
/// than a bin's share by itself, as zero often is, has a bin of its own and the others share what is left.
fn cuts(sorted: &[f32]) -> Vec<f32> {
    let values: Vec<&[f32]> = sorted.chunk_by(|a, b| a == b).collect();
    let (mut cuts, mut rows, mut bins, mut held) = (Vec::new(), sorted.len(), MOST_BINS, 0);
    for pair in values.windows(2) {
        held += pair[0].len();
        if values.len() <= MOST_BINS || held * bins >= rows || pair[1].len() * bins >= rows {
            cuts.push(between(pair[0][0], pair[1][0]));
            (rows, bins, held) = (rows - held, bins - 1, 0);
        }
    }
    cuts
}

/// Halfway between two values, but not the upper one: it must not be on the lower one's side.
fn between(low: f32, high: f32) -> f32 {
    let middle = f64::midpoint(f64::from(low), f64::from(high)) as f32;
    if low <= middle && middle < high { middle } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_parts_the_values_it_lies_between() {
        let next = 1.0_f32.next_up();
        for (low, high) in [
            (1.0, 2.0),
            (1.0, next),
            (-0.0, f32::from_bits(1)),
            (f32::NEG_INFINITY, 0.0),
            (0.0, f32::INFINITY),
            (f32::NEG_INFINITY, f32::INFINITY),
            (f32::MIN, f32::MAX),
        ] {
            let cut = between(low, high);
            assert!(low <= cut && cut < high, "{low} {cut} {high}");
        }
    }

    #[test]
    fn bins_are_what_comparisons_with_cuts_say() {
        let values: Vec<f32> = (0..3000_u32)
            .map(|i| match i % 7 {
                0 => f32::NAN,
                1 | 2 => 0.0,
                3 => -0.0,
                _ => ((i * 7919) % 1009) as f32 / 3.0 - 50.0,
            })
            .collect();
        let column = Column::new(&values);
        assert!(column.cuts.len() > 200 && column.bins() <= MOST_BINS);
        assert!(column.cuts.windows(2).all(|pair| pair[0] < pair[1]));
        for (x, code) in values.iter().zip(&column.codes) {
            if x.is_nan() {
                assert_eq!(usize::from(*code), column.bins());
            }
            for (at, cut) in column.cuts.iter().enumerate().filter(|_| !x.is_nan()) {
                assert_eq!(x <= cut, usize::from(*code) <= at);
            }
        }
        let shares = column.codes.iter().fold([0; 256], |mut n, code| {
            n[usize::from(*code)] += 1;
            n
        });
        let common = shares.iter().filter(|n| **n > 40).count();
        assert_eq!(common, 2, "only the zeros and the missing values are a large share");
    }

    #[test]
    fn few_values_have_a_bin_each() {
        let column = Column::new(&[3.0, 1.0, 1.0, 2.0]);
        assert_eq!(column.cuts, [1.5, 2.5]);
        assert_eq!(column.codes, [2, 0, 0, 1]);
        assert_eq!(Column::new(&[f32::NAN, f32::NAN]).codes, [1, 1]);
    }
}
