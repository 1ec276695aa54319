//! Gradient-boosted decision trees (Friedman 2001): in each round one tree for each tier follows the slope of the
//! softmax's log-loss, or one tree for all the slope of a squared error.
//!
//! Leaves and splits are second-order (Chen & Guestrin 2016, equations 5 and 7); inputs are cut into bins and a node's
//! sums come from its parent's less its sibling's (Ke et al. 2017); a missing value has a side of its own at each
//! split. How many rounds is found on members set aside; then all rows are used for as many.
//!
//! It is our own because no crate that builds here does this: forust-ml has one tier against the rest only. The same rows
//! and seed give the same bits on any number of threads: a tree is grown by one of them, in one order. A code comes as its
//! place in the order of the tiers that rows of the code reach on average, so that a cut parts codes into two sets: ordered
//! once, not at each split, which does as well (Wright & König 2019).

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{CurvePoint, Fitted, Forest, Model, Rows, Tree, mix, params::Draw, threads};

mod bins;
mod grow;
pub(crate) mod rank;
mod regress;

use grow::Grower;
pub use regress::regress;

/// How trees grow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// Factor on what each tree says.
    pub rate: f64,
    /// Leaves of a tree at most.
    pub leaves: usize,
    /// Tests on the way to a leaf at most: what scoring a row costs.
    pub depth: u32,
    /// The least sum of second derivatives in a leaf.
    pub weight: f64,
    /// λ, the weight of the L2 penalty on what leaves say.
    pub l2: f64,
    /// Share of the inputs that a tree may test, drawn anew for each.
    pub inputs: f64,
    /// So many rounds on all rows; if none, as many as do best on members set aside.
    #[serde(skip)]
    pub rounds: Option<u32>,
}

impl Default for Params {
    /// Shallow trees, slowly: what did best in cross-validation on both data sets that `tiercast data fetch` knows,
    /// though its neighbours are within what chance gives.
    fn default() -> Self {
        Self { rate: 0.05, leaves: 8, depth: 4, weight: 5.0, l2: 5.0, inputs: 0.5, rounds: None }
    }
}

impl Params {
    /// Any in the ranges of the search.
    pub(super) fn draw(draw: &mut Draw) -> Self {
        Self {
            rate: draw.log_uniform(0.01, 0.2),
            leaves: draw.log_uniform_whole(4, 64),
            depth: draw.log_uniform_whole(2, 8) as u32,
            weight: draw.log_uniform(0.5, 50.0),
            l2: draw.log_uniform(0.1, 100.0),
            inputs: draw.log_uniform(0.15, 1.0),
            rounds: None,
        }
    }
}

/// Rounds after which it stops at the latest.
const ROUNDS: u32 = 1000;
/// Rounds without a new best after which it stops.
const PATIENCE: u32 = 20;
/// A new best is less by more than this, so that rounding errors end it.
const PROGRESS: f64 = 1e-6;
/// Share of the training members set aside.
const ASIDE: f64 = 0.2;

/// Finds the number of rounds on members set aside, then trains on all rows.
pub(super) fn fit(params: &Params, tiers: usize, rows: &Rows, seed: u64) -> Fitted {
    if let Some(rounds) = params.rounds {
        let (forest, curve) = boost(params, rounds, &Goal::Tiers(tiers, &rows.targets), rows, seed, None);
        return Fitted { model: Model::Trees(forest), curve, l2: None };
    }
    let (aside, inner) = rows.part(ASIDE, seed);
    let judged = (&aside, Goal::Tiers(tiers, &aside.targets));
    let (_, curve) = boost(params, ROUNDS, &Goal::Tiers(tiers, &inner.targets), &inner, seed, Some(judged));
    let (forest, _) = boost(params, best(&curve), &Goal::Tiers(tiers, &rows.targets), rows, seed, None);
    Fitted { model: Model::Trees(forest), curve, l2: None }
}

