//! Host side of `shaders/rows/copy_states.wgsl`: copies of states, as they are or normalised.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;

params! {
    vectors: u32,
    padding: [u32; 3],
}

pub const KERNEL: Kernel = Kernel {
    stem: "copy_states",
    source: include_str!("../../../../shaders/rows/copy_states.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 4,
    iterations: |sizes| iterations(sizes.columns.into()),
    variants: &[Variant::PLAIN, Variant { constants: &[("NORMALIZE", 1)], ..Variant::PLAIN }],
};

/// Loop iterations of one invocation.
fn iterations(vectors: u64) -> u64 {
    3 * vectors.div_ceil(64) + 12
}

/// A copy of the states of `queries`, normalised if asked.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, from: &Binding, to: &Binding, normalize: bool) -> Dispatch {
    let (vectors, count) = (pass.operands.problem.key_vectors, pass.block.count);
    let params = Params { vectors, padding: [0; 3] };
    let setting = Setting::constants([("NORMALIZE", u32::from(normalize))]);
    let copied = u64::from(count) * u64::from(vectors);
    let work = Work { flops: if normalize { 12 * copied } else { 0 }, bytes: 32 * copied };
    pass.dispatch(&KERNEL, setting, &params, &[queries, from, to], [count, 1, 1], work)
}
