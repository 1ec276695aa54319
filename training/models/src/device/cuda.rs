//! NVIDIA cards through CUDA. The driver is found at run time; a machine without it has no card.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, bail};
use burn::tensor::{self, DeviceType, Tensor};

use super::Device;

/// Opens a card by its number among those that CUDA shows.
///
/// # Errors
/// When there is none of that number, or the driver refuses it.
pub(super) fn open(card: Option<usize>) -> anyhow::Result<Device> {
    let cards = tensor::Device::enumerate(DeviceType::Cuda).into_iter().count();
    let card = card.unwrap_or(0);
    if cards == 0 {
        bail!(
            "CUDA shows no card on this machine: `nvidia-smi` says whether the driver runs, and CUDA_VISIBLE_DEVICES \
             may hide cards; leave --device out to train on the processor"
        );
    }
    if card >= cards {
        bail!("there is no card cuda:{card}; the last one that CUDA shows is cuda:{}", cards - 1);
    }
    let tensors = tensor::Device::cuda(card);
    // Burn opens a card when it is first used, and has no other word than a panic where driver or compiler are too old.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let two = Tensor::<1>::ones([1], &tensors).add_scalar(1.0).into_scalar::<f32>();
        (two, tensors.identity().map(|identity| identity.name))
    }));
    match opened {
        Ok((2.0, name)) => {
            let name = name.context("the card has no name")?;
            Ok(Device::Card { name: format!("{name} (CUDA)"), software: false, tensors })
        }
        _ => bail!("cuda:{card} is there but does not work, for the reason above; is its driver new enough?"),
    }
}
