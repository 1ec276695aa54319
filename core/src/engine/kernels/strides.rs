//! Boxes of values with a distance along each axis: how kernels broadcast, transpose and slice.
//!
//! A box is checked once against the values it may touch; then [`Lines`] walks it, one line along the last axis at a
//! time. The rows of a block are one more axis in front.

use crate::{
    engine::plan::MAX_FLOATS,
    error::{Result, bail},
};

/// The most axes of a box.
const MAX_AXES: usize = 8;

/// How many values a box has. As many strides as axes are needed, and at most eight.
pub(super) fn volume(shape: &[u32], strides: &[usize]) -> Result<usize> {
    if shape.len() > MAX_AXES || strides.iter().any(|axes| *axes != shape.len()) {
        bail!(InvalidModel, "a kernel of the plan has {} axes, and strides for {strides:?}", shape.len());
    }
    extent(shape)
}

/// How many values a shape has. The product of its other axes is reasonable even where an axis is 0.
pub(super) fn extent(shape: &[u32]) -> Result<usize> {
    let others = shape
        .iter()
        .try_fold(1_usize, |n, d| n.checked_mul((*d).max(1) as usize).filter(|n| *n <= MAX_FLOATS));
    match others {
        Some(_) if shape.contains(&0) => Ok(0),
        Some(extent) => Ok(extent),
        None => bail!(InvalidModel, "a kernel of the plan is too large: {shape:?}"),
    }
}

/// How many values a box reaches over from its first: 0 when it is empty.
pub(super) fn reach(shape: &[u32], strides: &[u32]) -> Result<usize> {
    let (low, high) = bounds(shape, strides.iter().map(|s| i64::from(*s)));
    match usize::try_from(high - low) {
        _ if shape.contains(&0) => Ok(0),
        Ok(reach) if reach < MAX_FLOATS => Ok(reach + 1),
        _ => bail!(InvalidModel, "a kernel of the plan reaches too far: {shape:?} with strides {strides:?}"),
    }
}

/// The first and the last place that a box which begins at 0 touches.
pub(super) fn bounds(shape: &[u32], strides: impl Iterator<Item = i64>) -> (i64, i64) {
    let mut bounds = (0_i64, 0_i64);
    for (n, stride) in shape.iter().zip(strides) {
        let last = i64::from(n.saturating_sub(1)).saturating_mul(stride);
        bounds.0 = bounds.0.saturating_add(last.min(0));
        bounds.1 = bounds.1.saturating_add(last.max(0));
    }
    bounds
}

/// Walks `N` boxes of one shape side by side.
pub(super) struct Lines<const N: usize> {
    /// From the outermost; the last is the line.
    axes: [Axis<N>; MAX_AXES + 1],
    count: usize,
}

/// One axis: how many places, the place now, and the distance between places in each box.
#[derive(Clone, Copy)]
struct Axis<const N: usize> {
    n: usize,
    at: usize,
    steps: [isize; N],
}

impl<const N: usize> Lines<N> {
    /// `rows` boxes that begin `row_steps` apart; `stride` gives a box's distance along an axis.
    pub(super) fn new(
        rows: usize,
        row_steps: [usize; N],
        shape: &[u32],
        stride: impl Fn(usize, usize) -> isize,
    ) -> Self {
        let one = Axis { n: 1, at: 0, steps: [0; N] };
        let mut lines = Self { axes: [one; MAX_AXES + 1], count: 1 };
        lines.push(rows, row_steps.map(|step| step as isize));
        for (axis, n) in shape.iter().enumerate() {
            lines.push(*n as usize, core::array::from_fn(|operand| stride(operand, axis)));
        }
        lines
    }

    /// Adds an axis inside the others, or makes the innermost longer where it goes on in the same step.
    fn push(&mut self, n: usize, steps: [isize; N]) {
        let new = Axis { n, at: 0, steps };
        let Some(last) = self.axes.get_mut(self.count - 1) else { return };
        if n == 1 {
            // A single place is never left, and the distance to the next may be anything.
        } else if last.n == 1 {
            *last = new;
        } else if last.steps == steps.map(|step| step.wrapping_mul(n as isize)) {
            *last = Axis { n: last.n * n, ..new };
        } else if let Some(next) = self.axes.get_mut(self.count) {
            *next = new;
            self.count += 1;
        }
    }

