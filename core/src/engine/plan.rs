//! What a plan is, as a value and as bytes.
//!
//! Bytes, little-endian: version (u32), length of the program (u32), the program, then the constants of
//! each segment one after the other. A plan that was read is checked whole: running it cannot index out of range.

use alloc::{string::String, vec::Vec};

use super::{floats::Floats, kernels::Kernel};
use crate::{
    error::{Error, ErrorKind, Result, bail},
    wire,
};

/// The version of the format that this build writes and reads.
pub(crate) const VERSION: u32 = 1;
/// The most constants, and the most numbers in one value: 256 MB.
pub(crate) const MAX_FLOATS: usize = 1 << 26;
/// The most floats that one row may need in all buffers: 64 MB.
const MAX_ROW_FLOATS: u64 = 1 << 24;
/// The most multiply-adds, or work like it, that one row may need.
const MAX_WORK: u64 = 1 << 32;
/// The most kernels.
const MAX_KERNELS: usize = 1 << 16;

/// A model ready to run: kernels, buffers and constants.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub(crate) program: Program,
    /// Constants: weights, biases, tables.
    pub(crate) floats: Floats,
    /// Constants that are not numbers: the nodes of trees.
    pub(crate) words: Vec<u32>,
}

/// What a plan does, without its constants.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Program {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    /// Length of each buffer, in floats a row.
    pub(crate) slots: Vec<u32>,
    /// In the order of running.
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) segments: Vec<Segment>,
    /// How many words of trees follow the segments.
    pub(crate) words: u32,
}

crate::wire::fields!(Program { inputs, outputs, slots, kernels, segments, words });

/// An input or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in the model.
    pub name: String,
    /// Its shape for one row, without the batch axis.
    pub shape: Vec<u32>,
    /// The buffer that holds it.
    pub(crate) slot: u32,
}

crate::wire::fields!(Port { name, shape, slot });

impl Port {
    /// How many numbers one row has.
    pub fn len(&self) -> usize {
        self.shape.iter().map(|n| *n as usize).product()
    }

    /// Whether a row has no numbers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A run of constants stored in one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Segment {
    pub(crate) count: u32,
    pub(crate) storage: Storage,
    /// What an `I8` value is multiplied by; 1 for the others.
    pub(crate) scale: f32,
}

crate::wire::fields!(Segment { count, storage, scale });

/// How the weights of dense, convolutional and recurrent layers are stored in the bundle; they always run as 32-bit
/// floats, and everything else is stored so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats: exactly what was trained.
    #[default]
    F32,
    /// IEEE 754 half precision: half the size, about three decimal digits.
    F16,
    /// 8-bit integers with one scale per eight outputs: a quarter of the size.
    I8,
}

crate::wire::variants!(Storage { F32, F16, I8 });

/// Where a kernel reads: a buffer (each row has its own values) or constants (all rows share them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    Slot(u32),
    Const(u32),
}

crate::wire::variants!(Operand { Slot(value), Const(value) });

impl Plan {
    /// Reads and checks a plan.
    ///
    /// # Errors
    /// `invalid_model` when the bytes are not a plan of this version, are cut short, or reach out of their own bounds.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let (Some(version), Some(length)) = (word_at(bytes, 0), word_at(bytes, 4)) else {
            bail!(InvalidModel, "the plan ends after {} bytes", bytes.len());
        };
        if version != VERSION {
            bail!(
                InvalidModel,
                "the plan has version {version}; this build reads {VERSION}; update tiercast"
            );
        }
        let rest = bytes.get(8..).unwrap_or_default();
        let Some((program, constants)) = rest.split_at_checked(length as usize) else {
            bail!(InvalidModel, "the plan's program is cut short");
        };
        let program: Program = wire::from_bytes(program).ok_or_else(unreadable)?;
        let (floats, words) = super::run::constants(&program, constants)?;
        let plan = Self { program, floats, words };
        plan.check()?;
        Ok(plan)
    }

    /// What goes in.
    pub fn inputs(&self) -> &[Port] {
        &self.program.inputs
    }

    /// What comes out.
    pub fn outputs(&self) -> &[Port] {
        &self.program.outputs
    }

    /// Floats of all buffers for one row.
    pub fn row_floats(&self) -> usize {
        self.program.slots.iter().map(|n| *n as usize).sum()
    }

    /// Makes sure that running cannot index out of range, read what was not written for the same row, or take unbounded
    /// time.
    pub(crate) fn check(&self) -> Result<()> {
        let p = &self.program;
        let total = p.slots.iter().fold(0_u64, |sum, n| sum + u64::from(*n));
        if total > MAX_ROW_FLOATS || p.kernels.len() > MAX_KERNELS {
            bail!(InvalidModel, "the plan needs {total} floats a row and {} kernels", p.kernels.len());
        }
        let mut check = Check {
            slots: &p.slots,
            written: p.slots.iter().map(|_| Written::Nothing).collect(),
            floats: self.floats.len(),
            words: &self.words,
            words_used: 0,
        };
        for port in &p.inputs {
            check.writes(port.slot, port_len(port)?)?;
        }
        let mut work = 0_u64;
        for kernel in &p.kernels {
            work = work.saturating_add(kernel.check(&mut check)?);
            if work > MAX_WORK {
                bail!(InvalidModel, "the plan needs {work} operations a row; at most {MAX_WORK}");
            }
        }
        for port in &p.outputs {
            check.reads(Operand::Slot(port.slot), port_len(port)?)?;
        }
        Ok(())
    }
}

