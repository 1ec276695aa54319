//! How members respond to points: a simulator, to train policies and to stress them where a shop has no log yet.
//!
//! Invariant: all that happens follows from the arguments. Coefficients and hidden traits come from the seed, a draw from
//! (seed, member, period, arm), so that the order of calls changes nothing. It lacks what would make it a claim about any
//! shop: nothing in it was fitted to one.
//!
//! # The model
//!
//! A member i has a context x of d standardised numbers, each held within ±3, NaN as 0, and two hidden traits h and g, normal
//! N(0, 1). β, γ and μ are d normal numbers each, N(0, 1/d), times `buying`, `sensing` and `spread`; so each of β·x, γ·x and
//! μ·x has about that deviation among members. With logistic σ(z) = 1 / (1 + exp(−z)), in period t under arm a of p points:
//!
//! - log-odds of buying without an offer: b = `intercept` + β·x + 0.5·h + `season`·cos(2π·t/12)
//! - sensitivity: s = `most`·((1 + `averse`)·σ(γ·x + 0.5·g + `open`) − `averse`), which lies in (−`averse`·`most`, `most`):
//!   many hardly respond, a few respond badly
//! - lift: l = s·ln(1 + p/`scale`)·exp(−`tiring`·f), 0 without points
//! - fatigue: f begins at 0; once a period it becomes `memory`·f + 1 where points were offered and `memory`·f where none were
//! - P(buys) = σ(b + l)
//! - margin of a purchase: m·exp(`noise`·z − `noise`²/2), z normal, whose mean is m = `margin`·exp(μ·x), μ·x within ±2
//! - cost of a purchase: p·`point_value`; no purchase, no margin and no points
//!
//! Expected reward P·m is before cost; expected cost is P·p·`point_value`.
//!
//! # The draws
//!
//! `mix` is SplitMix64's finaliser ([`mix`]). The hash of numbers n₁ … nₖ under a seed is q₀ = mix(seed), qⱼ = mix(qⱼ₋₁ ⊕ nⱼ);
//! its uniform number is (⌊qₖ/2¹¹⌋ + ½)/2⁵³. A normal number from (n…) is √(−2 ln u)·cos(2πv), u from (n…, 0), v from (n…, 1)
//! (Box & Muller 1958). βⱼ, γⱼ, μⱼ come from (1, j), (2, j), (3, j), h and g from (4, i), (5, i); a response takes its purchase, u
//! below P, from (6, i, t, a) and its margin's z from (7, i, t, a). i, j, t and a count from 0.

use std::f64::consts::TAU;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::mix;

/// What a member may be offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// Its name in logs.
    pub name: String,
    /// Points that a purchase earns under it; 0 is no offer.
    pub points: u32,
}

/// The simulator's numbers, as the module's words name them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// Log-odds of buying of a typical member in a period of no season.
    pub intercept: f64,
    /// Deviation of β·x: how far contexts tell who buys.
    pub buying: f64,
    /// Half the way from the best period of twelve to the worst, log-odds.
    pub season: f64,
    /// S, the sensitivity that no member reaches.
    pub most: f64,
    /// How far below 0 sensitivity goes, as a share of S.
    pub averse: f64,
    /// Deviation of γ·x: how far contexts tell who responds.
    pub sensing: f64,
    /// Where a typical member stands on the way to S, log-odds.
    pub open: f64,
    /// Points beyond which more of them do less and less.
    pub scale: f64,
    /// ρ, the share of fatigue that a period leaves, 0 to below 1.
    pub memory: f64,
    /// φ, how much fatigue weakens an offer.
    pub tiring: f64,
    /// Margin of a typical member's purchase, money.
    pub margin: f64,
    /// Deviation of the logarithm of members' levels of margin.
    pub spread: f64,
    /// Deviation of the logarithm of one purchase's margin.
    pub noise: f64,
    /// What a point costs, money.
    pub point_value: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            intercept: -0.5,
            buying: 1.0,
            season: 0.3,
            most: 1.2,
            averse: 0.15,
            sensing: 1.5,
            open: -0.5,
            scale: 50.0,
            memory: 0.7,
            tiring: 0.3,
            margin: 10.0,
            spread: 0.5,
            noise: 0.5,
            point_value: 0.01,
        }
    }
}

