//! Windows that slide over an image of one or two axes; one axis is a height of 1.

// Indices are axes, of which there are two, and what `check` made sure of.
#![allow(clippy::indexing_slicing)]

use super::{dense::volume, product::PANEL};
use crate::{
    engine::plan::MAX_FLOATS,
    error::{Result, bail},
};

/// A window that slides over an image. Each pair is [height, width].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) input: [u32; 2],
    pub(crate) output: [u32; 2],
    pub(crate) kernel: [u32; 2],
    pub(crate) stride: [u32; 2],
    pub(crate) dilation: [u32; 2],
    /// Before the first row and column; what is needed after the last follows from `output`.
    pub(crate) padding: [u32; 2],
}

crate::wire::fields!(Window { input, output, kernel, stride, dilation, padding });

/// One axis of a window, in numbers that may be below 0.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) input: isize,
    pub(super) output: isize,
    pub(super) kernel: isize,
    pub(super) stride: isize,
    pub(super) dilation: isize,
    pub(super) padding: isize,
}

impl Axis {
    /// Where the window at `output` looks with its place `k`; outside of the image from −padding on.
    pub(super) fn at(self, output: usize, k: usize) -> isize {
        output as isize * self.stride + k as isize * self.dilation - self.padding
    }

    /// The outputs whose windows look into the image with their place `k`.
    pub(super) fn outputs(self, k: usize) -> core::ops::Range<usize> {
        let first = self.padding - k as isize * self.dilation;
        let limit = |x: isize| ceil_div(x, self.stride).clamp(0, self.output) as usize;
        limit(first)..limit(first + self.input).max(limit(first))
    }

    /// How many places of the window at `output` lie in `low..high`.
    pub(super) fn places(self, output: usize, low: isize, high: isize) -> isize {
        let limit = |x: isize| ceil_div(x - self.at(output, 0), self.dilation).clamp(0, self.kernel);
        limit(high) - limit(low)
    }
}

fn ceil_div(a: isize, b: isize) -> isize {
    -(-a).div_euclid(b)
}

impl Window {
    /// Makes sure that places can be computed in 32 bits; returns the sizes of input, output and kernel.
    pub(super) fn check(&self) -> Result<[usize; 3]> {
        const WHAT: &str = "window";
        for axis in 0..2 {
            let reach = |n: u32, step: u32| u64::from(n.saturating_sub(1)).saturating_mul(u64::from(step));
            let span = reach(self.output[axis], self.stride[axis])
                .saturating_add(reach(self.kernel[axis], self.dilation[axis]));
            let most = u64::from(self.padding[axis]).max(span);
            let steps = u64::from(self.stride[axis]).max(u64::from(self.dilation[axis]));
            if steps == 0
                || self.stride[axis] == 0
                || self.dilation[axis] == 0
                || most.max(steps) > MAX_FLOATS as u64
            {
                bail!(InvalidModel, "a window of the plan is out of range: {self:?}");
            }
        }
        Ok([volume(WHAT, &self.input)?, volume(WHAT, &self.output)?, volume(WHAT, &self.kernel)?])
    }

    /// Rows, then columns.
    pub(super) fn axes(&self) -> [Axis; 2] {
        [0, 1].map(|i| Axis {
            input: self.input[i] as isize,
            output: self.output[i] as isize,
            kernel: self.kernel[i] as isize,
            stride: self.stride[i] as isize,
            dilation: self.dilation[i] as isize,
            padding: self.padding[i] as isize,
        })
    }

    pub(super) fn len(pair: [u32; 2]) -> usize {
        pair[0] as usize * pair[1] as usize
    }

    /// Where the windows from `first` on begin, as [row, column]; those behind the last begin below the image.
    pub(super) fn corners(&self, first: usize) -> [[isize; 2]; PANEL] {
        let ([rows, columns], width) = (self.axes(), self.output[1] as usize);
        let (mut y, mut x) = (first / width, first % width);
        core::array::from_fn(|_| {
            let corner = if y < self.output[0] as usize { rows.at(y, 0) } else { rows.input };
            let corner = [corner, columns.at(x, 0)];
            x += 1;
            if x == width {
                (y, x) = (y + 1, 0);
            }
            corner
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{vec, vec::Vec};

    use super::*;

    pub(in super::super) fn window(
        input: [u32; 2],
        kernel: [u32; 2],
        stride: [u32; 2],
        dilation: [u32; 2],
        padding: [u32; 2],
    ) -> Window {
        let output = core::array::from_fn(|i| {
            (input[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i] + 1
        });
        Window { input, output, kernel, stride, dilation, padding }
    }

    pub(in super::super) fn windows() -> Vec<Window> {
        vec![
            window([1, 20], [1, 5], [1, 1], [1, 1], [0, 2]),
            window([1, 9], [1, 3], [1, 2], [1, 2], [0, 1]),
            window([1, 1], [1, 1], [1, 1], [1, 1], [0, 0]),
            window([7, 7], [3, 3], [1, 1], [1, 1], [1, 1]),
            window([6, 11], [3, 2], [2, 3], [2, 1], [2, 1]),
            window([5, 16], [5, 1], [1, 2], [1, 1], [0, 0]),
        ]
    }

    /// The values in the window at a place, 0 or nothing in the padding.
    pub(in super::super) fn seen(w: &Window, plane: &[f32], at: usize) -> Vec<Option<f32>> {
        let (y, x) = (at as u32 / w.output[1], at as u32 % w.output[1]);
        let places = (0..w.kernel[0]).flat_map(|ky| (0..w.kernel[1]).map(move |kx| (ky, kx)));
        places
            .map(|(ky, kx)| {
                let iy = (y * w.stride[0] + ky * w.dilation[0]).checked_sub(w.padding[0])?;
                let ix = (x * w.stride[1] + kx * w.dilation[1]).checked_sub(w.padding[1])?;
                (iy < w.input[0] && ix < w.input[1]).then(|| plane[(iy * w.input[1] + ix) as usize])
            })
            .collect()
    }
}
