//! The inner loop of every matrix product: a block of rows times a panel of eight columns, held in registers.
//!
//! Each sum starts at a given value and adds its products in the order of the inputs, whatever the block it is in,
//! so neither the batch nor the width of the processor's registers changes a bit. It lacks splitting of long sums.

// The slices are cut to one length before the loop over them, which the compiler then checks no more.
#![allow(clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::engine::wide::{self, Loop};

/// Outputs that are computed side by side. Weights are stored in panels of this many columns.
pub(crate) const PANEL: usize = 8;

/// How many panels one row is multiplied by at a time: as many as leave their sums in registers.
const SIDE: usize = if cfg!(target_arch = "wasm32") { 3 } else { 4 };

/// A row of a panel, or the sums of one.
pub(super) type Lanes = [f32; PANEL];

/// Packs row-major weights `[inputs, outputs]` into ⌈outputs / 8⌉ panels of `inputs` × 8, padded with zeros.
pub(crate) fn pack(weights: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    let mut packed = Vec::with_capacity(inputs * outputs.next_multiple_of(PANEL));
    for first in (0..outputs).step_by(PANEL) {
        for row in weights.chunks_exact(outputs).take(inputs) {
            let lanes = &row[first..outputs.min(first + PANEL)];
            packed.extend_from_slice(lanes);
            packed.resize(packed.len().next_multiple_of(PANEL), 0.0);
        }
    }
    packed
}

/// `start[r] + Σ x[r][k] · panel[k]`, for `R` rows and `P` panels at a time.
#[inline(always)]
pub(super) fn block<const R: usize, const P: usize>(
    x: [&[f32]; R],
    panels: [&[Lanes]; P],
    start: [[Lanes; P]; R],
) -> [[Lanes; P]; R] {
    let inputs = panels[0].len();
    let (x, panels) = (x.map(|x| &x[..inputs]), panels.map(|panel| &panel[..inputs]));
    let mut sums = start;
    for k in 0..inputs {
        accumulate(&mut sums, x.map(|x| x[k]), panels.map(|panel| &panel[k]));
    }
    sums
}

#[inline(always)]
fn accumulate<const R: usize, const P: usize>(sums: &mut [[Lanes; P]; R], x: [f32; R], w: [&Lanes; P]) {
    for r in 0..R {
        for p in 0..P {
            let (sums, x, w) = (&mut sums[r][p], x[r], w[p]);
            // Written out, so that the loops around are few enough instructions to be unrolled.
            sums[0] += x * w[0];
            sums[1] += x * w[1];
            sums[2] += x * w[2];
            sums[3] += x * w[3];
            sums[4] += x * w[4];
            sums[5] += x * w[5];
            sums[6] += x * w[6];
            sums[7] += x * w[7];
        }
    }
}

/// What sums start at.
#[derive(Clone, Copy)]
pub(super) enum Start<'s> {
    /// Each lane of each panel has a bias.
    Lanes(&'s [Lanes]),
    /// Each row has a bias.
    Rows(&'s [f32]),
}

/// Rows times panels: row `r` of `out`, `stride` further than the one before, gets `start + x[r] · panels`, its first
/// `width` values. A panel stays in the nearest cache while all rows pass.
pub(super) struct Rows<'s> {
    pub(super) x: &'s [f32],
    pub(super) inputs: usize,
    pub(super) panels: &'s [Lanes],
    pub(super) start: Start<'s>,
    pub(super) out: &'s mut [f32],
    pub(super) stride: usize,
    pub(super) width: usize,
}