/// A program that cannot be read is damaged, unless it may hold kernels that this build leaves out.
fn unreadable() -> Error {
    if cfg!(feature = "all-kernels") {
        Error::new(ErrorKind::InvalidModel, "the plan's program cannot be read")
    } else {
        Error::new(
            ErrorKind::UnsupportedModel,
            "the plan needs kernels that this build leaves out; use a build with the feature `all-kernels`",
        )
    }
}

fn port_len(port: &Port) -> Result<usize> {
    product(&port.shape)
}

/// The product of dimensions, refused where it would be unreasonable.
pub(crate) fn product(shape: &[u32]) -> Result<usize> {
    let len = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d as usize).filter(|n| *n <= MAX_FLOATS));
    match len {
        Some(len) => Ok(len),
        None => bail!(InvalidModel, "a shape of the plan is too large: {shape:?}"),
    }
}

/// What a buffer holds.
#[derive(Debug, PartialEq)]
enum Written {
    Nothing,
    /// Rows of so many values.
    Rows(usize),
    /// Parts of rows: which values of a row were written, and how many.
    Parts(Vec<bool>, usize),
}

/// What is known while a plan is checked, kernel by kernel.
#[derive(Debug)]
pub(crate) struct Check<'p> {
    slots: &'p [u32],
    /// What each buffer was last given.
    written: Vec<Written>,
    floats: usize,
    pub(crate) words: &'p [u32],
    /// Words before this one are some kernel's trees: no other kernel may have them checked again.
    pub(crate) words_used: usize,
}

impl Check<'_> {
    /// Constants are there, or a buffer was given rows of just `len` values before.
    pub(crate) fn reads(&self, operand: Operand, len: usize) -> Result<()> {
        match operand {
            Operand::Const(at) => self.constants(at, len),
            Operand::Slot(slot) => {
                if self.written.get(slot as usize) != Some(&Written::Rows(len)) {
                    bail!(
                        InvalidModel,
                        "a kernel of the plan reads buffer {slot} otherwise than it was written"
                    );
                }
                Ok(())
            }
        }
    }

    /// The buffer exists and has room for `len` values a row; from now on it may be read.
    pub(crate) fn writes(&mut self, slot: u32, len: usize) -> Result<()> {
        self.give(slot, len, |_| Written::Rows(len))
    }

    /// The buffer exists and has room for `len` values; what a kernel leaves there nobody may read.
    pub(crate) fn scratch(&mut self, slot: u32, len: usize) -> Result<()> {
        self.give(slot, len, |_| Written::Nothing)
    }

    /// As [`Check::writes`] for the places of a row that `visit` names, all below `len`; the buffer may be read once all
    /// of them were written.
    pub(crate) fn writes_part(
        &mut self,
        slot: u32,
        len: usize,
        visit: impl FnOnce(&mut dyn FnMut(usize)),
    ) -> Result<()> {
        self.give(slot, len, |before| {
            let (mut places, mut count) = match before {
                Written::Rows(of) if of == len => return Written::Rows(len),
                Written::Parts(places, count) if places.len() == len => (places, count),
                _ => (alloc::vec![false; len], 0),
            };
            visit(&mut |place| {
                if let Some(place) = places.get_mut(place) {
                    count += usize::from(!*place);
                    *place = true;
                }
            });
            if count == len { Written::Rows(len) } else { Written::Parts(places, count) }
        })
    }

    fn give(&mut self, slot: u32, len: usize, written: impl FnOnce(Written) -> Written) -> Result<()> {
        if self.slot(slot)? < len {
            bail!(InvalidModel, "a kernel of the plan writes beyond buffer {slot}");
        }
        if let Some(place) = self.written.get_mut(slot as usize) {
            *place = written(core::mem::replace(place, Written::Nothing));
        }
        Ok(())
    }

    /// The constants at an offset exist.
    pub(crate) fn constants(&self, at: u32, len: usize) -> Result<()> {
        if (at as usize).checked_add(len).is_none_or(|end| end > self.floats) {
            bail!(InvalidModel, "a kernel of the plan reads constants that are not there");
        }
        Ok(())
    }

    /// Buffers that a kernel uses at the same time must differ.
    pub(crate) fn distinct(&self, out: u32, operands: &[Operand]) -> Result<()> {
        if operands.contains(&Operand::Slot(out)) {
            bail!(InvalidModel, "a kernel of the plan writes the buffer {out} that it reads");
        }
        Ok(())
    }

    fn slot(&self, slot: u32) -> Result<usize> {
        match self.slots.get(slot as usize) {
            Some(len) => Ok(*len as usize),
            None => bail!(InvalidModel, "the plan has no buffer {slot}"),
        }
    }
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Refuses sizes whose product is unreasonable; `what` kernel they are of.
pub(crate) fn size(what: &str, factors: &[u32]) -> Result<usize> {
    product(factors).map_err(|_| {
        Error::new(
            ErrorKind::InvalidModel,
            alloc::format!("a {what} kernel of the plan is too large: {factors:?}"),
        )
    })
}
