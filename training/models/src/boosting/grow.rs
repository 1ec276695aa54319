//! One tree, grown leaf by leaf: the leaf whose split gains most is parted next (Ke et al. 2017).

use std::ops::Range;

use super::{Params, bins::Column};
use crate::{Node, mix};

/// A split must gain more than this, which rounding errors do not reach.
const LEAST_GAIN: f64 = 1e-6;
/// Sums of second derivatives up to this are what subtraction leaves of nothing.
const NOTHING: f64 = 1e-9;

/// Columns whose sums are made at the same time.
const ABREAST: usize = 4;

/// Sums of first and second derivatives.
type Sums = [f64; 2];

/// What growing a tree needs, kept from tree to tree.
pub(super) struct Grower<'b> {
    params: &'b Params,
    columns: &'b [Column],
    /// The inputs that the tree may test.
    open: Vec<usize>,
    /// Each row's derivatives.
    slopes: Vec<Sums>,
    /// Rows, those of a leaf together and rising.
    order: Vec<u32>,
    leaves: Vec<Leaf>,
    /// Rows on their way to the right, and the derivatives of a leaf's rows, one after the other.
    right: Vec<u32>,
    gathered: Vec<Sums>,
}

/// A leaf while the tree grows.
struct Leaf {
    node: usize,
    depth: u32,
    /// Its rows' places in the order.
    rows: Range<usize>,
    total: Sums,
    /// By bin; none where the leaf stays as it is.
    histogram: Vec<Sums>,
    split: Option<Split>,
    value: f32,
}

/// How a leaf would be parted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Split {
    gain: f64,
    input: usize,
    /// The last bin on the left.
    bin: usize,
    /// None where the rows that lack a value weigh nothing, if there are any.
    missing_left: Option<bool>,
    left: Sums,
}

impl<'b> Grower<'b> {
    pub(super) fn new(params: &'b Params, columns: &'b [Column], rows: usize) -> Self {
        Self {
            params,
            columns,
            open: Vec::new(),
            slopes: vec![[0.0; 2]; rows],
            order: Vec::with_capacity(rows),
            leaves: Vec::new(),
            right: Vec::with_capacity(rows),
            gathered: Vec::with_capacity(rows),
        }
    }

    /// Grows a tree to the rows' first and second derivatives; the seed draws the inputs that it may test.
    pub(super) fn grow(&mut self, seed: u64, slope: impl Fn(usize) -> Sums) -> Vec<Node> {
        self.slopes.iter_mut().enumerate().for_each(|(row, sums)| *sums = slope(row));
        self.draw(seed);
        self.order.clear();
        self.order.extend(0..self.slopes.len() as u32);
        let total = self.slopes.iter().fold([0.0; 2], |sum, slope| add(sum, *slope));
        let rows = 0..self.order.len();
        let histogram = self.histogram(rows.clone());
        self.leaves = vec![self.leaf(0, 0, rows, total, histogram)];
        let mut nodes = vec![Node::Leaf(0.0)];
        while self.leaves.len() < self.params.leaves {
            let gain = |leaf: &Leaf| leaf.split.map_or(0.0, |split| split.gain);
            let next = (0..self.leaves.len())
                .rev()
                .max_by(|a, b| gain(&self.leaves[*a]).total_cmp(&gain(&self.leaves[*b])));
            let Some((at, split)) = next.and_then(|at| Some((at, self.leaves[at].split?))) else { break };
            self.part(at, split, &mut nodes);
        }
        for leaf in &mut self.leaves {
            leaf.value = (-self.params.rate * leaf.total[0] / (leaf.total[1] + self.params.l2)) as f32;
            nodes[leaf.node] = Node::Leaf(leaf.value);
        }
        nodes
    }

    /// Draws the inputs that a tree may test.
    fn draw(&mut self, seed: u64) {
        let some = (self.params.inputs * self.columns.len() as f64).ceil() as usize;
        self.open.clear();
        self.open.extend(0..self.columns.len());
        self.open.sort_by_key(|input| mix(seed ^ *input as u64));
        self.open.truncate(some);
        self.open.sort_unstable();
    }

    /// Each training row with what the tree grown last says of it.
    pub(super) fn leaves(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        let rows = |leaf: &Leaf| self.order[leaf.rows.clone()].iter().zip(std::iter::repeat(leaf.value));
        self.leaves.iter().flat_map(rows).map(|(row, value)| (*row as usize, value))
    }

