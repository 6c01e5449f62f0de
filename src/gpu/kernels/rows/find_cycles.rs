//! Host side of `shaders/rows/find_cycles.wgsl`: queries whose states come back.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;

params! {
    vectors: u32,
    compares: u32,
    saves: u32,
    step: u32,
    last: u32,
    padding: [u32; 3],
}

pub const KERNEL: Kernel = Kernel {
    stem: "find_cycles",
    source: include_str!("../../../../shaders/rows/find_cycles.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 1,
    iterations: |sizes| sizes.columns.div_ceil(64).into(),
    variants: &[Variant::PLAIN],
};

/// Compares the states of `queries` after the pass's update with those that were saved after the last one before whose
/// number is a power of two, and saves them where its own number is (Brent 1980). At most `max_steps` updates are made.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, max_steps: u32) -> Dispatch {
    let (step, vectors) = (pass.step, pass.operands.problem.key_vectors);
    // The power of two at or below the number of the update before.
    let saved = (step - 1).checked_ilog2().map(|bits| 1 << bits);
    let period = saved.map_or(1, |saved| step - saved);
    let params = Params {
        vectors,
        compares: saved.is_some().into(),
        saves: step.is_power_of_two().into(),
        step,
        last: step + (max_steps - step) % period,
        padding: [0; 3],
    };
    let workspace = &pass.operands.workspace;
    let storage = [queries, &workspace.state, &workspace.saved, &workspace.flags, &workspace.report];
    let vectors = u64::from(pass.block.count) * u64::from(vectors);
    let work = Work { flops: 4 * vectors, bytes: 48 * vectors };
    pass.dispatch(&KERNEL, Setting::default(), &params, &storage, [pass.block.count, 1, 1], work)
}
