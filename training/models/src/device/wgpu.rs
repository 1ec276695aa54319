//! Graphics cards through wgpu, pinned to the system's own interface: Vulkan, Metal, Direct3D 12. OpenGL is not asked; what
//! it shows beyond these is drivers without the compute shaders that Burn needs.

use std::{collections::BTreeMap, sync::Mutex};

use anyhow::{Context, anyhow, bail, ensure};
use burn::tensor::{
    self, DeviceKind,
    wgpu::{
        WgpuBackend,
        wgpu::{Backend, DeviceType, Instance, InstanceDescriptor},
    },
};

use super::Device;

/// What is open already: Burn refuses to open an adapter twice, and Vulkan's loader must not be asked by two threads at once.
static OPEN: Mutex<BTreeMap<usize, Device>> = Mutex::new(BTreeMap::new());

/// An adapter as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Adapter {
    name: String,
    kind: DeviceType,
}

/// Opens an adapter by its number among those that the interface shows; the best card without one.
///
/// # Errors
/// When there is none, only software and it is not named, or the driver refuses it.
pub(super) fn open(card: Option<usize>) -> anyhow::Result<Device> {
    let mut open = OPEN.lock().map_err(|_| anyhow!("a thread died while it opened a graphics card"))?;
    let (backend, interface, adapters) = adapters()?;
    let at = choose(&adapters, card)?;
    if let Some(device) = open.get(&at) {
        return Ok(device.clone());
    }
    let options = tensor::Device::wgpu_options().device_kind(address(&adapters, at)?).graphics_api(backend);
    let Adapter { name, kind } = &adapters[at];
    let (tensors, setup) = options
        .init_with_setup()
        .with_context(|| format!("wgpu:{at}, {name}, cannot be opened; is its driver new enough?"))?;
    let opened = setup.adapter.get_info().name;
    ensure!(opened == *name, "wgpu:{at} is {name}, but {opened} was opened");
    let name = format!("{name} ({interface})");
    let device = Device::Card { name, software: *kind == DeviceType::Cpu, tensors };
    open.insert(at, device.clone());
    Ok(device)
}

/// The first interface that shows any adapter, and what it shows.
fn adapters() -> anyhow::Result<(WgpuBackend, &'static str, Vec<Adapter>)> {
    let interfaces: &[(WgpuBackend, Backend, &str)] = if cfg!(target_os = "macos") {
        &[(WgpuBackend::Metal, Backend::Metal, "Metal")]
    } else {
        &[(WgpuBackend::Vulkan, Backend::Vulkan, "Vulkan"), (WgpuBackend::Dx12, Backend::Dx12, "Direct3D 12")]
    };
    let wait = tokio::runtime::Builder::new_current_thread().build().context("no thread for the driver")?;
    for (pinned, backend, interface) in interfaces {
        let description = InstanceDescriptor {
            backends: (*backend).into(),
            ..InstanceDescriptor::new_without_display_handle()
        };
        let found = wait.block_on(Instance::new(description).enumerate_adapters((*backend).into()));
        let adapter =
            |info: burn::tensor::wgpu::wgpu::AdapterInfo| Adapter { name: info.name, kind: info.device_type };
        let found: Vec<Adapter> = found.iter().map(|found| adapter(found.get_info())).collect();
        if !found.is_empty() {
            return Ok((*pinned, *interface, found));
        }
    }
    bail!(
        "no driver shows a graphics card to wgpu on this machine: {} (Linux needs the card's Vulkan driver and \
         libvulkan1; mesa-vulkan-drivers has those of AMD and Intel, and one in software). Leave --device out to train \
         on the processor",
        interfaces.iter().map(|(.., interface)| *interface).collect::<Vec<_>>().join(" and ")
    )
}

/// Which adapter is meant.
fn choose(adapters: &[Adapter], card: Option<usize>) -> anyhow::Result<usize> {
    let list = || {
        let line = |(at, adapter): (usize, &Adapter)| format!("wgpu:{at} is {}", adapter.name);
        adapters.iter().enumerate().map(line).collect::<Vec<_>>().join(", ")
    };
    if let Some(card) = card {
        ensure!(card < adapters.len(), "there is no wgpu:{card}: {}", list());
        return Ok(card);
    }
    let best = [DeviceType::DiscreteGpu, DeviceType::IntegratedGpu, DeviceType::VirtualGpu];
    let best = best.iter().find_map(|kind| adapters.iter().position(|adapter| adapter.kind == *kind));
    best.with_context(|| {
        format!(
            "no driver of a graphics card was found, only what does its work on the processor ({}); name it to use it \
             all the same, or leave --device out, which is faster",
            list()
        )
    })
}

/// How Burn names an adapter: by its number among those of its kind.
fn address(adapters: &[Adapter], at: usize) -> anyhow::Result<DeviceKind> {
    let Adapter { name, kind } = &adapters[at];
    let before = adapters[..at].iter().filter(|adapter| adapter.kind == *kind).count();
    Ok(match kind {
        DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(before),
        DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(before),
        DeviceType::VirtualGpu => DeviceKind::VirtualGpu(before),
        DeviceType::Cpu if before == 0 => DeviceKind::Cpu,
        _ => bail!("wgpu:{at}, {name}, is of a kind that Burn cannot address"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapters(kinds: &[DeviceType]) -> Vec<Adapter> {
        kinds.iter().map(|kind| Adapter { name: format!("{kind:?}"), kind: *kind }).collect()
    }

    #[test]
    fn the_best_card_is_taken_and_software_only_by_name() {
        use DeviceType::{Cpu, DiscreteGpu, IntegratedGpu};
        let all = adapters(&[Cpu, IntegratedGpu, DiscreteGpu, DiscreteGpu]);
        assert_eq!(choose(&all, None).unwrap(), 2);
        assert_eq!(address(&all, 2).unwrap(), DeviceKind::DiscreteGpu(0));
        assert_eq!(choose(&all, Some(3)).unwrap(), 3);
        assert_eq!(address(&all, 3).unwrap(), DeviceKind::DiscreteGpu(1));
        let error = choose(&all, Some(4)).unwrap_err().to_string();
        assert!(error.contains("no wgpu:4") && error.contains("wgpu:3 is DiscreteGpu"), "{error}");
        let software = adapters(&[Cpu]);
        let error = choose(&software, None).unwrap_err().to_string();
        assert!(error.contains("wgpu:0 is Cpu"), "{error}");
        assert_eq!(choose(&software, Some(0)).unwrap(), 0);
        assert_eq!(address(&software, 0).unwrap(), DeviceKind::Cpu);
    }
}
