//! Shader modules without the checks that wgpu writes into shaders that it does not know: every index clamped, every loop
//! counted, every divisor compared with zero. The kernels of this crate go without.

#![allow(unsafe_code, reason = "wgpu takes the author's word that a shader stays within its buffers")]

/// A module of one linked kernel; `checked` leaves the checks in.
pub(super) fn create(device: &wgpu::Device, label: &str, text: &str, checked: bool) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(text.into()) };
    if checked {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: the text is a kernel of this crate's own, with constants of this crate's own plans: whoever sets a constant
    // behind a plan's back gets checked modules. Nothing rests on what a buffer holds, be it a caller's, NaN, or what a
    // recording that was dropped half-way left in the workspace; sizes and parameters are the host's.
    //
    // - Indices into storage are `row * stride + column` of the dispatch. Each shader keeps row and column below what its
    //   parameters say or clamps them there, and `Sizes`, `Layout`, `Rows::check`, `Task::bind` and the packing of masks make
    //   every buffer that large. In 32 bits a product may only come out smaller than it is, so what is within the buffer
    //   stays there. Differences are of numbers that the line before has compared.
    // - What a buffer does hold and is used as an index is clamped where it is read: queries of a list and how many they are
    //   (`lib/listed`, `compact`), how long lists of candidates are, and their patterns, which `gather` compares with the
    //   window. Places within a list are counts of a kernel's own votes, and are compared with the room that there is.
    // - Indices into workgroup, private and local arrays are below constants that are the arrays' lengths.
    // - Every loop counts by a constant, up to a bound that it does not change and that is far from 2^32, or halves.
    // - Every divisor is a constant other than zero, and no signed number is divided.
    //
    // tests/bounds.rs runs every kernel with each index compared with what it indexes; tests/shaders.rs holds loops and
    // divisors against the last two points. There are no ray queries, tasks or meshes.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
