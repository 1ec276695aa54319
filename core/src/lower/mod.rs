//! Lowering: an ONNX model becomes a [`Plan`], once, natively, ahead of time.
//!
//! The graph is read directly, node by node: each operator takes [`Value`]s and gives values, and puts kernels into the
//! plan on the way. A value's batch axis is not part of its shape: a kernel sees one row, and the engine runs rows.
//! So a model may move its batch axis about, as recurrent layers do, but may not mix rows.
//! What depends on constants only is computed here, by the same kernels.
//!
//! An operator, type or shape that a plan cannot hold is refused by name, node and operator set. It deliberately lacks
//! double precision, text, shapes that depend on data, and control flow.

// It runs natively, ahead of time, on shapes and places that it has made itself. What comes out of range of that is a
// defect: `tests.rs` and the fuzz tests look for it.
#![allow(clippy::indexing_slicing)]

mod build;
mod classes;
mod convolution;
mod elementwise;
mod fold;
mod forest;
mod fuse;
mod graph;
mod ints;
mod linear;
mod ml;
mod movement;
mod node;
mod operators;
mod recurrent;
mod reduction;
mod shape;
mod slots;
mod store;
mod svm;
#[cfg(test)]
mod tests;
mod trees;
mod value;

use alloc::{collections::BTreeMap, vec::Vec};

use tract_onnx::pb::ModelProto;

use self::{
    build::Lowering,
    graph::Graph,
    node::Node,
    value::{Data, Value},
};
use crate::{
    engine::{Plan, Storage},
    error::{Result, bail},
};

/// The most constant numbers that nodes may compute from constants, and read for that, all together.
const MAX_FOLDED: usize = 1 << 28;

/// What to keep of a model, and how.
#[derive(Clone, Debug, Default)]
pub struct LowerOptions<'o> {
    /// The outputs wanted, in this order; empty for all. What only the others need is left out.
    pub outputs: &'o [&'o str],
    /// How the weights of dense, convolutional and recurrent layers are stored.
    pub storage: Storage,
}

/// Lowers an ONNX file to a plan.
///
/// Each input may have one axis of free length, usually the first: the batch.
///
/// # Errors
/// `invalid_model` when the bytes are not ONNX or the graph contradicts itself; `unsupported_model` naming the operator,
/// the node and the operator set, when a plan cannot hold it.
pub fn lower(onnx: &[u8], options: &LowerOptions<'_>) -> Result<Plan> {
    lower_model(&graph::decode(onnx)?, options)
}

fn lower_model(proto: &ModelProto, options: &LowerOptions<'_>) -> Result<Plan> {
    let graph = Graph::new(proto, options.outputs)?;
    let mut lowering = Lowering::default();
    let mut values = BTreeMap::new();
    let mut folded = 0_usize;
    for (name, value) in graph.constants()? {
        values.insert(name, value);
    }
    for (name, value) in graph.inputs()? {
        values.insert(name, lowering.input(name, value)?);
    }
    for node in graph.nodes() {
        let inputs = node.inputs(&values)?;
        let outputs = apply(&mut lowering, node, &inputs)?;
        folded = folded.saturating_add(constants(&inputs, &outputs));
        if folded > MAX_FOLDED {
            return Err(node.refuse("the model computes too much from constants; simplify it when exporting"));
        }
        for (name, value) in node.outputs().iter().zip(outputs) {
            if !name.is_empty() {
                values.insert(name, value);
            }
        }
    }
    for name in graph.outputs() {
        let Some(value) = values.get(name) else {
            bail!(InvalidModel, "nothing in the graph produces {name:?}");
        };
        lowering.output(name, value)?;
    }
    let (mut plan, weights) = lowering.finish();
    fold::constants(&mut plan);
    fuse::activations(&mut plan.program);
    slots::share(&mut plan.program);
    store::store(&mut plan, &weights, options.storage);
    plan.check()?;
    Ok(plan)
}

/// How many constant numbers a node reads and gives; 0 where it gives none.
fn constants(inputs: &[Option<Value>], outputs: &[Value]) -> usize {
    let of = |value: &Value| if matches!(value.data, Data::Slot(_)) { 0 } else { value.len() };
    match outputs.iter().map(of).fold(0, usize::saturating_add) {
        0 => 0,
        given => inputs.iter().flatten().map(of).fold(given, usize::saturating_add),
    }
}

/// Lowers one node. What depends on constants only is run at once and becomes a constant.
fn apply(lowering: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Vec<Value>> {
    if let Some(outputs) = ints::evaluate(node, inputs)? {
        return Ok(outputs);
    }
    let constant = inputs.iter().flatten().all(|value| !matches!(value.data, Data::Slot(_)));
    if !constant || operators::makes_constants(node) {
        return operators::lower(lowering, node, inputs);
    }
    let mut aside = Lowering::default();
    let outputs = operators::lower(&mut aside, node, inputs)?;
    aside.run(outputs)
}
