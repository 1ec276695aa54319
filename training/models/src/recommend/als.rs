//! Alternating least squares over implicit feedback (Hu, Koren & Volinsky, "Collaborative Filtering for Implicit Feedback
//! Datasets", 2008), each side solved by a few steps of conjugate gradients from where it was (Takács, Pilászy & Tikk 2011).
//!
//! Minimises Σ cᵤᵢ (pᵤᵢ − xᵤᵀyᵢ)² + λ (Σ|xᵤ|² + Σ|yᵢ|²), where cᵤᵢ = 1 + α rᵤᵢ, and pᵤᵢ is 1 where rᵤᵢ > 0 and 0 elsewhere.
//!
//! Rows are solved in blocks, so that what all share, their product with YᵀY, is a product of matrices. Blocks are the same
//! on any number of threads, and so are the bits.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::{Sparse, TILE, add, dot};
use crate::threads;

/// Rows that are solved together.
const BLOCK: usize = 64;
/// Rows of a tile.
const TALL: usize = 4;

/// How factors are found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// Numbers of a vector, a multiple of 16.
    pub factors: usize,
    /// Times that both sides are solved.
    pub iterations: usize,
    /// λ.
    pub l2: f32,
    /// α.
    pub alpha: f32,
    /// Steps of conjugate gradients for each row.
    pub steps: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { factors: 64, iterations: 15, l2: 1.0, alpha: 10.0, steps: 3 }
    }
}

/// Vectors of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// Numbers of a vector.
    pub width: usize,
    /// A vector for each row of the matrix.
    pub rows: Vec<f32>,
    /// A vector for each column.
    pub columns: Vec<f32>,
}

/// Finds factors of a matrix of members by items.
///
/// # Panics
/// When `factors` is no multiple of 16.
pub fn fit(matrix: &Sparse, params: &Params, seed: u64) -> Factors {
    let width = params.factors;
    assert!(width > 0 && width.is_multiple_of(TILE), "factors are a multiple of {TILE}");
    let turned = matrix.transposed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut start = |rows: usize| -> Vec<f32> {
        (0..rows * width).map(|_| rng.random_range(-0.5..0.5) / width as f32).collect()
    };
    let (mut rows, mut columns) = (start(matrix.rows()), start(matrix.width));
    for _ in 0..params.iterations {
        solve(matrix, &columns, &mut rows, params);
        solve(&turned, &rows, &mut columns, params);
    }
    Factors { width, rows, columns }
}

/// YᵀY + λI of vectors `y`, row by row.
pub fn gram(y: &[f32], width: usize, l2: f32) -> Vec<f32> {
    // In 64 bits, and in blocks that are added up in order.
    let blocks = threads::map(y.chunks(width * 4096).collect(), |rows| {
        let mut sums = vec![0.0_f64; width * width];
        let mut wide = vec![0.0_f64; width];
        for row in rows.chunks_exact(width) {
            wide.iter_mut().zip(row).for_each(|(wide, x)| *wide = f64::from(*x));
            for (sums, x) in sums.chunks_exact_mut(width).zip(&wide) {
                sums.iter_mut().zip(&wide).for_each(|(sum, y)| *sum += x * y);
            }
        }
        sums
    });
    let mut sums = vec![0.0_f64; width * width];
    blocks.iter().for_each(|block| sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += x));
    (0..width).for_each(|at| sums[at * (width + 1)] += f64::from(l2));
    sums.into_iter().map(|x| x as f32).collect()
}

/// Moves each row's vector towards where its slope is zero, the columns' vectors `y` being fixed.
fn solve(matrix: &Sparse, y: &[f32], x: &mut [f32], params: &Params) {
    let width = params.factors;
    let gram = gram(y, width, params.l2);
    let blocks = x.chunks_mut(BLOCK * width).zip((0..).step_by(BLOCK)).collect();
    threads::map(blocks, |(x, from): (&mut [f32], usize)| {
        Block::new(matrix, from, y, &gram, params).solve(x)
    });
}

