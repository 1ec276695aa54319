//! Policies learned from logged decisions: contextual Q-learning, and REINFORCE under a budget.
//!
//! Invariant: a row says something of the action that was taken, and of the others only through an outcome model that has not
//! seen the row's member. What was learned here is judged elsewhere, on other rows ([`super::ope`]).

use serde::{Deserialize, Serialize};

use super::net::{Net, Steps, Trainer, softmax};
use crate::mix;

/// Share of the members on whose rows training is stopped.
const ASIDE: f64 = 0.2;
/// Weights beyond this count as much as this.
const MOST_WEIGHT: f64 = 20.0;
/// Epochs without a new best after which training stops.
const PATIENCE: u32 = 15;
/// Prices of cost that are tried on the way up, and between the last two.
const PRICES: u32 = 5;

/// Logged decisions: `contexts.len() / width` rows.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<'a> {
    /// Numbers of a context.
    pub width: usize,
    /// What was known when each decision was taken, row after row: scaled, never NaN.
    pub contexts: &'a [f32],
    /// How many actions there are.
    pub arms: usize,
    /// The action that was taken, from 0.
    pub actions: &'a [u32],
    /// What came of it, before its cost.
    pub rewards: &'a [f64],
    /// What it cost.
    pub costs: &'a [f64],
    /// The chance with which it was taken, in (0, 1].
    pub propensities: &'a [f64],
    /// Whose decision it is.
    pub members: &'a [u64],
}

impl Decisions<'_> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// What was known of a row.
    pub fn context(&self, row: usize) -> &[f32] {
        &self.contexts[row * self.width..(row + 1) * self.width]
    }

    /// What came of a row after its cost.
    fn net(&self, row: usize) -> f64 {
        self.rewards[row] - self.costs[row]
    }

    /// The rows that are learned from, and those of other members, on which training is stopped.
    fn part(&self, seed: u64) -> (Vec<usize>, Vec<usize>) {
        let aside =
            |row: &usize| (mix(seed ^ self.members[*row]) >> 11) as f64 / (1_u64 << 53) as f64 <= ASIDE;
        let (aside, rest): (Vec<_>, Vec<_>) = (0..self.len()).partition(aside);
        if aside.is_empty() || rest.is_empty() {
            return ((0..self.len()).collect(), (0..self.len()).collect());
        }
        (rest, aside)
    }
}

/// How a policy is learned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Learning {
    /// Units of the hidden layer; 0 for a linear policy.
    pub hidden: usize,
    /// Epochs at most.
    pub epochs: u32,
    /// Adam's learning rate.
    pub rate: f64,
    /// Weight of the L2 penalty.
    pub l2: f64,
    /// Weight of the entropy, in deviations of the reward: what keeps a policy from growing certain too soon.
    pub entropy: f64,
    /// How much the next decision's value counts, 0 to 1; 0 learns each decision for itself.
    pub discount: f64,
}

impl Default for Learning {
    fn default() -> Self {
        Self { hidden: 0, epochs: 200, rate: 0.01, l2: 1e-3, entropy: 0.002, discount: 0.0 }
    }
}

/// The value of each action in each context, by Q-learning (Watkins 1989) with a linear or small network for Q.
///
/// Each row moves `Q(x, a)` towards `r − cost + discount · max_b Q(x′, b)`, where x′ is the context of the same member's next
/// row; the maximum is that of the epoch before (fitted Q; Ernst et al. 2005). `next` has that row for each, where there is one.
/// Gives the net, whose outputs are in the unit of the rewards.
pub fn q_learning(rows: &Decisions<'_>, next: &[Option<usize>], how: &Learning, seed: u64) -> Net {
    let (learned, aside) = rows.part(seed);
    // Scaled and not centred: a mean taken off counts once for each decision that is still to come.
    let (mean, deviation) = moments(&learned, |row| rows.net(row));
    let scale = mean.hypot(deviation);
    let reward = |row: usize| rows.net(row) / scale;
    let mut trainer = trainer(rows, how, seed);
    let mut best = (f64::INFINITY, trainer.net.clone(), 0);
    for epoch in 0..how.epochs {
        let before = trainer.net.clone();
        let target = |row: usize| {
            let ahead = next.get(row).copied().flatten().filter(|_| how.discount > 0.0);
            let value = ahead.map_or(0.0, |ahead| {
                before.run(rows.context(ahead)).into_iter().fold(f64::NEG_INFINITY, f64::max)
            });
            reward(row) + how.discount * value
        };
        trainer.epoch(
            &learned,
            |row| rows.context(row),
            |row, out, slope| {
                let action = rows.actions[row] as usize;
                slope[action] = target(row) - out[action];
            },
        );
        let error = |row: &usize| {
            let own = trainer.net.run(rows.context(*row))[rows.actions[*row] as usize];
            (target(*row) - own).powi(2)
        };
        let loss = aside.iter().map(error).sum::<f64>() / aside.len() as f64;
        if loss < best.0 - 1e-6 {
            best = (loss, trainer.net.clone(), epoch);
        } else if epoch > best.2 + PATIENCE {
            break;
        }
    }
    best.1.scaled(scale, &vec![0.0; rows.arms])
}

