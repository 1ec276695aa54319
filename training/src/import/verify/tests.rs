use tiercast_core::{LowerOptions, lower};
use tract_onnx::pb::AttributeProto;

use super::{
    super::tests::{floats, gru, line, model, node},
    *,
};

fn plan(onnx: &[u8]) -> Plan {
    lower(onnx, &LowerOptions::default()).unwrap()
}

fn words(onnx: &[u8]) -> String {
    against_tract(&plan(onnx), onnx).unwrap().to_string()
}

#[test]
fn another_model_is_an_error_that_blames_nobody() {
    assert!(
        words(&line(0.5)).starts_with("compared with tract on 256 rows: at most"),
        "{}",
        words(&line(0.5))
    );
    let error = against_tract(&plan(&line(0.5)), &line(0.501)).unwrap_err().to_string();
    assert!(error.contains("where tract gives") && error.contains("one of the two is wrong"), "{error}");
}

/// The plan replaces what is missing and the file does not, so that they differ on missing inputs alone.
#[test]
fn missing_inputs_are_compared() {
    let file = model(vec![node("Mul", &["x", "one"], "y", vec![])], vec![floats("one", &[1])]);
    let nodes =
        [("Mul", ["x", "one"].as_slice(), "m"), ("IsNaN", &["m"], "n"), ("Where", &["n", "one", "m"], "y")];
    let nodes = nodes.map(|(operator, inputs, output)| node(operator, inputs, output, vec![]));
    let other = model(nodes.into(), vec![floats("one", &[1])]);
    assert!(words(&other).starts_with("compared with tract on 256 rows"), "{}", words(&other));
    let error = against_tract(&plan(&other), &file).unwrap_err().to_string();
    assert!(error.contains("row 0 of those with missing inputs"), "{error}");
}

#[test]
fn what_is_no_number_agrees_with_itself_alone() {
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    let found = compare(Kind::Ordinary, 1, &[nan, infinity, 1.0], &[nan, infinity, 1.00001]).unwrap();
    assert!(found.0 > 0.0 && found.0 < TOLERANCE && found.1 == 0, "{found:?}");
    for (ours, theirs) in [(nan, 1.0), (1.0, nan), (infinity, 1.0), (infinity, -infinity), (1.0, infinity)] {
        assert!(compare(Kind::Ordinary, 1, &[0.0, ours], &[0.0, theirs]).is_err(), "{ours} {theirs}");
        let missing = compare(Kind::Missing, 1, &[0.0, ours], &[0.0, theirs]);
        assert_eq!(missing.ok(), ours.is_nan().then_some((0.0, 1)), "{ours} {theirs}");
    }
    // Of terms that cancel, the last bits are what is left.
    let (ours, theirs) = ([1e6, 2e6, 16.25, 0.5], [1e6, 2e6, 16.28, 0.5]);
    assert!(compare(Kind::Ordinary, 2, &ours, &theirs).is_err());
    assert!(compare(Kind::Huge, 2, &ours, &theirs).is_ok());
    assert!(compare(Kind::Huge, 2, &[1e6, 0.25], &[1e6, 0.5]).is_err());
    assert!(compare(Kind::Missing, 2, &[nan, 1.0], &[1.0, 2.0]).is_err());
    assert!(compare(Kind::Ordinary, 1, &[1.0], &[1.0, 1.0]).unwrap_err().to_string().contains("1 numbers"));
}

#[test]
fn what_tract_cannot_run_is_said_to_be_uncompared() {
    let list = |name: &str, floats: &[f32]| AttributeProto {
        name: name.into(),
        r#type: 6,
        floats: floats.into(),
        ..AttributeProto::default()
    };
    let scaler = node("Scaler", &["x"], "y", vec![list("offset", &[1.0]), list("scale", &[2.0])]);
    let words = words(&model(vec![scaler], vec![]));
    assert!(words.starts_with("not compared with tract, which cannot run this model"), "{words}");
    assert!(words.ends_with("compare a few rows yourself") && words.contains("Scaler"), "{words}");
}

#[test]
fn layers_that_run_backwards_are_not_compared() {
    for direction in ["reverse", "forward"] {
        let words = words(&gru(direction));
        assert_eq!(words.contains("run backwards"), direction == "reverse", "{words}");
    }
}

/// tract panics where a number is no row of a table.
#[test]
fn where_tract_fails_on_huge_inputs_alone_the_rest_is_compared() {
    let to = AttributeProto { name: "to".into(), r#type: 2, i: 7, ..AttributeProto::default() };
    let nodes = vec![node("Cast", &["x"], "i", vec![to]), node("Gather", &["table", "i"], "y", vec![])];
    let words = words(&model(nodes, vec![floats("table", &[8, 2])]));
    assert!(words.starts_with("compared with tract on 128 rows"), "{words}");
    assert!(words.ends_with("not compared on large inputs, on which tract fails; not compared on huge inputs, on which tract fails"), "{words}");
}

#[test]
fn rows_are_what_their_kind_says() {
    let plan = plan(&model(vec![node("Neg", &["x"], "y", vec![])], vec![]));
    for kind in KINDS {
        let rows = kind.rows(&plan).unwrap();
        assert_eq!(rows.len(), ROWS * 3);
        let missing = rows.iter().filter(|x| x.is_nan()).count();
        assert_eq!(missing > 0, kind == Kind::Missing);
        assert!(missing < rows.len() / 2);
        assert_eq!(rows.iter().any(|x| x.abs() > 1e5), kind == Kind::Huge);
    }
}
