//! Host side of `shaders/rows/query_levels.wgsl`: what queries compare with keys, in 16 bits.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;
use crate::gpu::kernels::staged::stream_bounds::few_roundings;

params! {
    vectors: u32,
    rounding: f32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "query_levels",
    source: include_str!("../../../../shaders/rows/query_levels.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |sizes| iterations(sizes.key_vectors),
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation.
fn iterations(vectors: u64) -> u64 {
    2 * vectors.div_ceil(64) + 4 * 6
}

/// What `queries` compare with keys, in 16 bits, with bounds of how far that is from it.
pub fn dispatch(pass: &Pass<'_>, (compared, queries): (&Binding, &Binding)) -> Dispatch {
    let (vectors, count) = (pass.operands.problem.key_vectors, pass.block.count);
    let params = Params { vectors, rounding: few_roundings(pass.operands.layout.dim), padding: [0; 2] };
    let read = u64::from(count) * u64::from(vectors);
    let work = Work { flops: 80 * read, bytes: 40 * read };
    let workspace = &pass.operands.workspace;
    let storage = [queries, compared, &workspace.levels, &workspace.level_numbers];
    pass.dispatch(&KERNEL, Setting::default(), &params, &storage, [count, 1, 1], work)
}
