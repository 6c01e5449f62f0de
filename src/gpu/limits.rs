//! The limits that the kernels need of a device, and the sizes that any such device allows.

/// The largest binding on any backend: Vulkan and DX12 stop at 2^31 - 4 bytes.
pub const MAX_BINDING_BYTES: u64 = (1 << 31) - 4;
/// Storage buffers that a kernel binds.
const STORAGE_BUFFERS: u32 = 8;
/// Bytes of workgroup memory that a kernel uses on any device.
const WORKGROUP_BYTES: u32 = 14 << 10;
/// Invocations of a kernel's workgroup.
const INVOCATIONS: u32 = 256;
/// Bytes of the largest `Params`.
const PARAMS_BYTES: u64 = 256;
/// A binding that any device allows: the rows, the scores and the lists of a query block have a buffer each, none
/// larger.
pub const SMALLEST_BINDING: u64 = 32 << 20;

/// The limits that the kernels need; WebGPU's defaults satisfy them.
pub(crate) fn minimum_limits() -> wgpu::Limits {
    wgpu::Limits {
        max_bind_groups: 1,
        max_bindings_per_bind_group: STORAGE_BUFFERS + 1,
        max_storage_buffers_per_shader_stage: STORAGE_BUFFERS,
        max_uniform_buffers_per_shader_stage: 1,
        max_dynamic_uniform_buffers_per_pipeline_layout: 1,
        max_uniform_buffer_binding_size: PARAMS_BYTES,
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

/// Permission to use experimental features, where one is requested.
#[allow(unsafe_code, reason = "cooperative matrices are experimental in wgpu 30")]
pub(super) fn experimental(asked: bool) -> wgpu::ExperimentalFeatures {
    // SAFETY: cooperative matrices are the only experimental feature that is requested. Their undefined behaviour is to
    // reach beyond a buffer, or to be multiplied by a part of a subgroup: all fragments are loaded from shared memory,
    // from arrays sized for them, and no branch around them depends on an invocation.
    if asked { unsafe { wgpu::ExperimentalFeatures::enabled() } } else { wgpu::ExperimentalFeatures::disabled() }
}
