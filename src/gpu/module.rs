//! Shader modules without wgpu's run-time checks, which clamp every index, bound every loop and compare every divisor
//! with zero. The kernels of this crate do not need them.

#![allow(unsafe_code, reason = "wgpu takes the author's word that a shader stays within its buffers")]

/// A module of one linked kernel. `checked` keeps the checks.
pub(super) fn create(device: &wgpu::Device, label: &str, text: &str, checked: bool) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(text.into()) };
    if checked {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: the text is a kernel of this crate's own, with constants of this crate's own plans: with an injected
    // constant the module is checked. No argument below depends on the contents of a buffer, be it a caller's, NaN, or
    // what a dropped recording left in the workspace; sizes and parameters are the host's.
    //
    // - Indices into storage are `row * stride + column` of the dispatch. Each shader keeps row and column below what
    //   its parameters say or clamps them there, and `Sizes`, `Layout`, `Rows::check`, `Pass::bind` and the packing of
    //   masks make every buffer that large. In 32 bits a product may only come out smaller than it is, so what is
    //   within the buffer stays there. Differences are of numbers that the line before has compared.
    // - What a buffer does hold and is used as an index is clamped where it is read: queries of a list and how many
    //   they are (`lib/listed`, `compact_queries`), how long lists of candidates are, and their patterns, which
    //   `gather_support` compares with the window. Places within a list are counts of a kernel's own votes, and are
    //   compared with the room that there is.
    // - Indices into workgroup, private and local arrays are below constants that are the arrays' lengths.
    // - Every loop counts by a constant, up to a bound that it does not change and that is far from 2^32, or halves.
    // - Every divisor is a constant other than zero, and no signed number is divided.
    //
    // tests/suite/bounds.rs runs every kernel with each index compared with what it indexes; tests/text/shaders.rs
    // holds loops and divisors against the last two points. There are no ray queries, tasks or meshes.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
