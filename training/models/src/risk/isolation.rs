//! Isolation forests (Liu, Ting & Zhou 2008): rows that random cuts soon part from all others are odd.
//!
//! A tree is grown on ψ rows drawn without replacement: an input that varies among a node's rows is drawn, and a cut, evenly between
//! its least and its largest value there, until a row is alone, rows do not differ, or the node is ⌈log₂ ψ⌉ deep. A row's path h is the
//! number of cuts on its way, and where it ends beside n − 1 others, c(n) more: what a tree of random data would take
//! to part them. c(n) = 2 H(n − 1) − 2 (n − 1) / n with H(i) ≈ ln i + 0.5772; c(2) = 1, c(1) = 0. A row's score is
//! 2^(−E(h) / c(ψ)) over all trees: near 1 for the odd, about ½ where nothing is.
//!
//! A row that lacks the input of a cut goes where most of the others went: what is missing makes nothing odd. Trees are those of a
//! [`Forest`] with one sum, a leaf's value being its h over the number of trees, so that the sum is E(h) wherever it runs.

use anyhow::ensure;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::Inputs;
use crate::{Forest, Node, Tree, mix, threads};

/// Euler's constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// How a forest is grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Trees; the paper's 100 are enough for the mean, more of them make the order of rows steadier.
    pub trees: usize,
    /// ψ, rows that a tree is grown on, at most; the paper's 256.
    pub sample: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { trees: 400, sample: 256 }
    }
}

/// A fitted isolation forest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Isolation {
    forest: Forest,
    /// c(ψ).
    normal: f64,
}

impl Isolation {
    /// Grows a forest on rows, whatever their labels.
    ///
    /// # Errors
    /// When there are fewer than two rows or no tree.
    pub fn fit(params: &Params, inputs: &Inputs, seed: u64) -> anyhow::Result<Self> {
        let sample = params.sample.min(inputs.len());
        ensure!(sample > 1, "an isolation forest takes two rows or more");
        ensure!(params.trees > 0, "an isolation forest has at least one tree");
        let limit = sample.next_power_of_two().ilog2();
        let trees = threads::map((0..params.trees as u64).collect(), |tree| {
            let mut rng = StdRng::seed_from_u64(mix(seed ^ mix(tree)));
            let rows = rand::seq::index::sample(&mut rng, inputs.len(), sample).into_vec();
            Tree { tier: 0, nodes: grow(inputs, rows, limit, params.trees as f64, &mut rng) }
        });
        let forest = Forest { inputs: inputs.width(), tiers: 1, base: vec![0.0], trees };
        Ok(Self { forest, normal: path(sample) })
    }

    /// The trees, whose one sum is E(h).
    pub fn forest(&self) -> &Forest {
        &self.forest
    }

    /// E(h) of each row.
    pub fn depths(&self, inputs: &Inputs) -> Vec<f64> {
        let blocks = inputs.values().chunks(TOGETHER * inputs.width()).collect();
        let depths = threads::map(blocks, |rows| self.forest.scores(rows));
        depths.into_iter().flatten().map(f64::from).collect()
    }

    /// 2^(−E(h) / c(ψ)) of each row, between 0 and 1.
    pub fn scores(&self, inputs: &Inputs) -> Vec<f64> {
        self.depths(inputs).into_iter().map(|depth| (-depth / self.normal).exp2()).collect()
    }
}

/// Rows that one thread walks together.
const TOGETHER: usize = 4096;

/// c(n).
pub fn path(rows: usize) -> f64 {
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        n => {
            let n = n as f64;
            2.0 * ((n - 1.0).ln() + EULER) - 2.0 * (n - 1.0) / n
        }
    }
}

fn grow(inputs: &Inputs, rows: Vec<usize>, limit: u32, trees: f64, rng: &mut StdRng) -> Vec<Node> {
    let mut nodes = vec![Node::Leaf(0.0)];
    let mut open = vec![(0, 0, rows)];
    while let Some((at, depth, rows)) = open.pop() {
        let drawn = if depth < limit { cut(inputs, &rows, rng) } else { None };
        let Some((input, at_most)) = drawn else {
            nodes[at] = Node::Leaf(((f64::from(depth) + path(rows.len())) / trees) as f32);
            continue;
        };
        let (lacking, known): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| inputs.row(*row)[input].is_nan());
        let (mut left, mut right): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|row| inputs.row(*row)[input] <= at_most);
        let missing_left = left.len() >= right.len();
        let most = if missing_left { &mut left } else { &mut right };
        most.extend(lacking);
        let child = nodes.len();
        let (near, far) = (child as u32, child as u32 + 1);
        nodes[at] = Node::Branch { input: input as u32, at_most, missing_left, left: near, right: far };
        nodes.extend([Node::Leaf(0.0); 2]);
        open.push((child + 1, depth + 1, right));
        open.push((child, depth + 1, left));
    }
    nodes
}

