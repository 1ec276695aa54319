//! What ways of choosing bring, measured on the log's decisions.
//!
//! The log's rows stand for the members to be decided about: with N rows and M members, a budget of B is B·N/M over the rows, and
//! what is found a row counts M times. Intervals are percentiles over resamples of members, the same for all ways, with the
//! choice of rows as it is.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    Args, Joined,
    record::{Chosen, Curve as CurveRecord, Truth, WayRecord},
    ways::{Spending, Way},
};
use crate::{
    cores,
    metrics::{Estimate, RESAMPLES, percentile},
    models::{
        mix,
        uplift::{
            Prediction, Trial, budget,
            qini::{Curve, Order, Outcomes, gain},
        },
    },
};

/// What was found of all ways.
pub(super) struct Judged {
    pub(super) ways: Vec<WayRecord>,
    /// What an oracle's choice at the budget brings, where the truth is known.
    pub(super) oracle: Option<f64>,
}

/// A way as rows of the log.
struct Chooser {
    order: Option<Order>,
    chosen: Vec<bool>,
    /// The share of the chosen that the budget is for.
    share: f64,
}

/// Qini coefficient, AUUC, outcome's gain and gain after cost.
type Figures = [f64; 4];

/// The log as it is judged by: values and values less costs.
struct Ground<'a> {
    trial: &'a Trial,
    value: Vec<f64>,
    net: Vec<f64>,
    members: f64,
}

/// Judges all ways; `members` are those to be decided about.
pub(super) fn judge(
    args: &Args,
    joined: &Joined,
    trial: &Trial,
    said: &[Prediction],
    ways: Vec<Way>,
    members: usize,
) -> anyhow::Result<Judged> {
    let costs: Vec<f64> = said.iter().map(|said| said.cost).collect();
    let scale = members as f64 / trial.len() as f64;
    let choosers: Vec<Chooser> =
        ways.iter().map(|way| Chooser::new(way, &costs, args.budget / scale)).collect();
    let value: Vec<f64> = trial.outcome.iter().map(|outcome| args.value * outcome).collect();
    let costs_paid =
        trial.treated.iter().zip(&trial.cost).map(|(treated, cost)| if *treated { *cost } else { 0.0 });
    let net = value.iter().zip(costs_paid).map(|(value, cost)| value - cost).collect();
    let ground = Ground { trial, value, net, members: members as f64 };
    let found: Vec<Figures> = choosers.iter().map(|chooser| ground.figures(chooser, |_| 1.0)).collect();
    let drawn = resample(&ground, &choosers, args.seed)?;
    let truth = Known::new(args, joined, scale, &choosers);
    let records = ways.into_iter().zip(&choosers).enumerate().map(|(at, (way, chooser))| {
        let estimate = |of: &dyn Fn(&[Figures]) -> f64| {
            let mut values: Vec<f64> = drawn.iter().map(|all| of(all)).collect();
            values.sort_unstable_by(f64::total_cmp);
            let value = of(&found);
            Estimate {
                value,
                low: percentile(&values, 0.025, value),
                high: percentile(&values, 0.975, value),
            }
        };
        let curve = chooser.order.as_ref().map(|order| Curve::new(order, &ground.of(&ground.value), |_| 1.0));
        let rows = chooser.share * chooser.chosen.iter().filter(|chosen| **chosen).count() as f64;
        let expected = chooser.share * scale * budget::sum(&chooser.chosen, &costs);
        let (gain, cost) = (estimate(&|all| all[at][2]), estimate(&|all| all[at][2] - all[at][3]));
        WayRecord {
            name: way.name.into(),
            title: way.title.into(),
            about: way.about,
            qini: curve.is_some().then(|| estimate(&|all| all[at][0])),
            auuc: curve.is_some().then(|| estimate(&|all| all[at][1])),
            curve: curve.as_ref().map(CurveRecord::of),
            chosen: Chosen {
                members: rows * scale,
                expected_cost: expected,
                within_budget: expected <= args.budget * (1.0 + 1e-9),
                cost,
                gain,
                net: estimate(&|all| all[at][3]),
                per_unit: (cost.value > 0.0).then(|| gain.value / cost.value),
                behind: (at > 0).then(|| estimate(&|all| all[0][3] - all[at][3])),
            },
            truth: truth.as_ref().map(|truth| truth.of(chooser)),
        }
    });
    Ok(Judged { ways: records.collect(), oracle: truth.as_ref().map(|truth| truth.net) })
}

