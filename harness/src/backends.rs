//! Backends by the names that command lines give them.

use attractor::wgpu::Backends;

/// `vulkan`, `metal`, `dx12` or `gl`.
pub fn named(name: &str) -> Option<Backends> {
    Some(match name {
        "vulkan" => Backends::VULKAN,
        "metal" => Backends::METAL,
        "dx12" => Backends::DX12,
        "gl" => Backends::GL,
        _ => return None,
    })
}
