//! Off-policy evaluation: what a policy would have earned, from the log of another one that drew its actions at random
//! with known chances.
//!
//! With w = π(a|x) / p the chance of the logged action under the policy over its propensity, q̂ an outcome model and
//! q̂(x, π) its mean over the policy's arms, the value of a policy is estimated as
//!
//! | name | formula | from |
//! |---|---|---|
//! | inverse propensity (IPS) | mean of w·r | Horvitz & Thompson 1952 |
//! | self-normalised (SNIPS) | Σ w·r / Σ w | Swaminathan & Joachims 2015 |
//! | direct (DM) | mean of q̂(x, π) | Dudík et al. 2011 |
//! | doubly robust (DR) | mean of q̂(x, π) + w·(r − q̂(x, a)) | Dudík et al. 2011, 2014 |
//! | self-normalised DR | the same with w over its mean | Dudík et al. 2014 |
//! | Switch-DR | DR, with w·(r − q̂) only where w ≤ τ | Wang et al. 2017 |
//! | clipped IPS and DR | min(w, λ) in place of w | Ionides 2008 |
//!
//! Invariant: rows of one member are one draw. Intervals resample members, and the same draws serve every figure, so that
//! differences are paired. The order of the members' numbers, not that of the rows, decides which draw is which.
//!
//! It needs true propensities of a policy that really drew. It cannot see an arm that the log never tried: only that
//! weights then sum to less than their number.

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use terms::{Estimator, Row};

mod gate;
mod intervals;
mod terms;

pub use gate::{Gate, Kind, Refusal};

/// Logged decisions, n rows.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a> {
    /// The arm taken, from 0.
    pub actions: &'a [u32],
    /// What came of it, in any unit.
    pub rewards: &'a [f64],
    /// The logging policy's probability of the arm that was taken, above 0 and at most 1.
    pub propensities: &'a [f64],
    /// Whose row it is: rows with the same number are drawn together. All different where rows are independent.
    pub members: &'a [u64],
}

/// A policy to be evaluated on the rows of a log.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// How many arms there are, k.
    pub arms: usize,
    /// The policy's probabilities, n × k, row after row; each row sums to 1.
    pub probabilities: &'a [f64],
    /// An outcome model's expected reward of each arm, n × k, from which the row's own reward was kept.
    pub estimates: &'a [f64],
}

/// How a log is evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Decides which members are drawn.
    pub seed: u64,
    /// Resamples behind a bootstrap interval.
    pub rounds: usize,
    /// The share of an interval, between 0 and 1.
    pub level: f64,
    /// τ of Switch-DR; by default the square root of the rows, as for `clip`.
    pub switch: Option<f64>,
    /// λ of the clipped estimators; by default the square root of the rows, from which on Ionides (2008) truncates: what is
    /// clipped away vanishes as the log grows.
    pub clip: Option<f64>,
    /// From which weight on a row is called heavy; by default the same.
    pub heavy: Option<f64>,
    /// The smallest and the largest reward that can be; by default those of the log.
    pub rewards: Option<[f64; 2]>,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, rounds: 1000, level: 0.95, switch: None, clip: None, heavy: None, rewards: None }
    }
}

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// A figure and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// On the rows as they are.
    pub value: f64,
    /// Percentiles over resampled members (Efron 1979).
    pub bootstrap: Interval,
    /// The empirical Bernstein bound of both sides (Maurer & Pontil 2009, theorem 4), with members for draws: wider, and
    /// right for any number of them if `range` holds. Of self-normalised figures it is that of their linear part.
    pub bernstein: Interval,
    /// The width that the Bernstein bound takes a member's share in the mean to have: from the smallest that a member's rows
    /// would give with the smallest reward, to the largest with the largest. The weights are those of the log; a heavier
    /// one that it happens not to have is not in it.
    pub range: f64,
}

impl Estimate {
    /// The interval of a kind.
    pub fn interval(&self, kind: Kind) -> Interval {
        match kind {
            Kind::Bootstrap => self.bootstrap,
            Kind::Bernstein => self.bernstein,
        }
    }
}

/// The estimates that an outcome model takes part in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Modelled {
    /// The outcome model alone; its interval knows nothing of the model's own error.
    pub direct: Estimate,
    /// Doubly robust.
    pub doubly_robust: Estimate,
    /// Doubly robust, self-normalised.
    pub self_normalised: Estimate,
    /// Switch-DR.
    pub switch: Estimate,
    /// Doubly robust with clipped weights.
    pub clipped: Estimate,
}

