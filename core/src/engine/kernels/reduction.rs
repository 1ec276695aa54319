//! Kernels that look along an axis: sums, extremes, softmax, normalisation.
//!
//! The order of a sum depends on the shape alone. Along the last axis, eight partial sums take every eighth value and
//! then join in pairs; along another axis values are added in order. A softmax adds its numerators in order.

use super::{
    elementwise::{max, min},
    function::sqrt,
    strides::{Line, extent},
};
use crate::{
    engine::{
        approx,
        plan::{Check, Operand},
        run::Run,
    },
    error::{Result, bail},
};

/// What an axis is reduced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReduceKind {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    /// Σ |x|.
    L1,
    /// √Σ x².
    L2,
    /// Σ x².
    SumSquare,
    /// Index of the largest; of several, the first or the last. NaN is larger than everything.
    ArgMax {
        last: bool,
    },
    /// Index of the smallest, likewise; NaN is smaller than everything.
    ArgMin {
        last: bool,
    },
}

crate::wire::variants!(ReduceKind { Sum, Mean, Max, Min, Prod, L1, L2, SumSquare, ArgMax { last }, ArgMin { last } });

/// `[outer, len, inner]` → `[outer, inner]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reduce {
    pub(crate) kind: ReduceKind,
    pub(crate) x: u32,
    pub(crate) out: u32,
    pub(crate) outer: u32,
    pub(crate) len: u32,
    pub(crate) inner: u32,
}

crate::wire::fields!(Reduce { kind, x, out, outer, len, inner });

/// Softmax, or its logarithm, along the middle axis of `[outer, len, inner]`; `x` and `out` may be the same buffer.
///
/// Numerators are exp(x − max), summed in order. With `skip_zeros` (ONNX-ML's SOFTMAX_ZERO) a value within 1e-7 of 0
/// becomes 0 and takes no part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Softmax {
    pub(crate) x: u32,
    pub(crate) out: u32,
    pub(crate) outer: u32,
    pub(crate) len: u32,
    pub(crate) inner: u32,
    pub(crate) log: bool,
    pub(crate) skip_zeros: bool,
}

crate::wire::fields!(Softmax { x, out, outer, len, inner, log, skip_zeros });

/// `(x − mean) / √(variance + epsilon) · scale + bias` over the last axis of `[outer, len]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerNorm {
    pub(crate) x: u32,
    pub(crate) out: u32,
    pub(crate) outer: u32,
    pub(crate) len: u32,
    pub(crate) epsilon: f32,
    pub(crate) scale: Option<u32>,
    pub(crate) bias: Option<u32>,
}

crate::wire::fields!(LayerNorm { x, out, outer, len, epsilon, scale, bias });

/// Values that partial sums take at a time.
const LANES: usize = 8;

impl Reduce {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let len = extent(&[self.outer, self.len, self.inner])?;
        if self.len == 0 && matches!(self.kind, ReduceKind::ArgMax { .. } | ReduceKind::ArgMin { .. }) {
            bail!(InvalidModel, "a kernel of the plan looks for the largest of no values");
        }
        let made = extent(&[self.outer, self.inner])?;
        check.reads(Operand::Slot(self.x), len)?;
        check.distinct(self.out, &[Operand::Slot(self.x)])?;
        check.writes(self.out, made)?;
        Ok(len as u64 + made as u64)
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let mut out = run.take(self.out);
        let [outer, len, inner] = [self.outer, self.len, self.inner].map(|n| n as usize);
        let xs = run.slot(self.x, outer * len * inner);
        let ys = out.get_mut(..run.rows * outer * inner).unwrap_or_default();
        let n = self.len as f32;
        match self.kind {
            ReduceKind::Sum => fold(ys, xs, len, inner, 0.0, |s, x| s + x, |a, b| a + b),
            ReduceKind::Mean => {
                fold(ys, xs, len, inner, 0.0, |s, x| s + x, |a, b| a + b);
                ys.iter_mut().for_each(|y| *y /= n);
            }
            ReduceKind::Max => fold(ys, xs, len, inner, f32::NEG_INFINITY, max, max),
            ReduceKind::Min => fold(ys, xs, len, inner, f32::INFINITY, min, min),
            ReduceKind::Prod => fold(ys, xs, len, inner, 1.0, |s, x| s * x, |a, b| a * b),
            ReduceKind::L1 => fold(ys, xs, len, inner, 0.0, |s, x| s + x.abs(), |a, b| a + b),
            ReduceKind::SumSquare => fold(ys, xs, len, inner, 0.0, |s, x| s + x * x, |a, b| a + b),
            ReduceKind::L2 => {
                fold(ys, xs, len, inner, 0.0, |s, x| s + x * x, |a, b| a + b);
                ys.iter_mut().for_each(|y| *y = sqrt(*y));
            }
            ReduceKind::ArgMax { last } => search(ys, xs, len, inner, |x, best| {
                x > best || (last && x == best) || (x.is_nan() && (last || !best.is_nan()))
            }),
            ReduceKind::ArgMin { last } => search(ys, xs, len, inner, |x, best| {
                x < best || (last && x == best) || (x.is_nan() && (last || !best.is_nan()))
            }),
        }
        run.put(self.out, out);
    }
}

