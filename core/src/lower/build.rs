//! The plan under construction.

use alloc::{string::ToString, vec::Vec};

use super::value::{Data, Kind, Value, numbers, strides};
use crate::{
    engine::{Copy, Kernel, MAX_FLOATS, Operand, Plan, Port, Program, pack},
    error::{Result, bail},
};

/// The largest integer up to which floats hold every integer.
pub(crate) const EXACT: i64 = 1 << 24;

/// Kernels, buffers and constants so far. Every value has a buffer of its own; sharing comes later.
#[derive(Debug, Default)]
pub(crate) struct Lowering {
    program: Program,
    floats: Vec<f32>,
    words: Vec<u32>,
    /// Offset, length and panel length of weights that may be stored in fewer bits.
    weights: Vec<[u32; 3]>,
    total: usize,
}

impl Lowering {
    /// A new buffer of `len` numbers a row.
    pub(crate) fn slot(&mut self, len: usize) -> Result<u32> {
        self.total = self.total.saturating_add(len);
        if self.total > MAX_FLOATS {
            bail!(
                UnsupportedModel,
                "the model needs more than {MAX_FLOATS} numbers a row; a plan cannot hold it"
            );
        }
        self.program.slots.push(len as u32);
        Ok(self.program.slots.len() as u32 - 1)
    }

    pub(crate) fn kernel(&mut self, kernel: Kernel) {
        self.program.kernels.push(kernel);
    }

    /// Puts numbers among the constants; returns their offset.
    pub(crate) fn constant(&mut self, values: &[f32]) -> Result<u32> {
        let at = self.floats.len();
        if at + values.len() > MAX_FLOATS {
            bail!(UnsupportedModel, "the model has more than {MAX_FLOATS} weights; a plan cannot hold it");
        }
        self.floats.extend_from_slice(values);
        Ok(at as u32)
    }

    /// Puts numbers among the constants, followed by zeros up to a multiple of 8.
    pub(crate) fn padded_constant(&mut self, values: &[f32]) -> Result<u32> {
        let mut values = values.to_vec();
        values.resize(values.len().next_multiple_of(crate::engine::PANEL), 0.0);
        self.constant(&values)
    }

    /// Packs a row-major `[inputs, outputs]` matrix into panels; returns their offset.
    pub(crate) fn matrix(&mut self, matrix: &[f32], inputs: usize, outputs: usize) -> Result<u32> {
        self.weights(&pack(matrix, inputs, outputs), inputs)
    }

    /// Puts weights among the constants that may be stored in fewer bits, `inputs` for each output; eight outputs, which
    /// lie together, share a scale.
    pub(crate) fn weights(&mut self, weights: &[f32], inputs: usize) -> Result<u32> {
        let at = self.constant(weights)?;
        self.weights.push([at, weights.len() as u32, (inputs * crate::engine::PANEL) as u32]);
        Ok(at)
    }

    /// Puts the nodes of a tree among the words; returns their offset.
    pub(crate) fn words(&mut self, words: &[u32]) -> Result<u32> {
        let at = self.words.len();
        if at + words.len() > MAX_FLOATS {
            bail!(UnsupportedModel, "the model's trees have more than {} nodes", MAX_FLOATS / 2);
        }
        self.words.extend_from_slice(words);
        Ok(at as u32)
    }

    /// Where a kernel reads a value.
    pub(crate) fn operand(&mut self, value: &Value) -> Result<Operand> {
        Ok(match &value.data {
            Data::Slot(slot) => Operand::Slot(*slot),
            Data::Floats(data) => Operand::Const(self.constant(data)?),
            Data::Ints(data) => {
                if data.iter().any(|x| !(-EXACT..=EXACT).contains(x)) {
                    bail!(
                        UnsupportedModel,
                        "the model computes with integers beyond ±2²⁴; a plan cannot hold them"
                    );
                }
                let floats: Vec<f32> = data.iter().map(|x| *x as f32).collect();
                Operand::Const(self.constant(&floats)?)
            }
        })
    }

    /// The buffer of a value; constants are copied into one.
    pub(crate) fn slot_of(&mut self, value: &Value) -> Result<u32> {
        let x = match self.operand(value)? {
            Operand::Slot(slot) => return Ok(slot),
            constant => constant,
        };
        let len = value.len();
        let out = self.slot(len)?;
        self.kernel(Kernel::Copy(Copy {
            x,
            out,
            x_len: len as u32,
            out_len: len as u32,
            shape: alloc::vec![len as u32],
            x_offset: 0,
            x_strides: alloc::vec![1],
            out_offset: 0,
            out_strides: alloc::vec![1],
        }));
        Ok(out)
    }

