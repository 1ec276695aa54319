//! How the weights of a bundle's model are stored, as people choose it.

use std::fmt;

use anyhow::bail;
use tiercast_core::Storage;

/// How the compact engine's weights are stored in the bundle. They run as 32-bit floats in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Weights {
    /// 32-bit floats: what was trained.
    #[default]
    F32,
    /// Half precision: half the size, about three decimal digits.
    F16,
    /// 8-bit integers, one scale per eight outputs: a quarter of the size.
    I8,
}

impl Weights {
    /// The same for the core.
    pub fn storage(self) -> Storage {
        match self {
            Self::F32 => Storage::F32,
            Self::F16 => Storage::F16,
            Self::I8 => Storage::I8,
        }
    }

    /// Refuses what an engine does not do: the weights of an ONNX file stay as they are.
    ///
    /// # Errors
    /// When that engine keeps the file and the weights are to be rounded.
    pub fn check(self, engine: Engine) -> anyhow::Result<()> {
        if engine == Engine::Onnx && self != Self::F32 {
            bail!(
                "--weights {self} is for the compact engine, and --engine onnx keeps the weights as they are; \
                 leave out one of the two"
            );
        }
        Ok(())
    }
}

/// As it is typed.
impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "i8",
        })
    }
}

/// Which engine runs a bundle's model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// The compact engine: every runtime, the same bits, tens of kilobytes.
    #[default]
    Plan,
    /// tract, which runs the ONNX file as it is; in the browser a download of megabytes (`tiercast/onnx`).
    Onnx,
}

impl From<Engine> for tiercast_core::EngineKind {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Plan => Self::Plan,
            Engine::Onnx => Self::Onnx,
        }
    }
}
