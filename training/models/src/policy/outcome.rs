//! What reward to expect of each arm in a context: ridge regression (Hoerl & Kennard 1970) of all arms together, and of
//! what is left of each arm's own rows.
//!
//! An arm's own regression, its constant included, is drawn towards nothing, so an arm with few rows is expected to do as
//! all of them, and one with many as itself. How hard is drawn is what does best on members held out. Expectations stay
//! within the rewards seen.
//!
//! Invariant: in [`estimates`], a member's rewards move none of the member's own estimates. Contexts are centred and scaled
//! over all rows, in which no reward has a part. It is linear in the context, on purpose: doubly robust estimates need a
//! model that is calm, not one that is right.

use anyhow::{bail, ensure};

use crate::{cholesky, mix, threads};

/// Penalties tried, in rows: one row's worth to so many that nothing moves.
const PENALTIES: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e7];
/// What is taken where too few members are there to try them.
const UNTRIED: f64 = 100.0;
/// Parts of the members on which penalties are tried when a model is fitted to all rows.
const TRIALS: usize = 5;

/// Rows to learn from.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Numbers of a context, d; may be 0.
    pub width: usize,
    /// The contexts, n × d, row after row, finite.
    pub contexts: &'a [f32],
    /// The arm taken, from 0, n.
    pub actions: &'a [u32],
    /// What came of it, n.
    pub rewards: &'a [f64],
    /// Whose row it is, n: rows of one member are held out together.
    pub members: &'a [u64],
    /// How many arms there are, k.
    pub arms: usize,
}

/// Expected rewards, n × k, row after row, each from a model that has not seen the row's member: members are dealt to
/// `folds` parts by a hash of their number.
///
/// # Errors
/// When shapes do not fit, a number is not finite, there are fewer than two folds, or all members fall into one.
pub fn estimates(rows: &Rows<'_>, folds: usize) -> anyhow::Result<Vec<f64>> {
    ensure!(folds > 1, "{folds} folds; nobody is estimated by own rows, so there are two or more");
    rows.check()?;
    let units = Units::of(rows.width, rows.contexts);
    let fold = |at: usize| fold_of(rows.members[at], folds);
    let parts = Parts::of(rows, &units, folds);
    let fitted = threads::map((0..folds).collect(), |out| {
        let kept: Vec<usize> = (0..folds).filter(|fold| *fold != out).collect();
        parts.fit(&kept, &units)
    });
    let mut found = Vec::with_capacity(rows.rewards.len() * rows.arms);
    for at in 0..rows.rewards.len() {
        let Some(model) = &fitted[fold(at)] else {
            bail!("all members fall into one of {folds} folds; an outcome model needs more members");
        };
        model.extend(rows.context(at), &mut found);
    }
    Ok(found)
}

/// A fitted outcome model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    units: Units,
    /// Constant and weights of the context in its units, arm after arm, the pooled regression in each.
    arms: Vec<Vec<f64>>,
    /// The smallest and the largest reward seen.
    ends: [f64; 2],
    /// The penalty of the pooled regression and of the arms' own, in rows.
    pub penalties: [f64; 2],
}

impl Fitted {
    /// Fits a model to all rows.
    ///
    /// # Errors
    /// When shapes do not fit, a number is not finite, or there is no row.
    pub fn fit(rows: &Rows<'_>) -> anyhow::Result<Self> {
        rows.check()?;
        let units = Units::of(rows.width, rows.contexts);
        let parts = Parts::of(rows, &units, TRIALS);
        let Some(fitted) = parts.fit(&(0..TRIALS).collect::<Vec<_>>(), &units) else {
            bail!("there is no row to fit an outcome model to");
        };
        Ok(fitted)
    }

    /// Expected rewards of contexts with the same numbers, n × k; of `n` rows, as contexts may have no numbers.
    ///
    /// # Errors
    /// When there are not as many numbers for each row as the model was fitted with.
    pub fn apply(&self, contexts: &[f32], n: usize) -> anyhow::Result<Vec<f64>> {
        let width = self.units.mean.len();
        ensure!(
            contexts.len() == n * width,
            "{} numbers for {n} contexts of {width}; give the columns that the model was fitted with",
            contexts.len()
        );
        let mut found = Vec::with_capacity(n * self.arms.len());
        (0..n).for_each(|at| self.extend(&contexts[at * width..(at + 1) * width], &mut found));
        Ok(found)
    }