    /// How many values a line has, and how far apart they are.
    pub(super) fn line(&self) -> (usize, [isize; N]) {
        self.axes.get(self.count - 1).map_or((0, [0; N]), |axis| (axis.n, axis.steps))
    }

    /// Calls `visit` with the place where each line begins, in order.
    pub(super) fn for_each(mut self, starts: [usize; N], mut visit: impl FnMut([usize; N])) {
        let axes = self.axes.get_mut(..self.count).unwrap_or_default();
        if axes.iter().any(|axis| axis.n == 0) {
            return;
        }
        let axes = axes.split_last_mut().map(|(_, outer)| outer).unwrap_or_default();
        let mut at = starts;
        loop {
            visit(at);
            let mut done = true;
            for axis in axes.iter_mut().rev() {
                axis.at += 1;
                let back = axis.at == axis.n;
                let steps = if back { axis.steps.map(|s| -s * (axis.n as isize - 1)) } else { axis.steps };
                at.iter_mut().zip(steps).for_each(|(at, step)| *at = at.wrapping_add_signed(step));
                if !back {
                    done = false;
                    break;
                }
                axis.at = 0;
            }
            if done {
                return;
            }
        }
    }
}

/// Values `step` apart, from `at` on.
#[derive(Clone, Copy)]
pub(super) struct Line<'x> {
    pub(super) xs: &'x [f32],
    pub(super) at: usize,
    pub(super) step: isize,
}

impl<'x> Line<'x> {
    pub(super) const NONE: Self = Self { xs: &[], at: 0, step: 0 };

    pub(super) fn get(self, i: usize) -> f32 {
        let at = self.at.wrapping_add_signed(self.step.wrapping_mul(i as isize));
        self.xs.get(at).copied().unwrap_or_default()
    }

    /// `len` values that lie one after the other.
    pub(super) fn slice(self, len: usize) -> &'x [f32] {
        self.xs.get(self.at..).and_then(|xs| xs.get(..len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn lines_come_in_order() {
        let mut seen = Vec::new();
        let strides = [[6, 1], [0, 10]];
        Lines::new(2, [100, 0], &[2, 3], |operand, axis| strides[operand][axis])
            .for_each([7, 50], |at| seen.push(at));
        assert_eq!(seen, [[7, 50], [13, 50], [107, 50], [113, 50]]);
    }

    #[test]
    fn axes_that_go_on_are_one_line() {
        let lines = Lines::new(5, [6, 0], &[2, 1, 3], |operand, axis| [[3, 9, 1], [0, 9, 0]][operand][axis]);
        assert_eq!(lines.line(), (30, [1, 0]));
    }

    #[test]
    fn empty_boxes_and_boxes_without_axes() {
        let count = |rows, shape: &[u32]| {
            let mut count = 0;
            Lines::new(rows, [1], shape, |_, _| 1).for_each([0], |_| count += 1);
            count
        };
        assert_eq!((count(3, &[]), count(3, &[0]), count(0, &[2]), count(2, &[0, 4])), (1, 0, 0, 0));
        // The distance along an axis of one place is not used.
        let lines = Lines::new(1, [0], &[1, 1], |_, _| isize::MAX);
        assert_eq!(lines.line(), (1, [0]));
        lines.for_each([0], |_| {});
    }

    #[test]
    fn what_reaches_too_far_is_refused() {
        assert_eq!(reach(&[2, 3], &[3, 1]).unwrap(), 6);
        assert_eq!(reach(&[1, 3], &[u32::MAX, 1]).unwrap(), 3);
        assert_eq!(reach(&[0, 3], &[u32::MAX, 1]).unwrap(), 0);
        assert!(reach(&[u32::MAX, u32::MAX, u32::MAX], &[u32::MAX, u32::MAX, u32::MAX]).is_err());
        assert!(volume(&[1; 9], &[9]).is_err() && volume(&[2, 2], &[2, 1]).is_err());
        assert!(volume(&[u32::MAX, u32::MAX], &[2]).is_err());
        assert!(volume(&[0, u32::MAX], &[2]).is_err());
        assert_eq!((extent(&[0, 9]).unwrap(), extent(&[]).unwrap()), (0, 1));
    }
}
