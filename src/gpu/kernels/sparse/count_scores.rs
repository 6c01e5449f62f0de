//! Host side of `shaders/sparse/count_scores.wgsl`: how many scores of a chunk meet a threshold.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;
use crate::gpu::operands::Chunk;

params! {
    first: u32,
    rows: u32,
    score_stride: u32,
    least: f32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "count_scores",
    source: include_str!("../../../../shaders/sparse/count_scores.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 1,
    iterations: |sizes| sizes.chunk_rows.div_ceil(64),
    variants: &[Variant::PLAIN],
};

/// The scores of a chunk that are at least `least`, counted into the first words of the tallies.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, least: f32, score_stride: u32, chunk: &Chunk<'_>) -> Dispatch {
    let params = Params { first: chunk.is_first().into(), rows: chunk.count, score_stride, least };
    let workspace = &pass.operands.workspace;
    let storage = [queries, &workspace.scores, &workspace.tallies];
    let work = pass.scanned(chunk, 1, 4);
    pass.dispatch(&KERNEL, Setting::default(), &params, &storage, [pass.block.count, 1, 1], work)
}
