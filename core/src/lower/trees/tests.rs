//! Trees against what onnxruntime 1.32 gives for them, where it follows ONNX's words, and against those.

use alloc::{string::ToString, vec, vec::Vec};

use super::super::ml::tests::{Op, close, random};
use crate::error::ErrorKind;

const NAN: f32 = f32::NAN;

/// One tree: x₀ ≤ 0.5 leads to the first leaf, else the second. `weights` are per leaf those of `ids`.
pub(crate) fn stump(ids: &[i64], weights: &[f32], labels: &[i64]) -> Op {
    let n = ids.len();
    Op::new("TreeEnsembleClassifier", &["l", "y"])
        .ints("nodes_treeids", &[0; 3])
        .ints("nodes_nodeids", &[0, 1, 2])
        .ints("nodes_featureids", &[0; 3])
        .floats("nodes_values", &[0.5, 0.0, 0.0])
        .texts("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"])
        .ints("nodes_truenodeids", &[1, 0, 0])
        .ints("nodes_falsenodeids", &[2, 0, 0])
        .ints("class_treeids", &vec![0; 2 * n])
        .ints("class_nodeids", &[vec![1; n], vec![2; n]].concat())
        .ints("class_ids", &[ids, ids].concat())
        .floats("class_weights", weights)
        .ints("classlabels_int64s", labels)
}

const ROWS: [f32; 4] = [0.0, 0.0, 1.0, 0.0];

#[test]
fn two_classes_with_one_score_are_onnxruntime_s() {
    let found = |op: Op| op.outputs(&ROWS, &[]);
    let positive = || stump(&[0], &[0.2, 0.6], &[10, 20]);
    let mixed = || stump(&[0], &[-0.3, 0.4], &[10, 20]);
    for (op, scores) in [
        (positive(), [0.8, 0.2, 0.4, 0.6]),
        (positive().text("post_transform", "LOGISTIC"), [0.450_166, 0.549_834, 0.354_343_7, 0.645_656_3]),
        (mixed(), [0.3, -0.3, -0.4, 0.4]),
        (mixed().text("post_transform", "LOGISTIC"), [0.574_442_5, 0.425_557_5, 0.401_312_35, 0.598_687_65]),
        (positive().floats("base_values", &[0.05]), [0.75, 0.25, 0.35, 0.65]),
        (mixed().floats("base_values", &[0.05]), [0.25, -0.25, -0.45, 0.45]),
        (stump(&[1], &[0.2, 0.6], &[10, 20]), [0.0, 0.2, 0.0, 0.6]),
        (
            stump(&[1], &[-0.3, 0.4], &[10, 20]).text("post_transform", "SOFTMAX"),
            [0.574_442_5, 0.425_557_5, 0.401_312_35, 0.598_687_65],
        ),
    ] {
        close("two classes", &found(op), &[&[10.0, 20.0], &scores]);
    }
}

#[test]
fn what_runtimes_disagree_on_is_refused() {
    let two = || stump(&[0, 1], &[0.2, 0.3, 0.6, 0.7], &[0, 1]);
    close("two scores", &two().outputs(&ROWS, &["y"]), &[&[0.2, 0.3, 0.6, 0.7]]);
    for (op, wanted) in [
        (two(), &["l"][..]),
        (two().floats("base_values", &[0.1]), &["y"]),
        (two().floats("base_values", &[0.1, 0.2]), &["y"]),
        (stump(&[0], &[0.2, 0.6], &[0, 1]).text("post_transform", "SOFTMAX"), &["y"]),
        (stump(&[1], &[0.2, 0.6], &[0, 1]).floats("base_values", &[0.1]), &["y"]),
    ] {
        op.is_refused(ErrorKind::UnsupportedModel, wanted, "runtimes disagree");
    }
}

#[test]
fn three_classes_and_one() {
    let three = |labels| stump(&[0, 1, 2], &[0.2, 0.5, 0.3, 0.6, 0.1, 0.3], labels);
    close("3", &three(&[0, 1, 2]).outputs(&ROWS, &[]), &[&[1.0, 0.0], &[0.2, 0.5, 0.3, 0.6, 0.1, 0.3]]);
    close(
        "3",
        &three(&[5, 6, 7]).floats("base_values", &[0.0, 0.0, 1.0]).outputs(&ROWS, &["l"]),
        &[&[7.0, 7.0]],
    );
    close("1", &stump(&[0], &[0.2, -0.6], &[1]).outputs(&ROWS, &[]), &[&[1.0, 0.0], &[0.2, -0.6]]);
    three(&[0, 1, 2]).floats("base_values", &[0.1]).is_refused(ErrorKind::InvalidModel, &[], "1 base values");
}