/// Boosts for as many rounds as tell other rows best, or without such rows for as many as the settings say; gives how many.
pub(super) fn forest(
    params: &Params,
    tiers: usize,
    rows: &Rows,
    aside: Option<&Rows>,
    seed: u64,
) -> (Forest, u32) {
    let judged = aside.map(|aside| (aside, Goal::Tiers(tiers, &aside.targets)));
    let most = params.rounds.unwrap_or(ROUNDS);
    let (mut forest, curve) = boost(params, most, &Goal::Tiers(tiers, &rows.targets), rows, seed, judged);
    let rounds = if aside.is_some() { best(&curve) } else { most };
    forest.trees.truncate(rounds as usize * tiers);
    (forest, rounds)
}

/// The round with the least loss on the rows aside.
fn best(curve: &[CurvePoint]) -> u32 {
    curve.iter().min_by(|a, b| a.validation.total_cmp(&b.validation)).map_or(0, |point| point.step)
}

/// What trees learn.
enum Goal<'r> {
    /// Rows' tiers, of so many: a sum for each, through a softmax.
    Tiers(usize, &'r [u8]),
    /// A number of each row: one sum.
    Numbers(&'r [f32]),
}

impl Goal<'_> {
    fn rows(&self) -> usize {
        match self {
            Self::Tiers(_, targets) => targets.len(),
            Self::Numbers(targets) => targets.len(),
        }
    }

    /// What each sum begins with: the logarithms of the tiers' shares, where a tier that no row has counts as half a row,
    /// or the numbers' mean.
    fn base(&self) -> Vec<f32> {
        let rows = self.rows().max(1) as f64;
        match self {
            Self::Tiers(tiers, targets) => {
                let mut counts = vec![0.0_f64; *tiers];
                targets.iter().for_each(|target| counts[usize::from(*target) - 1] += 1.0);
                counts.into_iter().map(|count| (count.max(0.5) / rows).ln() as f32).collect()
            }
            Self::Numbers(targets) => {
                vec![(targets.iter().map(|target| f64::from(*target)).sum::<f64>() / rows) as f32]
            }
        }
    }
}

/// Boosts for so many rounds, or fewer where the loss on the rows aside no longer falls.
///
/// Within a round no tier's tree depends on another's, and so they can grow side by side.
fn boost(
    params: &Params,
    rounds: u32,
    goal: &Goal<'_>,
    rows: &Rows,
    seed: u64,
    aside: Option<(&Rows, Goal<'_>)>,
) -> (Forest, Vec<CurvePoint>) {
    let columns = bins::columns(rows);
    let base = goal.base();
    let growers =
        || (0..threads::allowed().min(base.len())).map(|_| Grower::new(params, &columns, rows.len()));
    let growers = Mutex::new(growers().collect::<Vec<_>>());
    let mut forest = Forest { inputs: rows.plain_width, tiers: base.len(), base, trees: Vec::new() };
    let mut learned = Scores::new(&forest, goal);
    let mut judged = aside.as_ref().map(|(_, goal)| Scores::new(&forest, goal));
    let (mut seed, mut curve, mut best) = (seed, Vec::new(), (f64::INFINITY, 0));
    for step in 1..=rounds {
        let mut jobs = Vec::new();
        let mut judges = judged.iter_mut().flat_map(|judged| &mut judged.sums);
        for (tier, learned) in learned.sums.iter_mut().enumerate() {
            seed = mix(seed);
            jobs.push((tier, seed, learned, judges.next()));
        }
        let grown = threads::map(jobs, |(tier, seed, learned, judged)| {
            let lock = || growers.lock().unwrap_or_else(PoisonError::into_inner);
            let spare = lock().pop();
            let mut grower = spare.unwrap_or_else(|| Grower::new(params, &columns, rows.len()));
            let nodes = grower.grow(seed, |row| learned.slope(row, goal, tier));
            grower.leaves().for_each(|(row, value)| learned.scores[row] += f64::from(value));
            lock().push(grower);
            let tree = Tree { tier, nodes };
            if let (Some(judged), Some((aside, _))) = (judged, &aside) {
                let scores = judged.scores.iter_mut().enumerate();
                scores.for_each(|(row, score)| *score += f64::from(tree.value(aside.plain_row(row))));
            }
            tree
        });
        forest.trees.extend(grown);
        let train = learned.update();
        let Some(judged) = &mut judged else { continue };
        let validation = judged.update();
        curve.push(CurvePoint { step, train, validation });
        if validation < best.0 - PROGRESS {
            best = (validation, step);
        } else if step - best.1 >= PATIENCE {
            break;
        }
    }
    (forest, curve)
}

/// Where rows stand while trees are added.
struct Scores<'r> {
    goal: &'r Goal<'r>,
    sums: Vec<Standing>,
}

