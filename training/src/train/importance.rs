//! What a model relies on: how much worse it gets when one feature is shuffled among the rows (Breiman 2001).

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use tiercast_core::FeatureSchema;

use super::{
    folds::{Prepared, raw},
    record::Importance,
};
use crate::{
    dataset::Dataset,
    fit::{self, sequence::Layout},
    metrics::Judged,
    models::{Fitted, Model},
};

/// Shuffles of each feature.
const SHUFFLES: usize = 3;

/// Shuffles each raw feature among the held-out rows of each split, and gives the mean worsening of the ranked
/// probability score, most important first. Inputs made from one feature move together.
pub fn permutation(dataset: &Dataset, splits: &[(&Prepared, &Fitted)], seed: u64) -> Vec<Importance> {
    let (groups, mut found): (Vec<_>, Vec<_>) = groups(&dataset.schema).into_iter().unzip();
    let judges: Vec<_> =
        splits.iter().map(|(split, fitted)| Judge::new(dataset, split, &fitted.model)).collect();
    let rows: usize = judges.iter().map(Judge::len).sum();
    if rows == 0 {
        return Vec::new();
    }
    for (features, importance) in groups.iter().zip(&mut found) {
        let first = features.first().copied().unwrap_or_default();
        let worsenings: Vec<f64> = (0..SHUFFLES)
            .map(|shuffle| {
                let mut rng = StdRng::seed_from_u64(seed ^ (first * SHUFFLES + shuffle) as u64);
                let total: f64 =
                    judges.iter().map(|judge| judge.worsening(&dataset.schema, features, &mut rng)).sum();
                total / rows as f64
            })
            .collect();
        let mean = worsenings.iter().sum::<f64>() / SHUFFLES as f64;
        importance.worsening = mean;
        importance.spread =
            (worsenings.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / SHUFFLES as f64).sqrt();
    }
    found.sort_by(|a, b| b.worsening.total_cmp(&a.worsening));
    found
}

/// What is shuffled together: every feature alone, and the steps of the sequence as one.
fn groups(schema: &FeatureSchema) -> Vec<(Vec<usize>, Importance)> {
    let (steps, of_steps) = match Layout::of(schema) {
        Some(layout) => {
            (layout.features().into_iter().collect(), format!("the last {} steps together", layout.steps))
        }
        None => (Vec::new(), String::new()),
    };
    let importance = |feature, description| Importance { feature, description, worsening: 0.0, spread: 0.0 };
    let alone = schema.describe().enumerate().filter(|(at, _)| !steps.contains(at));
    let mut groups: Vec<(Vec<usize>, Importance)> =
        alone.map(|(at, info)| (vec![at], importance(info.name, info.description))).collect();
    if !steps.is_empty() {
        groups.push((steps, importance("sequence".into(), of_steps)));
    }
    groups
}

/// A model with the rows it is judged on.
struct Judge<'a> {
    split: &'a Prepared,
    model: &'a Model,
    raw: Vec<f32>,
    rps: f64,
}

impl<'a> Judge<'a> {
    fn new(dataset: &Dataset, split: &'a Prepared, model: &'a Model) -> Self {
        let mut judge = Self { split, model, raw: raw(dataset, &split.split.held_out), rps: 0.0 };
        judge.rps = judge.score(dataset.schema.len(), &judge.raw);
        judge
    }

    fn len(&self) -> usize {
        self.split.held_out.len()
    }

    /// The ranked probability score on raw rows.
    fn score(&self, width: usize, raw: &[f32]) -> f64 {
        let mut rows = self.split.held_out.clone();
        rows.inputs = fit::apply(&self.split.dense, width, raw);
        rows.plain = fit::apply(&self.split.plain, width, raw);
        rows.sequence = fit::apply(&self.split.sequence, width, raw);
        let probabilities = self.model.probabilities(&rows);
        Judged::new(self.split.rules.len(), &rows.targets, &rows.targets, &probabilities).measures().rps
    }

    /// The worsening, times the number of rows.
    fn worsening(&self, schema: &FeatureSchema, features: &[usize], rng: &mut StdRng) -> f64 {
        let transform = self.split.transform(self.model.reads());
        if !transform.columns.iter().any(|column| features.contains(&(column.source as usize))) {
            return 0.0;
        }
        let width = schema.len();
        let mut from: Vec<usize> = (0..self.raw.len() / width).collect();
        from.shuffle(rng);
        let mut shuffled = self.raw.clone();
        for (row, from) in shuffled.chunks_mut(width).zip(from) {
            features.iter().for_each(|at| row[*at] = self.raw[from * width + at]);
        }
        (self.score(width, &shuffled) - self.rps) * self.len() as f64
    }
}
