//! What a device or an adapter is called.

use std::fmt;

/// What a device or an adapter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The adapter's name, or the CPU engine's.
    pub name: String,
    /// `Vulkan`, `Metal`, `Dx12`, `Gl`, `BrowserWebGpu`, or `native` for the CPU engine.
    pub backend: String,
    /// The driver and its version, as far as it tells.
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `software`, `other` or `cpu engine`.
    pub kind: &'static str,
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Browsers may keep the name to themselves.
        let name = if self.name.is_empty() { "unnamed adapter" } else { &self.name };
        write!(f, "{name} ({}, {})", self.backend, self.kind)
    }
}

impl From<&wgpu::AdapterInfo> for DeviceInfo {
    fn from(info: &wgpu::AdapterInfo) -> Self {
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        };
        let driver = [info.driver.as_str(), info.driver_info.as_str()];
        Self {
            name: info.name.clone(),
            backend: format!("{:?}", info.backend),
            driver: driver.into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" "),
            kind,
        }
    }
}

impl DeviceInfo {
    /// The CPU engine.
    pub(super) fn cpu() -> Self {
        Self {
            name: format!("CPU engine, {} threads", rayon::current_num_threads()),
            backend: "native".into(),
            driver: format!("attractor {}", env!("CARGO_PKG_VERSION")),
            kind: "cpu engine",
        }
    }
}
