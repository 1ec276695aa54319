//! Decision trees as ONNX tells them, on the way to the words of a plan.
//!
//! Every test of ONNX becomes boundaries on a feature, between which the answer alternates: x ≤ t has one boundary, and
//! membership in a set has two for each member, just below it and at it. Several boundaries become a small balanced
//! tree, whose leaves of the same answer share the children of that answer.

use alloc::{vec, vec::Vec};

use super::node::Node;
use crate::{
    engine::{Aggregate, MAX_TREE, branch, leaf, leaf_number},
    error::Result,
};

/// Where a test leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Branch(usize),
    Leaf(usize),
}

/// A node of a tree: a test of one feature.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) feature: u32,
    pub(super) test: Test,
    pub(super) yes: Target,
    pub(super) no: Target,
}

/// An ensemble; what its trees have in common is told once.
#[derive(Clone, Debug)]
pub(super) struct Forest {
    pub(super) branches: Vec<Branch>,
    /// For each leaf the targets that it speaks for, and what it says.
    pub(super) leaves: Vec<Vec<(u32, f32)>>,
    pub(super) roots: Vec<Target>,
    pub(super) targets: usize,
    pub(super) aggregate: Aggregate,
    /// One for each target.
    pub(super) base: Vec<f32>,
}

/// Ascending boundaries; x lies above a boundary or not. The answer alternates between them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    boundaries: Vec<f32>,
    /// The answer up to the first boundary.
    first: bool,
    /// The answer where x is NaN.
    nan: bool,
}

impl Test {
    /// A test of ONNX-ML by its name, without `BRANCH_`. Where x is NaN the answer is `nan`, except that onnxruntime,
    /// which is followed, finds a NaN unequal to everything.
    pub(super) fn of(mode: &str, threshold: f64, nan: bool) -> Option<Self> {
        let below = down(threshold);
        let under = if f64::from(below) == threshold { below.next_down() } else { below };
        let never = threshold.is_nan();
        let at_most = |boundary: f32, first: bool| Self { boundaries: vec![boundary], first, nan };
        Some(match mode {
            "LEQ" | "LT" | "GTE" | "GT" | "EQ" if never => Self::among(&[], nan),
            // Nothing is below −∞.
            "LT" if threshold == f64::NEG_INFINITY => Self::among(&[], nan),
            "GTE" if threshold == f64::NEG_INFINITY => {
                Self { boundaries: Vec::new(), first: true, nan }.with_nan(nan)
            }
            "LEQ" => at_most(below, true),
            "GT" => at_most(below, false),
            "LT" => at_most(under, true),
            "GTE" => at_most(under, false),
            "EQ" => Self::among(&[threshold], nan),
            "NEQ" => {
                let equal = Self::among(&[threshold], false);
                Self { first: !equal.first, nan: true, ..equal }
            }
            _ => return None,
        })
    }

    /// Whether x is one of the members.
    pub(super) fn among(members: &[f64], nan: bool) -> Self {
        let exact = members.iter().filter(|x| f64::from(**x as f32) == **x);
        let mut members: Vec<f32> = exact.map(|x| *x as f32).collect();
        members.sort_by(f32::total_cmp);
        members.dedup();
        let mut boundaries: Vec<f32> = members.iter().flat_map(|x| [x.next_down(), *x]).collect();
        // Nothing is below −∞.
        let first = members.first() == Some(&f32::NEG_INFINITY);
        if first {
            boundaries.remove(0);
        }
        Self { boundaries, first, nan: false }.with_nan(nan)
    }

    /// A test without boundaries gives one answer; if NaN is to have the other, infinity is made a boundary.
    fn with_nan(mut self, nan: bool) -> Self {
        self.nan = nan;
        if self.boundaries.is_empty() && self.nan != self.first {
            self.boundaries.push(f32::INFINITY);
        }
        self
    }
}

/// The largest 32-bit float that is not above x: a comparison with it is one with x.
fn down(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) > x { near.next_down() } else { near }
}

/// A tree's nodes while they are laid out, level by level.
#[derive(Default)]
struct Layout {
    nodes: Vec<[u32; 2]>,
    /// What is still to be laid out, and where.
    queue: Vec<(Target, usize)>,
    /// Places that get the node of another place.
    copies: Vec<(usize, usize)>,
}

impl Forest {
    /// What all leaves of a tree speak for, if each speaks for that alone. `leaves` are in the order of their numbers.
    pub(super) fn target_of(&self, tree: &[[u32; 2]], leaves: &[&[(u32, f32)]]) -> Option<u32> {
        let numbers = tree.iter().filter_map(|node| leaf_number(*node));
        let mut targets = numbers.map(|number| match leaves.get(number as usize) {
            Some(&&[(target, _)]) => Some(target),
            _ => None,
        });
        let first = targets.next()??;
        targets.all(|target| target == Some(first)).then_some(first)
    }

    /// A leaf's values, one for each target.
    pub(super) fn wide(&self, leaf: &[(u32, f32)]) -> Vec<f32> {
        let none = match self.aggregate {
            Aggregate::Sum | Aggregate::Average => 0.0,
            Aggregate::Min | Aggregate::Max => f32::NAN,
        };
        let mut values = vec![none; self.targets];
        for (target, weight) in leaf {
            let value = &mut values[*target as usize];
            *value = match self.aggregate {
                Aggregate::Sum | Aggregate::Average => *value + weight,
                Aggregate::Min => value.min(*weight),
                Aggregate::Max => value.max(*weight),
            };
        }
        values
    }

