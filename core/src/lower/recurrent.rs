//! Recurrent layers: RNN, GRU and LSTM, in any direction and either layout.

use alloc::{string::String, vec::Vec};

use super::{
    build::Lowering,
    node::Node,
    shape::{from_dims, permuted, to_dims},
    value::Value,
};
use crate::{
    engine::{Cell, Kernel, Operand, Recurrent, pack_bias, pack_gates},
    error::Result,
};

/// The operator's outputs; `None` when it is of another family.
pub(super) fn lower(
    low: &mut Lowering,
    node: &Node<'_>,
    inputs: &[Option<Value>],
) -> Result<Option<Vec<Value>>> {
    let linear_before_reset = node.int("linear_before_reset", 0) != 0;
    let (cell, gates) = match node.operator() {
        "RNN" => (Cell::Elman, 1),
        "GRU" => (Cell::Gru { linear_before_reset }, 3),
        "LSTM" => (Cell::Lstm, 4),
        _ => return Ok(None),
    };
    refuse_variants(node, cell)?;
    let layer = Layer::new(node, inputs, cell, gates)?;
    layer.lower(low, node, inputs).map(Some)
}

/// What the kernels do not do.
fn refuse_variants(node: &Node<'_>, cell: Cell) -> Result<()> {
    let usual: &[&str] = match cell {
        Cell::Elman => &["tanh"],
        Cell::Gru { .. } => &["sigmoid", "tanh"],
        Cell::Lstm => &["sigmoid", "tanh", "tanh"],
    };
    let activations = node.texts("activations").unwrap_or_default();
    let lower: Vec<String> = activations.iter().map(|name| name.to_ascii_lowercase()).collect();
    if !lower.iter().zip(usual.iter().cycle()).all(|(name, usual)| name == usual) {
        return Err(node.refuse(&alloc::format!("its activations are {activations:?}, not {usual:?}")));
    }
    if node.has("clip") {
        return Err(node.refuse("it clips its gates"));
    }
    if node.int("input_forget", 0) != 0 {
        return Err(node.refuse("its input and forget gates are coupled"));
    }
    Ok(())
}

/// The sizes of a layer, which the weights and the input give.
struct Layer {
    cell: Cell,
    gates: usize,
    /// Whether the batch comes first.
    batch_first: bool,
    backwards: Vec<bool>,
    steps: usize,
    /// Sequences within one row.
    batch: usize,
    inputs: usize,
    hidden: usize,
    free: bool,
}

impl Layer {
    fn new(node: &Node<'_>, inputs: &[Option<Value>], cell: Cell, gates: usize) -> Result<Self> {
        let x = node.need(inputs, 0)?;
        let batch_first = node.int("layout", 0) != 0;
        let dims = to_dims(x);
        let (steps, batch, width) = match (&*dims, batch_first) {
            (&[steps, batch, width], false) | (&[batch, steps, width], true) => (steps, batch, width),
            _ => return Err(node.invalid("its input has not three axes")),
        };
        let (Some(steps), Some(inputs_)) = (steps, width) else {
            return Err(node.refuse("its sequences have no known length; fix it when exporting"));
        };
        let backwards = match node.text("direction", "forward").as_str() {
            "forward" => alloc::vec![false],
            "reverse" => alloc::vec![true],
            "bidirectional" => alloc::vec![false, true],
            _ => return Err(node.invalid("its `direction` is unknown")),
        };
        let hidden = node.need(inputs, 2)?.shape.last().copied().unwrap_or_default();
        let layer = Self {
            cell,
            gates,
            batch_first,
            backwards,
            steps,
            batch: batch.unwrap_or(1),
            inputs: inputs_,
            hidden,
            free: batch.is_none(),
        };
        if [layer.steps, layer.batch, layer.inputs, layer.hidden].contains(&0) {
            return Err(node.refuse("one of its inputs is empty"));
        }
        if let Some(Some(lengths)) = inputs.get(4)
            && !lengths.integers().is_some_and(|all| all.iter().all(|n| *n == layer.steps as i64))
        {
            return Err(node.refuse("its sequences have lengths of their own (sequence_lens)"));
        }
        Ok(layer)
    }

    /// A constant input of a shape, split by direction.
    fn parts(
        &self,
        node: &Node<'_>,
        inputs: &[Option<Value>],
        at: usize,
        rest: &[usize],
    ) -> Result<Vec<Vec<f32>>> {
        let (shape, data) = node.constant(inputs, at)?;
        let each: usize = rest.iter().product();
        if shape.first() != Some(&self.backwards.len()) || shape.get(1..) != Some(rest) || each == 0 {
            return Err(node.invalid(&alloc::format!("input {at} has shape {shape:?}")));
        }
        Ok(data.chunks_exact(each).map(<[f32]>::to_vec).collect())
    }