impl Params {
    fn check(&self) -> anyhow::Result<()> {
        let all = [self.intercept, self.buying, self.season, self.most, self.averse, self.sensing, self.open];
        let more = [self.tiring, self.margin, self.spread, self.noise, self.point_value];
        ensure!(
            all.iter().chain(&more).all(|x| x.is_finite()),
            "the simulator's parameters should be finite"
        );
        ensure!(self.scale.is_finite() && self.scale > 0.0, "scale should be above 0, not {}", self.scale);
        ensure!((0.0..1.0).contains(&self.memory), "memory should be from 0 to below 1, not {}", self.memory);
        let kept = [self.most, self.averse, self.tiring, self.margin, self.noise, self.point_value];
        ensure!(
            kept.iter().all(|x| *x >= 0.0),
            "most, averse, tiring, margin, noise and point_value should not be negative"
        );
        Ok(())
    }
}

/// The means of what would come of an offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Margin before the offer's cost, money.
    pub reward: f64,
    /// What the offer costs, money.
    pub cost: f64,
}

/// What came of an offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// Margin before the offer's cost, money; 0 where the member did not buy.
    pub reward: f64,
    /// What the offer cost, money.
    pub cost: f64,
}

/// Members who respond.
#[derive(Clone, Debug)]
pub struct Responder {
    arms: Vec<Arm>,
    params: Params,
    seed: u64,
    /// β, γ and μ, one after the other.
    coefficients: [Vec<f64>; 3],
    members: Vec<Member>,
}

/// What a context comes to, and how tired its member is.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Log-odds of buying but for the season.
    base: f64,
    sensitivity: f64,
    /// The mean margin of a purchase.
    level: f64,
    fatigue: f64,
}

/// How far a number of a context may lie from its mean.
const FARTHEST: f64 = 3.0;
/// How far a level of margin may lie from the typical one, in logarithms.
const RICHEST: f64 = 2.0;
/// Deviation of what a hidden trait adds, log-odds.
const HIDDEN: f64 = 0.5;
/// Periods of a year.
const YEAR: f64 = 12.0;

impl Responder {
    /// Members with contexts of `d` standardised numbers each, row after row; NaN is the mean, 0. Nobody is tired.
    ///
    /// # Errors
    /// When there is no member, no number or no arm, contexts are no whole number of rows or infinite, or a parameter is
    /// out of its range.
    pub fn new(
        contexts: &[f32],
        d: usize,
        arms: Vec<Arm>,
        params: Params,
        seed: u64,
    ) -> anyhow::Result<Self> {
        params.check()?;
        ensure!(!arms.is_empty(), "there is nothing to offer; give at least one arm");
        ensure!(d > 0 && !contexts.is_empty(), "there is no context; give each member at least one number");
        ensure!(
            contexts.len().is_multiple_of(d),
            "{} numbers are no whole number of contexts of {d}",
            contexts.len()
        );
        let scales = [params.buying, params.sensing, params.spread];
        let coefficients = [1, 2, 3].map(|of| {
            let scale = scales[of as usize - 1] / (d as f64).sqrt();
            (0..d as u64).map(|j| scale * normal(seed, &[of, j])).collect()
        });
        let nobody = Member { base: 0.0, sensitivity: 0.0, level: 0.0, fatigue: 0.0 };
        let members = vec![nobody; contexts.len() / d];
        let mut new = Self { arms, params, seed, coefficients, members };
        for (member, row) in contexts.chunks_exact(d).enumerate() {
            new.see(member, row)?;
        }
        Ok(new)
    }

    /// The arms.
    pub fn arms(&self) -> &[Arm] {
        &self.arms
    }

