//! How good predicted tiers are: eight measures over the same rows.
//!
//! MSE, MAE, accuracy, macro-F1 and kappa look at the decided tier; RPS, ECE and log-loss at the probabilities.
//! Every row can carry a weight, so that a bootstrap resample is the same rows with other weights.

use serde::{Deserialize, Serialize};

mod auc;
mod bootstrap;

pub use auc::auc;
pub use bootstrap::{Bootstrap, Estimate, RESAMPLES, percentile};

/// Bins of confidence in the expected calibration error and in the reliability plot.
pub const CONFIDENCE_BINS: usize = 10;

/// Probabilities below this count as this in the log-loss, so that one certain miss does not make it infinite.
const SMALLEST_PROBABILITY: f64 = 1e-7;

/// One value for each measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measures<T = f64> {
    /// Mean squared error of the decided tier, in squared tiers.
    pub mse: T,
    /// Mean absolute error of the decided tier, in tiers.
    pub mae: T,
    /// Share of rows whose tier is exactly right.
    pub accuracy: T,
    /// Unweighted mean over tiers of the F1 score; a tier that is neither true nor decided anywhere is left out.
    pub macro_f1: T,
    /// Cohen's kappa with quadratic weights (Cohen 1968): 1 perfect, 0 chance.
    pub kappa: T,
    /// Ranked probability score (Epstein 1969), divided by K − 1: 0 perfect, 1 certain and farthest off.
    pub rps: T,
    /// Expected calibration error of the top tier's probability, ten equal bins (Guo et al. 2017).
    pub ece: T,
    /// Mean −ln of the true tier's probability.
    pub log_loss: T,
}

/// A measure's name and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields of `Measures` say what each one is")]
pub enum Measure {
    Mse,
    Mae,
    Accuracy,
    MacroF1,
    Kappa,
    Rps,
    Ece,
    LogLoss,
}

impl Measure {
    /// All measures, in the order of [`Measures::to_array`].
    pub const ALL: [Self; 8] = [
        Self::Mse,
        Self::Mae,
        Self::Accuracy,
        Self::MacroF1,
        Self::Kappa,
        Self::Rps,
        Self::Ece,
        Self::LogLoss,
    ];

    /// The name in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::Mse => "MSE",
            Self::Mae => "MAE",
            Self::Accuracy => "accuracy",
            Self::MacroF1 => "macro-F1",
            Self::Kappa => "kappa",
            Self::Rps => "RPS",
            Self::Ece => "ECE",
            Self::LogLoss => "log-loss",
        }
    }

    /// Whether a larger value is a better one.
    pub fn larger_is_better(self) -> bool {
        matches!(self, Self::Accuracy | Self::MacroF1 | Self::Kappa)
    }
}

impl<T: Copy> Measures<T> {
    /// The values in the order of [`Measure::ALL`].
    pub fn to_array(self) -> [T; 8] {
        [self.mse, self.mae, self.accuracy, self.macro_f1, self.kappa, self.rps, self.ece, self.log_loss]
    }

    /// The opposite of [`to_array`](Self::to_array).
    pub fn from_array([mse, mae, accuracy, macro_f1, kappa, rps, ece, log_loss]: [T; 8]) -> Self {
        Self { mse, mae, accuracy, macro_f1, kappa, rps, ece, log_loss }
    }

    /// One of the values.
    pub fn get(self, measure: Measure) -> T {
        self.to_array()[measure as usize]
    }
}

/// Rows with their true and decided tiers, and what each row adds to the probabilistic measures.
#[derive(Clone, Debug)]
pub struct Judged {
    tiers: usize,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    target: u8,
    decided: u8,
    rps: f64,
    log_loss: f64,
    confidence: f64,
    top_is_right: bool,
}

impl Judged {
    /// Compares predictions with the truth.
    ///
    /// `targets` and `decided` hold tiers 1…`tiers`; `probabilities` holds `tiers` values a row.
    ///
    /// # Panics
    /// When the lengths disagree or a tier is out of range.
    pub fn new(tiers: usize, targets: &[u8], decided: &[u8], probabilities: &[f32]) -> Self {
        assert_eq!(targets.len(), decided.len());
        assert_eq!(targets.len() * tiers, probabilities.len());
        let range = 1..=tiers as u8;
        assert!(targets.iter().chain(decided).all(|tier| range.contains(tier)), "tiers are 1…{tiers}");
        let rows = targets.iter().zip(decided).zip(probabilities.chunks(tiers));
        let rows = rows.map(|((target, decided), p)| Row::new(*target, *decided, p)).collect();
        Self { tiers, rows }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All measures, each row counted once.
    pub fn measures(&self) -> Measures {
        self.tally(|_| 1.0).measures()
    }

    /// All measures, row `i` counted `weight(i)` times.
    pub fn weighted(&self, weight: impl Fn(usize) -> f64) -> Measures {
        self.tally(weight).measures()
    }

    /// `confusion[t][d]`: rows of tier `t + 1` that were decided to be tier `d + 1`.
    pub fn confusion(&self) -> Vec<Vec<u64>> {
        let tally = self.tally(|_| 1.0);
        tally.confusion.chunks(self.tiers).map(|row| row.iter().map(|n| *n as u64).collect()).collect()
    }

    /// The bins of the reliability plot that hold any row.
    pub fn reliability(&self) -> Vec<Reliability> {
        let bins = self.tally(|_| 1.0).bins;
        let filled = bins.into_iter().filter(|bin| bin.rows > 0.0);
        filled
            .map(|bin| Reliability {
                rows: bin.rows as u64,
                confidence: bin.confidence / bin.rows,
                accuracy: bin.right / bin.rows,
            })
            .collect()
    }

    fn tally(&self, weight: impl Fn(usize) -> f64) -> Tally {
        let mut tally = Tally {
            tiers: self.tiers,
            confusion: vec![0.0; self.tiers * self.tiers],
            bins: [Bin::default(); CONFIDENCE_BINS],
            rps: 0.0,
            log_loss: 0.0,
        };
        for (i, row) in self.rows.iter().enumerate() {
            let weight = weight(i);
            if weight > 0.0 {
                tally.add(row, weight);
            }
        }
        tally
    }
}

/// One bin of the reliability plot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Rows whose top probability falls into the bin.
    pub rows: u64,
    /// Their mean top probability.
    pub confidence: f64,
    /// The share of them whose top tier is the true one.
    pub accuracy: f64,
}