/// Folds the middle axis of `[_, len, inner]`.
fn fold(
    ys: &mut [f32],
    xs: &[f32],
    len: usize,
    inner: usize,
    start: f32,
    step: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) {
    ys.fill(start);
    if len == 0 || inner == 0 {
        return;
    }
    if inner == 1 {
        let lines = ys.iter_mut().zip(xs.chunks_exact(len));
        return lines.for_each(|(y, xs)| *y = fold_line(xs, start, &step, &join));
    }
    for (ys, xs) in ys.chunks_exact_mut(inner).zip(xs.chunks_exact(len * inner)) {
        for xs in xs.chunks_exact(inner) {
            ys.iter_mut().zip(xs).for_each(|(y, x)| *y = step(*y, *x));
        }
    }
}

/// Folds values that lie side by side: lane i takes values i, i + 8, …; then the halves of the lanes join.
fn fold_line(xs: &[f32], start: f32, step: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    for xs in xs.chunks(LANES) {
        lanes.iter_mut().zip(xs).for_each(|(lane, x)| *lane = step(*lane, *x));
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    join(join(join(a, e), join(c, g)), join(join(b, f), join(d, h)))
}

/// The sum of values that lie side by side, in the order of a reduction.
fn sum(xs: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    fold_line(xs, 0.0, |sum, x| sum + of(x), |a, b| a + b)
}

/// Finds along the middle axis of `[_, len, inner]` the value that nothing later is better than.
fn search(ys: &mut [f32], xs: &[f32], len: usize, inner: usize, better: impl Fn(f32, f32) -> bool) {
    if inner == 0 {
        return;
    }
    for (ys, xs) in ys.chunks_exact_mut(inner).zip(xs.chunks_exact(len * inner)) {
        for (i, y) in ys.iter_mut().enumerate() {
            let line = Line { xs, at: i, step: inner as isize };
            let mut best = 0;
            for n in 1..len {
                if better(line.get(n), line.get(best)) {
                    best = n;
                }
            }
            *y = best as f32;
        }
    }
}

impl Softmax {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let len = extent(&[self.outer, self.len, self.inner])?;
        check.reads(Operand::Slot(self.x), len)?;
        check.writes(self.out, len)?;
        Ok(8 * len as u64)
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let mut out = run.take(self.out);
        let [outer, len, inner] = [self.outer, self.len, self.inner].map(|n| n as usize);
        let ys = out.get_mut(..run.rows * outer * len * inner).unwrap_or_default();
        if self.x != self.out {
            ys.copy_from_slice(run.slot(self.x, outer * len * inner));
        }
        if ys.is_empty() {
        } else if inner == 1 && !self.log && !self.skip_zeros {
            softmax(ys, len);
        } else {
            for ys in ys.chunks_exact_mut(len * inner) {
                (0..inner).for_each(|i| self.line(ys, i, inner));
            }
        }
        run.put(self.out, out);
    }

    /// One line, `step` apart from the value at `first` on.
    fn line(&self, ys: &mut [f32], first: usize, step: usize) {
        let takes_part = |y: f32| !(self.skip_zeros && y.abs() <= 1e-7);
        let line = |ys: &mut [f32], f: &mut dyn FnMut(&mut f32)| {
            ys.iter_mut().skip(first).step_by(step).for_each(f);
        };
        let mut top = f32::NEG_INFINITY;
        line(ys, &mut |y| top = if *y > top { *y } else { top });
        let mut sum = 0.0;
        line(ys, &mut |y| {
            let part = takes_part(*y);
            *y = if part { *y - top } else { f32::NEG_INFINITY };
            sum += approx::exp_of(*y);
        });
        if self.log {
            let log = approx::log_of(sum);
            line(ys, &mut |y| *y -= log);
        } else if sum != 0.0 {
            line(ys, &mut |y| *y = approx::exp_of(*y) / sum);
        } else {
            line(ys, &mut |y| *y = 0.0);
        }
    }
}

