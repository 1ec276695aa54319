//! Tree ensembles: the classifier and the regressor of ONNX-ML 1 to 4, and the common operator of 5.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use tract_onnx::pb::tensor_proto::DataType;

use super::{
    build::Lowering,
    classes::{Classes, Post, Rows, nobody_reads},
    elementwise::binary,
    forest::{Branch, Forest, Target, Test},
    node::Node,
    value::{Kind, Value},
};
use crate::{
    engine::{Aggregate, BinaryOp, Dense, Kernel, MAX_FLOATS, MAX_TREE, Tree, Trees, pack},
    error::Result,
};

pub(super) fn classifier(
    low: &mut Lowering,
    node: &Node<'_>,
    inputs: &[Option<Value>],
) -> Result<Vec<Value>> {
    let rows = Rows::of(low, node, inputs)?;
    let classes = Classes::of(node, "classlabels_int64s")?;
    let (post, base) = (Post::of(node)?, base(node)?);
    let (only, two) = (speaks_for(node)?, classes.len() == 2);
    if two && (base.len() > 1 || !base.is_empty() && only != Some(0)) {
        return Err(node.refuse("runtimes disagree on these base values of two classes"));
    }
    if let (true, Some(only @ (0 | 1))) = (two, only) {
        let mut forest = forest(node, "class", 2, Vec::new())?;
        forest.base = vec![base.first().copied().unwrap_or_default()];
        forest.targets = 1;
        forest.leaves.iter_mut().flatten().for_each(|(class, _)| *class = 0);
        return two_from_one(low, node, &rows, &classes, (forest, post, only));
    }
    let forest = forest(node, "class", classes.len(), base)?;
    let scores = ensemble(low, node, &rows, &forest)?;
    let label = match (classes.len(), &classes) {
        _ if !node.gives(0) => nobody_reads(),
        (1, Classes::Numbers(_)) => {
            let above = above(low, node, &scores, 0.0)?;
            Classes::Numbers(&[0, 1]).label(low, node, &rows, &above)?
        }
        (2, Classes::Numbers(_)) => {
            return Err(node.refuse("runtimes disagree on the label of two classes that have a score each"));
        }
        _ => classes.best(low, node, &rows, &scores)?,
    };
    let scores = match classes.len() {
        1 => post.apply_to_one(low, node, &scores)?,
        _ => post.apply(low, &scores)?,
    };
    Ok(vec![label, scores])
}

/// The class that all leaves speak for, if there is one.
fn speaks_for(node: &Node<'_>) -> Result<Option<i64>> {
    let ids = node.ints("class_ids").unwrap_or_default();
    match ids.split_first() {
        Some((first, rest)) => Ok(Some(*first).filter(|first| rest.iter().all(|id| id == first))),
        None => Err(node.invalid("its leaves have no values")),
    }
}

/// Two classes, of which all leaves speak for one. As onnxruntime does, their sum is the second class's score
/// whichever that is; if they speak for the first, its score is the opposite.
fn two_from_one(
    low: &mut Lowering,
    node: &Node<'_>,
    rows: &Rows,
    classes: &Classes<'_>,
    (forest, post, only): (Forest, Post, i64),
) -> Result<Vec<Value>> {
    let positive = forest.leaves.iter().flatten().all(|(_, weight)| *weight >= 0.0);
    let score = ensemble(low, node, rows, &forest)?;
    let label = match node.gives(0) {
        true => {
            let above = above(low, node, &score, if positive { 0.5 } else { 0.0 })?;
            classes.label(low, node, rows, &above)?
        }
        false => nobody_reads(),
    };
    let (weights, biases) = match (only, post) {
        (1, _) => ([0.0, 1.0], [0.0, 0.0]),
        // Weights that are all positive are taken for probabilities.
        (_, Post::None) if positive => ([-1.0, 1.0], [1.0, 0.0]),
        (_, Post::None | Post::Logistic) => ([-1.0, 1.0], [0.0, 0.0]),
        _ => return Err(node.refuse("runtimes disagree on its post_transform of two classes with one score")),
    };
    let scores = columns(low, rows, &score, weights, biases)?;
    Ok(vec![label, post.apply(low, &scores)?])
}

/// A score times each weight, plus each bias.
pub(super) fn columns(
    low: &mut Lowering,
    rows: &Rows,
    score: &Value,
    weights: [f32; 2],
    biases: [f32; 2],
) -> Result<Value> {
    let x = low.slot_of(score)?;
    let weights = low.constant(&pack(&weights, 1, 2))?;
    let bias = low.padded_constant(&biases)?;
    let (out, value) = rows.fresh(low, Kind::Float, 2)?;
    let repeat = rows.repeat as u32;
    low.kernel(Kernel::Dense(Dense {
        x,
        out,
        repeat,
        inputs: 1,
        outputs: 2,
        weights,
        bias,
        activation: None,
    }));
    Ok(value)
}

