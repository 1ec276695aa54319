//! Factors: a vector for each item, and how a member's vector is made of the member's own events, where the member is.
//!
//! - **By least squares**, for items of alternating least squares over implicit feedback (Hu, Koren & Volinsky 2008): with
//!   the items fixed, the member's vector minimises Σ cᵢ (pᵢ − xᵀyᵢ)² + λ|x|², where pᵢ is 1 for what the member cares about
//!   and 0 otherwise, and cᵢ = 1 + α · affinity. Solved by conjugate gradients (Hestenes & Stiefel 1952).
//! - **By a mean**, for items of a model whose members are what they bought (two towers; FISM, Kabbur et al. 2013):
//!   x = (1, Σ wᵢ hᵢ / √Σ wᵢ) with a second table of rows h, one number narrower.

// Every index is below a width or length that `check` has compared.
#![allow(clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::rows::{ItemRows, Query};
use crate::{
    error::{Result, bail},
    math,
};

/// Steps of the conjugate gradients at most.
const STEPS: usize = 12;

/// What is known of items by what was bought with them.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// A row for each item.
    pub items: ItemRows,
    /// How a member's vector is made.
    pub fold: Fold,
}

crate::wire::fields!(Factors { items, fold });

/// How a member's vector is made of affinities to items.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// YᵀY + λI, row by row, for least squares; empty for a mean.
    pub gram: Vec<f32>,
    /// α, for least squares.
    pub alpha: f32,
    /// The rows that a mean is taken of, one number narrower than the items'; none for least squares.
    pub history: Option<ItemRows>,
}

crate::wire::fields!(Fold { gram, alpha, history });

impl Factors {
    pub(super) fn check(&self, items: usize) -> Result<()> {
        self.items.check(items)?;
        let (width, gram) = (self.items.width(), &self.fold.gram);
        let sound = match &self.fold.history {
            Some(history) => {
                history.check(items)?;
                history.width() + 1 == width && gram.is_empty()
            }
            None => gram.len() == width * width && gram.iter().all(|x| x.is_finite()),
        };
        if !sound || !(0.0..=1e6).contains(&self.fold.alpha) {
            bail!(InvalidSpec, "the factors say not how a member's vector is made");
        }
        Ok(())
    }

    /// A member's vector, given affinities above 0 to items.
    pub fn member(&self, affinities: &[(u32, f32)]) -> Vec<f32> {
        match &self.fold.history {
            Some(history) => mean(history, affinities),
            None => self.least_squares(affinities),
        }
    }

    /// The product of every item with a member's vector.
    pub fn scores(&self, affinities: &[(u32, f32)], out: &mut Vec<f32>) {
        self.items.times(&Query::round(&self.member(affinities)), out);
    }

    fn least_squares(&self, affinities: &[(u32, f32)]) -> Vec<f32> {
        let width = self.items.width();
        let mut rows = Vec::with_capacity(affinities.len() * width);
        affinities.iter().for_each(|(item, _)| rows.extend(self.items.row(*item as usize)));
        let rows: Vec<(&[f32], f32)> =
            rows.chunks_exact(width).zip(affinities.iter().map(|(_, w)| self.fold.alpha * w)).collect();
        // b − A·0
        let mut rest = alloc::vec![0.0; width];
        rows.iter().for_each(|(row, confidence)| add(&mut rest, 1.0 + confidence, row));
        let (mut x, mut way) = (alloc::vec![0.0; width], rest.clone());
        let mut length = dot(&rest, &rest);
        let start = length;
        let mut moved = alloc::vec![0.0; width];
        for _ in 0..STEPS {
            if length <= start * 1e-10 {
                break;
            }
            for (slot, row) in moved.iter_mut().zip(self.fold.gram.chunks_exact(width)) {
                *slot = dot(row, &way);
            }
            rows.iter().for_each(|(row, confidence)| add(&mut moved, confidence * dot(row, &way), row));
            let along = dot(&way, &moved);
            if along <= 0.0 || !along.is_finite() {
                break;
            }
            let step = length / along;
            add(&mut x, step, &way);
            add(&mut rest, -step, &moved);
            let shorter = dot(&rest, &rest);
            let keep = shorter / length;
            way.iter_mut().zip(&rest).for_each(|(way, rest)| *way = rest + keep * *way);
            length = shorter;
        }
        x
    }
}