/// Of lines that lie one after the other; all exponentials in one pass.
fn softmax(ys: &mut [f32], len: usize) {
    for ys in ys.chunks_exact_mut(len) {
        let top = ys.iter().fold(f32::NEG_INFINITY, |top, y| if *y > top { *y } else { top });
        ys.iter_mut().for_each(|y| *y -= top);
    }
    approx::exp(ys);
    for ys in ys.chunks_exact_mut(len) {
        let sum = ys.iter().fold(0.0, |sum, y| sum + y);
        ys.iter_mut().for_each(|y| *y /= sum);
    }
}

impl LayerNorm {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let len = extent(&[self.outer, self.len])?;
        for constants in self.scale.iter().chain(&self.bias) {
            check.constants(*constants, self.len as usize)?;
        }
        check.reads(Operand::Slot(self.x), len)?;
        check.distinct(self.out, &[Operand::Slot(self.x)])?;
        check.writes(self.out, len)?;
        Ok(4 * len as u64)
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let mut out = run.take(self.out);
        let [outer, len] = [self.outer, self.len].map(|n| n as usize);
        let xs = run.slot(self.x, outer * len);
        let scale = self.scale.map(|at| run.constants(at, len));
        let bias = self.bias.map(|at| run.constants(at, len));
        for (ys, xs) in out.chunks_exact_mut(len.max(1)).zip(xs.chunks_exact(len.max(1))) {
            let mean = sum(xs, |x| x) / self.len as f32;
            let variance = sum(xs, |x| (x - mean) * (x - mean)) / self.len as f32;
            let deviation = sqrt(variance + self.epsilon);
            ys.iter_mut().zip(xs).for_each(|(y, x)| *y = (x - mean) / deviation);
            scale.iter().for_each(|scale| ys.iter_mut().zip(*scale).for_each(|(y, s)| *y *= s));
            bias.iter().for_each(|bias| ys.iter_mut().zip(*bias).for_each(|(y, b)| *y += b));
        }
        run.put(self.out, out);
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;
    use crate::engine::kernels::{
        Kernel,
        trial::{Trial, noise},
    };

    fn reduce(kind: ReduceKind, [outer, len, inner]: [u32; 3]) -> Trial {
        let kernel = Reduce { kind, x: 0, out: 1, outer, len, inner };
        let (fed, made) = (vec![outer * len * inner], vec![outer * inner]);
        Trial { kernel: Kernel::Reduce(kernel), floats: vec![], fed, made }
    }

    /// Lines of `[outer, len, inner]`, in the order of `[outer, inner]`.
    fn lines(xs: &[f32], [outer, len, inner]: [u32; 3]) -> Vec<Vec<f32>> {
        let at = |o, n, i| xs[((o * len + n) * inner + i) as usize];
        let outer = outer * (xs.len() as u32 / (outer * len * inner));
        (0..outer)
            .flat_map(|o| (0..inner).map(move |i| (0..len).map(|n| at(o, n, i)).collect::<Vec<_>>()))
            .collect()
    }

