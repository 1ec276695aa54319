use crate::{Kind, Model, fit, tests::members};

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
    use super::{Architecture, Encoder, Shape, learn, net::Tensors};
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
        crate::devices::agree(&format!("{encoder:?}"), &x, shape.width(), new, forward);
    }
}
