//! Small trees without walking: every branch strikes out the leaves on the side that a row does not take, for many rows
//! side by side, and the leaf that is left is the one that a walk reaches.
//!
//! After QuickScorer (Lucchese et al., 2015), which strikes on one side only and so needs leaves in order. There is no
//! branch of the program and no lookup that depends on a row, so registers of any width are full.

// Only arrays, by places that are taken modulo their lengths.
#![allow(clippy::indexing_slicing)]

use super::{
    Ensemble,
    walk::{self, FEATURE, LANES, LEAF_NUMBER, NAN_LEFT, Nodes},
};
use crate::engine::wide::{self, Loop};

/// Rows are taken by so many.
const ROWS: usize = 16;
/// Sums kept at a time, on the stack: five targets of 128 rows.
const SUMS: usize = 640;
/// The most leaves of a tree, one bit each.
const LEAVES: usize = 32;

impl Ensemble<'_> {
    /// Scores the rows that go side by side, column by column; gives the rest, and the room for its scores.
    pub(super) fn columns<'x>(
        &self,
        xs: &'x [f32],
        out: &'x mut [f32],
        scratch: &mut [f32],
    ) -> (&'x [f32], &'x mut [f32]) {
        let (features, targets) = (self.trees.features as usize, self.trees.targets as usize);
        let whole = |rows: usize| rows / ROWS * ROWS;
        let (all, most) = (whole(xs.len() / features), whole(SUMS / targets));
        // Measured with AVX-512: a value takes up to 1.7 ns to be turned, and a tree of eight leaves saves a row 5 ns.
        let is_worth_it = self.trees.trees.len() * 3 >= features;
        let can = most > 0 && !self.trees.wide && self.sums() && scratch.len() >= most.min(all) * features;
        if !(can && is_worth_it) {
            return (xs, out);
        }
        let ((xs, xs_rest), (out, out_rest)) = (xs.split_at(all * features), out.split_at_mut(all * targets));
        for (xs, out) in xs.chunks(most * features).zip(out.chunks_mut(most * targets)) {
            let rows = xs.len() / features;
            for (row, xs) in xs.chunks_exact(features).enumerate() {
                scratch.iter_mut().skip(row).step_by(rows).zip(xs).for_each(|(to, x)| *to = *x);
            }
            let (mut sums, mut marks) = ([0.0; SUMS], Marks::default());
            self.each_tree(|tree, nodes| {
                let sums = sums.chunks_exact_mut(rows).nth(tree.target as usize).unwrap_or_default();
                if marks.read(nodes, |leaf| self.value(leaf)) {
                    return marks.add(scratch, sums);
                }
                for (xs, sums) in xs.chunks_exact(LANES * features).zip(sums.chunks_exact_mut(LANES)) {
                    let leaves = walk::rows(nodes, xs, tree.depth, true);
                    sums.iter_mut().zip(leaves).for_each(|(sum, leaf)| *sum += f64::from(self.value(leaf)));
                }
            });
            for ((target, base), sums) in self.base.iter().enumerate().zip(sums.chunks_exact(rows)) {
                let places = out.iter_mut().skip(target).step_by(targets);
                places.zip(sums).for_each(|(out, sum)| *out = self.score(*sum, *base));
            }
        }
        (xs_rest, out_rest)
    }

    /// What a leaf adds, where it has one value.
    fn value(&self, leaf: u32) -> f32 {
        self.leaves.get((leaf & LEAF_NUMBER) as usize).copied().unwrap_or_default()
    }
}

/// A tree whose leaves are bits.
struct Marks {
    branches: [Branch; LEAVES - 1],
    count: usize,
    /// What each leaf adds.
    values: [f64; LEAVES],
}

#[derive(Clone, Copy, Default)]
struct Branch {
    feature: usize,
    threshold: f32,
    nan_left: bool,
    /// The leaves that are left of a row that goes left, and of one that goes right.
    left: u32,
    right: u32,
}

impl Default for Marks {
    fn default() -> Self {
        Self { branches: [Branch::default(); LEAVES - 1], count: 0, values: [0.0; LEAVES] }
    }
}

impl Marks {
    /// Becomes a tree; `false` for one with more leaves, and where nodes share their children or are reached by no row.
    fn read(&mut self, nodes: Nodes<'_>, leaf_value: impl Fn(u32) -> f32) -> bool {
        self.count = nodes.len() / 2;
        if self.count >= LEAVES || nodes.len().is_multiple_of(2) {
            return false;
        }
        let (mut below, mut leaves, mut branches) = ([0_u32; 2 * LEAVES], 0, self.branches.iter_mut());
        // Children lie behind their parents.
        for (place, [threshold, link]) in nodes.iter().enumerate().rev() {
            let threshold = f32::from_bits(*threshold);
            below[place % (2 * LEAVES)] = if threshold.is_nan() {
                self.values[leaves % LEAVES] = f64::from(leaf_value(threshold.to_bits()));
                leaves += 1;
                1_u32.wrapping_shl(leaves as u32 - 1)
            } else {
                let child = (link >> 16) as usize;
                let (left, right) = (below[child % (2 * LEAVES)], below[(child + 1) % (2 * LEAVES)]);
                let Some(branch) = branches.next().filter(|_| left & right == 0) else { return false };
                let (feature, nan_left) = ((link & FEATURE) as usize, link & NAN_LEFT != 0);
                *branch = Branch { feature, threshold, nan_left, left: !right, right: !left };
                left | right
            };
        }
        leaves == self.count + 1 && below[0].count_ones() as usize == leaves
    }

