//! Random ensembles against a recursive walk, the same bits alone and in a batch, and words that must be refused.

use alloc::{string::String, vec, vec::Vec};

use super::*;
use crate::engine::{
    kernels::{
        Kernel,
        trial::{bits, noise},
    },
    plan::{Plan, Port, Program},
};

/// Looks random; the same on every run.
struct Random(u32);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % n
    }
}

/// A tree as a person would write it.
enum Plant {
    Leaf(u32),
    Branch { feature: u32, threshold: f32, nan_left: bool, children: [alloc::boxed::Box<Plant>; 2] },
}

impl Plant {
    fn grow(random: &mut Random, features: u32, depth: u32, leaves: &mut u32) -> Self {
        if depth == 0 || random.below(5) == 0 {
            *leaves += 1;
            return Self::Leaf(*leaves - 1);
        }
        Self::Branch {
            feature: random.below(features),
            threshold: random.below(17) as f32 / 2.0 - 4.0,
            nan_left: random.below(2) == 0,
            children: [(); 2].map(|()| Self::grow(random, features, depth - 1, leaves).into()),
        }
    }

    fn leaf(&self, row: &[f32]) -> u32 {
        match self {
            Self::Leaf(number) => *number,
            Self::Branch { feature, threshold, nan_left, children: [left, right] } => {
                let x = row[*feature as usize];
                let goes_left = if x.is_nan() { *nan_left } else { x <= *threshold };
                if goes_left { left.leaf(row) } else { right.leaf(row) }
            }
        }
    }

    fn depth(&self) -> u32 {
        match self {
            Self::Leaf(_) => 0,
            Self::Branch { children, .. } => 1 + children[0].depth().max(children[1].depth()),
        }
    }

    /// Level by level, children side by side.
    fn nodes(&self) -> Vec<[u32; 2]> {
        let mut queue = vec![self];
        let mut nodes = Vec::new();
        while let Some(plant) = queue.get(nodes.len()).copied() {
            nodes.push(match plant {
                Self::Leaf(number) => leaf(*number, nodes.len() as u32),
                Self::Branch { feature, threshold, nan_left, children } => {
                    let child = queue.len() as u32;
                    queue.extend(children.iter().map(|child| &**child));
                    branch(*feature, *threshold, child, *nan_left)
                }
            });
        }
        nodes
    }
}

/// An ensemble, its leaves' values and what each row should score.
struct Ensemble {
    plan: Plan,
    plants: Vec<Plant>,
}

impl Ensemble {
    fn grow(trees: u32, features: u32, targets: u32, depth: u32, wide: bool, aggregate: Aggregate) -> Self {
        let mut random = Random(trees + 31 * features + 997 * targets);
        let mut leaf_count = 0;
        let plants: Vec<Plant> =
            (0..trees).map(|_| Plant::grow(&mut random, features, depth, &mut leaf_count)).collect();
        let words: Vec<u32> = plants.iter().flat_map(|plant| plant.nodes().concat()).collect();
        let tree = |(i, plant): (usize, &Plant)| Tree {
            nodes: plant.nodes().len() as u32,
            depth: plant.depth(),
            target: i as u32 % targets,
        };
        let kernel = Trees {
            x: 0,
            out: 1,
            repeat: 1,
            features,
            targets,
            aggregate,
            nodes: 0,
            trees: plants.iter().enumerate().map(tree).collect(),
            wide,
            leaves: targets,
            leaf_count,
            base: 0,
        };
        let port = |slot, len| Port { name: String::new(), shape: vec![len], slot };
        let plan = Plan {
            program: Program {
                inputs: vec![port(0, features)],
                outputs: vec![port(1, targets)],
                slots: vec![features, targets],
                kernels: vec![Kernel::Trees(kernel)],
                words: words.len() as u32,
                ..Program::default()
            },
            floats: noise((targets + leaf_count * if wide { targets } else { 1 }) as usize).as_slice().into(),
            words,
        };
        Self { plan, plants }
    }

    fn kernel(&self) -> &Trees {
        match &self.plan.program.kernels[0] {
            Kernel::Trees(trees) => trees,
            _ => unreachable!(),
        }
    }

