//! Host side of `shaders/staged/separation.wgsl`: scores to `exp(z - maximum)`, with each split's maximum and sum.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;
use crate::gpu::operands::Chunk;

params! {
    rows: u32,
    rows_per_split: u32,
    splits: u32,
    score_stride: u32,
    padding: [u32; 4],
}

pub const KERNEL: Kernel = Kernel {
    stem: "separation",
    source: include_str!("../../../../shaders/staged/separation.wgsl"),
    storage: &[Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 4,
    iterations: |sizes| iterations(sizes.split_rows),
    variants: &[Variant::PLAIN],
};

/// Loop iterations of one invocation over `rows` of a split.
fn iterations(rows: u64) -> u64 {
    2 * (rows.div_ceil(64) + 6)
}

/// The scores of a chunk, in place, and the statistics of each split.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, score_stride: u32, chunk: &Chunk<'_>) -> Dispatch {
    let params = Params {
        rows: chunk.count,
        rows_per_split: chunk.rows_per_split,
        splits: chunk.splits,
        score_stride,
        padding: [0; 4],
    };
    let workspace = &pass.operands.workspace;
    let storage = [queries, &workspace.scores, &workspace.stats];
    let grid = [chunk.splits, pass.block.count, 1];
    pass.dispatch(&KERNEL, Setting::default(), &params, &storage, grid, pass.scanned(chunk, 4, 12))
}
