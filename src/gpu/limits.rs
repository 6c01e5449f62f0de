//! What the kernels need of a device, and the sizes that any such device allows.

/// No binding is larger, on any backend: Vulkan and DX12 stop at 2^31 - 4.
pub const LARGEST_BINDING: u64 = (1 << 31) - 4;
/// What the kernels need of a device ([`least_limits`]).
const STORAGE_BUFFERS: u32 = 8;
const WORKGROUP_BYTES: u32 = 14 << 10;
const INVOCATIONS: u32 = 256;
/// Bytes of the largest parameters.
const PARAMS: u64 = 256;
/// A block of queries has its rows, its scores and its lists in one buffer each, none larger.
pub const SMALLEST_BINDING: u64 = 32 << 20;

/// What the kernels need of a device; WebGPU's defaults have all of it.
pub(crate) fn least_limits() -> wgpu::Limits {
    wgpu::Limits {
        max_bind_groups: 1,
        max_bindings_per_bind_group: STORAGE_BUFFERS + 1,
        max_storage_buffers_per_shader_stage: STORAGE_BUFFERS,
        max_uniform_buffers_per_shader_stage: 1,
        max_dynamic_uniform_buffers_per_pipeline_layout: 1,
        max_uniform_buffer_binding_size: PARAMS,
        max_storage_buffer_binding_size: SMALLEST_BINDING,
        max_buffer_size: SMALLEST_BINDING,
        max_compute_workgroup_storage_size: WORKGROUP_BYTES,
        max_compute_invocations_per_workgroup: INVOCATIONS,
        max_compute_workgroup_size_x: INVOCATIONS,
        max_compute_workgroup_size_y: 64,
        max_compute_workgroup_size_z: 1,
        max_compute_workgroups_per_dimension: 65_535,
        ..wgpu::Limits::downlevel_webgl2_defaults()
    }
}

/// Leave to use experimental features, for who asks for one.
#[allow(unsafe_code, reason = "cooperative matrices are experimental in wgpu 30")]
pub(super) fn experimental(asked: bool) -> wgpu::ExperimentalFeatures {
    // SAFETY: of what is experimental, only cooperative matrices are asked for. What they may do that is not defined is to
    // reach beyond a buffer, or to be multiplied by a part of a subgroup: all fragments come from shared memory, within
    // arrays sized for them, and no branch around them depends on an invocation.
    if asked { unsafe { wgpu::ExperimentalFeatures::enabled() } } else { wgpu::ExperimentalFeatures::disabled() }
}