    fn expected(&self, row: &[f32]) -> Vec<f32> {
        let kernel = self.kernel();
        let targets = kernel.targets as usize;
        let (base, leaves) = self.plan.floats.split_at(targets);
        let score = |target: usize| {
            let values = self.plants.iter().zip(&kernel.trees).filter_map(|(plant, tree)| {
                let leaf = plant.leaf(row) as usize;
                let value = if kernel.wide { leaves[leaf * targets + target] } else { leaves[leaf] };
                (kernel.wide || tree.target as usize == target).then_some(f64::from(value))
            });
            let found: f64 = match kernel.aggregate {
                Aggregate::Sum => values.sum(),
                Aggregate::Average => values.sum::<f64>() / self.plants.len() as f64,
                Aggregate::Min => values.reduce(f64::min).unwrap_or_default(),
                Aggregate::Max => values.reduce(f64::max).unwrap_or_default(),
            };
            (found + f64::from(base[target])) as f32
        };
        (0..targets).map(score).collect()
    }

    fn scores(&self, rows: &[f32], at_a_time: usize) -> Vec<f32> {
        let mut workspace = self.plan.workspace(at_a_time);
        let mut out = Vec::new();
        self.plan.run_rows(&mut workspace, rows, &mut out).unwrap();
        out
    }
}

fn agrees(ensemble: &Ensemble, rows: usize) {
    ensemble.plan.check().unwrap();
    let features = ensemble.kernel().features as usize;
    let mut xs = noise(rows * features);
    for nans in [0, 7] {
        xs.iter_mut().step_by(7).take(nans * rows).for_each(|x| *x = f32::NAN);
        let expected: Vec<f32> = xs.chunks(features).flat_map(|row| ensemble.expected(row)).collect();
        for at_a_time in [1, 5, 8, 37, 128] {
            assert_eq!(bits(&ensemble.scores(&xs, at_a_time)), bits(&expected), "{at_a_time} rows at a time");
        }
    }
}

#[test]
fn random_ensembles_score_as_a_recursive_walk_does_whatever_the_batch() {
    for (trees, features, targets, depth, wide) in [
        (1, 1, 1, 0, false),
        (3, 2, 1, 3, false),
        (40, 9, 5, 6, false),
        (17, 5, 3, 19, true),
        (11, 3, 70, 4, true),
    ] {
        agrees(&Ensemble::grow(trees, features, targets, depth, wide, Aggregate::Sum), 131);
    }
}

#[test]
fn the_other_aggregates_agree_too() {
    for aggregate in [Aggregate::Average, Aggregate::Min, Aggregate::Max] {
        agrees(&Ensemble::grow(12, 4, 3, 5, false, aggregate), 20);
        agrees(&Ensemble::grow(12, 4, 3, 5, true, aggregate), 20);
        // Targets 12 to 15 have no tree.
        agrees(&Ensemble::grow(12, 4, 16, 5, false, aggregate), 20);
    }
}

#[test]
fn infinities_and_both_zeros_take_the_side_that_comparison_says() {
    let mut ensemble = Ensemble::grow(1, 1, 1, 0, false, Aggregate::Sum);
    ensemble.plan.floats = [0.0, 1.0, 2.0].as_slice().into();
    ensemble.plan.words = [branch(0, 0.0, 1, false), leaf(0, 1), leaf(1, 2)].concat();
    let Kernel::Trees(trees) = &mut ensemble.plan.program.kernels[0] else { unreachable!() };
    trees.trees = vec![Tree { nodes: 3, depth: 1, target: 0 }];
    trees.leaf_count = 2;
    ensemble.plan.check().unwrap();
    let rows = [0.0, -0.0, f32::MIN_POSITIVE, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN];
    assert_eq!(ensemble.scores(&rows, 7), [1.0, 1.0, 2.0, 2.0, 1.0, 2.0, 2.0]);
}

#[test]
fn sums_do_not_lose_what_32_bits_would() {
    let mut ensemble = Ensemble::grow(3, 1, 1, 0, false, Aggregate::Sum);
    ensemble.plan.floats = [0.0, 1e8, 1.0, -1e8].as_slice().into();
    assert_eq!(ensemble.scores(&[0.0], 1), [1.0]);
}

