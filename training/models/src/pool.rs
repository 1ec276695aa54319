//! A log-linear pool: the softmax of a weighted sum of several models' scores, and a bias for each tier.
//!
//! A model's score of a tier is the logarithm of its probability, up to what all tiers of a row have in common. Of one
//! model the pool is temperature scaling with a corrected bias, which calibrates it (Guo et al. 2017; Alexandari et al.
//! 2020); of several it is their stack (Wolpert 1992), provided that the scores are of rows that the models did not learn
//! from. Weights are never negative, so that more of a model's belief never counts against it.

use super::{cholesky, forest::softmax};

/// How many rows the prior counts for, which holds weights near 1 / models and biases near 0 where rows say little.
const PRIOR_ROWS: f64 = 10.0;
/// Newton steps at most; a handful is usual.
const MOST_STEPS: usize = 100;
/// The gradient, per row, below which the loss is at its minimum.
const FLAT: f64 = 1e-10;

/// Weights and biases.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// One a model, never negative.
    pub weights: Vec<f64>,
    /// One a tier; they sum to 0.
    pub bias: Vec<f64>,
}

impl Pool {
    /// What changes nothing, for one model.
    pub fn identity(tiers: usize) -> Self {
        Self { weights: vec![1.0], bias: vec![0.0; tiers] }
    }

    /// Minimises the mean log-loss of rows whose tiers are known (projected Newton, Bertsekas 1982; the loss is convex).
    ///
    /// `scores` has `targets.len() × tiers` numbers for each model, all finite. Without `biased` all biases are 0.
    pub fn fit(tiers: usize, scores: &[Vec<f32>], targets: &[u8], biased: bool) -> Self {
        let problem = Problem { tiers, scores, targets };
        let variables = scores.len() + if biased { tiers } else { 0 };
        let mut x = problem.start();
        let mut here = problem.slope(&x);
        for _ in 0..MOST_STEPS {
            // A weight at 0 that wants to be negative stays there for this step.
            let free: Vec<usize> = (0..variables)
                .filter(|at| *at >= scores.len() || x[*at] > 0.0 || here.gradient[*at] < 0.0)
                .collect();
            if free.iter().all(|at| here.gradient[*at].abs() < FLAT) {
                break;
            }
            let step = here.newton(&free);
            let Some((to, there)) = problem.descend(&x, &here, &free, &step) else { break };
            (x, here) = (to, there);
        }
        let mut bias = x.split_off(scores.len());
        let mean = bias.iter().sum::<f64>() / tiers as f64;
        bias.iter_mut().for_each(|b| *b -= mean);
        Self { weights: x, bias }
    }

    /// The pool's probabilities for rows of each model's scores, row after row: what a blend must give.
    pub fn probabilities(&self, scores: &[Vec<f32>]) -> Vec<f32> {
        let tiers = self.bias.len();
        let rows = scores.first().map_or(0, Vec::len) / tiers;
        let mut out = Vec::with_capacity(rows * tiers);
        let mut p = vec![0.0; tiers];
        for row in 0..rows {
            pooled(&self.weights, &self.bias, scores, row, &mut p);
            out.extend(p.iter().map(|p| *p as f32));
        }
        out
    }
}

/// One row's probabilities.
fn pooled(weights: &[f64], bias: &[f64], scores: &[Vec<f32>], row: usize, p: &mut [f64]) {
    let tiers = bias.len();
    p.copy_from_slice(bias);
    for (weight, scores) in weights.iter().zip(scores) {
        let scores = &scores[row * tiers..(row + 1) * tiers];
        p.iter_mut().zip(scores).for_each(|(sum, score)| *sum += weight * f64::from(*score));
    }
    softmax(p);
}

/// The loss as a function of the weights and then the biases.
struct Problem<'a> {
    tiers: usize,
    scores: &'a [Vec<f32>],
    targets: &'a [u8],
}

/// The loss at a point with its first and second derivatives.
struct Slope {
    loss: f64,
    gradient: Vec<f64>,
    /// Row after row.
    hessian: Vec<f64>,
}

