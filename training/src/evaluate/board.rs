//! The leader board: every model with every decoder, with intervals, and its difference to the same-tier rule.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tiercast_core::Decode;

use crate::{
    metrics::{Bootstrap, Estimate, Judged, Measure, Measures, RESAMPLES},
    models::Kind,
    train::{
        predictions::{CROSS_VALIDATION, Predictions, TEST},
        record::RunRecord,
    },
};

/// One line: a model with a decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The model.
    pub model: String,
    /// How its probabilities became tiers; none for the rule, which decides its own tier.
    pub decode: Option<Decode>,
    /// The measures with their intervals.
    pub measures: Measures<Estimate>,
    /// This line minus the rule's, on the same resamples; none for the rule.
    pub versus_rule: Option<Measures<Estimate>>,
}

/// The lines of one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Board {
    /// `cv` or `test`.
    pub split: String,
    /// Rows judged.
    pub rows: usize,
    /// Members they belong to, which are what is resampled.
    pub members: usize,
    /// The rule first, then models in the order of the run.
    pub entries: Vec<Entry>,
}

/// The boards of a run, the one that counts first: the out-of-time test if there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boards(pub Vec<Board>);

/// What a decoder is called.
pub fn decode_name(decode: Option<Decode>) -> &'static str {
    match decode {
        None => "own",
        Some(Decode::Argmax) => "argmax",
        Some(Decode::Median) => "median",
        Some(Decode::Expected) => "expected",
        Some(Decode::Ranks) => "ranks",
    }
}

impl Boards {
    /// Judges the named models with each decoder, in every split that has rows.
    pub fn new(predictions: &Predictions, run: &RunRecord, models: &[&str], decoders: &[Decode]) -> Self {
        let board = |split| Board::new(predictions, split, models, decoders, run.seed);
        Self([TEST, CROSS_VALIDATION].into_iter().map(board).filter(|board| board.rows > 0).collect())
    }

    /// The board that counts.
    pub fn first(&self) -> Option<&Board> {
        self.0.first()
    }
}

impl Board {
    fn new(predictions: &Predictions, split: &str, models: &[&str], decoders: &[Decode], seed: u64) -> Self {
        let rule = Kind::SameTier.name();
        let places = predictions.of(rule, split);
        let (member, members) = numbered(predictions, &places);
        let own = [None];
        let asked: Vec<Option<Decode>> = decoders.iter().copied().map(Some).collect();
        let named = models.iter().filter(|model| **model != rule);
        let mut lines: Vec<(&str, Option<Decode>)> = own.map(|decode| (rule, decode)).to_vec();
        lines.extend(named.flat_map(|model| asked.iter().map(move |decode| (*model, *decode))));

        let resample = |(model, decode): &(&str, Option<Decode>)| {
            let judged = judge(predictions, model, split, *decode);
            Bootstrap::new(&judged, &member, members, RESAMPLES, seed)
        };
        let bootstraps = in_parallel(&lines, resample);
        let entries = lines.iter().zip(&bootstraps).map(|((model, decode), bootstrap)| Entry {
            model: (*model).to_owned(),
            decode: *decode,
            measures: bootstrap.estimates(),
            versus_rule: decode.is_some().then(|| bootstrap.minus(&bootstraps[0])),
        });
        let entries = if places.is_empty() { Vec::new() } else { entries.collect() };
        Self { split: split.to_owned(), rows: places.len(), members, entries }
    }

    /// The line of a model with a decoder; the rule's own line for the rule.
    pub fn entry(&self, model: &str, decode: Decode) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.model == model && entry.decode.is_none_or(|found| found == decode))
    }

    /// The rule's line.
    pub fn rule(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.decode.is_none())
    }
}

/// Every model holds out the same rows in the same order, so that row numbers mean the same rows.
fn numbered(predictions: &Predictions, places: &[usize]) -> (Vec<u32>, usize) {
    let mut numbers = BTreeMap::new();
    let mut number = |name| {
        let next = numbers.len() as u32;
        *numbers.entry(name).or_insert(next)
    };
    let member = places.iter().map(|row| number(predictions.member[*row].as_str())).collect();
    (member, numbers.len())
}

/// A model's predictions in a split against the truth.
pub fn judge(predictions: &Predictions, model: &str, split: &str, decode: Option<Decode>) -> Judged {
    let rows = predictions.of(model, split);
    let targets: Vec<u8> = rows.iter().map(|row| predictions.target[*row]).collect();
    let probabilities: Vec<f32> = rows.iter().flat_map(|row| predictions.row(*row)).copied().collect();
    let decided = match decode {
        Some(decode) => predictions.decide(model, split, decode),
        None => rows.iter().map(|row| predictions.decoded[*row]).collect(),
    };
    Judged::new(predictions.tiers, &targets, &decided, &probabilities)
}

/// Maps on as many threads as there are cores, in order.
fn in_parallel<A: Sync, B: Send>(items: &[A], map: impl Fn(&A) -> B + Sync) -> Vec<B> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let chunks: Vec<_> = items
            .chunks(share)
            .map(|chunk| scope.spawn(|| chunk.iter().map(&map).collect::<Vec<_>>()))
            .collect();
        chunks
            .into_iter()
            .flat_map(|chunk| chunk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// What a difference to the rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Better, and the interval does not include 0.
    Better,
    /// The interval includes 0.
    Unclear,
    /// Worse, and the interval does not include 0.
    Worse,
}

impl Verdict {
    /// Judges a difference (model minus rule) in a measure.
    pub fn of(difference: Estimate, measure: Measure) -> Self {
        let (low, high) = (difference.low, difference.high);
        match (low > 0.0, high < 0.0, measure.larger_is_better()) {
            (true, _, true) | (_, true, false) => Self::Better,
            (true, _, false) | (_, true, true) => Self::Worse,
            _ => Self::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_an_interval_without_zero_and_the_right_direction() {
        let estimate = |low, high| Estimate { value: (low + high) / 2.0, low, high };
        assert_eq!(Verdict::of(estimate(-0.2, -0.1), Measure::Mae), Verdict::Better);
        assert_eq!(Verdict::of(estimate(-0.2, -0.1), Measure::Accuracy), Verdict::Worse);
        assert_eq!(Verdict::of(estimate(0.1, 0.2), Measure::Kappa), Verdict::Better);
        assert_eq!(Verdict::of(estimate(-0.1, 0.2), Measure::Mae), Verdict::Unclear);
        assert_eq!(Verdict::of(estimate(0.0, 0.0), Measure::Mse), Verdict::Unclear);
    }

    #[test]
    fn work_on_threads_keeps_its_order() {
        let items: Vec<usize> = (0..17).collect();
        assert_eq!(in_parallel(&items, |x| x * 2), items.iter().map(|x| x * 2).collect::<Vec<_>>());
    }
}
