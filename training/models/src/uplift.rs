//! What an offer changes: uplift of rows with and without it, by the T- and the X-learner (Künzel et al. 2019) on boosted trees
//! with a squared error.
//!
//! With Y(1) and Y(0) the outcomes of a row x with the offer and without, of which one is seen, uplift is τ(x) = E[Y(1) − Y(0) | x].
//! Let μ₁ and μ₀ be regressions of the outcome on the treated rows and on the controls.
//!
//! - T-learner: τ(x) = μ₁(x) − μ₀(x).
//! - X-learner: τ₁ is a regression of Y − μ₀(x) on the treated rows, τ₀ one of μ₁(x) − Y on the controls;
//!   τ(x) = g·τ₀(x) + (1 − g)·τ₁(x), g the share of treated rows: where few were treated, μ₀ is known well, and τ₁ with it.
//!
//! Invariant: members are dealt to folds by a hash, and what is said of a member was learned from other folds. It lacks any way
//! to find out why an offer was given: chances come with the rows, and what moved them must be among the inputs.

use anyhow::ensure;

use crate::{Forest, boosting, mix, threads};

pub mod budget;
pub mod qini;

/// Rows some of which were treated.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// Inputs a row.
    pub width: usize,
    /// Inputs, row after row; NaN is missing.
    pub inputs: Vec<f32>,
    /// Which rows were treated; the others are controls.
    pub treated: Vec<bool>,
    /// What came of each row, in one unit.
    pub outcome: Vec<f64>,
    /// What each row's treatment cost, in one unit; of controls it is not looked at.
    pub cost: Vec<f64>,
    /// The chance that a row had of what was done with it, above 0 and below 1.
    pub chance: Vec<f64>,
    /// Whose row it is: rows of one member are in one fold.
    pub member: Vec<u32>,
}

/// The fewest treated rows, and controls, from which anything is learned.
pub const FEWEST: usize = 20;

impl Trial {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.treated.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.treated.is_empty()
    }

    /// One row's inputs.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.inputs[at * self.width..(at + 1) * self.width]
    }

    /// Looks whether uplift can be learned from it.
    ///
    /// # Errors
    /// When columns differ in length, a number is not finite, a chance is not between 0 and 1, or too few rows were treated,
    /// or not treated.
    pub fn check(&self) -> anyhow::Result<()> {
        let n = self.len();
        let lengths = [self.outcome.len(), self.cost.len(), self.chance.len(), self.member.len()];
        ensure!(
            self.width > 0
                && self.inputs.len() == n * self.width
                && lengths.iter().all(|length| *length == n),
            "the columns of a trial differ in length"
        );
        let finite = self.outcome.iter().chain(&self.cost).all(|x| x.is_finite());
        ensure!(finite, "an outcome or a cost is not a finite number");
        ensure!(
            self.chance.iter().all(|p| *p > 0.0 && *p < 1.0),
            "a propensity is not above 0 and below 1: where only one thing can be done, there is nothing to compare it with"
        );
        let treated = self.treated.iter().filter(|treated| **treated).count();
        let few = |n: usize, what: &str| {
            format!(
                "only {n} rows {what}; uplift is a difference, and takes at least {FEWEST} of either kind"
            )
        };
        ensure!(treated >= FEWEST, few(treated, "were treated"));
        ensure!(n - treated >= FEWEST, few(n - treated, "are controls"));
        Ok(())
    }

    fn places(&self, treated: bool, of: impl Fn(u32) -> bool) -> Vec<usize> {
        (0..self.len()).filter(|at| self.treated[*at] == treated && of(self.member[*at])).collect()
    }
}

/// Which learner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Learner {
    /// Two regressions, one less the other.
    T,
    /// Two more, on what each member's outcome differs by from what the other side's regression says.
    X,
}

/// What is predicted of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prediction {
    /// τ of the T-learner, in units of the outcome.
    pub t: f64,
    /// τ of the X-learner, likewise.
    pub x: f64,
    /// What treating the row will cost, never below 0.
    pub cost: f64,
}

impl Prediction {
    /// τ of one of the learners.
    pub fn uplift(&self, learner: Learner) -> f64 {
        match learner {
            Learner::T => self.t,
            Learner::X => self.x,
        }
    }
}