/// Some rows of a matrix that are solved together.
struct Block<'m> {
    matrix: &'m Sparse,
    from: usize,
    y: &'m [f32],
    gram: &'m [f32],
    params: &'m Params,
}

impl<'m> Block<'m> {
    fn new(matrix: &'m Sparse, from: usize, y: &'m [f32], gram: &'m [f32], params: &'m Params) -> Self {
        Self { matrix, from, y, gram, params }
    }

    fn solve(&self, x: &mut [f32]) {
        let width = self.params.factors;
        let mut moved = vec![0.0; x.len()];
        times(x, self.gram, width, &mut moved);
        // What is left: b − A x.
        let mut rest: Vec<f32> = moved.iter().map(|x| -x).collect();
        for (at, (rest, x)) in rest.chunks_exact_mut(width).zip(x.chunks_exact(width)).enumerate() {
            for (y, confidence) in self.entries(at) {
                add(rest, 1.0 + confidence - confidence * dot(y, x), y);
            }
        }
        let mut way = rest.clone();
        let mut lengths: Vec<f32> = rest.chunks_exact(width).map(|rest| dot(rest, rest)).collect();
        for _ in 0..self.params.steps {
            times(&way, self.gram, width, &mut moved);
            for (at, length) in lengths.iter_mut().enumerate() {
                let range = at * width..(at + 1) * width;
                let (way, moved) = (&mut way[range.clone()], &mut moved[range.clone()]);
                let (x, rest) = (&mut x[range.clone()], &mut rest[range]);
                self.entries(at).for_each(|(y, confidence)| add(moved, confidence * dot(y, way), y));
                let along = dot(way, moved);
                if *length < 1e-20 || along <= 0.0 {
                    continue;
                }
                let step = *length / along;
                add(x, step, way);
                add(rest, -step, moved);
                let shorter = dot(rest, rest);
                let keep = shorter / *length;
                way.iter_mut().zip(&*rest).for_each(|(way, rest)| *way = rest + keep * *way);
                *length = shorter;
            }
        }
    }

