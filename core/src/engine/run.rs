//! Running a plan: buffers made once, kernels one after the other, rows in blocks.

use alloc::vec::Vec;

use super::{
    floats::Floats,
    kernels::Kernel,
    plan::{MAX_FLOATS, Operand, Plan, Program, Storage},
};
use crate::error::{Result, bail};

/// Buffers of a workspace hold about this many floats at most, so that they stay in the processor's cache.
const BLOCK_FLOATS: usize = 1 << 16;
/// The most rows that run at a time.
const MAX_BLOCK: usize = 128;

/// The buffers of one running plan. Nothing is allocated after it is made.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// One for each slot, and the last for a kernel's own use while it runs.
    buffers: Vec<Floats>,
    rows: usize,
}

impl Workspace {
    /// The most rows that fit.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// What a kernel sees while it runs.
pub(crate) struct Run<'r> {
    pub(crate) rows: usize,
    pub(crate) words: &'r [u32],
    floats: &'r [f32],
    buffers: &'r mut [Floats],
}

impl Run<'_> {
    /// An operand's values, and how far the next row's are: 0 for constants.
    pub(crate) fn read(&self, operand: Operand, len: usize) -> (&[f32], usize) {
        match operand {
            Operand::Slot(slot) => (self.slot(slot, len), len),
            Operand::Const(at) => (self.constants(at, len), 0),
        }
    }

    /// All rows of a buffer of `len` values a row.
    pub(crate) fn slot(&self, slot: u32, len: usize) -> &[f32] {
        self.buffers.get(slot as usize).and_then(|buffer| buffer.get(..self.rows * len)).unwrap_or_default()
    }

    pub(crate) fn constants(&self, at: u32, len: usize) -> &[f32] {
        let at = at as usize;
        self.floats.get(at..at + len).unwrap_or_default()
    }

    /// Takes a buffer out, to be written while others are read; give it back with [`Run::put`].
    pub(crate) fn take(&mut self, slot: u32) -> Floats {
        self.buffers.get_mut(slot as usize).map(core::mem::take).unwrap_or_default()
    }

    /// The slot of what a kernel may use for itself.
    pub(crate) fn scratch(&self) -> u32 {
        self.buffers.len().saturating_sub(1) as u32
    }

    pub(crate) fn put(&mut self, slot: u32, buffer: Floats) {
        if let Some(place) = self.buffers.get_mut(slot as usize) {
            *place = buffer;
        }
    }
}

impl Plan {
    /// Makes the buffers for up to `rows` rows at a time, fewer where a row is large.
    pub fn workspace(&self, rows: usize) -> Workspace {
        let rows = rows.min(BLOCK_FLOATS / self.row_floats().max(1)).clamp(1, MAX_BLOCK);
        let scratch = self.program.kernels.iter().map(Kernel::scratch).max().unwrap_or_default();
        let slots = self.program.slots.iter().map(|len| *len as usize).chain([scratch]);
        Workspace { buffers: slots.map(|len| Floats::zeros(len * rows)).collect(), rows }
    }

