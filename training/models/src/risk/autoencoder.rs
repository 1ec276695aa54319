//! Reconstruction errors: a network with a narrow hidden layer learns to give rows back, and what it gives back badly is odd
//! (Hawkins, He, Williams & Baxter 2002).
//!
//! Inputs are in standard deviations of the rows that are learned from, which should be without known frauds. A row's score is the mean
//! squared error over the inputs that it has; one that is missing goes in as the mean and does not count.

use anyhow::ensure;
use rand::{SeedableRng, rngs::StdRng};

use super::{Inputs, units::Units};
use crate::{
    mix,
    policy::net::{Net, Steps, Trainer},
    threads,
};

/// How it is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// Units of the hidden layer as a share of the inputs.
    pub narrow: f64,
    /// Epochs at most.
    pub epochs: u32,
    /// Epochs without a new least error on rows set aside after which it stops.
    pub patience: u32,
    /// Rows that an epoch looks at, at most; a draw of them where there are more.
    pub rows: usize,
    /// Adam's learning rate.
    pub rate: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { narrow: 0.5, epochs: 40, patience: 4, rows: 40_000, rate: 2e-3 }
    }
}

/// A trained autoencoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoencoder {
    units: Units,
    net: Net,
}

/// One in so many rows is set aside to say when to stop.
const ASIDE: usize = 10;
/// Rows that one thread reconstructs together.
const TOGETHER: usize = 1024;

impl Autoencoder {
    /// Trains a network on rows that are as rows should be.
    ///
    /// # Errors
    /// When there are fewer rows than can be parted into some to learn from and some to stop by.
    pub fn fit(params: &Params, inputs: &Inputs, seed: u64) -> anyhow::Result<Self> {
        ensure!(inputs.len() >= 2 * ASIDE, "an autoencoder takes {} rows or more", 2 * ASIDE);
        let units = Units::of(inputs);
        let mut rng = StdRng::seed_from_u64(mix(seed));
        let drawn =
            rand::seq::index::sample(&mut rng, inputs.len(), inputs.len().min(params.rows)).into_vec();
        let known = inputs.select(&drawn);
        let rows = units.apply(&known);
        let (aside, learned): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|at| at % ASIDE == 0);
        let width = inputs.width();
        let hidden = ((width as f64 * params.narrow).round() as usize).clamp(1, width);
        let steps = Steps { rate: params.rate, l2: 0.0 };
        let mut trainer = Trainer::new(Net::new(width, hidden, width, mix(seed)), steps, mix(seed ^ 1));
        let error = |net: &Net| -> f64 {
            let of = |at: &usize| error(net, rows.row(*at), known.row(*at));
            aside.iter().map(of).sum::<f64>() / aside.len() as f64
        };
        let mut best = (error(&trainer.net), 0, trainer.net.clone());
        for epoch in 1..=params.epochs {
            trainer.epoch(
                &learned,
                |at| rows.row(at),
                |at, out, slope| {
                    for (((slope, out), x), own) in
                        slope.iter_mut().zip(out).zip(rows.row(at)).zip(known.row(at))
                    {
                        *slope = if own.is_nan() { 0.0 } else { f64::from(*x) - out };
                    }
                },
            );
            let found = error(&trainer.net);
            if found < best.0 {
                best = (found, epoch, trainer.net.clone());
            } else if epoch - best.1 >= params.patience {
                break;
            }
        }
        Ok(Self { units, net: best.2 })
    }

    /// The mean squared error of each row, in squared deviations; 0 for a row without any input.
    pub fn scores(&self, inputs: &Inputs) -> Vec<f64> {
        let starts: Vec<usize> = (0..inputs.len()).step_by(TOGETHER).collect();
        let scores = threads::map(starts, |start| {
            let places: Vec<usize> = (start..inputs.len().min(start + TOGETHER)).collect();
            let own = inputs.select(&places);
            let rows = self.units.apply(&own);
            (0..rows.len()).map(|at| error(&self.net, rows.row(at), own.row(at))).collect::<Vec<_>>()
        });
        scores.concat()
    }
}

/// The mean squared error over the inputs that the row has of its own.
fn error(net: &Net, row: &[f32], own: &[f32]) -> f64 {
    let out = net.run(row);
    let known = row.iter().zip(&out).zip(own).filter(|(_, own)| !own.is_nan());
    let (sum, n) =
        known.fold((0.0, 0.0), |(sum, n), ((x, out), _)| (sum + (f64::from(*x) - out).powi(2), n + 1.0));
    sum / f64::max(n, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::tests::normal;

    /// Rows of four inputs that are two numbers and their sums.
    fn tied(n: u64) -> Inputs {
        let row = |at: u64| {
            let (a, b) = (normal(2 * at) as f32, normal(2 * at + 1) as f32);
            [a, b, a + b, a - b]
        };
        Inputs::new(4, (0..n).flat_map(row).collect()).unwrap()
    }

    #[test]
    fn what_breaks_the_ties_is_reconstructed_badly() {
        let inputs = tied(3000);
        let encoder = Autoencoder::fit(&Params::default(), &inputs, 1).unwrap();
        let usual = encoder.scores(&inputs);
        let mean = usual.iter().sum::<f64>() / usual.len() as f64;
        // Each number by itself is ordinary; together they cannot be.
        let odd = encoder.scores(&Inputs::new(4, vec![1.0, 1.0, -1.5, 1.5]).unwrap())[0];
        assert!(mean < 0.1 && odd > 5.0 * mean.max(0.05), "{mean} {odd}");
    }

    #[test]
    fn missing_inputs_do_not_count() {
        let encoder = Autoencoder::fit(&Params::default(), &tied(500), 1).unwrap();
        let scores = encoder.scores(&Inputs::new(4, vec![f32::NAN; 4]).unwrap());
        assert_eq!(scores, [0.0]);
        let some = encoder.scores(&Inputs::new(4, vec![0.5, f32::NAN, 0.5, f32::NAN]).unwrap());
        assert!(some[0].is_finite() && some[0] > 0.0);
    }

    #[test]
    fn threads_change_no_bit_and_too_few_rows_are_refused() {
        let inputs = tied(1500);
        let params = Params { epochs: 2, ..Params::default() };
        let fit = |threads| {
            threads::allow(threads, || Autoencoder::fit(&params, &inputs, 3).unwrap().scores(&inputs))
        };
        assert_eq!(fit(1), fit(3));
        assert!(Autoencoder::fit(&params, &tied(19), 3).is_err());
    }
}