    /// Parts a leaf into two.
    fn part(&mut self, at: usize, split: Split, nodes: &mut Vec<Node>) {
        let leaf = &mut self.leaves[at];
        let (rows, depth, parent) = (leaf.rows.clone(), leaf.depth + 1, std::mem::take(&mut leaf.histogram));
        let (left, right) = (split.left, subtract(leaf.total, split.left));
        let (node, child) = (leaf.node, nodes.len());
        let column = &self.columns[split.input];
        let is_missing = |row: &u32| usize::from(column.codes[*row as usize]) == column.bins();
        let lacks = || column.lacks && self.order[rows.clone()].iter().any(is_missing);
        // Missing values that weigh nothing make no split of two sides; their rows go right all the same.
        let missing_left = split.missing_left.or_else(|| lacks().then_some(false));
        let middle = self.partition(rows.clone(), split);
        let (near, far) = (rows.start..middle, middle..rows.end);
        nodes[node] = Node::Branch {
            input: split.input as u32,
            // Where only missing values go right, every number goes left.
            at_most: self.columns[split.input].cuts.get(split.bin).copied().unwrap_or(f32::INFINITY),
            // Where none is missing in training, later ones go with most rows.
            missing_left: missing_left.unwrap_or(near.len() >= far.len()),
            left: child as u32,
            right: child as u32 + 1,
        };
        nodes.extend([Node::Leaf(0.0); 2]);
        let grows = self.leaves.len() + 1 < self.params.leaves && depth < self.params.depth;
        let [near_histogram, far_histogram] =
            if grows { self.children(&near, &far, parent) } else { Default::default() };
        self.leaves[at] = self.leaf(child, depth, near, left, near_histogram);
        self.leaves.push(self.leaf(child + 1, depth, far, right, far_histogram));
    }

    /// A leaf, with its best split if it has a histogram.
    fn leaf(&self, node: usize, depth: u32, rows: Range<usize>, total: Sums, histogram: Vec<Sums>) -> Leaf {
        let split = if histogram.is_empty() { None } else { self.best(&histogram, total) };
        Leaf { node, depth, rows, total, histogram, split, value: 0.0 }
    }

    /// Puts the rows that go left first, and gives where the others start. Both keep their order.
    fn partition(&mut self, rows: Range<usize>, split: Split) -> usize {
        let column = &self.columns[split.input];
        // By code: a table has no branch to be guessed wrong.
        let mut goes_left = [false; 256];
        goes_left[..=split.bin].fill(true);
        goes_left[column.bins()] = split.missing_left == Some(true);
        let (mut end, mut beyond) = (rows.start, 0);
        self.right.resize(self.order.len(), 0);
        for at in rows.clone() {
            let row = self.order[at];
            let left = goes_left[usize::from(column.codes[row as usize])];
            // Written to both sides; what does not belong there is written over.
            self.order[end] = row;
            self.right[beyond] = row;
            end += usize::from(left);
            beyond += usize::from(!left);
        }
        self.order[end..rows.end].copy_from_slice(&self.right[..beyond]);
        end
    }

    /// Both children's histograms: the smaller one is summed, the other one is what it leaves of the parent's.
    fn children(
        &mut self,
        left: &Range<usize>,
        right: &Range<usize>,
        mut parent: Vec<Sums>,
    ) -> [Vec<Sums>; 2] {
        let left_is_smaller = left.len() <= right.len();
        let smaller = self.histogram(if left_is_smaller { left.clone() } else { right.clone() });
        parent.iter_mut().zip(&smaller).for_each(|(sum, part)| *sum = subtract(*sum, *part));
        if left_is_smaller { [smaller, parent] } else { [parent, smaller] }
    }

    /// Sums of the derivatives of some rows, for each bin of each column.
    fn histogram(&mut self, rows: Range<usize>) -> Vec<Sums> {
        let rows = &self.order[rows];
        self.gathered.clear();
        self.gathered.extend(rows.iter().map(|row| self.slopes[*row as usize]));
        let open: Vec<&Column> = self.open.iter().map(|input| &self.columns[*input]).collect();
        let mut sums = vec![[0.0; 2]; open.iter().map(|column| column.bins() + 1).sum()];
        let mut rest = sums.as_mut_slice();
        for columns in open.chunks(ABREAST) {
            let (mut parts, mut codes) = <([&mut [Sums]; ABREAST], [&[u8]; ABREAST])>::default();
            for ((part, codes), column) in parts.iter_mut().zip(&mut codes).zip(columns) {
                (*part, rest) = rest.split_at_mut(column.bins() + 1);
                *codes = column.codes.as_slice();
            }
            if columns.len() == ABREAST {
                sum(rows, &self.gathered, codes, parts);
            } else {
                let few = codes.into_iter().zip(parts).take(columns.len());
                few.for_each(|(codes, part)| sum(rows, &self.gathered, [codes], [part]));
            }
        }
        sums
    }

    /// The split that gains most; of several, the first.
    fn best(&self, histogram: &[Sums], total: Sums) -> Option<Split> {
        let (mut best, mut rest) = (None, histogram);
        for input in &self.open {
            let (sums, after) = rest.split_at(self.columns[*input].bins() + 1);
            scan(self.params, sums, total, |offer| {
                if best.is_none_or(|best: Split| best.gain < offer.gain) {
                    best = Some(Split { input: *input, ..offer });
                }
            });
            rest = after;
        }
        best
    }
}

