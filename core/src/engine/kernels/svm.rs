//! Support vector machines with kernels, as ONNX-ML defines SVMClassifier and SVMRegressor.
//!
//! A class is chosen by votes of all pairs of classes, and probabilities come from the pairs' by the second method of
//! Wu, Lin and Weng, "Probability Estimates for Multi-class Classification by Pairwise Coupling" (JMLR 5, 2004), with
//! LIBSVM's limits of 100 rounds and 0.005 / classes. Eight support vectors are compared at a time, each in the order
//! of the features; decisions are summed in 64 bits in the order of the vectors.

use alloc::vec::Vec;

use super::product::PANEL;
use crate::{
    engine::{
        approx,
        plan::{Check, Operand, size},
        run::Run,
    },
    error::{Result, bail},
};

#[cfg(test)]
mod tests;

/// The most classes.
pub(crate) const MAX_CLASSES: usize = 32;
const MAX_PAIRS: usize = MAX_CLASSES * (MAX_CLASSES - 1) / 2;
/// Rounds of pairwise coupling.
const ROUNDS: usize = 100;

/// How alike two vectors are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Likeness {
    /// x·v.
    Linear,
    /// (gamma · x·v + coef0) to the power of degree.
    Poly { gamma: f32, coef0: f32, degree: f32 },
    /// exp(−gamma · |x − v|²).
    Rbf { gamma: f32 },
    /// tanh(gamma · x·v + coef0).
    Sigmoid { gamma: f32, coef0: f32 },
}

crate::wire::variants!(Likeness { Linear, Poly { gamma, coef0, degree }, Rbf { gamma }, Sigmoid { gamma, coef0 } });

/// `[repeat, features]` → for each row one decision per pair of classes (0, 1), (0, 2) …, or one probability per class,
/// or one prediction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Svm {
    pub(crate) x: u32,
    pub(crate) out: u32,
    /// Gets the index of the class with the most votes; of several, the first.
    pub(crate) label: Option<u32>,
    /// Rows within each row, one after the other; 1 unless the model's own batch axis has a fixed size.
    pub(crate) repeat: u32,
    pub(crate) features: u32,
    pub(crate) likeness: Likeness,
    /// How many support vectors each class has, in their order. A single class is a regression.
    pub(crate) per_class: Vec<u32>,
    /// Panels of a dense kernel, features → support vectors.
    pub(crate) vectors: u32,
    /// `[classes − 1, support vectors]`, or one row for a regression. Row r is for the r-th of the other classes.
    pub(crate) coefficients: u32,
    /// Added to each decision.
    pub(crate) rho: u32,
    /// Offset of LIBSVM's A and then B of each pair: probabilities are wanted instead of decisions.
    pub(crate) sigmoids: Option<u32>,
    /// The prediction becomes 1 where it is above 0, else −1.
    pub(crate) one_class: bool,
}

crate::wire::fields!(Svm {
    x,
    out,
    label,
    repeat,
    features,
    likeness,
    per_class,
    vectors,
    coefficients,
    rho,
    sigmoids,
    one_class
});