    /// Where an input's values go: `rows` rows, one after the other. Empty if there is no such input or too many rows.
    pub fn input<'w>(&self, workspace: &'w mut Workspace, input: usize, rows: usize) -> &'w mut [f32] {
        let port = self.program.inputs.get(input);
        let buffer = port.and_then(|port| workspace.buffers.get_mut(port.slot as usize));
        let len = port.map_or(0, |port| port.len().saturating_mul(rows));
        buffer.and_then(|buffer| buffer.get_mut(..len)).unwrap_or_default()
    }

    /// What an output's values are after [`Plan::run`] of `rows` rows.
    pub fn output<'w>(&self, workspace: &'w Workspace, output: usize, rows: usize) -> &'w [f32] {
        let port = self.program.outputs.get(output);
        let buffer = port.and_then(|port| workspace.buffers.get(port.slot as usize));
        let len = port.map_or(0, |port| port.len().saturating_mul(rows));
        buffer.and_then(|buffer| buffer.get(..len)).unwrap_or_default()
    }

    /// Runs `rows` rows of what is in the inputs. Inputs may be overwritten by it.
    ///
    /// # Errors
    /// `invalid_input` when there are more rows than the workspace has, or it was made for another plan.
    pub fn run(&self, workspace: &mut Workspace, rows: usize) -> Result<()> {
        self.fits(workspace, rows)?;
        let mut run = Run { rows, words: &self.words, floats: &self.floats, buffers: &mut workspace.buffers };
        for kernel in &self.program.kernels {
            kernel.run(&mut run);
        }
        for port in &self.program.outputs {
            let mut buffer = run.take(port.slot);
            let used = buffer.get_mut(..port.len() * rows).unwrap_or_default();
            // The bits of a computed NaN differ between processors; one is chosen.
            used.iter_mut().for_each(|x| *x = if x.is_nan() { f32::NAN } else { *x });
            run.put(port.slot, buffer);
        }
        Ok(())
    }

    fn fits(&self, workspace: &Workspace, rows: usize) -> Result<()> {
        let buffers = workspace.buffers.iter().zip(&self.program.slots);
        let fits = workspace.buffers.len() == self.program.slots.len() + 1
            && buffers
                .fold(true, |fits, (buffer, len)| fits && buffer.len() == *len as usize * workspace.rows);
        if rows > workspace.rows || !fits {
            bail!(InvalidInput, "{rows} rows do not fit into a workspace of {}", workspace.rows);
        }
        Ok(())
    }

    /// Runs any number of rows of the first input, in blocks, and appends the first output's rows to `out`.
    ///
    /// # Errors
    /// `invalid_input` when the values are not whole rows, or the plan has several inputs.
    pub fn run_rows(&self, workspace: &mut Workspace, values: &[f32], out: &mut Vec<f32>) -> Result<()> {
        let [input] = self.inputs() else {
            bail!(InvalidInput, "the model has {} inputs; set each", self.inputs().len());
        };
        let width = input.len();
        if width == 0 || !values.len().is_multiple_of(width) {
            bail!(InvalidInput, "{} values are not rows of {width}", values.len());
        }
        self.fits(workspace, 1)?;
        for block in values.chunks(width * workspace.rows) {
            let rows = block.len() / width;
            self.input(workspace, 0, rows).copy_from_slice(block);
            self.run(workspace, rows)?;
            out.extend_from_slice(self.output(workspace, 0, rows));
        }
        Ok(())
    }
}

/// Decodes the constants that follow a program.
pub(crate) fn constants(program: &Program, bytes: &[u8]) -> Result<(Floats, Vec<u32>)> {
    let total = program.segments.iter().fold(0_u64, |sum, segment| sum + u64::from(segment.count));
    let words = program.words as usize;
    if total > MAX_FLOATS as u64 || words > MAX_FLOATS {
        bail!(InvalidModel, "the plan has {total} constants; at most {MAX_FLOATS}");
    }
    let stored = program.segments.iter().map(|s| s.count as usize * s.storage.bytes()).sum::<usize>();
    if bytes.len() != stored + words * 4 {
        bail!(
            InvalidModel,
            "the plan has {} bytes of constants; its program says {}",
            bytes.len(),
            stored + words * 4
        );
    }
    let mut floats = Floats::with_capacity(total as usize);
    let mut rest = bytes;
    for segment in &program.segments {
        let (here, after) = rest.split_at(segment.count as usize * segment.storage.bytes());
        rest = after;
        match segment.storage {
            Storage::F32 => floats.extend(here.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Storage::F16 => {
                floats.extend(here.as_chunks().0.iter().map(|b| from_half(u16::from_le_bytes(*b))))
            }
            Storage::I8 => floats.extend(here.iter().map(|b| f32::from(*b as i8) * segment.scale)),
        }
    }
    Ok((floats, rest.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect()))
}

impl Storage {
    /// Bytes of one constant.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }
}

/// IEEE 754 binary16 as binary32; exact.
pub(crate) fn from_half(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let (exponent, fraction) = (u32::from(half >> 10) & 31, u32::from(half) & 0x3ff);
    match exponent {
        // Subnormal: fraction × 2⁻²⁴.
        0 => f32::from_bits(sign | (fraction as f32 * f32::from_bits(103 << 23)).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}