#[test]
fn labels_that_are_text_are_refused_if_they_are_wanted() {
    let texts = stump(&[0, 1, 2], &[0.2, 0.5, 0.3, 0.6, 0.1, 0.3], &[])
        .texts("classlabels_strings", &["a", "b", "c"]);
    close("scores", &texts.outputs(&ROWS, &["y"]), &[&[0.2, 0.5, 0.3, 0.6, 0.1, 0.3]]);
    texts.is_refused(ErrorKind::UnsupportedModel, &[], "\"y\"");
}

/// As the stump, with targets instead of classes.
fn regressor(ids: &[i64], weights: &[f32]) -> Op {
    let mut op = stump(ids, weights, &[]).int("n_targets", 1 + ids.iter().max().unwrap());
    op.node.op_type = "TreeEnsembleRegressor".to_string();
    op.node.output = vec!["y".to_string()];
    for attribute in &mut op.node.attribute {
        attribute.name = attribute.name.replace("class_", "target_");
    }
    op
}

#[test]
fn regressors() {
    let logistic = regressor(&[0, 1], &[0.2, 0.3, 0.6, 0.7])
        .floats("base_values", &[0.1, 0.2])
        .text("post_transform", "LOGISTIC");
    close("2", &logistic.outputs(&ROWS, &[]), &[&[0.574_442_5, 0.622_459_35, 0.668_187_8, 0.710_949_5]]);
    let one = || regressor(&[0], &[0.2, 0.6]).floats("base_values", &[0.1]);
    close("1", &one().outputs(&ROWS, &[]), &[&[0.3, 0.7]]);
    close("average", &one().text("aggregate_function", "AVERAGE").outputs(&ROWS, &[]), &[&[0.3, 0.7]]);
    one().text("post_transform", "LOGISTIC").is_refused(
        ErrorKind::UnsupportedModel,
        &[],
        "runtimes disagree",
    );
    let missing = regressor(&[1], &[0.2, 0.6]).text("aggregate_function", "MAX");
    close("a target without leaves", &missing.outputs(&ROWS, &[]), &[&[0.0, 0.2, 0.0, 0.6]]);
    // 0.1 in double precision lies just below 0.1 in single, which is therefore above it.
    let fine = regressor(&[0], &[0.2, 0.6])
        .floats("nodes_values", &[])
        .doubles("nodes_values_as_tensor", &[0.1, 0.0, 0.0]);
    close("double", &fine.outputs(&[0.1, 0.0, 0.1_f32.next_down(), 0.0], &[]), &[&[0.6, 0.2]]);
}

#[test]
fn broken_trees_are_refused_by_name() {
    let op = || regressor(&[0], &[0.2, 0.6]);
    for (op, why) in [
        (op().ints("nodes_truenodeids", &[7, 0, 0]), "no node 7"),
        (op().ints("nodes_truenodeids", &[0, 0, 0]), "circle"),
        (op().ints("nodes_nodeids", &[0, 1, 1]), "twice"),
        (op().ints("nodes_featureids", &[2, 0, 0]), "feature 2"),
        (op().ints("nodes_featureids", &[-1, 0, 0]), "feature -1"),
        (op().texts("nodes_modes", &["BRANCH_BY", "LEAF", "LEAF"]), "BRANCH_BY"),
        (op().ints("target_ids", &[0, 3]), "target or class 3"),
        (op().floats("target_weights", &[0.2]), "same length"),
        (op().floats("base_values", &[0.2, 0.3]), "2 base values"),
        (op().text("aggregate_function", "MEDIAN"), "MEDIAN"),
    ] {
        let error = op.plan(&[0, 2], &[]).unwrap_err();
        assert!(error.message().contains(why), "{error}");
    }
}

