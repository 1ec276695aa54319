use tempfile::TempDir;
use tract_onnx::pb::NodeProto;

use super::*;
use crate::{
    export,
    models::{Activation, Layer, Network},
};

const INPUTS: usize = 3;

/// A linear model with softmax, from three inputs to two tiers.
fn network() -> Vec<u8> {
    let layer = Layer {
        inputs: INPUTS,
        outputs: 2,
        weight: vec![0.5, -0.5, 0.25, 0.75, -1.0, 1.0],
        bias: vec![0.1, -0.2],
        activation: Activation::Softmax,
    };
    export::onnx("test", &Network { layers: vec![layer] }, &[])
}

fn args(folder: &TempDir, onnx: &[u8]) -> Args {
    let model = folder.path().join("model.onnx");
    fs::write(&model, onnx).unwrap();
    Args {
        model,
        out: None,
        output: None,
        into: None,
        takes: Takes::Features,
        name: None,
        weights: Weights::F32,
        engine: Engine::Plan,
    }
}

fn outputs(folder: &TempDir) -> Vec<f32> {
    let model = Model::load(&fs::read(folder.path().join("model.tcb")).unwrap()).unwrap();
    let mut out = Vec::new();
    model.run(&mut model.workspace(2), &[1.0, 2.0, 3.0, 0.0, 0.0, 0.0], &mut out).unwrap();
    out
}

#[test]
fn a_model_alone_gives_what_its_formula_gives() {
    let folder = TempDir::new().unwrap();
    run(args(&folder, &network())).unwrap();
    let found = outputs(&folder);
    let softmax = |a: f64, b: f64| 1.0 / (1.0 + (b - a).exp());
    for (found, expected) in found.iter().step_by(2).zip([softmax(-1.9, 3.8), softmax(0.1, -0.2)]) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
    }
    let model = Model::load(&fs::read(folder.path().join("model.tcb")).unwrap()).unwrap();
    assert_eq!(model.manifest().name, "model");
    assert_eq!(
        (model.manifest().input_shape.as_slice(), model.manifest().output_shape.as_slice()),
        (&[3][..], &[2][..])
    );
}

#[test]
fn the_onnx_file_itself_gives_nearly_the_same() {
    let folder = TempDir::new().unwrap();
    run(args(&folder, &network())).unwrap();
    let by_plan = outputs(&folder);
    run(Args { engine: Engine::Onnx, ..args(&folder, &network()) }).unwrap();
    assert!(export::largest_difference(&by_plan, &outputs(&folder)) < 1e-6);
}

#[test]
fn fewer_bits_move_the_outputs_a_little() {
    let folder = TempDir::new().unwrap();
    run(args(&folder, &network())).unwrap();
    let exact = outputs(&folder);
    // These weights are exact in half precision; of eight bits the largest weight of a panel alone is.
    for (weights, least, most) in [(Weights::F16, 0.0, 0.0), (Weights::I8, 1e-5, 1e-2)] {
        run(Args { weights, ..args(&folder, &network()) }).unwrap();
        let difference = export::largest_difference(&exact, &outputs(&folder));
        assert!((least..=most).contains(&difference), "{weights:?}: {difference}");
    }
}

#[test]
fn an_operator_that_a_plan_lacks_is_named_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let mut model = ModelProto::decode(network().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.node.last_mut().unwrap().output = vec!["before".into()];
    graph.node.push(NodeProto {
        name: "strange".into(),
        op_type: "Einsum".into(),
        input: vec!["before".into()],
        output: vec!["probabilities".into()],
        ..NodeProto::default()
    });
    let error = format!("{:#}", run(args(&folder, &model.encode_to_vec())).unwrap_err());
    for word in ["unsupported_model", "Einsum", "strange", "13", "--engine onnx"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    assert!(!folder.path().join("model.tcb").exists());
}

#[test]
fn an_output_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    let wrong = Args { output: Some("scores".into()), ..args(&folder, &network()) };
    let error = format!("{:#}", run(wrong).unwrap_err());
    assert!(error.contains("scores") && error.contains("probabilities"), "{error}");
}

/// The fixture has 32 features and five tiers; this model takes the sum of its features to another tier each time.
#[test]
fn a_model_takes_the_place_of_a_bundles_own() {
    let folder = TempDir::new().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/fixture.tcb");
    let old = Bundle::parse(&fs::read(&fixture).unwrap()).unwrap();
    let (inputs, outputs) = (old.transform().width(), old.rules().len());
    let layer = Layer {
        inputs,
        outputs,
        weight: (0..inputs * outputs).map(|i| (i % 7) as f32 / 10.0 - 0.3).collect(),
        bias: vec![0.0; outputs],
        activation: Activation::Softmax,
    };
    let onnx = export::onnx("test", &Network { layers: vec![layer] }, &[]);
    let into = Args {
        into: Some(fixture.clone()),
        takes: Takes::Inputs,
        name: Some("mine".into()),
        ..args(&folder, &onnx)
    };
    run(into).unwrap();
    let new = Scorer::load(&fs::read(folder.path().join("model.tcb")).unwrap()).unwrap();
    assert!(new.prove().unwrap() > 0);
    assert_eq!(new.bundle().manifest().model, "mine");
    assert_eq!(new.bundle().schema().hash_hex(), old.schema().hash_hex());
    let misfit = Args { into: Some(fixture), takes: Takes::Inputs, ..args(&folder, &network()) };
    assert!(format!("{:#}", run(misfit).unwrap_err()).contains("invalid_model"));
}
