//! Ensembles of decision trees.
//!
//! A node is two words: the threshold's bits, and `child << 16 | NAN_LEFT | feature`. `child` is the left child's place
//! within its tree, somewhere after the node itself; the right child follows it. A row goes right where x is above the
//! threshold, and, unless the node says `NAN_LEFT`, where x is NaN. A leaf's threshold is a NaN whose low 22 bits are
//! the leaf's number, and its child is itself, so that walking on stays there: every walk takes as many steps as the
//! deepest leaf needs, without a branch, and eight walks go side by side. Nodes may share their children, which is how
//! tests for equality and membership are written.
//!
//! Sums are kept in 64 bits and run over the trees in their order, whatever the number of rows.

use alloc::vec::Vec;

use self::walk::{FEATURE, LANES, LEAF_NUMBER, NAN_LEFT, Nodes};
use crate::{
    engine::{
        plan::{Check, Operand, size},
        run::Run,
    },
    error::{Result, bail},
};

// 3 KB of a download, for many rows at a time, which come on servers.
#[cfg(not(target_arch = "wasm32"))]
mod marks;
#[cfg(test)]
mod tests;
mod walk;

/// Sums kept at a time, on the stack.
const SUMS: usize = 512;
const NAN: u32 = 0x7fc0_0000;

/// The most features that a node can name, nodes that a tree can have, and leaves of an ensemble.
#[cfg(feature = "onnx")]
pub(crate) const MAX_TREE: [usize; 3] = [1 << 15, 1 << 16, 1 << 22];

/// How the leaves that a row reaches become one score per target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Sum,
    Average,
    /// Of no leaf: 0. In a leaf with a value per target, NaN says that it has none for that target.
    Min,
    /// Likewise.
    Max,
}

crate::wire::variants!(Aggregate { Sum, Average, Min, Max });

/// `[repeat, features]` → `[repeat, targets]`: the aggregate over the trees, in their order, plus the base value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trees {
    pub(crate) x: u32,
    pub(crate) out: u32,
    /// Rows within each row, one after the other; 1 unless the model's own batch axis has a fixed size.
    pub(crate) repeat: u32,
    pub(crate) features: u32,
    pub(crate) targets: u32,
    pub(crate) aggregate: Aggregate,
    /// Offset of the first tree's root in words; the trees follow each other.
    pub(crate) nodes: u32,
    pub(crate) trees: Vec<Tree>,
    /// Whether a leaf has a value for each target, instead of one for its tree's target.
    pub(crate) wide: bool,
    /// Offset of the leaves' values, by leaf number.
    pub(crate) leaves: u32,
    pub(crate) leaf_count: u32,
    /// Offset of `targets` base values.
    pub(crate) base: u32,
}

crate::wire::fields!(Trees {
    x,
    out,
    repeat,
    features,
    targets,
    aggregate,
    nodes,
    trees,
    wide,
    leaves,
    leaf_count,
    base
});

/// One tree of an ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) nodes: u32,
    /// How many steps reach every leaf.
    pub(crate) depth: u32,
    /// What its leaves add to, where a leaf has one value.
    pub(crate) target: u32,
}

crate::wire::fields!(Tree { nodes, depth, target });

/// A node that sends rows with x ≤ `threshold`, which is not NaN, to `child` and the others to the node after it.
#[cfg(any(test, feature = "onnx"))]
pub(crate) fn branch(feature: u32, threshold: f32, child: u32, nan_left: bool) -> [u32; 2] {
    [threshold.to_bits(), child << 16 | if nan_left { NAN_LEFT } else { 0 } | feature]
}

/// The leaf of that number, at `place` in its tree.
#[cfg(any(test, feature = "onnx"))]
pub(crate) fn leaf(number: u32, place: u32) -> [u32; 2] {
    [NAN | number, place << 16 | NAN_LEFT]
}

/// The number of a leaf; `None` for other nodes.
#[cfg(feature = "onnx")]
pub(crate) fn leaf_number([threshold, _]: [u32; 2]) -> Option<u32> {
    f32::from_bits(threshold).is_nan().then_some(threshold & LEAF_NUMBER)
}

