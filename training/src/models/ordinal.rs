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

    /// Scores of the tiers for rows of sums. They are the logarithms of the probabilities; with the cumulative link, once
    /// [`between`] is added.
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

/// What the cumulative link's scores lack: ln(1 − exp −step) for the tiers between the ends, `[1, K]`.
///
/// With a = aₖ₋₁ and b = aₖ, σ(a) − σ(b) = σ(a) (1 − σ(b)) (1 − exp(b − a)).
pub(super) fn between(steps: Tensor<2>) -> Tensor<2> {
    let end = Tensor::<2>::zeros([1, 1], &steps.device());
    let between = steps.neg().exp().neg().add_scalar(1.0).clamp_min(SMALLEST).log();
    Tensor::cat(vec![end.clone(), between, end], 1)
}

/// The cumulative link's biases, `[1, K − 1]`, and the steps between them, `[1, K − 2]`, for numbers that are free: the
/// first bias, and for each step a number whose ln(1 + exp) it is, so that no bias is above the one before.
pub(super) fn falling(free: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
    let [_, boundaries] = free.dims();
    if boundaries < 2 {
        return (free, None);
    }
    let first = free.clone().narrow(1, 0, 1);
    let steps = activation::softplus(free.narrow(1, 1, boundaries - 1), 1.0);
    let others = first.clone() - steps.clone().cumsum(1);
    (Tensor::cat(vec![first, others], 1), Some(steps))
}

/// The free numbers that give each tier its share of the counts; half a row more in each tier keeps them finite.
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
    use crate::models::{Network, network::numbers};

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
            let rows = matrix(sums.to_vec(), 1, 3, &device);
            let steps = matrix(sums.windows(2).map(|pair| pair[0] - pair[1]).collect(), 1, 2, &device);
            let cumulative = Link::Cumulative.scores(rows.clone()) + between(steps);
            for (link, scores) in
                [(Link::Cumulative, cumulative), (Link::Continuation, Link::Continuation.scores(rows))]
            {
                for (p, score) in probabilities(link, sums).into_iter().zip(numbers(scores)) {
                    assert!((p.ln() - score).abs() < 1e-4 * score.abs().max(1.0), "{link:?}: {p} {score}");
                }
            }
        }
    }

    #[test]
    fn it_starts_at_the_shares() {
        let counts = [70.0, 0.0, 9.0, 20.0];
        let free = matrix(free(&counts), 1, 3, &Device::flex());
        let p = probabilities(Link::Cumulative, &numbers(falling(free).0));
        for (p, count) in p.into_iter().zip(counts) {
            assert!((p - (count + 0.5) / 101.0).abs() < 1e-5, "{p} {count}");
        }
    }
}
