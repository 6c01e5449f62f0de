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
    is_first: u32,
    is_last: u32,
    padding: u32,
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

/// One of the states of every query, and where it is saved.
#[derive(Clone, Copy, Debug)]
pub struct Compared<'a> {
    pub state: &'a Binding,
    pub saved: &'a Binding,
    /// Whether it is the first and the last of them.
    pub is_first: bool,
    pub is_last: bool,
}

/// Compares a state of `queries` after the pass's update with that after the last update before whose number is a power
/// of two, and saves it where its own number is (Brent 1980). At most `max_steps` updates are made.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, compared: Compared<'_>, max_steps: u32) -> Dispatch {
    let Compared { state, saved: to, is_first, is_last } = compared;
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
        is_first: is_first.into(),
        is_last: is_last.into(),
        padding: 0,
    };
    let workspace = &pass.operands.workspace;
    let storage = [queries, state, to, &workspace.flags, &workspace.report];
    let vectors = u64::from(pass.block.count) * u64::from(vectors);
    let work = Work { flops: 4 * vectors, bytes: 48 * vectors };
    pass.dispatch(&KERNEL, Setting::default(), &params, &storage, [pass.block.count, 1, 1], work)
}
