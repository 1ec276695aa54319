//! Convolution over one or two axes.

// Every length is made sure of by `check`.
#![allow(clippy::indexing_slicing)]

use super::{
    dense::volume,
    function::Function,
    product::{Lanes, PANEL, Rows, Start},
    window::Window,
};
use crate::{
    engine::{
        plan::{Check, Operand},
        run::Run,
    },
    error::{Result, bail},
};

/// `[images, channels_in, h, w]` → `[images, channels_out, h', w']`, padded with zeros.
///
/// Each output starts at its bias and adds the products by input channel, then kernel row, then kernel column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conv {
    pub(crate) x: u32,
    pub(crate) out: u32,
    /// A buffer for the patches under sixteen windows: 16 · channels_in / groups · kernel values.
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

crate::wire::fields!(Conv {
    x,
    out,
    scratch,
    images,
    channels_in,
    channels_out,
    groups,
    window,
    weights,
    bias,
    activation
});

impl Conv {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        const WHAT: &str = "convolution";
        let [input, output, kernel] = self.window.check()?.map(|n| n as u32);
        let x = volume(WHAT, &[self.images, self.channels_in, input])?;
        let out = volume(WHAT, &[self.images, self.channels_out, output])?;
        let divides = |channels: u32| channels.is_multiple_of(self.groups);
        if self.groups == 0 || !divides(self.channels_in) || !divides(self.channels_out) {
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
        check.scratch(self.scratch, volume(WHAT, &[2 * PANEL as u32, patch as u32])?)?;
        check.writes(self.out, out)?;
        // Windows are computed in eights, and a patch is gathered for each group.
        let windows = u64::from(output.next_multiple_of(PANEL as u32)) * u64::from(self.images);
        let each = weights as u64 + 4 * patch as u64 * u64::from(self.groups);
        Ok(windows.saturating_mul(each))
    }

    #[inline(never)]
    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let groups = self.groups as usize;
        let (channels_in, channels_out) =
            (self.channels_in as usize / groups, self.channels_out as usize / groups);
        let (input, output) = (Window::len(self.window.input), Window::len(self.window.output));
        let patch = channels_in * Window::len(self.window.kernel);
        let count = run.rows * self.images as usize * groups;
        let (mut scratch, mut buffer) = (run.take(self.scratch), run.take(self.out));
        let panels = &mut scratch.as_chunks_mut().0[..2 * patch];
        let x = run.slot(self.x, self.images as usize * self.channels_in as usize * input);
        let weights = run.constants(self.weights, patch * channels_out * groups);
        let bias = run.constants(self.bias, channels_out * groups);
        let images = x.chunks_exact(channels_in * input).zip(buffer.chunks_exact_mut(channels_out * output));
        for (i, (x, out)) in images.take(count).enumerate() {
            let channels = i % groups * channels_out..(i % groups + 1) * channels_out;
            let weights = &weights[channels.start * patch..channels.end * patch];
            self.convolve(x, weights, &bias[channels], panels, out);
        }
        if let Some(activation) = self.activation {
            activation.apply(&mut buffer[..count * channels_out * output]);
        }
        run.put(self.scratch, scratch);
        run.put(self.out, buffer);
    }

    /// One group of one image, two panels of windows at a time.
    fn convolve(&self, x: &[f32], weights: &[f32], bias: &[f32], panels: &mut [Lanes], out: &mut [f32]) {
        let (patch, positions) = (panels.len() / 2, out.len() / bias.len());
        for first in (0..positions).step_by(2 * PANEL) {
            let count = if positions - first > PANEL { 2 } else { 1 };
            // The last windows overlap those before, with the same sums, rather than being fewer.
            let first = first.min(positions.saturating_sub(count * PANEL));
            let panels = &mut panels[..count * patch];
            for (p, panel) in panels.chunks_exact_mut(patch).enumerate() {
                self.gather(x, first + p * PANEL, panel);
            }
            let (start, out, width) = (Start::Rows(bias), &mut out[first..], positions.min(count * PANEL));
            Rows { x: weights, inputs: patch, panels, start, out, stride: positions, width }.multiply();
        }
    }

    /// Puts what eight windows from `first` on see into the panel: a row for each weight.
    #[inline(never)]
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

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::{
        super::{
            Kernel,
            trial::{Trial, bits, noise},
            window::tests::{seen, window, windows},
        },
        *,
    };

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
        let made = vec![2 * channels_out * output, 16 * patch];
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
