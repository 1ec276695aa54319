//! What tells frauds by known ones: logistic regression, and boosted trees on two classes.
//!
//! Frauds are few. Of the other rows a share is drawn for the trees to learn from, every fraud is kept: rows that say next to nothing cost no time,
//! and leaves that hold a handful of frauds have weight enough to be made. In such rows the odds of a fraud are
//! higher by one over that share, which is exactly undone: its logarithm is taken off every score (Dal Pozzolo, Caelen, Johnson &
//! Bontempi 2015). Weights on frauds would shift the odds as well and save nothing. Several forests, each on a draw of its own, are
//! averaged, so that together they have seen many of the others. Logistic regression has few numbers to learn, is right about the odds of rare
//! rows as they are, and sees all of them.
//!
//! Settings are compared, and rounds of boosting counted, on later rows ([`Tried`]).

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::{
    Inputs, Labelled,
    calibration::{Platt, log_loss},
    curve::{self, Figures},
    units::Units,
};
use crate::{Forest, Rows, boosting, convex, mix, threads, uplift::qini::Order};

/// What learns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Learner {
    /// Logistic regression with an L2 penalty of this weight on a row's mean loss.
    Logistic(f64),
    /// Boosted trees.
    Trees(boosting::Params),
}

/// What learns, and from how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The learner.
    pub learner: Learner,
    /// The share of the rows without fraud that is learned from, above 0 and at most 1; of logistic regression 1.
    pub keep: f64,
    /// Forests that are averaged; of logistic regression 1.
    pub forests: usize,
    /// Rounds of boosting of each; none before later rows have told.
    pub rounds: Option<u32>,
}

impl Settings {
    /// Logistic regressions to choose from.
    pub fn logistic() -> Vec<Self> {
        let with =
            |penalty| Self { learner: Learner::Logistic(penalty), keep: 1.0, forests: 1, rounds: None };
        [1e-5, 1e-4, 1e-3, 1e-2, 1e-1].map(with).to_vec()
    }

    /// Trees to choose from, learned from a few and from all of the rows without fraud; leaves hold fewer frauds or more.
    pub fn trees() -> Vec<Self> {
        let deep = boosting::Params { leaves: 24, depth: 8, weight: 0.5, ..boosting::Params::default() };
        let deeper = boosting::Params { leaves: 64, depth: 12, weight: 1.0, ..deep };
        let heavy = boosting::Params { weight: 3.0, l2: 10.0, ..deeper };
        let with = |params, keep| Self { learner: Learner::Trees(params), keep, forests: 4, rounds: None };
        let some = [(deep, 0.1), (deep, 0.5), (deep, 1.0), (deeper, 0.5), (deeper, 1.0), (heavy, 1.0)];
        some.map(|(params, keep)| with(params, keep)).to_vec()
    }
}

/// A fitted model.
#[derive(Clone, Debug, PartialEq)]
pub struct Supervised(Kind);

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// Weights of the inputs in common units, and a constant.
    Linear(Units, Vec<f64>, f64),
    /// Trees of two classes.
    Trees(Forest),
}

/// A model of earlier rows, judged by later ones.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Its settings, with the rounds that told the later rows best.
    pub settings: Settings,
    /// The model.
    pub model: Supervised,
    /// Its scores of the later rows.
    pub scores: Vec<f64>,
    /// What makes probabilities of them.
    pub platt: Platt,
    /// The mean log-loss of these probabilities.
    pub log_loss: f64,
    /// AUC and average precision.
    pub figures: Figures,
}

