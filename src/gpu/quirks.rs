//! Faults of drivers: how to recognise each, and what is done about it. Each is a software driver or a compiler that
//! tests and users run kernels on.

/// Mesa's lavapipe specialises shaders on uniform values that control flow depends on. It recompiles for every dispatch
/// whose values differ from the last (22.3) or for every new value (newer), and keeps the result as long as the
/// pipeline. Whether it does so to a kernel depends on its optimiser's value count. Control flow that depends on more
/// than uniforms is left alone ([`conceal_parameters`]).
pub(super) fn compiles_uniforms_in(adapter: &wgpu::AdapterInfo) -> bool {
    adapter.backend == wgpu::Backend::Vulkan && adapter.driver == "llvmpipe"
}

/// SwiftShader takes minutes and gigabytes to compile tiles of 8 by 8 for each invocation. Browsers do not report the
/// names of adapters; their fallback adapter is SwiftShader.
pub(super) fn needs_small_tiles(adapter: &wgpu::AdapterInfo) -> bool {
    let fallback = adapter.backend == wgpu::Backend::BrowserWebGpu && adapter.device_type == wgpu::DeviceType::Cpu;
    fallback || adapter.name.contains("SwiftShader")
}

/// FXC, the HLSL compiler of every Windows, takes more than linear time for unrolled code: ten seconds for queries of
/// 128 floats in registers. It has no subgroups (shader model 5.1), so FXC is assumed on a DX12 device without them. A
/// host's device may lack them under DXC as well, which costs speed alone.
pub(super) fn unrolls_slowly(backend: wgpu::Backend, features: wgpu::Features) -> bool {
    backend == wgpu::Backend::Dx12 && !features.contains(wgpu::Features::SUBGROUP)
}

/// The text of a kernel changed so that nothing depends on its parameters alone: each parameter that it reads is added
/// to an expression that is zero unless the first buffer has no elements, which no binding allows. Values stay
/// bit-exact.
pub(super) fn conceal_parameters(text: &str) -> String {
    const FIRST: &str = "@binding(1) var<storage, read> ";
    let first = text.split_once(FIRST).and_then(|(_, after)| after.split_once(':')).map_or("", |(name, _)| name);
    let fields = text.split_once("struct Params {").and_then(|(_, after)| after.split_once('}'));
    let is_float = |name: &str| {
        fields.is_some_and(|(fields, _)| {
            let mut fields = fields.split(',').filter_map(|field| field.split_once(':'));
            fields.any(|(field, kind)| field.trim() == name && kind.trim() == "f32")
        })
    };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("params.") {
        out += before;
        let name = &after[..after.find(|c| !word(c)).unwrap_or(after.len())];
        // The components of a vector are part of the expression.
        let whole = match after[name.len()..].strip_prefix('.') {
            Some(more) => &after[..name.len() + 1 + more.find(|c| !word(c)).unwrap_or(more.len())],
            None => name,
        };
        let concealed = match () {
            () if before.ends_with(word) || name.is_empty() => ["params.", whole, ""],
            () if is_float(name) => ["bitcast<f32>(bitcast<u32>(params.", whole, ") + nothing())"],
            () => ["(params.", whole, " + nothing())"],
        };
        out += &concealed.concat();
        rest = &after[whole.len()..];
    }
    // The function goes last: `enable` directives have to be first.
    out + rest + &format!("\nfn nothing() -> u32 {{\n    return u32(arrayLength(&{first}) == 0u);\n}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_fxc_compiles_for_are_known() {
        let subgroups = wgpu::Features::SUBGROUP;
        assert!(unrolls_slowly(wgpu::Backend::Dx12, wgpu::Features::empty()));
        assert!(!unrolls_slowly(wgpu::Backend::Dx12, subgroups));
        assert!(!unrolls_slowly(wgpu::Backend::Vulkan, wgpu::Features::empty()));
    }

    #[test]
    fn parameters_are_concealed_and_nothing_else_is() {
        let text = "
struct Params {
    base: vec4<u32>,
    rows: u32,
    beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<u32>;
// other_params.rows are not touched, params. neither.
let z = params.base.xyz + params.rows * params.beta;";
        let expected = format!(
            "{}\nfn nothing() -> u32 {{\n    return u32(arrayLength(&queries) == 0u);\n}}\n",
            text.replace(
                "= params.base.xyz + params.rows * params.beta",
                "= (params.base.xyz + nothing()) + (params.rows + nothing()) * \
                 bitcast<f32>(bitcast<u32>(params.beta) + nothing())"
            )
        );
        assert_eq!(conceal_parameters(text), expected);
    }
}
