//! What a log must say before a policy may be called better than the one in force.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Evaluation;

/// Which interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Percentiles over resampled members: right for many of them.
    #[default]
    Bootstrap,
    /// The empirical Bernstein bound: right for few, and wide.
    Bernstein,
}

/// What is asked of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Which interval must lie above the incumbent.
    pub interval: Kind,
    /// The least effective rows.
    pub least_rows: f64,
    /// The least effective rows as a share of all.
    pub least_share: f64,
    /// The most of the policy's mass that may be where the log has nothing.
    pub most_unseen: f64,
}

impl Default for Gate {
    fn default() -> Self {
        Self { interval: Kind::Bootstrap, least_rows: 100.0, least_share: 0.01, most_unseen: 0.1 }
    }
}

/// Why a policy is not proven to be better; [`fmt::Display`] says what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "why")]
pub enum Refusal {
    /// The interval does not lie above the incumbent's mean.
    NotAbove {
        /// Its lower end.
        low: f64,
        /// The incumbent's mean reward.
        incumbent: f64,
    },
    /// The difference to the incumbent, which is an estimate too, may be none.
    MayBeNone {
        /// The lower end of the paired difference's interval.
        low: f64,
        /// The difference.
        lift: f64,
    },
    /// The log is worth too few rows.
    FewRows {
        /// Effective rows.
        effective: f64,
        /// The least.
        least: f64,
    },
    /// The mean weight is not 1: propensities are wrong, or the log lacks arms.
    WeightsOff {
        /// The mean weight.
        mean: f64,
        /// Its interval's lower end.
        low: f64,
        /// Its upper end.
        high: f64,
    },
    /// Too much of the policy is where the log has nothing.
    Unseen {
        /// Its share there.
        share: f64,
        /// The most.
        most: f64,
    },
}

impl Evaluation {
    /// Whether the log proves a policy better than the one in force.
    ///
    /// The lower end of the judged estimate's interval must lie above the incumbent's mean, and that of their paired
    /// difference above 0: the mean is an estimate too, and without the second a policy that is no better would pass more
    /// often than the level says.
    ///
    /// # Errors
    /// Everything that stands against it.
    pub fn proven(&self, gate: &Gate) -> Result<(), Vec<Refusal>> {
        let incumbent = self.incumbent.value;
        let low = self.judged().interval(gate.interval).low;
        let lift = self.lift.interval(gate.interval).low;
        let weights = &self.weights;
        let mean = weights.mean.interval(gate.interval);
        let least = gate.least_rows.max(gate.least_share * self.rows as f64);
        let refusals = [
            (low <= incumbent).then_some(Refusal::NotAbove { low, incumbent }),
            (lift <= 0.0).then_some(Refusal::MayBeNone { low: lift, lift: self.lift.value }),
            (weights.effective_rows < least)
                .then_some(Refusal::FewRows { effective: weights.effective_rows, least }),
            (mean.low > 1.0 + SLACK || mean.high < 1.0 - SLACK).then_some(Refusal::WeightsOff {
                mean: weights.mean.value,
                low: mean.low,
                high: mean.high,
            }),
            (weights.unseen > gate.most_unseen)
                .then_some(Refusal::Unseen { share: weights.unseen, most: gate.most_unseen }),
        ];
        let refusals: Vec<_> = refusals.into_iter().flatten().collect();
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }
}

/// Weights that are all 1 sum to it up to rounding, and their interval has no width.
const SLACK: f64 = 1e-9;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbove { low, incumbent } => write!(
                f,
                "its interval begins at {low:.6}, {:.6} below the {incumbent:.6} of the policy in force: log more, or \
                 explore wider",
                incumbent - low
            ),
            Self::MayBeNone { low, lift } => write!(
                f,
                "it is {lift:+.6} apart from the policy in force, and the difference's interval begins at {low:.6}: log \
                 more until it begins above 0"
            ),
            Self::FewRows { effective, least } => write!(
                f,
                "the log is worth {effective:.1} rows for it, {:.1} fewer than the {least:.1} asked for: log more, or \
                 choose a policy nearer to the log's",
                least - effective
            ),
            Self::WeightsOff { mean, low, high } => write!(
                f,
                "its weights' mean is {mean:.4} ({low:.4} to {high:.4}) and should be 1: check the propensities; below \
                 1, the log may lack arms that it takes, so explore wider"
            ),
            Self::Unseen { share, most } => write!(
                f,
                "{:.1} % of it are where the log has nothing, {:.1} points more than the {:.1} % allowed: explore wider, \
                 or choose a policy nearer to the log's",
                100.0 * share,
                100.0 * (share - most),
                100.0 * most
            ),
        }
    }
}