/// Regressions, a set for each fold's members, learned from all others.
#[derive(Clone, Debug)]
pub struct CrossFitted {
    seed: u64,
    sets: Vec<Set>,
}

/// What was learned without one fold.
#[derive(Clone, Debug)]
struct Set {
    /// μ₁, μ₀, τ₁, τ₀ and the cost of treated rows.
    forests: [Forest; 5],
    /// The share of treated rows.
    treated: f64,
}

impl CrossFitted {
    /// Learns from a trial, with so many folds.
    ///
    /// # Errors
    /// Those of [`Trial::check`], and when a fold leaves too few rows of either kind to learn from.
    pub fn fit(params: &boosting::Params, trial: &Trial, folds: usize, seed: u64) -> anyhow::Result<Self> {
        trial.check()?;
        ensure!(folds > 1, "members are told of by models that have not seen them, which takes 2 folds");
        let jobs = (0..folds).collect();
        let sets = threads::map(jobs, |fold| {
            let seen = |member| fold_of(seed, member, folds) != fold;
            Set::fit(params, trial, [true, false].map(|treated| trial.places(treated, seen)), seed)
        });
        Ok(Self { seed, sets: sets.into_iter().collect::<anyhow::Result<_>>()? })
    }

    /// What is said of a member by what was learned from others.
    ///
    /// # Panics
    /// When the row has fewer inputs than those of the trial.
    pub fn predict(&self, member: u32, row: &[f32]) -> Prediction {
        let Set { forests, treated } = &self.sets[fold_of(self.seed, member, self.sets.len())];
        let [with, without, of_treated, of_controls, cost] =
            forests.each_ref().map(|forest| forest.scores(row).first().map_or(f64::NAN, |x| f64::from(*x)));
        Prediction {
            t: with - without,
            x: treated * of_controls + (1.0 - treated) * of_treated,
            cost: cost.max(0.0),
        }
    }

    /// The same for each row of a trial.
    pub fn predict_all(&self, trial: &Trial) -> Vec<Prediction> {
        (0..trial.len()).map(|at| self.predict(trial.member[at], trial.row(at))).collect()
    }
}

/// The fold of a member's rows.
fn fold_of(seed: u64, member: u32, folds: usize) -> usize {
    (mix(mix(seed) ^ u64::from(member)) % folds as u64) as usize
}

impl Set {
    fn fit(
        params: &boosting::Params,
        trial: &Trial,
        [treated, controls]: [Vec<usize>; 2],
        seed: u64,
    ) -> anyhow::Result<Self> {
        let few = treated.len().min(controls.len());
        ensure!(
            few >= FEWEST,
            "a fold leaves {few} rows of one kind, at least {FEWEST} are needed; use more data"
        );
        let learn = |rows: &[usize], of: &dyn Fn(usize) -> f64, seed: u64| {
            let inputs: Vec<f32> = rows.iter().flat_map(|at| trial.row(*at)).copied().collect();
            let member: Vec<u32> = rows.iter().map(|at| trial.member[*at]).collect();
            let targets: Vec<f64> = rows.iter().map(|at| of(*at)).collect();
            boosting::regress(params, (trial.width, &inputs), &targets, &member, seed)
        };
        let outcome = |at: usize| trial.outcome[at];
        let with = learn(&treated, &outcome, mix(seed ^ 1))?;
        let without = learn(&controls, &outcome, mix(seed ^ 2))?;
        let says = |forest: &Forest, at: usize| f64::from(forest.scores(trial.row(at))[0]);
        let of_treated = learn(&treated, &|at| outcome(at) - says(&without, at), mix(seed ^ 3))?;
        let of_controls = learn(&controls, &|at| says(&with, at) - outcome(at), mix(seed ^ 4))?;
        let cost = learn(&treated, &|at| trial.cost[at], mix(seed ^ 5))?;
        let share = treated.len() as f64 / (treated.len() + controls.len()) as f64;
        Ok(Self { forests: [with, without, of_treated, of_controls, cost], treated: share })
    }
}

#[cfg(test)]
mod tests;