    fn extend(&self, context: &[f32], found: &mut Vec<f64>) {
        let x = self.units.with_one(context);
        let expect = |arm: &Vec<f64>| dot(arm, &x).clamp(self.ends[0], self.ends[1]);
        found.extend(self.arms.iter().map(expect));
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn fold_of(member: u64, folds: usize) -> usize {
    (mix(member) % folds as u64) as usize
}

impl Rows<'_> {
    fn check(&self) -> anyhow::Result<()> {
        let (rows, arms) = (self.rewards.len(), self.arms);
        let lengths = [self.contexts.len(), self.actions.len(), self.members.len()];
        ensure!(
            lengths == [rows * self.width, rows, rows],
            "{} numbers, {} actions and {} members for {rows} rows with contexts of {}",
            lengths[0],
            lengths[1],
            lengths[2],
            self.width
        );
        if let Some(at) = self.actions.iter().position(|action| *action as usize >= arms) {
            bail!("row {}: action {} of {arms} arms, which are numbered from 0", at + 1, self.actions[at]);
        }
        if let Some(at) = self.rewards.iter().position(|reward| !reward.is_finite()) {
            bail!("row {}: reward {}; it must be finite", at + 1, self.rewards[at]);
        }
        if let Some(at) = self.contexts.iter().position(|number| !number.is_finite()) {
            let (row, column) = (at / self.width + 1, at % self.width + 1);
            bail!("row {row}: number {column} of the context is {}; it must be finite", self.contexts[at]);
        }
        Ok(())
    }

    fn context(&self, at: usize) -> &[f32] {
        &self.contexts[at * self.width..(at + 1) * self.width]
    }
}

/// Mean and spread of each number of the contexts, so that one penalty suits all.
#[derive(Clone, Debug, PartialEq)]
struct Units {
    mean: Vec<f64>,
    /// One over the standard deviation; 0 for a number that is always the same.
    scale: Vec<f64>,
}

impl Units {
    fn of(width: usize, contexts: &[f32]) -> Self {
        let column = |at: usize| contexts.iter().skip(at).step_by(width.max(1)).map(|x| f64::from(*x));
        let rows = (contexts.len() / width.max(1)).max(1) as f64;
        let mean: Vec<f64> = (0..width).map(|at| column(at).sum::<f64>() / rows).collect();
        let spread = |(at, mean): (usize, &f64)| {
            let variance = column(at).map(|x| (x - mean).powi(2)).sum::<f64>() / rows;
            if variance > 1e-12 * mean * mean { 1.0 / variance.sqrt() } else { 0.0 }
        };
        let scale = mean.iter().enumerate().map(spread).collect();
        Self { mean, scale }
    }

    /// A context in its units, after a 1.
    fn with_one(&self, context: &[f32]) -> Vec<f64> {
        let units = context.iter().zip(&self.mean).zip(&self.scale);
        let units = units.map(|((x, mean), scale)| (f64::from(*x) - mean) * scale);
        std::iter::once(1.0).chain(units).collect()
    }
}

/// Sums over rows, which are all that a regression needs of them.
#[derive(Clone, Debug)]
struct Moments {
    rows: f64,
    /// Σ x·xᵀ, on and below the diagonal, row after row.
    squares: Vec<f64>,
    /// Σ x·r.
    products: Vec<f64>,
    /// Σ r².
    rewards: f64,
}

impl Moments {
    fn none(size: usize) -> Self {
        Self { rows: 0.0, squares: vec![0.0; size * size], products: vec![0.0; size], rewards: 0.0 }
    }

    fn take(&mut self, x: &[f64], reward: f64) {
        let size = x.len();
        self.rows += 1.0;
        self.rewards += reward * reward;
        for (at, one) in x.iter().enumerate().filter(|(_, one)| **one != 0.0) {
            self.products[at] += one * reward;
            let row = &mut self.squares[at * size..=at * size + at];
            row.iter_mut().zip(x).for_each(|(sum, other)| *sum += one * other);
        }
    }

    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.rewards += other.rewards;
        let pairs = |into: &mut Vec<f64>, from: &[f64]| into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        pairs(&mut self.squares, &other.squares);
        pairs(&mut self.products, &other.products);
    }

    /// Σ x·xᵀ times some weights.
    fn times(&self, weights: &[f64]) -> Vec<f64> {
        let size = weights.len();
        let mut found = vec![0.0; size];
        for at in 0..size {
            let row = &self.squares[at * size..at * size + at];
            found[at] += dot(row, &weights[..at]) + self.squares[at * size + at] * weights[at];
            row.iter().zip(&mut found).for_each(|(square, sum)| *sum += square * weights[at]);
        }
        found
    }

    /// The sum of squared errors of some weights.
    fn error(&self, weights: &[f64]) -> f64 {
        self.rewards - 2.0 * dot(weights, &self.products) + dot(weights, &self.times(weights))
    }