    /// Gives a member another context, as of a later date; traits and fatigue stay.
    ///
    /// # Errors
    /// When it has another number of numbers, or an infinite one.
    ///
    /// # Panics
    /// When there is no such member.
    pub fn see(&mut self, member: usize, row: &[f32]) -> anyhow::Result<()> {
        let d = self.coefficients[0].len();
        ensure!(row.len() == d, "a context has {} numbers where others have {d}", row.len());
        ensure!(!row.iter().any(|x| x.is_infinite()), "a context has an infinite number");
        let [base, sensing, level] = self.coefficients.each_ref().map(|coefficients| dot(coefficients, row));
        let [h, g] = [4, 5].map(|of| HIDDEN * normal(self.seed, &[of, member as u64]));
        let Params { intercept, most, averse, open, margin, .. } = self.params;
        self.members[member] = Member {
            base: intercept + base + h,
            sensitivity: most * ((1.0 + averse) * sigmoid(sensing + g + open) - averse),
            level: margin * level.clamp(-RICHEST, RICHEST).exp(),
            fatigue: self.members[member].fatigue,
        };
        Ok(())
    }

    /// The means of what comes of an arm in a period, at the member's present fatigue.
    ///
    /// # Panics
    /// When there is no such member or arm.
    pub fn expected(&self, member: usize, period: u32, arm: usize) -> Expected {
        let p = self.buys(member, period, arm);
        Expected { reward: p * self.members[member].level, cost: p * self.cost(arm) }
    }

    /// What comes of an arm in a period, at the member's present fatigue: the same whenever it is asked.
    ///
    /// # Panics
    /// When there is no such member or arm.
    pub fn respond(&self, member: usize, period: u32, arm: usize) -> Response {
        let of = |of: u64| [of, member as u64, u64::from(period), arm as u64];
        if uniform(self.seed, &of(6)) >= self.buys(member, period, arm) {
            return Response::default();
        }
        let noise = self.params.noise;
        let luck = (noise * normal(self.seed, &of(7)) - 0.5 * noise * noise).exp();
        Response { reward: self.members[member].level * luck, cost: self.cost(arm) }
    }

    /// Ends a member's period, in which an arm was given: fatigue fades, and grows where there were points.
    ///
    /// # Panics
    /// When there is no such member or arm.
    pub fn give(&mut self, member: usize, arm: usize) {
        let offered = if self.arms[arm].points > 0 { 1.0 } else { 0.0 };
        let fatigue = &mut self.members[member].fatigue;
        *fatigue = self.params.memory * *fatigue + offered;
    }

    /// Ends a member's period in which nothing was decided: fatigue fades.
    ///
    /// # Panics
    /// When there is no such member.
    pub fn rest(&mut self, member: usize) {
        self.members[member].fatigue *= self.params.memory;
    }

    /// The arm of the highest expected reward − `price` · expected cost; of equal ones the first.
    ///
    /// # Panics
    /// When there is no such member.
    pub fn best(&self, member: usize, period: u32, price: f64) -> usize {
        let worth = |arm| {
            let Expected { reward, cost } = self.expected(member, period, arm);
            reward - price * cost
        };
        (1..self.arms.len()).fold(0, |best, arm| if worth(arm) > worth(best) { arm } else { best })
    }

    /// How far a member responds to points, below 0 where badly.
    ///
    /// # Panics
    /// When there is no such member.
    pub fn sensitivity(&self, member: usize) -> f64 {
        self.members[member].sensitivity
    }

    /// How tired of offers a member is, 0 where not at all.
    ///
    /// # Panics
    /// When there is no such member.
    pub fn fatigue(&self, member: usize) -> f64 {
        self.members[member].fatigue
    }

    fn buys(&self, member: usize, period: u32, arm: usize) -> f64 {
        let Member { base, sensitivity, fatigue, .. } = self.members[member];
        let points = f64::from(self.arms[arm].points);
        let lift = sensitivity * (points / self.params.scale).ln_1p() * (-self.params.tiring * fatigue).exp();
        sigmoid(base + self.params.season * (TAU * f64::from(period) / YEAR).cos() + lift)
    }

