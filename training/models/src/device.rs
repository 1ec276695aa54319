//! Where networks are trained: the processor, or a graphics card through wgpu or CUDA, which are cargo features.
//!
//! Invariant: what was asked for is what is used. A card that this build or this machine has not got is an error before any
//! table is read; nothing falls back to the processor, and a driver that does a card's work in software is used only
//! where it is named. Scoring is the processor's in any case, so that probabilities depend on a device through the
//! weights alone.

use std::fmt;

use anyhow::{Context, bail};

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "wgpu")]
mod wgpu;

/// By what networks are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The processor.
    #[default]
    Cpu,
    /// A card through Vulkan, Metal or Direct3D 12.
    Wgpu,
    /// An NVIDIA card through CUDA.
    Cuda,
}

impl Kind {
    const ALL: [(&'static str, Self); 3] = [("cpu", Self::Cpu), ("wgpu", Self::Wgpu), ("cuda", Self::Cuda)];

    fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// What a user asks for: a kind and, where he cares, which card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// By what.
    pub kind: Kind,
    /// Which of the kind's cards, from 0; the best without it.
    pub card: Option<usize>,
}

impl Choice {
    /// Reads `cpu`, `wgpu`, `wgpu:1`, `cuda` or `cuda:0`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (name, card) = text.split_once(':').map_or((text, None), |(name, card)| (name, Some(card)));
        let kind = Kind::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        let kind = kind.context("write cpu, wgpu or cuda, and for one of several cards wgpu:1 or cuda:1")?;
        if kind == Kind::Cpu && card.is_some() {
            bail!("the processor has no number; --threads says how many models it trains at the same time");
        }
        let card = card.map(str::parse).transpose();
        let card = card.context("after the colon comes the card's number, the first one's is 0")?;
        Ok(Self { kind, card })
    }

    /// Opens the device.
    ///
    /// # Errors
    /// When this build has not got the kind, or the machine not the card.
    pub fn open(self) -> anyhow::Result<Device> {
        match self.kind {
            Kind::Cpu => Ok(Device::Cpu),
            #[cfg(feature = "wgpu")]
            Kind::Wgpu => wgpu::open(self.card),
            #[cfg(feature = "cuda")]
            Kind::Cuda => cuda::open(self.card),
            #[cfg(not(all(feature = "wgpu", feature = "cuda")))]
            kind => bail!(
                "this build has no {0}; build one that has, with `cargo install --path training --features {0}`, or \
                 leave --device {0} out to train on the processor",
                kind.name()
            ),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        self.card.map_or(Ok(()), |card| write!(f, ":{card}"))
    }
}

/// A device that is open.
#[derive(Clone, Debug, Default)]
pub enum Device {
    /// The processor, through Burn's Flex.
    #[default]
    Cpu,
    /// A graphics card, or what passes for one.
    Card {
        /// What it calls itself, and through what it is driven.
        name: String,
        /// Whether its driver does the work on the processor.
        software: bool,
        /// Where Burn puts tensors.
        tensors: burn::tensor::Device,
    },
}

impl Device {
    /// What a run's record calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Cpu => Kind::Cpu.name(),
            Self::Card { name, .. } => name,
        }
    }

    /// What a user should know before training begins; nothing on a processor.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Cpu => None,
            Self::Card { name, software: false, .. } => Some(format!("Networks are trained on {name}.")),
            Self::Card { name, software: true, .. } => Some(format!(
                "Networks are trained on {name}, a driver that does a card's work on the processor: --device cpu is \
                 a hundred times faster."
            )),
        }
    }

    /// Where a network that is to be trained puts its tensors.
    pub(crate) fn tensors(&self) -> burn::tensor::Device {
        match self {
            Self::Cpu => burn::tensor::Device::flex(),
            Self::Card { tensors, .. } => tensors.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_written() {
        for (text, kind, card) in [
            ("cpu", Kind::Cpu, None),
            ("wgpu", Kind::Wgpu, None),
            ("wgpu:1", Kind::Wgpu, Some(1)),
            ("cuda", Kind::Cuda, None),
            ("cuda:0", Kind::Cuda, Some(0)),
        ] {
            let choice = Choice::parse(text).unwrap();
            assert_eq!(choice, Choice { kind, card });
            assert_eq!(choice.to_string(), text);
        }
        for text in ["", "gpu", "CPU", "cpu:0", "wgpu:", "wgpu:-1", "wgpu:one", "cuda:0:1"] {
            assert!(Choice::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_processor_is_always_there() {
        let device = Choice::default().open().unwrap();
        assert_eq!((device.name(), device.note()), ("cpu", None));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn what_this_build_has_not_got_is_refused_with_a_way_out() {
        let error = Choice::parse("cuda:0").unwrap().open().unwrap_err().to_string();
        assert!(error.contains("no cuda") && error.contains("--features cuda"), "{error}");
    }
}
