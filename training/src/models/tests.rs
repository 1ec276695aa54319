//! What every kind of model must do on rows whose answer is known.

use super::*;

/// Rows of two inputs whose tier follows from the first one up to noise, two rows a member.
pub(crate) fn ladder(n: usize, tiers: usize) -> Rows {
    let mut rows = Rows { width: 2, ..Rows::default() };
    for i in 0..n {
        let noise = |salt: u64| (mix(i as u64 * 3 + salt) >> 11) as f64 / (1_u64 << 53) as f64;
        let level = noise(0) * tiers as f64;
        let blurred = (level + (noise(1) - 0.5) * 0.6).clamp(0.0, tiers as f64 - 1e-9);
        rows.inputs.extend([level as f32 - tiers as f32 / 2.0, noise(2) as f32 - 0.5]);
        rows.current_spend.push((level * 1000.0) as i64);
        rows.targets.push(blurred as u8 + 1);
        rows.member.push(i as u32 / 2);
    }
    rows
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
    let decided = fitted.model.decide(&test, &probabilities, 3, Decode::Median);
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
    ] {
        let found = accuracy(kind, 7);
        assert!(found >= least, "{kind:?}: {found}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let rows = ladder(300, 3);
    for (_, kind) in Kind::ALL {
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
            assert_eq!(f64::from(Decode::Median.decode(p)), mean.round().clamp(1.0, 5.0), "{mean} {p:?}");
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
