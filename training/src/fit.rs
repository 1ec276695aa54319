//! Fits what lies between raw features and a model's input, and the tiers themselves, on training rows only.
//!
//! The formulas are core's: a column's mean and deviation are taken from what core's own earlier steps give, so that
//! nothing is computed in two ways.

use std::collections::BTreeMap;

use sequence::Layout;
use tiercast_core::{Column, FeatureDecl, FeatureSchema, Step, Transform};

use crate::models::cuts::quantile;

pub mod sequence;
pub mod tiers;

/// Values beyond these shares of the training rows are outliers and are pulled in.
pub(crate) const CLIP_SHARES: (f64, f64) = (0.005, 0.995);
/// A skewness above which a column also gets a logarithm.
const HEAVY_TAIL: f64 = 1.0;
/// A missing share from which "is missing" is an input of its own.
const OFTEN_MISSING: f64 = 0.005;
/// The most one-hot inputs of one feature, and the smallest share of rows that earns one.
const MOST_CATEGORIES: usize = 12;
const RAREST_CATEGORY: f64 = 0.01;
/// The most codes of a feature that trees tell apart, as many as they have bins, and the fewest rows of one; the others are
/// as if missing. So many rows of all count into each code's mean, which keeps rare ones in the middle.
const MOST_ORDERED: usize = 254;
const FEWEST_ROWS: usize = 10;
const PRIOR_ROWS: f64 = 10.0;

/// Fits a transform to raw rows (`schema.len()` values each, one after the other).
///
/// Amounts, counts and other numbers are imputed with the median, clipped, and standardised; a heavy-tailed one comes
/// twice, as it is and as a logarithm. Codes become one input for each frequent value. What never varies is
/// left out, and so are the steps of the sequence, which have a transform of their own.
pub fn transform(schema: &FeatureSchema, rows: &[f32]) -> Transform {
    let width = schema.len();
    let mut columns = Vec::new();
    for (source, decl) in beside_the_sequence(schema) {
        let values: Vec<f32> = rows.iter().skip(source).step_by(width).copied().collect();
        if decl.is_code() {
            columns.extend(one_hot(&decl.name, source as u32, &values));
        } else {
            columns.extend(numeric(&decl.name, source as u32, &values));
        }
    }
    never_empty(columns)
}

/// Fits the transform of what trees read: numbers as they are, missing ones NaN, codes by their place in the order of the
/// tiers that their rows reach on average. What never varies is left out.
pub fn plain(schema: &FeatureSchema, rows: &[f32], tiers: &[u8]) -> Transform {
    let mut columns = Vec::new();
    for (source, decl) in beside_the_sequence(schema) {
        let values: Vec<f32> = rows.iter().skip(source).step_by(schema.len()).copied().collect();
        if decl.is_code() {
            columns.extend(ordered(&decl.name, source as u32, &values, tiers));
        } else if values.windows(2).any(|pair| pair[0].total_cmp(&pair[1]).is_ne()) {
            columns.push(Column { name: decl.name.clone(), source: source as u32, steps: Vec::new() });
        }
    }
    never_empty(columns)
}

/// The features that are no steps of the sequence, with their places.
fn beside_the_sequence(schema: &FeatureSchema) -> impl Iterator<Item = (usize, &FeatureDecl)> {
    let steps = Layout::of(schema).map(|layout| layout.features()).unwrap_or_default();
    schema.spec().features.iter().enumerate().filter(move |(at, _)| !steps.contains(at))
}

/// Where nothing varies, a constant input keeps the model and the bundle well formed.
fn never_empty(mut columns: Vec<Column>) -> Transform {
    if columns.is_empty() {
        columns.push(Column { name: "constant".into(), source: 0, steps: vec![Step::IsMissing] });
    }
    Transform { columns }
}