impl Problem<'_> {
    fn start(&self) -> Vec<f64> {
        let models = self.scores.len();
        [vec![1.0 / models as f64; models], vec![0.0; self.tiers]].concat()
    }

    fn slope(&self, x: &[f64]) -> Slope {
        let (models, size) = (self.scores.len(), x.len());
        let mut slope = Slope { loss: 0.0, gradient: vec![0.0; size], hessian: vec![0.0; size * size] };
        let (mut p, mut mean) = (vec![0.0; self.tiers], vec![0.0; models]);
        for (row, target) in self.targets.iter().enumerate() {
            let target = usize::from(*target) - 1;
            pooled(&x[..models], &x[models..], self.scores, row, &mut p);
            slope.loss -= p[target].max(f64::MIN_POSITIVE).ln();
            self.add(&mut slope, row, target, &p, &mut mean);
        }
        self.add_prior(&mut slope, x);
        let rows = self.targets.len().max(1) as f64;
        slope.loss /= rows;
        slope.gradient.iter_mut().chain(&mut slope.hessian).for_each(|value| *value /= rows);
        slope
    }

    /// One row's derivatives: of a weight, the mean score less the true tier's; of a bias, the probability less the truth.
    /// The second derivatives are the covariances of these under `p`.
    fn add(&self, slope: &mut Slope, row: usize, target: usize, p: &[f64], mean: &mut [f64]) {
        let (models, size) = (self.scores.len(), slope.gradient.len());
        let score = |model: usize, tier: usize| f64::from(self.scores[model][row * self.tiers + tier]);
        for (model, mean) in mean.iter_mut().enumerate() {
            *mean = (0..self.tiers).map(|tier| p[tier] * score(model, tier)).sum();
            slope.gradient[model] += *mean - score(model, target);
        }
        for tier in 0..self.tiers {
            let at = models + tier;
            slope.gradient[at] += p[tier] - f64::from(u8::from(tier == target));
            for other in 0..self.tiers {
                let own = if tier == other { p[tier] } else { 0.0 };
                slope.hessian[at * size + models + other] += own - p[tier] * p[other];
            }
            for model in 0..models {
                let away = p[tier] * (score(model, tier) - mean[model]);
                slope.hessian[at * size + model] += away;
                slope.hessian[model * size + at] += away;
                for (other, mean) in mean.iter().enumerate() {
                    slope.hessian[model * size + other] += away * (score(other, tier) - mean);
                }
            }
        }
    }

    fn add_prior(&self, slope: &mut Slope, x: &[f64]) {
        for (at, prior) in self.start().into_iter().enumerate() {
            let away = x[at] - prior;
            slope.loss += 0.5 * PRIOR_ROWS * away * away;
            slope.gradient[at] += PRIOR_ROWS * away;
            slope.hessian[at * x.len() + at] += PRIOR_ROWS;
        }
    }

    /// Goes along the step, weights not below 0, as far as the loss falls enough; none when it does not fall.
    fn descend(&self, x: &[f64], here: &Slope, free: &[usize], step: &[f64]) -> Option<(Vec<f64>, Slope)> {
        let mut length = 1.0;
        for _ in 0..40 {
            let mut to = x.to_vec();
            for (at, step) in free.iter().zip(step) {
                let moved = x[*at] - length * step;
                to[*at] = if *at < self.scores.len() { moved.max(0.0) } else { moved };
            }
            let there = self.slope(&to);
            let promised: f64 = free.iter().map(|at| here.gradient[*at] * (x[*at] - to[*at])).sum();
            if there.loss < here.loss - 1e-4 * promised {
                return Some((to, there));
            }
            length *= 0.5;
        }
        None
    }
}