impl Tried {
    /// Fits to earlier rows and looks at later ones.
    ///
    /// # Errors
    /// When rows and labels differ in number, either part is of one kind, or they have different inputs.
    pub fn new(
        settings: &Settings,
        earlier: &Labelled<'_>,
        later: &Labelled<'_>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        later.check()?;
        ensure!(
            earlier.inputs.width() == later.inputs.width(),
            "earlier rows have {} inputs and later ones {}",
            earlier.inputs.width(),
            later.inputs.width()
        );
        let (model, rounds) = fit(settings, earlier, Some(later), seed)?;
        let scores = model.scores(later.inputs);
        let platt = Platt::fit(&scores, later.fraud);
        let said: Vec<f64> = scores.iter().map(|score| platt.probability(*score)).collect();
        let figures = curve::figures(&Order::new(&scores), later.fraud, |_| 1.0);
        Ok(Self {
            settings: Settings { rounds, ..*settings },
            log_loss: log_loss(&said, later.fraud),
            figures: figures.context("later rows are of one kind")?,
            model,
            scores,
            platt,
        })
    }

    /// The one of the settings whose probabilities of the later rows have the least log-loss, the first of equals; `done` is called
    /// after each.
    ///
    /// # Errors
    /// As [`Tried::new`], and without settings.
    pub fn best(
        settings: &[Settings],
        earlier: &Labelled<'_>,
        later: &Labelled<'_>,
        seed: u64,
        mut done: impl FnMut(&Self),
    ) -> anyhow::Result<Self> {
        let mut best: Option<Self> = None;
        for settings in settings {
            let tried = Self::new(settings, earlier, later, seed)?;
            done(&tried);
            if best.as_ref().is_none_or(|best| tried.log_loss < best.log_loss) {
                best = Some(tried);
            }
        }
        best.context("there are no settings to try")
    }
}

impl Supervised {
    /// Fits to all rows, trees for as many rounds as the settings say.
    ///
    /// # Errors
    /// When rows and labels differ in number, all are of one kind, or settings of trees have no number of rounds.
    pub fn fit(settings: &Settings, rows: &Labelled<'_>, seed: u64) -> anyhow::Result<Self> {
        fit(settings, rows, None, seed).map(|(model, _)| model)
    }

    /// Its trees, of two classes; none of a logistic regression.
    pub fn forest(&self) -> Option<&Forest> {
        match &self.0 {
            Kind::Trees(forest) => Some(forest),
            Kind::Linear(..) => None,
        }
    }

    /// Logarithms of the odds of a fraud, before calibration.
    pub fn scores(&self, inputs: &Inputs) -> Vec<f64> {
        match &self.0 {
            Kind::Linear(units, weight, bias) => {
                let rows = units.apply(inputs);
                let score = |at: usize| {
                    rows.row(at).iter().zip(weight).map(|(x, weight)| f64::from(*x) * weight).sum::<f64>()
                        + bias
                };
                (0..rows.len()).map(score).collect()
            }
            Kind::Trees(forest) => {
                let blocks = inputs.values().chunks(TOGETHER * inputs.width()).collect();
                let scores = threads::map(blocks, |rows| forest.scores(rows));
                let odds = |pair: &[f32]| f64::from(pair[1]) - f64::from(pair[0]);
                scores.iter().flat_map(|scores| scores.chunks_exact(2).map(odds)).collect()
            }
        }
    }
}

/// Rows that one thread walks together.
const TOGETHER: usize = 4096;

fn fit(
    settings: &Settings,
    rows: &Labelled<'_>,
    later: Option<&Labelled<'_>>,
    seed: u64,
) -> anyhow::Result<(Supervised, Option<u32>)> {
    rows.check()?;
    ensure!(
        settings.keep > 0.0 && settings.keep <= 1.0,
        "the share {} to learn from is not above 0 and at most 1",
        settings.keep
    );
    match settings.learner {
        Learner::Logistic(penalty) => Ok((linear(penalty, rows), None)),
        Learner::Trees(params) => {
            ensure!(settings.forests > 0, "there is no forest to average");
            ensure!(
                later.is_some() || settings.rounds.is_some(),
                "nothing says for how many rounds trees are boosted"
            );
            let params = boosting::Params { rounds: settings.rounds, ..params };
            let (forest, rounds) = forests(&params, settings, rows, later, seed);
            Ok((Supervised(Kind::Trees(forest)), Some(rounds)))
        }
    }
}