impl Chooser {
    fn new(way: &Way, costs: &[f64], budget: f64) -> Self {
        let all = || vec![true; costs.len()];
        let (chosen, share) = match &way.spending {
            Spending::Ranked { scores, floor } => (budget::choose(scores, costs, budget, *floor), 1.0),
            Spending::Lot => (all(), (budget / costs.iter().sum::<f64>().max(f64::MIN_POSITIVE)).min(1.0)),
            Spending::All => (all(), 1.0),
        };
        Self { order: way.ranks.as_deref().map(Order::new), chosen, share }
    }
}

impl Ground<'_> {
    fn of<'a>(&'a self, outcome: &'a [f64]) -> Outcomes<'a> {
        Outcomes { treated: &self.trial.treated, outcome, chance: &self.trial.chance }
    }

    fn figures(&self, chooser: &Chooser, times: impl Fn(usize) -> f64 + Copy) -> Figures {
        let (value, net) = (self.of(&self.value), self.of(&self.net));
        let curve = chooser.order.as_ref().map(|order| Curve::new(order, &value, times));
        let [coefficient, auuc] = curve.map_or([0.0; 2], |curve| [curve.coefficient(), curve.auuc()]);
        let brings = |of: &Outcomes<'_>| chooser.share * self.members * gain(&chooser.chosen, of, times);
        [coefficient, auuc, brings(&value), brings(&net)]
    }
}

/// The figures of all ways in each resample of members.
fn resample(ground: &Ground<'_>, choosers: &[Chooser], seed: u64) -> anyhow::Result<Vec<Vec<Figures>>> {
    let mut known: Vec<u32> = ground.trial.member.clone();
    known.sort_unstable();
    known.dedup();
    let place = |member: &u32| known.binary_search(member).unwrap_or_default();
    let places: Vec<usize> = ground.trial.member.iter().map(place).collect();
    cores::each((0..RESAMPLES as u64).collect(), |draw| {
        let mut rng = StdRng::seed_from_u64(mix(seed ^ mix(draw)));
        let mut times = vec![0.0; known.len()];
        (0..known.len()).for_each(|_| times[rng.random_range(0..known.len())] += 1.0);
        let times = |row: usize| times[places[row]];
        Ok(choosers.iter().map(|chooser| ground.figures(chooser, times)).collect())
    })
}

/// What a simulator knows.
struct Known {
    /// The value of each row's uplift, and the same less the expected cost.
    value: Vec<f64>,
    worth: Vec<f64>,
    scale: f64,
    /// The oracle's Qini coefficient and what its choice brings.
    coefficient: f64,
    net: f64,
}

impl Known {
    fn new(args: &Args, joined: &Joined, scale: f64, choosers: &[Chooser]) -> Option<Self> {
        let truth: Option<Vec<[f64; 2]>> =
            joined.log.decisions.iter().map(|decision| decision.truth).collect();
        let truth =
            truth.filter(|truth| truth.len() == choosers.first().map_or(0, |first| first.chosen.len()))?;
        let value: Vec<f64> = truth.iter().map(|[uplift, _]| args.value * uplift).collect();
        let worth: Vec<f64> = value.iter().zip(&truth).map(|(value, [_, cost])| value - cost).collect();
        let costs: Vec<f64> = truth.iter().map(|[_, cost]| *cost).collect();
        let best = budget::choose(&worth, &costs, args.budget / scale, 0.0);
        let coefficient = Curve::of_truth(&Order::new(&value), &value).coefficient();
        let net = scale * budget::sum(&best, &worth);
        Some(Self { value, worth, scale, coefficient, net })
    }

    fn of(&self, chooser: &Chooser) -> Truth {
        let coefficient =
            chooser.order.as_ref().map(|order| Curve::of_truth(order, &self.value).coefficient());
        let net = chooser.share * self.scale * budget::sum(&chooser.chosen, &self.worth);
        let share = |part: f64, of: f64| (of > 0.0).then(|| part / of);
        Truth {
            qini_share: coefficient.and_then(|coefficient| share(coefficient, self.coefficient)),
            net,
            net_share: share(net, self.net),
        }
    }
}
