//! Host side of `shaders/sparse/merge_candidates.wgsl`: what was picked from a chunk of scores into the list of each
//! query.

use super::filter_candidates;
use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{LIST_CAPACITY, LIST_TOP, Pass, entmax_numbers, top_of};
use crate::gpu::operands::{Chunk, KernelRule};

params! {
    first: u32,
    spans: u32,
    room: u32,
    capacity: u32,
    k: u32,
    margin: f32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "merge_candidates",
    source: include_str!("../../../../shaders/sparse/merge_candidates.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 6,
    iterations: |sizes| iterations(sizes.chunk_rows, LIST_CAPACITY.into(), LIST_TOP.into()),
    variants: &[Variant::PLAIN, Variant { constants: &[("TOP", 1)], ..Variant::PLAIN }],
};

/// Loop iterations of one invocation over `rows` patterns with lists of `capacity`, `k` of which are kept at a
/// selection.
fn iterations(rows: u64, capacity: u64, k: u64) -> u64 {
    let list = capacity.div_ceil(256);
    let prune = list * (1 + 8);
    let select = 32 * (1 + list) + list + list * (1 + 16);
    let selections = rows / capacity.saturating_sub(k).max(1) + 2;
    let spans = rows.div_ceil(filter_candidates::SPAN.into());
    2 * spans.div_ceil(256) + 8 + prune.max(selections * select) + spans * (1 + 8 * (1 + 8))
}

/// The segments of a chunk, of `room` entries each, into the lists.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, rule: KernelRule, room: u32, chunk: &Chunk<'_>) -> Dispatch {
    let (_, margin, _) = entmax_numbers(rule);
    let (top, k) = top_of(rule);
    let spans = chunk.count.div_ceil(filter_candidates::SPAN);
    let params =
        Params { first: chunk.is_first().into(), spans, room, capacity: LIST_CAPACITY, k, margin, padding: [0; 2] };
    let workspace = &pass.operands.workspace;
    let storage = [queries, &workspace.picked, &workspace.segments, &workspace.heads, &workspace.list];
    let heads = u64::from(pass.block.count) * u64::from(spans);
    let work = Work { flops: heads, bytes: 16 * heads };
    pass.dispatch(&KERNEL, Setting::constants([("TOP", top)]), &params, &storage, [pass.block.count, 1, 1], work)
}
