//! Host side of `shaders/sparse/merge_candidates.wgsl`: what was picked from a chunk of scores into the list of each
//! query.

use super::filter_candidates;
use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{LIST_CAPACITY, LIST_TOP, Pass, entmax_numbers, top_of};
use crate::gpu::operands::{Chunk, KernelRule};
use crate::gpu::workspace::CandidateLists;

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
    storage: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 6,
    iterations: |sizes| iterations(sizes.chunk_rows, LIST_CAPACITY.into(), LIST_TOP.into()),
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("TOP", 1)], ..Variant::PLAIN },
        Variant { constants: &[("REACH", 1)], ..Variant::PLAIN },
    ],
};

/// Invocations of a workgroup: few, as most of the time goes into barriers.
const LANES: u64 = 128;

/// Loop iterations of one invocation over `rows` patterns with lists of `capacity`, `k` of which are kept at a
/// selection.
fn iterations(rows: u64, capacity: u64, k: u64) -> u64 {
    let (list, place) = (capacity.div_ceil(LANES), LANES / 32);
    let prune = list * (1 + place);
    let select = (32 * (1 + list)).max(LANES) + list + list * (1 + 2 * place);
    let spans = rows.div_ceil(filter_candidates::SPAN.into());
    // A segment has room for half of its span, unless a list holds all there is.
    let picked = rows.min((rows / 2).max(capacity));
    let selections = picked / capacity.saturating_sub(k).max(1) + 2;
    let span = u64::from(filter_candidates::SPAN).div_ceil(LANES) * (1 + place);
    2 * spans.div_ceil(LANES) + 7 + prune.max(selections * select) + spans * (1 + span)
}

/// The segments of a chunk, of `room` entries each, into the lists.
pub fn dispatch(
    pass: &Pass<'_>,
    queries: &Binding,
    lists: &CandidateLists,
    rule: KernelRule,
    room: u32,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let (_, margin, _) = entmax_numbers(rule);
    let (top, k) = top_of(rule);
    // Without REACH no other list is read.
    let others = &pass.operands.workspace.picked;
    let setting = Setting::constants([("TOP", top)]);
    fold(pass, queries, (lists, others), setting, Params { room, k, margin, ..Params::default() }, chunk)
}

/// The segments of a chunk of upper bounds into the lists of candidates, which keep what the lower bounds on the lists
/// of largest scores leave possible.
pub fn reaching(pass: &Pass<'_>, queries: &Binding, rule: KernelRule, room: u32, chunk: &Chunk<'_>) -> Dispatch {
    let workspace = &pass.operands.workspace;
    let params = Params { room, margin: filter_candidates::reach_of(rule), ..Params::default() };
    let setting = Setting::constants([("REACH", 1)]);
    fold(pass, queries, (&workspace.candidates, &workspace.top.heads), setting, params, chunk)
}

fn fold(
    pass: &Pass<'_>,
    queries: &Binding,
    (lists, others): (&CandidateLists, &Binding),
    setting: Setting,
    params: Params,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let spans = chunk.count.div_ceil(filter_candidates::SPAN);
    let params = Params { first: chunk.is_first().into(), spans, capacity: LIST_CAPACITY, ..params };
    let workspace = &pass.operands.workspace;
    let storage = [queries, &workspace.picked, &workspace.segments, others, &lists.heads, &lists.list];
    let heads = u64::from(pass.block.count) * u64::from(spans);
    let work = Work { flops: heads, bytes: 16 * heads };
    pass.dispatch(&KERNEL, setting, &params, &storage, [pass.block.count, 1, 1], work)
}