fn numeric(name: &str, source: u32, values: &[f32]) -> Vec<Column> {
    let mut known: Vec<f64> = values.iter().filter(|x| !x.is_nan()).map(|x| f64::from(*x)).collect();
    known.sort_unstable_by(f64::total_cmp);
    let mut columns = Vec::new();
    if !known.is_empty() {
        let (low, high) = (quantile(&known, CLIP_SHARES.0), quantile(&known, CLIP_SHARES.1));
        let base = vec![Step::Impute(quantile(&known, 0.5)), Step::Clip { low, high }];
        let heavy = low >= 0.0 && skewness(&applied(&base, values)) > HEAVY_TAIL;
        if heavy {
            let logarithm = [base.clone(), vec![Step::Log1p]].concat();
            columns.extend(standardized(format!("{name}:log"), source, logarithm, values));
        }
        columns.extend(standardized(name.to_owned(), source, base, values));
    }
    let missing = (values.len() - known.len()) as f64 / values.len().max(1) as f64;
    if (OFTEN_MISSING..=1.0 - OFTEN_MISSING).contains(&missing) {
        columns.push(Column { name: format!("{name}:missing"), source, steps: vec![Step::IsMissing] });
    }
    columns
}

/// Adds the step that gives the column mean 0 and deviation 1; nothing where the column does not vary.
fn standardized(name: String, source: u32, mut steps: Vec<Step>, values: &[f32]) -> Option<Column> {
    let (mean, std) = mean_and_std(&applied(&steps, values));
    // A deviation of rounding errors only would blow them up to whole units.
    if std <= 1e-6 * mean.abs().max(1e-3) {
        return None;
    }
    steps.push(Step::Standardize { mean, std });
    Some(Column { name, source, steps })
}

fn one_hot(name: &str, source: u32, values: &[f32]) -> Option<Column> {
    let mut times = BTreeMap::<u32, usize>::new();
    for value in values.iter().filter(|x| !x.is_nan()) {
        *times.entry(value.to_bits()).or_default() += 1;
    }
    let enough = (RAREST_CATEGORY * values.len() as f64).ceil() as usize;
    let mut frequent: Vec<_> = times.into_iter().filter(|(_, n)| *n >= enough).collect();
    frequent.sort_by_key(|(bits, n)| (std::cmp::Reverse(*n), *bits));
    let values: Vec<f64> =
        frequent.into_iter().take(MOST_CATEGORIES).map(|(bits, _)| f64::from(f32::from_bits(bits))).collect();
    (!values.is_empty()).then(|| Column {
        name: name.to_owned(),
        source,
        steps: vec![Step::OneHot { values }],
    })
}

/// Codes in the order of the mean tier of their rows, to which the mean of all counts as [`PRIOR_ROWS`] more.
fn ordered(name: &str, source: u32, values: &[f32], tiers: &[u8]) -> Option<Column> {
    let mut found = BTreeMap::<u32, (usize, f64)>::new();
    for (value, tier) in values.iter().zip(tiers).filter(|(value, _)| !value.is_nan()) {
        let (rows, sum) = found.entry(value.to_bits()).or_default();
        (*rows, *sum) = (*rows + 1, *sum + f64::from(*tier));
    }
    let mean = tiers.iter().map(|tier| f64::from(*tier)).sum::<f64>() / tiers.len().max(1) as f64;
    let mut frequent: Vec<_> = found.into_iter().filter(|(_, (rows, _))| *rows >= FEWEST_ROWS).collect();
    frequent.sort_by_key(|(bits, (rows, _))| (std::cmp::Reverse(*rows), *bits));
    frequent.truncate(MOST_ORDERED);
    let place = |(bits, (rows, sum)): (u32, (usize, f64))| {
        ((sum + PRIOR_ROWS * mean) / (rows as f64 + PRIOR_ROWS), f64::from(f32::from_bits(bits)))
    };
    let mut places: Vec<(f64, f64)> = frequent.into_iter().map(place).collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let values: Vec<f64> = places.into_iter().map(|(_, value)| value).collect();
    (!values.is_empty()).then(|| Column {
        name: name.to_owned(),
        source,
        steps: vec![Step::Ordinal { values }],
    })
}

/// What core makes of these values.
fn applied(steps: &[Step], values: &[f32]) -> Vec<f64> {
    let column = Column { name: String::new(), source: 0, steps: steps.to_vec() };
    let transform = Transform { columns: vec![column] };
    let mut out = Vec::with_capacity(values.len());
    values.iter().for_each(|value| transform.apply(std::slice::from_ref(value), &mut out));
    out.into_iter().map(f64::from).collect()
}

