//! Rows turned on their side, some at a time: the values of one input lie together, so that sums over inputs go on in
//! many rows at once.
//!
//! Within a block sums are of 32 bits, in one order; blocks are added in 64 bits. Each block's sums are its own, and so
//! it does not matter who makes them.

use crate::Rows;

/// Rows of a block.
pub(super) const SIZE: usize = 256;
/// Rows whose sums are held in registers.
const TILE: usize = 32;
/// Partial sums of a product over the rows of a block.
const LANES: usize = 16;

/// A block's numbers, one a row.
pub(super) type Lane = [f32; SIZE];

/// Rows in blocks; the last one is filled up with rows of zeros.
pub(super) struct Blocks {
    /// Inputs.
    pub(super) width: usize,
    /// Rows, without those that fill up.
    pub(super) rows: usize,
    /// Block by block, input by input.
    values: Vec<Lane>,
}

impl Blocks {
    pub(super) fn new(rows: &Rows) -> Self {
        let (width, count) = (rows.width, rows.len());
        let mut values = vec![[0.0; SIZE]; count.div_ceil(SIZE) * width];
        for (block, values) in values.chunks_exact_mut(width.max(1)).enumerate() {
            for at in 0..SIZE.min(count - block * SIZE) {
                let row = rows.row(block * SIZE + at);
                values.iter_mut().zip(row).for_each(|(lane, x)| lane[at] = *x);
            }
        }
        Self { width, rows: count, values }
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.rows.div_ceil(SIZE)
    }

    /// How many rows of a block are not there to fill it up.
    pub(super) fn filled(&self, block: usize) -> usize {
        SIZE.min(self.rows - block * SIZE)
    }

    fn block(&self, block: usize) -> &[Lane] {
        &self.values[block * self.width..(block + 1) * self.width]
    }

    /// `bias + x · weight` for each row of a block, where `weights` are the bias and then one for each input.
    pub(super) fn forward(&self, block: usize, weights: &[f32], sums: &mut Lane) {
        let (Some((bias, weights)), lanes) = (weights.split_first(), self.block(block)) else { return };
        for (tile, sums) in sums.as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
            let mut sum = [*bias; TILE];
            for (lane, weight) in lanes.iter().zip(weights) {
                let xs = &lane.as_chunks::<TILE>().0[tile];
                for (sum, x) in sum.iter_mut().zip(xs) {
                    *sum += x * weight;
                }
            }
            *sums = sum;
        }
    }

    /// Adds the sums of `slopes` and of their products with each input to `gradient`, ordered as the weights are.
    pub(super) fn backward(&self, block: usize, slopes: &Lane, gradient: &mut [f64]) {
        let Some((bias, gradient)) = gradient.split_first_mut() else { return };
        *bias += product(slopes, &[1.0; SIZE]);
        for (lane, sum) in self.block(block).iter().zip(gradient) {
            *sum += product(lane, slopes);
        }
    }
}

fn product(a: &Lane, b: &Lane) -> f64 {
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.into_iter().map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::ladder;

    #[test]
    fn sums_are_those_of_the_rows() {
        let rows = ladder(2 * SIZE + 44, 3);
        let blocks = Blocks::new(&rows);
        assert_eq!((blocks.count(), blocks.filled(0), blocks.filled(2)), (3, SIZE, 44));
        let weights = [0.5, -1.25, 2.0];
        let (mut sums, mut gradient) = ([0.0; SIZE], [0.0; 3]);
        for block in 0..blocks.count() {
            blocks.forward(block, &weights, &mut sums);
            for (at, sum) in sums[..blocks.filled(block)].iter().enumerate() {
                let row = rows.row(block * SIZE + at);
                assert!((sum - (0.5 - 1.25 * row[0] + 2.0 * row[1])).abs() < 1e-5);
            }
            sums[blocks.filled(block)..].fill(0.0);
            blocks.backward(block, &sums, &mut gradient);
        }
        let predict = |row: &[f32]| 0.5 - 1.25 * f64::from(row[0]) + 2.0 * f64::from(row[1]);
        for (at, found) in gradient.into_iter().enumerate() {
            let input = |row: &[f32]| if at == 0 { 1.0 } else { f64::from(row[at - 1]) };
            let truth: f64 = (0..rows.len()).map(|row| predict(rows.row(row)) * input(rows.row(row))).sum();
            assert!((found - truth).abs() < 1e-3, "{found} {truth}");
        }
    }
}
