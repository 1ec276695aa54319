//! Items as rows of small whole numbers: products with them are exact in whole arithmetic, whatever the order of the sum.

// Every range is that of a row of a table whose lengths `check` has compared.
#![allow(clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::{
    error::{Result, bail},
    math,
};

/// The widest row: 256 products of 8 and 16 bits fit into 32.
pub const WIDEST: usize = 256;

/// A table of rows, each of whole numbers between −127 and 127 and a scale: `value = scale · code`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemRows {
    width: u32,
    scales: Vec<f32>,
    /// The codes as bytes, in two's complement.
    codes: Vec<u8>,
}

crate::wire::fields!(ItemRows { width, scales, codes });

/// A vector of 16-bit whole numbers and a scale.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    scale: f32,
    codes: Vec<i16>,
}

impl ItemRows {
    /// Rounds rows of `width` numbers, stored one after the other.
    pub fn round(values: &[f32], width: usize) -> Self {
        let mut rows = Self { width: width as u32, ..Self::default() };
        for row in values.chunks_exact(width.max(1)) {
            let largest = row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
            rows.scales.push(scale);
            rows.codes.extend(row.iter().map(|x| math::round(f64::from(x / scale)) as i8 as u8));
        }
        rows
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width as usize
    }

    /// A row's numbers.
    pub fn row(&self, at: usize) -> impl Iterator<Item = f32> {
        let scale = self.scales[at];
        self.codes(at).iter().map(move |code| f32::from(*code as i8) * scale)
    }

    fn codes(&self, at: usize) -> &[u8] {
        &self.codes[at * self.width()..(at + 1) * self.width()]
    }

    pub(super) fn check(&self, rows: usize) -> Result<()> {
        let sound = self.scales.iter().all(|scale| scale.is_finite());
        if !(1..=WIDEST).contains(&self.width()) || self.len() != rows || !sound {
            bail!(InvalidSpec, "{} rows of {} numbers for {rows} items", self.len(), self.width);
        }
        if self.codes.len() != rows * self.width() {
            bail!(InvalidSpec, "{} numbers in {rows} rows of {}", self.codes.len(), self.width);
        }
        Ok(())
    }

    /// The product of every row with a vector.
    pub(super) fn times(&self, query: &Query, out: &mut Vec<f32>) {
        out.clear();
        let rows = self.codes.chunks_exact(self.width()).zip(&self.scales);
        out.extend(rows.map(|(row, scale)| {
            let sum: i32 =
                row.iter().zip(&query.codes).map(|(a, b)| i32::from(*a as i8) * i32::from(*b)).sum();
            sum as f32 * (scale * query.scale)
        }));
    }

    /// The cosine of the angle between two rows, 0 where one has no length.
    pub(super) fn cosine(&self, a: usize, b: usize) -> f32 {
        let dot = |a: &[u8], b: &[u8]| -> i32 {
            a.iter().zip(b).map(|(a, b)| i32::from(*a as i8) * i32::from(*b as i8)).sum()
        };
        let (a, b) = (self.codes(a), self.codes(b));
        let length = math::sqrt(f64::from(dot(a, a)) * f64::from(dot(b, b)));
        if length > 0.0 { (f64::from(dot(a, b)) / length) as f32 } else { 0.0 }
    }
}

impl Query {
    /// Rounds a vector; one with numbers that are not finite becomes zeros.
    pub(super) fn round(values: &[f32]) -> Self {
        let largest = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        if !(largest > 0.0 && largest.is_finite() && values.iter().all(|x| x.is_finite())) {
            return Self { scale: 1.0, codes: alloc::vec![0; values.len()] };
        }
        let scale = largest / 32767.0;
        Self { scale, codes: values.iter().map(|x| math::round(f64::from(x / scale)) as i16).collect() }
    }
}

/// Places of the `count` largest values that are `allowed`, the largest first, of equal ones the first.
pub(super) fn largest(values: &[f32], count: usize, allowed: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut top: Vec<(f32, u32)> = Vec::with_capacity(count + 1);
    for (at, value) in values.iter().enumerate() {
        let full = top.len() == count;
        if count == 0 || (full && top.last().is_some_and(|least| *value <= least.0)) || !allowed(at) {
            continue;
        }
        let place = top.partition_point(|(known, _)| known >= value);
        top.insert(place, (*value, at as u32));
        top.truncate(count);
    }
    top.into_iter().map(|(_, at)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn rounded_rows_are_near_and_their_products_those_of_their_numbers() {
        let values: Vec<f32> = (0..6 * 8).map(|i| ((i * 37 % 19) as f32 - 9.0) / 7.0).collect();
        let rows = ItemRows::round(&values, 8);
        rows.check(6).unwrap();
        let query: Vec<f32> = (0..8).map(|i| (i as f32 - 3.5) / 3.0).collect();
        let mut products = Vec::new();
        rows.times(&Query::round(&query), &mut products);
        for (at, product) in products.iter().enumerate() {
            let exact: f32 = rows.row(at).zip(&query).map(|(a, b)| a * b).sum();
            assert!((product - exact).abs() < 1e-3, "{product} {exact}");
            assert!(
                rows.row(at)
                    .zip(&values[at * 8..])
                    .all(|(a, b)| (a - b).abs() <= 0.5 * 9.0 / 7.0 / 127.0 + 1e-6)
            );
        }
    }

    #[test]
    fn extremes_neither_overflow_nor_become_numbers_that_are_none() {
        let rows = ItemRows::round(&vec![1.0; WIDEST], WIDEST);
        let mut products = Vec::new();
        rows.times(&Query::round(&vec![1.0; WIDEST]), &mut products);
        assert!((products[0] - WIDEST as f32).abs() < 0.01, "{}", products[0]);
        rows.times(&Query::round(&[f32::NAN, f32::INFINITY]), &mut products);
        assert_eq!(products, [0.0]);
        assert_eq!(ItemRows::round(&[0.0, 0.0], 2).cosine(0, 0), 0.0);
    }

    #[test]
    fn the_largest_come_first_and_of_equal_ones_the_first() {
        assert_eq!(largest(&[1.0, 3.0, 3.0, 2.0, 0.5], 3, |_| true), [1, 2, 3]);
        assert_eq!(largest(&[1.0, 3.0, 3.0, 2.0, 0.5], 3, |at| at != 1), [2, 3, 0]);
        assert_eq!(largest(&[1.0], 0, |_| true), [] as [u32; 0]);
        assert_eq!(largest(&[f32::NAN, 1.0, 2.0], 2, |_| true).len(), 2);
    }

    #[test]
    fn tables_of_other_lengths_are_refused() {
        let rows = ItemRows::round(&[1.0, 2.0], 2);
        assert_eq!(rows.check(2).unwrap_err().code(), "invalid_spec");
        assert_eq!(ItemRows { codes: vec![1], ..rows.clone() }.check(1).unwrap_err().code(), "invalid_spec");
        assert_eq!(ItemRows { width: 0, ..rows }.check(1).unwrap_err().code(), "invalid_spec");
    }
}
