//! Puts constants that are added or multiplied after a matrix product or a convolution into its weights: biases that
//! exporters write as a node of their own, and batch normalisation.

use super::fuse::uses;
use crate::engine::{Binary, BinaryOp, Kernel, Operand, PANEL, Plan};

/// Joins every such operation to the product that alone feeds it.
pub(super) fn constants(plan: &mut Plan) {
    let uses = uses(&mut plan.program);
    let kernels = &mut plan.program.kernels;
    let mut at = 1;
    while at < kernels.len() {
        let (before, rest) = kernels.split_at_mut(at);
        let joined = match (before.last_mut(), rest.first()) {
            (Some(producer), Some(Kernel::Binary(binary))) => {
                let out = Product::of(producer).map_or(u32::MAX, |product| *product.out);
                uses.get(out as usize) == Some(&1) && join(producer, binary, &mut plan.floats)
            }
            _ => false,
        };
        if joined {
            kernels.remove(at);
        } else {
            at += 1;
        }
    }
}

/// What a product and a convolution have in common.
struct Product<'k> {
    out: &'k mut u32,
    /// Lengths around the axis of columns or channels.
    axis: [usize; 3],
    weights: usize,
    bias: usize,
    /// How many values a column's weights are, and how far apart its first is from the column before's.
    inputs: usize,
    panels: bool,
}

impl<'k> Product<'k> {
    fn of(kernel: &'k mut Kernel) -> Option<Self> {
        Some(match kernel {
            Kernel::Dense(dense) if dense.activation.is_none() => Self {
                out: &mut dense.out,
                axis: [dense.repeat as usize, dense.outputs as usize, 1],
                weights: dense.weights as usize,
                bias: dense.bias as usize,
                inputs: dense.inputs as usize,
                panels: true,
            },
            Kernel::Conv(conv) if conv.activation.is_none() => {
                let lengths = |pair: [u32; 2]| pair.iter().map(|n| *n as usize).product::<usize>();
                Self {
                    axis: [conv.images as usize, conv.channels_out as usize, lengths(conv.window.output)],
                    out: &mut conv.out,
                    weights: conv.weights as usize,
                    bias: conv.bias as usize,
                    inputs: (conv.channels_in / conv.groups.max(1)) as usize * lengths(conv.window.kernel),
                    panels: false,
                }
            }
            _ => return None,
        })
    }

    /// Where a column's weights are.
    fn weights(&self, column: usize) -> impl Iterator<Item = usize> + use<> {
        let (first, step) = match self.panels {
            true => (column / PANEL * PANEL * self.inputs + column % PANEL, PANEL),
            false => (column * self.inputs, 1),
        };
        let start = self.weights + first;
        (0..self.inputs).map(move |i| start + i * step)
    }
}

fn join(producer: &mut Kernel, binary: &Binary, floats: &mut [f32]) -> bool {
    let Some(product) = Product::of(producer) else { return false };
    let out = Operand::Slot(*product.out);
    let (constant, strides, own) = match (binary.a, binary.b) {
        (a, Operand::Const(at)) if a == out => (at as usize, &binary.b_strides, &binary.a_strides),
        (Operand::Const(at), b) if b == out => (at as usize, &binary.a_strides, &binary.b_strides),
        _ => return false,
    };
    let Some(step) = step(&product.axis, &binary.shape, own, strides) else { return false };
    for column in 0..product.axis[1] {
        let value = floats.get(constant + column * step).copied().unwrap_or_default();
        let bias = product.bias + column;
        match binary.op {
            BinaryOp::Add => at(floats, bias, |x| x + value),
            BinaryOp::Mul => {
                at(floats, bias, |x| x * value);
                product.weights(column).for_each(|weight| at(floats, weight, |x| x * value));
            }
            _ => return false,
        }
    }
    *product.out = binary.out;
    true
}

fn at(floats: &mut [f32], at: usize, f: impl Fn(f32) -> f32) {
    if let Some(x) = floats.get_mut(at) {
        *x = f(*x);
    }
}

/// How far apart the constants of neighbouring columns are, where they depend on the column alone and the product is
/// not repeated.
fn step(axis: &[usize; 3], shape: &[u32], own: &[u32], strides: &[u32]) -> Option<usize> {
    let [outer, len, inner] = *axis;
    let mut after = 1;
    let mut step = 0;
    for ((n, own), stride) in shape.iter().zip(own).zip(strides).rev() {
        let n = *n as usize;
        if n != 1 && *own as usize != after {
            return None;
        }
        match (*stride, n) {
            (_, 1) | (0, _) => {}
            (stride, n) if after == inner && n == len => step = stride as usize,
            _ => return None,
        }
        after *= n;
    }
    (after == outer * len * inner).then_some(step)
}
