//! Matrix products: by constant weights, and of two computed matrices.

// Inner loops cut their slices to length first; `check` made sure of every length.
#![allow(clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::{
    function::Function,
    product::{Lanes, Layer, PANEL, store},
};
use crate::{
    engine::{
        plan::{Check, Operand, size},
        run::Run,
    },
    error::{Result, bail},
};

/// The most axes before the last two.
const MAX_AXES: usize = 16;

/// `out = activation(x · W + b)` for `repeat` rows of `inputs` values within each row.
///
/// Each output starts at its bias and adds the products in the order of the inputs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    pub(crate) x: u32,
    pub(crate) out: u32,
    pub(crate) repeat: u32,
    pub(crate) inputs: u32,
    pub(crate) outputs: u32,
    /// Offset of ⌈outputs / 8⌉ panels of `inputs` × 8 weights, as `pack` makes them.
    pub(crate) weights: u32,
    /// Offset of the biases, padded with zeros to a multiple of 8.
    pub(crate) bias: u32,
    pub(crate) activation: Option<Function>,
}

crate::wire::fields!(Dense { x, out, repeat, inputs, outputs, weights, bias, activation });

/// `out = a · b` of matrices `[rows, inner]` and `[inner, columns]`, row-major, for every position of `batch`.
///
/// Each sum starts at 0 and adds the products in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MatMul {
    pub(crate) a: Operand,
    pub(crate) b: Operand,
    pub(crate) out: u32,
    /// The axes before the last two, after broadcasting; may be empty.
    pub(crate) batch: Vec<u32>,
    /// How many matrices further the next position of each axis is; 0 where broadcast.
    pub(crate) a_strides: Vec<u32>,
    pub(crate) b_strides: Vec<u32>,
    pub(crate) rows: u32,
    pub(crate) inner: u32,
    pub(crate) columns: u32,
}

crate::wire::fields!(MatMul { a, b, out, batch, a_strides, b_strides, rows, inner, columns });

/// The product of dimensions that are at least 1 and together not unreasonable.
pub(super) fn volume(what: &str, factors: &[u32]) -> Result<usize> {
    if factors.contains(&0) {
        bail!(InvalidModel, "a {what} kernel of the plan has an empty dimension: {factors:?}");
    }
    size(what, factors)
}

/// How many constants a padded, packed matrix takes.
pub(super) fn packed(what: &str, inputs: u32, outputs: u32) -> Result<usize> {
    volume(what, &[outputs])?;
    volume(what, &[inputs, outputs.next_multiple_of(PANEL as u32)])
}

impl Dense {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let panels = packed("dense", self.inputs, self.outputs)?;
        check.reads(Operand::Slot(self.x), volume("dense", &[self.repeat, self.inputs])?)?;
        check.constants(self.weights, panels)?;
        check.constants(self.bias, (self.outputs as usize).next_multiple_of(PANEL))?;
        check.distinct(self.out, &[Operand::Slot(self.x)])?;
        check.writes(self.out, volume("dense", &[self.repeat, self.outputs])?)?;
        Ok(panels as u64 * u64::from(self.repeat))
    }

    #[inline(never)]
    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let (repeat, inputs, outputs) = (self.repeat as usize, self.inputs as usize, self.outputs as usize);
        let padded = outputs.next_multiple_of(PANEL);
        let mut buffer = run.take(self.out);
        let layer = Layer {
            weights: run.constants(self.weights, inputs * padded).as_chunks().0,
            bias: run.constants(self.bias, padded).as_chunks().0,
            inputs,
            outputs,
        };
        let out = buffer.get_mut(..run.rows * repeat * outputs).unwrap_or_default();
        layer.apply(run.slot(self.x, repeat * inputs), out);
        if let Some(activation) = self.activation {
            activation.apply(out);
        }
        run.put(self.out, buffer);
    }
}