#[test]
fn words_that_reach_out_of_their_bounds_are_refused() {
    let sound = Ensemble::grow(4, 3, 2, 4, false, Aggregate::Sum).plan;
    sound.check().unwrap();
    let is_leaf = |i: &usize| f32::from_bits(sound.words[2 * i]).is_nan();
    let leaf = (0..).find(is_leaf).unwrap();
    let branch = (0..).find(|i| !is_leaf(i)).unwrap();
    let mut broken: Vec<Plan> = Vec::new();
    let mut change = |change: &dyn Fn(&mut Vec<u32>)| {
        let mut plan = sound.clone();
        change(&mut plan.words);
        broken.push(plan);
    };
    change(&|words| words.truncate(words.len() - 1));
    change(&|words| words[2 * branch + 1] |= 3);
    change(&|words| words[2 * branch + 1] &= 0xffff);
    change(&|words| words[2 * branch + 1] |= 0xffff_0000);
    change(&|words| words[2 * leaf] = NAN | LEAF_NUMBER);
    change(&|words| words[2 * leaf + 1] &= !NAN_LEFT);
    change(&|words| words[2 * leaf + 1] += 1 << 16);
    change(&|words| words[2 * leaf] = 0);
    for (i, plan) in broken.iter().enumerate() {
        assert!(plan.check().is_err(), "change {i}");
    }
    let change = |change: &dyn Fn(&mut Trees)| {
        let mut plan = sound.clone();
        let Kernel::Trees(trees) = &mut plan.program.kernels[0] else { unreachable!() };
        change(trees);
        assert!(plan.check().is_err());
    };
    change(&|trees| trees.trees.iter_mut().find(|tree| tree.depth > 0).unwrap().depth -= 1);
    change(&|trees| trees.trees[0].depth += 1);
    change(&|trees| trees.trees[0].nodes += 1);
    change(&|trees| trees.trees[0].target = 2);
    change(&|trees| trees.trees[1].nodes = 0);
    change(&|trees| trees.nodes = u32::MAX);
    change(&|trees| trees.leaves = u32::MAX);
    change(&|trees| trees.features = 0);
    change(&|trees| trees.targets = 0);
    change(&|trees| trees.out = 0);
}

#[test]
fn whatever_words_pass_the_check_run_within_bounds() {
    let mut random = Random(5);
    let mut passed = 0;
    for _ in 0..20_000 {
        let mut ensemble = Ensemble::grow(2, 3, 2, 3, random.below(2) == 0, Aggregate::Sum);
        for _ in 0..=random.below(2) {
            let at = random.below(ensemble.plan.words.len() as u32) as usize;
            ensemble.plan.words[at] ^= 1 << random.below(32);
        }
        if ensemble.plan.check().is_ok() {
            passed += 1;
            let rows = noise(25 * 3);
            let alone = bits(&ensemble.scores(&rows, 1));
            assert!([9, 25].iter().all(|many| bits(&ensemble.scores(&rows, *many)) == alone));
        }
    }
    assert!(passed > 1000, "{passed} of them passed");
}

#[test]
fn two_kernels_may_not_have_the_same_words_checked() {
    let mut plan = Ensemble::grow(2, 3, 2, 3, false, Aggregate::Sum).plan;
    let again = plan.program.kernels[0].clone();
    plan.program.kernels.push(again);
    assert!(plan.check().is_err());
}

#[test]
fn rows_within_a_row_are_rows() {
    let mut ensemble = Ensemble::grow(9, 4, 3, 5, false, Aggregate::Sum);
    let rows = noise(26 * 4);
    let expected = ensemble.scores(&rows, 26);
    let program = &mut ensemble.plan.program;
    let Kernel::Trees(trees) = &mut program.kernels[0] else { unreachable!() };
    trees.repeat = 13;
    (program.slots, program.inputs[0].shape, program.outputs[0].shape) =
        (vec![52, 39], vec![13, 4], vec![13, 3]);
    ensemble.plan.check().unwrap();
    assert_eq!(bits(&ensemble.scores(&rows, 2)), bits(&expected));
}
