//! `attractor devices`: what is here to compute on.

use std::fmt::Write;

use attractor::wgpu::{Adapter, Backend, CooperativeMatrixProperties, DownlevelFlags, Features};
use attractor::{Device, DeviceInfo};

use crate::failure::{Failure, emit};
use crate::ui::table::bytes;

/// The features that the shaders can use; each also has a fallback.
const FEATURES: [(&str, Features); 5] = [
    ("SHADER_F16", Features::SHADER_F16),
    ("SUBGROUP", Features::SUBGROUP),
    ("TIMESTAMP_QUERY", Features::TIMESTAMP_QUERY),
    ("PIPELINE_CACHE", Features::PIPELINE_CACHE),
    ("EXPERIMENTAL_COOPERATIVE_MATRIX", Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
];

/// Prints every adapter and, last, the CPU engine.
pub fn run() -> Result<(), Failure> {
    let (adapters, auto) = pollster::block_on(async { (Device::adapters().await, Device::new().await) });
    // The search itself is asked, by opening what it takes: a driver that lists an adapter may still refuse to open it.
    let auto = auto?;
    let mut taken = (!auto.is_cpu()).then(|| auto.info());
    let mut text = String::new();
    for (index, adapter) in adapters.iter().enumerate() {
        let info = DeviceInfo::from(&adapter.get_info());
        let is_auto = taken.take_if(|taken| *taken == info).is_some();
        describe(&mut text, &index.to_string(), &info, is_auto);
        limits(&mut text, adapter);
    }
    describe(&mut text, "cpu", &Device::cpu().info(), auto.is_cpu());
    emit(&text)
}

fn describe(text: &mut String, index: &str, info: &DeviceInfo, is_auto: bool) {
    let mark = if is_auto { "  <- auto" } else { "" };
    let driver = if info.driver.is_empty() { "unnamed" } else { &info.driver };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "[{index}] {}{mark}", info.name);
    let _ = writeln!(text, "    backend {}, kind {}, driver {driver}", info.backend, info.kind);
}

fn limits(text: &mut String, adapter: &Adapter) {
    let (limits, info, features) = (adapter.limits(), adapter.get_info(), adapter.features());
    let _ = writeln!(
        text,
        "    storage binding {}, buffer {}, workgroup memory {}, {} invocations a workgroup, {} storage buffers a stage",
        bytes(limits.max_storage_buffer_binding_size),
        bytes(limits.max_buffer_size),
        bytes(u64::from(limits.max_compute_workgroup_storage_size)),
        limits.max_compute_invocations_per_workgroup,
        limits.max_storage_buffers_per_shader_stage,
    );
    let subgroups = match (info.subgroup_min_size, info.subgroup_max_size) {
        _ if !features.contains(Features::SUBGROUP) => "none".into(),
        (min, max) if min == max => min.to_string(),
        (min, max) => format!("{min} to {max}"),
    };
    let _ = write!(text, "    subgroup sizes {subgroups}; features");
    for (name, feature) in FEATURES {
        let _ = write!(text, " {}{name}", if features.contains(feature) { "+" } else { "-" });
    }
    text.push('\n');
    if let Some(compiler) = hlsl_compiler(info.backend, features) {
        let _ = writeln!(text, "    kernels are compiled by {compiler}");
    }
    let matrices = adapter.cooperative_matrix_properties();
    if !matrices.is_empty() {
        let matrices: Vec<String> = matrices.iter().map(matrix).collect();
        let _ = writeln!(text, "    cooperative matrices {}", matrices.join(", "));
    }
    if !adapter.get_downlevel_capabilities().flags.contains(DownlevelFlags::COMPUTE_SHADERS) {
        text.push_str("    has no compute shaders: it cannot be used\n");
    }
}

/// What compiles kernels for a DX12 adapter. wgpu does not tell, but it offers features of shader model 6 under DXC
/// alone. An adapter that has none of them under DXC is taken for one of FXC's, whose kernels it is given.
fn hlsl_compiler(backend: Backend, features: Features) -> Option<&'static str> {
    let of_model_6 = Features::SUBGROUP | Features::SHADER_INT64 | Features::SHADER_F16;
    (backend == Backend::Dx12).then(|| match features.intersects(of_model_6) {
        true => "DXC, shader model 6",
        false => "FXC, shader model 5.1: without subgroups; dxcompiler.dll beside the program brings DXC",
    })
}

/// Rows by columns by what is summed over, and the types of what is multiplied and of sums.
fn matrix(of: &CooperativeMatrixProperties) -> String {
    let CooperativeMatrixProperties { m_size, n_size, k_size, ab_type, cr_type, .. } = of;
    format!("{m_size}x{n_size}x{k_size} {ab_type:?} to {cr_type:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hlsl_compiler_is_named_where_there_is_one() {
        assert_eq!(hlsl_compiler(Backend::Vulkan, Features::SUBGROUP), None);
        let compiler = |features| hlsl_compiler(Backend::Dx12, features).unwrap_or_default();
        assert!(compiler(Features::empty()).starts_with("FXC, shader model 5.1"));
        assert!(compiler(Features::TIMESTAMP_QUERY).starts_with("FXC"));
        assert!(compiler(Features::SUBGROUP | Features::TIMESTAMP_QUERY).starts_with("DXC"));
    }
}
