//! Host side of `shaders/staged/stream_bounds.wgsl`: bounds of the scores of few queries against a chunk of patterns,
//! from keys in 8 bits, each of which is read once.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::Pass;
use crate::gpu::kernels::staged::stream_similarity::{ROWS, iterations};
use crate::gpu::levels::StoredLevels;
use crate::gpu::operands::Chunk;
use crate::rule::Similarity;

params! {
    keep_first: u32,
    keep_stride: u32,
    window_first: u32,
    first_row: u32,
    rows: u32,
    key_vectors: u32,
    score_stride: u32,
    beta: f32,
    rounding: f32,
    few: f32,
    vanished: f32,
    room: f32,
    flushed: f32,
    records_first: u32,
    padding: [u32; 2],
}

pub const KERNEL: Kernel = Kernel {
    stem: "stream_bounds",
    source: include_str!("../../../../shaders/staged/stream_bounds.wgsl"),
    storage: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
    ],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 8,
    iterations: |sizes| iterations(sizes.key_vectors),
    variants: &[
        Variant::PLAIN,
        Variant { constants: &[("QUERIES", 1), ("EUCLIDEAN", 1)], ..Variant::PLAIN },
        Variant { constants: &[("QUERIES", 2), ("KEEP", 1), ("BIAS", 0)], ..Variant::PLAIN },
        Variant { constants: &[("QUERIES", 4), ("KEEP", 1), ("EUCLIDEAN", 1)], ..Variant::PLAIN },
    ],
};

/// How far sums in `f32` over `dim` coordinates may be off, in any order, relative to the sum of the magnitudes of
/// their terms: twice what the terms and the operations around them need.
fn rounding(dim: usize) -> f32 {
    (dim + 64) as f32 * f32::EPSILON
}

/// The same of sums of squares that 64 invocations share, and of a few operations.
pub fn few_roundings(dim: usize) -> f32 {
    (dim / 256 + 64) as f32 * f32::EPSILON
}

/// What flushing numbers below the smallest normal one to zero may cost, with room: of a distance, of any score, and of
/// a score for each unit of the norms of query and key.
fn flushed(dim: usize, similarity: Similarity, beta: f32) -> [f32; 3] {
    let (dim, smallest, beta) = (dim as f64, f64::from(f32::MIN_POSITIVE), f64::from(beta.abs()));
    // The product of two units is multiplied by whole numbers up to 32,258 and 127.
    let products = dim * smallest * f64::from(1 << 23);
    // Cosine divides products by the norm of a key, which is at least 1e-12.
    let least = if similarity == Similarity::Cosine { 1e-12 } else { 1.0 };
    [4.0 * products.sqrt(), 1e-30 + 4.0 * beta * products / least, 4.0 * beta * smallest * dim.sqrt()]
        .map(|bound| (bound as f32).next_up())
}

/// The bounds of a chunk to the scores (lower) and to `uppers`, `score_stride` floats from one query's to the next's,
/// `each` queries at once: 1, 2 or 4. Levels of the queries
/// have been made.
pub fn dispatch(
    pass: &Pass<'_>,
    queries: &Binding,
    each: u32,
    score_stride: u32,
    (rows, chunk): (&StoredLevels, &Chunk<'_>),
) -> Dispatch {
    let (operands, workspace) = (pass.operands, &pass.operands.workspace);
    let (mask, keep_first, keep_stride) = pass.mask_rows(&rows.keys);
    let vectors = operands.problem.key_vectors;
    let (similarity, beta) = (operands.rule.similarity, operands.rule.beta);
    let [vanished, room, flushed] = flushed(operands.layout.dim, similarity, beta);
    let params = Params {
        keep_first,
        keep_stride,
        window_first: chunk.window_first,
        first_row: chunk.first_row,
        rows: chunk.count,
        key_vectors: vectors,
        score_stride,
        beta,
        rounding: rounding(operands.layout.dim),
        few: few_roundings(operands.layout.dim),
        vanished,
        room,
        flushed,
        records_first: 0,
        padding: [0; 2],
    };
    let storage = [
        queries,
        &workspace.levels,
        &workspace.level_numbers,
        &rows.keys,
        &rows.terms,
        mask,
        &workspace.scores,
        &workspace.uppers,
    ];
    let grid = [chunk.count.div_ceil(ROWS), pass.block.count.div_ceil(each), 1];
    let (count, patterns) = (u64::from(pass.block.count), u64::from(chunk.count));
    let work = Work {
        flops: count * patterns * 16 * u64::from(vectors),
        bytes: u64::from(grid[1]) * patterns * (4 * u64::from(vectors) + 16) + 8 * count * patterns,
    };
    let euclidean = similarity == Similarity::Euclidean;
    let mut constants =
        vec![("QUERIES", each), ("KEEP", operands.keep.is_some().into()), ("EUCLIDEAN", euclidean.into())];
    if operands.layout.bias && !operands.biased {
        constants.push(("BIAS", 0));
    }
    pass.dispatch(&KERNEL, Setting::constants(constants), &params, &storage, grid, work)
}
