//! Host side of `shaders/rows/compact_queries.wgsl`: lists of the queries that are still to be worked on.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;

params! {
    queries: u32,
    from_source: u32,
    stopped: u32,
    padding: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "compact_queries",
    source: include_str!("../../../../shaders/rows/compact_queries.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 1,
    iterations: |sizes| iterations(sizes.queries),
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation.
fn iterations(queries: u64) -> u64 {
    queries.div_ceil(256) * (1 + 8)
}

/// Lists of queries: those of `source`, or all of the block without one, go to `chosen` where their flags have none of
/// the bits of `stopped`, and to `rest` otherwise.
pub fn dispatch(pass: &Pass<'_>, source: Option<&Binding>, stopped: u32, chosen: &Binding, rest: &Binding) -> Dispatch {
    let queries = pass.block.count;
    let params = Params { queries, from_source: source.is_some().into(), stopped, padding: 0 };
    let workspace = &pass.operands.workspace;
    // Without a source, any buffer that the dispatch does not write stands in for it.
    let storage = [source.unwrap_or(&workspace.state), &workspace.flags, chosen, rest];
    let work = Work { flops: 0, bytes: 12 * u64::from(queries) };
    pass.dispatch(&KERNEL, Setting::default(), &params, &storage, [1, 1, 1], work)
}