impl Svm {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let (classes, pairs) = (self.classes(), self.pairs());
        let count = self.per_class.iter().fold(0_u64, |sum, n| sum + u64::from(*n));
        let sound = self.features > 0 && (1..=MAX_CLASSES).contains(&classes);
        if !sound || u32::try_from(count).is_err() || (self.sigmoids.is_some() && classes < 2) {
            bail!(
                InvalidModel,
                "a support vector machine of the plan has {classes} classes, {count} vectors"
            );
        }
        let (count, rows) = (count as u32, (classes as u32 - 1).max(1));
        check.reads(Operand::Slot(self.x), size("support vector", &[self.repeat, self.features])?)?;
        let padded = size("support vector", &[count])?.next_multiple_of(PANEL);
        check.constants(self.vectors, size("support vector", &[self.features, padded as u32])?)?;
        check.constants(self.coefficients, size("support vector", &[count, rows])?)?;
        check.constants(self.rho, pairs)?;
        if let Some(sigmoids) = self.sigmoids {
            check.constants(sigmoids, 2 * pairs)?;
        }
        check.distinct(self.out, &[Operand::Slot(self.x)])?;
        check.writes(self.out, size("support vector", &[self.repeat, self.width() as u32])?)?;
        if let Some(label) = self.label {
            check.distinct(label, &[Operand::Slot(self.x), Operand::Slot(self.out)])?;
            check.writes(label, self.repeat as usize)?;
        }
        let coupling = if self.sigmoids.is_some() { ROUNDS * classes * classes } else { pairs };
        let work = u64::from(count) * (u64::from(self.features) + u64::from(rows)) + coupling as u64;
        Ok(work.saturating_mul(u64::from(self.repeat)))
    }

    fn classes(&self) -> usize {
        self.per_class.len()
    }

    fn pairs(&self) -> usize {
        (self.classes() * self.classes().saturating_sub(1) / 2).max(1)
    }

    /// Numbers in a row of the output.
    pub(crate) fn width(&self) -> usize {
        if self.sigmoids.is_some() { self.classes() } else { self.pairs() }
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let mut out = run.take(self.out);
        let mut labels = self.label.map(|label| run.take(label)).unwrap_or_default();
        let count = self.per_class.iter().sum::<u32>() as usize;
        let (features, pairs) = (self.features as usize, self.pairs());
        let machine = Machine {
            svm: self,
            vectors: run.constants(self.vectors, features * count.next_multiple_of(PANEL)).as_chunks().0,
            coefficients: run.constants(self.coefficients, count * (self.classes() - 1).max(1)),
            rho: run.constants(self.rho, pairs),
        };
        let sigmoids = self.sigmoids.map(|at| run.constants(at, 2 * pairs).split_at(pairs));
        let rows = run.slot(self.x, self.repeat as usize * features).chunks_exact(features);
        for (row, (xs, out)) in rows.zip(out.chunks_exact_mut(self.width())).enumerate() {
            let decisions = machine.decisions(xs);
            if let Some(label) = labels.get_mut(row) {
                *label = winner(self.classes(), &decisions) as f32;
            }
            match sigmoids {
                Some((a, b)) => couple(self.classes(), &decisions, a, b, out),
                None => out.iter_mut().zip(decisions).for_each(|(out, decision)| *out = decision as f32),
            }
            if self.one_class {
                out.iter_mut().for_each(|out| *out = if *out > 0.0 { 1.0 } else { -1.0 });
            }
        }
        run.put(self.out, out);
        if let Some(label) = self.label {
            run.put(label, labels);
        }
    }
}

struct Machine<'r> {
    svm: &'r Svm,
    vectors: &'r [[f32; PANEL]],
    coefficients: &'r [f32],
    rho: &'r [f32],
}

impl Machine<'_> {
    /// One decision for each pair of classes.
    fn decisions(&self, xs: &[f32]) -> [f64; MAX_PAIRS] {
        let mut sums = [0.0; MAX_PAIRS];
        let per_class = self.svm.per_class.iter().enumerate();
        let mut class_of = per_class.flat_map(|(class, count)| (0..*count).map(move |_| class)).enumerate();
        for panel in self.vectors.chunks_exact(xs.len()) {
            let alike = self.svm.likeness.of(xs, panel);
            for ((vector, class), alike) in class_of.by_ref().take(PANEL).zip(alike) {
                self.add(vector, class, f64::from(alike), &mut sums);
            }
        }
        sums.iter_mut().zip(self.rho).for_each(|(sum, rho)| *sum += f64::from(*rho));
        sums
    }

    /// Adds a support vector to the decisions between its class and the others.
    fn add(&self, vector: usize, class: usize, alike: f64, sums: &mut [f64; MAX_PAIRS]) {
        let classes = self.svm.classes();
        let count = self.coefficients.len() / (classes - 1).max(1);
        let rows = self.coefficients.iter().skip(vector).step_by(count);
        for (row, coefficient) in rows.enumerate() {
            let other = if row < class { row } else { row + 1 };
            let pair = if classes < 2 { 0 } else { pair(classes, class.min(other), class.max(other)) };
            if let Some(sum) = sums.get_mut(pair) {
                *sum += f64::from(*coefficient) * alike;
            }
        }
    }
}

/// The place of a pair of classes, the first before the second.
fn pair(classes: usize, first: usize, second: usize) -> usize {
    first * (2 * classes - first - 1) / 2 + second - first - 1
}

