//! Recurrent cells, gated recurrent units and long short-term memory, as ONNX defines them, with their default
//! activations.
//!
//! Inputs are projected several steps at a time and all sequences of a block take a step together, so that both
//! products see several rows. Each gate's columns are padded to whole panels.

// Every length is made sure of by `check`.
#![allow(clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::{
    dense::{packed, volume},
    product::{Layer, PANEL, pack},
};
use crate::{
    engine::{
        approx::{sigmoid, tanh},
        plan::{Check, Operand},
        run::Run,
    },
    error::{Result, bail},
};

/// How many steps are projected at a time.
const CHUNK: u32 = 4;

/// The kind of cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Gates in ONNX's order z, r, h.
    Gru { linear_before_reset: bool },
    /// Gates in ONNX's order i, o, f, c.
    Lstm,
    /// tanh(W·x + R·h + b).
    Elman,
}

crate::wire::variants!(Cell { Gru { linear_before_reset }, Lstm, Elman });

/// One direction over a sequence. A bidirectional layer is two kernels that write into one output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recurrent {
    pub(crate) cell: Cell,
    pub(crate) backwards: bool,
    /// `[steps, batch, inputs]`.
    pub(crate) x: u32,
    /// Every step's hidden state, `[steps, directions, batch, hidden]`; this kernel fills its direction.
    pub(crate) out: Option<u32>,
    /// The last hidden state, `[directions, batch, hidden]`; this kernel fills its direction.
    pub(crate) last: Option<u32>,
    /// The last cell state of an LSTM, `[directions, batch, hidden]`.
    pub(crate) last_cell: Option<u32>,
    /// The first hidden (and, LSTM, cell) state, `[directions, batch, hidden]`; zeros if absent.
    pub(crate) first: Option<Operand>,
    pub(crate) first_cell: Option<Operand>,
    pub(crate) direction: u32,
    pub(crate) directions: u32,
    pub(crate) steps: u32,
    /// Sequences within one row; 1 unless the model's own batch axis has a fixed size.
    pub(crate) batch: u32,
    pub(crate) inputs: u32,
    pub(crate) hidden: u32,
    /// From `inputs`, as [`pack_gates`] makes them.
    pub(crate) weights: u32,
    /// From `hidden`, as [`pack_gates`] makes them.
    pub(crate) recurrence: u32,
    /// As [`pack_bias`] makes them.
    pub(crate) bias: u32,
    /// Peephole weights of an LSTM, `[3, hidden]`, gates i, o, f.
    pub(crate) peepholes: Option<u32>,
    /// A buffer of [`Recurrent::scratch_len`] values.
    pub(crate) scratch: u32,
}

crate::wire::fields!(Recurrent {
    cell,
    backwards,
    x,
    out,
    last,
    last_cell,
    first,
    first_cell,
    direction,
    directions,
    steps,
    batch,
    inputs,
    hidden,
    weights,
    recurrence,
    bias,
    peepholes,
    scratch
});

/// Packs one direction of ONNX's W or R, `[gates · hidden, inputs]`: panels of each gate, one gate after the other.
pub(crate) fn pack_gates(weights: &[f32], gates: usize, hidden: usize, inputs: usize) -> Vec<f32> {
    let mut all = Vec::with_capacity(gates * hidden.next_multiple_of(PANEL) * inputs);
    for gate in weights.chunks_exact(hidden * inputs).take(gates) {
        let transposed: Vec<f32> =
            (0..inputs).flat_map(|i| gate.iter().skip(i).step_by(inputs).copied()).collect();
        all.extend(pack(&transposed, inputs, hidden));
    }
    all
}

/// Packs one direction of ONNX's B, the input part's and the recurrent part's biases `[2 · gates · hidden]`: each gate
/// padded with zeros to a multiple of 8.
pub(crate) fn pack_bias(bias: &[f32], gates: usize, hidden: usize) -> Vec<f32> {
    let mut all = Vec::with_capacity(2 * gates * hidden.next_multiple_of(PANEL));
    for gate in bias.chunks_exact(hidden).take(2 * gates) {
        all.extend_from_slice(gate);
        all.resize(all.len().next_multiple_of(PANEL), 0.0);
    }
    all
}

