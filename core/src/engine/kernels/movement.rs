//! Moving values without changing them: transpose, slice, expand, concatenate, pick.

use alloc::vec::Vec;

use super::strides::{Line, Lines, bounds, extent, volume};
use crate::{
    engine::{
        plan::{Check, Operand},
        run::Run,
    },
    error::{Result, bail},
};

/// Copies a box of values between two layouts. A transpose, a slice (also backwards), an expansion (stride 0) and
/// each part of a concatenation are one copy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Copy {
    pub(crate) x: Operand,
    pub(crate) out: u32,
    /// How many values of `x` and of `out` a row has; the box lies within both.
    pub(crate) x_len: u32,
    pub(crate) out_len: u32,
    pub(crate) shape: Vec<u32>,
    pub(crate) x_offset: u32,
    pub(crate) x_strides: Vec<i32>,
    pub(crate) out_offset: u32,
    pub(crate) out_strides: Vec<u32>,
}

crate::wire::fields!(Copy { x, out, x_len, out_len, shape, x_offset, x_strides, out_offset, out_strides });

/// `out[o, i, n] = data[o, indices[i], n]`; a negative index counts from the end, a fraction is dropped.
/// An index that is out of range gives NaN.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gather {
    /// `[outer, axis, inner]`.
    pub(crate) data: Operand,
    /// `[count]`.
    pub(crate) indices: Operand,
    pub(crate) out: u32,
    pub(crate) outer: u32,
    pub(crate) axis: u32,
    pub(crate) inner: u32,
    pub(crate) count: u32,
}

crate::wire::fields!(Gather { data, indices, out, outer, axis, inner, count });

impl Copy {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let volume = volume(&self.shape, &[self.x_strides.len(), self.out_strides.len()])?;
        let within = |offset: u32, (low, high): (i64, i64), len: u32| {
            let offset = i64::from(offset);
            volume == 0 || (offset.saturating_add(low) >= 0 && offset.saturating_add(high) < i64::from(len))
        };
        let x = bounds(&self.shape, self.x_strides.iter().map(|s| i64::from(*s)));
        let out = bounds(&self.shape, self.out_strides.iter().map(|s| i64::from(*s)));
        // A box larger than a row of `out` would write a place twice.
        let fits = within(self.x_offset, x, self.x_len) && within(self.out_offset, out, self.out_len);
        if !fits || volume > self.out_len as usize {
            bail!(InvalidModel, "a copy kernel of the plan reaches beyond its values: {:?}", self.shape);
        }
        check.reads(self.x, self.x_len as usize)?;
        check.distinct(self.out, &[self.x])?;
        let stride = |_, axis: usize| self.out_strides.get(axis).map_or(0, |stride| *stride as isize);
        let lines = Lines::new(1, [0], &self.shape, stride);
        let (len, [step]) = lines.line();
        check.writes_part(self.out, self.out_len as usize, |write| {
            lines.for_each([self.out_offset as usize], |[at]| {
                (0..len).for_each(|i| write(at.wrapping_add_signed(step * i as isize)));
            });
        })?;
        Ok(volume as u64)
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let mut out = run.take(self.out);
        let (xs, row_step) = run.read(self.x, self.x_len as usize);
        let stride = |operand: usize, axis: usize| match operand {
            0 => self.x_strides.get(axis).map_or(0, |stride| *stride as isize),
            _ => self.out_strides.get(axis).map_or(0, |stride| *stride as isize),
        };
        let lines = Lines::new(run.rows, [row_step, self.out_len as usize], &self.shape, stride);
        let (len, [step, out_step]) = lines.line();
        lines.for_each([self.x_offset as usize, self.out_offset as usize], |[at, out_at]| {
            copy_line(&mut out, out_at, out_step, Line { xs, at, step }, len);
        });
        run.put(self.out, out);
    }
}

/// Copies a line; values side by side go as one.
fn copy_line(out: &mut [f32], at: usize, out_step: isize, x: Line<'_>, len: usize) {
    match (x.step, out_step, out.get_mut(at..at + len)) {
        (1, 1, Some(out)) => out.copy_from_slice(x.slice(len)),
        (0, 1, Some(out)) => out.fill(x.get(0)),
        (_, 1, Some(out)) => out.iter_mut().enumerate().for_each(|(i, y)| *y = x.get(i)),
        _ => (0..len).for_each(|i| {
            if let Some(y) = out.get_mut(at.wrapping_add_signed(out_step * i as isize)) {
                *y = x.get(i);
            }
        }),
    }
}