/// What a policy may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget<'a> {
    /// Mean cost of a decision at most.
    pub mean: f64,
    /// Share of the decisions that is spread evenly over all actions, which costs as well.
    pub explore: f64,
    /// On which rows it is to be kept: those most like the ones to come, such as the latest period's.
    pub rows: &'a [usize],
}

/// A policy of chances, by REINFORCE (Williams 1992) on logged decisions.
///
/// The slope is that of the doubly robust value (Dudík et al. 2014): `Σ_j π_j q_j + w · (r − λ·cost − q_a)` with
/// `w = π_a / propensity`, at most 20, plus the entropy of π. `estimates` and `costs` are an outcome model's, rows × arms, of the
/// reward (before its cost) and of the cost; they are the baseline. λ, the Lagrangian price of a unit of cost, is 1 without a
/// budget (a cost is money), and with one as much as brings the mean cost near it. Gives the net, whose softmax are the chances,
/// within the budget on the budget's rows.
pub fn reinforce(
    rows: &Decisions<'_>,
    estimates: &[f64],
    costs: &[f64],
    budget: Option<Budget<'_>>,
    how: &Learning,
    seed: u64,
) -> Net {
    let (learned, aside) = rows.part(seed);
    let (_, scale) = moments(&learned, |row| rows.net(row));
    let model = Model { rows, estimates, costs, scale };
    let at = |price: f64| model.climbed(&learned, &aside, price, how, seed);
    let free = at(1.0);
    let Some(budget) = budget else { return free };
    let cost = |net: &Net| model.mean_cost(budget.rows, net, budget.explore, None);
    if cost(&free) <= budget.mean {
        return free;
    }
    // The dearest price that overdraws the budget and the cheapest that keeps it draw near; the rest is the last tilt's.
    let (mut low, mut high, mut over) = (1.0, 2.0, free);
    for _ in 0..PRICES {
        let net = at(high);
        if cost(&net) <= budget.mean {
            break;
        }
        (low, high, over) = (high, 2.0 * high, net);
    }
    for _ in 0..PRICES {
        let middle = (low * high).sqrt();
        let net = at(middle);
        if cost(&net) > budget.mean { (low, over) = (middle, net) } else { high = middle }
    }
    model.within(&over, budget)
}

fn trainer(rows: &Decisions<'_>, how: &Learning, seed: u64) -> Trainer {
    let net = Net::new(rows.width, how.hidden, rows.arms, seed);
    Trainer::new(net, Steps { rate: how.rate, l2: how.l2 }, seed ^ 1)
}

/// Mean and deviation over some rows; a deviation of 0 counts as 1.
fn moments(rows: &[usize], value: impl Fn(usize) -> f64) -> (f64, f64) {
    let count = rows.len().max(1) as f64;
    let mean = rows.iter().map(|row| value(*row)).sum::<f64>() / count;
    let variance = rows.iter().map(|row| (value(*row) - mean).powi(2)).sum::<f64>() / count;
    (mean, if variance > 0.0 { variance.sqrt() } else { 1.0 })
}

/// What REINFORCE climbs.
struct Model<'a> {
    rows: &'a Decisions<'a>,
    estimates: &'a [f64],
    costs: &'a [f64],
    scale: f64,
}