/// Whether a score is above a threshold, as the index of one of two classes.
fn above(low: &mut Lowering, node: &Node<'_>, score: &Value, threshold: f32) -> Result<Value> {
    let threshold = Value::floats(Vec::new(), vec![threshold]);
    let above = binary(low, node, BinaryOp::Less, &threshold, score)?;
    Ok(Value { kind: Kind::Int, ..above })
}

pub(super) fn regressor(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let rows = Rows::of(low, node, inputs)?;
    let forest = forest(node, "target", targets(node)?, base(node)?)?;
    finished(low, node, &rows, &forest, Post::of(node)?)
}

/// The operator `TreeEnsemble` of ONNX-ML 5.
pub(super) fn common(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let rows = Rows::of(low, node, inputs)?;
    let post = match node.int("post_transform", 0) {
        0 => Post::None,
        1 => Post::Softmax,
        2 => Post::Logistic,
        3 => Post::SoftmaxZero,
        4 => Post::Probit,
        other => return Err(node.invalid(&alloc::format!("ONNX knows no post_transform {other}"))),
    };
    finished(low, node, &rows, &common_forest(node)?, post)
}

fn finished(low: &mut Lowering, node: &Node<'_>, rows: &Rows, forest: &Forest, post: Post) -> Result<Value> {
    let scores = ensemble(low, node, rows, forest)?;
    if forest.targets == 1 { post.apply_to_one(low, node, &scores) } else { post.apply(low, &scores) }
}

fn targets(node: &Node<'_>) -> Result<usize> {
    match usize::try_from(node.int("n_targets", 1)) {
        Ok(targets @ 1..=MAX_FLOATS) => Ok(targets),
        _ => Err(node.invalid("its number of targets makes no sense")),
    }
}

/// Puts an ensemble into the plan; gives its scores before any transform.
fn ensemble(low: &mut Lowering, node: &Node<'_>, rows: &Rows, forest: &Forest) -> Result<Value> {
    let [most_features, ..] = MAX_TREE;
    if rows.features > most_features {
        return Err(node.refuse(&alloc::format!("it has more than {most_features} features")));
    }
    if let Some(branch) = forest.branches.iter().find(|branch| branch.feature as usize >= rows.features) {
        let (feature, features) = (branch.feature, rows.features);
        return Err(node.invalid(&alloc::format!("a tree tests feature {feature}; its input has {features}")));
    }
    let (mut numbers, mut leaf_count) = (vec![None; forest.leaves.len()], 0);
    let (mut trees, mut total) = (Vec::new(), 0);
    for root in &forest.roots {
        let tree = forest.words(node, *root, &mut numbers, &mut leaf_count)?;
        total += 2 * tree.len();
        trees.push(tree);
        if total > MAX_FLOATS {
            return Err(node.refuse(&alloc::format!("its trees have more than {} nodes", MAX_FLOATS / 2)));
        }
    }
    let mut leaves: Vec<(u32, &[(u32, f32)])> =
        numbers.iter().zip(&forest.leaves).filter_map(|(n, leaf)| Some(((*n)?, leaf.as_slice()))).collect();
    leaves.sort_by_key(|(number, _)| *number);
    let leaves: Vec<&[(u32, f32)]> = leaves.into_iter().map(|(_, leaf)| leaf).collect();
    let single: Option<Vec<u32>> = trees.iter().map(|tree| forest.target_of(tree, &leaves)).collect();
    let values: Vec<f32> = if single.is_some() {
        leaves.iter().filter_map(|leaf| Some(leaf.first()?.1)).collect()
    } else if leaves.len().saturating_mul(forest.targets) <= MAX_FLOATS {
        leaves.iter().flat_map(|leaf| forest.wide(leaf)).collect()
    } else {
        return Err(node.refuse("its leaves have too many values"));
    };
    let (out, scores) = rows.fresh(low, Kind::Float, forest.targets)?;
    let mut kernel = Trees {
        x: rows.slot,
        out,
        repeat: rows.repeat as u32,
        features: rows.features as u32,
        targets: forest.targets as u32,
        aggregate: forest.aggregate,
        nodes: low.words(trees.concat().as_flattened())?,
        trees: Vec::new(),
        wide: single.is_none(),
        leaves: low.constant(&values)?,
        leaf_count,
        base: low.constant(&forest.base)?,
    };
    let targets = single.into_iter().flatten().chain(core::iter::repeat(0));
    for (tree, target) in trees.iter().zip(targets) {
        let depth = kernel.depth(tree)?;
        kernel.trees.push(Tree { nodes: tree.len() as u32, depth, target });
    }
    low.kernel(Kernel::Trees(kernel));
    Ok(scores)
}