/// Where rows stand as to one sum.
struct Standing {
    scores: Vec<f64>,
    /// Softmax of the scores as of the last update; of numbers nothing.
    probabilities: Vec<f64>,
}

impl Standing {
    /// First and second derivative by the sum: of a row's log-loss p − y and p (1 − p), of half its squared error x − y
    /// and 1.
    fn slope(&self, row: usize, goal: &Goal<'_>, tier: usize) -> [f64; 2] {
        match goal {
            Goal::Tiers(_, targets) => {
                let p = self.probabilities[row];
                let truth = usize::from(targets[row]) == tier + 1;
                [p - f64::from(u8::from(truth)), p * (1.0 - p)]
            }
            Goal::Numbers(targets) => [self.scores[row] - f64::from(targets[row]), 1.0],
        }
    }
}

/// Rows whose probabilities are brought to their scores together.
const CHUNK: usize = 2048;

impl<'r> Scores<'r> {
    fn new(forest: &Forest, goal: &'r Goal<'r>) -> Self {
        let standing = |base: &f32| {
            let scores = vec![f64::from(*base); goal.rows()];
            Standing { probabilities: scores.clone(), scores }
        };
        let mut new = Self { goal, sums: forest.base.iter().map(standing).collect() };
        new.update();
        new
    }

    /// Brings the probabilities to the scores; gives the mean loss.
    fn update(&mut self) -> f64 {
        let total: f64 = match self.goal {
            Goal::Tiers(_, targets) => {
                let mut chunks: Vec<Vec<_>> = targets.chunks(CHUNK).map(|_| Vec::new()).collect();
                for tier in &mut self.sums {
                    let parts = tier.scores.chunks(CHUNK).zip(tier.probabilities.chunks_mut(CHUNK));
                    chunks.iter_mut().zip(parts).for_each(|(chunk, part)| chunk.push(part));
                }
                let jobs = chunks.into_iter().zip(targets.chunks(CHUNK)).collect();
                threads::map(jobs, |(tiers, targets)| softmax(tiers, targets)).into_iter().sum()
            }
            Goal::Numbers(targets) => {
                let scores = self.sums.iter().flat_map(|sum| &sum.scores).zip(*targets);
                scores.map(|(score, target)| 0.5 * (score - f64::from(*target)).powi(2)).sum()
            }
        };
        total / self.goal.rows().max(1) as f64
    }
}

/// exp(score) / Σ exp(score) for some rows, of which each tier has its scores and probabilities; gives their log-loss.
fn softmax(mut tiers: Vec<(&[f64], &mut [f64])>, targets: &[u8]) -> f64 {
    let mut most = vec![f64::NEG_INFINITY; targets.len()];
    for (scores, _) in &tiers {
        most.iter_mut().zip(*scores).for_each(|(most, score)| *most = most.max(*score));
    }
    let mut total = vec![0.0; targets.len()];
    for (scores, probabilities) in &mut tiers {
        for (((score, p), most), total) in scores.iter().zip(&mut **probabilities).zip(&most).zip(&mut total)
        {
            *p = (score - most).exp();
            *total += *p;
        }
    }
    for (_, probabilities) in &mut tiers {
        probabilities.iter_mut().zip(&total).for_each(|(p, total)| *p /= total);
    }
    let truth = targets.iter().enumerate().map(|(row, tier)| tiers[usize::from(*tier) - 1].1[row]);
    truth.map(|p| -p.max(f64::MIN_POSITIVE).ln()).sum()
}

#[cfg(test)]
mod tests;