impl Trees {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let (features, targets) = (self.features as usize, self.targets as usize);
        if features == 0 || targets == 0 {
            bail!(InvalidModel, "the trees of the plan have {features} features and {targets} targets");
        }
        check.reads(Operand::Slot(self.x), size("tree", &[self.repeat, self.features])?)?;
        check.distinct(self.out, &[Operand::Slot(self.x)])?;
        check.constants(self.base, targets)?;
        let width = if self.wide { self.targets } else { 1 };
        check.constants(self.leaves, size("tree", &[self.leaf_count, width])?)?;
        check.writes(self.out, size("tree", &[self.repeat, self.targets])?)?;
        let start = self.nodes as usize;
        let Some(words) = check.words.get(start..).filter(|_| start >= check.words_used) else {
            bail!(InvalidModel, "the plan has no words from {start} on that are not another kernel's");
        };
        let (mut rest, mut work) = (words.as_chunks().0, 0);
        for tree in &self.trees {
            let Some((nodes, after)) = rest.split_at_checked(tree.nodes as usize) else {
                bail!(InvalidModel, "the plan ends within a tree");
            };
            let depth = self.depth(nodes)?;
            if depth != tree.depth || (!self.wide && tree.target >= self.targets) {
                bail!(
                    InvalidModel,
                    "a tree of the plan is {depth} deep, not {}, or has no target",
                    tree.depth
                );
            }
            rest = after;
            // Every tree is walked again for each part of the targets.
            let walks = targets.div_ceil(SUMS / LANES) as u64;
            work += u64::from(depth + 1) * walks + u64::from(width);
        }
        check.words_used = start + words.len() - 2 * rest.len();
        Ok((work + targets as u64).saturating_mul(u64::from(self.repeat)))
    }

    /// How many steps reach every leaf. Children lie behind their parents, so one pass from the end knows.
    pub(crate) fn depth(&self, nodes: &[[u32; 2]]) -> Result<u32> {
        let mut depths = alloc::vec![0_u32; nodes.len()];
        for (place, [threshold, link]) in nodes.iter().enumerate().rev() {
            let child = (link >> 16) as usize;
            let sound = if f32::from_bits(*threshold).is_nan() {
                child == place && link & NAN_LEFT != 0 && threshold & LEAF_NUMBER < self.leaf_count
            } else if let (true, Some([left, right])) = (child > place, depths.get(child..child + 2)) {
                let depth = 1 + left.max(right);
                depths.get_mut(place).into_iter().for_each(|place| *place = depth);
                true
            } else {
                false
            };
            if !sound || link & FEATURE >= self.features {
                bail!(InvalidModel, "node {place} of a tree of the plan reaches out of its bounds");
            }
        }
        match depths.first() {
            Some(depth) => Ok(*depth),
            None => bail!(InvalidModel, "a tree of the plan has no nodes"),
        }
    }

    /// Floats for a row beside those that it has: its values, column by column.
    pub(crate) fn scratch(&self) -> usize {
        if cfg!(target_arch = "wasm32") { 0 } else { self.repeat as usize * self.features as usize }
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let mut buffer = run.take(self.out);
        #[cfg(not(target_arch = "wasm32"))]
        let mut scratch = run.take(run.scratch());
        let (features, targets) = (self.features as usize, self.targets as usize);
        let xs = run.slot(self.x, self.repeat as usize * features);
        let width = if self.wide { self.targets } else { 1 };
        let ensemble = Ensemble {
            trees: self,
            nodes: run.words.get(self.nodes as usize..).unwrap_or_default().as_chunks().0,
            leaves: run.constants(self.leaves, (self.leaf_count * width) as usize),
            base: run.constants(self.base, targets),
        };
        let start = if ensemble.sums() { 0.0 } else { f64::NAN };
        let nans = xs.iter().fold(false, |nans, x| nans | x.is_nan());
        let out = &mut buffer[..];
        #[cfg(not(target_arch = "wasm32"))]
        let (xs, out) = ensemble.columns(xs, out, &mut scratch);
        for first in (0..targets).step_by(SUMS / LANES) {
            let part = Part { first, len: (targets - first).min(SUMS / LANES) };
            let rows = SUMS / part.len / LANES * LANES;
            if xs.len() == features {
                ensemble.block(xs, out, part, nans, &mut [start; SUMS / LANES]);
                continue;
            }
            for (xs, out) in xs.chunks(rows * features).zip(out.chunks_mut(rows * targets)) {
                ensemble.block(xs, out, part, nans, &mut [start; SUMS]);
            }
        }
        run.put(self.out, buffer);
        #[cfg(not(target_arch = "wasm32"))]
        run.put(run.scratch(), scratch);
    }
}

/// The targets that are summed at a time.
#[derive(Clone, Copy)]
struct Part {
    first: usize,
    len: usize,
}

struct Ensemble<'r> {
    trees: &'r Trees,
    nodes: Nodes<'r>,
    leaves: &'r [f32],
    base: &'r [f32],
}