fn mean_and_std(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

fn skewness(values: &[f64]) -> f64 {
    let (mean, std) = mean_and_std(values);
    if std == 0.0 {
        return 0.0;
    }
    values.iter().map(|x| ((x - mean) / std).powi(3)).sum::<f64>() / values.len() as f64
}

/// Each feature's typical value: the median of the rows that have one, for a code the commonest; NaN where fewer than
/// half of the rows have one.
pub fn typical(schema: &FeatureSchema, rows: &[f32]) -> Vec<f32> {
    let value = |(source, decl): (usize, &FeatureDecl)| {
        let all = rows.iter().skip(source).step_by(schema.len()).copied();
        let mut known: Vec<f32> = all.clone().filter(|x| !x.is_nan()).collect();
        if known.is_empty() || 2 * known.len() < all.count() {
            return f32::NAN;
        }
        known.sort_unstable_by(f32::total_cmp);
        if decl.is_code() {
            return known.chunk_by(|a, b| a == b).max_by_key(|run| run.len()).map_or(f32::NAN, |run| run[0]);
        }
        known[(known.len() - 1) / 2]
    };
    schema.spec().features.iter().enumerate().map(value).collect()
}

/// Applies a transform to raw rows.
pub fn apply(transform: &Transform, width: usize, rows: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() / width * transform.width());
    rows.chunks(width).for_each(|row| transform.apply(row, &mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(features: &str) -> FeatureSchema {
        let spec = format!(
            r#"{{"events":{{"currency":{{"code":"USD","exponent":2}}}},"capacity":64,"features":[{features}]}}"#
        );
        FeatureSchema::compile(serde_json::from_str(&spec).unwrap()).unwrap()
    }

    const SUM: &str = r#"{"name":"spend","op":"sum","of":"amount"}"#;

    #[test]
    fn a_column_has_mean_zero_and_deviation_one_on_the_training_rows() {
        let schema = schema(SUM);
        let rows: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let fitted = transform(&schema, &rows);
        assert_eq!(fitted.columns.len(), 1, "an even spread has no heavy tail");
        fitted.check(1).unwrap();
        let (mean, std) =
            mean_and_std(&apply(&fitted, 1, &rows).iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        assert!(mean.abs() < 1e-6 && (std - 1.0).abs() < 1e-6, "{mean} {std}");
    }

    #[test]
    fn a_heavy_tail_comes_twice_and_outliers_are_pulled_in() {
        let schema = schema(SUM);
        let mut rows: Vec<f32> = (0..1000).map(|i| (i as f32 / 100.0).exp()).collect();
        rows.push(1e9);
        let fitted = transform(&schema, &rows);
        assert_eq!(fitted.names(), ["spend:log", "spend"]);
        let largest = apply(&fitted, 1, &rows).into_iter().fold(0.0, f32::max);
        assert!(largest < 10.0, "{largest}");
    }

    #[test]
    fn missing_values_get_the_median_and_an_input_of_their_own() {
        let schema = schema(r#"{"name":"recency","op":"recency"}"#);
        let rows = [1.0, 2.0, f32::NAN, 3.0, f32::NAN];
        let fitted = transform(&schema, &rows);
        assert_eq!(fitted.names(), ["recency", "recency:missing"]);
        let input = apply(&fitted, 1, &rows);
        assert_eq!(&input[4..6], [0.0, 1.0], "the median of 1, 2, 3 is their mean too");
        assert!(input.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn what_never_varies_is_left_out() {
        let schema = schema(&format!(r#"{SUM},{{"name":"month","op":"calendar","stat":"month"}}"#));
        let rows: Vec<f32> = (0..100).flat_map(|i| [i as f32, 7.0]).collect();
        assert_eq!(transform(&schema, &rows).names(), ["spend"]);
    }

    #[test]
    fn rows_that_all_look_alike_still_give_a_sound_transform() {
        let fitted = transform(&schema(SUM), &[5.0; 20]);
        fitted.check(1).unwrap();
        assert_eq!(apply(&fitted, 1, &[5.0]), [0.0]);
    }

    #[test]
    fn frequent_codes_become_inputs_and_rare_ones_none() {
        let schema = schema(r#"{"name":"favourite","op":"mode","of":"category"}"#);
        let mut rows = vec![11.0; 120];
        rows.extend([22.0; 79]);
        rows.push(33.0);
        let fitted = transform(&schema, &rows);
        assert_eq!(fitted.names(), ["favourite=11", "favourite=22"]);
        assert_eq!(apply(&fitted, 1, &[22.0, 33.0, f32::NAN]), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn plain_inputs_are_the_features_themselves() {
        let schema = schema(&format!(
            r#"{SUM},{{"name":"month","op":"calendar","stat":"month"}},{{"name":"favourite","op":"mode","of":"category"}}"#
        ));
        let rows = [5.5, 7.0, 11.0, f32::NAN, 7.0, 22.0, 1e30, 7.0, f32::NAN].repeat(10);
        let fitted = plain(&schema, &rows, &[2, 1, 1].repeat(10));
        fitted.check(3).unwrap();
        assert_eq!(fitted.names(), ["spend", "favourite"]);
        let inputs = apply(&fitted, 3, &rows[..9]);
        assert_eq!(
            (inputs[0], inputs[1], inputs[3], inputs[4]),
            (5.5, 1.0, 0.0, 1e30),
            "22 has the lower tiers"
        );
        assert!(inputs[2].is_nan() && inputs[5].is_nan());
        assert_eq!(plain(&schema, &[1.0, 2.0, f32::NAN], &[1]).names(), ["constant"]);
    }

    #[test]
    fn trees_part_many_codes_into_two_sets() {
        use crate::models::{Kind, Rows, fit, mix};
        let schema = schema(r#"{"name":"favourite","op":"mode","of":"category"}"#);
        let code = |row: u64| (mix(row) % 60) as f32;
        // A code says by itself, and by nothing in its number, which tier is likely.
        let tier = |row: u64| {
            u8::from(mix(code(row) as u64 + 900).is_multiple_of(2) != mix(row + 7000).is_multiple_of(10)) + 1
        };
        let rows = |from: u64, to: u64| (from..to).map(code).collect::<Vec<f32>>();
        let tiers = |from: u64, to: u64| (from..to).map(tier).collect::<Vec<u8>>();
        let fitted = plain(&schema, &rows(0, 6000), &tiers(0, 6000));
        let one_hot = transform(&schema, &rows(0, 6000));
        let accuracy = |transform: &Transform| {
            let part = |from, to| Rows {
                plain_width: transform.width(),
                plain: apply(transform, 1, &rows(from, to)),
                targets: tiers(from, to),
                current_spend: vec![0; (to - from) as usize],
                member: (from as u32..to as u32).collect(),
                ..Rows::default()
            };
            let model = fit(Kind::Boosting, 2, &part(0, 6000), 1).unwrap().model;
            let p = model.probabilities(&part(6000, 8000));
            let right = p.chunks(2).zip(tiers(6000, 8000)).filter(|(p, tier)| (p[1] > 0.5) == (*tier == 2));
            right.count() as f64 / 2000.0
        };
        let (ordered, one_hot) = (accuracy(&fitted), accuracy(&one_hot));
        assert!(ordered > 0.88 && ordered > one_hot + 0.1, "{ordered} {one_hot}");
    }

    #[test]
    fn typical_is_the_median_or_the_commonest_code_or_missing() {
        let spec = r#"{"events":{"currency":{"code":"USD","exponent":2}},"capacity":16,"features":[
            {"name":"recency","op":"recency"},{"name":"category","op":"mode","of":"category"},
            {"name":"tenure","op":"tenure"}]}"#;
        let schema = FeatureSchema::compile(serde_json::from_str(spec).unwrap()).unwrap();
        let nan = f32::NAN;
        let rows = [1.0, 7.0, nan, 9.0, 3.0, nan, 2.0, 7.0, 5.0];
        let typical = typical(&schema, &rows);
        assert_eq!(typical[..2], [2.0, 7.0]);
        assert!(typical[2].is_nan());
    }
}
