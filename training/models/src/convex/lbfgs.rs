//! L-BFGS (Liu & Nocedal 1989) from a guess at the second derivatives, with steps that are halved until the loss falls
//! enough (Armijo 1966). For smooth convex losses.

use std::collections::VecDeque;

/// Steps that are remembered.
const MEMORY: usize = 10;
/// Iterations after which it stops at the latest.
const MOST_ITERATIONS: usize = 120;
/// The expected fall of the loss, relative to it, at which it is at its minimum.
const ENOUGH: f64 = 1e-7;
/// The share of the fall by the slope that a step must reach.
const ARMIJO: f64 = 1e-4;
/// Attempts at a step.
const MOST_ATTEMPTS: usize = 20;

/// What is minimised.
pub(super) trait Loss {
    /// The loss at a point; its derivatives go into `gradient`.
    fn slope(&self, x: &[f64], gradient: &mut [f64]) -> f64;

    /// Takes a gradient to about the step that leads to the minimum: the product with an inverse of the second
    /// derivatives, or of what is near to them.
    fn newton(&self, gradient: &mut [f64]);
}

/// A step and how the gradient changed by it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// Their product.
    curvature: f64,
}

/// Minimises from a start, and shows each point on the way, the start not among them.
pub(super) fn minimise(loss: &impl Loss, start: Vec<f64>, mut seen: impl FnMut(&[f64])) -> Vec<f64> {
    let mut x = start;
    let mut gradient = vec![0.0; x.len()];
    let mut here = loss.slope(&x, &mut gradient);
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    for _ in 0..MOST_ITERATIONS {
        let step = direction(loss, &gradient, &pairs);
        let slope = dot(&step, &gradient);
        let fall = -slope / 2.0;
        if fall.is_nan() || fall <= ENOUGH * here.abs() {
            break;
        }
        let Some((to, there, next)) = search(loss, &x, here, &step, slope) else { break };
        let step: Vec<f64> = to.iter().zip(&x).map(|(to, x)| to - x).collect();
        let change: Vec<f64> = next.iter().zip(&gradient).map(|(next, last)| next - last).collect();
        let curvature = dot(&step, &change);
        if curvature > f64::EPSILON * dot(&change, &change) {
            pairs.truncate(MEMORY - 1);
            pairs.push_front(Pair { step, change, curvature });
        }
        (x, here, gradient) = (to, there, next);
        seen(&x);
    }
    x
}

/// The two loops over the pairs, the last first, and between them the guess, scaled to the last pair.
fn direction(loss: &impl Loss, gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut to: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut weights = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let weight = dot(&pair.step, &to) / pair.curvature;
        add(&mut to, -weight, &pair.change);
        weights.push(weight);
    }
    loss.newton(&mut to);
    if let Some(pair) = pairs.front() {
        let mut guess = pair.change.clone();
        loss.newton(&mut guess);
        let scale = pair.curvature / dot(&pair.change, &guess);
        to.iter_mut().for_each(|x| *x *= scale);
    }
    for (pair, weight) in pairs.iter().zip(weights).rev() {
        let back = dot(&pair.change, &to) / pair.curvature;
        add(&mut to, weight - back, &pair.step);
    }
    to
}

/// The first point on a step, or a part of it, where the loss is low enough; with the loss and its gradient.
fn search(
    loss: &impl Loss,
    x: &[f64],
    here: f64,
    step: &[f64],
    slope: f64,
) -> Option<(Vec<f64>, f64, Vec<f64>)> {
    let mut gradient = vec![0.0; x.len()];
    let mut share = 1.0;
    for _ in 0..MOST_ATTEMPTS {
        let mut to = x.to_vec();
        add(&mut to, share, step);
        let there = loss.slope(&to, &mut gradient);
        if there <= here + ARMIJO * share * slope {
            return Some((to, there, gradient));
        }
        // The minimum of the parabola through what is known, if it is one.
        let lowest = -slope * share * share / (2.0 * (there - here - slope * share));
        share = if lowest.is_finite() { lowest.clamp(0.1 * share, 0.5 * share) } else { 0.1 * share };
    }
    None
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, x)| *to += times * x);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bowl that is long and narrow, with its minimum at 1, 2, 3 …, and a loss of 1 there.
    struct Bowl;

    impl Loss for Bowl {
        fn slope(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
            let mut loss = 1.0;
            for (at, (x, g)) in x.iter().zip(gradient).enumerate() {
                let (off, steep) = (x - (at + 1) as f64, 10.0_f64.powi(at as i32));
                loss += steep * (off.cosh() - 1.0);
                *g = steep * off.sinh();
            }
            loss
        }

        fn newton(&self, _gradient: &mut [f64]) {}
    }

    #[test]
    fn the_minimum_is_found_without_any_guess() {
        let mut steps = 0;
        let found = minimise(&Bowl, vec![0.0; 4], |_| steps += 1);
        for (at, x) in found.iter().enumerate() {
            assert!((x - (at + 1) as f64).abs() < 1e-3, "{found:?}");
        }
        assert!(steps < MOST_ITERATIONS, "{steps}");
    }
}