/// The sizes of a running kernel.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    steps: usize,
    chunk: usize,
    batch: usize,
    inputs: usize,
    hidden: usize,
    /// Of one gate.
    padded: usize,
    /// Of all gates.
    width: usize,
}

/// The parts of the scratch buffer, each for all sequences of all rows.
struct State<'s> {
    /// `[rows, chunk, batch, width]`.
    projected: &'s mut [f32],
    /// `[rows · batch, width]`.
    recurrent: &'s mut [f32],
    /// `[rows · batch, hidden]`, as the next.
    hidden: &'s mut [f32],
    cell: &'s mut [f32],
}

impl Recurrent {
    /// How many gates the cell has.
    pub(crate) fn gates(&self) -> u32 {
        match self.cell {
            Cell::Gru { .. } => 3,
            Cell::Lstm => 4,
            Cell::Elman => 1,
        }
    }

    /// How many values of scratch a row needs, saturating.
    pub(crate) fn scratch_len(gates: u32, steps: u32, batch: u32, hidden: u32) -> u32 {
        let width = hidden.checked_next_multiple_of(PANEL as u32).unwrap_or(u32::MAX).saturating_mul(gates);
        let sequence = width.saturating_mul(steps.min(CHUNK) + 1).saturating_add(hidden.saturating_mul(2));
        sequence.saturating_mul(batch)
    }

    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        const WHAT: &str = "recurrent";
        let state = volume(WHAT, &[self.directions, self.batch, self.hidden])?;
        let width = volume(WHAT, &[self.gates(), packed(WHAT, 1, self.hidden)? as u32])?;
        let lstm = matches!(self.cell, Cell::Lstm);
        let cell = self.last_cell.is_some() || self.first_cell.is_some() || self.peepholes.is_some();
        if self.direction >= self.directions || (cell && !lstm) {
            bail!(InvalidModel, "a recurrent kernel of the plan contradicts itself");
        }
        check.reads(Operand::Slot(self.x), volume(WHAT, &[self.steps, self.batch, self.inputs])?)?;
        check.constants(self.weights, volume(WHAT, &[self.inputs, width as u32])?)?;
        check.constants(self.recurrence, volume(WHAT, &[self.hidden, width as u32])?)?;
        check.constants(self.bias, 2 * width)?;
        self.peepholes.map_or(Ok(()), |at| check.constants(at, 3 * self.hidden as usize))?;
        let mut used = alloc::vec![Operand::Slot(self.x)];
        for first in [self.first, self.first_cell].into_iter().flatten() {
            check.reads(first, state)?;
            used.push(first);
        }
        let scratch = Self::scratch_len(self.gates(), self.steps, self.batch, self.hidden);
        let all = volume(WHAT, &[self.steps, state as u32])?;
        let made = [(self.out, all), (self.last, state), (self.last_cell, state)];
        for (slot, len) in made {
            let Some(slot) = slot else { continue };
            check.distinct(slot, &used)?;
            check.writes(slot, len)?;
            used.push(Operand::Slot(slot));
        }
        check.distinct(self.scratch, &used)?;
        check.scratch(self.scratch, volume(WHAT, &[scratch])?)?;
        let step = (u64::from(self.inputs) + u64::from(self.hidden) + 32) * width as u64;
        Ok(step.saturating_mul(u64::from(self.steps) * u64::from(self.batch)))
    }

    fn sizes(&self, rows: usize) -> Sizes {
        let hidden = self.hidden as usize;
        let padded = hidden.next_multiple_of(PANEL);
        Sizes {
            rows,
            steps: self.steps as usize,
            chunk: self.steps.min(CHUNK) as usize,
            batch: self.batch as usize,
            inputs: self.inputs as usize,
            hidden,
            padded,
            width: padded * self.gates() as usize,
        }
    }

    #[inline(never)]
    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let size = self.sizes(run.rows);
        let sequences = size.rows * size.batch;
        let mut scratch = run.take(self.scratch);
        let mut outputs = [self.out, self.last, self.last_cell].map(|slot| slot.map(|slot| run.take(slot)));
        let (projected, rest) = scratch.split_at_mut(sequences * size.chunk * size.width);
        let (recurrent, rest) = rest.split_at_mut(sequences * size.width);
        let (hidden, rest) = rest.split_at_mut(sequences * size.hidden);
        let cell = &mut rest[..sequences * size.hidden];
        self.begin(run, self.first, hidden);
        self.begin(run, self.first_cell, cell);
        let mut state = State { projected, recurrent, hidden, cell };
        for step in 0..size.steps {
            let time = if self.backwards { size.steps - 1 - step } else { step };
            if step % size.chunk == 0 {
                self.project(run, size, step, state.projected);
            }
            self.step(run, size, step, &mut state);
            if let Some(out) = &mut outputs[0] {
                self.write(size, state.hidden, out, time, size.steps);
            }
        }
        for (output, state) in outputs[1..].iter_mut().zip([&state.hidden, &state.cell]) {
            if let Some(output) = output {
                self.write(size, state, output, 0, 1);
            }
        }
        for (slot, buffer) in [self.out, self.last, self.last_cell].into_iter().zip(outputs) {
            if let (Some(slot), Some(buffer)) = (slot, buffer) {
                run.put(slot, buffer);
            }
        }
        run.put(self.scratch, scratch);
    }

    /// Sets a first state.
    fn begin(&self, run: &Run<'_>, first: Option<Operand>, state: &mut [f32]) {
        let len = (self.batch * self.hidden) as usize;
        let Some(first) = first else {
            state.fill(0.0);
            return;
        };
        let (from, next) = run.read(first, len * self.directions as usize);
        for (row, state) in state.chunks_exact_mut(len).enumerate() {
            state.copy_from_slice(&from[row * next + self.direction as usize * len..][..len]);
        }
    }

    /// Writes a state to its direction at `time` of `times`.
    fn write(&self, size: Sizes, state: &[f32], out: &mut [f32], time: usize, times: usize) {
        let len = size.batch * size.hidden;
        let directions = self.directions as usize;
        for (row, state) in state.chunks_exact(len).enumerate() {
            let at = (row * times + time) * directions + self.direction as usize;
            out[at * len..][..len].copy_from_slice(state);
        }
    }

    /// W·x + b of the steps that begin at `step`, by time within them.
    fn project(&self, run: &Run<'_>, size: Sizes, step: usize, projected: &mut [f32]) {
        let layer = self.layer(run, size, self.weights, size.inputs, self.bias);
        let count = size.chunk.min(size.steps - step);
        let from = if self.backwards { size.steps - step - count } else { step } * size.batch * size.inputs;
        let x = run.slot(self.x, size.steps * size.batch * size.inputs);
        let rows = x.chunks_exact(size.steps * size.batch * size.inputs);
        for (x, out) in rows.zip(projected.chunks_exact_mut(size.chunk * size.batch * size.width)) {
            let (x, out) = (&x[from..], &mut out[..count * size.batch * size.width]);
            layer.apply(&x[..count * size.batch * size.inputs], out);
        }
    }

    fn layer<'r>(&self, run: &'r Run<'_>, size: Sizes, weights: u32, inputs: usize, bias: u32) -> Layer<'r> {
        let weights = run.constants(weights, inputs * size.width).as_chunks().0;
        Layer { weights, bias: run.constants(bias, size.width).as_chunks().0, inputs, outputs: size.width }
    }

    /// One step of all sequences.
    #[inline(never)]
    fn step(&self, run: &Run<'_>, size: Sizes, step: usize, state: &mut State<'_>) {
        let bias = self.bias + size.width as u32;
        let layer = self.layer(run, size, self.recurrence, size.hidden, bias);
        if self.cell == (Cell::Gru { linear_before_reset: false }) {
            return self.gru_reset_first(&layer, size, step, state);
        }
        layer.apply(state.hidden, state.recurrent);
        let peepholes = self.peepholes.map(|at| run.constants(at, 3 * size.hidden));
        let states = state.hidden.chunks_exact_mut(size.hidden).zip(state.cell.chunks_exact_mut(size.hidden));
        for (i, (gates, (hidden, cell))) in
            state.recurrent.chunks_exact_mut(size.width).zip(states).enumerate()
        {
            let x = &state.projected[self.at(size, i, step)..][..size.width];
            match self.cell {
                Cell::Gru { .. } => gru(x, gates, hidden, size.padded),
                Cell::Lstm => lstm(x, gates, hidden, cell, size, peepholes),
                Cell::Elman => {
                    add(gates, x);
                    tanh(gates);
                    hidden.copy_from_slice(&gates[..size.hidden]);
                }
            }
        }
    }

    /// Where a sequence's projection for a step begins.
    fn at(&self, size: Sizes, sequence: usize, step: usize) -> usize {
        let (row, sequence) = (sequence / size.batch, sequence % size.batch);
        let within = step % size.chunk;
        let count = size.chunk.min(size.steps - (step - within));
        let time = if self.backwards { count - 1 - within } else { within };
        ((row * size.chunk + time) * size.batch + sequence) * size.width
    }

    /// The reset gate acts on the state before its product with the weights, so that there are two products.
    fn gru_reset_first(&self, layer: &Layer<'_>, size: Sizes, step: usize, state: &mut State<'_>) {
        let two = 2 * size.padded;
        let (weights, last_weights) = layer.weights.split_at(two / PANEL * size.hidden);
        let (bias, last_bias) = layer.bias.split_at(two / PANEL);
        let (gates, candidates) = state.recurrent.split_at_mut(size.rows * size.batch * two);
        Layer { weights, bias, outputs: two, ..*layer }.apply(state.hidden, gates);
        let resets = state.hidden.chunks_exact(size.hidden).zip(state.cell.chunks_exact_mut(size.hidden));
        for (i, (gates, (hidden, reset))) in gates.chunks_exact_mut(two).zip(resets).enumerate() {
            add(gates, &state.projected[self.at(size, i, step)..]);
            sigmoid(gates);
            let r = &gates[size.padded..];
            reset.iter_mut().zip(hidden).zip(r).for_each(|((reset, h), r)| *reset = r * h);
        }
        Layer { weights: last_weights, bias: last_bias, outputs: size.padded, ..*layer }
            .apply(state.cell, candidates);
        let states = state.hidden.chunks_exact_mut(size.hidden).zip(candidates.chunks_exact_mut(size.padded));
        for (i, (z, (hidden, candidate))) in gates.chunks_exact(two).zip(states).enumerate() {
            add(candidate, &state.projected[self.at(size, i, step) + two..]);
            tanh(candidate);
            mix(hidden, candidate, z);
        }
    }
}