    fn close(ours: &[f32], exact: &[f64]) {
        assert_eq!(ours.len(), exact.len());
        for (y, z) in ours.iter().zip(exact) {
            assert!((f64::from(*y) - z).abs() <= 2e-6 * z.abs().max(1.0), "{y} {z}");
        }
    }

    #[test]
    fn reductions_are_as_in_plain_loops() {
        for shape in [[2, 19, 1], [2, 7, 3], [1, 1, 1], [3, 8, 1]] {
            let xs = noise(4 * shape.iter().product::<u32>() as usize);
            let lines = lines(&xs, shape);
            let wide: Vec<Vec<f64>> =
                lines.iter().map(|l| l.iter().map(|x| f64::from(*x)).collect()).collect();
            let check = |kind, f: &dyn Fn(&[f64]) -> f64| {
                let exact: Vec<f64> = wide.iter().map(|line| f(line)).collect();
                close(&reduce(kind, shape).run(4, &[&xs], 1), &exact);
            };
            check(ReduceKind::Sum, &|l| l.iter().sum());
            check(ReduceKind::Mean, &|l| l.iter().sum::<f64>() / l.len() as f64);
            check(ReduceKind::Max, &|l| l.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            check(ReduceKind::Min, &|l| l.iter().copied().fold(f64::INFINITY, f64::min));
            check(ReduceKind::Prod, &|l| l.iter().product());
            check(ReduceKind::L1, &|l| l.iter().map(|x| x.abs()).sum());
            check(ReduceKind::SumSquare, &|l| l.iter().map(|x| x * x).sum());
            check(ReduceKind::L2, &|l| libm::sqrt(l.iter().map(|x| x * x).sum()));
            let place = |l: &[f64], top: f64| l.iter().position(|x| *x == top).unwrap() as f64;
            check(ReduceKind::ArgMax { last: false }, &|l| place(l, l.iter().copied().fold(-9.0, f64::max)));
            check(ReduceKind::ArgMin { last: true }, &|l| place(l, l.iter().copied().fold(9.0, f64::min)));
        }
    }

    #[test]
    fn ties_and_nan() {
        let nan = f32::NAN;
        let run = |kind, xs: &[f32]| reduce(kind, [1, xs.len() as u32, 1]).run(1, &[xs], 1)[0];
        let (first, last) = (ReduceKind::ArgMax { last: false }, ReduceKind::ArgMax { last: true });
        assert_eq!((run(first, &[1.0, 5.0, 5.0]), run(last, &[1.0, 5.0, 5.0])), (1.0, 2.0));
        assert_eq!((run(first, &[9.0, nan, 9.0, nan]), run(last, &[nan, 9.0, nan, 9.0])), (1.0, 2.0));
        let (first, last) = (ReduceKind::ArgMin { last: false }, ReduceKind::ArgMin { last: true });
        assert_eq!((run(first, &[1.0, 0.0, 0.0]), run(last, &[0.0, 0.0, 5.0])), (1.0, 1.0));
        assert_eq!(run(first, &[9.0, nan, 1.0]), 1.0);
        assert!(
            run(ReduceKind::Max, &[1.0, nan, 2.0]).is_nan() && run(ReduceKind::Min, &[nan, 2.0]).is_nan()
        );
        // Of nothing.
        assert_eq!(reduce(ReduceKind::Sum, [2, 0, 3]).run(1, &[&[]], 1), [0.0; 6]);
        assert_eq!(reduce(ReduceKind::Max, [1, 0, 1]).run(1, &[&[]], 1), [f32::NEG_INFINITY]);
        assert!(reduce(first, [1, 0, 1]).plan().is_err());
    }

    fn softmax([outer, len, inner]: [u32; 3], log: bool, skip_zeros: bool, out: u32) -> Trial {
        let kernel = Kernel::Softmax(Softmax { x: 0, out, outer, len, inner, log, skip_zeros });
        let made = vec![outer * len * inner; out as usize];
        Trial { kernel, floats: vec![], fed: vec![outer * len * inner], made }
    }

    #[test]
    fn softmax_along_any_axis() {
        for shape in [[2, 5, 1], [1, 4, 3], [3, 1, 1]] {
            let volume = shape.iter().product::<u32>() as usize;
            let xs = noise(3 * volume);
            for (log, out) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
                let ours = softmax(shape, log, false, out).run(3, &[&xs], out);
                let exact: Vec<Vec<f64>> = lines(&xs, shape)
                    .iter()
                    .map(|line| {
                        let sum: f64 = line.iter().map(|x| libm::exp(f64::from(*x))).sum();
                        let one = |x: &f32| libm::exp(f64::from(*x)) / sum;
                        line.iter().map(|x| if log { libm::log(one(x)) } else { one(x) }).collect()
                    })
                    .collect();
                for (ours, exact) in lines(&ours, shape).iter().zip(&exact) {
                    close(ours, exact);
                }
            }
        }
    }

