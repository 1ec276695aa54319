//! Which operator is lowered where.

use alloc::vec::Vec;

use super::{
    build::Lowering, convolution, elementwise, linear, ml, node::Node, recurrent, reduction, shape,
    value::Value,
};
use crate::error::Result;

/// Whether the node makes constants out of its attributes, or of shapes alone.
pub(super) fn makes_constants(node: &Node<'_>) -> bool {
    matches!(node.operator(), "Constant" | "ConstantOfShape" | "Shape" | "Identity")
}

/// Lowers one node of a supported operator.
pub(super) fn lower(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Vec<Value>> {
    if node.domain() == "ai.onnx.ml" {
        return ml::lower(low, node, inputs);
    }
    if !node.domain().is_empty() {
        return Err(node.refuse("its domain is not supported"));
    }
    for family in [
        elementwise::lower,
        linear::lower,
        shape::lower,
        reduction::lower,
        convolution::lower,
        recurrent::lower,
    ] {
        if let Some(values) = family(low, node, inputs)? {
            return Ok(values);
        }
    }
    Err(node.refuse("the operator is not supported"))
}