impl Row {
    fn new(target: u8, decided: u8, p: &[f32]) -> Self {
        let at = usize::from(target) - 1;
        let (mut reached, mut rps, mut top) = (0.0, 0.0, 0);
        for (k, share) in p.iter().enumerate() {
            reached += f64::from(*share);
            if k + 1 < p.len() {
                let truth = if k >= at { 1.0 } else { 0.0 };
                rps += (reached - truth) * (reached - truth);
            }
            if *share > p[top] {
                top = k;
            }
        }
        Self {
            target,
            decided,
            rps: rps / (p.len() - 1).max(1) as f64,
            log_loss: -f64::from(p[at]).max(SMALLEST_PROBABILITY).ln(),
            confidence: f64::from(p[top]),
            top_is_right: top == at,
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Bin {
    rows: f64,
    confidence: f64,
    right: f64,
}

/// Weighted sums from which every measure follows.
struct Tally {
    tiers: usize,
    confusion: Vec<f64>,
    bins: [Bin; CONFIDENCE_BINS],
    rps: f64,
    log_loss: f64,
}

impl Tally {
    fn add(&mut self, row: &Row, weight: f64) {
        self.confusion[usize::from(row.target - 1) * self.tiers + usize::from(row.decided - 1)] += weight;
        let bin = ((row.confidence * CONFIDENCE_BINS as f64) as usize).min(CONFIDENCE_BINS - 1);
        let bin = &mut self.bins[bin];
        bin.rows += weight;
        bin.confidence += weight * row.confidence;
        bin.right += if row.top_is_right { weight } else { 0.0 };
        self.rps += weight * row.rps;
        self.log_loss += weight * row.log_loss;
    }

    fn measures(&self) -> Measures {
        let rows: f64 = self.confusion.iter().sum();
        let rows = rows.max(f64::MIN_POSITIVE);
        let cells =
            || self.confusion.iter().enumerate().map(|(at, n)| (at / self.tiers, at % self.tiers, *n));
        let distance = |t: usize, d: usize| t.abs_diff(d) as f64;
        let squared: f64 = cells().map(|(t, d, n)| n * distance(t, d).powi(2)).sum();
        let ece: f64 = self.bins.iter().map(|bin| (bin.right - bin.confidence).abs()).sum();
        Measures {
            mse: squared / rows,
            mae: cells().map(|(t, d, n)| n * distance(t, d)).sum::<f64>() / rows,
            accuracy: cells().filter(|(t, d, _)| t == d).map(|(.., n)| n).sum::<f64>() / rows,
            macro_f1: self.macro_f1(),
            kappa: self.kappa(rows, squared),
            rps: self.rps / rows,
            ece: ece / rows,
            log_loss: self.log_loss / rows,
        }
    }

    fn truths(&self, tier: usize) -> f64 {
        self.confusion[tier * self.tiers..(tier + 1) * self.tiers].iter().sum()
    }

    fn decisions(&self, tier: usize) -> f64 {
        self.confusion.iter().skip(tier).step_by(self.tiers).sum()
    }

    fn macro_f1(&self) -> f64 {
        let scores: Vec<f64> = (0..self.tiers)
            .filter_map(|tier| {
                let either = self.truths(tier) + self.decisions(tier);
                (either > 0.0).then(|| 2.0 * self.confusion[tier * self.tiers + tier] / either)
            })
            .collect();
        scores.iter().sum::<f64>() / scores.len().max(1) as f64
    }

    /// 1 − observed / expected disagreement; 0 where every row is the same tier, so that chance cannot disagree.
    fn kappa(&self, rows: f64, observed: f64) -> f64 {
        let mut expected = 0.0;
        for t in 0..self.tiers {
            for d in 0..self.tiers {
                expected += self.truths(t) * self.decisions(d) * (t.abs_diff(d) as f64).powi(2) / rows;
            }
        }
        if expected > 0.0 { 1.0 - observed / expected } else { 0.0 }
    }
}

#[cfg(test)]
mod tests;