    fn cost(&self, arm: usize) -> f64 {
        f64::from(self.arms[arm].points) * self.params.point_value
    }
}

fn dot(coefficients: &[f64], row: &[f32]) -> f64 {
    let held = |x: f32| if x.is_nan() { 0.0 } else { f64::from(x).clamp(-FARTHEST, FARTHEST) };
    coefficients.iter().zip(row).map(|(c, x)| c * held(*x)).sum()
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The uniform number of a hash, above 0 and below 1: what the module says under "the draws".
pub fn uniform(seed: u64, of: &[u64]) -> f64 {
    let hash = of.iter().fold(mix(seed), |hash, number| mix(hash ^ number));
    ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

fn normal(seed: u64, of: &[u64]) -> f64 {
    let [u, v] = [0, 1].map(|half| uniform(seed, &[of, &[half]].concat()));
    (-2.0 * u.ln()).sqrt() * (TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms() -> Vec<Arm> {
        [0, 50, 200].map(|points| Arm { name: format!("{points}"), points }).into()
    }

    fn contexts(n: u64, d: u64) -> Vec<f32> {
        (0..n * d).map(|at| normal(99, &[at]) as f32).collect()
    }

    fn shop(n: u64, seed: u64) -> Responder {
        Responder::new(&contexts(n, 6), 6, arms(), Params::default(), seed).unwrap()
    }

    #[test]
    fn means_of_draws_are_those_that_are_expected() {
        let shop = shop(40, 3);
        for (member, arm) in (0..40).flat_map(|member| [(member, 0), (member, 2)]) {
            let (mut reward, mut cost, mut squares, mut costs) = (0.0, 0.0, 0.0, 0.0);
            let n = 600;
            for year in 0..n {
                // Every twelfth period has the same season.
                let found = shop.respond(member, 12 * year + 5, arm);
                (reward, cost) = (reward + found.reward, cost + found.cost);
                (squares, costs) = (squares + found.reward.powi(2), costs + found.cost.powi(2));
            }
            let (n, expected) = (f64::from(n), shop.expected(member, 5, arm));
            let (reward, cost) = (reward / n, cost / n);
            let error = |squares: f64, mean: f64| ((squares / n - mean * mean).max(0.0) / n).sqrt();
            let close = |found: f64, truth: f64, error: f64| (found - truth).abs() <= 4.5 * error + 1e-9;
            assert!(close(reward, expected.reward, error(squares, reward)), "{member} {reward} {expected:?}");
            assert!(close(cost, expected.cost, error(costs, cost)), "{member} {cost} {expected:?}");
        }
    }

    #[test]
    fn the_words_of_the_module_give_the_same_numbers() {
        let (params, row) = (Params::default(), [0.5_f32, f32::NAN, -9.0]);
        let mut shop = Responder::new(&row, 3, arms(), params, 11).unwrap();
        shop.give(0, 1);
        let x = [0.5, 0.0, -3.0];
        let along = |of: u64, scale: f64| -> f64 {
            (0..3).map(|j| normal(11, &[of, j as u64]) * scale / 3.0_f64.sqrt() * x[j]).sum()
        };
        let b = -0.5 + along(1, 1.0) + 0.5 * normal(11, &[4, 0]) + 0.3 * (TAU * 4.0 / 12.0).cos();
        let s = 1.2 * (1.15 / (1.0 + (-(along(2, 1.5) + 0.5 * normal(11, &[5, 0]) - 0.5)).exp()) - 0.15);
        let p = 1.0 / (1.0 + (-(b + s * (1.0_f64 + 200.0 / 50.0).ln() * (-0.3_f64).exp())).exp());
        let m = 10.0 * along(3, 0.5).clamp(-2.0, 2.0).exp();
        let found = shop.expected(0, 4, 2);
        assert!((found.reward - p * m).abs() < 1e-12, "{found:?} {p} {m}");
        assert!((found.cost - p * 2.0).abs() < 1e-12, "{found:?} {p}");
    }

    #[test]
    fn some_respond_badly_and_others_well() {
        let shop = shop(4000, 1);
        let (low, high) = (-0.15 * 1.2, 1.2);
        let all: Vec<f64> = (0..4000).map(|member| shop.sensitivity(member)).collect();
        assert!(all.iter().all(|s| (low..high).contains(s)));
        let share = |wanted: fn(f64) -> bool| all.iter().filter(|s| wanted(**s)).count() as f64 / 4000.0;
        let (badly, well) = (share(|s| s < 0.0), share(|s| s > 0.6));
        assert!((0.05..0.3).contains(&badly) && (0.1..0.5).contains(&well), "{badly} {well}");
    }

    #[test]
    fn fatigue_fades_and_weakens_offers() {
        let mut shop = shop(50, 2);
        let member = (0..50).find(|member| shop.sensitivity(*member) > 0.5).unwrap();
        let (bare, fresh) = (shop.expected(member, 0, 0), shop.expected(member, 0, 2));
        shop.give(member, 2);
        shop.give(member, 1);
        assert_eq!(shop.fatigue(member), 1.7);
        let tired = shop.expected(member, 0, 2);
        assert!(bare.reward < tired.reward && tired.reward < fresh.reward);
        assert_eq!(shop.expected(member, 0, 0), bare);
        (0..50).for_each(|_| shop.give(member, 0));
        (0..50).for_each(|_| shop.rest(member));
        assert!(shop.fatigue(member) < 1e-12);
        assert!((shop.expected(member, 0, 2).reward - fresh.reward).abs() < 1e-12);
    }

    #[test]
    fn the_order_of_calls_changes_nothing_and_the_seed_everything() {
        let (mut forward, mut backward) = (shop(30, 5), shop(30, 5));
        let ask = |shop: &Responder, member: usize| {
            let found = shop.respond(member, 3, member % 3);
            [found.reward.to_bits(), found.cost.to_bits()]
        };
        (0..30).for_each(|member| forward.give(member, member % 3));
        (0..30).rev().for_each(|member| backward.give(member, member % 3));
        let there: Vec<_> = (0..30).map(|member| ask(&forward, member)).collect();
        let mut back: Vec<_> = (0..30).rev().map(|member| ask(&backward, member)).collect();
        back.reverse();
        assert_eq!(there, back);
        let other = shop(30, 6);
        assert_ne!(there, (0..30).map(|member| ask(&other, member)).collect::<Vec<_>>());
    }

    #[test]
    fn the_best_arm_depends_on_what_cost_is_worth() {
        let shop = shop(200, 4);
        let mut different = 0;
        for member in 0..200 {
            let best = shop.best(member, 0, 1.0);
            let worth = |arm| {
                let found = shop.expected(member, 0, arm);
                found.reward - found.cost
            };
            assert!((0..3).all(|arm| worth(arm) <= worth(best)));
            assert_eq!(shop.best(member, 0, 1e9), 0);
            different += usize::from(best != 0);
        }
        assert!((20..180).contains(&different), "{different}");
    }

    #[test]
    fn bad_input_is_refused() {
        let new = |contexts: &[f32], d, arms, params| Responder::new(contexts, d, arms, params, 1).is_err();
        let usual = Params::default();
        assert!(new(&[1.0; 5], 2, arms(), usual));
        assert!(new(&[], 2, arms(), usual));
        assert!(new(&[1.0; 4], 0, arms(), usual));
        assert!(new(&[1.0; 4], 2, Vec::new(), usual));
        assert!(new(&[f32::INFINITY; 4], 2, arms(), usual));
        assert!(new(&[1.0; 4], 2, arms(), Params { memory: 1.0, ..usual }));
        assert!(new(&[1.0; 4], 2, arms(), Params { scale: 0.0, ..usual }));
        assert!(new(&[1.0; 4], 2, arms(), Params { margin: f64::NAN, ..usual }));
        assert!(shop(2, 1).see(0, &[1.0]).is_err());
    }
}