/// How far the log reaches: weights are the policy's probability of the logged arm over the log's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Weights {
    /// Of how many rows with equal weights the log is worth: (Σ w)² / Σ w² (Kong 1992); 0 if all weights are.
    pub effective_rows: f64,
    /// The largest.
    pub largest: f64,
    /// Near 1 if the propensities are right and the log tries every arm that the policy would take.
    pub mean: Estimate,
    /// The share of rows with a weight over `bound`: where the log went there at all, but rarely. It counts logged rows, so
    /// that arms tried so rarely that they are not in the log do not show.
    pub heavy: f64,
    /// That bound.
    pub bound: f64,
    /// 1 − mean weight, at least 0: the policy's mass on arms which the log does not have where the policy wants them. It is
    /// as unsure as the mean weight, and wrong propensities look the same.
    pub unseen: f64,
}

/// What a log says of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// Rows of the log.
    pub rows: usize,
    /// Members whose they are.
    pub members: usize,
    /// The share of the intervals.
    pub level: f64,
    /// The mean reward of the log: what the policy that was in force earned.
    pub incumbent: Estimate,
    /// By inverse propensities.
    pub ips: Estimate,
    /// Self-normalised.
    pub snips: Estimate,
    /// With clipped weights.
    pub clipped_ips: Estimate,
    /// With an outcome model, where one was given.
    pub modelled: Option<Modelled>,
    /// The judged estimate minus the incumbent, in pairs.
    pub lift: Estimate,
    /// How far the log reaches.
    pub weights: Weights,
}

impl Evaluation {
    /// The estimate that a policy is judged by: doubly robust, or without an outcome model IPS, which is the same with a
    /// model that expects nothing.
    pub fn judged(&self) -> &Estimate {
        self.modelled.as_ref().map_or(&self.ips, |modelled| &modelled.doubly_robust)
    }
}

/// Evaluates a policy by all estimators.
///
/// # Errors
/// When shapes do not fit, fewer than two members have rows, or a number is none or outside its range; it says which row
/// (from 1) and what would be right.
pub fn evaluate(logged: &Logged<'_>, target: &Target<'_>, options: &Options) -> anyhow::Result<Evaluation> {
    logged.check()?;
    target.check(logged)?;
    let row = |(at, action): (usize, &u32)| {
        let arms = at * target.arms..(at + 1) * target.arms;
        let (chances, estimates) = (&target.probabilities[arms.clone()], &target.estimates[arms]);
        let action = *action as usize;
        Row {
            weight: chances[action] / logged.propensities[at],
            reward: logged.rewards[at],
            estimate: estimates[action],
            expected: chances.iter().zip(estimates).map(|(chance, estimate)| chance * estimate).sum(),
        }
    };
    let rows: Vec<Row> = logged.actions.iter().enumerate().map(row).collect();
    figures(&rows, logged.members, true, options)
}

/// Evaluates a policy of which only its probabilities of the logged arms are known, n numbers from 0 to 1: without an
/// outcome model.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_chances(
    logged: &Logged<'_>,
    chances: &[f64],
    options: &Options,
) -> anyhow::Result<Evaluation> {
    logged.check()?;
    let rows = logged.rewards.len();
    ensure!(chances.len() == rows, "{} probabilities for {rows} rows; give one a row", chances.len());
    within("the policy's probability", chances, 0.0..=1.0)?;
    let row = |(at, chance): (usize, &f64)| Row {
        weight: chance / logged.propensities[at],
        reward: logged.rewards[at],
        estimate: 0.0,
        expected: 0.0,
    };
    let rows: Vec<Row> = chances.iter().enumerate().map(row).collect();
    figures(&rows, logged.members, false, options)
}