fn linear(penalty: f64, rows: &Labelled<'_>) -> Supervised {
    let units = Units::of(rows.inputs);
    let network = convex::logistic(2, &self::rows(&units.apply(rows.inputs), rows.fraud), penalty);
    let layer = &network.layers[0];
    let odds = |pair: &[f32]| f64::from(pair[1]) - f64::from(pair[0]);
    let weight = layer.weight.chunks_exact(2).map(odds).collect();
    Supervised(Kind::Linear(units, weight, odds(&layer.bias)))
}

/// The mean of several forests, and the mean of their rounds.
fn forests(
    params: &boosting::Params,
    settings: &Settings,
    rows: &Labelled<'_>,
    later: Option<&Labelled<'_>>,
    seed: u64,
) -> (Forest, u32) {
    let count = settings.forests as f64;
    let grown = threads::map((0..settings.forests as u64).collect(), |at| {
        let seed = mix(seed ^ mix(at));
        let (learned, kept) = drawn(rows, settings.keep, seed);
        // Drawn alike, so that the odds are those that the trees know.
        let aside = later.map(|later| drawn(later, settings.keep, mix(seed)).0);
        let (forest, rounds) = boosting::forest(params, 2, &learned, aside.as_ref(), seed);
        (forest.scaled(1.0 / count, &[0.0, kept.ln() / count]), rounds)
    });
    let rounds = grown.iter().map(|(_, rounds)| f64::from(*rounds)).sum::<f64>() / count;
    let mut mean = Forest { inputs: rows.inputs.width(), tiers: 2, base: vec![0.0; 2], trees: Vec::new() };
    for (forest, _) in grown {
        mean.base.iter_mut().zip(forest.base).for_each(|(sum, base)| *sum += base);
        mean.trees.extend(forest.trees);
    }
    (mean, (rounds.round() as u32).max(1))
}

/// All frauds and about that share of the other rows, and the share that it was.
fn drawn(rows: &Labelled<'_>, keep: f64, seed: u64) -> (Rows, f64) {
    let chance = |at: usize| (mix(seed ^ mix(at as u64)) >> 11) as f64 / (1_u64 << 53) as f64;
    let places: Vec<usize> =
        (0..rows.fraud.len()).filter(|at| rows.fraud[*at] || chance(*at) < keep).collect();
    let fraud: Vec<bool> = places.iter().map(|at| rows.fraud[*at]).collect();
    let frauds = rows.frauds();
    let kept = ((places.len() - frauds) as f64 / (rows.fraud.len() - frauds) as f64).max(f64::MIN_POSITIVE);
    (self::rows(&rows.inputs.select(&places), &fraud), kept)
}