    #[test]
    fn softmax_at_its_edges() {
        let run = |xs: &[f32], log| softmax([1, xs.len() as u32, 1], log, false, 1).run(1, &[xs], 1);
        assert_eq!(run(&[1e30, -1e30, -f32::INFINITY], false), [1.0, 0.0, 0.0]);
        assert_eq!(run(&[0.0, -200.0], true), [0.0, -200.0]);
        assert!(run(&[1.0, f32::NAN], false).iter().all(|y| y.is_nan()));
        assert!(run(&[1.0, f32::NAN], true).iter().all(|y| y.is_nan()));
        let zeros = |xs: &[f32]| softmax([1, 3, 1], false, true, 1).run(1, &[xs], 1);
        assert_eq!([zeros(&[0.0, 2.0, 2.0]), zeros(&[0.0; 3])], [[0.0, 0.5, 0.5], [0.0; 3]]);
    }

    #[test]
    fn layers_are_normalised() {
        let (outer, len) = (3, 21);
        let made = vec![outer * len];
        let kernel = LayerNorm { x: 0, out: 1, outer, len, epsilon: 1e-5, scale: Some(0), bias: Some(21) };
        let trial = Trial { kernel: Kernel::LayerNorm(kernel), floats: noise(42), fed: made.clone(), made };
        let xs = noise(2 * 63);
        let mut exact = Vec::new();
        for line in xs.chunks(21) {
            let line: Vec<f64> = line.iter().map(|x| f64::from(*x)).collect();
            let mean = line.iter().sum::<f64>() / 21.0;
            let variance = line.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 21.0;
            let constants = trial.floats.iter().zip(&trial.floats[21..]);
            exact.extend(line.iter().zip(constants).map(|(x, (scale, bias))| {
                (x - mean) / libm::sqrt(variance + 1e-5) * f64::from(*scale) + f64::from(*bias)
            }));
        }
        close(&trial.run(2, &[&xs], 1), &exact);
    }

    #[test]
    fn hostile_shapes_are_refused() {
        let huge = [u32::MAX, u32::MAX, u32::MAX];
        let plan = |kernel, floats| Trial { kernel, floats, fed: vec![6], made: vec![6] }.plan();
        let [outer, len, inner] = huge;
        let (x, out, kind) = (0, 1, ReduceKind::Sum);
        for (outer, len, inner) in [(outer, len, inner), (7, 1, 1), (1, 7, 1), (0, len, inner)] {
            let reduce = Reduce { kind, x, out, outer, len, inner };
            let softmax = Softmax { x, out, outer, len, inner, log: false, skip_zeros: false };
            let norm = LayerNorm { x, out, outer, len, epsilon: 0.0, scale: None, bias: None };
            let kernels = [Kernel::Reduce(reduce), Kernel::Softmax(softmax), Kernel::LayerNorm(norm)];
            let refused = kernels.map(|kernel| plan(kernel, vec![]).is_err());
            assert_eq!(refused, if outer == 0 { [true, true, len > 7] } else { [true; 3] });
        }
        let reduce = Reduce { kind, x, out: 0, outer: 1, len: 6, inner: 1 };
        assert!(plan(Kernel::Reduce(reduce), vec![]).is_err());
        let norm = LayerNorm { x, out, outer: 2, len: 3, epsilon: 0.0, scale: Some(1), bias: None };
        assert!(plan(Kernel::LayerNorm(norm), vec![0.0; 3]).is_err());
    }
}
