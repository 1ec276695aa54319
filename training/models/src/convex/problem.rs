//! A convex loss on some rows as a function of numbers: for each output a bias and the weights of the inputs, and after
//! them what sets the other boundaries of proportional odds.

use super::{
    Objective,
    blocks::{Blocks, SIZE},
    lbfgs::{self, Loss},
    losses,
};
use crate::{Rows, cholesky, moments::Moments, ordinal, threads};

/// Rows that the guess at the second derivatives looks at, at most.
const MOST_GUESSED: usize = 4096;
/// Blocks that one thread sums up together.
const TOGETHER: usize = 8;
/// What keeps that guess positive where an input does not vary.
const RIDGE: f64 = 1e-6;

/// Rows with a loss.
pub(super) struct Problem {
    pub(super) objective: Objective,
    pub(super) tiers: usize,
    blocks: Blocks,
    targets: Vec<u8>,
    /// Rows of each tier.
    counts: Vec<f64>,
    /// Of (1, inputs), for the guess.
    moments: Moments,
}

impl Problem {
    pub(super) fn new(objective: Objective, tiers: usize, rows: &Rows) -> Self {
        let mut counts = vec![0.0; tiers];
        rows.targets.iter().for_each(|tier| counts[usize::from(*tier) - 1] += 1.0);
        let every = rows.len().div_ceil(MOST_GUESSED).max(1);
        let guessed: Vec<usize> = (0..rows.len()).step_by(every).collect();
        let moments = Moments::of(rows, &guessed, |_| 0.0);
        Self { objective, tiers, blocks: Blocks::new(rows), targets: rows.targets.clone(), counts, moments }
    }

    fn outputs(&self) -> usize {
        if self.objective == Objective::ProportionalOdds { 1 } else { self.tiers }
    }

    /// Numbers of an output: the bias and the weights.
    fn size(&self) -> usize {
        self.blocks.width + 1
    }

    /// Weights of 0, and biases that give the tiers' shares.
    pub(super) fn start(&self) -> Vec<f64> {
        let size = self.size();
        let mut x = vec![0.0; self.outputs() * size];
        match self.objective {
            Objective::ProportionalOdds => {
                let counts: Vec<f32> = self.counts.iter().map(|n| *n as f32).collect();
                let free = ordinal::free(&counts);
                x[0] = f64::from(free[0]);
                x.extend(free[1..].iter().map(|x| f64::from(*x)));
            }
            Objective::CrossEntropy => {
                let tiers = x.chunks_exact_mut(size).zip(&self.counts);
                tiers.for_each(|(x, count)| x[0] = count.max(0.5).ln());
                let mean = x.iter().step_by(size).sum::<f64>() / self.tiers as f64;
                x.iter_mut().step_by(size).for_each(|bias| *bias -= mean);
            }
            _ => {}
        }
        x
    }

    /// The points from a start to the minimum of the loss with the penalty.
    pub(super) fn minimise(&self, penalty: f64, start: Vec<f64>) -> Vec<Vec<f64>> {
        let penalised = Penalised { problem: self, penalty, factors: self.factors(penalty) };
        let mut path = vec![start.clone()];
        lbfgs::minimise(&penalised, start, |x| path.push(x.to_vec()));
        path
    }

    /// The mean loss without the penalty.
    pub(super) fn loss(&self, x: &[f64]) -> f64 {
        self.pass(x, None)
    }

    /// The same with its derivatives.
    pub(super) fn slope(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        self.pass(x, Some(gradient))
    }

    /// The weights of one input together, as layers have them.
    pub(super) fn weight(&self, x: &[f64]) -> Vec<f32> {
        let (size, outputs) = (self.size(), self.outputs());
        let of = |input: usize| (0..outputs).map(move |output| x[output * size + 1 + input] as f32);
        (0..self.blocks.width).flat_map(of).collect()
    }

    /// The biases, of proportional odds those of the boundaries.
    pub(super) fn bias(&self, x: &[f64]) -> Vec<f32> {
        if self.objective == Objective::ProportionalOdds {
            return self.drops(x).into_iter().map(|drop| (x[0] - drop) as f32).collect();
        }
        x.iter().step_by(self.size()).map(|bias| *bias as f32).collect()
    }

