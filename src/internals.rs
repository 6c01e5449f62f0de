//! Not part of the public interface: access for this project's tests and benchmarks. Kernels as linked text, plans and
//! their bounds; the CPU engine's stages; the parser of tuning files, which needs no device.

pub use crate::cpu::internals::*;
use crate::device::handle::{Backend, Device};
pub use crate::gpu::kernel::{Access, Kernel, Variant};
pub use crate::gpu::kernels::KERNELS;
pub use crate::gpu::matrices::Ability;
pub use crate::gpu::pipelines::IndexCheck;
pub use crate::gpu::plan::choice::Plan;
pub use crate::gpu::plan::limits::ITERATION_LIMIT;
pub use crate::gpu::plan::problem::Problem;
pub use crate::gpu::shader::{Constant, FRAGMENTS, Fragment, Substitution, link};
use crate::retrieval::options::RetrieveOptions;
use crate::search::options::SearchOptions;
pub use crate::strategy::{Faults, Overrides, Strategy};
#[cfg(feature = "files")]
pub use crate::tuning::file::from_json as parse_tuning;

/// `options` under a plan with `overrides`, and with `faults` injected.
pub fn forced(mut options: RetrieveOptions, overrides: Overrides, faults: Faults) -> RetrieveOptions {
    (options.overrides, options.faults) = (overrides, faults);
    options
}

/// [`forced`] for a search.
pub fn forced_search(mut options: SearchOptions, overrides: Overrides, faults: Faults) -> SearchOptions {
    (options.overrides, options.faults) = (overrides, faults);
    options
}

/// Submissions that were made for a device, and calls that waited inside it.
pub fn counts(device: &Device) -> (u64, u64) {
    match &device.backend {
        Backend::Cpu => (0, 0),
        Backend::Gpu(context) => context.counts(),
    }
}

/// Pipelines that were compiled for a device.
pub fn compiled(device: &Device) -> usize {
    match &device.backend {
        Backend::Cpu => 0,
        Backend::Gpu(context) => context.pipelines.count(),
    }
}

/// The kernels that were compiled for a device: each stem with its constants and its fragments.
pub fn compiled_kernels(device: &Device) -> Vec<(&'static str, Vec<Constant>, Vec<Substitution>)> {
    match &device.backend {
        Backend::Cpu => Vec::new(),
        Backend::Gpu(context) => context.pipelines.settings(),
    }
}

/// Watches every kernel that is compiled for a device from here on; says whether it is now watched by this one.
pub fn watch(device: &Device, watch: IndexCheck) -> bool {
    match &device.backend {
        Backend::Cpu => false,
        Backend::Gpu(context) => context.pipelines.watch.set(watch).is_ok(),
    }
}
