//! What every kind of model must do on rows whose answer is known.

use tiercast_core::Decode;

use super::*;

mod rows;

pub(crate) use rows::{ladder, members};

/// Rows in parts, of which those at hand are a few.
#[derive(Debug)]
struct Parts(Rows);

impl Stream for Parts {
    fn pass(
        &self,
        seed: u64,
        left_out: &BTreeSet<u32>,
        learn: &mut dyn FnMut(&Rows) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        assert!(!left_out.is_empty(), "somebody is set aside");
        let open: Vec<usize> =
            (0..self.0.len()).filter(|at| !left_out.contains(&self.0.member[*at])).collect();
        let mut parts: Vec<&[usize]> = open.chunks(170).collect();
        let turn = (seed % parts.len() as u64) as usize;
        parts.rotate_left(turn);
        parts.into_iter().try_for_each(|part| learn(&self.0.select(part)))
    }
}

#[test]
fn networks_learn_from_a_stream_what_the_rows_at_hand_do_not_say() {
    for kind in [Kind::Dnn, Kind::Corn, Kind::Gru] {
        let rows = if kind == Kind::Gru { members(1500) } else { ladder(1500, 3) };
        let part = |from, to| rows.select(&(from..to).collect::<Vec<_>>());
        let (at_hand, held_out) = (part(0, 60), part(1200, 1500));
        let stream = Parts(part(0, 1200));
        let loss = |stream: Option<&dyn Stream>| {
            let fitting = Fitting { params: &Params::default(), seed: 7, device: &Device::Cpu, stream };
            let model = fit_with(kind, &fitting, 3, &at_hand).unwrap().model;
            descent::log_loss(&model.probabilities(&held_out), 3, &held_out)
        };
        let (alone, with) = (loss(None), loss(Some(&stream)));
        assert!(
            with < alone - 0.1 && with.to_bits() == loss(Some(&stream)).to_bits(),
            "{kind:?} {with} {alone}"
        );
    }
}

fn accuracy(kind: Kind, seed: u64) -> f64 {
    let rows = ladder(1200, 3);
    let test: Vec<usize> = (900..1200).collect();
    let train: Vec<usize> = (0..900).collect();
    let fitted = fit(kind, 3, &rows.select(&train), seed).unwrap();
    let test = rows.select(&test);
    let probabilities = fitted.model.probabilities(&test);
    for row in probabilities.chunks(3) {
        assert!(
            (row.iter().sum::<f32>() - 1.0).abs() < 1e-5 && row.iter().all(|p| *p >= 0.0),
            "{kind:?}: {row:?}"
        );
    }
    let decided: Vec<u8> = probabilities.chunks(3).map(|p| Decode::Median.decode(p, &[])).collect();
    decided.iter().zip(&test.targets).filter(|(a, b)| a == b).count() as f64 / 300.0
}

