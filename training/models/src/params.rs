//! What the training of a model can be set to, and how a search draws other settings: log-uniformly, since what counts of
//! most of them is their order of magnitude (Bergstra & Bengio 2012).
//!
//! Drawn numbers are rounded to three digits, so that they can be read, and come back from JSON as they were.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Kind, boosting, dnn, mix, sequence};

/// The settings of every kind that has some.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// Of boosting.
    pub boosting: boosting::Params,
    /// Of the dense network, whatever its last layer.
    pub dnn: dnn::Params,
    /// Of the networks over sequences.
    pub sequence: sequence::Params,
}

impl Params {
    /// Whether a search can try anything.
    pub fn has(kind: Kind) -> bool {
        matches!(kind, Kind::Boosting | Kind::BoostingRank | Kind::Dnn | Kind::Corn)
            || kind.encoder().is_some()
    }

    /// A trial of a search: the first one, 0, is the default; any other depends on its number, the kind and the seed
    /// alone.
    pub fn trial(kind: Kind, number: usize, seed: u64) -> Self {
        let mut params = Self::default();
        let mut draw = Draw(StdRng::seed_from_u64(mix(seed ^ mix((kind as u64) << 32 | number as u64))));
        match kind {
            _ if number == 0 => {}
            Kind::Boosting | Kind::BoostingRank => params.boosting = boosting::Params::draw(&mut draw),
            Kind::Dnn | Kind::Corn => params.dnn = dnn::Params::draw(&mut draw),
            _ if kind.encoder().is_some() => params.sequence = sequence::Params::draw(&mut draw),
            _ => {}
        }
        params
    }

    /// Those of one kind, as JSON; null where it has none.
    pub fn of(&self, kind: Kind) -> serde_json::Value {
        let json = match kind {
            Kind::Boosting | Kind::BoostingRank => serde_json::to_value(self.boosting),
            Kind::Dnn | Kind::Corn => serde_json::to_value(&self.dnn),
            _ if kind.encoder().is_some() => serde_json::to_value(&self.sequence),
            _ => Ok(serde_json::Value::Null),
        };
        // Plain numbers under plain names are always JSON.
        json.unwrap_or_default()
    }
}

/// Draws numbers.
pub(super) struct Draw(StdRng);

impl Draw {
    /// A number whose logarithm is uniform.
    pub(super) fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        rounded(self.0.random_range(low.ln()..=high.ln()).exp().clamp(low, high))
    }

    /// A whole number, likewise.
    pub(super) fn log_uniform_whole(&mut self, low: usize, high: usize) -> usize {
        // Each whole number gets the stretch from it to the next, so that both ends have their share.
        (self.log_uniform(low as f64, (high + 1) as f64) as usize).clamp(low, high)
    }

    /// One of these, each as likely.
    pub(super) fn one_of(&mut self, these: &[usize]) -> usize {
        these[self.0.random_range(0..these.len())]
    }

    /// A number.
    pub(super) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        rounded(self.0.random_range(low..=high))
    }
}

/// To three digits.
fn rounded(x: f64) -> f64 {
    format!("{x:.2e}").parse().unwrap_or(x)
}