    /// What is added to `base` for the least Σ (r − x·(base + w))² + λ·|w|², the constant penalised or not.
    fn solve(&self, base: &[f64], penalty: f64, is_constant_free: bool) -> Vec<f64> {
        let size = base.len();
        let mut squares = self.squares.clone();
        (0..size).for_each(|at| squares[at * size + at] += penalty);
        if is_constant_free {
            squares[0] -= penalty;
        }
        let right = self.products.iter().zip(self.times(base)).map(|(all, known)| all - known).collect();
        cholesky::solve(&mut squares, right)
    }
}

/// Moments by fold and arm.
struct Parts {
    size: usize,
    /// Fold after fold, arm after arm.
    moments: Vec<Vec<Moments>>,
    /// The smallest and the largest reward of a fold.
    ends: Vec<[f64; 2]>,
}

impl Parts {
    fn of(rows: &Rows<'_>, units: &Units, folds: usize) -> Self {
        let size = rows.width + 1;
        let mut moments = vec![vec![Moments::none(size); rows.arms]; folds];
        let mut ends = vec![[f64::MAX, f64::MIN]; folds];
        for at in 0..rows.rewards.len() {
            let (fold, reward) = (fold_of(rows.members[at], folds), rows.rewards[at]);
            moments[fold][rows.actions[at] as usize].take(&units.with_one(rows.context(at)), reward);
            ends[fold] = [ends[fold][0].min(reward), ends[fold][1].max(reward)];
        }
        Self { size, moments, ends }
    }

    /// The model of some folds; none if they have no row.
    fn fit(&self, folds: &[usize], units: &Units) -> Option<Fitted> {
        let folds: Vec<usize> =
            folds.iter().copied().filter(|fold| self.ends[*fold][0] <= self.ends[*fold][1]).collect();
        let (arms, pooled) = self.sums(&folds);
        if pooled.rows == 0.0 {
            return None;
        }
        let trials = if folds.len() > 1 { &folds[..] } else { &[] };
        let of_pool = self.best(trials, |rest, out| {
            let pooled = self.sums(rest).1;
            let held = self.sums(&[out]).1;
            PENALTIES.map(|penalty| held.error(&pooled.solve(&vec![0.0; self.size], penalty, true)))
        });
        let of_arms = self.best(trials, |rest, out| {
            let (arms, pooled) = self.sums(rest);
            let base = pooled.solve(&vec![0.0; self.size], of_pool, true);
            let error = |penalty: f64| {
                let pairs = arms.iter().zip(&self.moments[out]);
                pairs.map(|(arm, held)| held.error(&sum(&base, &arm.solve(&base, penalty, false)))).sum()
            };
            PENALTIES.map(error)
        });
        let base = pooled.solve(&vec![0.0; self.size], of_pool, true);
        let own = |arm: &Moments| sum(&base, &arm.solve(&base, of_arms, false));
        let ends = folds.iter().map(|fold| self.ends[*fold]);
        Some(Fitted {
            units: units.clone(),
            arms: arms.iter().map(own).collect(),
            ends: ends.fold([f64::MAX, f64::MIN], |[low, high], [a, b]| [low.min(a), high.max(b)]),
            penalties: [of_pool, of_arms],
        })
    }

    /// The penalty with the least squared error on folds held out one by one; the larger of equals.
    fn best(&self, folds: &[usize], errors: impl Fn(&[usize], usize) -> [f64; PENALTIES.len()]) -> f64 {
        let mut sums = [0.0; PENALTIES.len()];
        for out in folds {
            let rest: Vec<usize> = folds.iter().copied().filter(|fold| fold != out).collect();
            sums.iter_mut().zip(errors(&rest, *out)).for_each(|(sum, error)| *sum += error);
        }
        let best = PENALTIES.into_iter().zip(sums).rev().min_by(|a, b| a.1.total_cmp(&b.1));
        best.filter(|_| !folds.is_empty()).map_or(UNTRIED, |(penalty, _)| penalty)
    }

    /// The moments of some folds, by arm and of all arms.
    fn sums(&self, folds: &[usize]) -> (Vec<Moments>, Moments) {
        let none = || Moments::none(self.size);
        let mut arms = vec![none(); self.moments.first().map_or(0, Vec::len)];
        for fold in folds {
            arms.iter_mut().zip(&self.moments[*fold]).for_each(|(sum, moments)| sum.add(moments));
        }
        let mut all = none();
        arms.iter().for_each(|arm| all.add(arm));
        (arms, all)
    }
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

#[cfg(test)]
mod tests;