impl Gather {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let len = extent(&[self.outer, self.count, self.inner])?;
        check.reads(self.data, extent(&[self.outer, self.axis, self.inner])?)?;
        check.reads(self.indices, self.count as usize)?;
        check.distinct(self.out, &[self.data, self.indices])?;
        check.writes(self.out, len)?;
        Ok(len as u64 + u64::from(self.outer) * u64::from(self.count))
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let mut out = run.take(self.out);
        let [outer, axis, inner, count] = [self.outer, self.axis, self.inner, self.count].map(|n| n as usize);
        let (data, data_step) = run.read(self.data, outer * axis * inner);
        let (indices, index_step) = run.read(self.indices, count);
        if outer * count * inner == 0 {
            return run.put(self.out, out);
        }
        let mut parts = out.chunks_exact_mut(inner);
        for row in 0..run.rows {
            let indices = indices.get(row * index_step..).and_then(|i| i.get(..count)).unwrap_or_default();
            for o in 0..outer {
                let from = row * data_step + o * axis * inner;
                for (index, part) in indices.iter().zip(&mut parts) {
                    let value = place(*index, axis).and_then(|i| data.get(from + i * inner..)?.get(..inner));
                    match value {
                        Some(value) => part.copy_from_slice(value),
                        None => part.fill(f32::NAN),
                    }
                }
            }
        }
        run.put(self.out, out);
    }
}

