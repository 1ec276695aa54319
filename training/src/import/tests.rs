use tempfile::TempDir;
use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_shape_proto::Dimension, tensor_shape_proto::dimension, type_proto::Tensor,
};

use tiercast_core::{Bins, BundleParts, Policies, Reference, Scorer, Watched};

use super::*;
use crate::{
    export,
    models::{Activation, Layer, Network},
};

const INPUTS: usize = 3;

/// A linear model with softmax, from three inputs to two tiers.
pub(super) fn network() -> Vec<u8> {
    let layer = Layer {
        inputs: INPUTS,
        outputs: 2,
        weight: vec![0.5, -0.5, 0.25, 0.75, -1.0, 1.0],
        bias: vec![0.1, -0.2],
        activation: Activation::Softmax,
    };
    export::onnx("test", &Network { layers: vec![layer] }, &[])
}

/// A linear model from one input to one output.
pub(super) fn line(weight: f32) -> Vec<u8> {
    let (weight, bias) = (vec![weight], vec![0.0]);
    let layer = Layer { inputs: 1, outputs: 1, weight, bias, activation: Activation::None };
    export::onnx("line", &Network { layers: vec![layer] }, &[])
}

pub(super) fn node(
    operator: &str,
    inputs: &[&str],
    output: &str,
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        name: if output.is_empty() { operator.to_lowercase() } else { output.into() },
        op_type: operator.into(),
        domain: if operator == "Scaler" { "ai.onnx.ml".into() } else { String::new() },
        input: inputs.iter().map(|name| (*name).into()).collect(),
        output: vec![output.into()],
        attribute: attributes,
        ..NodeProto::default()
    }
}

pub(super) fn floats(name: &str, dims: &[i64]) -> TensorProto {
    let values = (0..dims.iter().product::<i64>()).flat_map(|i| (i as f32 / 16.0 - 0.5).to_le_bytes());
    TensorProto {
        name: name.into(),
        dims: dims.into(),
        data_type: 1,
        raw_data: values.collect(),
        ..TensorProto::default()
    }
}

pub(super) fn wholes(name: &str, values: &[i64]) -> TensorProto {
    let raw_data = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: 7,
        raw_data,
        ..TensorProto::default()
    }
}

/// A value of floats; the batch is of free length, and its name is in the file.
fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
    let free = Dimension { value: Some(dimension::Value::DimParam("batch".into())), ..Dimension::default() };
    let fixed = |n: &i64| Dimension { value: Some(dimension::Value::DimValue(*n)), ..Dimension::default() };
    let dim = [free].into_iter().chain(shape.iter().map(fixed)).collect();
    let tensor = Tensor { elem_type: 1, shape: Some(TensorShapeProto { dim }) };
    let kind = TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..ValueInfoProto::default() }
}

