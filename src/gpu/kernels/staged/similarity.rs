//! Host side of `shaders/staged/similarity.wgsl`: the scores of a list of queries against a chunk of patterns, kept or
//! tried against thresholds.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::{Access, Kernel, Variant, params};
use crate::gpu::kernels::common::{Pass, entmax_numbers, term_bytes, with_form};
use crate::gpu::operands::{Chunk, KernelRule};
use crate::tuning::Tuning;

params! {
    keep_first: u32,
    keep_stride: u32,
    window_first: u32,
    first_row: u32,
    rows: u32,
    key_vectors: u32,
    score_stride: u32,
    beta: f32,
    trial: u32,
    fresh: u32,
    rows_per_split: u32,
    splits: u32,
    split_stride: u32,
    gain: f32,
    margin: f32,
    exponent: f32,
    records_first: u32,
    padding: [u32; 3],
}

pub const KERNEL: Kernel = Kernel {
    stem: "similarity",
    source: include_str!("../../../../shaders/staged/similarity.wgsl"),
    storage: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Read,
        Access::Write,
    ],
    params: Params::SIZE,
    fields: Params::FIELDS,
    loops: 7,
    iterations: |sizes| iterations(sizes.key_vectors, sizes.searched_rows),
    variants: &[
        Variant::COMPARED[0],
        Variant::COMPARED[1],
        Variant::COMPARED[2],
        Variant::COMPARED[3],
        Variant::COMPARED[4],
        Variant { constants: &[("QUERIES", 4), ("RECORDS", 1)], ..Variant::PLAIN },
        Variant { constants: &[("FORM", 2)], ..Variant::PLAIN },
        Variant { constants: &[("FORM", 3)], ..Variant::PLAIN },
        Variant { constants: &[("FORM", 4)], ..Variant::PLAIN },
    ],
};

/// Patterns of one tile: those of a workgroup, unless it tries thresholds.
pub const ROWS: u32 = 128;
/// Trial thresholds of one pass, as the shaders have them.
pub const STEPS: u32 = 8;
/// Words that they give of one query's split.
pub const TRIAL_WORDS: u32 = STEPS + 1;

/// What scores are tried for. Without a trial, 0, they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Sums of weights by s.
    Sum = 1,
    /// Sums of weights by pivot.
    Pivot = 2,
    /// Counts by key.
    Count = 3,
}

/// Invocations side by side, over queries and over patterns.
pub const SIDE: u32 = 16;

/// Queries of one invocation where a pass over the memory has `block`: 4 or 8. Few are not worth a large tile.
pub fn queries_per_invocation(block: u64, tuning: &Tuning) -> u32 {
    if block >= tuning.wide_tile_min_batch { 8 } else { 4 }
}

/// Loop iterations of one invocation over `rows` of a split.
pub fn iterations(key_vectors: u64, rows: u64) -> u64 {
    let trials = 4 * (1 + u64::from(ROWS) / 4);
    // Whether a tile is used stands in five words of the mask.
    rows.div_ceil(ROWS.into()) * (1 + 5 + key_vectors.div_ceil(2) * (1 + 2) + trials) + 4
}

/// What similarities are computed from and how they are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison<'a> {
    /// What is compared with the keys, for each query.
    pub compared: &'a Binding,
    /// The list of queries.
    pub queries: &'a Binding,
    /// Queries of one invocation, see [`queries_per_invocation`].
    pub queries_per_invocation: u32,
}

/// The scores of a chunk, `score_stride` floats from one query's to the next's.
pub fn scores(pass: &Pass<'_>, comparison: Comparison<'_>, score_stride: u32, chunk: &Chunk<'_>) -> Dispatch {
    let params = Params { score_stride, rows_per_split: ROWS, ..Params::default() };
    let scores = u64::from(pass.block.count) * u64::from(chunk.count);
    let more = Work { flops: 0, bytes: 4 * scores };
    compare(pass, comparison, chunk, params, chunk.count.div_ceil(ROWS), more)
}

/// Trial thresholds over the scores of a chunk, none of which is kept, for splits of which there are at most `splits`.
pub fn trials(
    pass: &Pass<'_>,
    comparison: Comparison<'_>,
    rule: KernelRule,
    trial: Trial,
    splits: u32,
    chunk: &Chunk<'_>,
) -> Dispatch {
    let (gain, margin, exponent) = entmax_numbers(rule);
    let params = Params {
        score_stride: ROWS,
        trial: trial as u32,
        fresh: chunk.is_first().into(),
        rows_per_split: chunk.rows_per_split,
        splits,
        split_stride: pass.block.count * ROWS,
        gain,
        margin,
        exponent,
        ..Params::default()
    };
    // The first chunk clears the splits that it has no patterns for, too.
    let groups = if chunk.is_first() { splits } else { chunk.splits };
    let more = pass.scanned(chunk, 4 * u64::from(STEPS), 4);
    compare(pass, comparison, chunk, params, groups, more)
}

/// What `params` say of the scores of a chunk, by `groups` workgroups for as many queries as one takes: the product and
/// `more`.
fn compare(
    pass: &Pass<'_>,
    comparison: Comparison<'_>,
    chunk: &Chunk<'_>,
    params: Params,
    groups: u32,
    more: Work,
) -> Dispatch {
    let Comparison { compared, queries, queries_per_invocation: each } = comparison;
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
        beta: pass.beta(),
        records_first: pass.records_first(),
        ..params
    };
    let workspace = &pass.operands.workspace;
    let terms = chunk.rows.terms.as_ref().unwrap_or(keys);
    let storage = [queries, compared, keys, terms, mask, &workspace.scores, &workspace.brackets, &workspace.given];
    let grid = [groups, pass.block.count.div_ceil(SIDE * each), 1];
    let (count, rows) = (u64::from(pass.block.count), u64::from(chunk.count));
    let work = Work {
        flops: count * rows * 8 * u64::from(vectors) + more.flops,
        bytes: u64::from(grid[1]) * rows * (pass.stored_bytes(vectors) + term_bytes(chunk))
            + rows.div_ceil(ROWS.into()) * count * 16 * u64::from(vectors)
            + more.bytes,
    };
    // One kernel for scores that are kept and those that are tried, or their bits might differ.
    let mut constants = with_form(pass.operands.kernel_rule(), &[("QUERIES", each)]);
    constants.extend(pass.scored_constants(chunk));
    let setting = Setting { constants, fragments: pass.compared_fragments() };
    pass.dispatch(&KERNEL, setting, &params, &storage, grid, work)
}