impl Model<'_> {
    /// The net that climbs highest at a price of cost, on the rows aside.
    fn climbed(&self, learned: &[usize], aside: &[usize], price: f64, how: &Learning, seed: u64) -> Net {
        let mut trainer = trainer(self.rows, how, seed);
        let mut best = (f64::NEG_INFINITY, trainer.net.clone(), 0);
        for epoch in 0..how.epochs {
            trainer.epoch(
                learned,
                |row| self.rows.context(row),
                |row, out, slope| self.slope(row, out, price, how.entropy, slope),
            );
            let value = self.value(aside, &trainer.net, price, how.entropy);
            if value > best.0 + 1e-6 {
                best = (value, trainer.net.clone(), epoch);
            } else if epoch > best.2 + PATIENCE {
                break;
            }
        }
        best.1
    }

    /// What an outcome model says of an action in a row, at a price of cost, in deviations of the reward.
    fn estimate(&self, row: usize, arm: usize, price: f64) -> f64 {
        let at = row * self.rows.arms + arm;
        (self.estimates[at] - price * self.costs[at]) / self.scale
    }

    /// What each action adds to the doubly robust value, a unit of its chance.
    fn gains(&self, row: usize, chances: &[f64], price: f64) -> Vec<f64> {
        let mut gains: Vec<f64> = (0..self.rows.arms).map(|arm| self.estimate(row, arm, price)).collect();
        let taken = self.rows.actions[row] as usize;
        let own = (self.rows.rewards[row] - price * self.rows.costs[row]) / self.scale;
        let weight = (chances[taken] / self.rows.propensities[row]).min(MOST_WEIGHT);
        if chances[taken] > 0.0 {
            gains[taken] += weight / chances[taken] * (own - gains[taken]);
        }
        gains
    }

    /// The slope of `Σ_j π_j · (gain_j − entropy · ln π_j)` at the outputs.
    fn slope(&self, row: usize, outputs: &[f64], price: f64, entropy: f64, slope: &mut [f64]) {
        let chances = softmax(outputs);
        let gains = self.gains(row, &chances, price);
        let all: Vec<f64> =
            chances.iter().zip(&gains).map(|(p, gain)| gain - entropy * p.max(1e-12).ln()).collect();
        let mean: f64 = chances.iter().zip(&all).map(|(p, gain)| p * gain).sum();
        for (slope, (chance, gain)) in slope.iter_mut().zip(chances.iter().zip(&all)) {
            *slope = chance * (gain - mean);
        }
    }

    /// The mean of what is climbed.
    fn value(&self, rows: &[usize], net: &Net, price: f64, entropy: f64) -> f64 {
        let of = |row: &usize| {
            let chances = softmax(&net.run(self.rows.context(*row)));
            let gains = self.gains(*row, &chances, price);
            chances.iter().zip(&gains).map(|(p, gain)| p * (gain - entropy * p.max(1e-12).ln())).sum::<f64>()
        };
        rows.iter().map(of).sum::<f64>() / rows.len().max(1) as f64
    }

    /// The mean cost of a decision, with outputs lowered by `tilt` times an action's cost.
    fn mean_cost(&self, rows: &[usize], net: &Net, explore: f64, tilt: Option<(&[f64], f64)>) -> f64 {
        let arms = self.rows.arms;
        let of = |row: &usize| {
            let mut outputs = net.run(self.rows.context(*row));
            if let Some((by, times)) = tilt {
                outputs.iter_mut().zip(by).for_each(|(out, by)| *out -= times * by);
            }
            let chance = |p: f64| p * (1.0 - explore) + explore / arms as f64;
            let costs = &self.costs[row * arms..(row + 1) * arms];
            softmax(&outputs).into_iter().zip(costs).map(|(p, cost)| chance(p) * cost).sum::<f64>()
        };
        rows.iter().map(of).sum::<f64>() / rows.len().max(1) as f64
    }

    /// The net with its outputs lowered by as much of each action's mean cost as brings the budget's rows to it; as it
    /// is where that is kept anyway.
    fn within(&self, net: &Net, budget: Budget<'_>) -> Net {
        let arms = self.rows.arms;
        let mean = |arm: usize| {
            let sum: f64 = budget.rows.iter().map(|row| self.costs[row * arms + arm]).sum();
            sum / budget.rows.len().max(1) as f64
        };
        let by: Vec<f64> = (0..arms).map(mean).collect();
        let cost = |times: f64| self.mean_cost(budget.rows, net, budget.explore, Some((&by, times)));
        if cost(0.0) <= budget.mean {
            return net.clone();
        }
        let most = by.iter().copied().fold(0.0, f64::max).max(1e-9);
        let (mut low, mut high) = (0.0, 200.0 / most);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if cost(middle) > budget.mean { low = middle } else { high = middle }
        }
        net.scaled(1.0, &by.iter().map(|by| -high * by).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests;