/// The place that an index means among `len`.
fn place(index: f32, len: usize) -> Option<usize> {
    if index.is_nan() {
        return None;
    }
    let index = index as i64;
    let index = if index < 0 { index.saturating_add(len as i64) } else { index };
    usize::try_from(index).ok().filter(|i| *i < len)
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec};

    use super::*;
    use crate::engine::{
        kernels::{
            Kernel,
            trial::{Trial, bits, noise},
        },
        plan::{Plan, Port, Program},
    };

    /// A 2 × 3 matrix, transposed into a buffer of 8 from place 1.
    fn transpose() -> Copy {
        Copy {
            x: Operand::Slot(0),
            out: 1,
            x_len: 6,
            out_len: 8,
            shape: vec![3, 2],
            x_offset: 0,
            x_strides: vec![1, 3],
            out_offset: 1,
            out_strides: vec![2, 1],
        }
    }

    fn trial(kernel: Copy) -> Trial {
        Trial { kernel: Kernel::Copy(kernel), floats: noise(6), fed: vec![6], made: vec![8] }
    }

    #[test]
    fn boxes_are_copied() {
        let xs: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let run = |kernel| trial(kernel).run(2, &[&xs], 1);
        let transposed = [0.0, 0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 0.0, 0.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0, 0.0];
        assert_eq!(run(transpose()), transposed);
        // Backwards.
        let backwards =
            Copy { shape: vec![6], x_offset: 5, x_strides: vec![-1], out_strides: vec![1], ..transpose() };
        assert_eq!(run(backwards)[..8], [0.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0]);
        // Expanded from a constant.
        let (x_strides, x) = (vec![0, 1], Operand::Const(4));
        let expanded = Copy { x, x_len: 2, x_strides, ..transpose() };
        let [a, b] = [noise(6)[4], noise(6)[5]];
        assert_eq!(run(expanded)[8..], [0.0, a, b, a, b, a, b, 0.0]);
        // A single value, spread.
        let single =
            Copy { shape: vec![], x_offset: 2, x_strides: vec![], out_strides: vec![], ..transpose() };
        assert_eq!(run(single)[8..11], [0.0, 8.0, 0.0]);
        let spread = Copy { shape: vec![3], x_strides: vec![2], out_strides: vec![2], ..transpose() };
        assert_eq!(run(spread)[..7], [0.0, 0.0, 0.0, 2.0, 0.0, 4.0, 0.0]);
    }

    #[test]
    fn hostile_copies_are_refused() {
        let refused = |change: &dyn Fn(&mut Copy)| {
            let mut kernel = transpose();
            change(&mut kernel);
            trial(kernel).plan().is_err()
        };
        assert!(!refused(&|_| {}));
        assert!(refused(&|k| k.x_offset = 1));
        assert!(refused(&|k| k.out_offset = 3));
        assert!(refused(&|k| k.x_strides = vec![-1, 3]));
        assert!(refused(&|k| k.x_strides = vec![i32::MIN, i32::MIN]));
        assert!(refused(&|k| k.out_strides = vec![u32::MAX, u32::MAX]));
        assert!(refused(&|k| k.shape = vec![3, 3]));
        assert!(refused(&|k| k.shape = vec![u32::MAX, u32::MAX]));
        assert!(refused(&|k| k.shape = vec![3, 2, 1]));
        assert!(refused(&|k| k.x_len = 7));
        assert!(refused(&|k| k.out_len = 9));
        assert!(refused(&|k| k.out = 0));
        assert!(!refused(&|k| k.shape = vec![0, 2]));
    }

    #[test]
    fn a_row_is_readable_once_all_of_it_was_written() {
        // Of two values and one constant, into a buffer of four.
        let copy = |n, out_offset, out_len| Copy {
            x: Operand::Slot(0),
            out: 1,
            x_len: 2,
            out_len,
            shape: vec![n],
            x_offset: 0,
            x_strides: vec![1],
            out_offset,
            out_strides: vec![1],
        };
        let sound = |kernels: &[Copy]| {
            let port = |slot, len| Port { name: String::new(), shape: vec![len], slot };
            let kernels = kernels.iter().cloned().map(Kernel::Copy).collect();
            let (inputs, outputs, slots) = (vec![port(0, 2)], vec![port(1, 4)], vec![2, 4]);
            let program = Program { inputs, outputs, slots, kernels, segments: Vec::new(), words: 0 };
            Plan { program, floats: noise(0).as_slice().into(), words: Vec::new() }.check().is_ok()
        };
        assert!(sound(&[copy(2, 0, 4), copy(2, 2, 4)]));
        assert!(sound(&[copy(2, 2, 4), copy(1, 1, 4), copy(2, 0, 4)]));
        assert!(!sound(&[copy(2, 0, 4)]));
        assert!(!sound(&[copy(2, 0, 4), copy(2, 1, 4)]));
        // Rows of two, read as rows of four, would be the next row's.
        assert!(!sound(&[copy(2, 0, 2), copy(1, 0, 4)]));
        assert!(!sound(&[copy(2, 0, 2)]));
        let twice = Copy { x_strides: vec![0], out_strides: vec![0], ..copy(5, 0, 4) };
        assert!(!sound(&[twice]));
    }

    #[test]
    fn indices_pick() {
        let (data, indices) = (Operand::Slot(0), Operand::Slot(1));
        let kernel = Gather { data, indices, out: 2, outer: 2, axis: 3, inner: 2, count: 4 };
        let trial =
            Trial { kernel: Kernel::Gather(kernel), floats: vec![], fed: vec![12, 4], made: vec![16] };
        let data: Vec<f32> = (0..24_u8).map(f32::from).collect();
        let nan = f32::NAN;
        let out = trial.run(2, &[&data, &[2.0, -3.0, 3.0, nan, 0.9, -4.0, f32::INFINITY, -1e30]], 2);
        let first = [4.0, 5.0, 0.0, 1.0, nan, nan, nan, nan, 10.0, 11.0, 6.0, 7.0, nan, nan, nan, nan];
        let second = [12.0, 13.0, nan, nan, nan, nan, nan, nan, 18.0, 19.0, nan, nan, nan, nan, nan, nan];
        assert_eq!(bits(&out), [bits(&first), bits(&second)].concat());
    }

    #[test]
    fn hostile_gathers_are_refused() {
        let refused = |outer, axis, inner, count| {
            let (data, indices) = (Operand::Const(0), Operand::Slot(0));
            let kernel = Gather { data, indices, out: 1, outer, axis, inner, count };
            let trial =
                Trial { kernel: Kernel::Gather(kernel), floats: noise(6), fed: vec![2], made: vec![4] };
            trial.plan().is_err()
        };
        assert!(!refused(1, 3, 2, 2));
        assert!(refused(1, 4, 2, 2) && refused(1, 3, 2, 3) && refused(2, 1, 2, 2));
        assert!(refused(u32::MAX, u32::MAX, u32::MAX, 2) && refused(u32::MAX, 0, 1, 2));
        assert!(!refused(0, 3, 2, 2) && !refused(1, 0, 2, 2));
    }
}