    fn lower(&self, low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Vec<Value>> {
        let (gates, hidden, directions) = (self.gates, self.hidden, self.backwards.len());
        let weights = self.parts(node, inputs, 1, &[gates * hidden, self.inputs])?;
        let recurrence = self.parts(node, inputs, 2, &[gates * hidden, hidden])?;
        let given = |at: usize| matches!(inputs.get(at), Some(Some(_)));
        let biases = match given(3) {
            true => self.parts(node, inputs, 3, &[2 * gates * hidden])?,
            false => alloc::vec![alloc::vec![0.0; 2 * gates * hidden]; directions],
        };
        let peepholes = match given(7) {
            true if self.cell == Cell::Lstm => self.parts(node, inputs, 7, &[3 * hidden])?,
            _ => Vec::new(),
        };
        let first = self.state(low, node, inputs.get(5))?;
        let first_cell = match self.cell {
            Cell::Lstm => self.state(low, node, inputs.get(6))?,
            _ => None,
        };
        let x = node.need(inputs, 0)?;
        // The kernel reads [steps, batch, inputs].
        let x = if self.batch_first && !self.free { permuted(low, x, &[1, 0, 2])? } else { x.clone() };
        let x = low.slot_of(&x)?;
        let [steps, batch] = [self.steps, self.batch];
        let mut slot = |wanted: bool, len: usize| if wanted { low.slot(len).map(Some) } else { Ok(None) };
        let state = directions * batch * hidden;
        let out = slot(node.gives(0), steps * state)?;
        let last = slot(node.gives(1), state)?;
        let last_cell = slot(node.gives(2) && self.cell == Cell::Lstm, state)?;
        let scratch =
            low.slot(
                Recurrent::scratch_len(gates as u32, steps as u32, batch as u32, hidden as u32) as usize
            )?;
        for (direction, backwards) in self.backwards.iter().enumerate() {
            let of = |parts: &[Vec<f32>]| parts.get(direction).cloned().unwrap_or_default();
            let weights = low.weights(&pack_gates(&of(&weights), gates, hidden, self.inputs), self.inputs)?;
            let recurrence = low.weights(&pack_gates(&of(&recurrence), gates, hidden, hidden), hidden)?;
            let bias = low.constant(&pack_bias(&of(&biases), gates, hidden))?;
            let peepholes = match peepholes.get(direction) {
                Some(part) => Some(low.constant(part)?),
                None => None,
            };
            low.kernel(Kernel::Recurrent(Recurrent {
                cell: self.cell,
                backwards: *backwards,
                x,
                out,
                last,
                last_cell,
                first,
                first_cell,
                direction: direction as u32,
                directions: directions as u32,
                steps: steps as u32,
                batch: batch as u32,
                inputs: self.inputs as u32,
                hidden: hidden as u32,
                weights,
                recurrence,
                bias,
                peepholes,
                scratch,
            }));
        }
        [out, last, last_cell]
            .into_iter()
            .enumerate()
            .map(|(i, slot)| self.output(low, i == 0, slot))
            .collect()
    }

    /// An output as ONNX lays it out; one that nobody reads is empty.
    fn output(&self, low: &mut Lowering, every_step: bool, slot: Option<u32>) -> Result<Value> {
        let Some(slot) = slot else { return Ok(Value::floats(alloc::vec![0], Vec::new())) };
        let mut dims = if every_step { alloc::vec![Some(self.steps)] } else { Vec::new() };
        let batch = if self.free { None } else { Some(self.batch) };
        dims.extend([Some(self.backwards.len()), batch, Some(self.hidden)]);
        let (shape, at) = from_dims(&dims);
        let value =
            Value { kind: super::value::Kind::Float, shape, batch: at, data: super::value::Data::Slot(slot) };
        match (self.batch_first, every_step) {
            (false, _) => Ok(value),
            (true, true) => permuted(low, &value, &[2, 0, 1, 3]),
            (true, false) => permuted(low, &value, &[1, 0, 2]),
        }
    }

    /// The state before the first step, as `[directions, batch, hidden]`.
    fn state(
        &self,
        low: &mut Lowering,
        node: &Node<'_>,
        value: Option<&Option<Value>>,
    ) -> Result<Option<Operand>> {
        let Some(Some(value)) = value else { return Ok(None) };
        let misshapen = || node.invalid("its first state has another shape than [directions, batch, hidden]");
        if value.rank() != 3 {
            return Err(misshapen());
        }
        let value = if self.batch_first { permuted(low, value, &[1, 0, 2])? } else { value.clone() };
        if value.len() != self.backwards.len() * self.batch * self.hidden
            || (value.batch.is_some() && (value.batch != Some(1) || !self.free))
        {
            return Err(misshapen());
        }
        Ok(Some(low.operand(&value)?))
    }
}
