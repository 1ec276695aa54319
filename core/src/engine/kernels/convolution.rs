//! Convolution and pooling over one or two axes; one axis is a height of 1.

// Every length is made sure of by `check`.
#![allow(clippy::indexing_slicing)]

use serde::{Deserialize, Serialize};

use super::{
    dense::volume,
    function::Function,
    product::{Lanes, PANEL, Rows, Start},
};
use crate::{
    engine::{
        plan::{Check, MAX_FLOATS, Operand},
        run::Run,
    },
    error::{Result, bail},
};

/// A window that slides over an image. Each pair is [height, width].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) input: [u32; 2],
    pub(crate) output: [u32; 2],
    pub(crate) kernel: [u32; 2],
    pub(crate) stride: [u32; 2],
    pub(crate) dilation: [u32; 2],
    /// Before the first row and column; what is needed after the last follows from `output`.
    pub(crate) padding: [u32; 2],
}

/// `[images, channels_in, h, w]` → `[images, channels_out, h', w']`, padded with zeros.
///
/// Each output starts at its bias and adds the products by input channel, then kernel row, then kernel column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conv {
    pub(crate) x: u32,
    pub(crate) out: u32,
    /// A buffer for the patches under eight windows: 8 · channels_in / groups · kernel values.
    pub(crate) scratch: u32,
    /// Images within one row; 1 unless the model's own batch axis has a fixed size.
    pub(crate) images: u32,
    pub(crate) channels_in: u32,
    pub(crate) channels_out: u32,
    pub(crate) groups: u32,
    pub(crate) window: Window,
    /// Row-major `[channels_out, channels_in / groups, kernel row, kernel column]`, as in ONNX.
    pub(crate) weights: u32,
    /// One for each output channel.
    pub(crate) bias: u32,
    pub(crate) activation: Option<Function>,
}

/// What a pool does with the values in its window; padding is not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PoolKind {
    /// NaN where one of them is; −∞ where there are none.
    Max,
    /// Divides by the number of values inside the image.
    Average,
    /// Divides by the number of places of the window within image and padding; `after` is the padding behind the image.
    AveragePadded { after: [u32; 2] },
}

/// `[channels, h, w]` → `[channels, h', w']`; `channels` counts those of all images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) x: u32,
    pub(crate) out: u32,
    pub(crate) channels: u32,
    pub(crate) window: Window,
    pub(crate) kind: PoolKind,
}

/// One axis of a window, in numbers that may be below 0.
#[derive(Clone, Copy)]
struct Axis {
    input: isize,
    output: isize,
    kernel: isize,
    stride: isize,
    dilation: isize,
    padding: isize,
}

impl Axis {
    /// Where the window at `output` looks with its place `k`; outside of the image from −padding on.
    fn at(self, output: usize, k: usize) -> isize {
        output as isize * self.stride + k as isize * self.dilation - self.padding
    }

    /// The outputs whose windows look into the image with their place `k`.
    fn outputs(self, k: usize) -> core::ops::Range<usize> {
        let first = self.padding - k as isize * self.dilation;
        let limit = |x: isize| ceil_div(x, self.stride).clamp(0, self.output) as usize;
        limit(first)..limit(first + self.input).max(limit(first))
    }

    /// How many places of the window at `output` lie in `low..high`.
    fn places(self, output: usize, low: isize, high: isize) -> isize {
        let limit = |x: isize| ceil_div(x - self.at(output, 0), self.dilation).clamp(0, self.kernel);
        limit(high) - limit(low)
    }
}

fn ceil_div(a: isize, b: isize) -> isize {
    -(-a).div_euclid(b)
}

