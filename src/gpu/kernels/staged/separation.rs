//! Host side of `shaders/staged/separation.wgsl`: scores to weights, with each split's maximum and sum.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, UNNORMALIZED, threshold_of, weighing};
use crate::gpu::operands::Chunk;

params! {
    rows: u32,
    rows_per_split: u32,
    splits: u32,
    score_stride: u32,
    beta: f32,
    threshold: f32,
    records_first: u32,
    padding: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "separation",
    source: include_str!("../../../../shaders/staged/separation.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Write, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 4,
    iterations: |sizes| iterations(sizes.split_rows),
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("POWER", 3)], fragments: &UNNORMALIZED },
        Variant { constants: &[("SELF", 1), ("POWER", 3), ("RECORDS", 1)], fragments: &UNNORMALIZED },
        Variant { constants: &[("SELF", 1), ("POWER", 2), ("RECTIFIED", 1)], fragments: &UNNORMALIZED },
        Variant { constants: &[("STEP", 1)], fragments: &UNNORMALIZED },
    ],
};

/// Loop iterations of one invocation over `rows` of a split.
fn iterations(rows: u64) -> u64 {
    2 * (rows.div_ceil(64) + 6)
}

/// The scores of a chunk, in place, and the statistics of each split.
pub fn dispatch(pass: &Pass<'_>, queries: &Binding, score_stride: u32, chunk: &Chunk<'_>) -> Dispatch {
    let rule = pass.operands.kernel_rule();
    let params = Params {
        rows: chunk.count,
        rows_per_split: chunk.rows_per_split,
        splits: chunk.splits,
        score_stride,
        beta: pass.beta(),
        threshold: threshold_of(rule),
        records_first: pass.records_first(),
        padding: 0,
    };
    let workspace = &pass.operands.workspace;
    let (keep, ..) = pass.mask_rows(queries);
    let storage = [queries, keep, &workspace.scores, &workspace.stats];
    let grid = [chunk.splits, pass.block.count, 1];
    let (mut constants, fragments) = weighing(rule);
    constants.extend(pass.own_constant());
    let setting = Setting { constants, fragments };
    pass.dispatch(&KERNEL, setting, &params, &storage, grid, pass.scanned(chunk, 4, 12))
}
