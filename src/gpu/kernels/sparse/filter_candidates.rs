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
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("TOP", 1)], ..Variant::PLAIN },
        Variant { constants: &[("REACH", 1)], ..Variant::PLAIN },
    ],
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

/// How far below the largest lower bound an upper bound may be where what it bounds can still have weight. Under top-k
/// the floor of the lower bounds says what is possible.
pub(crate) fn reach_of(rule: KernelRule) -> f32 {
    match rule {
        KernelRule::Entmax { .. } => entmax_numbers(rule).1,
        _ => 0.0,
    }
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
    let params = Params { first: chunk.is_first().into(), k, margin, ..Params::default() };
    let storage = (&pass.operands.workspace.scores, &lists.heads);
    pick(pass, queries, storage, Setting::constants([("TOP", top)]), params, segments, chunk)
}

/// The upper bounds of a chunk that reach what the lower bounds on the lists of largest scores leave possible, into
/// segments.
pub fn reaching(
    pass: &Pass<'_>,
    queries: &Binding,
    rule: KernelRule,
    segments: Segments,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let workspace = &pass.operands.workspace;
    let params = Params { margin: reach_of(rule), ..Params::default() };
    let storage = (&workspace.uppers, &workspace.top.heads);
    pick(pass, queries, storage, Setting::constants([("REACH", 1)]), params, segments, chunk)
}

fn pick(
    pass: &Pass<'_>,
    queries: &Binding,
    (scores, heads): (&Binding, &Binding),
    setting: Setting,
    params: Params,
    segments: Segments,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let spans = chunk.count.div_ceil(SPAN);
    let params = Params {
        first_pattern: chunk.window_first + chunk.first_row,
        rows: chunk.count,
        score_stride: segments.score_stride,
        spans,
        room: segments.room,
        ..params
    };
    let workspace = &pass.operands.workspace;
    let storage = [queries, scores, heads, &workspace.picked, &workspace.segments];
    pass.dispatch(&KERNEL, setting, &params, &storage, [spans, pass.block.count, 1], pass.scanned(chunk, 2, 4))
}