/// The older operators' trees. `prefix` is of the attributes of leaves, whose targets or classes are numbered.
fn forest(node: &Node<'_>, prefix: &str, targets: usize, base: Vec<f32>) -> Result<Forest> {
    let list = |name: &str| node.ints(name).unwrap_or_default();
    let (trees, ids) = (list("nodes_treeids"), list("nodes_nodeids"));
    let (features, yes, no) =
        (list("nodes_featureids"), list("nodes_truenodeids"), list("nodes_falsenodeids"));
    let modes = node.texts("nodes_modes").unwrap_or_default();
    let values = numbers(node, "nodes_values")?;
    let missing = list("nodes_missing_value_tracks_true");
    let lengths = [ids.len(), features.len(), yes.len(), no.len(), modes.len(), values.len()];
    if lengths.iter().any(|len| *len != trees.len()) {
        return Err(node.invalid("its lists of nodes are not of the same length"));
    }
    let (mut places, mut roots, mut counts) = (BTreeMap::new(), BTreeMap::new(), [0, 0]);
    let mut order = Vec::new();
    for ((tree, id), mode) in trees.iter().zip(ids).zip(&modes) {
        let target = if mode == "LEAF" { Target::Leaf(counts[0]) } else { Target::Branch(counts[1]) };
        counts[usize::from(mode != "LEAF")] += 1;
        if places.insert((*tree, *id), target).is_some() {
            return Err(node.invalid(&alloc::format!("tree {tree} has node {id} twice")));
        }
        if roots.insert(*tree, ()).is_none() {
            order.push(target);
        }
    }
    let mut forest = Forest {
        branches: Vec::with_capacity(counts[1]),
        leaves: vec![Vec::new(); counts[0]],
        roots: order,
        targets,
        aggregate: match node.text("aggregate_function", "SUM").as_str() {
            "SUM" => Aggregate::Sum,
            "AVERAGE" => Aggregate::Average,
            "MIN" => Aggregate::Min,
            "MAX" => Aggregate::Max,
            other => return Err(node.invalid(&alloc::format!("ONNX knows no aggregate_function {other:?}"))),
        },
        base: match base.len() {
            0 => vec![0.0; targets],
            n if n == targets => base,
            n => return Err(node.invalid(&alloc::format!("it has {n} base values for {targets} targets"))),
        },
    };
    for (i, mode) in modes.iter().enumerate().filter(|(_, mode)| *mode != "LEAF") {
        let find = |id: i64| match places.get(&(trees[i], id)) {
            Some(target) => Ok(*target),
            None => Err(node.invalid(&alloc::format!("tree {} has no node {id}", trees[i]))),
        };
        let nan = missing.get(i) == Some(&1);
        let test = mode.strip_prefix("BRANCH_").and_then(|mode| Test::of(mode, values[i], nan));
        forest.branches.push(Branch {
            feature: feature(node, features[i])?,
            test: test.ok_or_else(|| node.invalid(&alloc::format!("ONNX knows no node mode {mode:?}")))?,
            yes: find(yes[i])?,
            no: find(no[i])?,
        });
    }
    let of_leaves = |what: &str| list(&alloc::format!("{prefix}_{what}"));
    let (trees, ids, speaks_for) = (of_leaves("treeids"), of_leaves("nodeids"), of_leaves("ids"));
    let weights = numbers(node, &alloc::format!("{prefix}_weights"))?;
    if [ids.len(), speaks_for.len(), weights.len()].iter().any(|len| *len != trees.len()) {
        return Err(node.invalid("its lists of leaves are not of the same length"));
    }
    for (((tree, id), target), weight) in trees.iter().zip(ids).zip(speaks_for).zip(weights) {
        match places.get(&(*tree, *id)) {
            Some(Target::Leaf(leaf)) => {
                forest.leaves[*leaf].push((target_index(node, *target, targets)?, weight as f32));
            }
            // Old exporters give values to other nodes too; they mean nothing.
            Some(Target::Branch(_)) => (),
            None => return Err(node.invalid(&alloc::format!("tree {tree} has no node {id}"))),
        }
    }
    Ok(forest)
}

