//! What a device or an adapter is called.

use std::fmt;

/// What a device computes on.
///
/// Its text is `discrete`, `integrated`, `virtual`, `software`, `other` or `cpu engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the memory of the processor.
    Integrated,
    /// A GPU of a virtual machine.
    Virtual,
    /// A driver that computes on the processor: lavapipe, llvmpipe, SwiftShader, WARP.
    Software,
    /// An adapter that does not tell, as in browsers.
    Other,
    /// The CPU engine of this library.
    CpuEngine,
}

impl DeviceKind {
    /// Its text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Software => "software",
            Self::Other => "other",
            Self::CpuEngine => "cpu engine",
        }
    }

    /// Whether computing is done by the processor, by whichever way.
    pub const fn is_cpu(self) -> bool {
        matches!(self, Self::Software | Self::CpuEngine)
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<wgpu::DeviceType> for DeviceKind {
    fn from(kind: wgpu::DeviceType) -> Self {
        match kind {
            wgpu::DeviceType::DiscreteGpu => Self::Discrete,
            wgpu::DeviceType::IntegratedGpu => Self::Integrated,
            wgpu::DeviceType::VirtualGpu => Self::Virtual,
            wgpu::DeviceType::Cpu => Self::Software,
            wgpu::DeviceType::Other => Self::Other,
        }
    }
}

/// What a device or an adapter is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// The adapter's name, or the CPU engine's.
    pub name: String,
    /// `Vulkan`, `Metal`, `Dx12`, `Gl`, `BrowserWebGpu`, or `native` for the CPU engine.
    pub backend: String,
    /// The driver and its version, as far as it tells.
    pub driver: String,
    /// What computes.
    pub kind: DeviceKind,
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
        let driver = [info.driver.as_str(), info.driver_info.as_str()];
        Self {
            name: info.name.clone(),
            backend: format!("{:?}", info.backend),
            driver: driver.into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" "),
            kind: info.device_type.into(),
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
            kind: DeviceKind::CpuEngine,
        }
    }
}