impl<'r> Ensemble<'r> {
    /// Scores rows. `nans` says whether a value may be NaN; `sums` are enough for all rows and are at their start.
    fn block(&self, xs: &[f32], out: &mut [f32], part: Part, nans: bool, sums: &mut [f64]) {
        let features = self.trees.features as usize;
        let groups = xs.chunks_exact(LANES * features);
        let single = groups.remainder();
        let (together, alone) = sums.split_at_mut((xs.len() - single.len()) / features * part.len);
        if !together.is_empty() {
            self.each_tree(|tree, nodes| {
                for (xs, sums) in groups.clone().zip(together.chunks_exact_mut(LANES * part.len)) {
                    let leaves = walk::rows(nodes, xs, tree.depth, nans);
                    self.add_rows(tree, &leaves, part, sums);
                }
            });
        }
        for (xs, sums) in single.chunks_exact(features).zip(alone.chunks_exact_mut(part.len)) {
            self.row(xs, part, sums, nans);
        }
        let rows = xs.chunks_exact(features).zip(out.chunks_exact_mut(self.trees.targets as usize));
        for ((_, out), sums) in rows.zip(sums.chunks_exact(part.len)) {
            self.finish(out, sums, part);
        }
    }

    /// One row, through several trees at a time.
    fn row(&self, xs: &[f32], part: Part, sums: &mut [f64], nans: bool) {
        let mut rest = self.nodes;
        for trees in self.trees.trees.chunks(LANES) {
            let mut nodes: [Nodes<'_>; LANES] = [&[]; LANES];
            let mut depth = 0;
            for (nodes, tree) in nodes.iter_mut().zip(trees) {
                (*nodes, rest) = rest.split_at_checked(tree.nodes as usize).unwrap_or_default();
                depth = tree.depth.max(depth);
            }
            let leaves = walk::trees(&nodes, xs, depth, nans);
            self.add_trees(trees, &leaves, part, sums);
        }
    }

    fn each_tree(&self, mut visit: impl FnMut(&Tree, Nodes<'r>)) {
        let mut rest = self.nodes;
        for tree in &self.trees.trees {
            let (nodes, after) = rest.split_at_checked(tree.nodes as usize).unwrap_or_default();
            visit(tree, nodes);
            rest = after;
        }
    }

    /// Adds the leaves that several rows reach to their sums.
    fn add_rows(&self, tree: &Tree, leaves: &[u32], part: Part, sums: &mut [f64]) {
        for (leaf, sums) in leaves.iter().zip(sums.chunks_exact_mut(part.len)) {
            self.add(tree, *leaf, part, sums);
        }
    }

    /// Adds the leaves of several trees to a row's sums.
    fn add_trees(&self, trees: &[Tree], leaves: &[u32], part: Part, sums: &mut [f64]) {
        for (tree, leaf) in trees.iter().zip(leaves) {
            self.add(tree, *leaf, part, sums);
        }
    }

    /// Adds a leaf's value, or values, to a row's sums.
    #[inline(always)]
    fn add(&self, tree: &Tree, leaf: u32, part: Part, sums: &mut [f64]) {
        if self.trees.wide {
            let first = leaf as usize * self.trees.targets as usize + part.first;
            let values = self.leaves.get(first..first + part.len).unwrap_or_default();
            sums.iter_mut().zip(values).for_each(|(sum, value)| self.join(sum, *value));
        } else if let (Some(sum), Some(value)) =
            (sums.get_mut((tree.target as usize).wrapping_sub(part.first)), self.leaves.get(leaf as usize))
        {
            self.join(sum, *value);
        }
    }

    #[inline(always)]
    fn join(&self, sum: &mut f64, value: f32) {
        let value = f64::from(value);
        match self.trees.aggregate {
            Aggregate::Sum | Aggregate::Average => *sum += value,
            Aggregate::Min if value < *sum || sum.is_nan() => *sum = value,
            Aggregate::Max if value > *sum || sum.is_nan() => *sum = value,
            Aggregate::Min | Aggregate::Max => (),
        }
    }

    /// Writes a row's scores.
    fn finish(&self, out: &mut [f32], sums: &[f64], part: Part) {
        for ((out, base), sum) in out.iter_mut().zip(self.base).skip(part.first).zip(sums) {
            *out = self.score(*sum, *base);
        }
    }

    fn score(&self, sum: f64, base: f32) -> f32 {
        let divisor = if self.trees.aggregate == Aggregate::Average { self.trees.trees.len() } else { 1 };
        let sum = if sum.is_nan() && !self.sums() { 0.0 } else { sum };
        (sum / divisor.max(1) as f64 + f64::from(base)) as f32
    }

    fn sums(&self) -> bool {
        matches!(self.trees.aggregate, Aggregate::Sum | Aggregate::Average)
    }
}
