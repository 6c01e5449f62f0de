//! Host side of `shaders/sparse/filter_candidates.wgsl`: from a chunk of scores, those that may enter a list of
//! candidates.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, entmax_numbers, top_of};
use crate::gpu::operands::{Chunk, KernelRule};
use crate::gpu::workspace::CandidateLists;

params! {
    first: u32,
    first_pattern: u32,
    rows: u32,
    score_stride: u32,
    spans: u32,
    room: u32,
    k: u32,
    margin: f32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "filter_candidates",
    source: include_str!("../../../../shaders/sparse/filter_candidates.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 9,
    iterations: |_| iterations(),
    variants: &[Variant::PLAIN, Variant { constants: &[("TOP", 1)], ..Variant::PLAIN }],
};

/// Scores of one workgroup.
pub const SPAN: u32 = 2048;
/// Its invocations: few, as most of the time goes into barriers.
const LANES: u32 = 64;

/// Loop iterations of one invocation.
fn iterations() -> u64 {
    let each = u64::from(SPAN / LANES);
    let select = u64::from(LANES) + 2 * each + 32 * (1 + each) + each;
    2 * each + 6 + select + each * (1 + 2 * u64::from(LANES / 32))
}

/// How the candidates of a chunk of scores are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments {
    /// Floats from one query's scores to the next's.
    pub score_stride: u32,
    /// Entries of the segment of one span.
    pub room: u32,
}

/// The scores of a chunk that may enter the lists, into segments.
pub fn dispatch(
    pass: &Pass<'_>,
    queries: &Binding,
    lists: &CandidateLists,
    rule: KernelRule,
    segments: Segments,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let (_, margin, _) = entmax_numbers(rule);
    let (top, k) = top_of(rule);
    let spans = chunk.count.div_ceil(SPAN);
    let params = Params {
        first: chunk.is_first().into(),
        first_pattern: chunk.window_first + chunk.first_row,
        rows: chunk.count,
        score_stride: segments.score_stride,
        spans,
        room: segments.room,
        k,
        margin,
    };
    let workspace = &pass.operands.workspace;
    let storage = [queries, &workspace.scores, &lists.heads, &workspace.picked, &workspace.segments];
    let setting = Setting::constants([("TOP", top)]);
    pass.dispatch(&KERNEL, setting, &params, &storage, [spans, pass.block.count, 1], pass.scanned(chunk, 2, 4))
}