impl Slope {
    /// The Newton step of the free variables; the prior keeps the matrix positive.
    fn newton(&self, free: &[usize]) -> Vec<f64> {
        let size = self.gradient.len();
        let mut matrix: Vec<f64> = Vec::with_capacity(free.len() * free.len());
        for row in free {
            matrix.extend(free.iter().map(|column| self.hessian[row * size + column]));
        }
        cholesky::solve(&mut matrix, free.iter().map(|at| self.gradient[*at]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix;

    fn uniform(i: u64) -> f64 {
        (mix(i) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Scores of some models, and targets drawn from a pool of them.
    fn drawn(pool: &Pool, rows: usize) -> (Vec<Vec<f32>>, Vec<u8>) {
        let tiers = pool.bias.len();
        let normal = |i: u64| (0..12).map(|k| uniform(i * 12 + k)).sum::<f64>() - 6.0;
        let model = |m: u64| (0..(rows * tiers) as u64).map(|i| normal(i + m * 1_000_003) as f32).collect();
        let scores: Vec<Vec<f32>> = (0..pool.weights.len() as u64).map(model).collect();
        let mut p = vec![0.0; tiers];
        let target = |row: usize| {
            pooled(&pool.weights, &pool.bias, &scores, row, &mut p);
            let mut left = uniform(row as u64 + 77_000_000);
            let over = p.iter().take_while(|p| {
                left -= **p;
                left > 0.0
            });
            (over.count() as u8).min(tiers as u8 - 1) + 1
        };
        let targets = (0..rows).map(target).collect();
        (scores, targets)
    }

    fn near(found: &[f64], expected: &[f64], within: f64) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < within, "{found} {expected}");
        }
    }

    #[test]
    fn one_models_temperature_and_bias_are_recovered() {
        let truth = Pool { weights: vec![0.4], bias: vec![0.3, -0.1, -0.2] };
        let (scores, targets) = drawn(&truth, 40_000);
        let found = Pool::fit(3, &scores, &targets, true);
        near(&found.weights, &truth.weights, 0.03);
        near(&found.bias, &truth.bias, 0.03);
        assert!(found.bias.iter().sum::<f64>().abs() < 1e-12);
        assert_eq!(found, Pool::fit(3, &scores, &targets, true));
        // Without biases, the true temperature is still about the best.
        let plain = Pool::fit(3, &scores, &targets, false);
        near(&plain.weights, &truth.weights, 0.03);
        assert_eq!(plain.bias, [0.0; 3]);
    }

    #[test]
    fn the_weights_of_several_models_are_recovered_and_a_useless_one_gets_none() {
        let truth = Pool { weights: vec![1.1, 0.0, 0.5], bias: vec![0.0, 0.4, -0.4] };
        let (mut scores, targets) = drawn(&truth, 40_000);
        near(&Pool::fit(3, &scores, &targets, true).weights, &truth.weights, 0.04);
        // One that speaks against the truth would get a negative weight, and gets none.
        scores[1] = scores[0].iter().zip(&scores[1]).map(|(right, noise)| noise - 2.0 * right).collect();
        let found = Pool::fit(3, &scores, &targets, true);
        assert!(found.weights[1] >= 0.0 && found.weights.iter().all(|weight| *weight >= 0.0));
        let loss = |pool: &Pool| {
            Problem { tiers: 3, scores: &scores, targets: &targets }
                .slope(&[pool.weights.clone(), pool.bias.clone()].concat())
                .loss
        };
        for at in 0..3 {
            for step in [-0.02, 0.02] {
                let mut other = found.clone();
                other.weights[at] = (other.weights[at] + step).max(0.0);
                assert!(loss(&found) <= loss(&other), "{at} {step}");
            }
        }
    }

    #[test]
    fn derivatives_are_differences() {
        let truth = Pool { weights: vec![0.7, 0.4], bias: vec![0.2, 0.0, -0.2] };
        let (scores, targets) = drawn(&truth, 200);
        let problem = Problem { tiers: 3, scores: &scores, targets: &targets };
        let x = [0.3, 0.9, 0.1, -0.2, 0.3];
        let slope = problem.slope(&x);
        for at in 0..5 {
            let moved = |by: f64| {
                let mut x = x;
                x[at] += by;
                problem.slope(&x)
            };
            let (up, down) = (moved(1e-5), moved(-1e-5));
            near(&[(up.loss - down.loss) / 2e-5], &[slope.gradient[at]], 1e-8);
            let second = up.gradient.iter().zip(&down.gradient).map(|(up, down)| (up - down) / 2e-5);
            near(&second.collect::<Vec<_>>(), &slope.hessian[at * 5..(at + 1) * 5], 1e-7);
        }
    }

    #[test]
    fn few_rows_leave_a_pool_near_its_prior() {
        let scores = vec![vec![5.0, -5.0], vec![5.0, -5.0]];
        let found = Pool::fit(2, &scores, &[1], true);
        near(&found.weights, &[0.5, 0.5], 0.1);
        assert_eq!(Pool::fit(2, &[Vec::new()], &[], true), Pool::identity(2));
    }
}