impl Rows<'_> {
    #[inline(never)]
    pub(super) fn multiply(self) {
        wide::run(self);
    }

    /// `R` rows by `P` panels at a time, of the panels from `panel` on; returns the first row that is left.
    #[inline(always)]
    fn blocks<const R: usize, const P: usize>(&mut self, panel: usize, first: usize) -> usize {
        let inputs = self.inputs;
        let end = first + (self.x.len() / inputs - first) / R * R;
        let panels: [&[Lanes]; P] = core::array::from_fn(|p| &self.panels[(panel + p) * inputs..][..inputs]);
        for row in (first..end).step_by(R) {
            let x: [&[f32]; R] = core::array::from_fn(|r| &self.x[(row + r) * inputs..]);
            let start = core::array::from_fn(|r| match self.start {
                Start::Lanes(bias) => core::array::from_fn(|p| bias[panel + p]),
                Start::Rows(bias) => [[bias[row + r]; PANEL]; P],
            });
            let sums = block(x, panels, start);
            for (r, sums) in sums.iter().enumerate() {
                let out = &mut self.out[(row + r) * self.stride..][..self.width];
                for (out, sums) in out[panel * PANEL..].chunks_mut(PANEL).zip(sums) {
                    store(out, sums);
                }
            }
        }
        end
    }

    /// Eight rows by a pair of panels at a time, whose sixteen lanes are one register; as [`Rows::blocks`].
    #[inline(always)]
    fn pairs(&mut self, panel: usize) -> usize {
        let inputs = self.inputs;
        let end = self.x.len() / inputs / 8 * 8;
        let panels: [&[Lanes]; 2] = core::array::from_fn(|p| &self.panels[(panel + p) * inputs..][..inputs]);
        for row in (0..end).step_by(8) {
            let x: [&[f32]; 8] = core::array::from_fn(|r| &self.x[(row + r) * inputs..][..inputs]);
            let start = |r: usize| match self.start {
                Start::Lanes(bias) => pair(&bias[panel], &bias[panel + 1]),
                Start::Rows(bias) => [bias[row + r]; 2 * PANEL],
            };
            // Eight names rather than an array, which would be kept in memory.
            let (mut a, mut b, mut c, mut d) = (start(0), start(1), start(2), start(3));
            let (mut e, mut f, mut g, mut h) = (start(4), start(5), start(6), start(7));
            for k in 0..inputs {
                let w = pair(&panels[0][k], &panels[1][k]);
                let add = |sums: &mut [f32; 2 * PANEL], x: f32| {
                    sums.iter_mut().zip(&w).for_each(|(sum, w)| *sum += x * w);
                };
                add(&mut a, x[0][k]);
                add(&mut b, x[1][k]);
                add(&mut c, x[2][k]);
                add(&mut d, x[3][k]);
                add(&mut e, x[4][k]);
                add(&mut f, x[5][k]);
                add(&mut g, x[6][k]);
                add(&mut h, x[7][k]);
            }
            for (r, sums) in [a, b, c, d, e, f, g, h].iter().enumerate() {
                store(&mut self.out[(row + r) * self.stride..][panel * PANEL..self.width], sums);
            }
        }
        end
    }
}

#[inline(always)]
fn pair(a: &Lanes, b: &Lanes) -> [f32; 2 * PANEL] {
    let [a0, a1, a2, a3, a4, a5, a6, a7] = *a;
    let [b0, b1, b2, b3, b4, b5, b6, b7] = *b;
    [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7]
}

impl Loop for Rows<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(mut self) {
        let count = self.panels.len() / self.inputs;
        let pairs = if LANES > 4 { count / 2 * 2 } else { 0 };
        for panel in (0..pairs).step_by(2) {
            let done = if LANES == 16 { self.pairs(panel) } else { 0 };
            let done = self.blocks::<4, 2>(panel, done);
            self.blocks::<1, 2>(panel, done);
        }
        for panel in pairs..count {
            let done = if LANES > 4 { self.blocks::<8, 1>(panel, 0) } else { 0 };
            let done = self.blocks::<4, 1>(panel, done);
            self.blocks::<1, 1>(panel, done);
        }
    }
}

/// One row times all panels of a layer.
struct Row<'s> {
    layer: &'s Layer<'s>,
    x: &'s [f32],
    out: &'s mut [f32],
}