/// `sums += x`, as far as both reach.
fn add(sums: &mut [f32], x: &[f32]) {
    sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
}

/// h = (1 − z) · candidate + z · h.
fn mix(hidden: &mut [f32], candidate: &[f32], z: &[f32]) {
    hidden.iter_mut().zip(candidate).zip(z).for_each(|((h, c), z)| *h = (1.0 - z) * c + z * *h);
}

/// A step with `linear_before_reset`; `x` are the projected inputs, `gates` R·h + b.
fn gru(x: &[f32], gates: &mut [f32], hidden: &mut [f32], padded: usize) {
    let (zr, candidate) = gates.split_at_mut(2 * padded);
    add(zr, x);
    sigmoid(zr);
    let (z, r) = zr.split_at(padded);
    let x = &x[2 * padded..];
    candidate.iter_mut().zip(r).zip(x).for_each(|((c, r), x)| *c = x + r * *c);
    tanh(candidate);
    mix(hidden, candidate, z);
}

/// A step; gates i, o, f, c.
fn lstm(
    x: &[f32],
    gates: &mut [f32],
    hidden: &mut [f32],
    cell: &mut [f32],
    size: Sizes,
    peepholes: Option<&[f32]>,
) {
    add(gates, x);
    let (i, rest) = gates.split_at_mut(size.padded);
    let (o, rest) = rest.split_at_mut(size.padded);
    let (f, c) = rest.split_at_mut(size.padded);
    let peep = |gate: &mut [f32], cell: &[f32], number: usize| {
        if let Some(weights) = peepholes {
            let weights = &weights[number * size.hidden..];
            gate.iter_mut().zip(cell).zip(weights).for_each(|((gate, cell), w)| *gate += w * cell);
        }
    };
    peep(i, cell, 0);
    peep(f, cell, 2);
    sigmoid(i);
    sigmoid(f);
    tanh(c);
    for (((cell, f), i), c) in cell.iter_mut().zip(&*f).zip(&*i).zip(&*c) {
        *cell = f * *cell + i * c;
    }
    peep(o, cell, 1);
    sigmoid(o);
    hidden.copy_from_slice(cell);
    tanh(hidden);
    hidden.iter_mut().zip(&*o).for_each(|(h, o)| *h *= o);
}

#[cfg(test)]
mod tests;
