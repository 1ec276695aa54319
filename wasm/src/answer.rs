//! An assessment on its way to JavaScript: numbers at a fixed place in linear memory, texts as lines.
//!
//! Building the object here would cross the boundary once for each of its fields; `web/src/assessment.ts` builds it
//! from these in one go. The order of both is the contract between the two files.

use tiercast_core::{Assessment, NextTier, Observed};

/// What is left of the last call.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Of an assessment: tier, expected tier, standing: tier, spend, exact (0 or 1), next tier (0 if there is none), its
    /// distance. Of events: how many were added, were duplicates, came too late.
    numbers: [f64; 7],
    /// The features, then the probabilities.
    values: Vec<f32>,
}

impl Answer {
    pub(crate) fn new(len: usize) -> Self {
        Self { numbers: [0.0; 7], values: vec![0.0; len] }
    }

    pub(crate) fn numbers(&self) -> &[f64] {
        &self.numbers
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Counts what became of events.
    pub(crate) fn count(&mut self, outcomes: &[Observed]) {
        let count = |of| outcomes.iter().filter(|outcome| **outcome == of).count() as f64;
        let counts = [Observed::Added, Observed::Duplicate, Observed::TooLate].map(count);
        self.numbers.iter_mut().zip(counts).for_each(|(slot, count)| *slot = count);
    }

    /// Keeps the numbers and returns the texts: spend, first and last day of the period, the amount missing to the next
    /// tier and the day by which (both empty if there is none), then each warning.
    pub(crate) fn keep(&mut self, assessment: &Assessment) -> String {
        let standing = &assessment.standing;
        let next = standing.next.as_ref();
        self.numbers = [
            assessment.tier.into(),
            assessment.expected_tier.into(),
            standing.tier.into(),
            standing.spend_minor as f64,
            standing.exact.into(),
            next.map_or(0.0, |next| next.tier.into()),
            next.map_or(0.0, |next| next.amount_minor as f64),
        ];
        let values = assessment.features.iter().chain(&assessment.probabilities);
        self.values.iter_mut().zip(values).for_each(|(slot, value)| *slot = *value);
        let text = |field: fn(&NextTier) -> &str| next.map_or("", field);
        let mut lines = vec![
            standing.spend.as_str(),
            &standing.period_start,
            &standing.period_end,
            text(|next| &next.amount),
            text(|next| &next.by),
        ];
        lines.extend(assessment.warnings.iter().map(String::as_str));
        lines.join("\n")
    }
}
