//! The compact engine: runs a [`Plan`], a model lowered ahead of time to a flat list of kernels.
//!
//! Between kernels everything is 32-bit floats in row-major order; a kernel may be more exact inside. Each sum has one fixed order, nothing is fused, and exponentials
//! are our own polynomials, so a row's scores have the same bits on every target, alone or in a batch of any size.
//! Integers and truth values of a model are held as floats, exact to ±2²⁴.
//!
//! It deliberately lacks an allocator at run time (a [`Workspace`] is planned ahead), shapes that depend on data,
//! control flow, double precision and text.

// Writing plans is lowering's business, and a small build leaves kernels out.
#![cfg_attr(not(feature = "onnx"), allow(dead_code, unused_imports))]

mod approx;
mod floats;
mod kernels;
mod model;
mod plan;
mod run;
mod wide;

#[cfg(feature = "onnx")]
mod onnx;

pub(crate) use self::model::Engine;
#[cfg(feature = "onnx")]
pub use self::onnx::OnnxModel;
#[cfg(feature = "onnx")]
pub(crate) use self::{
    kernels::*,
    plan::{MAX_FLOATS, Operand, Program, Segment, VERSION},
    run::from_half,
};
pub use self::{
    model::EngineKind,
    plan::{Plan, Port, Storage},
    run::Workspace,
};