fn mean(history: &ItemRows, affinities: &[(u32, f32)]) -> Vec<f32> {
    let mut x = alloc::vec![0.0; history.width() + 1];
    let weight: f32 = affinities.iter().map(|(_, w)| w).sum();
    for (item, affinity) in affinities {
        x[1..].iter_mut().zip(history.row(*item as usize)).for_each(|(x, h)| *x += affinity * h);
    }
    let scale = if weight > 0.0 { 1.0 / math::sqrt(f64::from(weight)) as f32 } else { 0.0 };
    x.iter_mut().for_each(|x| *x *= scale);
    x[0] = 1.0;
    x
}

fn add(to: &mut [f32], times: f32, row: &[f32]) {
    to.iter_mut().zip(row).for_each(|(to, x)| *to += times * x);
}

/// Eight sums, joined in one order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn items() -> ItemRows {
        let values: Vec<f32> = (0..20 * 4).map(|i| ((i * 53 % 31) as f32 - 15.0) / 15.0).collect();
        ItemRows::round(&values, 4)
    }

    fn by_least_squares(alpha: f32) -> Factors {
        let items = items();
        let mut gram = vec![0.0; 16];
        for at in 0..20 {
            let row: Vec<f32> = items.row(at).collect();
            for i in 0..4 {
                for j in 0..4 {
                    gram[i * 4 + j] += row[i] * row[j];
                }
            }
        }
        (0..4).for_each(|i| gram[i * 5] += 0.1);
        Factors { items, fold: Fold { gram, alpha, history: None } }
    }

    #[test]
    fn a_members_vector_is_where_the_slope_is_zero() {
        let factors = by_least_squares(8.0);
        factors.check(20).unwrap();
        let affinities = [(3, 1.0), (7, 0.25), (12, 3.0)];
        let x = factors.member(&affinities);
        // A x = b, term by term.
        for i in 0..4 {
            let mut left: f32 = (0..4).map(|j| factors.fold.gram[i * 4 + j] * x[j]).sum();
            let mut right = 0.0;
            for (item, affinity) in affinities {
                let row: Vec<f32> = factors.items.row(item as usize).collect();
                left += 8.0 * affinity * row[i] * dot(&row, &x);
                right += (1.0 + 8.0 * affinity) * row[i];
            }
            assert!((left - right).abs() < 1e-3, "{left} {right}");
        }
    }

    #[test]
    fn what_a_member_bought_scores_high_and_nobody_scores_nothing() {
        let factors = by_least_squares(40.0);
        let mut scores = Vec::new();
        factors.scores(&[(5, 0.01)], &mut scores);
        let little = scores[5];
        factors.scores(&[(5, 1.0)], &mut scores);
        assert!(little < scores[5] && (scores[5] - 1.0).abs() < 0.2, "{little} {scores:?}");
        factors.scores(&[], &mut scores);
        assert_eq!(scores, [0.0; 20]);
    }

    #[test]
    fn a_mean_forgets_how_much_there_was_but_for_a_root() {
        let history = ItemRows::round(&[1.0, 0.0, 0.0, 1.0], 2);
        let items = ItemRows::round(&[0.5, 1.0, 0.0, 0.0, 0.0, 1.0], 3);
        let factors = Factors { items, fold: Fold { gram: vec![], alpha: 0.0, history: Some(history) } };
        factors.check(2).unwrap();
        assert_eq!(factors.member(&[(0, 4.0)]), [1.0, 2.0, 0.0]);
        assert_eq!(factors.member(&[]), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn factors_that_do_not_fit_are_refused() {
        let sound = by_least_squares(1.0);
        for broken in [
            Factors { fold: Fold { gram: vec![1.0; 9], ..sound.fold.clone() }, ..sound.clone() },
            Factors { fold: Fold { alpha: f32::NAN, ..sound.fold.clone() }, ..sound.clone() },
            Factors { fold: Fold { history: Some(items()), ..sound.fold.clone() }, ..sound.clone() },
        ] {
            assert_eq!(broken.check(20).unwrap_err().code(), "invalid_spec");
        }
        assert_eq!(sound.check(21).unwrap_err().code(), "invalid_spec");
    }
}