impl MatMul {
    /// How many matrices of an operand a row has: one more than the last that is reached.
    fn matrices(&self, strides: &[u32]) -> Result<u32> {
        let steps = self.batch.iter().map(|n| u64::from(n.saturating_sub(1)));
        let last =
            steps.zip(strides).fold(0_u64, |at, (n, stride)| at.saturating_add(n * u64::from(*stride)));
        match u32::try_from(last + 1) {
            Ok(count) if strides.len() == self.batch.len() => Ok(count),
            _ => bail!(
                InvalidModel,
                "a matrix product of the plan has strides {strides:?} for {:?}",
                self.batch
            ),
        }
    }

    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        if self.batch.len() > MAX_AXES {
            bail!(InvalidModel, "a matrix product of the plan has {} axes", self.batch.len());
        }
        let positions = volume("matrix product", &self.batch)?;
        let lens = self.lens()?;
        check.reads(self.a, lens[0])?;
        check.reads(self.b, lens[1])?;
        check.distinct(self.out, &[self.a, self.b])?;
        let matrix = volume("matrix product", &[self.rows, self.columns])?;
        check.writes(self.out, volume("matrix product", &[positions as u32, matrix as u32])?)?;
        Ok((positions as u64).saturating_mul(matrix as u64).saturating_mul(u64::from(self.inner)))
    }

    /// How many values of `a` and of `b` a row has.
    fn lens(&self) -> Result<[usize; 2]> {
        let a = volume("matrix product", &[self.matrices(&self.a_strides)?, self.rows, self.inner])?;
        let b = volume("matrix product", &[self.matrices(&self.b_strides)?, self.inner, self.columns])?;
        Ok([a, b])
    }

    #[inline(never)]
    pub(crate) fn run(&self, run: &mut Run<'_>) {
        // Checked when the plan was read.
        let Ok(lens) = self.lens() else { return };
        let (rows, inner, columns) = (self.rows as usize, self.inner as usize, self.columns as usize);
        let positions = self.batch.iter().product::<u32>() as usize;
        let mut buffer = run.take(self.out);
        let (a, a_row) = run.read(self.a, lens[0]);
        let (b, b_row) = run.read(self.b, lens[1]);
        for (i, out) in buffer.chunks_exact_mut(rows * columns).take(run.rows * positions).enumerate() {
            let (row, position) = (i / positions, i % positions);
            let a_at = row * a_row + self.matrix(position, &self.a_strides) * rows * inner;
            let b_at = row * b_row + self.matrix(position, &self.b_strides) * inner * columns;
            let (a, b) = (&a[a_at..a_at + rows * inner], &b[b_at..b_at + inner * columns]);
            multiply(a, b, out, inner, columns);
        }
        run.put(self.out, buffer);
    }

    /// Which matrix of an operand is at a position of the batch.
    fn matrix(&self, position: usize, strides: &[u32]) -> usize {
        let axes = self.batch.iter().zip(strides).rev();
        axes.fold((position, 0), |(position, at), (n, stride)| {
            let n = *n as usize;
            (position / n, at + position % n * *stride as usize)
        })
        .1
    }
}

/// `out = a · b` of one pair of matrices.
fn multiply(a: &[f32], b: &[f32], out: &mut [f32], inner: usize, columns: usize) {
    let (a_quads, a_rest) = a.split_at(a.len() / inner / 4 * 4 * inner);
    let (out_quads, out_rest) = out.split_at_mut(a_quads.len() / inner * columns);
    for (a, out) in a_quads.chunks_exact(4 * inner).zip(out_quads.chunks_exact_mut(4 * columns)) {
        multiply_rows::<4>(a, b, out, columns);
    }
    for (a, out) in a_rest.chunks_exact(inner).zip(out_rest.chunks_exact_mut(columns)) {
        multiply_rows::<1>(a, b, out, columns);
    }
}

/// The same for `R` rows of `a`, eight columns at a time.
fn multiply_rows<const R: usize>(a: &[f32], b: &[f32], out: &mut [f32], columns: usize) {
    let inner = a.len() / R;
    let a: [&[f32]; R] = core::array::from_fn(|r| &a[r * inner..(r + 1) * inner]);
    for first in (0..columns).step_by(PANEL) {
        let width = PANEL.min(columns - first);
        let sums = if width == PANEL {
            let b =
                b.chunks_exact(columns).map(|row| row[first..].first_chunk().copied().unwrap_or_default());
            sum_rows(a, b)
        } else {
            let mut lanes = [0.0; PANEL];
            let b = b.chunks_exact(columns).map(|row| {
                lanes[..width].copy_from_slice(&row[first..]);
                lanes
            });
            sum_rows(a, b)
        };
        for (out, sums) in out.chunks_exact_mut(columns).zip(&sums) {
            store(&mut out[first..first + width], sums);
        }
    }
}

