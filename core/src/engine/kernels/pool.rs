//! Pooling: the largest or the average value in a window.

// Every length is made sure of by `check`.
#![allow(clippy::indexing_slicing)]

use super::{
    dense::volume,
    elementwise::max,
    window::{Axis, Window},
};
use crate::{
    engine::{
        plan::{Check, MAX_FLOATS, Operand},
        run::Run,
    },
    error::{Result, bail},
};

/// What a pool does with the values in its window; padding is not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolKind {
    /// NaN where one of them is; −∞ where there are none.
    Max,
    /// Divides by the number of values inside the image.
    Average,
    /// Divides by the number of places of the window within image and padding; `after` is the padding behind the image.
    AveragePadded { after: [u32; 2] },
}

crate::wire::variants!(PoolKind { Max, Average, AveragePadded { after } });

/// `[channels, h, w]` → `[channels, h', w']`; `channels` counts those of all images.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pool {
    pub(crate) x: u32,
    pub(crate) out: u32,
    pub(crate) channels: u32,
    pub(crate) window: Window,
    pub(crate) kind: PoolKind,
}

crate::wire::fields!(Pool { x, out, channels, window, kind });

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

    #[inline(never)]
    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let (input, output) = (Window::len(self.window.input), Window::len(self.window.output));
        let channels = self.channels as usize;
        let mut buffer = run.take(self.out);
        let x = run.slot(self.x, channels * input);
        let out = &mut buffer[..run.rows * channels * output];
        match self.kind {
            PoolKind::Max => self.fold(x, out, f32::NEG_INFINITY, max),
            _ => {
                self.fold(x, out, 0.0, |a, b| a + b);
                out.chunks_exact_mut(output).for_each(|out| self.divide(out));
            }
        }
        run.put(self.out, buffer);
    }

    /// Combines, for every output, the values in its window, by row and column of the window.
    #[inline(always)]
    fn fold(&self, x: &[f32], out: &mut [f32], start: f32, combine: impl Fn(f32, f32) -> f32) {
        let [rows, columns] = self.window.axes();
        let (x_width, out_width) = (columns.input as usize, columns.output as usize);
        let (input, output) = (Window::len(self.window.input), Window::len(self.window.output));
        out.fill(start);
        for place in 0..Window::len(self.window.kernel) {
            let (ky, kx) = (place / columns.kernel as usize, place % columns.kernel as usize);
            let (down, across) = (rows.outputs(ky), columns.outputs(kx));
            if across.is_empty() {
                continue;
            }
            let first = columns.at(across.start, kx) as usize;
            for (x, out) in x.chunks_exact(input).zip(out.chunks_exact_mut(output)) {
                for y in down.clone() {
                    let x = &x[rows.at(y, ky) as usize * x_width..][..x_width];
                    let out = &mut out[y * out_width..][across.clone()];
                    each(out, &x[first..], columns.stride as usize, &combine);
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

/// Combines `out` with every `stride`th of `x`; the usual strides by themselves, so that they are vectorised.
#[inline(always)]
fn each(out: &mut [f32], x: &[f32], stride: usize, combine: impl Fn(f32, f32) -> f32) {
    if stride == 1 {
        return out.iter_mut().zip(x).for_each(|(out, x)| *out = combine(*out, *x));
    }
    let mut done = 0;
    if stride == 2 {
        let blocks = out.as_chunks_mut::<8>().0.iter_mut().zip(x.as_chunks::<16>().0);
        for (out, x) in blocks {
            let even = [x[0], x[2], x[4], x[6], x[8], x[10], x[12], x[14]];
            out.iter_mut().zip(even).for_each(|(out, x)| *out = combine(*out, x));
            done += 8;
        }
    }
    let rest = out[done..].iter_mut().zip(x[done * stride..].iter().step_by(stride));
    rest.for_each(|(out, x)| *out = combine(*out, *x));
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::{
        super::{
            Kernel,
            trial::{Trial, noise},
            window::tests::{seen, window, windows},
        },
        *,
    };

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
}
