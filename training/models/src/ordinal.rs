//! Tiers in an order: K − 1 sums a row, each saying how much speaks for a tier beyond the k-th, made into probabilities.
//!
//! Both links are written in logarithms, as sums of ln(1 + exp), so that no difference of nearly equal numbers is taken.
//! Through a last softmax probabilities are never negative and sum to 1, and so a higher tier is never likelier to be
//! reached than a lower one.

use burn::tensor::{Tensor, activation};

use super::{Activation, Layer, SMALLEST, network::matrix};

/// What the sums a₁ … a₍K₋₁₎ mean; σ is the logistic function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// P(tier > k) = σ(aₖ), where aₖ falls with k by steps that are the same in every row: proportional odds (McCullagh
    /// 1980).
    Cumulative,
    /// P(tier > k | tier ≥ k) = σ(aₖ), chances that are multiplied (Tutz 1991): what CORN (Shi, Cao & Raschka 2021) learns.
    Continuation,
}

impl Link {
    /// What ln(1 + exp aₖ), and after all these ln(1 + exp −aₖ), count for each tier: the first is −ln of staying, the
    /// second −ln of going beyond tier k.
    fn weights(self, boundaries: usize) -> Vec<f32> {
        let tiers = boundaries + 1;
        let mut weights = vec![0.0; 2 * boundaries * tiers];
        for k in 0..boundaries {
            weights[k * tiers + k] = -1.0;
            let beyond = match self {
                Self::Cumulative => k + 1..k + 2,
                Self::Continuation => k + 1..tiers,
            };
            beyond.for_each(|tier| weights[(boundaries + k) * tiers + tier] = -1.0);
        }
        weights
    }

    /// Scores of the tiers for rows of sums: the logarithms of the probabilities; with the cumulative link they lack
    /// ln(1 − exp −step) for the tiers between the ends, since σ(a) − σ(b) = σ(a) (1 − σ(b)) (1 − exp(b − a)).
    pub(super) fn scores(self, sums: Tensor<2>) -> Tensor<2> {
        let ([_, boundaries], device) = (sums.dims(), sums.device());
        let units = activation::softplus(Tensor::cat(vec![sums.clone(), sums.neg()], 1), 1.0);
        units.matmul(matrix(self.weights(boundaries), 2 * boundaries, boundaries + 1, &device))
    }

    /// The layers from scores to probabilities, where `weight` (`scores × (K − 1)`) and `bias` make the sums of them.
    pub(super) fn layers(self, weight: &[f32], bias: &[f32]) -> [Layer; 2] {
        let boundaries = bias.len();
        let both = |row: &[f32]| row.iter().copied().chain(row.iter().map(|x| -x)).collect::<Vec<_>>();
        let mut between = vec![0.0; boundaries + 1];
        if self == Self::Cumulative {
            for (between, pair) in between.iter_mut().skip(1).zip(bias.windows(2)) {
                *between = (-(pair[1] - pair[0]).exp_m1()).max(SMALLEST).ln();
            }
        }
        let logarithms = Layer {
            inputs: weight.len() / boundaries,
            outputs: 2 * boundaries,
            weight: weight.chunks(boundaries).flat_map(both).collect(),
            bias: both(bias),
            activation: Activation::Softplus,
        };
        let tiers = Layer {
            inputs: 2 * boundaries,
            outputs: boundaries + 1,
            weight: self.weights(boundaries),
            bias: between,
            activation: Activation::Softmax,
        };
        [logarithms, tiers]
    }
}

/// The weights of scores that are the sums themselves.
pub(super) fn identity(boundaries: usize) -> Vec<f32> {
    (0..boundaries * boundaries).map(|at| if at % (boundaries + 1) == 0 { 1.0 } else { 0.0 }).collect()
}

/// The free numbers that give each tier its share of the counts: the first boundary's bias, and for each step from one to
/// the next a number whose ln(1 + exp) it is, so that none is above the one before. Half a row more in each tier keeps
/// them finite.
pub(super) fn free(counts: &[f32]) -> Vec<f32> {
    let beyond = |k: usize| counts[k..].iter().map(|n| f64::from(*n) + 0.5).sum::<f64>();
    let bias = |k: usize| (beyond(k) / (beyond(0) - beyond(k))).ln();
    let free = |k: usize| if k == 1 { bias(1) } else { (bias(k - 1) - bias(k)).exp_m1().ln() };
    (1..counts.len()).map(|k| free(k) as f32).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{Network, network::numbers};

    const SUMS: [f32; 9] = [1.5, 0.25, -2.0, 9.0, 8.5, 8.0, -30.0, -31.0, -33.5];

    fn logistic(x: f32) -> f64 {
        1.0 / (1.0 + (-f64::from(x)).exp())
    }

    /// The three sums of a row as the biases of a network whose score is 0.
    fn probabilities(link: Link, sums: &[f32]) -> Vec<f32> {
        let layers = link.layers(&[1.0; 3], sums);
        Network { layers: layers.to_vec() }.probabilities(&[0.0])
    }

    #[test]
    fn links_are_what_they_say() {
        for sums in SUMS.chunks(3) {
            let [a, b, c] = [0, 1, 2].map(|k| logistic(sums[k]));
            let cumulative = [1.0 - a, a - b, b - c, c];
            let continuation = [1.0 - a, a * (1.0 - b), a * b * (1.0 - c), a * b * c];
            for (link, truth) in [(Link::Cumulative, cumulative), (Link::Continuation, continuation)] {
                for (found, truth) in probabilities(link, sums).into_iter().zip(truth) {
                    assert!((f64::from(found) - truth).abs() < 1e-6, "{link:?}: {found} {truth}");
                    // What is rare keeps its digits, too.
                    assert!((f64::from(found) / truth - 1.0).abs() < 1e-3, "{link:?}: {found} {truth}");
                }
            }
        }
    }

    #[test]
    fn what_is_trained_is_what_is_kept() {
        let device = Device::flex();
        for sums in SUMS.chunks(3) {
            let scores = Link::Continuation.scores(matrix(sums.to_vec(), 1, 3, &device));
            for (p, score) in probabilities(Link::Continuation, sums).into_iter().zip(numbers(scores)) {
                assert!((p.ln() - score).abs() < 1e-4 * score.abs().max(1.0), "{p} {score}");
            }
        }
    }
}
