//! `attractor devices`: what is here to compute on.

use std::fmt::Write;

use attractor::Device;
use attractor::device::DeviceInfo;
use attractor::wgpu::{Adapter, Backend, CooperativeMatrixProperties, DownlevelFlags, Features};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::ui::report::{JsonArgs, device_json};
use crate::ui::table::bytes;
use crate::ui::terminal::wrap;

/// The features that the shaders can use; each also has a fallback.
const FEATURES: [(&str, Features); 5] = [
    ("SHADER_F16", Features::SHADER_F16),
    ("SUBGROUP", Features::SUBGROUP),
    ("TIMESTAMP_QUERY", Features::TIMESTAMP_QUERY),
    ("PIPELINE_CACHE", Features::PIPELINE_CACHE),
    ("EXPERIMENTAL_COOPERATIVE_MATRIX", Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
];

/// The flags of `attractor devices`.
#[derive(clap::Args, Debug)]
pub struct DevicesArgs {
    #[command(flatten)]
    json: JsonArgs,
}

/// Prints every adapter and, last, the CPU engine.
pub fn run(args: &DevicesArgs) -> Result<(), Failure> {
    let report = args.json.begin("devices", &[])?;
    let (adapters, auto) = pollster::block_on(async { (Device::adapters().await, Device::new().await) });
    // The search itself is asked, by opening what it takes: a driver that lists an adapter may still refuse to open it.
    let auto = auto?;
    let mut taken = (!auto.is_cpu()).then(|| auto.info());
    for (index, adapter) in adapters.iter().enumerate() {
        let info = DeviceInfo::from(&adapter.get_info());
        let is_auto = taken.take_if(|taken| *taken == info).is_some();
        report.push("/devices", facts(index.into(), &info, is_auto, Some(adapter)));
        report.say(&wrap(&(describe(&index.to_string(), &info, is_auto) + &limits(adapter))))?;
    }
    let info = Device::cpu().info();
    report.push("/devices", facts("cpu".into(), &info, auto.is_cpu(), None));
    report.say(&wrap(&describe("cpu", &info, auto.is_cpu())))?;
    report.finish()
}

fn describe(index: &str, info: &DeviceInfo, is_auto: bool) -> String {
    let mark = if is_auto { "  <- auto" } else { "" };
    let driver = if info.driver.is_empty() { "unnamed" } else { &info.driver };
    format!("[{index}] {}{mark}\n    backend {}, kind {}, driver {driver}\n", info.name, info.backend, info.kind)
}

fn limits(adapter: &Adapter) -> String {
    let (limits, features) = (adapter.limits(), adapter.features());
    let mut text = format!(
        "    storage binding {}, buffer {}, workgroup memory {}, {} invocations a workgroup, {} storage buffers a \
         stage\n",
        bytes(limits.max_storage_buffer_binding_size),
        bytes(limits.max_buffer_size),
        bytes(u64::from(limits.max_compute_workgroup_storage_size)),
        limits.max_compute_invocations_per_workgroup,
        limits.max_storage_buffers_per_shader_stage,
    );
    let subgroups = match subgroup_sizes(adapter) {
        None => "none".into(),
        Some((min, max)) if min == max => min.to_string(),
        Some((min, max)) => format!("{min} to {max}"),
    };
    // Writing to a String cannot fail.
    let _ = write!(text, "    subgroup sizes {subgroups}; features");
    for (name, feature) in FEATURES {
        let _ = write!(text, " {}{name}", if features.contains(feature) { "+" } else { "-" });
    }
    text.push('\n');
    if let Some(compiler) = hlsl_compiler(adapter.get_info().backend, features) {
        let _ = writeln!(text, "    kernels are compiled by {compiler}");
    }
    let matrices = adapter.cooperative_matrix_properties();
    if !matrices.is_empty() {
        let matrices: Vec<String> = matrices.iter().map(matrix).collect();
        let _ = writeln!(text, "    cooperative matrices {}", matrices.join(", "));
    }
    if !has_compute_shaders(adapter) {
        text.push_str("    has no compute shaders: it cannot be used\n");
    }
    text
}

/// The same for machines.
fn facts(index: Value, info: &DeviceInfo, is_auto: bool, adapter: Option<&Adapter>) -> Value {
    let mut facts = device_json(info);
    facts["index"] = index;
    facts["auto"] = is_auto.into();
    if let Some(adapter) = adapter {
        let (limits, features) = (adapter.limits(), adapter.features());
        let has = FEATURES.iter().filter(|(_, feature)| features.contains(*feature)).map(|(name, _)| *name);
        facts["max_storage_buffer_binding_size"] = limits.max_storage_buffer_binding_size.into();
        facts["max_buffer_size"] = limits.max_buffer_size.into();
        facts["max_compute_workgroup_storage_size"] = limits.max_compute_workgroup_storage_size.into();
        facts["max_compute_invocations_per_workgroup"] = limits.max_compute_invocations_per_workgroup.into();
        facts["max_storage_buffers_per_shader_stage"] = limits.max_storage_buffers_per_shader_stage.into();
        facts["subgroup_sizes"] = subgroup_sizes(adapter).map_or(Value::Null, |(min, max)| json!([min, max]));
        facts["features"] = has.collect::<Vec<_>>().into();
        facts["compiler"] = hlsl_compiler(adapter.get_info().backend, features).into();
        facts["cooperative_matrices"] =
            adapter.cooperative_matrix_properties().iter().map(matrix).collect::<Vec<_>>().into();
        facts["usable"] = has_compute_shaders(adapter).into();
    }
    facts
}

/// The least and the largest subgroup, where there are subgroups.
fn subgroup_sizes(adapter: &Adapter) -> Option<(u32, u32)> {
    let info = adapter.get_info();
    adapter.features().contains(Features::SUBGROUP).then_some((info.subgroup_min_size, info.subgroup_max_size))
}

fn has_compute_shaders(adapter: &Adapter) -> bool {
    adapter.get_downlevel_capabilities().flags.contains(DownlevelFlags::COMPUTE_SHADERS)
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