/// Nodes from an input "x" of [`INPUTS`] numbers to an output "y".
pub(super) fn model(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Vec<u8> {
    let set = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    let output = ValueInfoProto { name: "y".into(), ..ValueInfoProto::default() };
    let graph = GraphProto {
        node: nodes,
        initializer: constants,
        input: vec![value("x", &[INPUTS as i64])],
        output: vec![output],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: 7,
        opset_import: vec![set("", 13), set("ai.onnx.ml", 1)],
        graph: Some(graph),
        ..ModelProto::default()
    }
    .encode_to_vec()
}

/// One step of a recurrent layer that begins with zeros.
pub(super) fn gru(direction: &str) -> Vec<u8> {
    let direction = AttributeProto {
        name: "direction".into(),
        r#type: 3,
        s: direction.into(),
        ..AttributeProto::default()
    };
    let size = AttributeProto { name: "hidden_size".into(), r#type: 2, i: 2, ..AttributeProto::default() };
    let mut layer = node("GRU", &["steps", "w", "r"], "", vec![size, direction]);
    layer.output.push("last".into());
    model(
        vec![
            node("Unsqueeze", &["x", "zero"], "steps", vec![]),
            layer,
            node("Squeeze", &["last", "zero"], "y", vec![]),
        ],
        vec![wholes("zero", &[0]), floats("w", &[1, 6, 3]), floats("r", &[1, 6, 2])],
    )
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

/// Another output of the same shape must not take its place.
#[test]
fn the_onnx_file_gives_the_output_that_was_asked_for() {
    let folder = TempDir::new().unwrap();
    let mut two = ModelProto::decode(network().as_slice()).unwrap();
    let graph = two.graph.as_mut().unwrap();
    graph.node.push(node("Neg", &["probabilities"], "negated", vec![]));
    let mut other = graph.output[0].clone();
    other.name = "negated".into();
    graph.output.push(other);
    for engine in [Engine::Plan, Engine::Onnx] {
        let import = |output: Option<&str>| {
            let output = output.map(str::to_owned);
            run(Args { engine, output, ..args(&folder, &two.encode_to_vec()) }).unwrap();
            outputs(&folder)
        };
        let negated: Vec<f32> = import(Some("negated")).iter().map(|x| -x).collect();
        let plain = import(Some("probabilities"));
        assert!(plain.iter().all(|x| *x > 0.0) && plain[0] < 0.1, "{engine:?}: {plain:?}");
        assert_eq!(plain, negated, "{engine:?}");
        assert_eq!(plain, import(None), "{engine:?}");
    }
    let wrong =
        Args { engine: Engine::Onnx, output: Some("scores".into()), ..args(&folder, &two.encode_to_vec()) };
    let error = format!("{:#}", run(wrong).unwrap_err());
    assert!(error.contains("scores") && error.contains("negated"), "{error}");
}

/// As newer exporters of PyTorch write them.
#[test]
fn inner_lengths_in_letters_are_no_contradiction() {
    let folder = TempDir::new().unwrap();
    let mut onnx = ModelProto::decode(network().as_slice()).unwrap();
    onnx.graph.as_mut().unwrap().value_info.push(value("sums_0", &[2]));
    let verdict = lowered(&onnx.encode_to_vec(), "probabilities", Weights::F32).unwrap().verdict;
    assert!(verdict.to_string().starts_with("compared"), "{verdict}");
    run(Args { engine: Engine::Onnx, ..args(&folder, &onnx.encode_to_vec()) }).unwrap();
}

/// 0.1 is 0.0999755859375 in half precision; of eight bits, a panel's largest weight alone is nearly exact.
#[test]
fn what_fewer_bits_cost_is_measured() {
    let folder = TempDir::new().unwrap();
    let (as_half, size) = (0.1 - 0.099_975_586, |onnx: &[u8], weights| {
        run(Args { weights, ..args(&folder, onnx) }).unwrap();
        fs::metadata(folder.path().join("model.tcb")).unwrap().len()
    });
    let moved = |onnx: &[u8], weights| lowered(onnx, &chosen_output(onnx).unwrap(), weights).unwrap().moved;
    assert_eq!(moved(&line(0.1), Weights::F32), None);
    let found = moved(&line(0.1), Weights::F16).unwrap();
    assert!(found > 2.5 * as_half && found < 3.0 * as_half, "{found}");
    assert_eq!(moved(&line(0.125), Weights::F16), Some(0.0));
    assert!(moved(&line(0.1), Weights::I8).unwrap() < 1e-6);
    let found = moved(&network(), Weights::I8).unwrap();
    assert!((1e-4..1e-2).contains(&found), "{found}");

    size(&line(0.1), Weights::F16);
    let model = Model::load(&fs::read(folder.path().join("model.tcb")).unwrap()).unwrap();
    let mut out = Vec::new();
    model.run(&mut model.workspace(1), &[1.0], &mut out).unwrap();
    assert_eq!(out, [0.099_975_586]);
    let sizes = [Weights::F32, Weights::F16, Weights::I8].map(|weights| size(&network(), weights));
    assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
}

#[test]
fn what_does_not_go_together_is_refused_before_anything_is_read() {
    let folder = TempDir::new().unwrap();
    let nothing = || args(&folder, b"not a model");
    let fails = |args| format!("{:#}", run(args).unwrap_err());
    let error = fails(Args { engine: Engine::Onnx, weights: Weights::F16, ..nothing() });
    assert!(error.contains("--weights f16") && error.contains("--engine onnx"), "{error}");
    let same = folder.path().join("../").join(folder.path().file_name().unwrap()).join("model.onnx");
    let error = fails(Args { out: Some(same), ..nothing() });
    assert!(error.contains("cannot be the output"), "{error}");
    fs::write(folder.path().join("model.tcb"), "a bundle").unwrap();
    let error = fails(Args { into: Some(folder.path().join("model.tcb")), ..nothing() });
    assert!(error.contains("cannot be the output"), "{error}");
    assert!(fails(nothing()).contains("not an ONNX model"));
    assert_eq!(fs::read(folder.path().join("model.tcb")).unwrap(), b"a bundle");
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
    for word in ["unsupported_model", "Einsum", "strange", "13", "tract cannot load the model either"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    assert!(!folder.path().join("model.tcb").exists());
}

#[test]
fn what_tract_can_run_keeps_its_way_out() {
    let folder = TempDir::new().unwrap();
    let equation = AttributeProto {
        name: "equation".into(),
        r#type: 3,
        s: b"ni->in".into(),
        ..AttributeProto::default()
    };
    let back = AttributeProto { s: b"in->ni".into(), ..equation.clone() };
    let onnx = model(
        vec![node("Einsum", &["x"], "t", vec![equation]), node("Einsum", &["t"], "y", vec![back])],
        vec![],
    );
    let error = format!("{:#}", run(args(&folder, &onnx)).unwrap_err());
    assert!(error.contains("`--engine onnx`") && !error.contains("tract"), "{error}");
    run(Args { engine: Engine::Onnx, ..args(&folder, &onnx) }).unwrap();
    assert_eq!(outputs(&folder), [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]);
}

#[test]
fn a_recurrent_layer_without_its_first_state_is_refused_by_name_for_tract() {
    let folder = TempDir::new().unwrap();
    run(args(&folder, &gru("forward"))).unwrap();
    let error = run(Args { engine: Engine::Onnx, ..args(&folder, &gru("forward")) }).unwrap_err();
    assert!(format!("{error:#}").contains("GRU (node \"gru\") has no initial_h"), "{error:#}");
}

#[test]
fn an_output_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    let wrong = Args { output: Some("scores".into()), ..args(&folder, &network()) };
    let error = format!("{:#}", run(wrong).unwrap_err());
    assert!(error.contains("scores") && error.contains("probabilities"), "{error}");
}

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/fixture.tcb");

/// A model of the inputs and tiers of the fixture, which has 32 features and five tiers.
fn for_fixture(old: &Bundle) -> Vec<u8> {
    let (inputs, outputs) = (old.transform().width(), old.rules().len());
    let layer = Layer {
        inputs,
        outputs,
        weight: (0..inputs * outputs).map(|i| (i % 7) as f32 / 10.0 - 0.3).collect(),
        bias: vec![0.0; outputs],
        activation: Activation::Softmax,
    };
    export::onnx("test", &Network { layers: vec![layer] }, &[])
}

#[test]
fn a_model_takes_the_place_of_a_bundles_own() {
    let folder = TempDir::new().unwrap();
    let old = Bundle::parse(&fs::read(FIXTURE).unwrap()).unwrap();
    for engine in [Engine::Plan, Engine::Onnx] {
        let into = Args {
            into: Some(FIXTURE.into()),
            takes: Takes::Inputs,
            name: Some("mine".into()),
            engine,
            ..args(&folder, &for_fixture(&old))
        };
        run(into).unwrap();
        let new = Scorer::load(&fs::read(folder.path().join("model.tcb")).unwrap()).unwrap();
        assert!(new.prove().unwrap() > 0);
        assert_eq!(
            (new.bundle().manifest().model.as_str(), new.bundle().manifest().engine),
            ("mine", engine.into())
        );
        assert_eq!(new.bundle().schema().hash_hex(), old.schema().hash_hex());
    }
    let misfit = Args { into: Some(FIXTURE.into()), takes: Takes::Inputs, ..args(&folder, &network()) };
    assert!(format!("{:#}", run(misfit).unwrap_err()).contains("invalid_model"));
}

/// The fixture's bundle with another model, and without made-up members.
fn parts(old: &Bundle) -> BundleParts {
    BundleParts {
        manifest: old.manifest().clone(),
        spec: old.schema().spec().clone(),
        transform: old.transform().clone(),
        rules: old.rules().clone(),
        model: lower(&for_fixture(old), &LowerOptions::default()).unwrap().write(),
        typical: old.typical().to_vec(),
        profile: None,
        recommend: None,
        policies: Policies::default(),
        risk: None,
        points: None,
        drift: None,
        card: serde_json::from_str(old.card()).unwrap(),
        vectors: Vec::new(),
    }
}

#[test]
fn a_bundle_that_says_no_moment_is_refused() {
    let folder = TempDir::new().unwrap();
    let old = Bundle::parse(&fs::read(FIXTURE).unwrap()).unwrap();
    let without = folder.path().join("without.tcb");
    fs::write(&without, Bundle::write(parts(&old)).unwrap()).unwrap();
    let into = Args { into: Some(without), takes: Takes::Inputs, ..args(&folder, &for_fixture(&old)) };
    let error = format!("{:#}", run(into).unwrap_err());
    assert!(
        error.contains("without.tcb has no made-up members") && error.contains("tiercast train"),
        "{error}"
    );
}

#[test]
fn what_was_fitted_to_another_model_is_left_behind() {
    let folder = TempDir::new().unwrap();
    let old = Bundle::parse(&fs::read(FIXTURE).unwrap()).unwrap();
    let mut parts = parts(&old);
    (parts.manifest.decode, parts.manifest.cuts) = (Decode::Ranks, vec![1.1, 1.2, 1.3, 1.4]);
    let recency = Watched { feature: 0, bins: Bins::Cuts(vec![1.0]), shares: vec![0.5, 0.25, 0.25] };
    let drift = Reference { rows: 8, features: vec![recency], tiers: vec![0.25, 0.25, 0.25, 0.25, 0.0] };
    parts.drift = Some(drift.clone());
    let scorer = Scorer::load(&Bundle::write(parts.clone()).unwrap()).unwrap();
    parts.vectors = bundle::vectors(&scorer, old.vectors().unwrap()[0].now, 1).unwrap();
    let ranks = folder.path().join("ranks.tcb");
    fs::write(&ranks, Bundle::write(parts).unwrap()).unwrap();
    run(Args { into: Some(ranks), takes: Takes::Inputs, ..args(&folder, &for_fixture(&old)) }).unwrap();
    let new = Bundle::parse(&fs::read(folder.path().join("model.tcb")).unwrap()).unwrap();
    assert_eq!((new.manifest().decode, new.manifest().cuts.as_slice()), (Decode::Expected, &[][..]));
    assert_eq!(new.drift(), Some(&Reference { tiers: Vec::new(), ..drift }), "its features are the same");
}