/// Adds rows' derivatives to the bins of some columns. Of several at a time the processor need not wait for one's sum to
/// go on with the others'.
fn sum<const N: usize>(rows: &[u32], slopes: &[Sums], codes: [&[u8]; N], mut sums: [&mut [Sums]; N]) {
    for (row, slope) in rows.iter().zip(slopes) {
        for (codes, sums) in codes.iter().zip(&mut sums) {
            let sum = &mut sums[usize::from(codes[*row as usize])];
            *sum = add(*sum, *slope);
        }
    }
}

/// Offers every cut of a column, with the missing values on either side.
fn scan(params: &Params, sums: &[Sums], total: Sums, mut offer: impl FnMut(Split)) {
    let bins = sums.len() - 1;
    let missing = sums[bins];
    let whole = total[0] * total[0] / (total[1] + params.l2);
    let mut part = |bin: usize, left: Sums, missing_left: Option<bool>| {
        let right = subtract(total, left);
        if left[1] >= params.weight && right[1] >= params.weight {
            let gain = 0.5 * (joint(left, right, params.l2) - whole);
            if gain > LEAST_GAIN {
                offer(Split { gain, input: 0, bin, missing_left, left });
            }
        }
    };
    let mut left = [0.0; 2];
    for (bin, sum) in sums[..bins].iter().enumerate() {
        left = add(left, *sum);
        let last = bin + 1 == bins;
        if missing[1] > NOTHING {
            part(bin, left, Some(false));
            if !last {
                part(bin, add(left, missing), Some(true));
            }
        } else if !last {
            part(bin, left, None);
        }
    }
}

/// GL² / (HL + λ) + GR² / (HR + λ), with one division.
fn joint([gl, hl]: Sums, [gr, hr]: Sums, l2: f64) -> f64 {
    let (hl, hr) = (hl + l2, hr + l2);
    (gl * gl * hr + gr * gr * hl) / (hl * hr)
}

fn add(a: Sums, b: Sums) -> Sums {
    [a[0] + b[0], a[1] + b[1]]
}

fn subtract(a: Sums, b: Sums) -> Sums {
    [a[0] - b[0], a[1] - b[1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Tree,
        boosting::{
            bins,
            tests::{number, patchy},
        },
    };

    #[test]
    fn a_row_falls_in_training_where_it_falls_in_the_tree() {
        let mut rows = patchy(1500, 3);
        for (at, x) in [f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MAX, f32::MIN].into_iter().enumerate() {
            rows.plain[at * rows.plain_width] = x;
        }
        let columns = bins::columns(&rows);
        let params = Params { leaves: 40, depth: 12, weight: 0.5, ..Params::default() };
        let mut grower = Grower::new(&params, &columns, rows.len());
        for tree in 0..20 {
            let nodes = grower.grow(mix(tree), |row| [number(row as u64 + 5000 * tree) - 0.5, 0.25]);
            let tree = Tree { tier: 0, nodes };
            assert!(tree.leaves() > 20, "{}", tree.leaves());
            let mut seen = 0;
            for (row, value) in grower.leaves() {
                assert_eq!(tree.value(rows.plain_row(row)).to_bits(), value.to_bits());
                seen += 1;
            }
            assert_eq!(seen, rows.len());
        }
    }

    #[test]
    fn missing_values_without_weight_go_where_the_tree_says() {
        let rows = patchy(1500, 3);
        let columns = bins::columns(&rows);
        let params = Params { leaves: 8, depth: 3, weight: 0.5, ..Params::default() };
        let mut grower = Grower::new(&params, &columns, rows.len());
        // The third input decides, low values are many, and where it is missing the second derivative is next to nothing.
        let nodes = grower.grow(1, |row| match rows.plain_row(row)[2] {
            x if x.is_nan() => [0.0, 1e-13],
            x if x < 0.8 => [-0.2, 0.25],
            _ => [0.9, 0.25],
        });
        assert!(matches!(nodes[0], Node::Branch { input: 2, .. }), "{:?}", nodes[0]);
        let tree = Tree { tier: 0, nodes };
        for (row, value) in grower.leaves() {
            assert_eq!(tree.value(rows.plain_row(row)).to_bits(), value.to_bits(), "row {row}");
        }
    }

    #[test]
    fn what_a_child_leaves_of_its_parent_is_the_other_child() {
        let rows = patchy(900, 3);
        let columns = bins::columns(&rows);
        let params = Params::default();
        let mut grower = Grower::new(&params, &columns, rows.len());
        grower.grow(1, |row| [number(row as u64) - 0.5, 0.25]);
        let parent = grower.histogram(0..900);
        for middle in [100, 450, 800] {
            let found = grower.children(&(0..middle), &(middle..900), parent.clone());
            let summed = [grower.histogram(0..middle), grower.histogram(middle..900)];
            let near = |(a, b): (&Sums, &Sums)| (a[0] - b[0]).abs() < 1e-12 && (a[1] - b[1]).abs() < 1e-12;
            assert!(found.concat().iter().zip(&summed.concat()).all(near));
        }
    }
}
