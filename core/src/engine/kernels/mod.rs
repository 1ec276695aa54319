//! The kernels: what a plan is made of. Each checks itself once, when the plan is read, and then runs without failing.
//!
//! Shapes are of one row; a buffer holds its rows one after the other.

mod convolution;
mod dense;
mod elementwise;
mod function;
mod linear;
mod movement;
mod pool;
mod product;
mod recurrent;
mod reduction;
mod strides;
mod svm;
mod top;
mod trees;
#[cfg(test)]
mod trial;
mod window;

#[cfg(feature = "onnx")]
pub(crate) use self::trees::{MAX_TREE, branch, leaf, leaf_number};
pub(crate) use self::{
    convolution::Conv,
    dense::{Dense, MatMul},
    elementwise::{Binary, BinaryOp, Select, Unary},
    function::Function,
    linear::Linear,
    movement::{Copy, Gather},
    pool::{Pool, PoolKind},
    product::{PANEL, pack},
    recurrent::{Cell, Recurrent, pack_bias, pack_gates},
    reduction::{LayerNorm, Reduce, ReduceKind, Softmax},
    svm::{Likeness, MAX_CLASSES, Svm},
    top::TopK,
    trees::{Aggregate, Tree, Trees},
    window::Window,
};
use super::{plan::Check, run::Run};
use crate::error::Result;

macro_rules! kernels {
    ($($(#[$set:meta])* $kernel:ident)*) => {
        /// One step of a plan. A step's number in the bytes is its place here.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Kernel {
            $($(#[$set])* $kernel($kernel),)*
        }

        crate::wire::variants!(Kernel { $($(#[$set])* $kernel(kernel)),* });

        impl Kernel {
            /// Makes sure of every length and offset; returns about how many operations a row takes.
            pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
                match self {
                    $($(#[$set])* Self::$kernel(kernel) => kernel.check(check),)*
                }
            }

            /// Floats for a row that it needs beside the plan's buffers.
            pub(crate) fn scratch(&self) -> usize {
                match self {
                    Self::Trees(trees) => trees.scratch(),
                    _ => 0,
                }
            }

            /// Runs on all rows of the block.
            pub(crate) fn run(&self, run: &mut Run<'_>) {
                match self {
                    $($(#[$set])* Self::$kernel(kernel) => kernel.run(run),)*
                }
            }
        }
    };
}

// What tiers are predicted with comes first and is always there; builds that must be small leave the others out.
kernels! {
    Dense
    Unary
    Softmax
    Trees
    #[cfg(any(test, feature = "all-kernels"))] Binary
    #[cfg(any(test, feature = "all-kernels"))] Select
    #[cfg(any(test, feature = "all-kernels"))] Copy
    #[cfg(any(test, feature = "all-kernels"))] Conv
    #[cfg(any(test, feature = "all-kernels"))] Pool
    #[cfg(any(test, feature = "all-kernels"))] Recurrent
    #[cfg(any(test, feature = "all-kernels"))] Gather
    #[cfg(any(test, feature = "all-kernels"))] Reduce
    #[cfg(any(test, feature = "all-kernels"))] LayerNorm
    #[cfg(any(test, feature = "all-kernels"))] MatMul
    #[cfg(any(test, feature = "all-kernels"))] TopK
    #[cfg(any(test, feature = "all-kernels"))] Svm
    #[cfg(any(test, feature = "all-kernels"))] Linear
}
