//! What each estimator makes of one row.
//!
//! Every estimate is a mean of bases plus a sum of corrections over the number of rows or, where weights are
//! self-normalised, over their sum. So sums by member are all that a resample needs.

/// A logged row, as estimators see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The policy's chance of the logged arm over the log's.
    pub(super) weight: f64,
    pub(super) reward: f64,
    /// The outcome model's expectation of the logged arm.
    pub(super) estimate: f64,
    /// Its mean over the policy's arms.
    pub(super) expected: f64,
}

/// What is estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Estimator {
    /// The mean reward of the log.
    Incumbent,
    Ips,
    Snips,
    ClippedIps(f64),
    /// Doubly robust minus incumbent.
    Lift,
    MeanWeight,
    Direct,
    DoublyRobust,
    SelfNormalised,
    Switch(f64),
    Clipped(f64),
}

impl Estimator {
    /// Whether corrections are divided by the sum of weights.
    pub(super) fn is_self_normalised(self) -> bool {
        matches!(self, Self::Snips | Self::SelfNormalised)
    }

    /// Base and correction of a row.
    pub(super) fn terms(self, row: &Row) -> [f64; 2] {
        let &Row { weight, reward, estimate, expected } = row;
        let error = reward - estimate;
        match self {
            Self::Incumbent => [reward, 0.0],
            Self::Ips | Self::Snips => [0.0, weight * reward],
            Self::ClippedIps(most) => [0.0, weight.min(most) * reward],
            Self::Lift => [expected - reward, weight * error],
            Self::MeanWeight => [weight, 0.0],
            Self::Direct => [expected, 0.0],
            Self::DoublyRobust | Self::SelfNormalised => [expected, weight * error],
            Self::Switch(most) => [expected, if weight <= most { weight * error } else { 0.0 }],
            Self::Clipped(most) => [expected, weight.min(most) * error],
        }
    }

    /// The estimate from sums over rows.
    pub(super) fn value(self, sums: [f64; 2], weight: f64, rows: f64) -> f64 {
        sums[0] / rows + self.ratio(sums[1], weight, rows)
    }

    /// What the corrections come to; nothing where there is no weight to divide by.
    pub(super) fn ratio(self, sum: f64, weight: f64, rows: f64) -> f64 {
        match self.is_self_normalised() {
            true if weight > 0.0 => sum / weight,
            true => 0.0,
            false => sum / rows,
        }
    }
}
