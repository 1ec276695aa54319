//! What the classical models share: rows of features, transforms of scores, labels of classes.
//!
//! Where ONNX's reference implementation and onnxruntime disagree, which they do in corners, the node is refused, or
//! onnxruntime is followed where that is said.

use alloc::{string::String, vec::Vec};

use super::{
    build::{EXACT, Lowering},
    elementwise::{cast_to, unary},
    node::Node,
    value::{Kind, Value},
};
use crate::{
    engine::{Function, Gather, Kernel, Operand, Reduce, ReduceKind, Softmax},
    error::Result,
};

/// An input as rows of features.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) slot: u32,
    /// Rows within each row of the plan: 1 unless the model fixes the size of its batch.
    pub(super) repeat: usize,
    pub(super) features: usize,
    batch: Option<usize>,
}

impl Rows {
    /// The first input, as floats. A vector is one row.
    pub(super) fn of(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Self> {
        let x = node.need(inputs, 0)?;
        let (repeat, features) = match (x.batch, &*x.shape) {
            (Some(0), &[features]) | (None, &[features]) => (1, features),
            (None, &[rows, features]) => (rows, features),
            _ => return Err(node.refuse("its input is not a matrix with one row for each row of the batch")),
        };
        let x = cast_to(low, x, Kind::Float)?;
        Ok(Self { slot: low.slot_of(&x)?, repeat, features, batch: x.batch })
    }

    /// A new value of `width` numbers for each row.
    pub(super) fn fresh(&self, low: &mut Lowering, kind: Kind, width: usize) -> Result<(u32, Value)> {
        let (slot, value) = low.fresh(kind, alloc::vec![self.repeat, width], None)?;
        Ok((slot, self.shaped(&value, alloc::vec![width])))
    }

    /// One number for each row, without an axis for it.
    fn flat(&self, value: &Value) -> Value {
        self.shaped(value, Vec::new())
    }

    fn shaped(&self, value: &Value, mut shape: Vec<usize>) -> Value {
        if self.batch.is_none() {
            shape.insert(0, self.repeat);
        }
        value.reshaped(shape, self.batch)
    }
}

/// What becomes of the scores at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Post {
    None,
    Logistic,
    Softmax,
    /// A softmax in which scores of 0 take no part.
    SoftmaxZero,
    Probit,
}

impl Post {
    /// The node's `post_transform`.
    pub(super) fn of(node: &Node<'_>) -> Result<Self> {
        match node.text("post_transform", "NONE").as_str() {
            "NONE" => Ok(Self::None),
            "LOGISTIC" => Ok(Self::Logistic),
            "SOFTMAX" => Ok(Self::Softmax),
            "SOFTMAX_ZERO" => Ok(Self::SoftmaxZero),
            "PROBIT" => Ok(Self::Probit),
            other => Err(node.invalid(&alloc::format!("ONNX knows no post_transform {other:?}"))),
        }
    }

    /// Transforms scores along their last axis.
    pub(super) fn apply(self, low: &mut Lowering, scores: &Value) -> Result<Value> {
        match self {
            Self::None => Ok(scores.clone()),
            Self::Logistic => unary(low, Function::Sigmoid, scores),
            Self::Probit => unary(low, Function::Probit, scores),
            Self::Softmax | Self::SoftmaxZero => {
                let x = low.slot_of(scores)?;
                let (out, value) = low.fresh(Kind::Float, scores.shape.clone(), scores.batch)?;
                let width = scores.shape.last().copied().unwrap_or(1);
                low.kernel(Kernel::Softmax(Softmax {
                    x,
                    out,
                    outer: (scores.len() / width.max(1)) as u32,
                    len: width as u32,
                    inner: 1,
                    log: false,
                    skip_zeros: self == Self::SoftmaxZero,
                }));
                Ok(value)
            }
        }
    }

    /// Transforms the scores of a single target, where onnxruntime knows the probit alone.
    pub(super) fn apply_to_one(self, low: &mut Lowering, node: &Node<'_>, score: &Value) -> Result<Value> {
        match self {
            Self::None | Self::Probit => self.apply(low, score),
            _ => Err(node.refuse("runtimes disagree on its post_transform of a single score")),
        }
    }
}

/// The names of a classifier's classes.
#[derive(Debug)]
pub(super) enum Classes<'g> {
    Numbers(&'g [i64]),
    Texts(Vec<String>),
}

impl<'g> Classes<'g> {
    /// The node's labels; `numbers` is the attribute for those that are numbers.
    pub(super) fn of(node: &Node<'g>, numbers: &str) -> Result<Self> {
        match (node.texts("classlabels_strings"), node.ints(numbers)) {
            (Some(texts), _) if !texts.is_empty() => Ok(Self::Texts(texts)),
            (_, Some(numbers)) if !numbers.is_empty() => Ok(Self::Numbers(numbers)),
            _ => Err(node.invalid("it has no class labels")),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// The label of the class with the best score; of several, the first.
    pub(super) fn best(
        &self,
        low: &mut Lowering,
        node: &Node<'_>,
        rows: &Rows,
        scores: &Value,
    ) -> Result<Value> {
        if !node.gives(0) {
            return Ok(nobody_reads());
        }
        let x = low.slot_of(scores)?;
        let (out, index) = rows.fresh(low, Kind::Int, 1)?;
        let [outer, len] = [rows.repeat, self.len()].map(|n| n as u32);
        low.kernel(Kernel::Reduce(Reduce {
            kind: ReduceKind::ArgMax { last: false },
            x,
            out,
            outer,
            len,
            inner: 1,
        }));
        self.label(low, node, rows, &index)
    }

    /// The labels of classes that are known by index.
    pub(super) fn label(
        &self,
        low: &mut Lowering,
        node: &Node<'_>,
        rows: &Rows,
        index: &Value,
    ) -> Result<Value> {
        if !node.gives(0) {
            return Ok(nobody_reads());
        }
        match self {
            Self::Texts(_) => {
                let scores = node.outputs().get(1).map_or("", String::as_str);
                Err(node.refuse(&alloc::format!(
                    "its labels are text, which a plan cannot hold; its scores, output {scores:?}, can be lowered alone"
                )))
            }
            Self::Numbers(labels) if labels.iter().enumerate().all(|(i, label)| i as i64 == *label) => {
                Ok(Value { kind: Kind::Int, ..rows.flat(index) })
            }
            Self::Numbers(labels) if labels.iter().any(|label| !(-EXACT..=EXACT).contains(label)) => {
                Err(node.refuse("its labels are beyond ±2²⁴, which a plan cannot hold"))
            }
            Self::Numbers(labels) => {
                let table = Value::ints(alloc::vec![labels.len()], labels.to_vec());
                let found = lookup(low, &table, index)?;
                Ok(rows.flat(&found))
            }
        }
    }
}

/// Stands for an output that nothing needs.
pub(super) fn nobody_reads() -> Value {
    Value::ints(Vec::new(), alloc::vec![0])
}

/// The entries of a constant table, by their index.
pub(super) fn lookup(low: &mut Lowering, table: &Value, index: &Value) -> Result<Value> {
    let data = low.operand(table)?;
    let indices = Operand::Slot(low.slot_of(index)?);
    let (out, value) = low.fresh(table.kind, index.shape.clone(), index.batch)?;
    let (axis, count) = (table.len() as u32, index.len() as u32);
    low.kernel(Kernel::Gather(Gather { data, indices, out, outer: 1, axis, inner: 1, count }));
    Ok(value)
}
