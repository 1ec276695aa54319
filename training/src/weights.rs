//! How the weights of a bundle's model are stored, as people choose it.

use tiercast_core::Storage;

/// How a model's weights are stored in the bundle. They run as 32-bit floats in any case.
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
