//! Host side of `shaders/staged/projection.wgsl`: the sums of a split's rows, by weight.

use super::similarity::SIDE;
use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, SummedRows};
use crate::gpu::operands::{Chunk, Sums};

params! {
    first_row: u32,
    rows: u32,
    rows_per_split: u32,
    splits: u32,
    weight_vectors: u32,
    source_vectors: u32,
    first_column: u32,
    columns: u32,
    keep_first: u32,
    keep_stride: u32,
    window_first: u32,
    records_first: u32,
}

pub const KERNEL: Kernel = Kernel {
    stem: "projection",
    source: include_str!("../../../../shaders/staged/projection.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 3,
    iterations: |sizes| iterations(sizes.split_rows),
    variants: &[
        Variant::STORED[0],
        Variant::STORED[1],
        Variant::STORED[2],
        Variant { constants: &[("QUERIES", 4), ("WIDE", 1), ("VALUES", 1)], ..Variant::STORED[2] },
        Variant { constants: &[("QUERIES", 4), ("KEEP", 1), ("RECORDS", 1)], ..Variant::PLAIN },
        Variant { constants: &[("WIDE", 1)], ..Variant::PLAIN },
    ],
};

/// Column vectors of one invocation where rows of `columns` are summed.
pub fn wide(columns: u32) -> u32 {
    if columns > 16 { 2 } else { 1 }
}

/// Column vectors of one workgroup.
pub fn side(columns: u32) -> u32 {
    SIDE * wide(columns)
}

/// Loop iterations of one invocation over `rows` of a split.
pub fn iterations(rows: u64) -> u64 {
    // A tile of 128 rows that may be skipped looks at five words of the mask.
    rows.div_ceil(8) * (1 + 2) + rows.div_ceil(128) * (1 + 5)
}

/// The weighted sums of one side of a chunk's rows, by split; weights are `score_stride` floats from query to query,
/// and an invocation has `each` queries.
pub fn dispatch(
    pass: &Pass<'_>,
    queries: &Binding,
    (score_stride, each): (u32, u32),
    source: SummedRows<'_>,
    sums: Sums,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let SummedRows { rows: stored, terms, vectors, first_column, values } = source;
    let (mask, keep_first, keep_stride) = pass.mask_rows(stored);
    let params = Params {
        first_row: chunk.first_row,
        rows: chunk.count,
        rows_per_split: chunk.rows_per_split,
        splits: chunk.splits,
        weight_vectors: score_stride / 4,
        source_vectors: vectors,
        first_column,
        columns: sums.columns(),
        keep_first,
        keep_stride,
        window_first: chunk.window_first,
        records_first: pass.records_first(),
    };
    let workspace = &pass.operands.workspace;
    let storage = [queries, &workspace.scores, stored, terms, mask, &workspace.sums];
    let grid = [vectors.div_ceil(side(vectors)), pass.block.count.div_ceil(SIDE * each), chunk.splits];
    let (count, rows) = (u64::from(pass.block.count), u64::from(chunk.count));
    let work = Work {
        flops: count * rows * 8 * u64::from(vectors),
        bytes: u64::from(grid[0]) * 4 * count * rows
            + u64::from(grid[1]) * rows * pass.stored_bytes(vectors)
            + count * u64::from(chunk.splits) * 16 * u64::from(vectors),
    };
    let mut constants = pass.kept_constants();
    constants.extend([("QUERIES", each), ("WIDE", wide(vectors)), ("VALUES", values)]);
    let setting = Setting { constants, fragments: pass.stored_fragments() };
    pass.dispatch(&KERNEL, setting, &params, &storage, grid, work)
}
