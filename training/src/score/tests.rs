use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::Float32Type,
    },
    prelude::SessionContext,
};
use tiercast_core::{
    Bundle, BundleParts, Column, Currency, Decode, EngineKind, EventInput, LowerOptions, Manifest, Period,
    Policies, Scorer, Step, Tier, TierRules, Transform, Vector, lower,
};

use super::*;
use crate::{
    export,
    fixtures::{ROWS, small, synthetic},
    models::{Activation, Layer, Network},
};

/// A bundle for a project whose model looks at every feature.
fn bundle(project: &Project) -> Vec<u8> {
    bundle_with(project, Vec::new())
}

fn bundle_with(project: &Project, vectors: Vec<Vector>) -> Vec<u8> {
    let schema = project.schema().unwrap();
    let weight = (0..schema.len() * 2).map(|at| (at % 7) as f32 / 10.0 - 0.3).collect();
    let layer = Layer {
        inputs: schema.len(),
        outputs: 2,
        weight,
        bias: vec![0.1, -0.2],
        activation: Activation::Softmax,
    };
    let column = |(source, name): (usize, &str)| Column {
        name: name.into(),
        source: source as u32,
        steps: vec![
            Step::Impute(0.0),
            Step::Clip { low: -10.0, high: 10.0 },
            Step::Standardize { mean: 1.0, std: 4.0 },
        ],
    };
    let tier = |name: &str, at_least| Tier { name: name.into(), at_least };
    let onnx = export::onnx("test", &Network { layers: vec![layer] }, &[]);
    Bundle::write(BundleParts {
        manifest: Manifest {
            task: "tier".into(),
            name: "test".into(),
            version: "1".into(),
            producer: "test".into(),
            model: "logistic".into(),
            engine: EngineKind::Plan,
            decode: Decode::Median,
            cuts: Vec::new(),
            schema_hash: String::new(),
        },
        spec: schema.spec().clone(),
        transform: Transform { columns: schema.names().enumerate().map(column).collect() },
        rules: TierRules {
            tiers: vec![tier("low", 0), tier("high, \"really\"", 500)],
            period: Period::Month,
        },
        model: lower(&onnx, &LowerOptions::default()).unwrap().write(),
        typical: vec![0.0; schema.len()],
        profile: None,
        recommend: None,
        policies: Policies::default(),
        risk: None,
        points: None,
        drift: None,
        card: serde_json::Value::Null,
        vectors,
    })
    .unwrap()
}

fn args(folder: &std::path::Path, project: &Project, output: &str) -> Args {
    fs::write(folder.join("bundle.tcb"), bundle(project)).unwrap();
    Args {
        bundle: folder.join("bundle.tcb"),
        events: None,
        output: folder.join(output),
        as_of: Some("2024-03-01".into()),
        project: Some(project.path.clone()),
        features: true,
        embedding: false,
        reasons: 0,
        recommend: 0,
        decide: false,
        states: None,
        news: false,
        part_rows: 250_000,
        restart: false,
        engine: Engine::Embedded,
        skip_invalid: false,
        memory: 64,
    }
}

#[test]
fn a_table_is_scored_as_its_members_are_assessed() {
    let folder = tempfile::tempdir().unwrap();
    let project = small(folder.path(), ROWS, ("", ""));
    run(args(folder.path(), &project, "out.ndjson")).unwrap();
    let text = fs::read_to_string(folder.path().join("out.ndjson")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();

    let scorer = Scorer::load(&bundle(&project)).unwrap();
    let mut state = scorer.bundle().new_member();
    for (time, kind, id, amount) in [
        ("2024-01-05T10:00:00Z", "purchase", "1", 1000),
        ("2024-02-01", "purchase", "2", 550),
        ("2024-02-20T10:00:00Z", "return", "3", 200),
    ] {
        let mut event = EventInput::new(kind, tiercast_core::Scalar::Text(time.into()));
        (event.id, event.amount_minor) = (Some(id.into()), Some(tiercast_core::Scalar::Int(amount)));
        scorer.bundle().observe(&mut state, &[event]).unwrap();
    }
    let expected = scorer.assess(&state, Timestamp::parse("2024-03-01").unwrap()).unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["member"], &lines[0]["asOf"]), (&"a".into(), &"2024-03-01T00:00:00Z".into()));
    assert_eq!(lines[0]["tier"], expected.tier);
    let shortest = format!("\"probabilities\":[{},{}]", expected.probabilities[0], expected.probabilities[1]);
    assert!(text.contains(&shortest), "{shortest} in {text}");
    assert_eq!(lines[0]["standing"], serde_json::to_value(&expected.standing).unwrap());
    assert_eq!(lines[0]["features"].as_array().unwrap().len(), expected.features.len());
}

