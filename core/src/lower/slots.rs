//! Lets values whose lives do not overlap share a buffer.

use alloc::vec::Vec;

use crate::engine::{Kernel, Operand, Program};

/// What a kernel does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// The kernels between which a buffer's content matters.
#[derive(Clone, Copy, Debug)]
struct Life {
    from: usize,
    to: usize,
}

/// Gives every value a buffer, reusing those that are free. Inputs keep theirs: a caller may change one number and run again.
pub(super) fn share(program: &mut Program) {
    in_place(program);
    let lives = lives(program);
    let mut places: Vec<Option<u32>> = alloc::vec![None; program.slots.len()];
    let (mut lengths, mut busy_until): (Vec<u32>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut order: Vec<usize> = (0..lives.len()).filter(|slot| lives[*slot].is_some()).collect();
    order.sort_by_key(|slot| lives[*slot].map(|life| life.from));
    for slot in order {
        let (Some(life), length) = (lives[slot], program.slots[slot]) else { continue };
        // The free buffer whose length fits best; a longer one before a shorter one, which would have to grow.
        let free = (0..lengths.len()).filter(|place| busy_until[*place] < life.from);
        let fit = |place: &usize| (lengths[*place] < length, lengths[*place].abs_diff(length));
        let place = free.min_by_key(fit).unwrap_or_else(|| {
            lengths.push(0);
            busy_until.push(0);
            lengths.len() - 1
        });
        lengths[place] = lengths[place].max(length);
        busy_until[place] = life.to;
        places[slot] = Some(place as u32);
    }
    let place = |slot: u32| places.get(slot as usize).copied().flatten().unwrap_or(slot);
    for kernel in &mut program.kernels {
        visit(kernel, &mut |slot, _| *slot = place(*slot));
    }
    program.inputs.iter_mut().chain(&mut program.outputs).for_each(|port| port.slot = place(port.slot));
    program.slots = lengths;
}

/// Where an elementwise kernel is the last to read its input, lets it write there.
fn in_place(program: &mut Program) {
    let mut lives = lives(program);
    let mut merged: Vec<u32> = (0..program.slots.len() as u32).collect();
    for (at, kernel) in program.kernels.iter().enumerate() {
        let (x, out) = match kernel {
            Kernel::Unary(unary) => (merged[unary.x as usize], unary.out),
            Kernel::Softmax(softmax) => (merged[softmax.x as usize], softmax.out),
            _ => continue,
        };
        let dies = lives[x as usize].is_some_and(|life| life.to == at);
        let input = program.inputs.iter().any(|port| port.slot == x);
        if dies && x != out && !input && program.slots[x as usize] == program.slots[out as usize] {
            merged[out as usize] = x;
            let to = lives[out as usize].map_or(at, |life| life.to);
            lives[x as usize].iter_mut().for_each(|life| life.to = to);
        }
    }
    for kernel in &mut program.kernels {
        visit(kernel, &mut |slot, _| *slot = merged[*slot as usize]);
    }
    program.outputs.iter_mut().for_each(|port| port.slot = merged[port.slot as usize]);
}

fn lives(program: &mut Program) -> Vec<Option<Life>> {
    let end = program.kernels.len() + 1;
    let mut lives: Vec<Option<Life>> = alloc::vec![None; program.slots.len()];
    let mut touch = |slot: u32, at: usize| {
        if let Some(life) = lives.get_mut(slot as usize) {
            let known = life.unwrap_or(Life { from: at, to: at });
            *life = Some(Life { from: known.from.min(at), to: known.to.max(at) });
        }
    };
    for port in &program.inputs {
        touch(port.slot, 0);
        touch(port.slot, end);
    }
    for (at, kernel) in program.kernels.iter_mut().enumerate() {
        visit(kernel, &mut |slot, _| touch(*slot, at));
    }
    program.outputs.iter().for_each(|port| touch(port.slot, end));
    lives
}

/// Shows every buffer that a kernel reads or writes; scratch space counts as written.
pub(super) fn visit(kernel: &mut Kernel, see: &mut dyn FnMut(&mut u32, Access)) {
    use Access::{Read, Write};
    fn operand(operand: &mut Operand, see: &mut dyn FnMut(&mut u32, Access)) {
        if let Operand::Slot(slot) = operand {
            see(slot, Read);
        }
    }
    match kernel {
        Kernel::Dense(k) => {
            see(&mut k.x, Read);
            see(&mut k.out, Write);
        }
        Kernel::MatMul(k) => {
            operand(&mut k.a, see);
            operand(&mut k.b, see);
            see(&mut k.out, Write);
        }
        Kernel::Unary(k) => {
            see(&mut k.x, Read);
            see(&mut k.out, Write);
        }
        Kernel::Binary(k) => {
            operand(&mut k.a, see);
            operand(&mut k.b, see);
            see(&mut k.out, Write);
        }
        Kernel::Select(k) => {
            [&mut k.condition, &mut k.a, &mut k.b].into_iter().for_each(|o| operand(o, see));
            see(&mut k.out, Write);
        }
        Kernel::Copy(k) => {
            operand(&mut k.x, see);
            see(&mut k.out, Write);
        }
        Kernel::Gather(k) => {
            operand(&mut k.data, see);
            operand(&mut k.indices, see);
            see(&mut k.out, Write);
        }
        Kernel::Conv(k) => {
            see(&mut k.x, Read);
            see(&mut k.scratch, Write);
            see(&mut k.out, Write);
        }
        Kernel::Pool(k) => {
            see(&mut k.x, Read);
            see(&mut k.out, Write);
        }
        Kernel::Recurrent(k) => {
            see(&mut k.x, Read);
            [&mut k.first, &mut k.first_cell].into_iter().flatten().for_each(|o| operand(o, see));
            see(&mut k.scratch, Write);
            [&mut k.out, &mut k.last, &mut k.last_cell]
                .into_iter()
                .flatten()
                .for_each(|slot| see(slot, Write));
        }
        Kernel::Reduce(k) => {
            see(&mut k.x, Read);
            see(&mut k.out, Write);
        }
        Kernel::Softmax(k) => {
            see(&mut k.x, Read);
            see(&mut k.out, Write);
        }
        Kernel::LayerNorm(k) => {
            see(&mut k.x, Read);
            see(&mut k.out, Write);
        }
        Kernel::TopK(k) => {
            see(&mut k.x, Read);
            see(&mut k.values, Write);
            see(&mut k.indices, Write);
        }
        Kernel::Linear(k) => {
            see(&mut k.x, Read);
            see(&mut k.out, Write);
        }
        Kernel::Trees(k) => {
            see(&mut k.x, Read);
            see(&mut k.out, Write);
        }
        Kernel::Svm(k) => {
            see(&mut k.x, Read);
            see(&mut k.out, Write);
            k.label.iter_mut().for_each(|slot| see(slot, Write));
        }
    }
}