fn figures(
    rows: &[Row],
    members: &[u64],
    is_modelled: bool,
    options: &Options,
) -> anyhow::Result<Evaluation> {
    options.check()?;
    let bound = |given: Option<f64>| given.unwrap_or((rows.len() as f64).sqrt());
    let (switch, clip) = (bound(options.switch), bound(options.clip));
    let asked = [
        Estimator::Incumbent,
        Estimator::Ips,
        Estimator::Snips,
        Estimator::ClippedIps(clip),
        Estimator::Lift,
        Estimator::MeanWeight,
        Estimator::Direct,
        Estimator::DoublyRobust,
        Estimator::SelfNormalised,
        Estimator::Switch(switch),
        Estimator::Clipped(clip),
    ];
    let asked = if is_modelled { &asked[..] } else { &asked[..6] };
    let found = intervals::estimates(rows, members, asked, options)?;
    let [incumbent, ips, snips, clipped_ips, lift, mean, modelled @ ..] = &found.estimates[..] else {
        bail!("an estimate is missing");
    };
    let modelled = match modelled {
        [direct, doubly_robust, self_normalised, switch, clipped] => Some(Modelled {
            direct: *direct,
            doubly_robust: *doubly_robust,
            self_normalised: *self_normalised,
            switch: *switch,
            clipped: *clipped,
        }),
        _ => None,
    };
    Ok(Evaluation {
        rows: rows.len(),
        members: found.members,
        level: options.level,
        incumbent: *incumbent,
        ips: *ips,
        snips: *snips,
        clipped_ips: *clipped_ips,
        modelled,
        lift: *lift,
        weights: Weights::of(rows, *mean, bound(options.heavy)),
    })
}

impl Weights {
    fn of(rows: &[Row], mean: Estimate, bound: f64) -> Self {
        let weights = || rows.iter().map(|row| row.weight);
        let (sum, squares) = (weights().sum::<f64>(), weights().map(|w| w * w).sum::<f64>());
        Self {
            effective_rows: if squares > 0.0 { sum * sum / squares } else { 0.0 },
            largest: weights().fold(0.0, f64::max),
            mean,
            heavy: weights().filter(|w| *w > bound).count() as f64 / rows.len() as f64,
            bound,
            unseen: (1.0 - mean.value).max(0.0),
        }
    }
}

impl Logged<'_> {
    fn check(&self) -> anyhow::Result<()> {
        let rows = self.rewards.len();
        let lengths = [self.actions.len(), self.propensities.len(), self.members.len()];
        ensure!(
            lengths == [rows; 3],
            "{} actions, {rows} rewards, {} propensities and {} members; give one of each a row",
            lengths[0],
            lengths[1],
            lengths[2]
        );
        within("reward", self.rewards, f64::MIN..=f64::MAX)?;
        within("propensity", self.propensities, f64::MIN_POSITIVE..=1.0)
    }
}

impl Target<'_> {
    fn check(&self, logged: &Logged<'_>) -> anyhow::Result<()> {
        let (rows, arms) = (logged.actions.len(), self.arms);
        let (chances, estimates) = (self.probabilities.len(), self.estimates.len());
        ensure!(
            [chances, estimates] == [rows * arms; 2],
            "{chances} probabilities and {estimates} estimates for {rows} rows of {arms} arms"
        );
        if let Some(at) = logged.actions.iter().position(|action| *action as usize >= arms) {
            bail!("row {}: action {} of {arms} arms, which are numbered from 0", at + 1, logged.actions[at]);
        }
        within("the policy's probability", self.probabilities, 0.0..=1.0)?;
        within("the outcome model's estimate", self.estimates, f64::MIN..=f64::MAX)?;
        for (at, chances) in self.probabilities.chunks(arms.max(1)).enumerate() {
            let sum: f64 = chances.iter().sum();
            ensure!(
                (sum - 1.0).abs() < 1e-6,
                "row {}: the policy's probabilities sum to {sum}, not 1",
                at + 1
            );
        }
        Ok(())
    }
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.rounds > 0, "a bootstrap of no rounds; 1000 is usual");
        ensure!(self.level > 0.0 && self.level < 1.0, "level {}; it is between 0 and 1", self.level);
        for (name, bound) in [("switch", self.switch), ("clip", self.clip), ("heavy", self.heavy)] {
            let bound = bound.unwrap_or(1.0);
            ensure!(bound > 0.0 && bound.is_finite(), "{name} {bound}; it is a weight above 0");
        }
        Ok(())
    }
}

/// Whether all numbers are within a range; `MIN..=MAX` is any that is finite.
fn within(what: &str, numbers: &[f64], range: std::ops::RangeInclusive<f64>) -> anyhow::Result<()> {
    let Some(at) = numbers.iter().position(|number| !range.contains(number)) else { return Ok(()) };
    let right = match *range.end() {
        f64::MAX => "finite",
        _ if *range.start() > 0.0 => "above 0 and at most 1",
        _ => "from 0 to 1",
    };
    bail!("row {}: {what} {}; it must be {right}", at + 1, numbers[at])
}

#[cfg(test)]
mod tests;
