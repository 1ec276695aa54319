//! The steps of a member's sequence as models read them, fitted to training rows.
//!
//! A channel is one number of every step, and is scaled alike in all of them. The earliest step comes first. Where a member
//! has fewer, its first steps are empty: a channel of its own says so, and all others are 0, which is their mean.

use std::collections::BTreeSet;

use tiercast_core::{Column, FeatureSchema, Op, Step, Transform};

use super::{CLIP_SHARES, HEAVY_TAIL, applied, mean_and_std, one_hot, skewness};
use crate::models::cuts::quantile;

/// Which features are the steps of the sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Steps.
    pub steps: usize,
    /// For each channel its features, the latest step's first.
    channels: Vec<Vec<usize>>,
}

impl Layout {
    /// The sequence of a schema: all of its `lag` features that have every step from the latest to the earliest that any
    /// has. None where there is no step.
    pub fn of(schema: &FeatureSchema) -> Option<Self> {
        let decls = &schema.spec().features;
        let lag = |at: usize| decls[at].lag.filter(|_| decls[at].op == Op::Lag);
        let steps = (0..decls.len()).filter_map(lag).max()? as usize;
        let mut channels = Vec::new();
        for first in (0..decls.len()).filter(|at| lag(*at) == Some(1)) {
            let alike = |at: &usize| {
                let (a, b) = (&decls[*at], &decls[first]);
                lag(*at).is_some()
                    && (a.of, a.each, &a.events, a.window, a.skip)
                        == (b.of, b.each, &b.events, b.window, b.skip)
            };
            let mut features: Vec<usize> = (0..decls.len()).filter(alike).collect();
            features.sort_by_key(|at| lag(*at));
            if features.iter().zip(1..).all(|(at, step)| lag(*at) == Some(step)) && features.len() == steps {
                channels.push(features);
            }
        }
        (!channels.is_empty()).then_some(Self { steps, channels })
    }

    /// The features that are a part of it.
    pub fn features(&self) -> BTreeSet<usize> {
        self.channels.iter().flatten().copied().collect()
    }

    /// Fits the transform to raw rows. Every step has the same columns; the first says whether it is empty.
    pub fn transform(&self, schema: &FeatureSchema, rows: &[f32]) -> Transform {
        let channels: Vec<Vec<(String, Vec<Step>)>> =
            self.channels.iter().map(|channel| self.channel(schema, channel, rows)).collect();
        let mut columns = Vec::new();
        for step in (0..self.steps).rev() {
            let column = |name: &str, source: usize, steps: Vec<Step>| {
                let feature = &schema.spec().features[source].name;
                Column { name: format!("{feature}{name}"), source: source as u32, steps }
            };
            columns.push(column(":empty", self.channels[0][step], vec![Step::IsMissing]));
            for (features, channel) in self.channels.iter().zip(&channels) {
                let of_channel =
                    channel.iter().map(|(name, steps)| column(name, features[step], steps.clone()));
                columns.extend(of_channel);
            }
        }
        Transform { columns }
    }

    /// What a channel becomes in every step: names' endings and steps.
    fn channel(&self, schema: &FeatureSchema, features: &[usize], rows: &[f32]) -> Vec<(String, Vec<Step>)> {
        let of_row = |row: &[f32]| features.iter().map(|at| row[*at]).collect::<Vec<_>>();
        let values: Vec<f32> = rows.chunks(schema.len()).flat_map(of_row).filter(|x| !x.is_nan()).collect();
        if schema.spec().features[features[0]].is_code() {
            return one_hot("", 0, &values).map(|column| (column.name, column.steps)).into_iter().collect();
        }
        let mut known: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
        known.sort_unstable_by(f64::total_cmp);
        if known.is_empty() {
            return Vec::new();
        }
        let (low, high) = (quantile(&known, CLIP_SHARES.0), quantile(&known, CLIP_SHARES.1));
        let mut steps = vec![Step::Clip { low, high }];
        if low >= 0.0 && skewness(&applied(&steps, &values)) > HEAVY_TAIL {
            steps.push(Step::Log1p);
        }
        let (mean, std) = mean_and_std(&applied(&steps, &values));
        if std <= 1e-6 * mean.abs().max(1e-3) {
            return Vec::new();
        }
        steps.extend([Step::Standardize { mean, std }, Step::Impute(0.0)]);
        vec![(String::new(), steps)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> FeatureSchema {
        let lag = |of: &str, lag: u32| {
            format!(r#"{{"name":"order_{lag}_{of}","op":"lag","each":"order","lag":{lag},"of":"{of}"}}"#)
        };
        let lags: Vec<String> = (1..=2).flat_map(|at| ["amount", "category"].map(|of| lag(of, at))).collect();
        let spec = format!(
            r#"{{"events":{{"currency":{{"code":"USD","exponent":2}}}},"capacity":64,"features":[
                {{"name":"recency","op":"recency"}},{{"name":"alone","op":"lag","each":"day","lag":1,"of":"day"}},{}]}}"#,
            lags.join(",")
        );
        FeatureSchema::compile(serde_json::from_str(&spec).unwrap()).unwrap()
    }

    #[test]
    fn a_sequence_is_the_lags_that_go_all_the_way() {
        let layout = Layout::of(&schema()).unwrap();
        assert_eq!(layout, Layout { steps: 2, channels: vec![vec![2, 4], vec![3, 5]] });
        assert_eq!(layout.features(), BTreeSet::from([2, 3, 4, 5]));
    }

    #[test]
    fn the_earliest_step_comes_first_and_an_empty_one_says_so() {
        let (schema, nan) = (schema(), f32::NAN);
        let rows =
            [[1.0, 1.0, 5.0, 7.0, 3.0, 9.0], [1.0, 1.0, 1.0, 7.0, 3.0, 7.0], [1.0, 1.0, 3.0, 9.0, nan, nan]]
                .concat();
        let transform = Layout::of(&schema).unwrap().transform(&schema, &rows);
        transform.check(schema.len()).unwrap();
        let names = transform.names();
        assert_eq!(names[0], "order_2_amount:empty");
        assert_eq!(names.len(), 8, "{names:?}");
        let found = crate::fit::apply(&transform, schema.len(), &rows);
        let last = &found[16..];
        assert_eq!(last[..4], [1.0, 0.0, 0.0, 0.0], "empty, mean amount, no category");
        assert_eq!(last[4..], [0.0, 0.0, 0.0, 1.0], "the mean amount, category 9");
        let spread = (8.0_f32 / 5.0).sqrt();
        assert!(
            (found[5] - 2.0 / spread).abs() < 1e-6,
            "both steps are scaled by the mean and deviation of both"
        );
    }
}