#[test]
fn every_format_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let project = small(folder.path(), ROWS, ("", ""));
    for output in ["out.csv", "out.json", "out.parquet"] {
        run(args(folder.path(), &project, output)).unwrap();
    }
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    let csv = fs::read_to_string(folder.path().join("out.csv")).unwrap();
    let header = "member,as_of,tier,tier_name,expected_tier,p1,p2,standing_tier,spend,to_next_tier,warnings,bundle,feature_recency,feature_spend";
    assert_eq!(csv.lines().next().unwrap(), header);
    assert_eq!(csv.lines().count(), 3);
    let batches = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let path = folder.path().join("out.parquet");
        let frame =
            SessionContext::new().read_parquet(path.to_str().unwrap(), Default::default()).await.unwrap();
        frame.collect().await.unwrap()
    });
    for (row, line) in csv.lines().skip(1).enumerate() {
        let p1 = batches[0].column(5).as_primitive::<Float32Type>().value(row);
        assert_eq!(json[row]["probabilities"][0].to_string(), p1.to_string());
        assert!(line.contains(&format!(",{p1},")), "{line}");
    }
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[test]
fn many_members_in_little_memory_come_out_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let project = synthetic(folder.path(), 700);
    let mut args = args(folder.path(), &project, "out.csv");
    args.as_of = None;
    args.features = false;
    run(args).unwrap();
    let csv = fs::read_to_string(folder.path().join("out.csv")).unwrap();
    let members: Vec<_> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert!(members.len() > 650 && members.is_sorted(), "{}", members.len());
}

#[test]
fn a_canonical_table_needs_no_project_file() {
    let folder = tempfile::tempdir().unwrap();
    let project = small(folder.path(), ROWS, ("", ""));
    let canonical = folder.path().join("canonical.csv");
    fs::write(&canonical, ROWS.replace("kind,at,", "kind,time,")).unwrap();
    run(args(folder.path(), &project, "a.csv")).unwrap();
    let plain = Args { project: None, events: Some(canonical), ..args(folder.path(), &project, "b.csv") };
    run(plain).unwrap();
    let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("a.csv"), read("b.csv"));
}

#[test]
fn what_cannot_be_scored_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let bad = format!("{ROWS}a,purchase,2024-01-06T10:00:00,9,-1.00\n");
    let project = small(folder.path(), &bad, ("", ""));
    let error = run(args(folder.path(), &project, "out.csv")).unwrap_err().to_string();
    assert!(error.contains("row 6") && error.contains("invalid_amount"), "{error}");
    run(Args { skip_invalid: true, ..args(folder.path(), &project, "out.csv") }).unwrap();

    let error = run(args(folder.path(), &project, "out.xlsx")).unwrap_err().to_string();
    assert!(error.contains(".parquet"), "{error}");
    let mut yen = small(folder.path(), ROWS, ("code = \"USD\"", "code = \"EUR\""));
    let other = args(folder.path(), &yen, "out.csv");
    yen.currency = Currency { code: "USD".into(), exponent: 2 };
    fs::write(&other.bundle, bundle(&yen)).unwrap();
    let error = run(other).unwrap_err().to_string();
    assert!(error.contains("EUR") && error.contains("USD"), "{error}");
    let mut none = args(folder.path(), &small(folder.path(), ROWS, ("", "")), "out.csv");
    none.as_of = Some("2020-01-01".into());
    assert!(run(none).unwrap_err().to_string().contains("no member has an event"));
    let mut broken = args(folder.path(), &project, "out.csv");
    fs::write(&broken.bundle, b"nothing").unwrap();
    broken.as_of = None;
    assert!(format!("{:#}", run(broken).unwrap_err()).contains("not_a_bundle"));
}

#[test]
fn a_failure_leaves_what_was_there_and_an_input_is_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let bad = format!("{ROWS}a,purchase,2024-01-06T10:00:00,9,-1.00\n");
    let project = small(folder.path(), &bad, ("", ""));
    fs::write(folder.path().join("out.csv"), "before").unwrap();
    run(args(folder.path(), &project, "out.csv")).unwrap_err();
    assert_eq!(fs::read_to_string(folder.path().join("out.csv")).unwrap(), "before");
    assert!(!folder.path().join("out.csv.part").exists());

    let error = run(args(folder.path(), &project, "events.csv")).unwrap_err().to_string();
    assert!(error.contains("cannot be the output"), "{error}");
    assert_eq!(fs::read_to_string(folder.path().join("events.csv")).unwrap(), bad);
}

#[test]
fn a_bundle_that_does_not_prove_itself_scores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let project = small(folder.path(), ROWS, ("", ""));
    let args = args(folder.path(), &project, "out.csv");
    let now = Timestamp::parse("2024-03-01").unwrap();
    let mut vectors = crate::bundle::vectors(&Scorer::load(&bundle(&project)).unwrap(), now, 1).unwrap();
    vectors[0].probabilities.reverse();
    fs::write(&args.bundle, bundle_with(&project, vectors)).unwrap();
    let error = format!("{:#}", run(args).unwrap_err());
    assert!(
        error.contains("bundle.tcb cannot be used here: it does not give here what")
            && error.contains("model_failed"),
        "{error}"
    );
    assert!(!folder.path().join("out.csv").exists());
}

#[test]
fn a_canonical_column_with_nearly_a_fields_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let project = small(folder.path(), ROWS, ("", ""));
    let table = folder.path().join("canonical.csv");
    let scored = |header: &str| {
        fs::write(&table, ROWS.replace("member,kind,at,id,amount", header)).unwrap();
        run(Args { project: None, events: Some(table.clone()), ..args(folder.path(), &project, "b.csv") })
    };
    for (header, field) in [
        ("member,kind,time,id,Amount", "amount"),
        ("member,kind,time,id,amuont", "amount"),
        ("Member,kind,time,id,amount", "member"),
    ] {
        let error = format!("{:#}", scored(header).unwrap_err());
        assert!(error.contains(&format!("did you mean `{field}`?")), "{error}");
    }
    scored("member,kind,time,id,note").unwrap();
}
