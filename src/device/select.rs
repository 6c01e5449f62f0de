//! The choice among the adapters of a machine.

use super::info::DeviceInfo;
use super::options::{AdapterChoice, DeviceOptions, SoftwareAdapters};
use crate::error::Error;

fn is_software(adapter: &wgpu::Adapter) -> bool {
    adapter.get_info().device_type == wgpu::DeviceType::Cpu
}

fn computes(adapter: &wgpu::Adapter) -> bool {
    adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
}

/// Smaller is better.
fn rank(adapter: &wgpu::Adapter) -> (u32, bool, bool) {
    let info = adapter.get_info();
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    // SwiftShader compiles kernels many times more slowly than Mesa's drivers.
    (kind, info.name.contains("SwiftShader"), info.backend == wgpu::Backend::Gl)
}

pub(super) fn choose<'a>(adapters: &'a [wgpu::Adapter], options: &DeviceOptions) -> Option<&'a wgpu::Adapter> {
    let of_backend = |adapter: &&wgpu::Adapter| {
        let backend = wgpu::Backends::from(adapter.get_info().backend);
        computes(adapter) && options.backends.is_none_or(|asked| asked.contains(backend))
    };
    match &options.adapter {
        Some(AdapterChoice::Index(index)) => adapters.get(*index).filter(of_backend),
        Some(AdapterChoice::Name(name)) => {
            let name = name.to_lowercase();
            adapters.iter().filter(of_backend).find(|adapter| {
                let info = adapter.get_info();
                [info.name, info.driver, info.driver_info].iter().any(|s| s.to_lowercase().contains(&name))
            })
        }
        None => adapters
            .iter()
            .filter(of_backend)
            .filter(|adapter| match options.software {
                SoftwareAdapters::Refuse => !is_software(adapter),
                SoftwareAdapters::Allow => true,
                SoftwareAdapters::Require => is_software(adapter),
            })
            .min_by_key(|adapter| rank(adapter)),
    }
}

pub(super) fn no_adapter(adapters: &[wgpu::Adapter], options: &DeviceOptions) -> Error {
    let mut asked = Vec::new();
    if let Some(backends) = options.backends {
        let names: Vec<String> = backends.iter_names().map(|(name, _)| name.to_lowercase()).collect();
        asked.push(format!("backend {}", names.join(" or ")));
    }
    match &options.adapter {
        Some(AdapterChoice::Index(index)) => asked.push(format!("index {index}")),
        Some(AdapterChoice::Name(name)) => asked.push(format!("name \"{name}\"")),
        None => asked.push(
            match options.software {
                SoftwareAdapters::Refuse => "hardware only",
                SoftwareAdapters::Allow => "hardware or software",
                SoftwareAdapters::Require => "software only",
            }
            .into(),
        ),
    }
    let found: Vec<String> = adapters.iter().map(|a| DeviceInfo::from(&a.get_info()).to_string()).collect();
    Error::NoAdapter {
        operation: "Device::with_options",
        asked: asked.join(", "),
        found: if found.is_empty() { "none".into() } else { found.join("; ") },
    }
}