    /// A new value in a buffer of its own.
    pub(crate) fn fresh(
        &mut self,
        kind: Kind,
        shape: Vec<usize>,
        batch: Option<usize>,
    ) -> Result<(u32, Value)> {
        // Too large a shape is refused by what a row may need.
        let slot = self.slot(numbers(&shape).unwrap_or(usize::MAX))?;
        Ok((slot, Value { kind, shape, batch, data: Data::Slot(slot) }))
    }

    /// The value with its inner axes in another order: `order[i]` is the old index of new axis `i`.
    pub(crate) fn transposed(
        &mut self,
        value: &Value,
        order: &[usize],
        batch: Option<usize>,
    ) -> Result<Value> {
        let shape: Vec<usize> = order.iter().map(|axis| value.shape[*axis]).collect();
        if order.iter().enumerate().all(|(i, axis)| i == *axis) {
            return Ok(value.reshaped(shape, batch));
        }
        let own = strides(&value.shape);
        let from: Vec<i32> = order.iter().map(|axis| own[*axis] as i32).collect();
        self.copied(value, shape, batch, 0, from)
    }

    /// A new value of `shape` whose neighbours are `strides` apart in the old one, from `offset` on.
    pub(crate) fn copied(
        &mut self,
        value: &Value,
        shape: Vec<usize>,
        batch: Option<usize>,
        offset: usize,
        x_strides: Vec<i32>,
    ) -> Result<Value> {
        let x = self.operand(value)?;
        let (out, result) = self.fresh(value.kind, shape, batch)?;
        self.kernel(Kernel::Copy(Copy {
            x,
            out,
            x_len: value.len() as u32,
            out_len: result.len() as u32,
            shape: result.shape.iter().map(|n| *n as u32).collect(),
            x_offset: offset as u32,
            x_strides,
            out_offset: 0,
            out_strides: strides(&result.shape).iter().map(|n| *n as u32).collect(),
        }));
        Ok(result)
    }

    /// Declares an input; gives the value that the graph reads.
    pub(crate) fn input(&mut self, name: &str, value: Value) -> Result<Value> {
        let slot = self.slot(value.len())?;
        self.program.inputs.push(port(name, &value, slot));
        Ok(Value { data: Data::Slot(slot), ..value })
    }

    /// Declares an output.
    pub(crate) fn output(&mut self, name: &str, value: &Value) -> Result<()> {
        let slot = self.slot_of(value)?;
        self.program.outputs.push(port(name, value, slot));
        Ok(())
    }

    /// The finished plan, unchecked, each value in a buffer of its own, constants as 32-bit floats.
    /// With it, which weights may be stored in fewer bits.
    pub(crate) fn finish(mut self) -> (Plan, Vec<[u32; 3]>) {
        self.program.words = self.words.len() as u32;
        (
            Plan { program: self.program, floats: self.floats.as_slice().into(), words: self.words },
            self.weights,
        )
    }

    /// Runs what was built, which depends on constants only; the values become constants.
    pub(crate) fn run(mut self, values: Vec<Value>) -> Result<Vec<Value>> {
        for value in values.iter().filter(|value| matches!(value.data, Data::Slot(_))) {
            self.output("", value)?;
        }
        let (plan, _) = self.finish();
        plan.check()?;
        let mut workspace = plan.workspace(1);
        plan.run(&mut workspace, 1)?;
        let mut at = 0;
        let mut constant = |value: Value| {
            if !matches!(value.data, Data::Slot(_)) {
                return value;
            }
            let floats = plan.output(&workspace, at, 1);
            at += 1;
            let data = match value.kind {
                Kind::Float => Data::Floats(floats.into()),
                _ => Data::Ints(floats.iter().map(|x| *x as i64).collect()),
            };
            Value { data, ..value }
        };
        Ok(values.into_iter().map(&mut constant).collect())
    }
}

fn port(name: &str, value: &Value, slot: u32) -> Port {
    Port { name: name.to_string(), shape: value.shape.iter().map(|n| *n as u32).collect(), slot }
}