/// The trees of the operator of ONNX-ML 5.
fn common_forest(node: &Node<'_>) -> Result<Forest> {
    let list = |name: &str| node.ints(name).unwrap_or_default();
    let (features, missing) = (list("nodes_featureids"), list("nodes_missing_value_tracks_true"));
    let (yes, no) = (list("nodes_truenodeids"), list("nodes_falsenodeids"));
    let (yes_leaf, no_leaf) = (list("nodes_trueleafs"), list("nodes_falseleafs"));
    let (splits, weights) = (tensor(node, "nodes_splits")?, tensor(node, "leaf_weights")?);
    let (modes, speaks_for) = (tensor(node, "nodes_modes")?, list("leaf_targetids"));
    let nodes = [features.len(), yes.len(), no.len(), yes_leaf.len(), no_leaf.len(), splits.len()];
    if nodes.iter().any(|len| *len != modes.len()) || weights.len() != speaks_for.len() {
        return Err(node.invalid("its lists of nodes, or of leaves, are not of the same length"));
    }
    let targets = targets(node)?;
    let members = tensor(node, "membership_values")?;
    let mut sets = members.split(|x| x.is_nan());
    let target = |id: i64, leaf: i64| match usize::try_from(id) {
        Ok(id) if leaf != 0 => Ok(Target::Leaf(id)),
        Ok(id) => Ok(Target::Branch(id)),
        Err(_) => Err(node.invalid("a node names another that is not there")),
    };
    let mut branches = Vec::with_capacity(modes.len());
    for (i, mode) in modes.iter().enumerate() {
        let nan = missing.get(i) == Some(&1);
        let names = ["LEQ", "LT", "GTE", "GT", "EQ", "NEQ"];
        let test = match names.get(*mode as usize) {
            Some(name) => Test::of(name, splits[i], nan),
            None if *mode == 6.0 => sets.next().map(|set| Test::among(set, nan)),
            None => None,
        };
        branches.push(Branch {
            feature: feature(node, features[i])?,
            test: test
                .ok_or_else(|| node.invalid("a node has a mode that ONNX does not know, or no members"))?,
            yes: target(yes[i], yes_leaf[i])?,
            no: target(no[i], no_leaf[i])?,
        });
    }
    let leaf = |(id, weight): (&i64, &f64)| Ok(vec![(target_index(node, *id, targets)?, *weight as f32)]);
    Ok(Forest {
        branches,
        leaves: speaks_for.iter().zip(&weights).map(leaf).collect::<Result<_>>()?,
        roots: list("tree_roots").iter().map(|root| target(*root, 0)).collect::<Result<_>>()?,
        targets,
        aggregate: match node.int("aggregate_function", 1) {
            0 => Aggregate::Average,
            1 => Aggregate::Sum,
            2 => Aggregate::Min,
            3 => Aggregate::Max,
            other => return Err(node.invalid(&alloc::format!("ONNX knows no aggregate_function {other}"))),
        },
        base: vec![0.0; targets],
    })
}

fn feature(node: &Node<'_>, id: i64) -> Result<u32> {
    u32::try_from(id).map_err(|_| node.invalid(&alloc::format!("a node tests feature {id}")))
}

fn target_index(node: &Node<'_>, id: i64, targets: usize) -> Result<u32> {
    match u32::try_from(id) {
        Ok(target) if (target as usize) < targets => Ok(target),
        _ => Err(node.invalid(&alloc::format!("a leaf speaks for target or class {id} of {targets}"))),
    }
}

fn base(node: &Node<'_>) -> Result<Vec<f32>> {
    Ok(numbers(node, "base_values")?.iter().map(|x| *x as f32).collect())
}

/// A list of numbers, which is an attribute in single precision or a tensor.
fn numbers(node: &Node<'_>, name: &str) -> Result<Vec<f64>> {
    match node.floats(name) {
        Some(floats) if !floats.is_empty() => Ok(floats.iter().map(|x| f64::from(*x)).collect()),
        _ => tensor(node, &alloc::format!("{name}_as_tensor")),
    }
}

/// A tensor's numbers, without rounding those in double precision; none if there is no such attribute.
fn tensor(node: &Node<'_>, name: &str) -> Result<Vec<f64>> {
    let attribute = node.proto.attribute.iter().find(|attribute| attribute.name == name);
    match attribute.and_then(|attribute| attribute.t.as_ref()) {
        Some(tensor) if tensor.data_type == DataType::Double as i32 && !tensor.double_data.is_empty() => {
            Ok(tensor.double_data.clone())
        }
        Some(tensor) if tensor.data_type == DataType::Double as i32 => {
            Ok(tensor.raw_data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
        }
        _ => {
            let constants = node.tensor(name)?.and_then(|value| value.constants());
            Ok(constants.unwrap_or_default().iter().map(|x| f64::from(*x)).collect())
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