    /// How far each boundary's bias is below the first one's.
    fn drops(&self, x: &[f64]) -> Vec<f64> {
        let steps = x[self.size()..].iter().map(|free| losses::softplus(*free).0);
        let falls = steps.scan(0.0, |drop, step| {
            *drop += step;
            Some(*drop)
        });
        [0.0].into_iter().chain(falls).collect()
    }

    /// The mean loss, and its derivatives if they are asked for.
    fn pass(&self, x: &[f64], mut gradient: Option<&mut [f64]>) -> f64 {
        let layer = self.outputs() * self.size();
        let weights: Vec<f32> = x[..layer].iter().map(|x| *x as f32).collect();
        let ordered = self.objective == Objective::ProportionalOdds;
        let drops = if ordered { self.drops(x) } else { Vec::new() };
        let derive = gradient.is_some();
        let starts: Vec<usize> = (0..self.blocks.count()).step_by(TOGETHER).collect();
        let parts = threads::map(starts, |start| self.part(start, &weights, &drops, derive));
        let mut total = Part::new(if derive { layer } else { 0 }, drops.len());
        parts.iter().for_each(|part| total.add(part));
        if let Some(gradient) = gradient.as_deref_mut() {
            gradient[..layer].copy_from_slice(&total.gradient);
        }
        let mut loss = total.loss;
        if ordered {
            loss +=
                self.steps(&x[layer..], &total.by_drop, gradient.as_deref_mut().map(|all| &mut all[layer..]));
        }
        let rows = self.blocks.rows.max(1) as f64;
        gradient.into_iter().flatten().for_each(|g| *g /= rows);
        loss / rows
    }

    /// What some blocks add, from one on.
    fn part(&self, start: usize, weights: &[f32], drops: &[f64], derive: bool) -> Part {
        let size = self.size();
        let mut part = Part::new(if derive { weights.len() } else { 0 }, drops.len());
        let mut sums = vec![[0.0; SIZE]; self.outputs()];
        for block in start..self.blocks.count().min(start + TOGETHER) {
            let targets = &self.targets[block * SIZE..][..self.blocks.filled(block)];
            for (sums, weights) in sums.iter_mut().zip(weights.chunks_exact(size)) {
                self.blocks.forward(block, weights, sums);
            }
            part.loss += match self.objective {
                Objective::CrossEntropy => losses::cross_entropy(targets, &mut sums),
                Objective::ProportionalOdds => {
                    losses::proportional_odds(targets, &mut sums[0], drops, &mut part.by_drop)
                }
                _ => losses::squared_hinge(targets, &mut sums),
            };
            for (slopes, gradient) in sums.iter().zip(part.gradient.chunks_exact_mut(size)) {
                self.blocks.backward(block, slopes, gradient);
            }
        }
        part
    }

    /// What is the same for all rows of a tier in proportional odds, and the derivatives by what sets the steps.
    fn steps(&self, free: &[f64], by_drop: &[f64], mut gradient: Option<&mut [f64]>) -> f64 {
        let mut total = 0.0;
        for (at, free) in free.iter().enumerate() {
            let (step, by_free) = losses::softplus(*free);
            let (loss, by_step) = losses::between(step);
            let rows = self.counts[at + 1];
            total += rows * loss;
            if let Some(gradient) = gradient.as_deref_mut() {
                let below: f64 = by_drop[at + 1..].iter().sum();
                gradient[at] = (below + rows * by_step) * by_free;
            }
        }
        total
    }

    /// For each output the guess at the second derivatives, decomposed: the inputs' products times what one row's loss is
    /// bent by at the start.
    fn factors(&self, penalty: f64) -> Vec<Vec<f64>> {
        let (size, rows) = (self.size(), self.blocks.rows.max(1) as f64);
        let share = |tier: usize| (self.counts[tier] / rows).clamp(1e-3, 0.999);
        let bent = |output: usize| match self.objective {
            Objective::CrossEntropy => share(output) * (1.0 - share(output)),
            Objective::ProportionalOdds => 0.25,
            _ => 1.0,
        };
        let n = self.moments.rows().max(1.0);
        let guess = |output: usize| {
            let mut matrix = vec![0.0; size * size];
            for i in 0..size {
                for j in 0..=i {
                    matrix[i * size + j] = bent(output) * self.moments.at(i, j) / n;
                }
                matrix[i * size + i] += bent(output) * RIDGE + if i > 0 { penalty } else { 0.0 };
            }
            cholesky::factor(&mut matrix, size);
            matrix
        };
        (0..self.outputs()).map(guess).collect()
    }

