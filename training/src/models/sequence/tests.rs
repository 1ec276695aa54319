use super::*;
use crate::models::{Kind, Model, fit, mix};

/// Two dense inputs that say nothing, and eight steps of two numbers: how many of the last three steps are above 0 decides
/// the tier, whether the last one is decides if there is a next purchase. A third of the members have fewer steps.
pub(crate) fn members(n: usize) -> Rows {
    const STEPS: usize = 8;
    let mut rows = Rows { width: 2, plain_width: 2, steps: STEPS, channels: 3, ..Rows::default() };
    let noise = |at: u64| (mix(at) >> 11) as f32 / (1_u64 << 53) as f32 - 0.5;
    for i in 0..n {
        let seed = i as u64 * 100;
        let empty = if i % 3 == 0 { i % 6 } else { 0 };
        let values: Vec<f32> = (0..STEPS).map(|step| noise(seed + step as u64)).collect();
        for (step, value) in values.iter().enumerate() {
            let is_empty = step < empty;
            let numbers =
                if is_empty { [1.0, 0.0, 0.0] } else { [0.0, value * 4.0, noise(seed + 50 + step as u64)] };
            rows.sequence.extend(numbers);
        }
        let above = values[STEPS - 3..].iter().filter(|value| **value > 0.0).count();
        rows.targets.push(above.min(2) as u8 + 1);
        rows.next_purchase.push(if values[STEPS - 1] > 0.0 {
            5.0 + 20.0 * noise(seed + 90).abs()
        } else {
            f32::NAN
        });
        rows.inputs.extend([noise(seed + 91), noise(seed + 92)]);
        rows.current_spend.push(above as i64);
        rows.target_spend.push(above as i64);
        rows.member.push(i as u32);
    }
    rows.plain = rows.inputs.clone();
    rows.thresholds = vec![0, 1, 2];
    rows
}

const KINDS: [Kind; 3] = [Kind::Cnn, Kind::Gru, Kind::Transformer];

#[test]
fn every_encoder_learns_what_the_last_steps_say() {
    let rows = members(1500);
    let train = rows.select(&(0..1200).collect::<Vec<_>>());
    let test = rows.select(&(1200..1500).collect::<Vec<_>>());
    for kind in KINDS {
        let fitted = fit(kind, 3, &train, 7).unwrap();
        let p = fitted.model.probabilities(&test);
        let best = |p: &[f32]| (0..3).max_by(|a, b| p[*a].total_cmp(&p[*b])).unwrap() as u8 + 1;
        let right = p.chunks(3).zip(&test.targets).filter(|(p, tier)| best(p) == **tier).count();
        assert!(right > 240, "{kind:?}: {right} of 300 tiers");
        let Model::Sequence(model) = &fitted.model else { panic!("{kind:?}") };
        let profiles = model.profiles(&test);
        let profiles = profiles.chunks(model.profile_width());
        let churned = profiles.clone().zip(&test.next_purchase);
        let right = churned.filter(|(p, next)| (p[p.len() - 2] > 0.5) == next.is_nan()).count();
        assert!(right > 255, "{kind:?}: {right} of 300 lapses");
        for profile in profiles {
            assert!(profile[..model.architecture.embedding].iter().all(|x| x.abs() <= 1.0));
            assert!((5.0..=15.0).contains(&profile[profile.len() - 1]), "{kind:?}: {profile:?}");
        }
    }
}

#[test]
fn what_lies_before_the_first_step_does_not_matter_to_attention() {
    let rows = members(200);
    let Model::Sequence(model) = fit(Kind::Transformer, 3, &rows, 3).unwrap().model else { panic!() };
    let mut moved = rows.clone();
    for step in moved.sequence.chunks_mut(3).filter(|step| step[0] == 1.0) {
        step[1] = 9.0;
    }
    assert_eq!(model.probabilities(&rows), model.probabilities(&moved));
}

#[test]
fn scaled_scores_are_the_scores_times_a_weight_with_biases() {
    let rows = members(200);
    for kind in KINDS {
        let Model::Sequence(model) = fit(kind, 3, &rows, 3).unwrap().model else { panic!("{kind:?}") };
        let scaled = model.scaled(0.5, &[0.1, 0.0, -0.1]);
        for (a, b) in model.scores(&rows).chunks(3).zip(scaled.scores(&rows).chunks(3)) {
            for ((a, b), bias) in a.iter().zip(b).zip([0.1, 0.0, -0.1]) {
                assert!((a * 0.5 + bias - b).abs() < 1e-5, "{kind:?}: {a} {b}");
            }
        }
        assert_eq!(model.profiles(&rows), scaled.profiles(&rows), "{kind:?}");
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn one_record_gives_the_same_outputs_and_gradients_on_both_devices() {
    let rows = members(64);
    let x: Vec<f32> = (0..rows.len()).flat_map(|at| rows.sequence_row(at)).collect();
    for encoder in [Encoder::Cnn, Encoder::Gru, Encoder::Transformer] {
        let shape = Shape { dense: rows.width, steps: rows.steps, channels: rows.channels };
        let architecture =
            Architecture { encoder, shape, hidden: 16, trunk: 32, embedding: 8, tiers: 3, stretches: 4 };
        let slots = architecture.slots();
        let forward = |weights: &learn::Weights, x| {
            let weights = Tensors::new(&slots, weights.all.iter().map(|weight| weight.val()).collect());
            let outputs = architecture.forward(&weights, x, |x| x);
            burn::tensor::Tensor::cat(vec![outputs.tiers, outputs.churn, outputs.next], 1)
        };
        let new = |device: &_, rng: &mut _| learn::Weights::new(&slots, rng, device);
        crate::models::devices::agree(&format!("{encoder:?}"), &x, shape.width(), new, forward);
    }
}
