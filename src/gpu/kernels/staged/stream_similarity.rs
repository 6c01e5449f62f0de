//! Host side of `shaders/staged/stream_similarity.wgsl`: the scores of few queries against a chunk of patterns, each of
//! which is read once.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, term_bytes};
use crate::gpu::operands::Chunk;

params! {
    keep_first: u32,
    keep_stride: u32,
    window_first: u32,
    first_row: u32,
    rows: u32,
    key_vectors: u32,
    score_stride: u32,
    beta: f32,
    records_first: u32,
    padding: [u32; 3],
}

pub const KERNEL: Kernel = Kernel {
    stem: "stream_similarity",
    source: include_str!("../../../../shaders/staged/stream_similarity.wgsl"),
    storage: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 9,
    iterations: |sizes| iterations(sizes.key_vectors),
    variants: &[
        Variant::COMPARED[0],
        Variant { constants: &[("QUERIES", 1), ("RECORDS", 1)], ..Variant::COMPARED[1] },
        Variant { constants: &[("QUERIES", 2), ("KEEP", 1)], ..Variant::COMPARED[2] },
        Variant { constants: &[("QUERIES", 4), ("TERMS", 1)], ..Variant::COMPARED[3] },
        Variant { constants: &[("QUERIES", 4), ("TERMS", 1), ("KEEP", 1)], ..Variant::COMPARED[4] },
    ],
};

/// Patterns of a workgroup.
pub const ROWS: u32 = 32;

/// Loop iterations of one invocation, as if nothing were unrolled: four patterns of four queries, then two sums. Before
/// them, two words of the mask for each query, and after them two scores of patterns that are not read.
pub fn iterations(key_vectors: u64) -> u64 {
    4 * (1 + 2) + 4 + 4 * (1 + 4 + key_vectors.div_ceil(8) * (1 + 4) + 4) + 2 * (1 + 8) + 2
}

/// The scores of a chunk, `score_stride` floats from one query's to the next's, `each` queries at once: 1, 2 or 4.
pub fn dispatch(
    pass: &Pass<'_>,
    (compared, queries): (&Binding, &Binding),
    each: u32,
    score_stride: u32,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let keys = &chunk.rows.keys;
    let (mask, keep_first, keep_stride) = pass.mask_rows(keys);
    let vectors = pass.operands.problem.key_vectors;
    let params = Params {
        keep_first,
        keep_stride,
        window_first: chunk.window_first,
        first_row: chunk.first_row,
        rows: chunk.count,
        key_vectors: vectors,
        score_stride,
        beta: pass.beta(),
        records_first: pass.records_first(),
        padding: [0; 3],
    };
    let terms = chunk.rows.terms.as_ref().unwrap_or(keys);
    let storage = [queries, compared, keys, terms, mask, &pass.operands.workspace.scores];
    let grid = [chunk.count.div_ceil(ROWS), pass.block.count.div_ceil(each), 1];
    let (count, rows) = (u64::from(pass.block.count), u64::from(chunk.count));
    let work = Work {
        flops: count * rows * 8 * u64::from(vectors),
        bytes: u64::from(grid[1]) * rows * (pass.stored_bytes(vectors) + term_bytes(chunk)) + 4 * count * rows,
    };
    let mut constants = vec![("QUERIES", each)];
    constants.extend(pass.scored_constants(chunk));
    let setting = Setting { constants, fragments: pass.compared_fragments() };
    pass.dispatch(&KERNEL, setting, &params, &storage, grid, work)
}
