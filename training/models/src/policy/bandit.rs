//! The known references of contextual bandits: LinUCB and Thompson sampling, each with one linear model an action.
//!
//! They learn online, a period's decisions at a time, as a shop does that hears of a month when it is over.

use rand::{SeedableRng, rngs::StdRng};
use rand_distr::{Distribution, StandardNormal};

use crate::cholesky::{factor, substitute};

/// How an action is chosen from linear models.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimism {
    /// The highest upper bound, so many deviations above the estimate (Li et al. 2010, disjoint models).
    Ucb(f64),
    /// The highest value of weights drawn from their posterior, its deviation times this (Agrawal & Goyal 2013).
    Thompson(f64),
}

/// A ridge regression for each action, and how it is explored.
#[derive(Debug)]
pub struct Bandit {
    optimism: Optimism,
    arms: Vec<Arm>,
    rng: StdRng,
}

/// `A = I + Σ x·xᵀ` and `b = Σ reward · x` of one action, with what follows of them.
#[derive(Clone, Debug)]
struct Arm {
    matrix: Vec<f64>,
    sums: Vec<f64>,
    /// The triangle of A.
    triangle: Vec<f64>,
    /// A⁻¹·b.
    weights: Vec<f64>,
}

impl Bandit {
    /// A bandit that knows nothing of so many actions; a context has `width` numbers, to which a constant is added.
    pub fn new(optimism: Optimism, width: usize, arms: usize, seed: u64) -> Self {
        Self { optimism, arms: vec![Arm::new(width + 1); arms], rng: StdRng::seed_from_u64(seed) }
    }

    /// The action of a context.
    pub fn choose(&mut self, context: &[f32]) -> usize {
        let x = with_constant(context);
        let Self { optimism, arms, rng } = self;
        let score = |arm: &Arm| match *optimism {
            Optimism::Ucb(width) => dot(&arm.weights, &x) + width * arm.deviation(&x),
            Optimism::Thompson(scale) => dot(&arm.drawn(scale, rng), &x),
        };
        let scores: Vec<f64> = arms.iter().map(score).collect();
        let better = |best: usize, at: usize| if scores[at] > scores[best] { at } else { best };
        (1..scores.len()).fold(0, better)
    }

    /// Takes in what came of a decision; it counts from the next [`Bandit::learn`] on.
    pub fn observe(&mut self, context: &[f32], action: usize, reward: f64) {
        let x = with_constant(context);
        let arm = &mut self.arms[action];
        for (row, by) in arm.matrix.chunks_exact_mut(x.len()).zip(&x) {
            row.iter_mut().zip(&x).for_each(|(sum, x)| *sum += x * by);
        }
        arm.sums.iter_mut().zip(&x).for_each(|(sum, x)| *sum += reward * x);
    }

    /// Fits the models to all that was taken in.
    pub fn learn(&mut self) {
        self.arms.iter_mut().for_each(Arm::fit);
    }
}

impl Arm {
    fn new(width: usize) -> Self {
        let matrix: Vec<f64> =
            (0..width * width).map(|at| if at / width == at % width { 1.0 } else { 0.0 }).collect();
        Self { triangle: matrix.clone(), matrix, sums: vec![0.0; width], weights: vec![0.0; width] }
    }

    fn fit(&mut self) {
        self.triangle.clone_from(&self.matrix);
        factor(&mut self.triangle, self.sums.len());
        self.weights.clone_from(&self.sums);
        substitute(&self.triangle, &mut self.weights);
    }

    /// √(xᵀ·A⁻¹·x).
    fn deviation(&self, x: &[f64]) -> f64 {
        let mut solved = x.to_vec();
        substitute(&self.triangle, &mut solved);
        dot(&solved, x).max(0.0).sqrt()
    }

    /// The weights plus `scale · L⁻ᵀ·z`, whose covariance is `scale² · A⁻¹`.
    fn drawn(&self, scale: f64, rng: &mut StdRng) -> Vec<f64> {
        let n = self.weights.len();
        let mut z: Vec<f64> = (0..n).map(|_| StandardNormal.sample(&mut *rng)).collect();
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|k| self.triangle[k * n + i] * z[k]).sum();
            z[i] = (z[i] - known) / self.triangle[i * n + i];
        }
        self.weights.iter().zip(z).map(|(weight, z)| weight + scale * z).collect()
    }
}

fn with_constant(context: &[f32]) -> Vec<f64> {
    context.iter().map(|x| f64::from(*x)).chain([1.0]).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn weights_drawn_have_the_covariance_of_the_posterior() {
        let mut bandit = Bandit::new(Optimism::Thompson(2.0), 1, 1, 3);
        let mut rng = StdRng::seed_from_u64(4);
        for _ in 0..50 {
            bandit.observe(&[rng.random_range(-1.0_f32..1.0)], 0, 1.0);
        }
        bandit.learn();
        let arm = bandit.arms[0].clone();
        let draws: Vec<Vec<f64>> = (0..20_000).map(|_| arm.drawn(2.0, &mut rng)).collect();
        for (i, j) in [(0, 0), (0, 1), (1, 1)] {
            let found = draws.iter().map(|w| (w[i] - arm.weights[i]) * (w[j] - arm.weights[j])).sum::<f64>()
                / 20_000.0;
            let mut column = vec![0.0, 0.0];
            column[j] = 1.0;
            substitute(&arm.triangle, &mut column);
            assert!((found - 4.0 * column[i]).abs() < 0.01, "{i} {j}: {found} {}", 4.0 * column[i]);
        }
    }

    #[test]
    fn both_settle_on_the_better_action_of_each_kind() {
        for optimism in [Optimism::Ucb(1.0), Optimism::Thompson(0.5)] {
            let mut bandit = Bandit::new(optimism, 1, 2, 5);
            let mut rng = StdRng::seed_from_u64(6);
            let mut right = 0;
            for period in 0..20 {
                for _ in 0..50 {
                    let kind = if rng.random_bool(0.5) { 1.0_f32 } else { -1.0 };
                    let action = bandit.choose(&[kind]);
                    let pays = if (action == 1) == (kind > 0.0) { 1.0 } else { 0.0 };
                    right += usize::from(period >= 10 && pays > 0.0);
                    bandit.observe(&[kind], action, pays + rng.random_range(-1.0..1.0));
                }
                bandit.learn();
            }
            assert!(right > 450, "{optimism:?}: {right} of 500");
        }
    }
}