/// Rows as learners of tiers take them, the second tier being frauds.
fn rows(inputs: &Inputs, fraud: &[bool]) -> Rows {
    Rows {
        width: inputs.width(),
        inputs: inputs.values().to_vec(),
        plain_width: inputs.width(),
        plain: inputs.values().to_vec(),
        targets: fraud.iter().map(|fraud| 1 + u8::from(*fraud)).collect(),
        current_spend: vec![0; fraud.len()],
        member: (0..fraud.len() as u32).collect(),
        ..Rows::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::{
        calibration::logistic,
        tests::{normal, uniform},
    };

    /// Rows of four numbers; the odds of a fraud follow the first two, and are higher where the third is missing.
    fn made(n: u64, seed: u64) -> (Inputs, Vec<bool>, Vec<f64>) {
        let (mut values, mut fraud, mut truth) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..n {
            let x = [0, 1, 2, 3].map(|which| normal(seed * 1_000_003 + at * 4 + which));
            let missing = uniform(seed * 77_777 + at) < 0.1;
            let odds = 1.5 * x[0] - x[1] + if missing { 1.5 } else { 0.0 } - 5.0;
            values.extend(x.map(|x| x as f32));
            if missing {
                values[4 * at as usize + 2] = f32::NAN;
            }
            fraud.push(uniform(seed * 99_991 + 500_000_000 + at) < logistic(odds));
            truth.push(odds);
        }
        (Inputs::new(4, values).unwrap(), fraud, truth)
    }

    fn few() -> Settings {
        Settings { forests: 2, ..Settings::trees()[0] }
    }

    #[test]
    fn both_learners_find_the_odds_that_rows_were_drawn_by() {
        let ((inputs, fraud, _), (later, came, truth)) = (made(20_000, 1), made(10_000, 2));
        let (earlier, later) =
            (Labelled { inputs: &inputs, fraud: &fraud }, Labelled { inputs: &later, fraud: &came });
        let best = curve::figures(&Order::new(&truth), &came, |_| 1.0).unwrap();
        for settings in [Settings::logistic()[0], few()] {
            let tried = Tried::new(&settings, &earlier, &later, 1).unwrap();
            let found = tried.figures;
            assert!(found.auc > best.auc - 0.03, "{settings:?}: {found:?} {best:?}");
            assert!(
                found.average_precision > 0.7 * best.average_precision,
                "{settings:?}: {found:?} {best:?}"
            );
            // Before any calibration as many frauds are expected as come: the share that was drawn is undone.
            let expected: f64 = tried.scores.iter().map(|score| logistic(*score)).sum();
            let ratio = expected / later.frauds() as f64;
            assert!((0.8..1.25).contains(&ratio), "{settings:?}: {ratio}");
            assert!((tried.platt.weight - 1.0).abs() < 0.25, "{:?}", tried.platt);
        }
    }

    #[test]
    fn a_refit_has_the_rounds_that_later_rows_told() {
        let ((inputs, fraud, _), (later, came, _)) = (made(4000, 1), made(2000, 2));
        let (earlier, later) =
            (Labelled { inputs: &inputs, fraud: &fraud }, Labelled { inputs: &later, fraud: &came });
        let tried = Tried::new(&few(), &earlier, &later, 1).unwrap();
        let rounds = tried.settings.rounds.unwrap();
        let Supervised(Kind::Trees(forest)) = Supervised::fit(&tried.settings, &earlier, 1).unwrap() else {
            panic!("trees")
        };
        assert_eq!(forest.trees.len(), rounds as usize * 2 * 2);
        let mut seen = Vec::new();
        let all = [Settings::logistic()[0], few()];
        let best = Tried::best(&all, &earlier, &later, 1, |tried| seen.push(tried.log_loss)).unwrap();
        let least = seen.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!((seen.len(), best.log_loss.to_bits()), (2, least.to_bits()));
    }

    #[test]
    fn threads_change_no_bit() {
        let (inputs, fraud, _) = made(3000, 1);
        let rows = Labelled { inputs: &inputs, fraud: &fraud };
        for settings in [Settings::logistic()[2], Settings { rounds: Some(8), ..few() }] {
            let fit = |n| threads::allow(n, || Supervised::fit(&settings, &rows, 1).unwrap().scores(&inputs));
            assert_eq!(fit(1), fit(3));
        }
    }

    #[test]
    fn rows_of_one_kind_are_refused() {
        let (inputs, fraud, _) = made(300, 1);
        let fit = |fraud: &[bool], settings: &Settings| {
            Supervised::fit(settings, &Labelled { inputs: &inputs, fraud }, 1).unwrap_err().to_string()
        };
        let settings = Settings::logistic()[0];
        assert!(fit(&[false; 300], &settings).contains("none of 300 rows is a fraud"));
        assert!(fit(&[true; 300], &settings).contains("all 300 rows are frauds"));
        assert!(fit(&fraud[1..], &settings).contains("299 labels"));
        assert!(fit(&fraud, &few()).contains("how many rounds"));
        assert!(fit(&fraud, &Settings { keep: 0.0, ..settings }).contains("share 0"));
    }
}