    /// The vectors of a row's entries, each with α r.
    fn entries(&self, at: usize) -> impl Iterator<Item = (&'m [f32], f32)> + use<'m> {
        let (y, width, alpha) = (self.y, self.params.factors, self.params.alpha);
        self.matrix
            .row(self.from + at)
            .map(move |(column, r)| (&y[column * width..(column + 1) * width], alpha * r))
    }
}

/// Rows times a square matrix.
fn times(rows: &[f32], square: &[f32], width: usize, out: &mut [f32]) {
    for (rows, out) in rows.chunks(TALL * width).zip(out.chunks_mut(TALL * width)) {
        let tall = rows.len() / width;
        for from in (0..width).step_by(TILE) {
            let mut sums = [[0.0_f32; TILE]; TALL];
            if tall == TALL {
                let (a, rest) = rows.split_at(width);
                let (b, rest) = rest.split_at(width);
                let (c, d) = rest.split_at(width);
                let columns = a.iter().zip(b).zip(c.iter().zip(d));
                for (((a, b), (c, d)), square) in columns.zip(square.chunks_exact(width)) {
                    let tile: &[f32; TILE] = square[from..from + TILE].try_into().unwrap_or(&[0.0; TILE]);
                    for (sums, x) in sums.iter_mut().zip([a, b, c, d]) {
                        sums.iter_mut().zip(tile).for_each(|(sum, y)| *sum += x * y);
                    }
                }
            } else {
                for (sums, row) in sums.iter_mut().zip(rows.chunks_exact(width)) {
                    for (x, square) in row.iter().zip(square.chunks_exact(width)) {
                        sums.iter_mut().zip(&square[from..from + TILE]).for_each(|(sum, y)| *sum += x * y);
                    }
                }
            }
            for (out, sums) in out.chunks_exact_mut(width).zip(&sums) {
                out[from..from + TILE].copy_from_slice(sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::tastes, *};
    use crate::cholesky;

    fn loss(matrix: &Sparse, factors: &Factors, params: &Params) -> f64 {
        let width = params.factors;
        let vector = |of: &[f32], at: usize| -> Vec<f64> {
            of[at * width..(at + 1) * width].iter().map(|x| f64::from(*x)).collect()
        };
        let square = |of: &[f32]| of.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let mut loss = f64::from(params.l2) * (square(&factors.rows) + square(&factors.columns));
        for row in 0..matrix.rows() {
            let (x, known): (_, Vec<_>) = (vector(&factors.rows, row), matrix.row(row).collect());
            for column in 0..matrix.width {
                let y = vector(&factors.columns, column);
                let score: f64 = x.iter().zip(y).map(|(a, b)| a * b).sum();
                let r = known.iter().find(|(at, _)| *at == column).map(|(_, r)| f64::from(*r));
                let confidence = 1.0 + f64::from(params.alpha) * r.unwrap_or(0.0);
                loss += confidence * (f64::from(u8::from(r.is_some())) - score).powi(2);
            }
        }
        loss
    }

    #[test]
    fn every_iteration_lowers_what_is_minimised() {
        let matrix = tastes(90, 24, 3);
        let params = |iterations| Params { factors: 16, iterations, ..Params::default() };
        let losses: Vec<f64> =
            (1..6).map(|n| loss(&matrix, &fit(&matrix, &params(n), 7), &params(n))).collect();
        assert!(losses.windows(2).all(|pair| pair[1] < pair[0]), "{losses:?}");
    }

    #[test]
    fn many_steps_end_where_cholesky_does() {
        let matrix = tastes(70, 24, 5);
        let params = Params { factors: 16, iterations: 2, steps: 60, ..Params::default() };
        let start = fit(&matrix, &params, 1);
        let mut rows = start.rows.clone();
        solve(&matrix, &start.columns, &mut rows, &params);
        let gram = gram(&start.columns, 16, params.l2);
        for at in [0, 33, 69] {
            let mut left: Vec<f64> = gram.iter().map(|x| f64::from(*x)).collect();
            let mut right = vec![0.0; 16];
            for (column, r) in matrix.row(at) {
                let y = &start.columns[column * 16..(column + 1) * 16];
                for i in 0..16 {
                    right[i] += f64::from((1.0 + params.alpha * r) * y[i]);
                    for j in 0..16 {
                        left[i * 16 + j] += f64::from(params.alpha * r * y[i] * y[j]);
                    }
                }
            }
            let exact = cholesky::solve(&mut left, right);
            let ours = &rows[at * 16..(at + 1) * 16];
            assert!(
                ours.iter().zip(&exact).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-4),
                "{ours:?} {exact:?}"
            );
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let (matrix, params) =
            (tastes(300, 40, 9), Params { factors: 32, iterations: 3, ..Params::default() });
        let on = |threads| threads::allow(threads, || fit(&matrix, &params, 2));
        assert_eq!(on(1), on(3));
    }

    #[test]
    fn members_of_a_taste_are_told_apart() {
        let (matrix, params) = (tastes(200, 40, 4), Params { factors: 16, ..Params::default() });
        let found = fit(&matrix, &params, 2);
        let score = |member: usize, item: usize| {
            dot(&found.rows[member * 16..(member + 1) * 16], &found.columns[item * 16..(item + 1) * 16])
        };
        let sum = |member, items: std::ops::Range<usize>| items.map(|item| score(member, item)).sum::<f32>();
        let right =
            (0..200).filter(|member| (sum(*member, 0..20) > sum(*member, 20..40)) == (member % 2 == 0));
        assert!(right.count() > 195);
    }
}