/// Complete trees of depth 4 over two features, in heap order, with all modes, and what a row scores.
#[test]
fn all_modes_are_what_onnx_says() {
    const MODES: [&str; 6] =
        ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];
    let (trees, inner, all) = (6_usize, 15_usize, 31_usize);
    let mut state = 1;
    let mut next = |below| random(&mut state, below);
    let per_node =
        |f: &mut dyn FnMut(usize) -> i64| -> Vec<i64> { (0..trees * all).map(|i| f(i % all)).collect() };
    let features = per_node(&mut |_| i64::from(next(2)));
    let thresholds: Vec<f32> = (0..trees * all).map(|_| next(5) as f32 - 2.0).collect();
    let modes: Vec<&str> =
        (0..trees * all).map(|i| if i % all < inner { MODES[next(6) as usize] } else { "LEAF" }).collect();
    let tracks = per_node(&mut |_| i64::from(next(2)));
    let ids = |i: usize| i as i64;
    let tree_ids: Vec<i64> = (0..trees * all).map(|i| (i / all) as i64).collect();
    let leaf_ids: Vec<i64> = (0..trees).flat_map(|_| (inner..all).map(ids)).collect();
    let leaf_trees: Vec<i64> = (0..trees * 16).map(|i| (i / 16) as i64).collect();
    let weights: Vec<f32> = (0..trees * 16).map(|_| next(1 << 20) as f32 / 64.0).collect();
    let op = Op::new("TreeEnsembleRegressor", &["y"])
        .ints("nodes_treeids", &tree_ids)
        .ints("nodes_nodeids", &per_node(&mut |i| i as i64))
        .ints("nodes_featureids", &features)
        .floats("nodes_values", &thresholds)
        .texts("nodes_modes", &modes)
        .ints("nodes_truenodeids", &per_node(&mut |i| 2 * i as i64 + 1))
        .ints("nodes_falsenodeids", &per_node(&mut |i| 2 * i as i64 + 2))
        .ints("nodes_missing_value_tracks_true", &tracks)
        .ints("target_treeids", &leaf_trees)
        .ints("target_nodeids", &leaf_ids)
        .ints("target_ids", &vec![0; leaf_ids.len()])
        .floats("target_weights", &weights);
    let values = [-2.5, -2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0, NAN, f32::INFINITY];
    let rows: Vec<f32> = values.iter().flat_map(|a| values.iter().flat_map(move |b| [*a, *b])).collect();
    let score = |row: &[f32]| {
        let leaf = |tree: usize| {
            let mut at = 0;
            while at < inner {
                let i = tree * all + at;
                let (x, t) = (row[features[i] as usize], thresholds[i]);
                let yes = match modes[i] {
                    "BRANCH_NEQ" => x != t,
                    _ if x.is_nan() => tracks[i] == 1,
                    "BRANCH_LEQ" => x <= t,
                    "BRANCH_LT" => x < t,
                    "BRANCH_GTE" => x >= t,
                    "BRANCH_GT" => x > t,
                    _ => x == t,
                };
                at = 2 * at + if yes { 1 } else { 2 };
            }
            f64::from(weights[tree * 16 + at - inner])
        };
        (0..trees).map(leaf).sum::<f64>() as f32
    };
    let expected: Vec<f32> = rows.chunks(2).map(score).collect();
    assert_eq!(op.outputs(&rows, &[]), [expected]);
}

#[test]
fn the_operator_of_opset_5_knows_sets() {
    let mut op = Op::new("TreeEnsemble", &["y"])
        .doubles("nodes_splits", &[0.0, 1.5, 0.0])
        .ints("nodes_featureids", &[0, 1, 0])
        .bytes("nodes_modes", &[6, 0, 6])
        .ints("nodes_truenodeids", &[0, 1, 1])
        .ints("nodes_falsenodeids", &[1, 2, 0])
        .ints("nodes_trueleafs", &[1, 1, 1])
        .ints("nodes_falseleafs", &[0, 0, 1])
        .ints("nodes_missing_value_tracks_true", &[0, 0, 1])
        .doubles("membership_values", &[1.0, 2.0, 3.0, f64::NAN, 0.0, f64::NAN])
        .ints("leaf_targetids", &[0, 1])
        .doubles("leaf_weights", &[5.0, 7.0])
        .ints("tree_roots", &[0])
        .int("n_targets", 2);
    op.version = 5;
    // In {1, 2, 3}: leaf 0. Else x₁ ≤ 1.5: leaf 1. Else 0 or NaN: leaf 1, others leaf 0.
    let rows = [2.0, 9.0, 2.5, 1.0, 0.0, 9.0, 4.0, 9.0, NAN, 9.0, NAN, 1.0, -0.0, NAN];
    let first = |first: bool| if first { [5.0, 0.0] } else { [0.0, 7.0] };
    let expected = [true, false, false, true, false, false, false].map(first).concat();
    assert_eq!(op.outputs(&rows, &[]), [expected]);
    op.bytes("nodes_modes", &[6, 9, 6]).is_refused(ErrorKind::InvalidModel, &[], "mode");
}
