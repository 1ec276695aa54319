//! What a model relies on: how much worse it gets when one feature is shuffled among the rows (Breiman 2001).

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use tiercast_core::FeatureSchema;

use super::{
    folds::{Prepared, raw},
    record::Importance,
};
use crate::{
    dataset::Dataset,
    fit,
    metrics::Judged,
    models::{Fitted, Model},
};

/// Shuffles of each feature.
const SHUFFLES: usize = 3;

/// Shuffles each raw feature among the held-out rows of each split, and gives the mean worsening of the ranked
/// probability score, most important first. Inputs made from one feature move together.
pub fn permutation(dataset: &Dataset, splits: &[(&Prepared, &Fitted)], seed: u64) -> Vec<Importance> {
    let mut found: Vec<Importance> = dataset
        .schema
        .describe()
        .map(|info| Importance {
            feature: info.name,
            description: info.description,
            worsening: 0.0,
            spread: 0.0,
        })
        .collect();
    let judges: Vec<_> =
        splits.iter().map(|(split, fitted)| Judge::new(dataset, split, &fitted.model)).collect();
    let rows: usize = judges.iter().map(Judge::len).sum();
    if rows == 0 {
        return Vec::new();
    }
    for (feature, importance) in found.iter_mut().enumerate() {
        let worsenings: Vec<f64> = (0..SHUFFLES)
            .map(|shuffle| {
                let mut rng = StdRng::seed_from_u64(seed ^ (feature * SHUFFLES + shuffle) as u64);
                let total: f64 =
                    judges.iter().map(|judge| judge.worsening(&dataset.schema, feature, &mut rng)).sum();
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
        let probabilities = self.model.probabilities(&rows);
        Judged::new(self.split.rules.len(), &rows.targets, &rows.targets, &probabilities).measures().rps
    }

    /// The worsening, times the number of rows.
    fn worsening(&self, schema: &FeatureSchema, feature: usize, rng: &mut StdRng) -> f64 {
        let transform = self.split.transform(self.model.reads());
        if !transform.columns.iter().any(|column| column.source as usize == feature) {
            return 0.0;
        }
        let width = schema.len();
        let mut values: Vec<f32> = self.raw.iter().skip(feature).step_by(width).copied().collect();
        values.shuffle(rng);
        let mut shuffled = self.raw.clone();
        shuffled.iter_mut().skip(feature).step_by(width).zip(values).for_each(|(slot, value)| *slot = value);
        (self.score(width, &shuffled) - self.rps) * self.len() as f64
    }
}
