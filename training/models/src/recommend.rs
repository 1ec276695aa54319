//! What is learned of items from who bought what: factors by alternating least squares, two towers, and neighbours.

pub mod als;
pub mod neighbours;
pub mod towers;

/// A sparse matrix, row after row: members by items, or items by members.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sparse {
    /// Columns there are.
    pub width: usize,
    /// Where each row begins, and the end of the last.
    pub starts: Vec<usize>,
    /// The columns of each row's entries, ascending.
    pub columns: Vec<u32>,
    /// Their values, above 0.
    pub values: Vec<f32>,
}

impl Sparse {
    /// A matrix of rows of entries with ascending columns below `width`.
    pub fn of<R: AsRef<[(u32, f32)]>>(rows: impl IntoIterator<Item = R>, width: usize) -> Self {
        let mut matrix = Self { width, starts: vec![0], ..Self::default() };
        for row in rows {
            let (columns, values): (Vec<u32>, Vec<f32>) = row.as_ref().iter().copied().unzip();
            matrix.columns.extend(columns);
            matrix.values.extend(values);
            matrix.starts.push(matrix.columns.len());
        }
        matrix
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// The entries of a row.
    pub fn row(&self, at: usize) -> impl ExactSizeIterator<Item = (usize, f32)> + Clone {
        let range = self.starts[at]..self.starts[at + 1];
        self.columns[range.clone()].iter().map(|c| *c as usize).zip(self.values[range].iter().copied())
    }

    /// Columns as rows.
    pub fn transposed(&self) -> Self {
        let mut starts = vec![0_usize; self.width + 1];
        self.columns.iter().for_each(|column| starts[*column as usize + 1] += 1);
        (0..self.width).for_each(|at| starts[at + 1] += starts[at]);
        let (mut next, entries) = (starts.clone(), self.columns.len());
        let (mut columns, mut values) = (vec![0; entries], vec![0.0; entries]);
        for row in 0..self.rows() {
            for (column, value) in self.row(row) {
                columns[next[column]] = row as u32;
                values[next[column]] = value;
                next[column] += 1;
            }
        }
        Self { width: self.rows(), starts, columns, values }
    }
}

/// Numbers that are worked on together: two vectors of the smallest machine, twice.
const TILE: usize = 16;

fn add(to: &mut [f32], times: f32, row: &[f32]) {
    to.iter_mut().zip(row).for_each(|(to, x)| *to += times * x);
}

/// Sixteen sums, joined in one order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; TILE];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<TILE>(), b.as_chunks::<TILE>());
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter_mut().zip(a_rest.iter().zip(b_rest)).for_each(|(sum, (a, b))| *sum += a * b);
    let mut half = TILE / 2;
    while half > 0 {
        (0..half).for_each(|at| sums[at] += sums[at + half]);
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
pub(crate) mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    /// Members of two tastes: those of the first buy items of the first half, and now and then another.
    pub(crate) fn tastes(members: usize, items: usize, seed: u64) -> Sparse {
        let mut rng = StdRng::seed_from_u64(seed);
        let rows = (0..members).map(|member| {
            let mut row: Vec<u32> = (0..12)
                .map(|_| {
                    let half = (items / 2) as u32;
                    let own = if member % 2 == 0 { 0 } else { half };
                    match rng.random_bool(0.9) {
                        true => own + rng.random_range(0..half),
                        false => rng.random_range(0..items as u32),
                    }
                })
                .collect();
            row.sort_unstable();
            row.dedup();
            row.into_iter().map(|item| (item, rng.random_range(0.2..2.0))).collect::<Vec<_>>()
        });
        Sparse::of(rows, items)
    }

    #[test]
    fn a_product_counts_what_fills_no_tile() {
        let numbers: Vec<f32> = (1..=21).map(|x| x as f32).collect();
        assert_eq!(dot(&numbers, &numbers), 3311.0);
        assert_eq!(dot(&numbers[..3], &numbers[..3]), 14.0);
    }

    #[test]
    fn a_matrix_turned_twice_is_itself() {
        let matrix = tastes(50, 20, 1);
        assert_eq!(matrix.transposed().transposed(), matrix);
        let turned = matrix.transposed();
        let found: Vec<_> = turned.row(3).filter(|(row, _)| *row == 8).collect();
        let expected: Vec<_> = matrix.row(8).filter(|(item, _)| *item == 3).map(|(_, v)| (8, v)).collect();
        assert_eq!(found, expected);
    }
}
