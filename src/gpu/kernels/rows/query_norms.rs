//! Host side of `shaders/rows/query_norms.wgsl`: bounds of the norms of what queries compare with keys.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;
use crate::gpu::kernels::staged::stream_bounds::rounding;

params! {
    vectors: u32,
    rounding: f32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "query_norms",
    source: include_str!("../../../../shaders/rows/query_norms.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 2,
    iterations: |sizes| iterations(sizes.key_vectors),
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation.
fn iterations(vectors: u64) -> u64 {
    2 * vectors.div_ceil(64) + 12
}

/// The norms of what `queries` compare with keys, bounded from above.
pub fn dispatch(pass: &Pass<'_>, (compared, queries): (&Binding, &Binding)) -> Dispatch {
    let (vectors, count) = (pass.operands.problem.key_vectors, pass.block.count);
    let params = Params { vectors, rounding: rounding(pass.operands.layout.dim), padding: [0; 2] };
    let read = u64::from(count) * u64::from(vectors);
    let work = Work { flops: 12 * read, bytes: 32 * read };
    let storage = [queries, compared, &pass.operands.workspace.norms];
    pass.dispatch(&KERNEL, Setting::default(), &params, &storage, [count, 1, 1], work)
}
