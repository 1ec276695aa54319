//! Support vector machines.

use alloc::{vec, vec::Vec};

use super::{
    build::Lowering,
    classes::{Classes, Post, Rows, nobody_reads},
    ml::linear,
    node::Node,
    trees::columns,
    value::{Kind, Value},
};
use crate::{
    engine::{Kernel, Likeness, MAX_CLASSES, MAX_FLOATS, Svm, pack},
    error::Result,
};

pub(super) fn classifier(
    low: &mut Lowering,
    node: &Node<'_>,
    inputs: &[Option<Value>],
) -> Result<Vec<Value>> {
    let rows = Rows::of(low, node, inputs)?;
    let classes = Classes::of(node, "classlabels_ints")?;
    let post = Post::of(node)?;
    let per_class = node.ints("vectors_per_class").unwrap_or_default();
    let pairs = classes.len() * (classes.len() - 1) / 2;
    if !(2..=MAX_CLASSES).contains(&classes.len()) {
        return Err(node.refuse(&alloc::format!("a plan holds machines of 2 to {MAX_CLASSES} classes")));
    }
    if per_class.iter().all(|n| *n == 0) {
        return linear_classifier(low, node, &rows, &classes, post);
    }
    if per_class.len() != classes.len() {
        return Err(node.invalid("its vectors_per_class is not one number for each class"));
    }
    let per_class: Option<Vec<u32>> = per_class.iter().map(|n| u32::try_from(*n).ok()).collect();
    let Some(per_class) = per_class else { return Err(node.invalid("it has less than no support vectors")) };
    let (a, b) = (floats(node, "prob_a"), floats(node, "prob_b"));
    if a.len() != b.len() || !(a.is_empty() || a.len() == pairs) {
        return Err(node.invalid("its prob_a and prob_b are not one number for each pair of classes"));
    }
    let sigmoids = match a.is_empty() {
        true => None,
        false => Some(low.constant(&[a, b].concat())?),
    };
    let (label, index) = match node.gives(0) {
        true => Some(rows.fresh(low, Kind::Int, 1)?).unzip(),
        false => (None, None),
    };
    let machine = Machine { per_class, sigmoids, label, one_class: false };
    let scores = machine.lower(low, node, &rows)?;
    let label = match index {
        Some(index) => classes.label(low, node, &rows, &index)?,
        None => nobody_reads(),
    };
    let scores = match (sigmoids, post) {
        (None, Post::None | Post::Logistic) if pairs == 1 => {
            let both = columns(low, &rows, &scores, [-1.0, 1.0], [0.0, 0.0])?;
            post.apply(low, &both)?
        }
        (None, _) if pairs == 1 => {
            return Err(node.refuse("runtimes disagree on its post_transform of two classes"));
        }
        _ => post.apply(low, &scores)?,
    };
    Ok(vec![label, scores])
}

/// Without support vectors: a row of coefficients for each class.
fn linear_classifier(
    low: &mut Lowering,
    node: &Node<'_>,
    rows: &Rows,
    classes: &Classes<'_>,
    post: Post,
) -> Result<Vec<Value>> {
    let Some(rho) = floats(node, "rho").first() else { return Err(node.invalid("it has no rho")) };
    let biases = vec![*rho; classes.len()];
    let scores = linear(low, node, rows, floats(node, "coefficients"), &biases)?;
    if node.gives(0) && classes.len() == 2 {
        return Err(node.refuse("runtimes disagree on the label of two classes without support vectors"));
    }
    let label = classes.best(low, node, rows, &scores)?;
    Ok(vec![label, post.apply(low, &scores)?])
}

pub(super) fn regressor(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let rows = Rows::of(low, node, inputs)?;
    if Post::of(node)? != Post::None {
        return Err(node.refuse("runtimes disagree on its post_transform"));
    }
    let Ok(count) = u32::try_from(node.int("n_supports", 0)) else {
        return Err(node.invalid("it has less than no support vectors"));
    };
    // Without support vectors, the coefficients are one, with a coefficient of 1.
    let per_class = vec![count.max(1)];
    let one_class = node.int("one_class", 0) != 0;
    Machine { per_class, sigmoids: None, label: None, one_class }.lower(low, node, &rows)
}

struct Machine {
    per_class: Vec<u32>,
    sigmoids: Option<u32>,
    label: Option<u32>,
    one_class: bool,
}

impl Machine {
    fn lower(self, low: &mut Lowering, node: &Node<'_>, rows: &Rows) -> Result<Value> {
        let alone = self.per_class.len() == 1 && node.int("n_supports", 0) == 0;
        let (vectors, coefficients) = match alone {
            true => (floats(node, "coefficients"), &[1.0][..]),
            false => (floats(node, "support_vectors"), floats(node, "coefficients")),
        };
        let count = self.per_class.iter().fold(0_usize, |sum, n| sum.saturating_add(*n as usize));
        let others = (self.per_class.len() - 1).max(1);
        let pairs = (self.per_class.len() * others / 2).max(1);
        let rho = floats(node, "rho");
        let expected = [count.saturating_mul(rows.features), count.saturating_mul(others), pairs];
        if [vectors.len(), coefficients.len(), rho.len()] != expected || count > MAX_FLOATS {
            return Err(node.invalid(&alloc::format!(
                "{count} support vectors of {} features need {expected:?} numbers (vectors, coefficients, rho)",
                rows.features
            )));
        }
        let column = |i: usize| vectors.iter().skip(i).step_by(rows.features).copied();
        let transposed: Vec<f32> = (0..rows.features).flat_map(column).collect();
        let mut kernel = Svm {
            x: rows.slot,
            out: 0,
            label: self.label,
            repeat: rows.repeat as u32,
            features: rows.features as u32,
            likeness: if alone { Likeness::Linear } else { likeness(node)? },
            per_class: self.per_class,
            vectors: low.constant(&pack(&transposed, rows.features, count))?,
            coefficients: low.constant(coefficients)?,
            rho: low.constant(rho)?,
            sigmoids: self.sigmoids,
            one_class: self.one_class,
        };
        let (out, scores) = rows.fresh(low, Kind::Float, kernel.width())?;
        kernel.out = out;
        low.kernel(Kernel::Svm(kernel));
        Ok(scores)
    }
}

fn likeness(node: &Node<'_>) -> Result<Likeness> {
    let (gamma, coef0, degree) = match floats(node, "kernel_params") {
        [gamma, coef0, degree, ..] => (*gamma, *coef0, *degree),
        [] => (0.0, 0.0, 0.0),
        _ => return Err(node.invalid("its kernel_params are not gamma, coef0 and degree")),
    };
    match node.text("kernel_type", "LINEAR").as_str() {
        "LINEAR" => Ok(Likeness::Linear),
        "POLY" => Ok(Likeness::Poly { gamma, coef0, degree }),
        "RBF" => Ok(Likeness::Rbf { gamma }),
        "SIGMOID" => Ok(Likeness::Sigmoid { gamma, coef0 }),
        other => Err(node.invalid(&alloc::format!("ONNX knows no kernel_type {other:?}"))),
    }
}

fn floats<'g>(node: &Node<'g>, name: &str) -> &'g [f32] {
    node.floats(name).unwrap_or_default()
}
