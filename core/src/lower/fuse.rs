//! Puts an activation into the kernel before it, so that it runs while the values are in the cache.

use alloc::vec::Vec;

use super::slots::{Access, visit};
use crate::engine::{Function, Kernel, Program};

/// Joins every activation to the matrix product or convolution that alone feeds it.
pub(super) fn activations(program: &mut Program) {
    // Joining removes one writer and one reader of the value between them, and changes no other count.
    let uses = uses(program);
    let mut kernels: Vec<Kernel> = Vec::with_capacity(program.kernels.len());
    for kernel in core::mem::take(&mut program.kernels) {
        let joined = match (kernels.last_mut(), &kernel) {
            (Some(producer), Kernel::Unary(unary)) if uses.get(unary.x as usize) == Some(&1) => {
                join(producer, unary.x, unary.out, unary.function)
            }
            _ => false,
        };
        if !joined {
            kernels.push(kernel);
        }
    }
    program.kernels = kernels;
}

fn join(producer: &mut Kernel, x: u32, out: u32, function: Function) -> bool {
    let (place, activation) = match producer {
        Kernel::Dense(dense) => (&mut dense.out, &mut dense.activation),
        Kernel::Conv(conv) => (&mut conv.out, &mut conv.activation),
        _ => return false,
    };
    if *place != x || activation.is_some() {
        return false;
    }
    *place = out;
    *activation = Some(function);
    true
}

/// How often each buffer is read, by kernels or as an output.
pub(super) fn uses(program: &mut Program) -> Vec<u32> {
    let mut uses = alloc::vec![0; program.slots.len()];
    let mut count = |slot: u32| {
        if let Some(n) = uses.get_mut(slot as usize) {
            *n += 1;
        }
    };
    program.outputs.iter().for_each(|port| count(port.slot));
    for kernel in &mut program.kernels {
        visit(kernel, &mut |slot, access| {
            if access == Access::Read {
                count(*slot);
            }
        });
    }
    uses
}