impl Window {
    /// Makes sure that places can be computed in 32 bits; returns the sizes of input, output and kernel.
    fn check(&self) -> Result<[usize; 3]> {
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
    fn axes(&self) -> [Axis; 2] {
        [0, 1].map(|i| Axis {
            input: self.input[i] as isize,
            output: self.output[i] as isize,
            kernel: self.kernel[i] as isize,
            stride: self.stride[i] as isize,
            dilation: self.dilation[i] as isize,
            padding: self.padding[i] as isize,
        })
    }

    fn len(pair: [u32; 2]) -> usize {
        pair[0] as usize * pair[1] as usize
    }

    /// Where the windows from `first` on begin, as [row, column]; those behind the last begin below the image.
    fn corners(&self, first: usize) -> [[isize; 2]; PANEL] {
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

impl Conv {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        const WHAT: &str = "convolution";
        let [input, output, kernel] = self.window.check()?.map(|n| n as u32);
        let x = volume(WHAT, &[self.images, self.channels_in, input])?;
        let out = volume(WHAT, &[self.images, self.channels_out, output])?;
        if self.groups == 0 || self.channels_in % self.groups != 0 || self.channels_out % self.groups != 0 {
            bail!(
                InvalidModel,
                "a convolution of the plan has {} groups that do not divide its channels",
                self.groups
            );
        }
        let patch = volume(WHAT, &[self.channels_in / self.groups, kernel])?;
        let weights = volume(WHAT, &[self.channels_out, patch as u32])?;
        check.reads(Operand::Slot(self.x), x)?;
        check.constants(self.weights, weights)?;
        check.constants(self.bias, self.channels_out as usize)?;
        check.distinct(self.out, &[Operand::Slot(self.x)])?;
        check.distinct(self.scratch, &[Operand::Slot(self.x), Operand::Slot(self.out)])?;
        check.writes(self.scratch, volume(WHAT, &[PANEL as u32, patch as u32])?)?;
        check.writes(self.out, out)?;
        // Windows are computed in eights, and a patch is gathered for each group.
        let windows = u64::from(output.next_multiple_of(PANEL as u32)) * u64::from(self.images);
        let each = weights as u64 + 4 * patch as u64 * u64::from(self.groups);
        Ok(windows.saturating_mul(each))
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let groups = self.groups as usize;
        let (channels_in, channels_out) =
            (self.channels_in as usize / groups, self.channels_out as usize / groups);
        let (input, output) = (Window::len(self.window.input), Window::len(self.window.output));
        let patch = channels_in * Window::len(self.window.kernel);
        let count = run.rows * self.images as usize * groups;
        let (mut scratch, mut buffer) = (run.take(self.scratch), run.take(self.out));
        let panel = &mut scratch.as_chunks_mut().0[..patch];
        let x = run.slot(self.x, self.images as usize * self.channels_in as usize * input);
        let weights = run.constants(self.weights, patch * channels_out * groups);
        let bias = run.constants(self.bias, channels_out * groups);
        let images = x.chunks_exact(channels_in * input).zip(buffer.chunks_exact_mut(channels_out * output));
        for (i, (x, out)) in images.take(count).enumerate() {
            let channels = i % groups * channels_out..(i % groups + 1) * channels_out;
            let weights = &weights[channels.start * patch..channels.end * patch];
            self.convolve(x, weights, &bias[channels], panel, out);
        }
        if let Some(activation) = self.activation {
            activation.apply(&mut buffer[..count * channels_out * output]);
        }
        run.put(self.scratch, scratch);
        run.put(self.out, buffer);
    }

    /// One group of one image.
    fn convolve(&self, x: &[f32], weights: &[f32], bias: &[f32], panel: &mut [Lanes], out: &mut [f32]) {
        let positions = out.len() / bias.len();
        for first in (0..positions).step_by(PANEL) {
            // The last eight overlap those before, as the same sums, rather than being fewer.
            let first = first.min(positions.saturating_sub(PANEL));
            self.gather(x, first, panel);
            let width = PANEL.min(positions);
            let (inputs, stride, out) = (panel.len(), positions, &mut out[first..]);
            Rows { x: weights, inputs, panels: panel, start: Start::Rows(bias), out, stride, width }
                .multiply();
        }
    }

    /// Puts what eight windows from `first` on see into the panel: a row for each weight.
    fn gather(&self, x: &[f32], first: usize, panel: &mut [Lanes]) {
        let [rows, columns] = self.window.axes();
        let corners = self.window.corners(first);
        let [[top, left], .., [bottom, right]] = corners;
        let side_by_side = top == bottom && right - left == PANEL as isize - 1;
        let image = Window::len(self.window.input);
        let places = Window::len(self.window.kernel);
        for place in 0..places {
            let down = (place / columns.kernel as usize) as isize * rows.dilation;
            let across = (place % columns.kernel as usize) as isize * columns.dilation;
            let lanes = panel.iter_mut().skip(place).step_by(places).zip(x.chunks_exact(image));
            let (y, x) = (top + down, left + across);
            if side_by_side && (0..rows.input).contains(&y) && x >= 0 && right + across < columns.input {
                let start = (y * columns.input + x) as usize;
                for (lanes, image) in lanes {
                    lanes.copy_from_slice(&image[start..start + PANEL]);
                }
                continue;
            }
            let offsets = corners.map(|[y, x]| {
                let (y, x) = (y + down, x + across);
                let inside = (0..rows.input).contains(&y) && (0..columns.input).contains(&x);
                if inside { (y * columns.input + x) as usize } else { usize::MAX }
            });
            for (lanes, image) in lanes {
                *lanes = offsets.map(|offset| image.get(offset).copied().unwrap_or(0.0));
            }
        }
    }
}

impl Pool {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        const WHAT: &str = "pooling";
        let [input, output, kernel] = self.window.check()?.map(|n| n as u32);
        if let PoolKind::AveragePadded { after } = self.kind
            && after.iter().any(|n| *n as usize > MAX_FLOATS)
        {
            bail!(InvalidModel, "a pooling kernel of the plan has a padding of {after:?}");
        }
        check.reads(Operand::Slot(self.x), volume(WHAT, &[self.channels, input])?)?;
        check.distinct(self.out, &[Operand::Slot(self.x)])?;
        let out = volume(WHAT, &[self.channels, output])?;
        check.writes(self.out, out)?;
        Ok((out as u64).saturating_mul(u64::from(kernel) + 4))
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let (input, output) = (Window::len(self.window.input), Window::len(self.window.output));
        let channels = self.channels as usize;
        let mut buffer = run.take(self.out);
        let x = run.slot(self.x, channels * input);
        for (x, out) in x.chunks_exact(input).zip(buffer.chunks_exact_mut(output)) {
            match self.kind {
                PoolKind::Max => self.fold(x, out, f32::NEG_INFINITY, larger),
                _ => {
                    self.fold(x, out, 0.0, |a, b| a + b);
                    self.divide(out);
                }
            }
        }
        run.put(self.out, buffer);
    }

    /// Combines, for every output, the values in its window, by row and column of the window.
    #[inline(always)]
    fn fold(&self, x: &[f32], out: &mut [f32], start: f32, combine: impl Fn(f32, f32) -> f32) {
        let [rows, columns] = self.window.axes();
        let (x_width, out_width) = (columns.input as usize, columns.output as usize);
        out.fill(start);
        for ky in 0..rows.kernel as usize {
            for y in rows.outputs(ky) {
                let x = &x[rows.at(y, ky) as usize * x_width..][..x_width];
                let out = &mut out[y * out_width..][..out_width];
                for kx in 0..columns.kernel as usize {
                    let range = columns.outputs(kx);
                    if range.is_empty() {
                        continue;
                    }
                    let x = &x[columns.at(range.start, kx) as usize..];
                    each(&mut out[range], x, columns.stride as usize, &combine);
                }
            }
        }
    }

    /// Turns sums into averages.
    fn divide(&self, out: &mut [f32]) {
        let [rows, columns] = self.window.axes();
        let range = |axis: Axis, i: usize| match self.kind {
            PoolKind::AveragePadded { after } => (-axis.padding, axis.input + after[i] as isize),
            _ => (0, axis.input),
        };
        let (y_range, x_range) = (range(rows, 0), range(columns, 1));
        for (y, out) in out.chunks_exact_mut(columns.output as usize).enumerate() {
            let height = rows.places(y, y_range.0, y_range.1);
            for (x, out) in out.iter_mut().enumerate() {
                let count = height * columns.places(x, x_range.0, x_range.1);
                // A window that sees nothing has the sum 0.
                *out /= count.max(1) as f32;
            }
        }
    }
}

/// The larger; NaN where either is. Without a branch, so that it is vectorised.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if (b > a) | b.is_nan() { b } else { a }
}