    /// The factor on the margins that makes their softmax most likely (Platt 1999, with one number for all tiers): Newton's
    /// method on a convex function.
    pub(super) fn scale(&self, x: &[f64]) -> f32 {
        let margins = self.margins(x);
        let mut scale = 1.0_f64;
        for _ in 0..MOST_SCALES {
            let (mut slope, mut bend) = (0.0, 0.0);
            for (row, target) in margins.chunks_exact(self.tiers).zip(&self.targets) {
                let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let (mut total, mut mean, mut square) = (0.0, 0.0, 0.0);
                for x in row {
                    let (p, x) = ((scale as f32 * (x - most)).exp(), x - most);
                    (total, mean, square) = (total + p, mean + p * x, square + p * x * x);
                }
                let mean = mean / total;
                slope += f64::from(mean - (row[usize::from(*target) - 1] - most));
                bend += f64::from(square / total - mean * mean);
            }
            let next = (scale - slope / bend.max(f64::MIN_POSITIVE)).clamp(scale / 4.0, scale * 4.0);
            let next = next.clamp(SCALES.0, SCALES.1);
            if (next / scale - 1.0).abs() < 1e-4 {
                return next as f32;
            }
            scale = next;
        }
        scale as f32
    }

    fn margins(&self, x: &[f64]) -> Vec<f32> {
        let (size, tiers) = (self.size(), self.tiers);
        let weights: Vec<f32> = x.iter().map(|x| *x as f32).collect();
        let mut margins = vec![0.0; self.blocks.rows * tiers];
        let mut sums = [0.0; SIZE];
        for (block, margins) in margins.chunks_mut(SIZE * tiers).enumerate() {
            for (tier, weights) in weights.chunks_exact(size).enumerate() {
                self.blocks.forward(block, weights, &mut sums);
                margins.iter_mut().skip(tier).step_by(tiers).zip(sums).for_each(|(to, sum)| *to = sum);
            }
        }
        margins
    }
}

/// The least and the largest scale, and how often it is bettered at most.
const SCALES: (f64, f64) = (0.05, 50.0);
const MOST_SCALES: usize = 30;

/// Sums over some blocks.
struct Part {
    loss: f64,
    /// By bias and weights; empty where it is not asked for.
    gradient: Vec<f64>,
    by_drop: Vec<f64>,
}

impl Part {
    fn new(numbers: usize, drops: usize) -> Self {
        Self { loss: 0.0, gradient: vec![0.0; numbers], by_drop: vec![0.0; drops] }
    }

    fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.gradient.iter_mut().zip(&other.gradient).for_each(|(sum, more)| *sum += more);
        self.by_drop.iter_mut().zip(&other.by_drop).for_each(|(sum, more)| *sum += more);
    }
}

/// A problem with its penalty on weights, not on biases.
struct Penalised<'p> {
    problem: &'p Problem,
    penalty: f64,
    factors: Vec<Vec<f64>>,
}

impl Loss for Penalised<'_> {
    fn slope(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let (size, outputs) = (self.problem.size(), self.problem.outputs());
        let mut loss = self.problem.slope(x, gradient);
        let weights = (0..outputs * size).filter(|at| at % size > 0);
        for at in weights {
            loss += self.penalty / 2.0 * x[at] * x[at];
            gradient[at] += self.penalty * x[at];
        }
        loss
    }

    fn newton(&self, gradient: &mut [f64]) {
        let outputs = gradient.chunks_exact_mut(self.problem.size()).zip(&self.factors);
        outputs.for_each(|(gradient, factor)| cholesky::substitute(factor, gradient));
    }
}
