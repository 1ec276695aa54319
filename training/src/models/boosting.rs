//! Gradient-boosted decision trees (Friedman 2001): in each round one tree for each tier follows the slope of the
//! softmax's log-loss.
//!
//! Leaves and splits are second-order (Chen & Guestrin 2016, equations 5 and 7); inputs are cut into bins and a node's
//! sums come from its parent's less its sibling's (Ke et al. 2017); a missing value has a side of its own at each
//! split. How many rounds is found on members set aside; then all rows are used for as many.
//!
//! It is our own because no crate that builds here does this: forust-ml has one tier against the rest only. One thread does all the work of a fit in one order, so the
//! same rows and seed give the same bits; `train` runs several fits side by side. There are no categorical splits:
//! codes come as one input each.

use serde::{Deserialize, Serialize};

use super::{CurvePoint, Fitted, Forest, Model, Rows, Tree, forest::softmax, params::Draw};

mod bins;
mod grow;

use grow::Grower;

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
}

impl Default for Params {
    /// Shallow trees, slowly: what did best in cross-validation on both data sets that `tiercast data fetch` knows,
    /// though its neighbours are within what chance gives.
    fn default() -> Self {
        Self { rate: 0.05, leaves: 8, depth: 4, weight: 5.0, l2: 5.0, inputs: 0.5 }
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
    let (aside, inner) = rows.part(ASIDE, seed);
    let (_, curve) = boost(params, ROUNDS, tiers, &inner, seed, Some(&aside));
    let best = curve.iter().min_by(|a, b| a.validation.total_cmp(&b.validation));
    let (forest, _) = boost(params, best.map_or(0, |point| point.step), tiers, rows, seed, None);
    Fitted { model: Model::Trees(forest), curve, l2: None }
}

/// Boosts for so many rounds, or fewer where the loss on the rows aside no longer falls.
fn boost(
    params: &Params,
    rounds: u32,
    tiers: usize,
    rows: &Rows,
    seed: u64,
    aside: Option<&Rows>,
) -> (Forest, Vec<CurvePoint>) {
    let columns = bins::columns(rows);
    let mut grower = Grower::new(params, &columns, rows.len(), seed);
    let base = base(tiers, &rows.targets);
    let mut forest = Forest { inputs: rows.plain_width, tiers, base, trees: Vec::new() };
    let mut learned = Scores::new(&forest, &rows.targets);
    let mut judged = aside.map(|aside| Scores::new(&forest, &aside.targets));
    let (mut curve, mut best) = (Vec::new(), (f64::INFINITY, 0));
    for step in 1..=rounds {
        for tier in 0..tiers {
            let nodes = grower.grow(|row| learned.slope(row, tier));
            grower.leaves().for_each(|(row, value)| learned.add(row, tier, value));
            let tree = Tree { tier, nodes };
            if let (Some(judged), Some(aside)) = (&mut judged, aside) {
                (0..aside.len()).for_each(|row| judged.add(row, tier, tree.value(aside.plain_row(row))));
            }
            forest.trees.push(tree);
        }
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

/// The logarithms of the tiers' shares; a tier that no row has counts as half a row.
fn base(tiers: usize, targets: &[u8]) -> Vec<f32> {
    let mut counts = vec![0.0_f64; tiers];
    targets.iter().for_each(|target| counts[usize::from(*target) - 1] += 1.0);
    counts.into_iter().map(|count| (count.max(0.5) / targets.len().max(1) as f64).ln() as f32).collect()
}

/// Where rows stand while trees are added.
struct Scores<'r> {
    tiers: usize,
    targets: &'r [u8],
    scores: Vec<f64>,
    /// Softmax of the scores as of the last update.
    probabilities: Vec<f64>,
}

impl<'r> Scores<'r> {
    fn new(forest: &Forest, targets: &'r [u8]) -> Self {
        let row: Vec<f64> = forest.base.iter().copied().map(f64::from).collect();
        let scores = row.repeat(targets.len());
        let mut new = Self { tiers: forest.tiers, targets, probabilities: scores.clone(), scores };
        new.update();
        new
    }

    fn add(&mut self, row: usize, tier: usize, value: f32) {
        self.scores[row * self.tiers + tier] += f64::from(value);
    }

    /// First and second derivative of a row's log-loss by a tier's score: p − y and p (1 − p).
    fn slope(&self, row: usize, tier: usize) -> [f64; 2] {
        let p = self.probabilities[row * self.tiers + tier];
        let truth = if usize::from(self.targets[row]) == tier + 1 { 1.0 } else { 0.0 };
        [p - truth, p * (1.0 - p)]
    }

    /// Brings the probabilities to the scores; gives the mean log-loss.
    fn update(&mut self) -> f64 {
        self.probabilities.copy_from_slice(&self.scores);
        let rows = self.probabilities.chunks_exact_mut(self.tiers).zip(self.targets);
        let losses = rows.map(|(row, target)| {
            softmax(row);
            -row[usize::from(*target) - 1].max(f64::MIN_POSITIVE).ln()
        });
        losses.sum::<f64>() / self.targets.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests;