/// An input that varies among rows and a number from its least value to below its largest; none where no input varies.
fn cut(inputs: &Inputs, rows: &[usize], rng: &mut StdRng) -> Option<(usize, f32)> {
    let mut ends = vec![(f32::INFINITY, f32::NEG_INFINITY); inputs.width()];
    for row in rows {
        for ((low, high), x) in ends.iter_mut().zip(inputs.row(*row)) {
            // Of a number and NaN both give the number.
            (*low, *high) = (low.min(*x), high.max(*x));
        }
    }
    let varies: Vec<usize> = (0..ends.len()).filter(|input| ends[*input].0 < ends[*input].1).collect();
    let input = *varies.get(rng.random_range(0..varies.len().max(1)))?;
    let (low, high) = (f64::from(ends[input].0), f64::from(ends[input].1));
    let drawn = (low + rng.random_range(0.0..1.0) * (high - low)) as f32;
    // Rounding may reach the largest value, and then nothing would go right.
    Some((input, if drawn < ends[input].1 { drawn.max(ends[input].0) } else { ends[input].0 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::tests::{normal, rows};

    #[test]
    fn the_mean_path_is_the_papers() {
        assert_eq!([path(0), path(1), path(2)], [0.0, 0.0, 1.0]);
        // By hand: c(3) = 2 (ln 2 + 0.5772157) − 4/3; and c(256) = 2 (ln 255 + 0.5772157) − 2 · 255/256.
        assert!((path(3) - 1.207_392_3).abs() < 1e-6, "{}", path(3));
        assert!((path(256) - 10.244_770_9).abs() < 1e-6, "{}", path(256));
        assert!((2..2000).all(|n| path(n) < path(n + 1)));
    }

    #[test]
    fn a_forest_of_two_rows_is_known_by_heart() {
        // One cut parts them: h is 1 for both, and 2^(−1 / c(2)) is a half.
        let inputs = Inputs::new(1, vec![0.0, 1.0]).unwrap();
        let forest = Isolation::fit(&Params::default(), &inputs, 1).unwrap();
        for (depth, score) in forest.depths(&inputs).into_iter().zip(forest.scores(&inputs)) {
            assert!((depth - 1.0).abs() < 1e-6 && (score - 0.5).abs() < 1e-6, "{depth} {score}");
        }
        // Rows that do not differ are never parted: h is c(n).
        let same = Inputs::new(2, vec![3.0; 20]).unwrap();
        let depth = Isolation::fit(&Params::default(), &same, 1).unwrap().depths(&same)[0];
        assert!((depth - path(10)).abs() < 1e-5, "{depth}");
    }

    #[test]
    fn three_rows_take_the_expected_number_of_cuts() {
        // 0, 1 and 4: the first cut is in the first quarter with chance 1/4, else it parts 4 from the others. So 4 is alone after one
        // cut with chance 3/4 and after two with 1/4: 1.25; 0 is alone after one with 1/4: 1.75; 1 always takes two.
        let inputs = Inputs::new(1, vec![0.0, 1.0, 4.0]).unwrap();
        let forest = Isolation::fit(&Params { trees: 20_000, sample: 3 }, &inputs, 5).unwrap();
        for (depth, expected) in forest.depths(&inputs).into_iter().zip([1.75, 2.0, 1.25]) {
            assert!((depth - expected).abs() < 0.02, "{depth} {expected}");
        }
    }

    #[test]
    fn odd_rows_are_soon_alone_and_missing_values_are_not_odd() {
        let mut inputs = rows(2000, 4, 1);
        let n = inputs.values.len();
        inputs.values[n - 4..].fill(8.0);
        inputs.values[..2].fill(f32::NAN);
        let scores = Isolation::fit(&Params::default(), &inputs, 1).unwrap().scores(&inputs);
        let most = scores.iter().copied().fold(0.0, f64::max);
        assert_eq!(scores[1999].to_bits(), most.to_bits());
        let middle = Inputs::new(4, vec![0.0; 4]).unwrap();
        let lacking = Inputs::new(4, vec![f32::NAN; 4]).unwrap();
        let forest = Isolation::fit(&Params::default(), &rows(2000, 4, 1), 1).unwrap();
        let [middle, lacking] = [middle, lacking].map(|row| forest.scores(&row)[0]);
        assert!(lacking < middle + 0.05 && lacking < 0.5, "{lacking} {middle}");
        assert!(scores.iter().all(|score| (0.0..1.0).contains(score)));
    }

    #[test]
    fn the_unit_of_an_input_does_not_matter() {
        let inputs = rows(500, 3, 2);
        // Powers of two, so that no rounding moves a cut.
        let scaled = Inputs::new(3, inputs.values().iter().map(|x| x * 1024.0).collect()).unwrap();
        let scores = |inputs: &Inputs| Isolation::fit(&Params::default(), inputs, 3).unwrap().scores(inputs);
        assert_eq!(scores(&inputs), scores(&scaled));
    }

    #[test]
    fn threads_change_no_bit_and_seeds_do() {
        let inputs = rows(9000, 3, 2);
        let fit = |threads, seed| {
            threads::allow(threads, || {
                let forest =
                    Isolation::fit(&Params { trees: 20, ..Params::default() }, &inputs, seed).unwrap();
                forest.scores(&inputs)
            })
        };
        assert_eq!(fit(1, 1), fit(3, 1));
        assert_ne!(fit(1, 1), fit(1, 2));
    }

    #[test]
    fn too_few_rows_are_refused() {
        let one = Inputs::new(1, vec![1.0]).unwrap();
        assert!(Isolation::fit(&Params::default(), &one, 1).is_err());
        assert!(Isolation::fit(&Params { trees: 0, sample: 9 }, &rows(9, 1, 1), 1).is_err());
        assert!(normal(1).is_finite());
    }
}
