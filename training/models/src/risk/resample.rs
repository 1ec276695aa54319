//! Percentile intervals by resampling rows (Efron 1979), the same draws for all models, so that differences are paired.
//!
//! Rows are drawn, with the order of scores and the alerts as they are. A draw without a fraud, or of nothing else, says nothing and is
//! left out; with few frauds intervals are wide because they should be.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::curve;
use crate::{mix, threads, uplift::qini::Order};

/// What is resampled of a model.
#[derive(Clone, Copy, Debug)]
pub struct Ranked<'a> {
    /// Its rows by falling score.
    pub order: &'a Order,
    /// The share, 0 to 1, by which each row is alerted.
    pub alerted: &'a [f64],
}

/// What one draw says of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    /// Area under the ROC curve.
    pub auc: f64,
    /// Average precision.
    pub average_precision: f64,
    /// The share of the frauds that is alerted.
    pub recall: f64,
}

/// A value and the range in which 95 % of the draws fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// On the rows as they are.
    pub value: f64,
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// What all draws say of all models.
#[derive(Clone, Debug, PartialEq)]
pub struct Resamples {
    /// On the rows as they are, model by model.
    whole: Vec<Found>,
    /// Draw by draw.
    draws: Vec<Vec<Found>>,
}

impl Resamples {
    /// Draws all rows anew, with replacement, so many times; none where all rows are of one kind.
    pub fn new(models: &[Ranked<'_>], fraud: &[bool], rounds: usize, seed: u64) -> Option<Self> {
        let whole = found(models, fraud, |_| 1.0)?;
        let draws = threads::map((0..rounds as u64).collect(), |round| {
            let mut rng = StdRng::seed_from_u64(mix(seed ^ mix(round)));
            let mut times = vec![0_u32; fraud.len()];
            (0..fraud.len()).for_each(|_| times[rng.random_range(0..fraud.len())] += 1);
            found(models, fraud, |at| f64::from(times[at]))
        });
        Some(Self { whole, draws: draws.into_iter().flatten().collect() })
    }

    /// A number that follows from what is found of the models, with its interval.
    pub fn interval(&self, of: impl Fn(&[Found]) -> f64) -> Interval {
        let value = of(&self.whole);
        let mut values: Vec<f64> = self.draws.iter().map(|draw| of(draw)).collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| {
            let Some(last) = values.len().checked_sub(1) else { return value };
            let place = share * last as f64;
            let (below, above) = (place as usize, (place as usize + 1).min(last));
            values[below] + (values[above] - values[below]) * (place - below as f64)
        };
        Interval { value, low: at(0.025), high: at(0.975) }
    }
}

fn found(models: &[Ranked<'_>], fraud: &[bool], times: impl Fn(usize) -> f64) -> Option<Vec<Found>> {
    let frauds = || (0..fraud.len()).filter(|at| fraud[*at]);
    let all: f64 = frauds().map(&times).sum();
    let of = |model: &Ranked<'_>| {
        let curve::Figures { auc, average_precision } = curve::figures(model.order, fraud, &times)?;
        let alerted: f64 = frauds().map(|at| times(at) * model.alerted[at]).sum();
        Some(Found { auc, average_precision, recall: alerted / all })
    };
    models.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::tests::{normal, uniform};

    #[test]
    fn intervals_hold_the_truth_about_as_often_as_they_say() {
        // Scores of frauds are a deviation higher: the true AUC is Φ(1 / √2).
        let truth = 0.760_25;
        let held = (0..200_u64).filter(|trial| {
            let fraud: Vec<bool> = (0..200).map(|at| at % 5 == 0).collect();
            let score = |(at, fraud): (u64, &bool)| normal(trial * 1000 + at) + f64::from(u8::from(*fraud));
            let scores: Vec<f64> = (0..).zip(&fraud).map(score).collect();
            let order = Order::new(&scores);
            let models = [Ranked { order: &order, alerted: &scores }];
            let draws = Resamples::new(&models, &fraud, 200, *trial).unwrap();
            let Interval { low, high, .. } = draws.interval(|found| found[0].auc);
            low < truth && truth < high
        });
        let held = held.count();
        assert!((180..=200).contains(&held), "{held} of 200");
    }

    #[test]
    fn a_models_difference_to_itself_is_nothing() {
        let scores: Vec<f64> = (0..300).map(normal).collect();
        let fraud: Vec<bool> = (0..300).map(|at| uniform(at + 7000) < 0.1).collect();
        let alerted: Vec<f64> = scores.iter().map(|score| f64::from(u8::from(*score > 1.0))).collect();
        let order = Order::new(&scores);
        let model = Ranked { order: &order, alerted: &alerted };
        let draw =
            |threads| threads::allow(threads, || Resamples::new(&[model, model], &fraud, 50, 1).unwrap());
        let draws = draw(1);
        assert_eq!(draws, draw(3));
        let difference = draws.interval(|found| found[0].average_precision - found[1].average_precision);
        assert_eq!(difference, Interval { value: 0.0, low: 0.0, high: 0.0 });
        let recall = draws.interval(|found| found[0].recall);
        assert!(recall.low <= recall.value && recall.value <= recall.high && recall.low < recall.high);
        assert!(Resamples::new(&[model], &vec![true; 300], 5, 1).is_none());
    }
}