/// As [`super::product::block`], from 0, for a matrix that is not packed.
#[inline(always)]
fn sum_rows<const R: usize>(a: [&[f32]; R], b: impl Iterator<Item = Lanes>) -> [Lanes; R] {
    let mut sums = [[0.0; PANEL]; R];
    for (k, b) in b.enumerate() {
        for (sums, a) in sums.iter_mut().zip(&a) {
            sums.iter_mut().zip(&b).for_each(|(sum, b)| *sum += a[k] * b);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::{
        super::{
            Kernel,
            product::pack,
            trial::{Trial, bits, noise},
        },
        *,
    };

    fn dense(repeat: u32, inputs: u32, outputs: u32) -> Trial {
        let (n, m) = (inputs as usize, outputs as usize);
        let mut floats = pack(&noise(n * m), n, m);
        let bias = floats.len() as u32;
        floats.extend(noise(m));
        floats.resize(floats.len().next_multiple_of(PANEL), 0.0);
        let activation = Some(Function::Relu);
        let kernel =
            Kernel::Dense(Dense { x: 0, out: 1, repeat, inputs, outputs, weights: 0, bias, activation });
        Trial { kernel, floats, fed: vec![repeat * inputs], made: vec![repeat * outputs] }
    }

    #[test]
    fn dense_adds_in_order_and_applies_its_activation() {
        for rows in (1..=9).chain([33]) {
            let (repeat, inputs, outputs) = (3, 6, 13);
            let x = noise(rows * repeat * inputs);
            let (weights, bias) = (noise(inputs * outputs), noise(outputs));
            let out = dense(repeat as u32, inputs as u32, outputs as u32).run(rows, &[&x], 1);
            let plain = |at: usize| {
                let products =
                    (0..inputs).map(|k| x[at / outputs * inputs + k] * weights[k * outputs + at % outputs]);
                products.fold(bias[at % outputs], |sum, product| sum + product).max(0.0)
            };
            let expected: Vec<f32> = (0..rows * repeat * outputs).map(plain).collect();
            assert_eq!(bits(&out), bits(&expected));
        }
    }

    #[test]
    fn dense_refuses_what_would_reach_out_of_its_buffers() {
        let accepts = |change: fn(&mut Dense)| {
            let mut trial = dense(2, 3, 5);
            if let Kernel::Dense(kernel) = &mut trial.kernel {
                change(kernel);
            }
            trial.plan().is_ok()
        };
        assert!(accepts(|_| ()));
        let wrong: [fn(&mut Dense); 9] = [
            |k| k.inputs = 0,
            |k| k.outputs = 0,
            |k| k.repeat = 0,
            |k| k.outputs = u32::MAX,
            |k| k.inputs = 4,
            |k| k.repeat = 3,
            |k| k.weights = 9,
            |k| k.bias = u32::MAX,
            |k| k.out = 0,
        ];
        assert!(wrong.into_iter().all(|change| !accepts(change)));
    }

    /// Two batch axes; `b` is shared along the first.
    fn product(rows: u32, inner: u32, columns: u32) -> MatMul {
        let (a, b) = (Operand::Slot(0), Operand::Slot(1));
        let (a_strides, b_strides) = (vec![3, 1], vec![0, 1]);
        MatMul { a, b, out: 2, batch: vec![2, 3], a_strides, b_strides, rows, inner, columns }
    }

    fn trial(kernel: MatMul, rows: u32, inner: u32, columns: u32) -> Trial {
        let (fed, made) = (vec![6 * rows * inner, 3 * inner * columns], vec![6 * rows * columns]);
        Trial { kernel: Kernel::MatMul(kernel), floats: vec![], fed, made }
    }

    #[test]
    fn products_of_computed_matrices_broadcast() {
        for (rows, inner, columns) in [(1, 1, 1), (5, 3, 4), (4, 7, 8), (9, 2, 19)] {
            let trial = trial(product(rows, inner, columns), rows, inner, columns);
            let [rows, inner, columns] = [rows, inner, columns].map(|n| n as usize);
            let (a, b) = (noise(3 * 6 * rows * inner), noise(3 * 3 * inner * columns));
            let plain = |at: usize| {
                let (matrix, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
                let a = &a[(matrix * rows + row) * inner..];
                let b = &b[(matrix / 6 * 3 + matrix % 3) * inner * columns + column..];
                (0..inner).fold(0.0, |sum, k| sum + a[k] * b[k * columns])
            };
            let expected: Vec<f32> = (0..3 * 6 * rows * columns).map(plain).collect();
            assert_eq!(bits(&trial.run(3, &[&a, &b], 2)), bits(&expected));
        }
    }

    #[test]
    fn products_refuse_what_would_reach_out_of_their_buffers() {
        assert!(trial(product(5, 3, 4), 5, 3, 4).plan().is_ok());
        for wrong in [
            MatMul { a_strides: vec![4, 1], ..product(5, 3, 4) },
            MatMul { b_strides: vec![u32::MAX, u32::MAX], ..product(5, 3, 4) },
            MatMul { a_strides: vec![1], ..product(5, 3, 4) },
            MatMul { batch: vec![2, 0], ..product(5, 3, 4) },
            MatMul { rows: 0, ..product(5, 3, 4) },
            MatMul { inner: u32::MAX, ..product(5, 3, 4) },
            MatMul { out: 0, ..product(5, 3, 4) },
        ] {
            assert!(trial(wrong, 5, 3, 4).plan().is_err());
        }
    }
}