#[test]
fn every_kind_learns_a_ladder() {
    // The best possible is about 0.90 here; one against the rest has no direction for the middle tier.
    for (kind, least) in [
        (Kind::SameTier, 0.85),
        (Kind::Linear, 0.85),
        (Kind::Logistic, 0.85),
        (Kind::Svm, 0.6),
        (Kind::Dnn, 0.85),
        (Kind::Boosting, 0.85),
        (Kind::Ordinal, 0.85),
        (Kind::Corn, 0.85),
        (Kind::Hurdle, 0.85),
        (Kind::Ridge, 0.8),
        (Kind::BoostingRank, 0.8),
        (Kind::Cnn, 0.85),
        (Kind::Gru, 0.85),
        (Kind::Transformer, 0.85),
    ] {
        let found = accuracy(kind, 7);
        assert!(found >= least, "{kind:?}: {found}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let rows = ladder(300, 3);
    for (_, kind) in Kind::ALL.into_iter().filter(|(_, kind)| *kind != Kind::Blend) {
        let bits = |seed| {
            let probabilities = fit(kind, 3, &rows, seed).unwrap().model.probabilities(&rows);
            probabilities.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(3), bits(3), "{kind:?}");
    }
}

#[test]
fn logistic_regression_finds_the_log_odds() {
    // One input, two tiers, P(2 | x = 1) = 3/4 and P(2 | x = -1) = 1/4: the odds' logarithm is ln 3 · x.
    let mut rows = Rows { width: 1, ..Rows::default() };
    for i in 0..4000_u32 {
        let x = if i % 2 == 0 { 1.0 } else { -1.0 };
        let rare = (i / 2) % 4 == 0;
        rows.inputs.push(x);
        rows.current_spend.push(0);
        rows.targets.push(if (x > 0.0) != rare { 2 } else { 1 });
        rows.member.push(i);
    }
    let model = fit(Kind::Logistic, 2, &rows, 1).unwrap().model;
    let p = model.probabilities(&rows.select(&[0, 1]));
    assert!((p[1] - 0.75).abs() < 0.01 && (p[3] - 0.25).abs() < 0.01, "{p:?}");
}

/// Rows of two inputs with tiers drawn from the probabilities that `of` gives for them.
fn drawn(n: u64, of: impl Fn(f64, f64) -> Vec<f64>) -> Rows {
    let mut rows = Rows { width: 2, ..Rows::default() };
    for i in 0..n {
        let noise = |salt: u64| (mix(i * 3 + salt) >> 11) as f64 / (1_u64 << 53) as f64;
        let (x, y, mut left) = (noise(0) * 4.0 - 2.0, noise(1) * 4.0 - 2.0, noise(2));
        let p = of(x, y);
        let tier = p.iter().position(|p| {
            left -= p;
            left < 0.0
        });
        rows.inputs.extend([x as f32, y as f32]);
        rows.current_spend.push(0);
        rows.targets.push(tier.unwrap_or(p.len() - 1) as u8 + 1);
        rows.member.push(i as u32);
    }
    rows
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Proportional odds: what is left between falling chances to go beyond.
fn proportional(score: f64, thresholds: &[f64]) -> Vec<f64> {
    let beyond = thresholds.iter().map(|threshold| logistic(score - threshold));
    let beyond: Vec<f64> = [1.0].into_iter().chain(beyond).chain([0.0]).collect();
    beyond.windows(2).map(|pair| pair[0] - pair[1]).collect()
}

fn near(found: &[f32], truth: &[f64], within: f64) {
    let close = found.iter().zip(truth).all(|(a, b)| (f64::from(*a) - b).abs() < within);
    assert!(found.len() == truth.len() && close, "{found:?} {truth:?}");
}

#[test]
fn ordered_logistic_regression_finds_slopes_and_thresholds() {
    let rows = drawn(20_000, |x, y| proportional(1.2 * x - 0.7 * y, &[-1.0, 0.5, 2.0]));
    let model = fit(Kind::Ordinal, 4, &rows, 1).unwrap().model;
    let Model::Network(network) = &model else { panic!("not a network") };
    near(&network.layers[0].weight, &[1.2, -0.7], 0.06);
    near(&network.layers[1].bias, &[1.0, -0.5, -2.0, -1.0, 0.5, 2.0], 0.06);
    let p = model.probabilities(&rows.select(&[0]));
    let [x, y] = [f64::from(rows.inputs[0]), f64::from(rows.inputs[1])];
    near(&p, &proportional(1.2 * x - 0.7 * y, &[-1.0, 0.5, 2.0]), 0.02);
}

#[test]
fn the_hurdle_and_what_is_beyond_it_have_their_own_slopes() {
    // The second input speaks for going beyond the first tier and against the high tiers there.
    let of = |x: f64, y: f64| {
        let beyond = logistic(0.8 * x + 1.1 * y - 1.0);
        let which = proportional(0.5 * x - 1.3 * y, &[-0.5, 1.0]);
        [vec![1.0 - beyond], which.into_iter().map(|p| beyond * p).collect()].concat()
    };
    let rows = drawn(30_000, of);
    let model = fit(Kind::Hurdle, 4, &rows, 1).unwrap().model;
    let Model::Network(network) = &model else { panic!("not a network") };
    let (weight, bias) = (&network.layers[0].weight, &network.layers[1].bias);
    near(weight, &[0.8, 0.5, 1.1, -1.3], 0.12);
    near(bias, &[-1.0, 1.0, 0.5, -1.0, -0.5, 1.0], 0.12);
    // It is the product of what it says: the chance to go beyond, times proportional odds.
    let bias = |unit: usize| f64::from(bias[unit]);
    for at in 0..50 {
        let row = rows.row(at);
        let score = |of: usize| (0..2).map(|i| f64::from(row[i] * weight[i * 2 + of])).sum::<f64>();
        let beyond = logistic(score(0) + bias(0));
        let which = proportional(score(1), &[-bias(2), -bias(3)]);
        let expected = [vec![1.0 - beyond], which.iter().map(|p| beyond * p).collect()].concat();
        near(&network.probabilities(row), &expected, 1e-5);
    }
}

#[test]
fn higher_tiers_are_never_likelier_to_be_reached() {
    let rows = ladder(300, 5);
    for kind in [Kind::Ordinal, Kind::Corn, Kind::Hurdle] {
        let model = fit(kind, 5, &rows, 1).unwrap().model;
        let far = [[0.0, 0.0], [1e4, -1e4], [-1e4, 1e4], [3.0, 40.0], [1e30, 0.0], [-1e30, 0.0]];
        let rows = Rows { width: 2, inputs: far.concat(), targets: vec![1; 6], ..Rows::default() };
        for p in model.probabilities(&rows).chunks(5) {
            assert!(p.iter().all(|p| (0.0..=1.0).contains(p)), "{kind:?}: {p:?}");
            assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{kind:?}: {p:?}");
        }
    }
}

#[test]
fn two_tiers_are_enough_and_one_is_too_few_for_a_hurdle() {
    let mut rows = ladder(300, 2);
    for kind in [Kind::Ordinal, Kind::Corn, Kind::Hurdle] {
        let p = fit(kind, 2, &rows, 1).unwrap().model.probabilities(&rows);
        assert_eq!(p.len(), 600, "{kind:?}");
    }
    rows.targets.fill(1);
    let error = fit(Kind::Hurdle, 3, &rows, 1).unwrap_err().to_string();
    assert!(error.contains("first tier"), "{error}");
}

#[test]
fn a_tier_that_never_came_is_unlikely_and_no_trouble() {
    let mut rows = ladder(400, 4);
    rows.targets.iter_mut().for_each(|tier| *tier = if *tier == 3 { 2 } else { *tier });
    for kind in [Kind::Ordinal, Kind::Corn, Kind::Hurdle] {
        let p = fit(kind, 4, &rows, 1).unwrap().model.probabilities(&rows);
        let mean = p.chunks(4).map(|p| p[2]).sum::<f32>() / 400.0;
        assert!(p.iter().all(|p| p.is_finite()) && mean < 0.05, "{kind:?}: {mean}");
    }
}

#[test]
fn linear_regression_decodes_to_the_rounded_tier() {
    let rows = ladder(600, 5);
    let Model::Network(network) = fit(Kind::Linear, 5, &rows, 1).unwrap().model else {
        panic!("not a network")
    };
    let p = network.probabilities(&rows.inputs);
    // The mean can be read off the first layer: erf's argument is 0 where the mean is k + ½.
    let first = &network.layers[0];
    let mean = |x: &[f32]| {
        let z: Vec<f64> = (0..2)
            .map(|k| {
                f64::from(first.bias[k])
                    + (0..2).map(|i| f64::from(x[i] * first.weight[i * 4 + k])).sum::<f64>()
            })
            .collect();
        1.5 + z[0] / (z[0] - z[1])
    };
    for (at, p) in p.chunks(5).enumerate() {
        let mean = mean(rows.row(at));
        if ((mean - 0.5).fract() - 0.5).abs() < 0.499 {
            assert_eq!(
                f64::from(Decode::Median.decode(p, &[])),
                mean.round().clamp(1.0, 5.0),
                "{mean} {p:?}"
            );
        }
    }
}

#[test]
fn the_rule_keeps_the_tier_and_counts_what_followed() {
    let spend = [0, 0, 0, 0, 100, 100, 100, 100];
    let rule = SameTier::fit(2, &spend, &[1, 1, 1, 2, 1, 2, 2, 2]);
    assert_eq!(rule.tiers(&[0, 49, 50, 500]), [1, 1, 2, 2]);
    // Three of four, and the overall half as one more row: 3.5 / 5.
    assert_eq!(rule.probabilities(&[0, 100]), [0.7, 0.3, 0.3, 0.7]);
}

#[test]
fn members_never_stand_on_both_sides() {
    let rows = ladder(200, 3);
    let (aside, inner) = rows.part(0.3, 9);
    assert_eq!(aside.len() + inner.len(), 200);
    assert!(aside.member.iter().all(|member| !inner.member.contains(member)));
}

#[test]
fn kinds_have_their_names() {
    for (name, kind) in Kind::ALL {
        assert_eq!(Kind::parse(name).unwrap(), kind);
        assert_eq!(kind.name(), name);
    }
    assert!(Kind::parse("oracle").unwrap_err().to_string().contains("same-tier"));
}

#[test]
fn a_network_without_a_finite_loss_is_refused() {
    let mut rows = ladder(200, 3);
    rows.inputs.iter_mut().for_each(|x| *x = f32::NAN);
    let error = fit(Kind::Dnn, 3, &rows, 1).unwrap_err().to_string();
    assert!(error.contains("no finite loss"), "{error}");
}