/// Combines `out` with every `stride`th of `x`; the usual strides by themselves, so that they are vectorised.
#[inline(always)]
fn each(out: &mut [f32], x: &[f32], stride: usize, combine: impl Fn(f32, f32) -> f32) {
    let mut fold = |(out, x): (&mut f32, f32)| *out = combine(*out, x);
    match stride {
        1 => out.iter_mut().zip(x.iter().copied()).for_each(&mut fold),
        2 if x.len() >= 2 * out.len() => {
            out.iter_mut().zip(x.as_chunks::<2>().0.iter().map(|pair| pair[0])).for_each(&mut fold);
        }
        _ => out.iter_mut().zip(x.iter().step_by(stride).copied()).for_each(&mut fold),
    }
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::{
        super::{
            Kernel,
            trial::{Trial, bits, noise},
        },
        *,
    };

    fn window(
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

    fn windows() -> Vec<Window> {
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
    fn seen(w: &Window, plane: &[f32], at: usize) -> Vec<Option<f32>> {
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

    fn conv(window: Window, channels_in: u32, channels_out: u32, groups: u32) -> Trial {
        let [input, output, kernel] = window.check().unwrap().map(|n| n as u32);
        let patch = channels_in / groups * kernel;
        let mut floats = noise((channels_out * patch) as usize);
        floats.extend(noise(channels_out as usize));
        let kernel = Conv {
            x: 0,
            out: 1,
            scratch: 2,
            images: 2,
            channels_in,
            channels_out,
            groups,
            window,
            weights: 0,
            bias: channels_out * patch,
            activation: Some(Function::Negate),
        };
        let made = vec![2 * channels_out * output, 8 * patch];
        Trial { kernel: Kernel::Conv(kernel), floats, fed: vec![2 * channels_in * input], made }
    }

    #[test]
    fn convolutions_have_the_bits_of_a_plain_loop() {
        for (channels_in, channels_out, groups) in [(1, 1, 1), (3, 6, 1), (4, 4, 4), (4, 10, 2)] {
            for window in windows() {
                let trial = conv(window, channels_in, channels_out, groups);
                let [input, output, kernel] = window.check().unwrap();
                let (cin, cout) = ((channels_in / groups) as usize, (channels_out / groups) as usize);
                let (rows, bias) = (5, channels_out as usize * cin * kernel);
                let x = noise(rows * 2 * channels_in as usize * input);
                let plain = |at: usize| {
                    let (image, channel) =
                        (at / (channels_out as usize * output), at / output % channels_out as usize);
                    let first = image * channels_in as usize + channel / cout * cin;
                    let values =
                        (first..first + cin).flat_map(|c| seen(&window, &x[c * input..], at % output));
                    let weights = &trial.floats[channel * cin * kernel..];
                    let sum = values
                        .zip(weights)
                        .fold(trial.floats[bias + channel], |s, (v, w)| s + v.unwrap_or(0.0) * w);
                    -sum
                };
                let expected: Vec<f32> = (0..rows * 2 * channels_out as usize * output).map(plain).collect();
                assert_eq!(bits(&trial.run(rows, &[&x], 1)), bits(&expected), "{window:?}");
            }
        }
    }

    #[test]
    fn pools_combine_what_lies_in_the_image() {
        let kinds = [PoolKind::Max, PoolKind::Average, PoolKind::AveragePadded { after: [9, 9] }];
        for (window, kind) in windows().into_iter().flat_map(|w| kinds.map(|kind| (w, kind))) {
            let [input, output, places] = window.check().unwrap();
            let kernel = Kernel::Pool(Pool { x: 0, out: 1, channels: 3, window, kind });
            let trial =
                Trial { kernel, floats: vec![], fed: vec![3 * input as u32], made: vec![3 * output as u32] };
            let mut x = noise(5 * 3 * input);
            x[input / 2] = f32::NAN;
            let plain = |at: usize| {
                let seen = seen(&window, &x[at / output * input..], at % output);
                let count = if kind == PoolKind::Average { seen.iter().flatten().count() } else { places };
                let values = seen.into_iter().flatten();
                match kind {
                    PoolKind::Max => {
                        values.fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
                    }
                    _ => values.sum::<f32>() / count.max(1) as f32,
                }
            };
            let got = trial.run(5, &[&x], 1);
            let same = |(at, got): (usize, &f32)| *got == plain(at) || (got.is_nan() && plain(at).is_nan());
            assert!(got.iter().enumerate().all(same), "{window:?} {kind:?}");
        }
    }

    #[test]
    fn padding_behind_the_image_ends_where_it_is_said_to() {
        // Two places beyond the end, of which one is padding: ONNX counts that one only (ceil_mode).
        let window = Window { output: [1, 2], ..window([1, 4], [1, 3], [1, 3], [1, 1], [0, 0]) };
        let kind = PoolKind::AveragePadded { after: [0, 1] };
        let kernel = Kernel::Pool(Pool { x: 0, out: 1, channels: 1, window, kind });
        let trial = Trial { kernel, floats: vec![], fed: vec![4], made: vec![2] };
        assert_eq!(trial.run(1, &[&[1.0, 2.0, 3.0, 5.0]], 1), [2.0, 2.5]);
    }

    #[test]
    fn what_would_reach_out_of_buffers_is_refused() {
        let accepts = |change: fn(&mut Conv)| {
            let mut trial = conv(window([7, 7], [3, 3], [1, 1], [1, 1], [1, 1]), 4, 4, 2);
            if let Kernel::Conv(kernel) = &mut trial.kernel {
                change(kernel);
            }
            trial.plan().is_ok()
        };
        assert!(accepts(|_| ()));
        let wrong: [fn(&mut Conv); 13] = [
            |k| k.groups = 0,
            |k| k.groups = 3,
            |k| k.images = 3,
            |k| k.channels_out = 8,
            |k| k.channels_in = u32::MAX,
            |k| k.scratch = 1,
            |k| k.out = 0,
            |k| k.bias += 1,
            |k| k.window.stride = [0, 1],
            |k| k.window.dilation = [1, u32::MAX],
            |k| k.window.padding = [u32::MAX, 0],
            |k| k.window.output = [7, 8],
            |k| k.window.kernel = [0, 3],
        ];
        assert!(wrong.into_iter().all(|change| !accepts(change)));
        // Any padding and output within bounds only sees zeros.
        assert!(accepts(|k| k.window.padding = [60_000_000, 7]));
    }
}
