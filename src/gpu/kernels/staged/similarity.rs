//! Host side of `shaders/staged/similarity.wgsl`: the scores of a list of queries against a chunk of patterns, kept or tried
//! against thresholds.

use crate::gpu::kernel::{Access, Kernel, Variant, params};
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
    variants: &[
        Variant::COMPARED[0],
        Variant::COMPARED[1],
        Variant::COMPARED[2],
        Variant::COMPARED[3],
        Variant::COMPARED[4],
        Variant { constants: &[("EACH", 4)], ..Variant::PLAIN },
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
pub const GIVEN: u32 = STEPS + 1;

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
pub fn each(block: u64, tuning: &Tuning) -> u32 {
    if block >= tuning.tile_batch { 8 } else { 4 }
}

/// Loop iterations of one invocation over `rows` of a split.
pub fn iterations(key_vectors: u64, rows: u64) -> u64 {
    let trials = 4 * (1 + u64::from(ROWS) / 4);
    rows.div_ceil(ROWS.into()) * (1 + key_vectors.div_ceil(2) * (1 + 2) + trials) + 4
}
