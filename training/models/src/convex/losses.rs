//! What the objectives make of the sums of a block of rows: their loss, and its derivative by each sum.

use super::blocks::{Lane, SIZE};
use crate::SMALLEST;

/// Cross-entropy: `sums` has a lane for each tier, and gets p − y. Gives the loss of the rows together.
pub(super) fn cross_entropy(targets: &[u8], sums: &mut [Lane]) -> f64 {
    let (mut most, mut total) = ([f32::NEG_INFINITY; SIZE], [0.0_f32; SIZE]);
    for lane in sums.iter() {
        most.iter_mut().zip(lane).for_each(|(most, x)| *most = most.max(*x));
    }
    let mut loss = 0.0;
    for (at, target) in targets.iter().enumerate() {
        loss -= f64::from(sums[usize::from(*target) - 1][at] - most[at]);
    }
    for lane in sums.iter_mut() {
        for ((x, most), total) in lane.iter_mut().zip(&most).zip(&mut total) {
            *x = (*x - most).exp();
            *total += *x;
        }
    }
    loss += total[..targets.len()].iter().map(|total| f64::from(*total).ln()).sum::<f64>();
    for lane in sums.iter_mut() {
        lane.iter_mut().zip(&total).for_each(|(x, total)| *x /= total);
        lane[targets.len()..].fill(0.0);
    }
    for (at, target) in targets.iter().enumerate() {
        sums[usize::from(*target) - 1][at] -= 1.0;
    }
    loss
}

/// Squared hinge, one tier against the rest: `sums` has a lane for each tier.
pub(super) fn squared_hinge(targets: &[u8], sums: &mut [Lane]) -> f64 {
    let mut loss = 0.0;
    for (tier, lane) in (1..).zip(sums) {
        let mut sum = 0.0_f32;
        for (x, target) in lane.iter_mut().zip(targets) {
            let side = if usize::from(*target) == tier { 1.0 } else { -1.0 };
            let short = (1.0 - side * *x).max(0.0);
            sum += 0.5 * short * short;
            *x = -side * short;
        }
        lane[targets.len()..].fill(0.0);
        loss += f64::from(sum);
    }
    loss
}

/// Proportional odds, of which [`between`] is a part: `sum` is a₁, and aₖ = a₁ − `drops[k − 1]` where `drops[0]` is 0.
/// `slopes` gets what the loss rises by with each drop, added up over the rows.
pub(super) fn proportional_odds(targets: &[u8], sum: &mut Lane, drops: &[f64], slopes: &mut [f64]) -> f64 {
    let mut loss = 0.0;
    for (x, target) in sum.iter_mut().zip(targets) {
        let (first, tier) = (f64::from(*x), usize::from(*target));
        let mut slope = 0.0;
        // Reached: −ln σ(a) of the boundary below; not exceeded: −ln σ(−a) of the one above.
        if tier > 1 {
            let (reached, short) = softplus(drops[tier - 2] - first);
            loss += reached;
            slope -= short;
            slopes[tier - 2] += short;
        }
        if let Some(drop) = drops.get(tier - 1) {
            let (stayed, over) = softplus(first - drop);
            loss += stayed;
            slope += over;
            slopes[tier - 1] -= over;
        }
        *x = slope as f32;
    }
    sum[targets.len()..].fill(0.0);
    loss
}

/// What −ln P(tier) has for a tier between the ends beside the two boundaries, −ln(1 − exp −step), and its derivative.
pub(super) fn between(step: f64) -> (f64, f64) {
    let apart = -(-step).exp_m1();
    if apart <= f64::from(SMALLEST) {
        (-f64::from(SMALLEST).ln(), 0.0)
    } else {
        (-apart.ln(), -(1.0 - apart) / apart)
    }
}

/// ln(1 + exp x), and its derivative σ(x).
pub(super) fn softplus(x: f64) -> (f64, f64) {
    let small = (-x.abs()).exp();
    let derivative = if x > 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
    (x.max(0.0) + small.ln_1p(), derivative)
}