    /// The words of a tree. `numbers` has the numbers of the leaves so far.
    pub(super) fn words(
        &self,
        node: &Node<'_>,
        root: Target,
        numbers: &mut [Option<u32>],
        count: &mut u32,
    ) -> Result<Vec<[u32; 2]>> {
        let [_, most, most_leaves] = MAX_TREE;
        let mut layout = Layout { nodes: vec![[0; 2]], queue: vec![(root, 0)], copies: Vec::new() };
        let mut done = 0;
        while let Some((target, place)) = layout.queue.get(done).copied() {
            done += 1;
            match target {
                Target::Branch(at) => match self.branches.get(at) {
                    Some(branch) => layout.split(branch, place),
                    None => return Err(node.invalid("a node names another that is not there")),
                },
                Target::Leaf(at) => {
                    let Some(number) = numbers.get_mut(at) else {
                        return Err(node.invalid("a node names a leaf that is not there"));
                    };
                    let number = *number.get_or_insert_with(|| {
                        *count += 1;
                        *count - 1
                    });
                    layout.nodes[place] = leaf(number, place as u32);
                }
            }
            if layout.nodes.len() > most || layout.queue.len() > 2 * most || *count as usize > most_leaves {
                return Err(node.refuse(&alloc::format!(
                    "a tree runs in a circle, has more than {most} nodes, or the trees more than {most_leaves} leaves"
                )));
            }
        }
        for (place, source) in &layout.copies {
            let node = layout.nodes[*source];
            layout.nodes[*place] = match leaf_number(node) {
                Some(number) => leaf(number, *place as u32),
                None => node,
            };
        }
        Ok(layout.nodes)
    }
}

impl Layout {
    /// Lays out a test at a place, as a balanced tree over the parts between its boundaries.
    fn split(&mut self, rule: &Branch, place: usize) {
        let Test { boundaries, first, nan } = &rule.test;
        // The place of each answer's node: all the others become copies of it.
        let mut places: [Option<usize>; 2] = [None; 2];
        let nan_part = usize::from(nan != first);
        let mut open = vec![(place, 0, boundaries.len() + 1)];
        while let Some((place, from, to)) = open.pop() {
            if to - from == 1 {
                let answer = (from % 2 == 0) == *first;
                match places[usize::from(answer)] {
                    Some(source) => self.copies.push((place, source)),
                    None => {
                        places[usize::from(answer)] = Some(place);
                        self.queue.push((if answer { rule.yes } else { rule.no }, place));
                    }
                }
                continue;
            }
            let middle = from + (to - from) / 2;
            let child = self.nodes.len();
            self.nodes.resize(child + 2, [0; 2]);
            self.nodes[place] = branch(rule.feature, boundaries[middle - 1], child as u32, nan_part < middle);
            open.push((child, from, middle));
            open.push((child + 1, middle, to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Test {
        fn holds(&self, x: f32) -> bool {
            match x.is_nan() {
                true => self.nan,
                false => {
                    (self.boundaries.iter().filter(|boundary| x > **boundary).count() % 2 == 0) == self.first
                }
            }
        }
    }

    const EDGES: [f32; 13] = [
        f32::NEG_INFINITY,
        f32::MIN,
        -1.5,
        -1.0,
        -f32::MIN_POSITIVE,
        -0.0,
        0.0,
        1e-45,
        1.0,
        1.0 + f32::EPSILON,
        1.5,
        f32::MAX,
        f32::INFINITY,
    ];

    #[test]
    fn tests_are_the_comparisons_that_they_are_named_after() {
        for threshold in EDGES.map(f64::from).into_iter().chain([0.1, -0.1, 1e300, -1e300, f64::NAN]) {
            for x in EDGES {
                let wide = f64::from(x);
                let expected = [
                    ("LEQ", wide <= threshold),
                    ("LT", wide < threshold),
                    ("GTE", wide >= threshold),
                    ("GT", wide > threshold),
                    ("EQ", wide == threshold),
                    ("NEQ", wide != threshold),
                ];
                for (mode, expected) in expected {
                    for nan in [false, true] {
                        let test = Test::of(mode, threshold, nan).unwrap();
                        assert_eq!(test.holds(x), expected, "{x} {mode} {threshold}");
                        assert_eq!(test.holds(f32::NAN), nan || mode == "NEQ");
                        assert!(test.boundaries.windows(2).all(|pair| pair[0] <= pair[1]));
                        assert!(!test.boundaries.is_empty() || test.nan == test.first);
                    }
                }
            }
        }
        assert_eq!(Test::of("MEMBER", 0.0, false), None);
    }

    #[test]
    fn membership_is_equality_with_any() {
        for members in [
            &[][..],
            &[0.0],
            &[3.0, 1.0, 3.0],
            &[0.1, 1.0 + f64::from(f32::EPSILON), 1.0],
            &[-f64::INFINITY, 2.0],
        ] {
            let test = Test::among(members, false);
            for x in EDGES.into_iter().chain([2.0, 3.0, 0.1]) {
                assert_eq!(test.holds(x), members.contains(&f64::from(x)), "{x} in {members:?}");
            }
        }
    }
}