    /// Adds what rows reach to their sums. `columns` holds a value of each of the rows, feature by feature.
    fn add(&self, columns: &[f32], sums: &mut [f64]) {
        wide::run(Strike { tree: self, columns, sums });
    }
}

struct Strike<'s> {
    tree: &'s Marks,
    columns: &'s [f32],
    sums: &'s mut [f64],
}

impl Loop for Strike<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(mut self) {
        // As many rows as leave their marks in registers.
        let done = match LANES {
            16 => self.rows::<64>(0),
            8 => self.rows::<32>(0),
            _ => 0,
        };
        self.rows::<ROWS>(done);
    }
}

impl Strike<'_> {
    /// `N` rows at a time, from the first on; returns the first that is left.
    #[inline(always)]
    fn rows<const N: usize>(&mut self, first: usize) -> usize {
        let stride = self.sums.len();
        let branches = self.tree.branches.get(..self.tree.count).unwrap_or_default();
        let mut row = first;
        for sums in self.sums.get_mut(first..).unwrap_or_default().as_chunks_mut::<N>().0 {
            let mut marks = [u32::MAX; N];
            for branch in branches {
                let Branch { threshold, left, right, .. } = *branch;
                let column = self.columns.get(branch.feature * stride + row..).unwrap_or_default();
                let Some(xs) = column.first_chunk::<N>() else { continue };
                // A comparison with NaN is false.
                if branch.nan_left {
                    marks
                        .iter_mut()
                        .zip(xs)
                        .for_each(|(m, x)| *m &= if *x > threshold { right } else { left });
                } else {
                    marks
                        .iter_mut()
                        .zip(xs)
                        .for_each(|(m, x)| *m &= if *x <= threshold { left } else { right });
                }
            }
            for (sum, marks) in sums.iter_mut().zip(marks) {
                *sum += self.tree.values[marks.trailing_zeros() as usize % LEAVES];
            }
            row += N;
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::{
        super::{branch, leaf},
        *,
    };

    /// A tree of so many leaves, in which each branch has a leaf at its left.
    fn comb(leaves: u32) -> Vec<[u32; 2]> {
        let mut nodes = Vec::new();
        for i in 0..leaves - 1 {
            nodes.push(branch(i % 3, i as f32 / 8.0 - 1.0, 2 * i + 1, i % 2 == 0));
            nodes.push(leaf(i, 2 * i + 1));
        }
        nodes.push(leaf(leaves - 1, 2 * leaves - 2));
        nodes
    }

    #[test]
    fn the_leaf_that_is_left_is_the_one_that_a_walk_reaches_whatever_the_width() {
        let rows = 5 * ROWS;
        let number = |at: usize| if at % 11 == 4 { f32::NAN } else { (at * 37 % 101) as f32 / 20.0 - 1.2 };
        let columns: Vec<f32> = (0..3 * rows).map(number).collect();
        let xs: Vec<f32> = (0..3 * rows).map(|at| columns[at % 3 * rows + at / 3]).collect();
        for leaves in 1..=LEAVES as u32 {
            let (nodes, mut marks) = (comb(leaves), Marks::default());
            assert!(marks.read(&nodes, |leaf| (leaf & walk::LEAF_NUMBER) as f32), "{leaves} leaves");
            let by_walk = xs.chunks(3 * walk::LANES).flat_map(|xs| walk::rows(&nodes, xs, leaves - 1, true));
            let expected: Vec<f64> = by_walk.map(|leaf| 0.5 + f64::from(leaf)).collect();
            let mut sums = [(); 3].map(|()| vec![0.5; rows]);
            let [narrow, middle, wide] = &mut sums;
            Strike { tree: &marks, columns: &columns, sums: narrow }.run::<4>();
            Strike { tree: &marks, columns: &columns, sums: middle }.run::<8>();
            Strike { tree: &marks, columns: &columns, sums: wide }.run::<16>();
            assert!(sums.iter().all(|sums| *sums == expected), "{leaves} leaves: {sums:?}, not {expected:?}");
        }
    }

    #[test]
    fn what_is_no_small_tree_is_left_to_walks() {
        let is_read = |nodes: &[[u32; 2]]| Marks::default().read(nodes, |_| 1.0);
        assert!(!is_read(&comb(LEAVES as u32 + 1)));
        assert!(!is_read(&[]));
        let of = |child| branch(0, 0.0, child, false);
        assert!(is_read(&[of(1), of(3), leaf(0, 2), leaf(1, 3), leaf(2, 4)]));
        let shares_children = [of(1), of(3), of(3), leaf(0, 3), leaf(1, 4)];
        assert!(!is_read(&shares_children));
        let some_are_reached_by_none = [leaf(0, 0), of(3), of(3), leaf(1, 3), leaf(2, 4)];
        assert!(!is_read(&some_are_reached_by_none));
        assert!(!is_read(&[leaf(0, 0), of(3), leaf(1, 2), leaf(2, 3), leaf(3, 4)]));
        assert!(!is_read(&[leaf(0, 0), of(2), leaf(1, 2), leaf(2, 3)]));
    }
}