impl Row<'_> {
    #[inline(never)]
    fn multiply(self) {
        wide::run(self);
    }

    /// `P` panels at a time, so that enough sums are under way, from panel `first` on; returns the first that is left.
    #[inline(always)]
    fn panels<const P: usize>(&mut self, first: usize) -> usize {
        let Layer { weights, bias, inputs, .. } = *self.layer;
        let end = first + (bias.len() - first) / P * P;
        for panel in (first..end).step_by(P) {
            let panels = core::array::from_fn(|p| &weights[(panel + p) * inputs..][..inputs]);
            let start: [Lanes; P] = core::array::from_fn(|p| bias[panel + p]);
            let [sums] = block([self.x], panels, [start]);
            for (out, sums) in self.out[panel * PANEL..].chunks_mut(PANEL).zip(&sums) {
                store(out, sums);
            }
        }
        end
    }
}

impl Loop for Row<'_> {
    #[inline(always)]
    fn run<const LANES: usize>(mut self) {
        let done = if LANES > 4 { self.panels::<6>(0) } else { 0 };
        // Of four panels, two and two are faster than three and one.
        let done = match self.layer.bias.len() - done {
            4 if SIDE == 3 => self.panels::<2>(done),
            _ => self.panels::<SIDE>(done),
        };
        let done = self.panels::<2>(done);
        self.panels::<1>(done);
    }
}

/// A packed matrix with biases: `out = x · W + b`.
pub(super) struct Layer<'w> {
    /// `inputs` rows for each panel.
    pub(super) weights: &'w [Lanes],
    /// One for each panel.
    pub(super) bias: &'w [Lanes],
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Layer<'_> {
    /// `x` holds rows of `inputs` values, `out` as many rows of `outputs`.
    pub(super) fn apply(&self, x: &[f32], out: &mut [f32]) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let quads = x.len() / inputs / 4 * 4;
        let (x, x_rest) = x.split_at(quads * inputs);
        let (out, out_rest) = out.split_at_mut(quads * outputs);
        if quads > 0 {
            let (panels, start) = (self.weights, Start::Lanes(self.bias));
            Rows { x, inputs, panels, start, out, stride: outputs, width: outputs }.multiply();
        }
        for (x, out) in x_rest.chunks_exact(inputs).zip(out_rest.chunks_exact_mut(outputs)) {
            Row { layer: self, x, out }.multiply();
        }
    }
}

/// Copies as many sums as there is room for: the rest is padding.
#[inline(always)]
pub(super) fn store<const N: usize>(out: &mut [f32], sums: &[f32; N]) {
    match out.first_chunk_mut::<N>() {
        Some(out) => *out = *sums,
        None => out.iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum),
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::{
        super::trial::{bits, noise},
        *,
    };

    #[test]
    fn packing() {
        assert_eq!(
            pack(&[1.0, 2.0, 3.0, 4.0], 2, 2).as_chunks().0,
            [[1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],]
        );
        let nine: Vec<f32> = (0..18_u8).map(f32::from).collect();
        let packed = pack(&nine, 2, 9);
        assert_eq!(packed.len(), 32);
        assert_eq!(packed[..8], nine[..8]);
        assert_eq!(packed[8..16], nine[9..17]);
        assert_eq!([packed[16], packed[17], packed[24]], [8.0, 0.0, 17.0]);
    }

    #[test]
    fn every_shape_has_the_bits_of_a_plain_loop() {
        for (inputs, outputs) in [(1, 1), (2, 5), (3, 8), (7, 9), (16, 31), (5, 32), (33, 37), (4, 72)] {
            let (weights, biases) = (noise(inputs * outputs), noise(outputs));
            let packed = pack(&weights, inputs, outputs);
            let mut padded = biases.clone();
            padded.resize(outputs.next_multiple_of(PANEL), 0.0);
            let layer = Layer { weights: packed.as_chunks().0, bias: padded.as_chunks().0, inputs, outputs };
            for rows in (1..=9).chain([33]) {
                let x = noise(rows * inputs);
                let mut out = vec![0.0; rows * outputs];
                layer.apply(&x, &mut out);
                let plain = |at: usize| {
                    let (row, output) = (at / outputs, at % outputs);
                    let products = (0..inputs).map(|k| x[row * inputs + k] * weights[k * outputs + output]);
                    products.fold(biases[output], |sum, product| sum + product)
                };
                let expected: Vec<f32> = (0..rows * outputs).map(plain).collect();
                assert_eq!(bits(&out), bits(&expected), "{rows} × {inputs} × {outputs}");
            }
        }
    }
}