impl Likeness {
    /// Of a row and the eight vectors of a panel.
    fn of(self, xs: &[f32], panel: &[[f32; PANEL]]) -> [f32; PANEL] {
        let mut sums = [0.0_f32; PANEL];
        for (x, vectors) in xs.iter().zip(panel) {
            let distance = matches!(self, Self::Rbf { .. });
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                let apart = x - vector;
                *sum += if distance { apart * apart } else { x * vector };
            }
        }
        match self {
            Self::Linear => (),
            Self::Rbf { gamma } => {
                sums.iter_mut().for_each(|sum| *sum *= -gamma);
                approx::exp(&mut sums);
            }
            Self::Sigmoid { gamma, coef0 } => {
                sums.iter_mut().for_each(|sum| *sum = *sum * gamma + coef0);
                approx::tanh(&mut sums);
            }
            Self::Poly { gamma, coef0, degree } => {
                sums.iter_mut().for_each(|sum| *sum = power(*sum * gamma + coef0, degree));
            }
        }
        sums
    }
}

fn power(x: f32, degree: f32) -> f32 {
    match degree {
        2.0 => x * x,
        3.0 => x * x * x,
        _ => libm::pow(f64::from(x), f64::from(degree)) as f32,
    }
}

/// The class that wins most of its pairs; of several, the first.
fn winner(classes: usize, decisions: &[f64]) -> usize {
    let mut votes = [0_u32; MAX_CLASSES];
    let pairs = (0..classes).flat_map(|first| (first + 1..classes).map(move |second| (first, second)));
    for ((first, second), decision) in pairs.zip(decisions) {
        if let Some(votes) = votes.get_mut(if *decision > 0.0 { first } else { second }) {
            *votes += 1;
        }
    }
    let most = votes.iter().max().copied().unwrap_or_default();
    votes.iter().position(|votes| *votes == most).unwrap_or_default()
}

/// Joins the probabilities of the pairs into one per class.
// Indices as in the paper; at most MAX_CLASSES classes, which was checked when the plan was read.
#[allow(clippy::indexing_slicing, clippy::needless_range_loop)]
fn couple(classes: usize, decisions: &[f64], a: &[f32], b: &[f32], p: &mut [f32]) {
    let mut r = [[0.0_f32; MAX_CLASSES]; MAX_CLASSES];
    for i in 0..classes {
        for j in i + 1..classes {
            let at = pair(classes, i, j);
            // The first class's, which LIBSVM's A and B give by falling with the decision.
            let first = logistic(-(decisions[at] as f32 * a[at] + b[at]));
            let first = if first < 1e-7 { 1e-7 } else { first };
            let first = if first > 1.0 - 1e-7 { 1.0 - 1e-7 } else { first };
            (r[i][j], r[j][i]) = (first, 1.0 - first);
        }
    }
    let mut q = [[0.0_f32; MAX_CLASSES]; MAX_CLASSES];
    for i in 0..classes {
        for j in (0..classes).filter(|j| *j != i) {
            q[i][i] += r[j][i] * r[j][i];
            q[i][j] = -r[j][i] * r[i][j];
        }
    }
    p.fill(1.0 / classes as f32);
    let mut qp = [0.0_f32; MAX_CLASSES];
    for _ in 0..ROUNDS {
        let mut pqp = 0.0;
        for i in 0..classes {
            qp[i] = (0..classes).fold(0.0, |sum, j| sum + q[i][j] * p[j]);
            pqp += p[i] * qp[i];
        }
        let error = qp[..classes].iter().fold(0.0, |most: f32, qp| most.max((qp - pqp).abs()));
        if error < 0.005 / classes as f32 {
            return;
        }
        for i in 0..classes {
            let step = (pqp - qp[i]) / q[i][i];
            p[i] += step;
            pqp = (pqp + step * (step * q[i][i] + 2.0 * qp[i])) / (1.0 + step) / (1.0 + step);
            for j in 0..classes {
                qp[j] = (qp[j] + step * q[i][j]) / (1.0 + step);
                p[j] /= 1.0 + step;
            }
        }
    }
}

/// As ONNX-ML's runtimes compute it: exact at 1 − y for the other sign.
fn logistic(x: f32) -> f32 {
    let y = 1.0 / (1.0 + approx::exp_of(-x.abs()));
    if x < 0.0 { 1.0 - y } else { y }
}
